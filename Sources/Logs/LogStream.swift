// The source of a log's bytes: a file, a pipe, or a decompressor that runs in parallel.
//
// Invariant: bytes are returned once, in order, from any source; peeked bytes are returned again. A decompressor is a
// child process with the file as its standard input. So it runs on another processor, a hostile archive can only harm
// that process, and the tools need neither zlib nor libzstd to start. Its exit status is checked: if it fails, that is
// reported as damage.

import CLogs
import Glibc
import HeapImage
import SystemPackage
import Text

/// A log's bytes, to be read once.
package final class LogStream {
    /// Its name in messages: its path, or "standard input".
    package let name: String
    /// The file's size, compressed or not; nil for a pipe.
    package let storedBytes: UInt64?
    package let isCompressed: Bool
    /// The range of a plain file that contains the log; nil for other sources.
    let plainExtent: Range<Int64>?
    private let file: CInt
    private var source: CInt
    private var decompressor: Decompressor?
    private var peeked: ArraySlice<UInt8> = []
    private var isAtEnd = false

    /// Opens `path`; `-` is standard input. A file that begins like a .gz or .zst file is decompressed.
    ///
    /// - Throws: `LogError` if it can't be opened, or its decompressor is not installed.
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
            // A megabyte if allowed: fewer switches between this process and the writer.
            if status.st_mode & S_IFMT == S_IFIFO { _ = fcntl(opened, CInt(HEAP_LOGS_SET_PIPE_SIZE), 1 << 20) }
            return
        }
        // Files in /proc and /sys report size 0: their size is not known.
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

    /// Bytes of the file read so far, for comparison with `storedBytes`.
    package var position: UInt64 { UInt64(clamping: lseek(file, 0, SEEK_CUR)) }

    /// The first bytes, at most `count`. `read` returns them again.
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

    /// Fills `buffer`. Returns how many bytes were read: fewer than its size only at the end.
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

    /// Reads a plain file at `offset`, independently of the reading position. Returns how many bytes.
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

    /// The decompressor's failure, after everything was read; nil if there was none.
    package func finish(at offset: UInt64) -> Damage? {
        guard let complaint = decompressor?.finish() else { return nil }
        return Damage(file: name, offset: offset, lostBytes: 0, count: 1, what: complaint)
    }

    /// Copies the rest to a file without a name, for data that must be read at offsets: an image.
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
