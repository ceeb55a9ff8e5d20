// How busy the machine was, for people: a few lines. The first says whether that is a problem of its own.

import Proc
import Text

extension Finding {
    /// A process's command line without the first word's directory, so that several processes named python3 can be told
    /// apart.
    static func commandLine(_ detail: String, _ name: String) -> String {
        let words = detail.split(separator: "\0").map(String.init)
        guard let first = words.first else { return name }
        let program = first.split(separator: "/").last.map(String.init) ?? first
        return ([program] + words.dropFirst()).joined(separator: " ")
    }
}

struct LoadText {
    var style: Style

    func write(_ load: LoadPicture, to out: TextOutput) throws {
        if load.load == nil && load.pressure.isEmpty && load.processorShares.isEmpty && load.busiest.isEmpty { return }
        try out.write(
            style.bold("Load") + (load.processors > 0 ? ", on \(counted(UInt64(load.processors), "processor"))" : "")
                + "\n")
        if let average = load.load {
            let line =
                "  load average \(hundredths(average.first)) at first, \(hundredths(average.last)) at last, "
                + "\(hundredths(average.mean)) in the mean, \(hundredths(average.most)) at most"
            try out.write(
                (load.processors > 0 && average.mean > 1.5 * Double(load.processors) ? style.warning(line) : line)
                    + "\n")
        }
        if let uptime = load.uptime {
            try out.write(
                "  up \(LoadHistory.uptimeText(Int64(min(uptime.first, 1e15)))) at first, "
                    + "\(LoadHistory.uptimeText(Int64(min(uptime.last, 1e15)))) at last"
                    + (uptime.last < uptime.first ? ": started again meanwhile" : "") + "\n")
        }
        let shares = load.processorShares.filter { $0.share >= 0.005 }
        if !shares.isEmpty {
            try out.write(
                "  processors: " + shares.map { "\(percent($0.share)) \($0.name)" }.joined(separator: ", ") + "\n")
        }
        let waits = load.pressure.filter { $0.some >= 0.001 || $0.most >= 0.01 }
        if !load.pressure.isEmpty {
            let text =
                waits.isEmpty
                ? "  pressure: none"
                : "  pressure: "
                    + waits.map { each in
                        "something waited for \(each.name) \(percent(each.some)) of the time"
                            + (each.full.map { $0 >= 0.001 ? ", everything \(percent($0))" : "" } ?? "")
                            + ", \(percent(each.most)) at most"
                    }.joined(separator: "; ")
            try out.write(text + "\n")
        }
        if let swapIn = load.swapIn, let swapOut = load.swapOut, swapIn.most > 0 || swapOut.most > 0 {
            try out.write(
                "  swapping: \(readable(swapIn.mean)) in and \(readable(swapOut.mean)) out a second in the mean, "
                    + "\(readable(swapIn.most)) and \(readable(swapOut.most)) at most\n"
            )
        }
        // Processes that used a twentieth of a processor or more.
        for each in load.busiest.prefix(5) where each.seconds >= 0.05 * each.span {
            try out.write(
                "  \(percent(each.seconds / max(each.span, 1))) of a processor: "
                    + "\(shortened(printable(Finding.commandLine(each.detail, each.name)), 60)) (\(each.pid))\n"
            )
        }
        try out.write("\n")
    }

    private func percent(_ share: Double) -> String {
        let value = share * 100
        return value >= 10 || value == 0 ? "\(Int(min(value, 1e9).rounded())) %" : "\((value * 10).rounded() / 10) %"
    }
}
