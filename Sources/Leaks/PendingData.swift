// Pointers in transit: data that waits in pipes and unix sockets for the program to read, as in a pipe that wakes up an
// event loop. The data is read while the program is stopped, and stays in place.
//
// Invariant: the copied descriptors are open only while this value lives: shortly before and during the pause.

import CLeaks
import Glibc
import Proc
import Text

/// The pipes and unix sockets that a process may read from.
final class PendingData {
    private struct Entry {
        var descriptor: CInt
        var isPipe: Bool
        /// The name to show: "pipe 5".
        var name: String
    }
    private var entries: [Entry] = []
    /// What could not be read, if it does not matter for the verdict.
    private(set) var notes: [String] = []

    /// The most descriptors that are read; `notes` counts the rest.
    private static let most = 4096
    /// The most bytes that are read from one descriptor.
    private static let mostBytes = 1 << 20

    /// - Complexity: O(descriptors), a few system calls each, and O(unix sockets of the network namespace).
    init(of processID: pid_t) {
        let process = leaks_open_process(processID)
        guard process >= 0 else {
            if process == -ENOSYS { notes.append("what waits in pipes and sockets can't be read before Linux 5.6") }
            return
        }
        defer { close(process) }
        guard let directory = opendir("/proc/\(processID)/fd") else { return }
        defer { closedir(directory) }
        Self.raiseDescriptorLimit()
        var sockets: Set<[UInt8]>?, left = 0
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let number = CInt(name), let (kind, inode) = target(directory, name) else { continue }
            if kind == "socket" {
                if sockets == nil { sockets = Self.unixSockets(of: processID) }
                guard sockets?.contains(inode) == true else { continue }
            } else if kind != "pipe" {
                continue
            }
            guard entries.count < Self.most else {
                left += 1
                continue
            }
            let descriptor = leaks_take_descriptor(process, number)
            if descriptor >= 0 {
                entries.append(Entry(descriptor: descriptor, isPipe: kind == "pipe", name: "\(kind) \(name)"))
            } else if descriptor != -EBADF {
                left += 1
            }
        }
        if left > 0 { notes.append("\(left) pipes and sockets were not read") }
    }

    deinit { for entry in entries { close(entry.descriptor) } }

    // Each copied descriptor counts against this tool's limit.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        let wanted = rlim_t(most) + 1024
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < wanted else {
            return
        }
        limit.rlim_cur = min(limit.rlim_max, wanted)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    // "pipe:[4711]". Only the read end of a pipe counts: data in a pipe that the process only writes is for others.
    private func target(_ directory: OpaquePointer, _ name: String) -> (kind: String, inode: [UInt8])? {
        var link = [UInt8](repeating: 0, count: 64), status = stat()
        let count = link.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { readlinkat(dirfd(directory), name, $0.assumingMemoryBound(to: CChar.self), 63) }
                ?? -1
        }
        guard count > 0 else { return nil }
        let text = link[..<count]
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")), text.last == UInt8(ascii: "]"),
            colon + 2 < text.endIndex
        else { return nil }
        let kind = String(decoding: text[..<colon], as: UTF8.self)
        if kind == "pipe" {
            guard fstatat(dirfd(directory), name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IRUSR != 0
            else { return nil }
        }
        return (kind, Array(text[(colon + 2)...].dropLast()))
    }

    // The inodes: the seventh field of each line of /proc/PID/net/unix.
    private static func unixSockets(of processID: pid_t) -> Set<[UInt8]> {
        guard let text = procFile("/proc/\(processID)/net/unix") else { return [] }
        var result: Set<[UInt8]> = []
        for line in text.split(separator: UInt8(ascii: "\n")).dropFirst() {
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 7)
            if fields.count >= 7 { result.insert(Array(fields[6])) }
        }
        return result
    }

    /// The words in the waiting data. A word may begin at any byte, because the data's format is unknown.
    ///
    /// - Complexity: O(waiting bytes), and a system call for each pipe and socket.
    func words(_ shortfalls: inout [Shortfall]) -> [KernelWord] {
        var words: [KernelWord] = []
        for entry in entries {
            let waiting = leaks_waiting(entry.descriptor)
            guard waiting >= 8 else { continue }
            var buffer = [UInt8](repeating: 0, count: min(waiting, Self.mostBytes))
            let got = buffer.withUnsafeMutableBytes {
                entry.isPipe
                    ? leaks_peek_pipe(entry.descriptor, $0.baseAddress, $0.count)
                    : leaks_peek_socket(entry.descriptor, $0.baseAddress, $0.count)
            }
            buffer.withUnsafeBytes { bytes in
                for offset in 0 ..< max(0, got - 7) {
                    let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    // It can be an address of the program: neither small nor the kernel's.
                    if word >> 48 == 0 && word > 0xFFFF { words.append(KernelWord(value: word, place: entry.name)) }
                }
            }
            if !entry.isPipe && leaks_is_stream(entry.descriptor) == 0 {
                shortfalls.append(Shortfall(what: "messages in \(entry.name) after the first"))
            } else if got < waiting {
                shortfalls.append(
                    Shortfall(what: "\(waiting - max(got, 0)) of \(counted(UInt64(waiting), "byte")) in \(entry.name)"))
            }
        }
        return words
    }
}
