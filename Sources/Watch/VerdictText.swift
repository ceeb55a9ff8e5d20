// The verdict for people: first what grows, and what to do about it; then where the memory is, what moves without
// growing, and what the answer is based on. Names come from outside and are escaped.

import Text
import Trend

package struct VerdictText {
    package var style: Style

    package init(style: Style) { self.style = style }

    package func write(_ verdict: Verdict, to out: TextOutput) throws {
        let span = Double(verdict.to - verdict.from) / 1000
        var head = [
            verdict.host.isEmpty ? "recording" : printable(verdict.host),
            "\(shortTime(verdict.from)) to \(shortTime(verdict.to))", shortDuration(span),
            counted(UInt64(verdict.samples), "sample"),
        ]
        if verdict.intervalSeconds > 0 { head.append("every \(shortDuration(verdict.intervalSeconds))") }
        head.append(separated(UInt64(verdict.processes)) + (verdict.processes == 1 ? " process" : " processes"))
        try out.write(style.bold(head[0]) + " · " + head.dropFirst().joined(separator: " · ") + "\n\n")
        try writeGrowing(verdict, out)
        try writeUndrained(verdict, out)
        try writeJobs(verdict, out)
        try LoadText(style: style).write(verdict.load, to: out)
        if let memory = verdict.memory { try writeMemory(memory, verdict.memoryAtFirst ?? memory, out) }
        try writeMoving(verdict, out)
        try writeFoot(verdict, out)
    }

    // MARK: What grows

    private func writeGrowing(_ verdict: Verdict, _ out: TextOutput) throws {
        if verdict.growing.isEmpty {
            let why =
                verdict.samples < Growth.fewestMoments
                ? "Too few samples to say what grows: \(Growth.fewestMoments) are needed."
                : "Nothing grows, of \(separated(UInt64(verdict.tests))) series that move."
            try out.write(style.bold(why) + "\n\n")
            return
        }
        try out.write(style.bold("Growing") + "\n")
        for finding in verdict.growing {
            try out.write("  " + style.warning(title(finding)) + "\n")
            let trend = finding.trend
            let line =
                "    \(amount(finding.first, finding.unit)) → \(amount(finding.last, finding.unit)), "
                + "\(rate(trend, finding.unit))"
            try out.write(line + ", \(trend.shape.rawValue), \(chance(trend.pValue))\n")
            if let since = finding.since, let whole = finding.whole {
                try out.write(
                    "    since \(shortTime(since)), when its level changed; over the whole time "
                        + "\(amount(whole.first, finding.unit)) → \(amount(finding.last, finding.unit)), "
                        + "\(whole.trend.shape.rawValue)\n"
                )
            }
            if !finding.holders.isEmpty {
                let held = finding.holders.dropFirst()
                try out.write(
                    "    of \(printable(finding.holders[0])), "
                        + (held.isEmpty
                            ? "held by no process that is watched"
                            : "held by " + held.map(printable).joined(separator: ", ")) + "\n")
            }
            if !finding.followers.isEmpty {
                try out.write("    therefore grow, too: \(finding.followers.map(printable).joined(separator: ", "))\n")
            }
            if let at = finding.exhaustedAt {
                let left = shortDuration(Double(at - verdict.to) / 1000)
                try out.write(
                    "    at this rate "
                        + (finding.kind == .descriptors ? "its limit of descriptors is reached" : "memory is gone")
                        + " in \(left), \(shortTime(at))\n")
            }
            if finding.hasEnded { try out.write("    ended \(shortTime(finding.to))\n") }
            try writeNext(finding.next, out)
        }
        try out.write("\n")
    }

    private func title(_ finding: Finding) -> String {
        var text = shortened(printable(Finding.commandLine(finding.detail, finding.name)), 60)
        if let pid = finding.pid {
            text += " (\(pid)" + (finding.successorOf.map { ", successor of \($0)" } ?? "") + ")"
        }
        return finding.kind == .unexplained || finding.pid == nil && finding.kind != .slab && !finding.isNamed
            ? printable(finding.what) : "\(text): \(printable(finding.what))"
    }

    private func writeNext(_ step: NextStep?, _ out: TextOutput) throws {
        guard let step else { return }
        // A compiler's arguments go on for pages; --format json has them all.
        try out.write("    next: \(step.command)\n")
        if !step.remark.isEmpty { try out.write(style.dim("          \(printable(step.remark))") + "\n") }
    }

    private func writeUndrained(_ verdict: Verdict, _ out: TextOutput) throws {
        if verdict.undrained.isEmpty { return }
        try out.write(style.bold("Waiting in sockets, and never less") + "\n")
        for queue in verdict.undrained {
            try out.write(
                "  "
                    + style.warning(
                        "\(printable(queue.name)) (\(queue.pid)): \(queue.isReceiving ? "receive" : "send") queue")
                    + "\n")
            try out.write(
                "    \(separated(UInt64(max(queue.bytes, 0)))) bytes in "
                    + "\(counted(UInt64(max(queue.sockets, 0)), "socket")), for \(shortDuration(queue.seconds))\n"
            )
            try writeNext(queue.next, out)
        }
        try out.write("\n")
    }

    private func writeJobs(_ verdict: Verdict, _ out: TextOutput) throws {
        if verdict.jobRuns == 0 { return }
        try out.write(style.bold("Left behind by jobs") + ", \(counted(UInt64(verdict.jobRuns), "run"))\n")
        if verdict.leftBehind.isEmpty { try out.write("  Nothing.\n") }
        for left in verdict.leftBehind {
            try out.write("  " + style.warning("\(printable(left.job)): \(printable(left.what))") + "\n")
            try out.write(
                "    \(amount(left.amount, left.unit)) by \(separated(UInt64(left.runs))) of "
                    + "\(counted(UInt64(left.allRuns), "run")), the last \(shortTime(left.lastAt))\n"
            )
            try writeNext(left.next, out)
        }
        try out.write("\n")
    }

    // MARK: Where the memory is

    private func writeMemory(_ now: MemoryPicture, _ before: MemoryPicture, _ out: TextOutput) throws {
        try out.write(style.bold("Memory") + ", bytes, and the change since the first sample\n")
        func line(_ title: String, _ value: Int64, _ was: Int64, bold: Bool = false) throws {
            let number = leftPadded(signed(value), 16),
                change = leftPadded(value == was ? "" : (value > was ? "+" : "") + signed(value - was), 17)
            try out.write("  \(bold ? style.bold(number) : number)\(change)  \(title)\n")
        }
        for isOfApplications in [true, false] {
            for which in MemoryClass.allCases
            where which.isOfApplications == isOfApplications && (now[which] != 0 || before[which] != 0) {
                try line((isOfApplications ? "applications, " : "kernel, ") + which.title, now[which], before[which])
            }
        }
        try line("free", now.free, before.free)
        try line(
            now.isPartial ? "programs, and what isn't told apart" : "unexplained: pages that no counter counts",
            now.unexplained, before.unexplained, bold: true)
        try line("in all", now.total, before.total, bold: true)
        try out.write("\n")
    }

    // MARK: What doesn't grow, and what it all rests on

    private func writeMoving(_ verdict: Verdict, _ out: TextOutput) throws {
        if verdict.moving.isEmpty { return }
        try out.write(style.bold("Moves, but is not counted as growing") + "\n")
        let ofProcesses = verdict.moving.filter { $0.pid != nil }.prefix(8),
            ofMachine = verdict.moving.filter { $0.pid == nil }.prefix(6)
        let shown = ofProcesses + ofMachine
        for finding in shown {
            let shape = finding.trend.shape
            let movement = shape == .steadyGrowth ? "rises, but not throughout" : shape.rawValue
            try out.write(
                "  \(title(finding)): \(amount(finding.first, finding.unit)) → \(amount(finding.last, finding.unit)), "
                    + "\(movement)\(finding.hasEnded ? ", ended" : "")\n"
            )
        }
        if verdict.moving.count > shown.count {
            try out.write(style.dim("  and \(verdict.moving.count - shown.count) more, in --format json") + "\n")
        }
        try out.write("\n")
    }

    private func writeFoot(_ verdict: Verdict, _ out: TextOutput) throws {
        if verdict.imageBytes > 0 {
            try out.write(
                "heapsum's image: \(readable(verdict.imageBytes)) of the shared memory are recordings of heapsum's "
                    + "own, and not counted as growth.\n"
            )
        }
        for damage in verdict.damages.prefix(8) { try out.write("Lost: \(printable(damage.text)).\n") }
        if verdict.damages.count > 8 { try out.write("Lost: \(verdict.damages.count - 8) more parts.\n") }
        for note in verdict.notes.prefix(20) {
            try out.write(note.hasPrefix("imported") ? "\(printable(note)).\n" : "Not there: \(printable(note)).\n")
        }
        if verdict.notes.count > 20 {
            try out.write("Not there: \(verdict.notes.count - 20) more, in --format json.\n")
        }
        var foot = "The recording takes \(separated(UInt64(verdict.recordedBytes))) bytes"
        if verdict.thinnings > 0 { foot += ", its oldest samples thinned to one in \(1 << min(verdict.thinnings, 40))" }
        if let share = verdict.ownShare { foot += "; gathering took \(hundredths(share * 100)) % of one processor" }
        if let bytes = verdict.ownBytes, bytes > 0 { foot += " and \(separated(UInt64(bytes >> 20))) MB" }
        try out.write(foot + ".\n")
    }
}

