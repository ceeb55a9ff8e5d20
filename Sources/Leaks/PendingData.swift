// Pointers that are on their way: what waits in pipes and unix sockets that the program itself will read, as in a pipe
// that wakes a loop up and says with what. It is looked at while the program stands still, and stays where it is.
//
// Invariant: descriptors are open for as long as this value lives, which is no longer than the pause and what comes
// just before it.

import CLeaks
import Glibc
import Proc
import Text

/// The pipes and unix sockets that a process may read from.
final class PendingData {
    private struct Entry {
        var descriptor: CInt
        var isPipe: Bool
        /// As people know it: "pipe 5".
        var name: String
    }
    private var entries: [Entry] = []
    /// What could not be looked at, without a bearing on the verdict.
    private(set) var notes: [String] = []

    /// Of more descriptors the rest is not looked at, which is said.
    private static let most = 4096
    /// Of what waits in one of them.
    private static let mostBytes = 1 << 20

    /// - Complexity: O(descriptors), each a few system calls; unix sockets of its network namespace.
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
        if left > 0 { notes.append("\(left) pipes and sockets were not looked into") }
    }

    deinit { for entry in entries { close(entry.descriptor) } }

    // A copy of each descriptor is one of ours.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        let wanted = rlim_t(most) + 1024
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < wanted else {
            return
        }
        limit.rlim_cur = min(limit.rlim_max, wanted)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    // "pipe:[4711]". Of a pipe the end that is read from alone: what waits behind the other is somebody else's.
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

    // The seventh field of each line of /proc/PID/net/unix.
    private static func unixSockets(of processID: pid_t) -> Set<[UInt8]> {
        guard let text = procFile("/proc/\(processID)/net/unix") else { return [] }
        var result: Set<[UInt8]> = []
        for line in text.split(separator: UInt8(ascii: "\n")).dropFirst() {
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 7)
            if fields.count >= 7 { result.insert(Array(fields[6])) }
        }
        return result
    }

    /// The words in what waits now. A word may begin at any byte: who wrote it is not known.
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
                    // An address of the program: neither small nor the kernel's.
                    if word >> 47 == 0 && word > 0xFFFF { words.append(KernelWord(value: word, place: entry.name)) }
                }
            }
            if !entry.isPipe && leaks_is_stream(entry.descriptor) == 0 {
                shortfalls.append(Shortfall(what: "messages in \(entry.name) behind the first"))
            } else if got < waiting {
                shortfalls.append(
                    Shortfall(what: "\(waiting - max(got, 0)) of \(counted(UInt64(waiting), "byte")) in \(entry.name)"))
            }
        }
        return words
    }
}
