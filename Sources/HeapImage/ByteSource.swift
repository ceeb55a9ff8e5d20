// Where the bytes of an image come from: a file, or the memory of a process that has it mapped.
//
// A source copies bytes into buffers that the reader owns. It never maps: if a file shrinks while it is read, a mapping
// raises SIGBUS; and a running image is sparse, so touching a hole would give it memory. This file is one of the few
// that hold raw pointers.

import Glibc
import Proc
import SystemPackage
import Text

/// A random-access source of bytes, read by copy.
package protocol ByteSource: AnyObject {
    /// The source's name in messages: usually a path.
    var name: String { get }

    /// One past the last byte that can be asked for.
    var length: UInt64 { get }

    /// The bytes that have storage, as far as known. A length that the image claims is checked against it.
    var storedBytes: UInt64 { get }

    /// True if the source is the memory of a process that exists now.
    var isProcessMemory: Bool { get }

    /// Copies bytes from `offset` on and returns how many: fewer than requested if the source ends.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int
}

/// Reads at `offset + base` by pread(2); repeats after short reads and EINTR.
private func readFully(
    _ descriptor: CInt, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
) throws(Errno) -> Int {
    var done = 0
    while done < buffer.count {
        let (position, overflow) = offset.addingReportingOverflow(UInt64(done))
        guard !overflow, let place = off_t(exactly: position) else { return done }
        let count = pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, place)
        if count > 0 {
            done += count
        } else if count == 0 {
            break
        } else if errno != EINTR {
            throw Errno(rawValue: errno)
        }
    }
    return done
}

/// A file, opened for reading: open(2), fstat(2), pread(2).
package final class FileSource: ByteSource {
    package let name: String
    package let length: UInt64
    package let storedBytes: UInt64
    package var isProcessMemory: Bool { false }
    private let descriptor: CInt

    /// Opens `path`, which must be a regular file. Anything else is EINVAL (EISDIR for a directory): a
    /// pipe can't be read at an offset.
    package convenience init(path: String) throws(Errno) {
        // O_NONBLOCK: opening a FIFO without a writer would wait forever.
        let descriptor = path.withPath { open($0, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) }
        guard descriptor >= 0 else { throw Errno(rawValue: errno) }
        try self.init(takingOver: descriptor, name: path)
    }

    /// Takes over an open descriptor of a regular file or memfd, and closes it at the end.
    package init(takingOver descriptor: CInt, name: String) throws(Errno) {
        self.descriptor = descriptor
        self.name = name
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let failure = errno
            close(descriptor)
            throw Errno(rawValue: failure)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw status.st_mode & S_IFMT == S_IFDIR ? .isDirectory : .invalidArgument
        }
        length = UInt64(clamping: status.st_size)
        storedBytes = UInt64(clamping: status.st_blocks) &* 512
    }

    /// Standard input. A pipe is first copied to a file without a name, because an image is read at offsets.
    package static func standardInput() throws(Errno) -> FileSource {
        let name = "standard input"
        var status = stat()
        if fstat(STDIN_FILENO, &status) == 0, status.st_mode & S_IFMT == S_IFREG {
            let descriptor = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
            guard descriptor >= 0 else { throw Errno(rawValue: errno) }
            return try FileSource(takingOver: descriptor, name: name)
        }
        let descriptor: CInt
        do throws(FileError) { descriptor = try unnamedFile() } catch { throw error.errno }
        let buffer = ReadBuffer(byteCount: chunkBytes)
        while true {
            let count = Glibc.read(STDIN_FILENO, buffer.bytes.baseAddress, buffer.bytes.count)
            if count == 0 { break }
            var done = 0
            while done < count {
                let written = write(descriptor, buffer.bytes.baseAddress.map { $0 + done }, count - done)
                if written < 0 && errno != EINTR { break }
                done += max(0, written)
            }
            if (count < 0 && errno != EINTR) || done < count {
                let failure = errno
                close(descriptor)
                throw Errno(rawValue: failure)
            }
        }
        return try FileSource(takingOver: descriptor, name: name)
    }

    deinit { close(descriptor) }

    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        try readFully(descriptor, into: buffer, at: offset)
    }
}

/// An image in a process's memory, read from /proc/PID/mem. For an image whose file can't be opened (a memfd, a removed
/// file, another mount namespace).
package final class ProcessMemorySource: ByteSource {
    package let name: String
    package let length: UInt64
    package var storedBytes: UInt64 { length }
    package var isProcessMemory: Bool { true }
    private let descriptor: CInt
    private let base: UInt64

    /// Opens the memory of `process`; the image must be mapped at `base` as a whole, `length` bytes long. EACCES or
    /// EPERM if ptrace access is refused, ENOENT if the process is gone.
    package init(process: Int32, base: UInt64, length: UInt64) throws(Errno) {
        let path = "/proc/\(Presence.livingThread(of: UInt32(bitPattern: process)) ?? UInt32(bitPattern: process))/mem"
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        name = "\(path) at \(hexadecimal(UInt64(base)))"
        self.base = base
        self.length = length
        guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        guard offset < length else { return 0 }
        let (address, overflow) = base.addingReportingOverflow(offset)
        guard !overflow else { return 0 }
        let count = Int(clamping: min(UInt64(buffer.count), length - offset))
        return try readFully(descriptor, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]), at: address)
    }
}

/// Bytes in memory: an image that a test made or damaged.
package final class MemorySource: ByteSource {
    package let name: String
    package let bytes: [UInt8]
    package var length: UInt64 { UInt64(bytes.count) }
    package var storedBytes: UInt64 { length }
    package var isProcessMemory: Bool { false }

    /// Wraps `bytes`; `name` is their name in messages.
    package init(_ bytes: [UInt8], name: String = "memory") {
        self.bytes = bytes
        self.name = name
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        guard offset < length else { return 0 }
        let start = Int(offset)
        let count = min(buffer.count, bytes.count - start)
        bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start ..< start + count])) }
        return count
    }
}
