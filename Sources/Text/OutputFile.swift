// A report's file, for every tool that takes -o. What stood at the path before is there until the new one is whole: it
// is written beside its place, or where that can't be into a file without a name, and takes the place in the end. A
// report that fails half-way leaves the older one as it was, and nothing beside it. What is no regular file, a
// terminal, a pipe, a device, is written as the bytes come.
//
// It never takes the place of what the report is made of, by whatever name: that would destroy a recording.

import Glibc
import SystemPackage

/// A report that can't be written.
package struct OutputError: Error, CustomStringConvertible {
    package var path: String
    package var errno: Errno
    /// What is wrong where no system call said so; nil: `errno` says it.
    package var reason: String?

    package init(path: String, errno: Errno, reason: String? = nil) {
        (self.path, self.errno, self.reason) = (path, errno, reason)
    }

    package var description: String { "\(path): can't be written: \(reason ?? "\(errno)")" }

    /// Whoever read has seen enough: nothing is said.
    package var isClosedReader: Bool { errno == .brokenPipe }
}

/// What every tool does about an output that can't be written: says so, unless its reader is gone, and gives this exit
/// status.
package let unwritableStatus: Int32 = 2

/// From here on a reader that goes away ends no tool by a signal: it is an error like a full disk, which
/// `isClosedReader` tells.
///
/// Not for a process that still starts others: they would inherit it.
package func expectClosedReaders() { signal(SIGPIPE, SIG_IGN) }

/// Whose a file is, whatever it is called.
package struct FileIdentity: Hashable {
    package var device: UInt64
    package var inode: UInt64

    package init(_ status: stat) { (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino)) }

    /// The file that a path leads to, by all its links; nil where there is none.
    package init?(path: String) {
        var status = stat()
        guard path.withPath({ stat($0, &status) }) == 0 else { return nil }
        self.init(status)
    }
}

/// A file on its way. Without `commit()` nothing has changed, unless the place is one that is written as the bytes
/// come.
package final class OutputFile {
    private let path: String
    private var descriptor: CInt = -1
    /// Where the new file gets its name; nil for what is written as the bytes come.
    private var place: Place?

    private struct Place {
        var target: String
        /// What stands there now; nil: nothing.
        var before: stat?
        /// The new file's name, as long as it has one of its own.
        var temporary: String?
        /// The new file is not beside its place, or can't be what stands there: it is copied over it.
        var copies: Bool
    }

    /// Begins a file for `path`; `-` is standard output.
    ///
    /// - Parameter inputs: the files that the report is made of. One of them at `path`, links followed, is refused.
    package init(path: String, inputs: [String] = []) throws(OutputError) {
        let path = path == "-" ? "/dev/stdout" : path
        self.path = path == "/dev/stdout" ? "standard output" : path
        if let number = Self.descriptorNumber(path) {
            // Not opened anew: that would be another place in the file, and fails for a socket.
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
        // As an open would: a file that may not be written isn't replaced either.
        guard path.withPath({ faccessat(AT_FDCWD, $0, W_OK, AT_EACCESS) }) == 0 else { throw fail() }
        let target = Self.real(path) ?? path
        // A file with other names has to stay that file; and where a name leads by ways of its own, it is written
        // through.
        let copies = status.st_nlink != 1 || FileIdentity(path: target) != FileIdentity(status)
        try begin(Place(target: target, before: status, temporary: nil, copies: copies))
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if let temporary = place?.temporary { _ = temporary.withPath { unlink($0) } }
    }

    /// Appends bytes.
    package func write(_ bytes: [UInt8]) throws(OutputError) { try Self.write(bytes[...], to: descriptor, path) }

    /// Gives the file its name, whole as it is. Nothing more is written to it.
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
            // A file that is mounted there, or another's in a directory where only owners rename.
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

    /// The path at the end of symbolic links that lead to nothing yet.
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

    /// With its slash; empty for the working directory.
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
            // Without a name as long as it can be: so that nothing is left over, whatever ends this process.
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

    /// The mode and the owners that the older file has; false where they can't be given.
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

    /// A name for the file that has none yet; nil where it can't have one.
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

    /// Over what stands there, which is the same file afterwards. Its space is there before its first byte changes.
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

    /// Some file systems know of a full disk only when a descriptor of the file is closed.
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

/// O_TMPFILE, which Swift's Glibc module doesn't have; older kernels take it for a directory opened to write, and
/// refuse.
private let temporaryFlag = O_DIRECTORY | 0o20000000
