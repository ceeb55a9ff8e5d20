// What the tests ask of the machine: to run a command, to make and remove files. The compiler and
// binutils are needed: where one is missing the tests that need it fail and say so.

import Glibc
import TestSupport
import Testing

struct CommandFailure: Error { var command: String, status: CInt }

/// Runs a command in the shell and returns what it wrote to standard output.
@discardableResult
func shell(_ command: String, expecting expected: CInt = 0) throws -> [UInt8] {
    guard let stream = popen(command, "re") else { throw CommandFailure(command: command, status: -1) }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let got = fread(&chunk, 1, chunk.count, stream)
        if got == 0 { break }
        output.append(contentsOf: chunk[..<got])
    }
    let status = pclose(stream)
    guard status & 0x7F == 0, status >> 8 & 0xFF == expected else {
        throw CommandFailure(command: command, status: status)
    }
    return output
}

func lines(_ bytes: [UInt8]) -> [Substring] {
    String(decoding: bytes, as: UTF8.self).split(separator: "\n")
}

extension Scratch {
    func write(_ bytes: [UInt8], to name: String) throws -> String {
        let file = "\(path)/\(name)"
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o755)
        guard descriptor >= 0 else { throw CommandFailure(command: "open \(file)", status: errno) }
        defer { close(descriptor) }
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw CommandFailure(command: "write \(file)", status: errno)
        }
        return file
    }

    /// Compiles C (or assembler, by the name's ending) and returns the result's path.
    func compile(
        _ source: String, as name: String = "source.c", flags: String, to output: String = "out"
    ) throws -> String {
        let input = try write(Array(source.utf8), to: name)
        try prepare("cc \(flags) -o '\(path)/\(output)' '\(input)'")
        return "\(path)/\(output)"
    }
}

func readFile(_ path: String) throws -> [UInt8] { try shell("cat '\(path)'") }

extension String {
    /// The parts between a separator of any length.
    func components(separatedBy separator: String) -> [String] {
        split(separator: separator, omittingEmptySubsequences: false).map(String.init)
    }
}
