// Reads and parses the text files of /proc and /sys below a root: lines, words, numbers. The root is / on a machine,
// and a recorded tree in tests. A file may contain anything, end anywhere, or be gone: what can't be read is an error,
// what isn't a number is nil, and a number too large becomes the largest one.

import Glibc
import SystemPackage
import Text

/// The files of a machine, or of a tree recorded from one.
final class ProcText {
    /// Without a slash at its end: empty for the machine itself.
    let root: String
    private var chunk = [UInt8](repeating: 0, count: 64 << 10)

    init(root: String) {
        var root = root
        while root.hasSuffix("/") { root.removeLast() }
        self.root = root
    }

    /// Passes a file's lines to `body`, one by one and without newlines, for files of any length.
    ///
    /// A line longer than 64 KB is cut; the kernel has none.
    func forEachLine(_ path: String, _ body: (ArraySlice<UInt8>) -> Void) throws(Errno) {
        let file = try open(path)
        defer { close(file) }
        var rest: [UInt8] = []
        while true {
            let count = try fill(file)
            if count == 0 { break }
            var start = 0
            while let end = chunk[start ..< count].firstIndex(of: UInt8(ascii: "\n")) {
                if rest.isEmpty {
                    body(chunk[start ..< end])
                } else {
                    rest.append(contentsOf: chunk[start ..< end])
                    body(rest[...])
                    rest.removeAll(keepingCapacity: true)
                }
                start = end + 1
            }
            if rest.count < 64 << 10 { rest.append(contentsOf: chunk[start ..< count]) }
        }
        if !rest.isEmpty { body(rest[...]) }
    }

    /// A small file, or its first 64 KB.
    func read(_ path: String) throws(Errno) -> [UInt8] {
        let file = try open(path)
        defer { close(file) }
        var bytes: [UInt8] = []
        while bytes.count < chunk.count {
            let count = try fill(file)
            if count == 0 { break }
            bytes.append(contentsOf: chunk[..<min(count, chunk.count - bytes.count)])
        }
        return bytes
    }

    /// One number, alone in a file.
    func number(_ path: String) -> Int64? {
        guard let bytes = try? read(path), let word = words(bytes[...]).first else { return nil }
        return Watch.number(word)
    }

    func word(_ path: String) -> String? {
        guard let bytes = try? read(path), let word = words(bytes[...]).first else { return nil }
        return String(decoding: word, as: UTF8.self)
    }

    func exists(_ path: String) -> Bool { (root + path).withPath({ access($0, F_OK) }) == 0 }

    /// The names in a directory, without those that begin with a dot, in no particular order.
    func names(in path: String) throws(Errno) -> [String] {
        guard let directory = (root + path).withPath({ opendir($0) }) else { throw Errno(rawValue: errno) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { pathText($0.prefix { $0 != 0 }) }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    /// The target of a symbolic link.
    func link(_ path: String) -> ArraySlice<UInt8>? {
        let count = chunk.withUnsafeMutableBytes { buffer in
            buffer.withMemoryRebound(to: CChar.self) { text in
                text.baseAddress.map { into in (root + path).withPath { readlink($0, into, 4096) } } ?? -1
            }
        }
        return count > 0 ? chunk[..<count] : nil
    }

    private func open(_ path: String) throws(Errno) -> CInt {
        // Non-blocking, because in somebody else's tree a name may be a FIFO.
        let file = (root + path).withPath { Glibc.open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard file >= 0 else { throw Errno(rawValue: errno) }
        return file
    }

    private func fill(_ file: CInt) throws(Errno) -> Int {
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            if count >= 0 { return count }
            if errno != EINTR { throw Errno(rawValue: errno) }
        }
    }
}

/// The words of a line.
func words(_ line: ArraySlice<UInt8>, most: Int = .max) -> [ArraySlice<UInt8>] {
    line.split(maxSplits: most, whereSeparator: { $0 == 0x20 || $0 == 0x09 || $0 == 0x0A })
}

/// A decimal number; the largest 63-bit number if it is larger. nil for anything else.
func number(_ text: ArraySlice<UInt8>) -> Int64? {
    guard !text.isEmpty else { return nil }
    var value: Int64 = 0
    for byte in text {
        guard byte >= 0x30, byte <= 0x39 else { return nil }
        let (product, overflow) = value.multipliedReportingOverflow(by: 10)
        let (sum, carry) = product.addingReportingOverflow(Int64(byte - 0x30))
        if overflow || carry { return .max }
        value = sum
    }
    return value
}

func hexadecimalNumber(_ text: ArraySlice<UInt8>) -> Int64? {
    guard !text.isEmpty, text.count <= 16 else { return nil }
    var value: UInt64 = 0
    for byte in text {
        switch byte {
        case 0x30 ... 0x39: value = value << 4 | UInt64(byte - 0x30)
        case 0x41 ... 0x46: value = value << 4 | UInt64(byte - 0x41 + 10)
        case 0x61 ... 0x66: value = value << 4 | UInt64(byte - 0x61 + 10)
        default: return nil
        }
    }
    return Int64(clamping: value)
}

func has(_ text: ArraySlice<UInt8>, prefix: StaticString) -> Bool {
    guard text.count >= prefix.utf8CodeUnitCount else { return false }
    return prefix.withUTF8Buffer { text.starts(with: $0) }
}
