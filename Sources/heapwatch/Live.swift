// The table on a terminal: which process has how much memory, and how that changes, renewed until a signal. Anything
// but a terminal gets it once.

import Commands
import Glibc
import Text
import Watch

enum LiveCommand {
    static func show(_ options: GatherOptions, every interval: Duration, for duration: Duration?) throws {
        let gatherer = Gatherer(options)
        let isTerminal = isatty(STDOUT_FILENO) == 1
        let stop = StopSignals()
        let begin = bootMilliseconds()
        var table = LiveTable()
        try reading {
            let out = TextOutput(descriptor: STDOUT_FILENO, name: "standard output")
            while true {
                let now = bootMilliseconds()
                table.add(gatherer.sample(at: now))
                let isLast = duration.map { now - begin >= $0.milliseconds } ?? false
                if isTerminal || table.samples == 2 {
                    let style = Style(descriptor: STDOUT_FILENO, color: .auto)
                    var size = winsize()
                    let rows =
                        isTerminal && ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_row > 6
                        ? Int(size.ws_row) - 1 : 40
                    // Moves to the top, writes the text, and clears the rest of an earlier table.
                    if isTerminal { try out.write("\u{1B}[H") }
                    for line in table.lines(style: style, rows: rows) {
                        try out.write(line + (isTerminal ? "\u{1B}[K\n" : "\n"))
                    }
                    if isTerminal { try out.write("\u{1B}[J") }
                    try out.finish()
                }
                if isLast || !isTerminal && table.samples == 2 || stop.wait(until: now + interval.milliseconds) {
                    break
                }
            }
        }
    }
}
