// The mappings of a process, from /proc/PID/maps. The text may change or end at any moment. A process that ends
// meanwhile counts as missing.

import Glibc
import SystemPackage
import Text

/// One line of /proc/PID/maps.
package struct Mapping: Equatable {
    package var start: UInt64
    package var end: UInt64
    /// MAP_SHARED, the `s` of the permissions.
    package var isShared: Bool
    package var fileOffset: UInt64
    /// `major:minor` in hexadecimal. On overlayfs and btrfs it differs from stat(2)'s.
    package var device: String = ""
    /// 0 where no file is mapped.
    package var inode: UInt64
    /// The file's path in the process's mount namespace, with ` (deleted)` if the file was removed.
    package var path: String

    package init(
        start: UInt64, end: UInt64, isShared: Bool, fileOffset: UInt64, device: String = "", inode: UInt64, path: String
    ) {
        (self.start, self.end, self.isShared, self.fileOffset) = (start, end, isShared, fileOffset)
        (self.device, self.inode, self.path) = (device, inode, path)
    }
}

/// A mapped file's identity in /proc/PID/maps: the device is needed, because other file systems reuse inode numbers.
package struct MappedFile: Hashable {
    package var device: String
    package var inode: UInt64

    package init(_ mapping: Mapping) {
        device = mapping.device
        inode = mapping.inode
    }

    package init(_ status: stat) {
        // Unpack as the kernel packs for stat (linux/kdev_t.h).
        let number = UInt64(status.st_dev)
        let major = number >> 8 & 0xFFF | number >> 32 & ~0xFFF, minor = number & 0xFF | number >> 12 & ~0xFF
        device = "\(hexadecimalDigits(major, 2)):\(hexadecimalDigits(minor, 2))"
        inode = UInt64(status.st_ino)
    }
}

/// Parses the text of /proc/PID/maps; lines that aren't mappings are passed over.
package func parseMappings(_ text: [UInt8]) -> [Mapping] {
    text.split(separator: UInt8(ascii: "\n")).compactMap { line in
        // start-end perms offset dev inode   path: the path alone may hold spaces.
        let words = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
        guard words.count >= 5 else { return nil }
        let range = words[0].split(separator: UInt8(ascii: "-"))
        guard range.count == 2, let start = hexadecimal(range[0]), let end = hexadecimal(range[1]), start < end,
            words[1].count >= 4, let offset = hexadecimal(words[2]), let inode = decimal(words[4])
        else { return nil }
        let path = words.count > 5 ? pathText(words[5].drop { $0 == UInt8(ascii: " ") }) : ""
        let isShared = words[1][words[1].startIndex + 3] == UInt8(ascii: "s")
        return Mapping(
            start: start, end: end, isShared: isShared, fileOffset: offset,
            device: String(decoding: words[3], as: UTF8.self), inode: inode, path: path)
    }
}

private func hexadecimal(_ digits: ArraySlice<UInt8>) -> UInt64? { number(digits, radix: 16) }

/// The mappings of a process.
/// - Throws: ENOENT or ESRCH if there is no such process, EACCES or EPERM if this user may not read it.
package func mappings(of pid: pid_t) throws(Errno) -> [Mapping] {
    var thread = livingThread(of: pid)
    while true {
        // vm.max_map_count is 65,530 by default; 64 MB hold ten times as many lines.
        let found = parseMappings(try readBytes(FilePath("/proc/\(thread)/maps"), limit: 64 << 20))
        // A thread that has just ended shows no mappings, but its process may still have a living thread.
        let next = livingThread(of: pid)
        if !found.isEmpty || next == thread { return found }
        thread = next
    }
}
