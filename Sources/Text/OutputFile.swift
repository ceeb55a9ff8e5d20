// A report's file, for every tool that takes -o. An older file at the path stays until the new one is complete: the
// new one is written beside it, or if that is impossible into a file without a name, and replaces it at the end. A
// report that fails half-way leaves the older file unchanged, and nothing beside it. Anything but a regular file (a
// terminal, a pipe, a device) is written as the bytes come.
//
// It never replaces one of the report's inputs, under any name: that would destroy a recording.

import Glibc
import SystemPackage

/// A report that can't be written.
package struct OutputError: Error, CustomStringConvertible {
    package var path: String
    package var errno: Errno
    /// What is wrong, if no system call failed; nil: `errno` says it.
    package var reason: String?

    package init(path: String, errno: Errno, reason: String? = nil) {
        (self.path, self.errno, self.reason) = (path, errno, reason)
    }

    package var description: String { "\(path): can't be written: \(reason ?? "\(errno)")" }

    /// The reader has closed the pipe: print nothing.
    package var isClosedReader: Bool { errno == .brokenPipe }
}

/// What every tool does about an output that can't be written: prints a message unless the reader is gone, and returns
/// the exit status.
package let unwritableStatus: Int32 = 2

/// Ignores SIGPIPE: from here on a reader that goes away is an error like a full disk (`isClosedReader`).
///
/// Not for a process that starts others later: they would inherit it.
package func expectClosedReaders() { signal(SIGPIPE, SIG_IGN) }

/// A file's identity, under any name.
package struct FileIdentity: Hashable {
    package var device: UInt64
    package var inode: UInt64

    package init(_ status: stat) { (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino)) }

    /// The file that a path leads to, links followed; nil if there is none.
    package init?(path: String) {
        var status = stat()
        guard path.withPath({ stat($0, &status) }) == 0 else { return nil }
        self.init(status)
    }
}

