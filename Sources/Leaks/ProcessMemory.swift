// Memory of a process at one instant: of a clone that never runs, of the stopped process itself, or of a core file. One
// of the files with raw pointers: it reads into the caller's buffers.

import CLeaks
import Glibc
import Proc
import Text

/// The bytes of a process, at the process's addresses.
package protocol ProcessMemory: AnyObject {
    /// Copies bytes from `address` on. Returns the number copied; fewer than asked if a page is missing.
    func read(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int

    /// The whole pages of a range that the process has written to, sorted.
    func resident(_ range: Range<UInt64>, isShared: Bool) -> [Range<UInt64>]
}

extension ProcessMemory {
    /// One word; nil if it can't be read.
    package func word(_ address: UInt64) -> UInt64? {
        var value: UInt64 = 0
        return withUnsafeMutableBytes(of: &value) { read(address, into: $0) } == 8 ? value : nil
    }

    /// `count` bytes; nil if they can't all be read.
    package func bytes(_ address: UInt64, count: Int) -> [UInt8]? {
        guard count >= 0, count <= 64 << 20 else { return nil }
        var got = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            got = read(address, into: UnsafeMutableRawBufferPointer(buffer))
            initialized = got
        }
        return got == count ? bytes : nil
    }

    package func words(_ address: UInt64, count: Int) -> [UInt64]? {
        guard count >= 0, count <= 8 << 20 else { return nil }
        var got = 0
        let words = [UInt64](unsafeUninitializedCapacity: count) { buffer, initialized in
            got = read(address, into: UnsafeMutableRawBufferPointer(buffer))
            initialized = got / 8
        }
        return got == count * 8 ? words : nil
    }
}

/// The runs of present pages in a range, from the kernel.
func residentRuns(pagemap: CInt, _ range: Range<UInt64>, isShared: Bool) -> [Range<UInt64>] {
    var result: [Range<UInt64>] = []
    var runs = [leaks_pages](repeating: leaks_pages(), count: 1024)
    // The kernel counts whole pages.
    let rest = ThreadLayout.pageBytes - 1
    var start = range.lowerBound & ~rest
    let end = range.upperBound > .max - rest ? range.upperBound & ~rest : (range.upperBound + rest) & ~rest
    while start < end {
        let count = leaks_resident(
            pagemap, start, end, isShared ? LEAKS_PAGES_ANY : LEAKS_PAGES_PRIVATE, &runs, runs.count)
        if count <= 0 { break }
        for run in runs[..<Int(count)] { result.append(run.start ..< run.end) }
        if Int(count) < runs.count { break }
        start = runs[Int(count) - 1].end
    }
    return result
}

/// The memory of a stopped process: the program itself, or a clone. Ranges that a clone lacks are copied while the
/// program is stopped.
final class LiveMemory: ProcessMemory {
    let pid: pid_t
    private let pagemap: CInt
    private let descriptor: CInt
    /// Sorted by address, without overlaps.
    private var copies: [(range: Range<UInt64>, bytes: UnsafeMutableRawBufferPointer)] = []
    /// The number of bytes that were copied from the program.
    private(set) var copiedBytes = 0

    init(pid: pid_t) {
        self.pid = pid
        pagemap = open("/proc/\(pid)/pagemap", O_RDONLY | O_CLOEXEC)
        descriptor = open("/proc/\(pid)/mem", O_RDONLY | O_CLOEXEC)
    }

    deinit {
        if pagemap >= 0 { close(pagemap) }
        if descriptor >= 0 { close(descriptor) }
        for copy in copies { copy.bytes.deallocate() }
    }

    /// Copies a range that this process lacks from the same addresses of another. False if not all of it could be read.
    func copy(_ range: Range<UInt64>, from other: LiveMemory) -> Bool {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 4096)
        let count = other.read(range.lowerBound, into: bytes)
        copies.append((range, bytes))
        copiedBytes += range.count
        if count < range.count {
            UnsafeMutableRawBufferPointer(rebasing: bytes[max(count, 0)...]).initializeMemory(
                as: UInt8.self, repeating: 0)
        }
        return count == range.count
    }

    func sortCopies() { copies.sort { $0.range.lowerBound < $1.range.lowerBound } }

    private func copyIndex(at address: UInt64) -> Int {
        var (low, high) = (0, copies.count)
        while low < high {
            let middle = (low + high) / 2
            if copies[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func read(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var done = 0
        while done < buffer.count {
            let at = address &+ UInt64(done)
            var end = buffer.count
            if !copies.isEmpty {
                let index = copyIndex(at: at)
                if index < copies.count {
                    let (range, bytes) = copies[index]
                    if range.contains(at) {
                        let offset = Int(at - range.lowerBound), count = min(buffer.count - done, range.count - offset)
                        UnsafeMutableRawBufferPointer(rebasing: buffer[done ..< done + count])
                            .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset ..< offset + count]))
                        done += count
                        continue
                    }
                    if range.lowerBound < address &+ UInt64(buffer.count) { end = Int(range.lowerBound - address) }
                }
            }
            // Not by process_vm_readv(2): it pins the pages, and so gives the clone a copy of each page that it shares
            // with the program. This call also reads pages that the program itself may not read.
            let count = pread(
                descriptor, buffer.baseAddress.map { $0 + done }, end - done, off_t(truncatingIfNeeded: at))
            if count <= 0 { return done }
            done += count
        }
        return done
    }

    func resident(_ range: Range<UInt64>, isShared: Bool) -> [Range<UInt64>] {
        if !copies.isEmpty {
            let found = copies.filter { $0.range.overlaps(range) }.map(\.range)
            if !found.isEmpty { return found }
        }
        return residentRuns(pagemap: pagemap, range, isShared: isShared)
    }
}
