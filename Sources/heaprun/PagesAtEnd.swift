// heaprun --resident: which pages of malloc's memory are present when a process ends. Its threads stand at their end
// then, and the kernel frees the pages only when they go on.

import Glibc
import HeapImage
import Launch
import Leaks
import Proc
import Text

/// The pages of processes that have ended.
final class PagesAtEnd {
    private var runs: [MappedFile: [Range<UInt64>]] = [:]
    private var problems: [String] = []

    /// The process waits while its page table is read: 8 bytes for each page, about a second for this many.
    private static let mostBytes: UInt64 = 256 << 30

    /// Looks up the pages around all live blocks of a process that stands at its end.
    ///
    /// - Complexity: O(pieces of the live map), and 8 bytes are read for each page of the addresses with blocks; for
    ///   more than 256 GB of addresses, nothing is.
    func look(_ process: EndingProcess, _ image: HeapImage, _ file: MappedFile) {
        func fail(_ why: String) { problems.append("no pages of PID \(process.processID): \(why)") }
        let extents = image.blockExtents()
        let bytes = extents.reduce(0) { $0 &+ ($1.upperBound - $1.lowerBound) }
        guard bytes <= Self.mostBytes else {
            return fail("its blocks cover \(separated(bytes)) bytes of addresses, and that many are not looked up")
        }
        // The main thread may have ended, and then has no memory.
        guard let pages = PresentPages(processID: process.ending) else {
            return fail("they can't be read: \(String(cString: strerror(errno)))")
        }
        var found: [Range<UInt64>] = []
        for extent in extents {
            for run in pages.runs(of: extent) {
                if let last = found.last, last.upperBound >= run.lowerBound {
                    found[found.count - 1] = last.lowerBound ..< max(last.upperBound, run.upperBound)
                } else {
                    found.append(run)
                }
            }
        }
        if pages.isGone { return fail("it was killed meanwhile") }
        runs[file] = found
    }

    /// The pages to store with an image, once.
    func take(_ file: MappedFile) -> [Range<UInt64>]? { runs.removeValue(forKey: file) }

    /// What went wrong, for the report.
    func report() -> [String] {
        let shown = problems.prefix(10).map { "  \($0)" }
        return shown + (problems.count > 10 ? ["  and \(problems.count - 10) more processes without their pages"] : [])
    }
}
