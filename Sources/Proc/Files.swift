// Small reads of small files, as bytes: /proc, script heads, ELF headers. The caller bounds every read, descriptors are
// close-on-exec and closed on every path, and nothing here follows paths that it reads.

import Glibc
import SystemPackage
import Text

extension FilePath {
    /// The path that `pathText` made this text from; `init(_: String)` is for paths of our own.
    package init(text: String) { self = text.withPath { FilePath(platformString: $0) } }

    /// Text to show, join, and make a path of again: see `pathText`. (`string` loses bytes that are not UTF-8.)
    package var text: String { withPlatformString { pathText(cString: $0) } }

    /// `stat(2)`, following links.
    package func status() throws(Errno) -> CInterop.Stat { try stat().rawValue }

    /// Whether the process's effective IDs allow this access to the file.
    package func isAccessible(_ mode: Int32) -> Bool {
        withPlatformString { faccessat(AT_FDCWD, $0, mode, AT_EACCESS) } == 0
    }

    /// `realpath(3)`; nil if a part of the path does not exist.
    package var real: FilePath? {
        withPlatformString { path -> FilePath? in
            guard let resolved = realpath(path, nil) else { return nil }
            defer { free(resolved) }
            return FilePath(platformString: resolved)
        }
    }

    /// The absolute path, with links unresolved.
    package var absolute: FilePath {
        guard isRelative, let here = FilePath.workingDirectory else { return self }
        return here.pushing(self).lexicallyNormalized()
    }

    package static var workingDirectory: FilePath? {
        guard let path = getcwd(nil, 0) else { return nil }
        defer { free(path) }
        return FilePath(platformString: path)
    }

    package func remove() throws(Errno) {
        guard withPlatformString({ unlink($0) }) == 0 else { throw Errno(rawValue: errno) }
    }
}

/// Makes a directory and its missing parents, as `mkdir -p`. A part that exists is not an error; the caller checks
/// whether the last one is a directory.
///
/// - Throws: the first directory that can't be made, with the reason.
package func makeDirectories(_ path: FilePath) throws(MakeDirectoriesError) {
    var partial = path.root.map { FilePath(root: $0) } ?? FilePath()
    for component in path.components {
        partial.append(component)
        let made = partial.withPlatformString { mkdir($0, 0o777) }
        let error = Errno(rawValue: errno)
        if made != 0 && error != .fileExists && !partial.isAccessible(F_OK) {
            throw MakeDirectoriesError(path: partial, errno: error)
        }
    }
}

/// A directory that can't be made.
package struct MakeDirectoriesError: Error {
    package var path: FilePath
    package var errno: Errno
}

extension FilePath.Component {
    /// The reason, as if for the whole path.
    package var text: String { withPlatformString { pathText(cString: $0) } }
}

/// Opens a file to read; the descriptor is close-on-exec.
package func openToRead(_ path: FilePath, _ options: FileDescriptor.OpenOptions = []) throws(Errno) -> FileDescriptor {
    do { return try FileDescriptor.open(path, .readOnly, options: options.union([.closeOnExec])) } catch {
        throw error as? Errno ?? .ioError
    }
}

/// At most `limit` bytes from the file's start; fewer if the file is shorter.
package func readBytes(_ path: FilePath, limit: Int) throws(Errno) -> [UInt8] {
    // Non-blocking: the name may be a FIFO, and a plain open of a FIFO waits for a writer.
    let file = try openToRead(path, [.nonBlocking])
    defer { try? file.close() }
    return try readBytes(file, limit: limit)
}

package func readBytes(_ file: FileDescriptor, limit: Int) throws(Errno) -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: min(limit, 65_536))
    while bytes.count < limit {
        let wanted = min(chunk.count, limit - bytes.count)
        let count = chunk.withUnsafeMutableBytes { read(file.rawValue, $0.baseAddress, wanted) }
        if count < 0 {
            if errno == EINTR { continue }
            throw Errno(rawValue: errno)
        }
        if count == 0 { break }
        bytes.append(contentsOf: chunk[..<count])
    }
    return bytes
}

/// The file's bytes from `offset`, at most `count`.
package func readBytes(_ file: FileDescriptor, at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    guard let start = off_t(exactly: offset) else { throw .invalidArgument }
    var done = 0
    var failure: Errno?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        while done < count {
            let got = pread(file.rawValue, buffer.baseAddress?.advanced(by: done), count - done, start &+ off_t(done))
            if got < 0 {
                if errno == EINTR { continue }
                failure = Errno(rawValue: errno)
                break
            }
            if got == 0 { break }
            done += got
        }
        initialized = done
    }
    if let failure { throw failure }
    return bytes
}

/// The names in a directory, without `.` and `..`, unsorted.
package func namesInDirectory(_ path: FilePath) throws(Errno) -> [FilePath.Component] {
    guard let directory = path.withPlatformString({ opendir($0) }) else { throw Errno(rawValue: errno) }
    defer { closedir(directory) }
    var names: [FilePath.Component] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { FilePath.Component(platformString: $0) }
        }
        if let name, name.kind == .regular { names.append(name) }
    }
    return names
}
