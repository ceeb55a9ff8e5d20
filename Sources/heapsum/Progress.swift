// The progress bar: on stderr if that is a terminal, and only if a command takes long.
//
// Invariant: nothing is written in the first half second, or if stderr is no terminal. The bar is removed before the
// command writes anything else.

import Glibc
import Report
import Text

/// Shows the progress of reading: bytes, rate, and the remaining time.
final class Progress {
    private let isShown: Bool
    private let columns: Int
    private let name: String
    private var storedBytes: UInt64?
    private let began = Progress.now()
    private var last = 0.0
    private var isDrawn = false

    /// For the file `name`; `storedBytes` is its size, if known.
    init(name: String, storedBytes: UInt64?, isWanted: Bool) {
        isShown = isWanted && isatty(STDERR_FILENO) == 1 && getenv("TERM").map { String(cString: $0) } != "dumb"
        columns = Style(descriptor: STDERR_FILENO, color: .never).width ?? 80
        self.name = name
        self.storedBytes = storedBytes
    }

    /// The same, if the total is known only now.
    func update(_ bytes: UInt64, _ stored: UInt64, of total: UInt64?) {
        storedBytes = total
        update(bytes, stored)
    }

    /// Called with the bytes of the log so far, and the bytes of the file that they were read from.
    func update(_ bytes: UInt64, _ stored: UInt64) {
        guard isShown else { return }
        let now = Self.now()
        guard now - began >= 0.5, now - last >= 0.1 else { return }
        last = now
        isDrawn = true
        draw(
            Self.line(name: name, bytes: bytes, stored: stored, of: storedBytes, seconds: now - began, columns: columns)
        )
    }

    /// Removes the bar.
    func end() {
        if isDrawn { draw("") }
        isDrawn = false
    }

    private func draw(_ line: String) {
        // To the line's start, and clear what is right of the text.
        let bytes = Array(("\r" + line + "\u{1B}[K").utf8)
        _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    /// The bar's text, shorter than `columns`.
    static func line(
        name: String, bytes: UInt64, stored: UInt64, of total: UInt64?, seconds: Double, columns: Int
    ) -> String {
        let rate = seconds > 0 ? Double(bytes) / seconds : 0
        var text = "\(shortSize(Double(bytes)))  \(shortSize(rate))/s"
        var bar = ""
        if let total, total > 0 {
            let share = min(1, Double(stored) / Double(total))
            let left = share > 0 ? seconds / share - seconds : 0
            text = "\(Int(share * 100))%  \(text)  \(shortDuration(left)) left"
            let width = min(30, columns - text.count - 24)
            if width >= 8 {
                let full = Int(share * Double(width))
                bar = "[" + String(repeating: "=", count: full) + String(repeating: " ", count: width - full) + "] "
            }
        }
        let room = columns - 1 - bar.count - text.count - 2
        let shown = printable(name)
        let title = room < 8 ? "" : (shown.count <= room ? shown : "…" + shown.suffix(room - 1)) + "  "
        return String((title + bar + text).prefix(columns - 1))
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
