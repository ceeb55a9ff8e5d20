// Which pages of a range of a running process are in memory, as runs in order of address, by /proc/PID/pagemap: 8 bytes
// a page, of which bit 63 says that it is present and bit 62 that it is swapped out. `ResidentPages` answers for single
// blocks; this is for whole mappings.

import Glibc

/// The runs of present pages of one process, each range as it is when it is asked for.
package final class PresentPages {
    private let descriptor: CInt
    package let pageBytes: UInt64
    private var words = [UInt64](repeating: 0, count: 8192)
    /// 8 TB of pages of 4 KB take some seconds.
    private var pagesLeft = 1 << 31
    /// Of all ranges so far, the bytes on pages that are swapped out.
    package private(set) var swappedBytes: UInt64 = 0
    /// Whether more pages were asked for than are looked up: the runs of the last ranges are not whole.
    package private(set) var isExhausted = false

    /// - Returns: nil with `errno` if the process is gone, or may not be looked into.
    package init?(processID: pid_t) {
        pageBytes = UInt64(max(sysconf(CInt(_SC_PAGESIZE)), 4096))
        descriptor = open("/proc/\(processID)/pagemap", O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The present pages of a range, as runs that don't touch; none of a process that has ended.
    ///
    /// - Complexity: O(pages) of the range, and a system call for each 32 MB of it.
    package func runs(of range: Range<UInt64>) -> [Range<UInt64>] {
        var result: [Range<UInt64>] = []
        guard !range.isEmpty, range.upperBound < 1 << 56 else { return result }
        var page = range.lowerBound / pageBytes
        let end = (range.upperBound + pageBytes - 1) / pageBytes
        while page < end {
            let wanted = Int(min(end - page, UInt64(words.count)))
            if wanted > pagesLeft {
                isExhausted = true
                break
            }
            pagesLeft -= wanted
            let got = words.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress, wanted * 8, off_t(truncatingIfNeeded: page << 3))
            }
            if got < 0 && errno == EINTR { continue }
            guard got > 0 else { break }
            for index in 0 ..< got / 8 {
                let word = words[index]
                if word >> 62 == 0 { continue }
                if word >> 63 == 0 {
                    swappedBytes += pageBytes
                    continue
                }
                let start = (page + UInt64(index)) * pageBytes
                if let last = result.last, last.upperBound == start {
                    result[result.count - 1] = last.lowerBound ..< start + pageBytes
                } else {
                    result.append(start ..< start + pageBytes)
                }
            }
            page += UInt64(got / 8)
        }
        return result
    }

    /// Whether the process has ended. Its pages then read as none.
    package var isGone: Bool {
        var word: UInt64 = 0
        return pread(descriptor, &word, 8, 0) != 8
    }
}
