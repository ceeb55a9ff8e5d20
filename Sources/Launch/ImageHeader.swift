// What heaprun does with an image's first page: finds out which process it belongs to, and writes its measurements. The
// process is identified by PID and start time together.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// Reads an image's header; nil if the file is not an image, or not yet.
func imageHeader(_ file: FileDescriptor) -> heap_header? {
    guard let bytes = try? readBytes(file, at: 0, count: MemoryLayout<heap_header>.size) else { return nil }
    return heap_header(bytes)
}

/// When an image was begun. The monotonic clock has steps of a few milliseconds, and an exec can be faster than that.
/// Within one step the real-time clock decides, which is wrong only if somebody sets that clock just then.
struct ImageAge: Comparable {
    var monotonic: UInt64
    var realtime: UInt64

    init(_ header: heap_header) {
        monotonic = header.started_monotonic_ns
        realtime = header.started_realtime_ns
    }

    static func < (one: ImageAge, other: ImageAge) -> Bool {
        (one.monotonic, one.realtime) < (other.monotonic, other.realtime)
    }
}

/// Writes a program's resident size into its running image, because nothing inside the program may measure it.
package struct ResidentMeter {
    private let pid: pid_t
    private let runDirectory: FilePath
    private var image: FileDescriptor?
    private var imagePath: FilePath?
    private var imageAge: ImageAge?
    private var peakBytes: UInt64 = 0
    private var scanned: (seconds: Int, nanoseconds: Int)?
    private var splitDue: UInt64 = 0
    private var splitSince: UInt64?

    package init(pid: pid_t, runDirectory: FilePath) {
        self.pid = pid
        self.runDirectory = runDirectory
    }

    /// Measures once, and writes the program's resident bytes, less those of the image itself, into the program's
    /// newest image.
    package mutating func measure() {
        findImage()
        guard let image, let resident = residentBytes(of: pid) else { return }
        var status = stat()
        guard fstat(image.rawValue, &status) == 0 else { return }
        // The file's blocks are the image's resident bytes: the file is sparse, and has only pages that the program
        // wrote.
        let own = UInt64(clamping: status.st_blocks) &* 512
        let bytes = resident - min(own, resident)
        peakBytes = max(peakBytes, bytes)
        // Two adjacent fields. Nobody else writes them while the program runs.
        guard let offset = MemoryLayout<heap_header>.offset(of: \.rss_bytes) else { return }
        let values = [bytes, peakBytes]
        _ = values.withUnsafeBytes { pwrite(image.rawValue, $0.baseAddress, $0.count, off_t(offset)) }
        split(inode: UInt64(status.st_ino))
    }

    // Measures by kind of mapping. For that the kernel walks all the program's pages and locks its map meanwhile, which
    // takes a good part of a second for tens of gigabytes. So it may take a twentieth of the time at most, and a
    // hundredth after a minute.
    private mutating func split(inode: UInt64) {
        let began = monotonicNanoseconds()
        guard began >= splitDue, let image, let imagePath else { return }
        defer {
            let now = monotonicNanoseconds()
            splitSince = splitSince ?? began
            let share: UInt64 = now &- (splitSince ?? began) < 60_000_000_000 ? 20 : 100
            splitDue = now &+ max((now &- began) &* share, 250_000_000)
        }
        guard let file = try? FileSource(path: imagePath.text), let opened = try? HeapImage(file, presence: .running),
            opened.header.pid == UInt32(pid), let found = measureResidence(of: pid, image: opened, imageInode: inode),
            let offset = MemoryLayout<heap_header>.offset(of: \.residence)
        else { return }
        // A program that is ending has already given its memory back.
        guard found.programBytes > 0 else { return }
        let started = opened.header.started_monotonic_ns
        let value = found.recorded(atNanoseconds: began > started ? began - started : 0)
        _ = withUnsafeBytes(of: value) { pwrite(image.rawValue, $0.baseAddress, $0.count, off_t(offset)) }
    }

    /// Closes the descriptor.
    package mutating func close() {
        try? image?.close()
        image = nil
    }

    // exec gives the program a new image, and its forks leave others in the directory. The directory's time tells
    // whether there is anything new. Its clock is coarse, so a recent time is checked again.
    private mutating func findImage() {
        var status = stat()
        let directory = runDirectory.withPlatformString { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard directory >= 0 else { return }
        let isKnown = readStatus(directory, &status)
        Glibc.close(directory)
        guard isKnown else { return }
        let time = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
        if let scanned, scanned == time, Int(clockNanoseconds(CLOCK_REALTIME) / 1_000_000_000) - time.0 > 1 { return }
        scanned = time
        for name in (try? namesInDirectory(runDirectory)) ?? [] where name.extension == "heap" {
            guard
                let file = try? FileDescriptor.open(
                    runDirectory.appending(name), .readWrite, options: [.closeOnExec, .noFollow])
            else { continue }
            if let header = imageHeader(file), header.pid == UInt32(pid),
                imageAge.map({ $0 < ImageAge(header) }) ?? true
            {
                close()
                image = file
                imagePath = runDirectory.appending(name)
                (splitDue, splitSince) = (0, nil)
                imageAge = ImageAge(header)
                peakBytes = header.rss_peak_bytes
            } else {
                try? file.close()
            }
        }
    }
}

/// Resident bytes of a process (/proc/PID/statm's second field).
package func residentBytes(of pid: pid_t) -> UInt64? {
    guard let text = try? readBytes(FilePath("/proc/\(livingThread(of: pid))/statm"), limit: 256) else { return nil }
    let fields = text.split(separator: UInt8(ascii: " "))
    guard fields.count > 1, let pages = UInt64(String(decoding: fields[1], as: UTF8.self)) else { return nil }
    return pages.multipliedReportingOverflow(by: UInt64(sysconf(Int32(_SC_PAGESIZE)))).partialValue
}
