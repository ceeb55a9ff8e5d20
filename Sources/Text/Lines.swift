// Lines to the standard streams, for all tools: written whole in spite of interrupts, without libc's buffers.

import Glibc

/// Prints a message of one line on stderr, made fit for a terminal, because names in it may hold anything. A closed
/// stderr is not an error.
package func say(_ text: String) { _ = writeLine(printable(text), to: STDERR_FILENO) }

/// The same for a line that is already fit to show: a command made of `shellWord`s.
package func sayShown(_ text: String) { _ = writeLine(text, to: STDERR_FILENO) }

/// Writes a line of data to stdout, a path's bytes as they are; returns whether all of it was written.
package func writeData(_ text: String) -> Bool { writeLine(text, to: STDOUT_FILENO) }

private func writeLine(_ text: String, to descriptor: Int32) -> Bool {
    var bytes = (text + "\n").pathBytes[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        if count <= 0 { return false }
        bytes = bytes.dropFirst(count)
    }
    return true
}
