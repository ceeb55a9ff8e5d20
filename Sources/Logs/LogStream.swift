// Where the bytes of a log come from: a file, a pipe, or a decompressor that runs beside us.
//
// Invariant: bytes are handed out once, in order, however they come; what was peeked at is handed out
// again. A decompressor is a child of ours with the file as its standard input: so it runs on the other
// processor, a hostile archive is another process's matter, and the tools need neither zlib nor libzstd
// to start. Its end is looked at: bytes that it could not make sense of are told as damage.

import CLogs
import Glibc
import HeapImage
import SystemPackage
import Text

/// A log's bytes, to be read once.
package final class LogStream {
    /// What messages call it: its path, or "standard input".
    package let name: String
    /// Bytes that the file has, compressed or not; nil for a pipe.
    package let storedBytes: UInt64?
    package let isCompressed: Bool
    /// From where to where a plain file holds the log, in its own offsets; nil where the log comes another way.
    let plainExtent: Range<Int64>?
    private let file: CInt
    private var source: CInt
    private var decompressor: Decompressor?
    private var peeked: ArraySlice<UInt8> = []
    private var isAtEnd = false

    /// Opens `path`; `-` is standard input. A file that begins as .gz and .zst files do is decompressed.
    ///
    /// - Throws: `LogError` where it can't be opened, or what would decompress it is not installed.
    package init(path: String) throws(LogError) {
        name = path == "-" ? "standard input" : path
        let opened =
            path == "-"
            ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : path.withPath { open($0, O_RDONLY | O_CLOEXEC | O_NOCTTY) }
        guard opened >= 0 else { throw LogError(file: name, what: "\(Errno(rawValue: errno))") }
        file = opened
        source = opened
        var status = stat()
        guard fstat(opened, &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
            close(opened)
            throw LogError(file: name, what: "\(Errno.isDirectory)")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            storedBytes = nil
            isCompressed = false
            plainExtent = nil
            // A megabyte where it may be: fewer changes between us and who writes.
            if status.st_mode & S_IFMT == S_IFIFO { _ = fcntl(opened, CInt(HEAP_LOGS_SET_PIPE_SIZE), 1 << 20) }
            return
        }
        // Files of /proc and /sys say that they are empty: their size is not known.
        storedBytes = status.st_size > 0 ? UInt64(status.st_size) : nil
        let place = lseek(opened, 0, SEEK_CUR)
        var magic = [UInt8](repeating: 0, count: 4)
        let count = pread(opened, &magic, 4, max(place, 0))
        guard let tool = Decompressor.tool(for: magic.prefix(max(count, 0))) else {
            isCompressed = false
            plainExtent = place >= 0 && place < status.st_size ? Int64(place) ..< Int64(status.st_size) : nil
            posix_fadvise(opened, 0, 0, POSIX_FADV_SEQUENTIAL)
            return
        }
        isCompressed = true
        plainExtent = nil
        do throws(LogError) {
            let started = try Decompressor(tool, input: opened, file: name)
            decompressor = started
            source = started.output
        } catch {
            close(opened)
            throw error
        }
    }

    deinit {
        decompressor = nil
        close(file)
    }

    /// Bytes of the file that have been taken so far, to be held against `storedBytes`.
    package var position: UInt64 { UInt64(clamping: lseek(file, 0, SEEK_CUR)) }

    /// The first bytes, at most `count`, which `read` hands out again.
    package func peek(_ count: Int) throws(LogError) -> [UInt8] {
        if peeked.count < count && !isAtEnd {
            var more = [UInt8](repeating: 0, count: count - peeked.count)
            let came = try fill(&more)
            peeked.append(contentsOf: more[..<came])
        }
        return Array(peeked.prefix(count))
    }

    private func fill(_ bytes: inout [UInt8]) throws(LogError) -> Int {
        var failure: LogError?
        let count = bytes.withUnsafeMutableBytes { buffer in
            do throws(LogError) { return try readSource(into: buffer) } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        return count
    }

    /// Fills `buffer`, and says how many bytes came: fewer than it holds at the end alone.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws(LogError) -> Int {
        let first = min(peeked.count, buffer.count)
        if first > 0 {
            buffer.copyBytes(from: peeked.prefix(first))
            peeked = peeked.dropFirst(first)
        }
        guard first < buffer.count && !isAtEnd else { return first }
        return try first + readSource(into: UnsafeMutableRawBufferPointer(rebasing: buffer[first...]))
    }

    private func readSource(into buffer: UnsafeMutableRawBufferPointer) throws(LogError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = Glibc.read(source, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            if count > 0 {
                done += count
            } else if count == 0 {
                isAtEnd = true
                break
            } else if errno != EINTR {
                throw LogError(file: name, offset: position, what: "can't be read: \(Errno(rawValue: errno))")
            }
        }
        return done
    }

    /// Reads a plain file at an offset of its own, beside the reading of the log; how many bytes came.
    func readPlain(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(
                file, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            done += count
        }
        return done
    }

    /// What the decompressor could not make sense of, once all was read; nil where all is well.
    package func finish(at offset: UInt64) -> Damage? {
        guard let complaint = decompressor?.finish() else { return nil }
        return Damage(file: name, offset: offset, lostBytes: 0, count: 1, what: complaint)
    }

    /// All that is left in a file without a name, for what has to be read at offsets: an image.
    package func spooled() throws(LogError) -> FileSource {
        let directory = environmentText("TMPDIR") ?? "/tmp"
        var template = "\(directory)/heapsum-XXXXXX".pathCString
        let spool = mkstemp(&template)
        guard spool >= 0 else { throw LogError(file: name, what: "\(directory): \(Errno(rawValue: errno))") }
        unlink(template)
        var bytes = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = min(peeked.count, bytes.count)
            if count > 0 {
                bytes.replaceSubrange(0 ..< count, with: peeked.prefix(count))
                peeked = peeked.dropFirst(count)
            }
            let came = count > 0 ? count : try fill(&bytes)
            if came == 0 { break }
            var done = 0
            while done < came {
                let written = bytes.withUnsafeBytes { write(spool, $0.baseAddress.map { $0 + done }, came - done) }
                if written < 0 && errno == EINTR { continue }
                guard written > 0 else {
                    let failure = Errno(rawValue: errno)
                    close(spool)
                    throw LogError(file: name, what: "can't be copied to \(directory): \(failure)")
                }
                done += written
            }
        }
        do { return try FileSource(takingOver: spool, name: name) } catch {
            throw LogError(file: name, what: "\(error)")
        }
    }
}
