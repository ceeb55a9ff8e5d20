// The mappings of a process with their resident sizes, from /proc/PID/smaps. The text can be tens of megabytes, so it
// is read in pieces. The kernel reports each mapping at its own moment, not all at one moment.

import Glibc
import SystemPackage

/// One mapping, and its resident and swapped bytes.
package struct ResidentMapping: Equatable {
    package var mapping: Mapping
    /// The permissions as the kernel writes them: `rw-p`.
    package var permissions: [UInt8]
    package var residentBytes: UInt64 = 0
    package var swappedBytes: UInt64 = 0

    package init(mapping: Mapping, permissions: [UInt8], residentBytes: UInt64 = 0, swappedBytes: UInt64 = 0) {
        (self.mapping, self.permissions, self.residentBytes, self.swappedBytes) = (
            mapping, permissions, residentBytes, swappedBytes
        )
    }

    /// Private, and not of a file.
    package var isAnonymous: Bool { !mapping.isShared && (mapping.inode == 0 || mapping.path.hasPrefix("/dev/zero")) }
    package var isReserved: Bool { permissions.starts(with: Array("---".utf8)) }
}

/// Parses /proc/PID/smaps as its text comes in.
package struct SmapsParser {
    package private(set) var mappings: [ResidentMapping] = []
    private var rest: [UInt8] = []

    /// More mappings than any process has: vm.max_map_count is 65,530 by default, and can be raised.
    package static let mostMappings = 4 << 20

    package init() {}

    package mutating func add(_ bytes: ArraySlice<UInt8>) {
        var start = bytes.startIndex
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            if rest.isEmpty {
                add(line: bytes[start ..< end])
            } else {
                rest.append(contentsOf: bytes[start ..< end])
                add(line: rest[...])
                rest.removeAll(keepingCapacity: true)
            }
            start = end + 1
        }
        // No line is longer than a path and some numbers; drop anything longer.
        if rest.count < 64 << 10 { rest.append(contentsOf: bytes[start...]) }
    }

    /// Adds a line without its newline.
    package mutating func add(line text: ArraySlice<UInt8>) {
        guard let first = text.first else { return }
        // Fields begin with a capital letter, mappings with a lower-case hexadecimal digit.
        if !(UInt8(ascii: "A") ... UInt8(ascii: "Z")).contains(first) {
            guard mappings.count < Self.mostMappings, let mapping = parseMappings(Array(text)).first else { return }
            let words = text.split(separator: UInt8(ascii: " "), maxSplits: 2)
            mappings.append(ResidentMapping(mapping: mapping, permissions: words.count > 1 ? Array(words[1]) : []))
        } else if !mappings.isEmpty {
            if let bytes = Self.field("Rss:", text) { mappings[mappings.count - 1].residentBytes = bytes }
            if let bytes = Self.field("Swap:", text) { mappings[mappings.count - 1].swappedBytes = bytes }
        }
    }

    private static func field(_ name: StaticString, _ text: ArraySlice<UInt8>) -> UInt64? {
        let count = name.utf8CodeUnitCount
        guard text.count > count, name.withUTF8Buffer({ text.starts(with: $0) }) else { return nil }
        var kilobytes: UInt64 = 0
        for byte in text.dropFirst(count) {
            if byte == UInt8(ascii: " ") { if kilobytes == 0 { continue } else { break } }
            guard (0x30 ... 0x39).contains(byte), kilobytes < 1 << 50 else { break }
            kilobytes = kilobytes * 10 + UInt64(byte - 0x30)
        }
        return kilobytes << 10
    }
}

/// The mappings of a process with their resident sizes.
/// - Throws: ENOENT or ESRCH if there is no such process, EACCES or EPERM if this user may not read it.
package func residentMappings(of pid: pid_t) throws(Errno) -> [ResidentMapping] {
    let file = try openToRead(FilePath("/proc/\(livingThread(of: pid))/smaps"))
    defer { try? file.close() }
    var parser = SmapsParser()
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = chunk.withUnsafeMutableBytes { read(file.rawValue, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            throw Errno(rawValue: errno)
        }
        if count == 0 { break }
        parser.add(chunk[..<count])
    }
    return parser.mappings
}
