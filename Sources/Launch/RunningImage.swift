// Finds the image of a running process from outside, in any state of the process: from its mappings, then the same file
// by its path or /proc/PID/map_files, or its bytes by /proc/PID/mem. It sends no signal and stops nothing. An image
// counts as a process's own only if its header says so.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// Where a running process's image can be read.
package enum ImagePlace: Equatable {
    /// A path that opens exactly the mapped file.
    case file(FilePath)
    /// No path leads to it: the range of the process's memory that contains it, read by /proc/PID/mem.
    case memory(start: UInt64, byteCount: UInt64)
}

extension ImagePlace {
    /// Its path, if it has one.
    package var path: FilePath? { if case .file(let path) = self { path } else { nil } }

    /// The bytes of the image of `pid`, opened.
    package func source(of pid: pid_t) throws(Errno) -> any ByteSource {
        switch self {
        case .file(let path): try FileSource(path: path.text)
        case .memory(let start, let byteCount): try ProcessMemorySource(process: pid, base: start, length: byteCount)
        }
    }
}

/// The image of a process that is being recorded.
///
/// - Parameter deadline: until when (monotonic nanoseconds) to wait for the image of a process that has the library and
///   is still starting.
/// - Throws: exit status 2 with the reason for a process that doesn't exist, isn't recorded, or may not be read.
package func findImage(of pid: pid_t, deadline: UInt64) throws(LaunchError) -> ImagePlace {
    while true {
        guard let status = ProcessStat.of(pid), Presence.livingThread(of: UInt32(bitPattern: pid)) != nil else {
            throw .notRecorded("\(pid): no such process")
        }
        if let process = process(ofThread: pid) {
            throw .notRecorded("\(pid): a thread of process \(process): name the process")
        }
        let maps: [Mapping]
        do { maps = try mappings(of: pid) } catch { throw accessError(error, pid) }
        var problem: Errno?
        for candidate in imageSpans(maps) {
            do {
                if let place = try openImage(candidate, of: pid, started: status.startTime) { return place }
            } catch { problem = error }
        }
        if let problem { throw accessError(problem, pid) }
        guard maps.contains(where: { FilePath(text: $0.path).lastComponent?.text.hasPrefix("libheapsum.so") ?? false })
        else {
            // A kernel thread and a process past its exit have no mappings at all.
            throw .notRecorded(
                "\(pid): not recorded: libheapsum.so is not in it; start it by heaprun, or heaprun --pid \(pid) "
                    + "records it from now on")
        }
        guard monotonicNanoseconds() < deadline else {
            throw .notRecorded(
                "\(pid): libheapsum.so is in it and no image is: it is dormant (heaprun --pid \(pid) starts a "
                    + "recording), recording was switched off for it, or found no place for one"
            )
        }
        var pause = timespec(tv_sec: 0, tv_nsec: 20_000_000)
        nanosleep(&pause, nil)
    }
}

private func accessError(_ error: Errno, _ pid: pid_t) -> LaunchError {
    switch error {
    case .noSuchProcess, .noSuchFileOrDirectory: return .notRecorded("\(pid): no such process")
    case .permissionDenied, .notPermitted:
        return .notRecorded(
            "\(pid): not ours to read (\(error.description)): do this as the process's user, or as root")
    default: return .notRecorded("\(pid): \(error.description)")
    }
}

/// A file's mappings in the order of its bytes, from byte 0 on. An image may be mapped in several spans, each at the
/// same distance from the first as in the file. In a program that limited its address space there are holes between
/// them. The sections in an image's header are outside the holes.
struct ImageSpan: Equatable {
    var first: Mapping
    var byteCount: UInt64
}

/// The spans that may be images: shared, of a `*.heap` file or a memfd named heapsum, beginning at the file's start.
func imageSpans(_ maps: [Mapping]) -> [ImageSpan] {
    var spans: [ImageSpan] = []
    for mapping in maps where mapping.isShared {
        var path = mapping.path[...]
        if path.hasSuffix(" (deleted)") { path.removeLast(10) }
        guard path.hasSuffix(".heap") || path.hasPrefix("/memfd:heapsum") else { continue }
        if mapping.fileOffset == 0 {
            spans.append(ImageSpan(first: mapping, byteCount: mapping.end - mapping.start))
        } else if let last = spans.last, last.first.inode == mapping.inode,
            mapping.start >= last.first.start &+ last.byteCount,
            mapping.start - last.first.start == mapping.fileOffset
        {
            spans[spans.count - 1].byteCount = mapping.end - last.first.start
        }
    }
    return spans
}

/// nil if the header isn't this process's: a program may map another one's image.
func openImage(_ span: ImageSpan, of pid: pid_t, started startTime: UInt64) throws(Errno) -> ImagePlace? {
    let mapping = span.first
    let range = "\(hexadecimalDigits(mapping.start))-\(hexadecimalDigits(mapping.end))"
    // /proc/PID/root leads into the process's own mount namespace.
    let thread = livingThread(of: pid)
    let paths: [FilePath] = [
        FilePath(text: mapping.path), FilePath(text: "/proc/\(thread)/root" + mapping.path),
        FilePath("/proc/\(thread)/map_files/\(range)"),
    ]
    for path in paths {
        guard let file = try? openToRead(path, [.nonBlocking]) else { continue }
        defer { try? file.close() }
        var status = stat()
        // The device is not compared: btrfs and overlayfs show different ones in maps and stat.
        guard fstat(file.rawValue, &status) == 0, UInt64(status.st_ino) == mapping.inode, let header = imageHeader(file)
        else { continue }
        guard isOwned(status.st_uid, by: pid) else { return nil }
        return belongs(header, to: pid, started: startTime) ? .file(path) : nil
    }
    let memory = try openToRead(FilePath("/proc/\(thread)/mem"))
    defer { try? memory.close() }
    guard let header = heap_header(try readBytes(memory, at: mapping.start, count: MemoryLayout<heap_header>.size))
    else { return nil }
    return belongs(header, to: pid, started: startTime) ? .memory(start: mapping.start, byteCount: span.byteCount) : nil
}

// The header has the program's own PID: in another PID namespace it is the last of NSpid.
private func belongs(_ header: heap_header, to pid: pid_t, started startTime: UInt64) -> Bool {
    guard header.kind == HEAP_KIND_RUNNING.rawValue, header.start_time == startTime else { return false }
    let bootID = withUnsafeBytes(of: header.boot_id) { Array($0) }
    if bootID.contains(where: { $0 != 0 }), let now = Presence.currentBootID(), now != bootID { return false }
    return header.pid == UInt32(bitPattern: pid) || header.pid == innermostPID(of: pid)
}

// The recorder creates its image as the process's user. A process that changed its user has the old one among its IDs,
// or was root. A file of any other user under this path was planted there.
private func isOwned(_ owner: uid_t, by pid: pid_t) -> Bool {
    if owner == 0 || owner == geteuid() { return true }
    return statusWords("Uid:", of: pid)?.contains { UInt32(String(decoding: $0, as: UTF8.self)) == owner } ?? false
}
