// Images of programs in their own mount namespace or root (bwrap, unshare, containers), which may have neither the run
// directory nor the output directory. Such a program creates its image in a /dev/shm or a /tmp that disappears with it.
// While it runs, /proc leads to the image. So the image is opened then, and read when the program has ended. Nothing in
// the sandbox is changed.
//
// Images that can't be kept are reported at the end. Finding a program takes about 50 ms; one that ends earlier leaves
// no trace here.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// An image that can't be reached by a path, kept open.
struct SandboxedImage {
    var file: FileDescriptor
    var header: heap_header
    var mapped: MappedFile
    /// In our PID namespace.
    var pid: pid_t
    /// A path to it that is valid while the program runs.
    var path: FilePath
    /// The program's /tmp, where its JIT compiler may write a map; nil if it has none.
    var temporary: FileDescriptor?
}

/// Looks for such images while programs run.
struct SandboxedImages {
    private(set) var images: [SandboxedImage] = []
    /// Programs whose image was found and can't be kept.
    private(set) var lost: [(program: String, pid: pid_t)] = []
    private let startTime: UInt64
    private let ownPlace: [String]
    private let variable: [UInt8]
    /// Whether a process started during this recording; by PID, as long as it exists.
    private var isRecent: [pid_t: Bool] = [:]
    /// Images that were examined: kept, lost, or reachable by a path. A process has one at a time, identified by inode.
    private var known: Set<ImageKey> = []
    private var due: UInt64 = 0

    private struct ImageKey: Hashable { var pid: pid_t, inode: UInt64 }

    /// At most this many descriptors are kept open.
    private static let most = 256

    /// - Parameter runDirectory: tells by a program's environment whether it belongs to this recording; others may be
    ///   running.
    init(since startTime: UInt64, runDirectory: FilePath) {
        self.startTime = startTime
        variable = Array("HEAPSUM_RUN_DIR=\(runDirectory.text)".utf8)
        ownPlace = Self.place(of: getpid())
    }

    /// Looks once, if it is time. Returns after how many nanoseconds to look again.
    mutating func look(now: UInt64) -> UInt64 {
        if now < due { return due - now }
        let isFirst = isRecent.isEmpty, spent = clockNanoseconds(CLOCK_THREAD_CPUTIME_ID)
        let found = Set(processes())
        isRecent = isRecent.filter { found.contains($0.key) }
        known = known.filter { found.contains($0.pid) }
        for pid in found where pid != getpid() {
            let recent = isRecent[pid] ?? (ProcessStat.of(pid).map { $0.startTime >= startTime } ?? false)
            isRecent[pid] = recent
            guard recent else { continue }
            let place = Self.place(of: pid)
            if !place.isEmpty && place != ownPlace && isOfThisRecording(pid) { take(from: pid) }
        }
        // At most a twentieth of a processor, by its own time: on a busy machine a look takes longer, and programs end
        // no later. The first look reads all processes' start times, later ones only those of new processes.
        let cost = clockNanoseconds(CLOCK_THREAD_CPUTIME_ID) &- spent
        let interval = isFirst ? 20_000_000 : max(20_000_000, cost &* 20)
        due = now &+ interval
        return interval
    }

    /// The mount namespace and the root; empty if they can't be read.
    private static func place(of pid: pid_t) -> [String] {
        let thread = livingThread(of: pid)
        return ["ns/mnt", "root"].compactMap { FilePath("/proc/\(thread)/\($0)").linkText }
    }

    private func isOfThisRecording(_ pid: pid_t) -> Bool {
        guard let environment = try? readBytes(FilePath("/proc/\(pid)/environ"), limit: 1 << 20) else { return false }
        return environment.split(separator: 0).contains { $0.elementsEqual(variable) }
    }

    private mutating func take(from pid: pid_t) {
        guard let status = ProcessStat.of(pid), let maps = try? mappings(of: pid) else { return }
        for span in imageSpans(maps) where known.insert(ImageKey(pid: pid, inode: span.first.inode)).inserted {
            let here = try? FilePath(text: span.first.path).status()
            if let here, UInt64(here.st_ino) == span.first.inode { continue }
            guard let place = try? openImage(span, of: pid, started: status.startTime) else {
                // Incomplete, or another process's: examined again.
                known.remove(ImageKey(pid: pid, inode: span.first.inode))
                continue
            }
            guard case .file(let path) = place, images.count < Self.most,
                let file = try? openToRead(path, [.nonBlocking])
            else {
                lost.append(
                    (
                        FilePath("/proc/\(pid)/exe").linkText.flatMap { FilePath(text: $0).lastComponent?.text } ?? "?",
                        pid
                    ))
                continue
            }
            guard let header = imageHeader(file) else {
                try? file.close()
                continue
            }
            images.append(
                SandboxedImage(
                    file: file, header: header, mapped: MappedFile(span.first), pid: pid, path: path,
                    temporary: try? openToRead(
                        FilePath("/proc/\(livingThread(of: pid))/root/tmp"), [.directory, .nonBlocking])))
        }
    }

    /// Closes the descriptors.
    mutating func close() {
        for image in images {
            try? image.file.close()
            try? image.temporary?.close()
        }
        images = []
    }
}

extension FilePath {
    /// `readlink(2)`; nil if it is not a link or can't be read.
    package var linkText: String? {
        var bytes = [CChar](repeating: 0, count: 4097)
        let count = bytes.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.map { into in withPlatformString { readlink($0, into, 4096) } } ?? -1
        }
        return count > 0 ? pathText(cString: bytes) : nil
    }
}
