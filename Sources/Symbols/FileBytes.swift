// Parts of a file, copied into our own memory. All of the reader's unsafe memory is here; other code sees it as
// RawSpan. Parts are read with pread and never mapped: if somebody truncates or overwrites the file meanwhile (cp over
// a library in use), pread gives a short read, which is an error, but a mapping would raise SIGBUS. No part is
// allocated before its size is checked against the file's. A "file" may also be bytes in memory: a decompressed
// section, or the vDSO.

import Glibc
import Proc
import SystemPackage
import Text

/// A file that is open for reading and is closed with this object; or bytes that stand for a file.
final class FileReader {
    /// Its name in messages.
    let path: String
    /// The file's size in bytes when it was opened.
    let byteCount: UInt64
    /// The time of its last change, since 1970; nil for bytes in memory.
    let modifiedNanoseconds: UInt64?
    private let place: Place

    private enum Place {
        case descriptor(CInt)
        case memory(FileBytes)
    }

    convenience init(path: String) throws(SymbolsError) {
        let (descriptor, status) = try Self.openRegular(path)
        self.init(takingOver: descriptor, status, name: path)
    }

    /// A regular file that is open, and is closed with this object; `name` is its name in messages.
    init(takingOver descriptor: CInt, _ status: stat, name: String) {
        path = name
        byteCount = UInt64(max(0, status.st_size))
        modifiedNanoseconds =
            UInt64(max(0, status.st_mtim.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, status.st_mtim.tv_nsec))
        place = .descriptor(descriptor)
    }

    /// Bytes that are read as a file with the name `name`.
    init(name: String, bytes: FileBytes) {
        path = name
        byteCount = UInt64(bytes.count)
        modifiedNanoseconds = nil
        place = .memory(bytes)
    }

    deinit { if case .descriptor(let descriptor) = place { close(descriptor) } }

    private static func openRegular(_ path: String, orPipe: Bool = false) throws(SymbolsError) -> (CInt, stat) {
        // Without O_NONBLOCK, opening a FIFO would wait forever for a writer.
        let descriptor = path.withPath { open($0, O_RDONLY | O_CLOEXEC | (orPipe ? 0 : O_NONBLOCK)) }
        guard descriptor >= 0 else {
            throw SymbolsError(file: path, reason: .cannotOpen(Errno(rawValue: errno)))
        }
        var status = stat()
        // The status has the same date that the recorder reads.
        guard readStatus(descriptor, &status) else {
            let reason = Errno(rawValue: errno)
            close(descriptor)
            throw SymbolsError(file: path, reason: .cannotOpen(reason))
        }
        guard status.st_mode & S_IFMT == S_IFREG || orPipe && status.st_mode & S_IFMT == S_IFIFO else {
            close(descriptor)
            throw SymbolsError(
                file: path, reason: status.st_mode & S_IFMT == S_IFDIR ? .cannotOpen(.isDirectory) : .notELF)
        }
        return (descriptor, status)
    }

    func damaged(_ what: String, at offset: UInt64) -> SymbolsError {
        SymbolsError(file: path, offset: offset, reason: .damaged(what))
    }

    /// Reads `count` bytes from `offset` on.
    ///
    /// - Parameter what: names the part in errors.
    /// - Throws: `.damaged` at `offset` if the part is not completely inside the file, or the file became shorter;
    ///   `.tooLarge` if there is no memory for it.
    func read(_ what: String, at offset: UInt64, count: UInt64) throws(SymbolsError) -> FileBytes {
        guard offset <= byteCount, count <= byteCount - offset else {
            throw damaged("\(what) of \(count) bytes reaches past the file's end (\(byteCount))", at: offset)
        }
        guard let bytes = FileBytes(count: Int(count), offset: offset) else {
            throw SymbolsError(file: path, offset: offset, reason: .tooLarge(count))
        }
        switch place {
        case .memory(let whole):
            let part = UnsafeRawBufferPointer(rebasing: whole.memory[Int(offset) ..< Int(offset + count)])
            if let base = bytes.memory.baseAddress, let from = part.baseAddress { memcpy(base, from, part.count) }
        case .descriptor(let descriptor):
            var done = 0
            while done < bytes.count {
                let got = pread(
                    descriptor, bytes.memory.baseAddress?.advanced(by: done), bytes.count - done,
                    off_t(offset) + off_t(done))
                if got < 0 {
                    let reason = Errno(rawValue: errno)
                    if reason == .interrupted { continue }
                    throw SymbolsError(file: path, offset: offset, reason: .cannotOpen(reason))
                }
                guard got > 0 else {
                    throw damaged("the file became shorter while it was read", at: offset + UInt64(done))
                }
                done += got
            }
        }
        return bytes
    }

