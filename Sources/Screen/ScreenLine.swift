// The screen's contents, as lines of spans. The code that draws lines does not know how they are shown: by ncurses on
// a terminal, or as text in a pipe.

import Text

/// How a piece of text stands out.
package enum Emphasis: Sendable {
    case plain, bold, dim, reverse, warning
}

/// One line of a screen.
package struct ScreenLine: Equatable, Sendable {
    package struct Span: Equatable, Sendable {
        package var text: String
        package var emphasis: Emphasis
    }
    package var spans: [Span] = []

    package init(_ text: String = "", _ emphasis: Emphasis = .plain) {
        if !text.isEmpty { spans = [Span(text: text, emphasis: emphasis)] }
    }

    package mutating func append(_ text: String, _ emphasis: Emphasis = .plain) {
        if !text.isEmpty { spans.append(Span(text: text, emphasis: emphasis)) }
    }

    package var text: String { spans.map(\.text).joined() }

    /// The line in reverse, padded to the screen's width.
    package func highlighted(width: Int) -> ScreenLine { ScreenLine(padded(text, width), .reverse) }

    /// Cut to a width in columns.
    package func cut(to width: Int) -> ScreenLine {
        var line = ScreenLine(), room = width
        for span in spans where room > 0 {
            let count = span.text.count
            line.append(count <= room ? span.text : String(span.text.prefix(room)), span.emphasis)
            room -= min(count, room)
        }
        return line
    }

    /// For output to a file or pipe.
    package var withoutTrailingSpaces: ScreenLine {
        var line = self
        while let last = line.spans.last, last.text.hasSuffix(" ") {
            line.spans.removeLast()
            line.append(String(last.text.dropLast()), last.emphasis)
        }
        return line
    }

    /// The line as text, with the terminal's escape sequences if the style has colours.
    package func styled(_ style: Style) -> String {
        spans.map { span in
            switch span.emphasis {
            case .plain, .reverse: span.text
            case .bold: style.bold(span.text)
            case .dim: style.dim(span.text)
            case .warning: style.warning(span.text)
            }
        }.joined()
    }
}

/// What a terminal can show.
package struct ScreenSize: Equatable, Sendable {
    package var width: Int
    package var height: Int
    /// Whether characters beyond ASCII can be shown.
    package var isUTF8: Bool

    package init(width: Int, height: Int, isUTF8: Bool = true) {
        (self.width, self.height, self.isUTF8) = (width, height, isUTF8)
    }
}
