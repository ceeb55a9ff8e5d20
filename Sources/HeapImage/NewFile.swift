// A file that appears whole or not at all. It is written in the same directory under a temporary name, with mode 0600,
// and gets its own name at the end; it never replaces another file. Or it has no name and is copied to an open
// descriptor at the end.

import Glibc
import SystemPackage
import Text

/// A system call on a path that failed.
package struct FileError: Error, Equatable, CustomStringConvertible {
    package var path: String
    /// What failed, for example "can't be written".
    package var what: String
    package var errno: Errno

    package init(path: String, what: String, errno: Errno) {
        self.path = path
        self.what = what
        self.errno = errno
    }

    package var description: String { "\(path): \(what): \(errno)" }
}

/// A file that is being written, with a buffer. Without `commit()` nothing remains of it.
final class NewFile {
    let path: String
    private var temporary = ""
    private var descriptor: CInt = -1
    private var destination: CInt?
    private var isUnnamed = false
    private let buffer: UnsafeMutableRawBufferPointer
    private var filled = 0
    private(set) var position: UInt64

    /// Begins a file for `path`, at `position` bytes from its start.
    init(path: String, position: UInt64) throws(FileError) {
        self.path = path
        self.position = position
        buffer = .allocate(byteCount: chunkBytes, alignment: 64)
        let name = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { path.utf8.index(after: $0) } ?? path.startIndex
        for attempt in 0 ..< 1000 {
            // A temporary name is taken only if an earlier process with this PID was killed.
            temporary = "\(path[..<name]).\(getpid()).\(attempt).heap-part"
            descriptor = temporary.withPath { open($0, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600) }
            if descriptor >= 0 || errno != EEXIST { break }
        }
        guard descriptor >= 0 else { throw fail("can't be created") }
        guard lseek(descriptor, off_t(clamping: position), SEEK_SET) >= 0 else { throw fail("can't be written") }
    }

    /// Begins a file without a name, in TMPDIR or /tmp. `commit` copies it to `destination`. `name` is for messages.
    init(copiedTo destination: CInt, name: String, position: UInt64) throws(FileError) {
        path = name
        self.position = position
        self.destination = destination
        buffer = .allocate(byteCount: chunkBytes, alignment: 64)
        descriptor = try unnamedFile()
        guard lseek(descriptor, off_t(clamping: position), SEEK_SET) >= 0 else { throw fail("can't be written") }
    }

    /// Writes to an open descriptor of a file without a name, which stays without one.
    init(unnamed descriptor: CInt, name: String, position: UInt64) throws(FileError) {
        path = name
        self.position = position
        isUnnamed = true
        buffer = .allocate(byteCount: chunkBytes, alignment: 64)
        self.descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        guard self.descriptor >= 0, lseek(self.descriptor, off_t(clamping: position), SEEK_SET) >= 0 else {
            throw fail("can't be written")
        }
    }

    deinit {
        if descriptor >= 0 {
            close(descriptor)
            if destination == nil && !isUnnamed { removeTemporary() }
        }
        buffer.deallocate()
    }

    private func fail(_ what: String) -> FileError {
        FileError(path: path, what: what, errno: Errno(rawValue: errno))
    }

    /// Appends bytes.
    func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var rest = bytes
        position &+= UInt64(bytes.count)
        while !rest.isEmpty {
            if filled == buffer.count { try flush() }
            let count = min(rest.count, buffer.count - filled)
            UnsafeMutableRawBufferPointer(rebasing: buffer[filled ..< filled + count])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
            filled += count
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Appends one plain value.
    func write<Value: BitwiseCopyable>(value: Value) throws(FileError) {
        var failure: FileError?
        withUnsafeBytes(of: value) { bytes in
            do throws(FileError) { try write(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private func flush() throws(FileError) {
        var done = 0
        while done < filled {
            let count = Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, filled - done)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw fail("can't be written") }
            done += count
        }
        filled = 0
    }

    /// Passes what was written to `range` to `body`, in chunks of whole entries of `entryBytes`, and writes back what
    /// `body` has changed.
    func rewrite(
        _ range: Range<UInt64>, entryBytes: Int, _ body: (UnsafeMutableRawBufferPointer) -> Void
    ) throws(FileError) {
        try flush()
        let most = buffer.count / entryBytes * entryBytes
        var place = range.lowerBound
        while place < range.upperBound {
            let count = Int(min(range.upperBound - place, UInt64(most)))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
            guard pread(descriptor, part.baseAddress, count, off_t(clamping: place)) == count else {
                throw fail("can't be read back")
            }
            body(part)
            guard pwrite(descriptor, part.baseAddress, count, off_t(clamping: place)) == count else {
                throw fail("can't be written")
            }
            place += UInt64(count)
        }
    }

    /// Writes `value` at the file's start, and gives the file its name.
    ///
    /// - Throws: `FileError` with EEXIST if something already has that name.
    func commit<Value: BitwiseCopyable>(header value: Value) throws(FileError) {
        try flush()
        let size = MemoryLayout<Value>.size
        let count = withUnsafeBytes(of: value) { pwrite(descriptor, $0.baseAddress, size, 0) }
        guard count == size else { throw fail("can't be written") }
        if let destination { return try copy(to: destination) }
        if isUnnamed { return }
        // Some file systems report a full disk only now.
        let closed = close(descriptor)
        descriptor = -1
        guard closed == 0 || errno == EINTR else { throw abandon("can't be written") }

        // Unlike a rename, a hard link never replaces an existing file.
        if temporary.withPath({ from in path.withPath { link(from, $0) } }) == 0 {
            removeTemporary()
            return
        }
        guard [EPERM, EOPNOTSUPP, ENOSYS, EMLINK, EACCES].contains(errno) else { throw abandon("can't be created") }
        // A file system without hard links: reserve the name with a file of our own, and rename over that.
        let holder = path.withPath { open($0, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600) }
        guard holder >= 0 else { throw abandon("can't be created") }
        close(holder)
        guard temporary.withPath({ from in path.withPath { rename(from, $0) } }) == 0 else {
            throw abandon("can't be created")
        }
    }

    private func copy(to destination: CInt) throws(FileError) {
        guard lseek(descriptor, 0, SEEK_SET) == 0 else { throw fail("can't be read back") }
        while true {
            let count = read(descriptor, buffer.baseAddress, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw fail("can't be read back") }
            if count == 0 { return }
            var done = 0
            while done < count {
                let wrote = Glibc.write(destination, buffer.baseAddress.map { $0 + done }, count - done)
                if wrote < 0 && errno == EINTR { continue }
                guard wrote > 0 else { throw fail("can't be written") }
                done += wrote
            }
        }
    }

    private func removeTemporary() { _ = temporary.withPath { unlink($0) } }

    private func abandon(_ what: String) -> FileError {
        let failure = fail(what)
        removeTemporary()
        return failure
    }
}

/// A new file without a name, in TMPDIR or /tmp, open for reading and writing.
func unnamedFile() throws(FileError) -> CInt {
    let directory = environmentText("TMPDIR") ?? "/tmp"
    var template = "\(directory)/heapsum-XXXXXX".pathCString
    let descriptor = mkstemp(&template)
    guard descriptor >= 0 else {
        throw FileError(path: directory, what: "no temporary file can be made here", errno: Errno(rawValue: errno))
    }
    unlink(template)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    return descriptor
}