    /// Reads a whole file, also one that reports no size, like those in /proc.
    ///
    /// - Parameter orPipe: whether it may be a pipe; then this waits for the writer.
    /// - Throws: `.cannotOpen`; `.tooLarge` past `limit` bytes.
    static func readWhole(_ path: String, limit: Int, orPipe: Bool = false) throws(SymbolsError) -> FileBytes {
        let (descriptor, status) = try openRegular(path, orPipe: orPipe)
        defer { close(descriptor) }
        guard status.st_size <= limit else { throw SymbolsError(file: path, reason: .tooLarge(UInt64(status.st_size))) }
        var capacity = max(Int(status.st_size) + 1, 1 << 16), done = 0
        var memory = malloc(capacity)
        while true {
            guard let base = memory else { throw SymbolsError(file: path, reason: .tooLarge(UInt64(capacity))) }
            let got = Glibc.read(descriptor, base + done, capacity - done)
            if got < 0 {
                let reason = Errno(rawValue: errno)
                if reason == .interrupted { continue }
                free(memory)
                throw SymbolsError(file: path, offset: UInt64(done), reason: .cannotOpen(reason))
            }
            if got == 0 { return FileBytes(adopting: UnsafeMutableRawBufferPointer(start: base, count: done)) }
            done += got
            guard done <= limit else {
                free(memory)
                throw SymbolsError(file: path, reason: .tooLarge(UInt64(done)))
            }
            if done == capacity {
                capacity *= 2
                guard let larger = realloc(base, capacity) else {
                    free(memory)
                    throw SymbolsError(file: path, reason: .tooLarge(UInt64(capacity)))
                }
                memory = larger
            }
        }
    }
}

/// A part of a file. It never changes after it was returned by the function that made it.
final class FileBytes: @unchecked Sendable {
    fileprivate let memory: UnsafeMutableRawBufferPointer
    /// Where in the file the part begins.
    let offset: UInt64

    var count: Int { memory.count }

    // malloc instead of Array: an Array that gets no memory ends the process, and here the file decides how much is
    // requested.
    fileprivate init?(count: Int, offset: UInt64) {
        guard let base = malloc(max(count, 1)) else { return nil }
        memory = UnsafeMutableRawBufferPointer(start: base, count: count)
        self.offset = offset
    }

    fileprivate init(adopting memory: UnsafeMutableRawBufferPointer) {
        self.memory = memory
        offset = 0
    }

    /// A copy of memory of this process; nil if there is no memory for it.
    convenience init?(copying bytes: UnsafeRawBufferPointer) {
        self.init(count: bytes.count, offset: 0)
        if let base = memory.baseAddress, let from = bytes.baseAddress { memcpy(base, from, bytes.count) }
    }

    /// Space for `count` bytes, all of which `fill` writes; nil if there is no memory or `fill` returns false.
    convenience init?(count: Int, offset: UInt64, fill: (UnsafeMutableRawBufferPointer) -> Bool) {
        self.init(count: count, offset: offset)
        guard fill(memory) else { return nil }
    }

    deinit { free(memory.baseAddress) }

    func withSpan<Result, Failure: Error>(_ body: (RawSpan) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(memory).bytes)
    }

    /// For C functions that read `count` bytes.
    func withPointer<Result>(_ body: (UnsafePointer<UInt8>) -> Result) -> Result? {
        memory.baseAddress.map { body(UnsafePointer($0.assumingMemoryBound(to: UInt8.self))) }
    }

    /// For libelf: its parameter's type is mutable, but it is told not to write.
    func withMutablePointer<Result>(_ body: (UnsafeMutablePointer<CChar>?) -> Result) -> Result {
        body(memory.baseAddress?.assumingMemoryBound(to: CChar.self))
    }
}
