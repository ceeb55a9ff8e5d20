// The table on a terminal: which process has how much memory, and how that changes, renewed until q or a signal. A file
// or a pipe gets it once.

import Commands
import Glibc
import Screen
import Text
import Watch

enum LiveCommand {
    static func show(_ options: GatherOptions, every interval: Duration, for duration: Duration?) throws {
        // Before the terminal is taken: these signals then end the loop, and the terminal is given back.
        let stop = StopSignals()
        try reading {
            if isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1 {
                try showOnTerminal(Gatherer(options), every: interval, for: duration, stop)
            } else {
                try printOnce(Gatherer(options), after: interval, stop)
            }
        }
    }

    /// Growth needs two samples.
    private static func printOnce(_ gatherer: Gatherer, after interval: Duration, _ stop: StopSignals) throws {
        var table = LiveTable(pageBytes: machinePageBytes)
        let began = bootMilliseconds()
        table.add(gatherer.sample(at: began))
        if stop.wait(until: began + interval.milliseconds) { return }
        table.add(gatherer.sample(at: bootMilliseconds()))
        let style = Style(descriptor: STDOUT_FILENO, color: .auto)
        let out = TextOutput(descriptor: STDOUT_FILENO, name: "standard output")
        for line in table.lines(ScreenSize(width: style.width ?? 200, height: 40)) {
            try out.write(line.withoutTrailingSpaces.styled(style) + "\n")
        }
        try out.finish()
    }

    private static func showOnTerminal(
        _ gatherer: Gatherer, every interval: Duration, for duration: Duration?, _ stop: StopSignals
    ) throws {
        var table = LiveTable(pageBytes: machinePageBytes)
        let terminal = try Terminal()
        defer { terminal.end() }
        let began = bootMilliseconds()
        var next = began
        while true {
            let now = bootMilliseconds()
            if now >= next {
                table.add(gatherer.sample(at: now))
                if let duration, now - began >= duration.milliseconds { return }
                next = max(next + interval.milliseconds, bootMilliseconds() + interval.milliseconds / 2)
            }
            terminal.draw(table.lines(terminal.size))
            // Short, because a key doesn't come with the signals.
            let patience = min(max(0, next - bootMilliseconds()), 200)
            if let key = terminal.key(milliseconds: Int(patience)), table.press(key, terminal.size) { return }
            if stop.wait(until: 0) { return }
        }
    }
}