/// A file that is being written. Without `commit()` nothing has changed, unless the place is written as the bytes come.
package final class OutputFile {
    private let path: String
    private var descriptor: CInt = -1
    /// The place where the new file gets its name; nil if it is written as the bytes come.
    private var place: Place?

    private struct Place {
        var target: String
        /// The file that is there now; nil: none.
        var before: stat?
        /// The new file's own name, while it has one.
        var temporary: String?
        /// The new file is not beside its place, or can't replace the file there: it is copied over that file.
        var copies: Bool
    }

    /// Begins a file for `path`; `-` is standard output.
    ///
    /// - Parameter inputs: the files that the report is made of. One of them at `path`, links followed, is refused.
    package init(path: String, inputs: [String] = []) throws(OutputError) {
        let path = path == "-" ? "/dev/stdout" : path
        self.path = path == "/dev/stdout" ? "standard output" : path
        if let number = Self.descriptorNumber(path) {
            // Duplicate instead of opening again: that would start at another offset, and fails for a socket.
            descriptor = fcntl(number, F_DUPFD_CLOEXEC, 3)
            guard descriptor >= 0 else { throw fail() }
            var status = stat()
            if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG { try refuse(status, inputs) }
            return
        }
        var status = stat()
        if path.withPath({ stat($0, &status) }) != 0 {
            guard errno == ENOENT, let target = Self.followed(path) else { throw fail() }
            try begin(Place(target: target, before: nil, temporary: nil, copies: false))
            return
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: throw OutputError(path: path, errno: .isDirectory)
        case S_IFREG: break
        default:
            descriptor = path.withPath { open($0, O_WRONLY | O_CLOEXEC | O_NOCTTY) }
            guard descriptor >= 0 else { throw fail() }
            return
        }
        try refuse(status, inputs)
        // Like open: a file that may not be written may not be replaced either.
        guard path.withPath({ faccessat(AT_FDCWD, $0, W_OK, AT_EACCESS) }) == 0 else { throw fail() }
        let target = Self.real(path) ?? path
        // A file with several hard links must stay the same file. So must a file whose path resolves to something else
        // (as in /proc). Both are overwritten in place.
        let copies = status.st_nlink != 1 || FileIdentity(path: target) != FileIdentity(status)
        try begin(Place(target: target, before: status, temporary: nil, copies: copies))
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if let temporary = place?.temporary { _ = temporary.withPath { unlink($0) } }
    }

    /// Appends bytes.
    package func write(_ bytes: [UInt8]) throws(OutputError) { try Self.write(bytes[...], to: descriptor, path) }

    /// Appends zeros. In a file that gets its name at the end they are a hole, which takes no space.
    package func write(zeros count: Int) throws(OutputError) {
        if place != nil {
            let end = lseek(descriptor, count, SEEK_CUR)
            // A hole at the end is part of the file only by its size.
            guard end >= 0, ftruncate(descriptor, end) == 0 else { throw fail() }
            return
        }
        let zeros = [UInt8](repeating: 0, count: min(count, 1 << 16))
        var left = count
        while left > 0 {
            try Self.write(zeros.prefix(left), to: descriptor, path)
            left -= min(left, zeros.count)
        }
    }

    /// Gives the complete file its name. Nothing more may be written to it.
    package func commit() throws(OutputError) {
        guard var place else { return try end() }
        self.place = nil
        defer { if let temporary = place.temporary { _ = temporary.withPath { unlink($0) } } }
        if !place.copies {
            if place.temporary == nil { place.temporary = linked(beside: place.target) }
            if let temporary = place.temporary {
                guard isHandedOver(descriptor) else { throw fail() }
                if temporary.withPath({ from in place.target.withPath { rename(from, $0) } }) == 0 {
                    place.temporary = nil
                    return try end()
                }
            }
            // A file is mounted there, or another user owns it in a directory with the sticky bit.
            guard place.before != nil else { throw fail() }
        }
        try copy(over: place.target)
        try end()
    }

    // MARK: - Where

    /// N of /dev/stdout, /dev/fd/N and the like.
    private static func descriptorNumber(_ path: String) -> CInt? {
        switch path {
        case "/dev/stdout": return STDOUT_FILENO
        case "/dev/stderr": return STDERR_FILENO
        default:
            for start in ["/dev/fd/", "/proc/self/fd/"] where path.hasPrefix(start) {
                return CInt(path.dropFirst(start.count))
            }
            return nil
        }
    }

    private static func real(_ path: String) -> String? {
        path.withPath { path -> String? in
            guard let resolved = realpath(path, nil) else { return nil }
            defer { free(resolved) }
            return pathText(cString: resolved)
        }
    }

    /// The path at the end of a chain of symbolic links whose target does not exist yet.
    private static func followed(_ path: String) -> String? {
        var path = path
        for _ in 0 ..< 40 {
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = buffer.withUnsafeMutableBytes { bytes in
                bytes.withMemoryRebound(to: CChar.self) { text in
                    text.baseAddress.map { into in path.withPath { readlink($0, into, text.count) } } ?? -1
                }
            }
            if count < 0 { return errno == EINVAL || errno == ENOENT ? path : nil }
            let link = pathText(buffer.prefix(count))
            path = link.hasPrefix("/") ? link : directory(of: path) + link
        }
        errno = ELOOP
        return nil
    }

    /// Ends with a slash; empty for the working directory.
    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    }

    private func refuse(_ status: stat, _ inputs: [String]) throws(OutputError) {
        let identity = FileIdentity(status)
        if let input = inputs.first(where: { FileIdentity(path: $0 == "-" ? "/dev/stdin" : $0) == identity }) {
            throw OutputError(
                path: path, errno: .fileExists,
                reason: "it is an input, \(input), which the report would destroy; name another file by -o")
        }
    }

    // MARK: - The new file

    private func begin(_ wanted: Place) throws(OutputError) {
        var place = wanted
        let directory = Self.directory(of: place.target)
        if !place.copies {
            // The file has no name for as long as possible, so that nothing remains if this process ends early.
            descriptor = (directory.isEmpty ? "." : directory).withPath {
                open($0, temporaryFlag | O_RDWR | O_CLOEXEC, 0o666)
            }
            for attempt in 0 ..< 1000 where descriptor < 0 {
                let name = "\(directory).heapsum-\(getpid())-\(attempt).part"
                descriptor = name.withPath { open($0, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o666) }
                if descriptor >= 0 { place.temporary = name } else if errno != EEXIST { break }
            }
            if descriptor < 0 {
                guard place.before != nil else { throw fail() }
                place.copies = true
            } else if let before = place.before, !take(from: before) {
                close(descriptor)
                descriptor = -1
                if let temporary = place.temporary { _ = temporary.withPath { unlink($0) } }
                (place.temporary, place.copies) = (nil, true)
            }
        }
        if place.copies { descriptor = try unnamed() }
        self.place = place
    }

    /// Gives the new file the older one's mode and owners; false if that fails.
    private func take(from before: stat) -> Bool {
        var own = stat()
        guard fstat(descriptor, &own) == 0 else { return false }
        if own.st_uid != before.st_uid || own.st_gid != before.st_gid,
            fchown(descriptor, before.st_uid, before.st_gid) != 0
        {
            return false
        }
        return fchmod(descriptor, before.st_mode & 0o777) == 0
    }

    private func unnamed() throws(OutputError) -> CInt {
        let directory = environmentText("TMPDIR") ?? "/tmp"
        var template = "\(directory)/heapsum-XXXXXX".pathCString
        let made = mkstemp(&template)
        guard made >= 0 else { throw OutputError(path: directory, errno: Errno(rawValue: errno)) }
        unlink(template)
        _ = fcntl(made, F_SETFD, FD_CLOEXEC)
        return made
    }

    /// Gives a name to the file that has none; nil if that fails.
    private func linked(beside target: String) -> String? {
        for attempt in 0 ..< 1000 {
            let name = "\(Self.directory(of: target)).heapsum-\(getpid())-\(attempt).part"
            let made = "/proc/self/fd/\(descriptor)".withPath { from in
                name.withPath { linkat(AT_FDCWD, from, AT_FDCWD, $0, AT_SYMLINK_FOLLOW) }
            }
            if made == 0 { return name }
            if errno != EEXIST { return nil }
        }
        return nil
    }

    /// Copies over the file that is there, which stays the same file. Its space is reserved before its first byte
    /// changes.
    private func copy(over target: String) throws(OutputError) {
        var own = stat(), before = stat()
        let file = target.withPath { open($0, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_CREAT, 0o666) }
        guard file >= 0 else { throw fail() }
        defer { close(file) }
        guard fstat(descriptor, &own) == 0, fstat(file, &before) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else {
            throw fail()
        }
        if own.st_size > before.st_size {
            let failure = posix_fallocate(file, before.st_size, own.st_size - before.st_size)
            if failure == ENOSPC || failure == EDQUOT || failure == EFBIG {
                ftruncate(file, before.st_size)
                throw OutputError(path: path, errno: Errno(rawValue: failure))
            }
        }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw fail() }
            if count == 0 { break }
            try Self.write(chunk[..<count], to: file, path)
        }
        guard ftruncate(file, own.st_size) == 0, isHandedOver(file) else { throw fail() }
    }

    // MARK: - Bytes

    private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: CInt, _ path: String) throws(OutputError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw OutputError(path: path, errno: Errno(rawValue: errno)) }
            rest = rest.dropFirst(count)
        }
    }

    /// Some file systems report a full disk only when a descriptor of the file is closed.
    private func isHandedOver(_ file: CInt) -> Bool {
        let other = dup(file)
        return other < 0 || close(other) == 0 || errno == EINTR
    }

    private func end() throws(OutputError) {
        let closed = close(descriptor)
        descriptor = -1
        guard closed == 0 || errno == EINTR else { throw fail() }
    }

    private func fail() -> OutputError { OutputError(path: path, errno: Errno(rawValue: errno)) }
}

/// O_TMPFILE, which Swift's Glibc module lacks. Older kernels take it for opening a directory to write, and refuse.
private let temporaryFlag = O_DIRECTORY | 0o20000000
