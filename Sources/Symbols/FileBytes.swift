// Parts of a file, copied into memory of our own. All of this target's unsafe memory is here, and the
// rest sees it as RawSpan. Parts are read with pread and never mapped: a file that somebody truncates
// or overwrites in place meanwhile (cp over a library that is in use) makes a short read, which is an
// error here, where a mapping would make it SIGBUS. No part is allocated before its size was checked
// against the file's.

import Glibc
import SystemPackage

/// A file that is open for reading, and closed with this object.
final class FileReader {
    let path: String
    /// The file's size in bytes when it was opened.
    let byteCount: UInt64
    private let descriptor: CInt

    init(path: String) throws(SymbolsError) {
        // Without O_NONBLOCK the open of a FIFO would wait for a writer for ever.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw SymbolsError(file: path, reason: .cannotOpen(Errno(rawValue: errno)))
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let reason = Errno(rawValue: errno)
            close(descriptor)
            throw SymbolsError(file: path, reason: .cannotOpen(reason))
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw SymbolsError(file: path, reason: status.st_mode & S_IFMT == S_IFDIR ? .cannotOpen(.isDirectory) : .notELF)
        }
        self.path = path
        self.byteCount = UInt64(max(0, status.st_size))
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    func damaged(_ what: String, at offset: UInt64) -> SymbolsError {
        SymbolsError(file: path, offset: offset, reason: .damaged(what))
    }

    /// Reads `count` bytes from `offset` on.
    ///
    /// - Parameter what: names the part in errors.
    /// - Throws: `.damaged` at `offset` where the part is not wholly inside the file, or the file became
    ///   shorter; `.tooLarge` where there is no memory for it.
    func read(_ what: String, at offset: UInt64, count: UInt64) throws(SymbolsError) -> FileBytes {
        guard offset <= byteCount, count <= byteCount - offset else {
            throw damaged("\(what) of \(count) bytes reaches past the file's end (\(byteCount))", at: offset)
        }
        guard let bytes = FileBytes(count: Int(count), offset: offset) else {
            throw SymbolsError(file: path, offset: offset, reason: .tooLarge(count))
        }
        var done = 0
        while done < bytes.count {
            let got = pread(descriptor, bytes.memory.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset) + off_t(done))
            if got < 0 {
                let reason = Errno(rawValue: errno)
                if reason == .interrupted { continue }
                throw SymbolsError(file: path, offset: offset, reason: .cannotOpen(reason))
            }
            guard got > 0 else { throw damaged("the file became shorter while it was read", at: offset + UInt64(done)) }
            done += got
        }
        return bytes
    }
}

/// A part of a file. It never changes after `FileReader.read` returned it.
final class FileBytes: @unchecked Sendable {
    fileprivate let memory: UnsafeMutableRawBufferPointer
    /// Where in the file the part begins.
    let offset: UInt64

    var count: Int { memory.count }

    // malloc and not Array: an Array without memory ends the process, and how much is asked for here is
    // up to the file.
    fileprivate init?(count: Int, offset: UInt64) {
        guard let base = malloc(max(count, 1)) else { return nil }
        memory = UnsafeMutableRawBufferPointer(start: base, count: count)
        self.offset = offset
    }

    deinit { free(memory.baseAddress) }

    func withSpan<Result, Failure: Error>(_ body: (RawSpan) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(memory).bytes)
    }
}
