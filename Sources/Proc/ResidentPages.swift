// Which pages of a running process are in memory, by /proc/PID/pagemap: 8 bytes a page, of which bit 63 says that the
// page is present (Documentation/admin-guide/mm/pagemap.rst of Linux). The kernel shows that bit to whoever may trace
// the process.

import Glibc

/// The pages of one process, each as it was when it was first asked for.
package final class ResidentPages {
    private let descriptor: CInt
    private let pageShift: UInt64
    private var chunks: [UInt64: Chunk] = [:]
    /// Blocks are asked for in order of address, so the next one is mostly in the chunk of the last.
    private var last: (number: UInt64, chunk: Chunk)?

    /// 512 pages that follow each other, a bit each.
    private struct Chunk {
        var bits = SIMD8<UInt64>()
        var count = 0
    }
    private static let pagesPerChunk = 512
    /// Longer ranges are not kept, and are read in larger pieces.
    private static let longRange: UInt64 = 64 << 20
    private static let pagesPerPiece = 8192
    /// What a range of addresses may cost in all: 8 TB of pages of 4 KB take some seconds.
    private static let mostPages = 1 << 31
    private var pagesRead = 0
    /// Whether more pages were asked for than are looked up. Then the sums are not known.
    package private(set) var isExhausted = false

    /// Of a process that has ended: the runs that were stored, in order of address.
    private var stored: [Range<UInt64>]?

    /// The pages of a process that has ended.
    ///
    /// - Parameter runs: in order of address; they don't overlap.
    package init(stored runs: [Range<UInt64>]) {
        (stored, descriptor, pageShift) = (runs, -1, 12)
    }

    /// - Returns: nil with `errno` if the process is gone, or may not be looked into.
    package init?(processID: pid_t) {
        descriptor = open("/proc/\(processID)/pagemap", O_RDONLY | O_CLOEXEC)
        pageShift = UInt64(max(sysconf(CInt(_SC_PAGESIZE)), 4096).trailingZeroBitCount)
        if descriptor < 0 { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// How many bytes of an address range lie on pages that are in memory; nil once the process is gone, or too much
    /// was asked for.
    ///
    /// - Complexity: O(pages) of the range, and a system call for each 2 MB that were not asked for before; of stored
    ///   pages, O(log runs, and runs in the range).
    package func bytes(of range: Range<UInt64>) -> UInt64? {
        if let stored { return Self.bytes(of: range, in: stored) }
        if range.upperBound - range.lowerBound > Self.longRange { return bytesOfLong(range) }
        var sum: UInt64 = 0, at = range.lowerBound
        let chunkShift = pageShift + 9
        while at < range.upperBound {
            let number = at >> chunkShift
            guard let chunk = chunk(number) else { return nil }
            let start = number << chunkShift
            let (next, isLast) = start.addingReportingOverflow(1 << chunkShift)
            let end = isLast ? range.upperBound : min(range.upperBound, next)
            sum += bytes(chunk, at - start ..< end - start)
            at = end
        }
        return sum
    }

    private static func bytes(of range: Range<UInt64>, in runs: [Range<UInt64>]) -> UInt64 {
        var (low, high) = (0, runs.count), sum: UInt64 = 0
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
        }
        while low < runs.count, runs[low].lowerBound < range.upperBound {
            sum += min(runs[low].upperBound, range.upperBound) - max(runs[low].lowerBound, range.lowerBound)
            low += 1
        }
        return sum
    }

    private func bytesOfLong(_ range: Range<UInt64>) -> UInt64? {
        var words = [UInt64](repeating: 0, count: Self.pagesPerPiece), sum: UInt64 = 0
        var page = range.lowerBound >> pageShift
        let last = (range.upperBound - 1) >> pageShift
        while page <= last {
            let wanted = Int(min(last - page + 1, UInt64(Self.pagesPerPiece)))
            guard let got = read(&words, page, wanted) else { return nil }
            for index in 0 ..< got where words[index] >> 63 != 0 {
                sum += overlap(page + UInt64(index), range)
            }
            page += UInt64(wanted)
        }
        return sum
    }

    /// Reads the words of pages, and returns how many there are: addresses above the process's own have none.
    private func read(_ words: inout [UInt64], _ page: UInt64, _ count: Int) -> Int? {
        pagesRead += count
        if pagesRead > Self.mostPages {
            isExhausted = true
            return nil
        }
        let got = words.withUnsafeMutableBytes {
            pread(descriptor, $0.baseAddress, count * 8, off_t(truncatingIfNeeded: page << 3))
        }
        return got < 0 || (got == 0 && isGone) ? nil : got / 8
    }

    private func bytes(_ chunk: Chunk, _ range: Range<UInt64>) -> UInt64 {
        if chunk.count == 0 { return 0 }
        if chunk.count == Self.pagesPerChunk { return UInt64(range.count) }
        var sum: UInt64 = 0
        for page in range.lowerBound >> pageShift ... (range.upperBound - 1) >> pageShift
        where chunk.bits[Int(page >> 6)] & 1 << (page & 63) != 0 { sum += overlap(page, range) }
        return sum
    }

    /// The bytes of a range that lie on a page, which it touches.
    private func overlap(_ page: UInt64, _ range: Range<UInt64>) -> UInt64 {
        let start = page << pageShift
        return min(range.upperBound, start + 1 << pageShift) - max(range.lowerBound, start)
    }

    private func chunk(_ number: UInt64) -> Chunk? {
        if let last, last.number == number { return last.chunk }
        var chunk = Chunk()
        if let known = chunks[number] {
            chunk = known
        } else {
            var words = [UInt64](repeating: 0, count: Self.pagesPerChunk)
            guard let got = read(&words, number << 9, Self.pagesPerChunk) else { return nil }
            for (page, word) in words[..<got].enumerated() where word >> 63 != 0 {
                chunk.bits[page >> 6] |= 1 << UInt64(page & 63)
                chunk.count += 1
            }
            if chunk.count > 0 { chunks[number] = chunk }
        }
        last = (number, chunk)
        return chunk
    }

    /// Whether the process has ended. Its pages then read as none, as its highest addresses do.
    package var isGone: Bool {
        if stored != nil { return false }
        var word: UInt64 = 0
        return pread(descriptor, &word, 8, 0) != 8
    }
}
