// The terminal, through ncurses: reads keys, shows lines, and restores the terminal at the end.

import CTerminal
import Glibc
import Text

/// The terminal while a table is shown on it. Only one may exist; `end()` ends it.
package final class Terminal {
    private let curses: terminal_functions
    private let window: UnsafeMutablePointer<WINDOW>
    private let hasColours: Bool
    private let isUTF8: Bool

    /// Takes the terminal.
    ///
    /// - Throws: `InputError` if ncurses is missing, or doesn't know the terminal.
    package init() throws(InputError) {
        var functions = terminal_functions()
        if let reason = terminal_load(&functions) {
            throw InputError(
                file: "libncursesw.so.6",
                what:
                    "can't be loaded (Debian's package libncursesw6): \(String(cString: reason)); output to a file or "
                    + "pipe needs none")
        }
        guard let name = getenv("TERM"), name[0] != 0 else {
            throw InputError(
                file: "TERM", what: "is not set: which terminal is this? Output to a file or pipe needs none")
        }
        isUTF8 = terminal_is_utf8() != 0
        curses = functions
        guard let window = curses.initscr() else {
            throw InputError(
                file: String(cString: name),
                what: "a terminal that ncurses doesn't know; output to a file or pipe needs none")
        }
        self.window = window
        _ = curses.cbreak()
        _ = curses.noecho()
        _ = curses.keypad(window, true)
        _ = curses.curs_set(0)
        _ = curses.set_escdelay(50)
        let plain = getenv("NO_COLOR").map { $0[0] != 0 } ?? false
        hasColours = !plain && curses.has_colors()
        if hasColours {
            _ = curses.start_color()
            _ = curses.use_default_colors()
            _ = curses.init_pair(1, Int16(COLOR_YELLOW), -1)
        }
        _ = curses.mouseinterval(0)
        _ = curses.mousemask(terminal_wheel_up | terminal_wheel_down | terminal_click, nil)
    }

    /// Gives the terminal back as it was.
    package func end() { _ = curses.endwin() }

    /// Takes it again after `end()`.
    package func resume() { _ = curses.wrefresh(window) }

    package var size: ScreenSize {
        ScreenSize(
            width: Int(max(20, curses.getmaxx(window))), height: Int(max(4, curses.getmaxy(window))), isUTF8: isUTF8)
    }

    package func draw(_ lines: [ScreenLine]) {
        _ = curses.werase(window)
        for (number, line) in lines.enumerated() {
            _ = curses.wmove(window, Int32(number), 0)
            for span in line.spans {
                _ = curses.wattrset(window, attribute(span.emphasis))
                _ = curses.waddnstr(window, span.text, -1)
            }
        }
        _ = curses.wattrset(window, terminal_plain)
        _ = curses.wrefresh(window)
    }

    private func attribute(_ emphasis: Emphasis) -> Int32 {
        switch emphasis {
        case .plain: terminal_plain
        case .bold: terminal_bold
        case .dim: terminal_dim
        case .reverse: terminal_reverse
        case .warning: hasColours ? terminal_colour(1) : terminal_bold
        }
    }

    /// The next key; nil if none came in that time, or if the window's size changed.
    package func key(milliseconds: Int) -> Key? {
        _ = curses.wtimeout(window, Int32(clamping: max(0, milliseconds)))
        let code = curses.wgetch(window)
        switch code {
        case ERR, KEY_RESIZE: return nil
        case KEY_UP: return .up
        case KEY_DOWN: return .down
        case KEY_LEFT: return .left
        case KEY_RIGHT: return .right
        case KEY_PPAGE: return .pageUp
        case KEY_NPAGE: return .pageDown
        case KEY_HOME: return .home
        case KEY_END: return .end
        case KEY_ENTER, 10, 13: return .enter
        case KEY_BACKSPACE, 8, 127: return .backspace
        case 27: return .escape
        case 3: return .interrupt
        case KEY_MOUSE: return mouse()
        default:
            if code >= 32 && code < 127, let scalar = Unicode.Scalar(UInt32(code)) {
                return .character(Character(scalar))
            }
            return code >= 0xC2 && code <= 0xF4 ? character(first: UInt8(code)) : nil
        }
    }

    private func mouse() -> Key? {
        var event = MEVENT()
        guard curses.getmouse(&event) == OK else { return nil }
        if event.bstate & terminal_wheel_up != 0 { return .wheelUp }
        if event.bstate & terminal_wheel_down != 0 { return .wheelDown }
        return event.bstate & terminal_click != 0 ? .click(Int(event.y)) : nil
    }

    /// A character of several bytes; the other bytes have already arrived.
    private func character(first: UInt8) -> Key? {
        var bytes = [first]
        _ = curses.wtimeout(window, 0)
        while bytes.count < (first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4) {
            let next = curses.wgetch(window)
            guard next >= 0x80 && next < 0xC0 else { return nil }
            bytes.append(UInt8(next))
        }
        return String(validating: bytes, as: UTF8.self)?.first.map { .character($0) }
    }
}
