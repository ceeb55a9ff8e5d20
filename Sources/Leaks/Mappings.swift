// A process's mappings from /proc/PID/maps, with what the search for roots needs.

import Glibc
import Proc
import SystemPackage
import Text

/// One mapping of a process.
package struct AddressMapping: Equatable {
    package var range: Range<UInt64>
    package var isReadable: Bool
    package var isWritable: Bool
    package var isExecutable: Bool
    package var isShared: Bool
    package var fileOffset: UInt64
    package var inode: UInt64
    /// The file's path, or the kernel's name in brackets; empty for anonymous memory.
    package var path: String

    /// Whether a file is mapped: not the kernel's own pages, nor anonymous memory.
    package var isFile: Bool { inode != 0 && path.hasPrefix("/") }
    /// Whether the kernel made it for itself. It holds none of the program's pointers.
    package var isKernels: Bool { path.hasPrefix("[v") }
    package var baseName: String { path.split(separator: "/").last.map(String.init) ?? "" }
}

/// Parses /proc/PID/maps. Lines that are no mappings are skipped.
func parseMaps(_ text: [UInt8]) -> [AddressMapping] {
    var result: [AddressMapping] = []
    for line in text.split(separator: UInt8(ascii: "\n")) {
        let words = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
        guard words.count >= 5, words[1].count >= 4, let dash = words[0].firstIndex(of: UInt8(ascii: "-")),
            let start = hexadecimal(words[0][..<dash]), let end = hexadecimal(words[0][(dash + 1)...]), start < end,
            let offset = hexadecimal(words[2]), let inode = decimal(words[4])
        else { continue }
        let flags = Array(words[1])
        let path = words.count > 5 ? pathText(words[5].drop { $0 == UInt8(ascii: " ") }) : ""
        result.append(
            AddressMapping(
                range: start ..< end, isReadable: flags[0] == UInt8(ascii: "r"),
                isWritable: flags[1] == UInt8(ascii: "w"),
                isExecutable: flags[2] == UInt8(ascii: "x"), isShared: flags[3] == UInt8(ascii: "s"),
                fileOffset: offset, inode: inode, path: path))
    }
    return result
}

/// The starts of the mappings that are empty in a fork's child (MADV_WIPEONFORK), from /proc/PID/smaps.
func wipedOnFork(_ text: [UInt8]) -> Set<UInt64> {
    var result: Set<UInt64> = []
    var start: UInt64?
    for line in text.split(separator: UInt8(ascii: "\n")) {
        if line.starts(with: "VmFlags:".utf8) {
            if let start, line.split(separator: UInt8(ascii: " ")).contains(where: { $0.elementsEqual("wf".utf8) }) {
                result.insert(start)
            }
        } else if let dash = line.firstIndex(of: UInt8(ascii: "-")), let found = hexadecimal(line[..<dash]) {
            start = found
        }
    }
    return result
}

/// A whole file of /proc; nil if it can't be read. `limit` bounds the memory that a hostile process can cost.
func procFile(_ path: String, limit: Int = 64 << 20) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count < limit {
        let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        if count < 0 { return nil }
        if count == 0 { break }
        bytes.append(contentsOf: chunk[..<count])
    }
    return bytes
}

func hexadecimal(_ digits: some Sequence<UInt8>) -> UInt64? {
    var value: UInt64 = 0, count = 0
    for digit in digits {
        let part: UInt8
        switch digit {
        case 0x30 ... 0x39: part = digit - 0x30
        case 0x61 ... 0x66: part = digit - 0x57
        case 0x41 ... 0x46: part = digit - 0x37
        default: return nil
        }
        count += 1
        guard count <= 16 else { return nil }
        value = value << 4 | UInt64(part)
    }
    return count > 0 ? value : nil
}

func decimal(_ digits: some Sequence<UInt8>) -> UInt64? { UInt64(String(decoding: Array(digits), as: UTF8.self)) }
