// Lines to the standard streams, for all tools alike: written whole, whatever interrupts, without libc's buffers.

import Glibc

/// Says a message of one line on stderr, made fit for a terminal: names in it may hold anything. A closed
/// stderr is no failure.
package func say(_ text: String) { _ = writeLine(printable(text), to: STDERR_FILENO) }

/// The same of a line that is fit to be shown already: a command whose words `shellWord` made.
package func sayShown(_ text: String) { _ = writeLine(text, to: STDERR_FILENO) }

/// Writes a line of data on stdout, a path's bytes as they are, and says whether it is there whole.
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