// MARK: Words for numbers

func signed(_ value: Int64) -> String { (value < 0 ? "-" : "") + separated(value.magnitude) }

private func amount(_ value: Double, _ unit: Unit) -> String {
    let number = signed(Int64(exactly: value.rounded()) ?? (value > 0 ? .max : .min))
    return unit == .bytes ? readable(value) : number
}

/// Bytes in a readable unit, with at most three digits: 7.01 GB, 215 MB. Powers of 1,024, as in free -h.
func readable(_ bytes: Double) -> String {
    var value = bytes.magnitude, unit = 0
    let units = ["bytes", "KB", "MB", "GB", "TB", "PB"]
    while value >= 1000, unit < units.count - 1 {
        value /= 1024
        unit += 1
    }
    let sign = bytes < 0 ? "-" : ""
    if unit == 0 { return "\(sign)\(Int(value.rounded())) bytes" }
    let digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
    let scale = digits == 0 ? 1.0 : digits == 1 ? 10 : 100
    let scaled = Int((value * scale).rounded()), whole = scaled / Int(scale), rest = scaled % Int(scale)
    return sign + (digits == 0 ? "\(whole)" : "\(whole)." + (digits == 2 && rest < 10 ? "0" : "") + "\(rest)") + " "
        + units[unit]
}

