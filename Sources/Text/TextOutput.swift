// The output of reports: bytes, collected and written in large pieces.

import Glibc
import SystemPackage

/// Bytes on their way to a file, a terminal, or memory.
package final class TextOutput {
    private enum Sink {
        case memory
        case descriptor(CInt)
        case file(OutputFile)
    }
    private var sink: Sink
    private let path: String
    /// Bytes that are not flushed yet; all bytes if there is no file.
    package private(set) var bytes: [UInt8] = []

    /// Keeps everything in `bytes`.
    package init() {
        sink = .memory
        path = "memory"
    }

    /// Writes to an open descriptor, which stays open.
    package init(descriptor: CInt, name: String) {
        sink = .descriptor(descriptor)
        path = name
    }

    /// Writes to a file, which replaces an older one when it is complete, at `finish`; `-` is standard output. See
    /// `OutputFile`.
    package init(path: String, inputs: [String] = []) throws(OutputError) {
        self.path = path
        sink = .file(try OutputFile(path: path, inputs: inputs))
    }

    package func write(_ text: String) throws(OutputError) {
        bytes.append(contentsOf: text.utf8)
        try flush(above: 1 << 16)
    }

    package func write(_ more: [UInt8]) throws(OutputError) {
        bytes.append(contentsOf: more)
        try flush(above: 1 << 16)
    }

    /// Writes zeros. Many of them are a hole of a new file.
    package func write(zeros count: Int) throws(OutputError) {
        if count > 1 << 16, case .file(let file) = sink {
            try flush(above: 0)
            return try file.write(zeros: count)
        }
        var left = count
        while left > 0 {
            let part = min(left, 1 << 16)
            try write([UInt8](repeating: 0, count: part))
            left -= part
        }
    }

    /// Writes the remaining bytes. A report is complete only after this call, and its file accepts no more.
    package func finish() throws(OutputError) {
        try flush(above: 0)
        if case .file(let file) = sink {
            try file.commit()
            sink = .memory
        }
    }

    private func flush(above limit: Int) throws(OutputError) {
        guard bytes.count > limit else { return }
        switch sink {
        case .memory: return
        case .file(let file): try file.write(bytes)
        case .descriptor(let descriptor):
            var done = 0
            while done < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done)
                }
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { throw OutputError(path: path, errno: Errno(rawValue: errno)) }
                done += count
            }
        }
        bytes.removeAll(keepingCapacity: true)
    }

    package var text: String { String(decoding: bytes, as: UTF8.self) }
}
