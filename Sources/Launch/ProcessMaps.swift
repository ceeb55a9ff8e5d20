// What /proc says of other processes: their mappings, start times and states. Everything read is text that
// may change or end at any moment; a process that goes away meanwhile is simply not there.

import Glibc
import HeapImage
import SystemPackage
import Text

/// One line of /proc/PID/maps.
struct Mapping: Equatable {
    var start: UInt64
    var end: UInt64
    /// MAP_SHARED, the `s` of the permissions.
    var isShared: Bool
    var fileOffset: UInt64
    /// `major:minor` in hexadecimal. Of a file system over others (overlayfs, btrfs) it is not the one that stat(2) tells.
    var device: String = ""
    /// 0 where no file is mapped.
    var inode: UInt64
    /// The file's path as the process's own mount namespace has it; with ` (deleted)` where it is gone.
    var path: String
}

/// A mapped file, as /proc/PID/maps names it: an inode alone is another file's on another file system.
struct MappedFile: Hashable {
    var device: String
    var inode: UInt64

    init(_ mapping: Mapping) {
        device = mapping.device
        inode = mapping.inode
    }

    init(_ status: stat) {
        // As the kernel packs them for stat (linux/kdev_t.h).
        let number = UInt64(status.st_dev)
        let major = number >> 8 & 0xFFF | number >> 32 & ~0xFFF, minor = number & 0xFF | number >> 12 & ~0xFF
        device = "\(hexadecimalDigits(major, 2)):\(hexadecimalDigits(minor, 2))"
        inode = UInt64(status.st_ino)
    }
}

/// Parses the text of /proc/PID/maps; lines that aren't mappings are passed over.
func parseMappings(_ text: [UInt8]) -> [Mapping] {
    text.split(separator: UInt8(ascii: "\n")).compactMap { line in
        // start-end perms offset dev inode   path: the path alone may hold spaces.
        let words = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
        guard words.count >= 5 else { return nil }
        let range = words[0].split(separator: UInt8(ascii: "-"))
        guard range.count == 2, let start = hexadecimal(range[0]), let end = hexadecimal(range[1]), start < end,
            words[1].count >= 4, let offset = hexadecimal(words[2]), let inode = UInt64(String(decoding: words[4], as: UTF8.self))
        else { return nil }
        let path = words.count > 5 ? pathText(words[5].drop { $0 == UInt8(ascii: " ") }) : ""
        let isShared = words[1][words[1].startIndex + 3] == UInt8(ascii: "s")
        return Mapping(start: start, end: end, isShared: isShared, fileOffset: offset, device: String(decoding: words[3], as: UTF8.self), inode: inode, path: path)
    }
}

private func hexadecimal(_ digits: ArraySlice<UInt8>) -> UInt64? { UInt64(String(decoding: digits, as: UTF8.self), radix: 16) }

/// The mappings of a process.
/// - Throws: ENOENT or ESRCH where there is no such process, EACCES or EPERM where it isn't ours to read.
func mappings(of pid: pid_t) throws(Errno) -> [Mapping] {
    var thread = livingThread(of: pid)
    while true {
        // vm.max_map_count is 65,530 by default; 64 MB hold ten times as many lines.
        let found = parseMappings(try readBytes(FilePath("/proc/\(thread)/maps"), limit: 64 << 20))
        // A thread that ended just now shows none, and its process may live on by another.
        let next = livingThread(of: pid)
        if !found.isEmpty || next == thread { return found }
        thread = next
    }
}

/// The number by which /proc shows what a process's threads share: its own, or where its first thread has ended, that of one that lives.
func livingThread(of pid: pid_t) -> pid_t {
    Presence.livingThread(of: UInt32(bitPattern: pid)).map { pid_t(bitPattern: $0) } ?? pid
}

/// What /proc/PID/stat says of a process.
struct ProcessStatus: Equatable {
    /// `R`, `S`, `T`, `Z` …, of its first thread
    var state: UInt8
    /// Field 22: clock ticks since boot.
    var startTime: UInt64

    static func of(_ pid: pid_t) -> ProcessStatus? {
        guard let text = try? readBytes(FilePath("/proc/\(pid)/stat"), limit: 4096) else { return nil }
        return ProcessStatus(parsing: text)
    }

    init?(parsing text: [UInt8]) {
        // Field 2 is the name in parentheses, and may hold both spaces and parentheses: the last one ends it.
        guard let close = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = text[(close + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, let state = fields[0].first, let time = UInt64(String(decoding: fields[19], as: UTF8.self)) else { return nil }
        self.state = state
        startTime = time
    }
}

/// The processes that /proc lists.
func processes() -> [pid_t] {
    ((try? namesInDirectory("/proc")) ?? []).compactMap { pid_t($0.text) }
}
