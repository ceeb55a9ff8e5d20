// The memory of a program that runs on while it is read. A reading through /proc/PID/mem makes pages present that were
// not: it would change what the kernel counts, and so what a survey of pages finds. So only pages that are there are
// read: the rest of anonymous memory is zeroes, and the rest of a file is read from the file. One of the files with raw
// pointers: it reads into the caller's buffers.

import CLeaks
import Glibc
import Proc

/// A running process's bytes, read without a trace in its page table.
final class RunningMemory: ProcessMemory {
    private let pid: pid_t
    private let mappings: [AddressMapping]
    private let memory: CInt
    private let pagemap: CInt
    /// By a file's inode; -1: it can't be opened, or is another file by now.
    private var files: [UInt64: CInt] = [:]
    private var words = [UInt64](repeating: 0, count: 512)

    private static let pageBytes = ThreadLayout.pageBytes

    /// - Parameter mappings: in order of address.
    init(pid: pid_t, mappings: [AddressMapping]) {
        (self.pid, self.mappings) = (pid, mappings)
        memory = open("/proc/\(pid)/mem", O_RDONLY | O_CLOEXEC)
        pagemap = open("/proc/\(pid)/pagemap", O_RDONLY | O_CLOEXEC)
    }

    deinit {
        for descriptor in [memory, pagemap] + files.values where descriptor >= 0 { close(descriptor) }
    }

    func read(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var done = 0
        while done < buffer.count {
            let at = address &+ UInt64(done)
            guard let mapping = mapping(at) else { break }
            let count = Int(min(UInt64(buffer.count - done), mapping.range.upperBound - at))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done ..< done + count])
            let got = read(at, mapping, part)
            done += got
            if got < count { break }
        }
        return done
    }

    func resident(_ range: Range<UInt64>, isShared: Bool) -> [Range<UInt64>] {
        residentRuns(pagemap: pagemap, range, isShared: isShared)
    }

    private func mapping(_ address: UInt64) -> AddressMapping? {
        var (low, high) = (0, mappings.count)
        while low < high {
            let middle = (low + high) / 2
            if mappings[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low < mappings.count && mappings[low].range.contains(address) ? mappings[low] : nil
    }

    /// Reads within one mapping, in runs of pages that are all present, or all not. A present page may differ from its
    /// file: the loader relocates pages that are read-only later.
    private func read(_ address: UInt64, _ mapping: AddressMapping, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
        var done = 0
        while done < buffer.count {
            let at = address + UInt64(done), page = at / Self.pageBytes
            let pages = min((address + UInt64(buffer.count) - 1) / Self.pageBytes - page + 1, UInt64(words.count))
            let known = words.withUnsafeMutableBytes {
                pread(pagemap, $0.baseAddress, Int(pages) * 8, off_t(truncatingIfNeeded: page << 3))
            }
            // Without a page table to look at, or of shared memory, which may be somewhere else than here: read it.
            let isBlind = known < 8 || mapping.isShared
            let isThere = isBlind || words[0] >> 62 != 0
            var same = 1
            while !isBlind, same < known / 8, (words[same] >> 62 != 0) == isThere { same += 1 }
            let end = isBlind ? buffer.count : min(buffer.count, Int((page + UInt64(same)) * Self.pageBytes - address))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done ..< end])
            let got: Int
            if isThere {
                got = pread(memory, part.baseAddress, part.count, off_t(truncatingIfNeeded: at))
            } else if mapping.isFile, let read = readFile(at, mapping, part) {
                got = read
            } else if mapping.isFile {
                got = pread(memory, part.baseAddress, part.count, off_t(truncatingIfNeeded: at))
            } else {
                part.initializeMemory(as: UInt8.self, repeating: 0)
                got = part.count
            }
            done += max(got, 0)
            if got < part.count { break }
        }
        return done
    }

    /// Nil: the file is not there any more, or another one.
    private func readFile(_ address: UInt64, _ mapping: AddressMapping, _ buffer: UnsafeMutableRawBufferPointer) -> Int?
    {
        let descriptor: CInt
        if let known = files[mapping.inode] {
            descriptor = known
        } else {
            descriptor = Self.openFile(mapping, of: pid)
            files[mapping.inode] = descriptor
        }
        guard descriptor >= 0 else { return nil }
        let offset = mapping.fileOffset + (address - mapping.range.lowerBound)
        var done = 0
        while done < buffer.count {
            let got = pread(
                descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done,
                off_t(truncatingIfNeeded: offset + UInt64(done)))
            if got < 0 { return nil }
            if got == 0 { break }
            done += got
        }
        // The rest of a file's last page is zeroes.
        let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
        guard UInt64(rest.count) < Self.pageBytes else { return nil }
        rest.initializeMemory(as: UInt8.self, repeating: 0)
        return buffer.count
    }

    private static func openFile(_ mapping: AddressMapping, of pid: pid_t) -> CInt {
        let descriptor = Glibc.open("/proc/\(pid)/root\(mapping.path)", O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return -1 }
        var status = stat()
        if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, UInt64(status.st_ino) == mapping.inode {
            return descriptor
        }
        close(descriptor)
        return -1
    }
}