/// Per hour, or per day if that is clearer. The uncertainty is shown if it is a tenth or more.
private func rate(_ trend: Trend, _ unit: Unit) -> String {
    let perHour = trend.slopePerSecond * 3600
    let isHourly = perHour.magnitude >= 10 && unit == .count || unit == .bytes && perHour.magnitude >= 1024
    let scale = isHourly ? 3600.0 : 86_400
    let value = trend.slopePerSecond * scale
    var text = (value >= 0 ? "+" : "") + amount(value, unit)
    let off = max(trend.slopeHigh - trend.slopePerSecond, trend.slopePerSecond - trend.slopeLow) * scale
    if off.isFinite, off >= value.magnitude / 10 { text += " ± \(amount(off, unit))" }
    return text + (isHourly ? " an hour" : " a day")
}

private func chance(_ p: Double) -> String {
    if p <= 0 { return "p < 1e-300" }
    if p >= 0.001 { return "p = \((p * 1000).rounded() / 1000)" }
    var exponent = 0, value = p
    while value < 1 {
        value *= 10
        exponent += 1
    }
    return "p = \(Int(value))e-\(exponent)"
}

func hundredths(_ value: Double) -> String {
    let whole = Int64(exactly: (value * 100).rounded()) ?? 0
    return "\(whole / 100).\(whole % 100 < 10 ? "0" : "")\(whole % 100)"
}
