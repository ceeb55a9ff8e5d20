// The terminal that a table goes to: its width, and whether it gets colours.

import Glibc

/// When colours are used.
package enum ColorChoice: String, CaseIterable, Sendable {
    case auto, always, never
}

/// How a table is laid out.
package struct Style: Sendable {
    /// The width to keep within, in columns; nil: any length.
    package var width: Int?
    package var colors = false

    package init(width: Int? = nil, colors: Bool = false) {
        self.width = width
        self.colors = colors
    }

    /// The style for a descriptor: the terminal's width, else COLUMNS, else 100. Lines to a file or pipe are not cut.
    /// NO_COLOR and TERM=dumb turn colours off.
    package init(descriptor: CInt, color: ColorChoice) {
        let terminal = isatty(descriptor) == 1
        if terminal {
            var size = winsize()
            let columns = Self.environment("COLUMNS").flatMap { Int($0) }
            if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 {
                width = max(40, Int(size.ws_col))
            } else {
                width = min(max(40, columns ?? 100), 10_000)
            }
        }
        switch color {
        case .always: colors = true
        case .never: colors = false
        case .auto:
            colors = terminal && (Self.environment("NO_COLOR") ?? "").isEmpty && Self.environment("TERM") != "dumb"
        }
    }

    private static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    package func bold(_ text: String) -> String { colors ? "\u{1B}[1m\(text)\u{1B}[0m" : text }
    package func dim(_ text: String) -> String { colors ? "\u{1B}[2m\(text)\u{1B}[0m" : text }
    package func warning(_ text: String) -> String { colors ? "\u{1B}[33m\(text)\u{1B}[0m" : text }
}
