import Glibc

/// A terminal of a size, by tmux, on a server of its own.
package final class TerminalSession {
    private let scratch: Scratch
    private let socket: String

    package init(
        _ scratch: Scratch, width: Int, height: Int, _ command: [String], variables: String = "LC_ALL=C.UTF-8"
    ) throws {
        self.scratch = scratch
        socket = scratch.file("tmux-\(width)")
        try tmux(
            "-f /dev/null new-session -d -x \(width) -y \(height) \"env \(variables) "
                + command.map { "'\($0)'" }.joined(separator: " ") + "; echo left with $?; cat\"")
    }

    deinit { _ = system("tmux -S '\(socket)' kill-server 2>/dev/null") }

    package func tmux(_ words: String) throws { try scratch.prepare("tmux -u -S '\(socket)' \(words)") }
    package func send(_ keys: String) throws { try tmux("send-keys \(keys)") }

    package var screen: [String] {
        get throws {
            let outcome = try scratch.shell("tmux -u -S '\(socket)' capture-pane -p")
            return outcome.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        }
    }

    /// Waits for a screen of which this holds.
    package func shows(_ condition: ([String]) -> Bool) throws -> Bool {
        try eventually(seconds: 60) { condition(try screen) }
    }
    package func shows(_ text: String) throws -> Bool { try shows { $0.contains { $0.contains(text) } } }
}
