// The verdict on a process's memory in one line, for `heapsum info` and `heapsum pages`: who has it, in bytes that add
// up to the resident size.

import CHeapImage
import HeapImage
import Reduce
import Survey
import Text

/// One line on all of a process's resident memory.
package struct MemoryVerdict {
    /// The parts, in their order, with words for people and a name for JSON; empty ones are left out of the words.
    package var parts: [(name: String, bytes: UInt64, text: String)]
    /// The moment, in words.
    package var moment: String
    /// What a reader should know of the largest part.
    package var hint: String?

    package var total: UInt64 { parts.reduce(0) { $0 &+ $1.bytes } }

    package var text: String {
        guard let largest = parts.max(by: { $0.bytes < $1.bytes }), total > 0 else {
            return "nothing resident, \(moment)"
        }
        let shown = parts.filter { $0.bytes > 0 }.map { "\(separated($0.bytes)) \($0.text)" }
        let hint = hint.map { " (\($0))" } ?? ""
        return "mostly \(largest.text)\(hint): \(separated(total)) bytes resident, \(moment), are "
            + shown.joined(separator: ", ")
    }

    /// Of a process that runs.
    package init(_ split: ResidentSplit, _ report: PagesReport) {
        parts = [
            ("heldBytes", split.held, "held by live blocks"),
            ("pinnedBytes", split.pinned, "free but pinned by live blocks"),
            (
                "retainedBytes", split.retained,
                report.survey.isGlibc ? "free pages retained by the allocator" : "the allocator's without a live block"
            ),
            ("unbookedBytes", split.unbooked, "in use, but not booked or in malloc's caches"),
            ("unclearBytes", split.unclear, "the allocator's that could not be told apart"),
            ("otherBytes", split.others, "not malloc's"), ("fileBytes", split.files, "file pages"),
            ("sharedBytes", split.shared, "shared memory"), ("imageBytes", split.image, "heapsum's own"),
        ]
        if report.reduction.hasMappings {
            parts.insert(("mappedBytes", split.mapped, "mapped by the program itself"), at: 5)
        }
        moment = "at \(utcTime(split.takenRealtimeNanoseconds))"
        let most = parts.max { $0.bytes < $1.bytes }?.name, sums = report.survey.sums
        func hint(_ part: UInt64, _ whole: UInt64, _ row: PinRow) -> String {
            "\(PagesReport.share(part, whole)) by \(report.names.shortStack(row.node))"
        }
        if most == "pinnedBytes", let row = report.rows.first {
            self.hint = hint(row.sums.pinned, sums.pinned, row)
        } else if most == "heldBytes", let row = report.rows.max(by: { $0.sums.live < $1.sums.live }) {
            self.hint = hint(row.sums.live, sums.live, row)
        } else if most == "retainedBytes", report.survey.isGlibc {
            self.hint = "malloc_trim(0) would give back \(separated(sums.returned))"
        } else if most == "mappedBytes",
            let row = report.reduction.mappedRows.filter({ $0.kind != .pool }).max(by: { $0.bytes < $1.bytes })
        {
            let all = report.reduction.mappedTotals.bytes
            self.hint =
                "\(PagesReport.share(row.bytes, all)) of the address space by \(report.names.shortStack(row.node))"
        } else if most == "otherBytes", let other = split.largestOther {
            self.hint = "\(separated(other.bytes)) at \(hexadecimal(other.range.lowerBound))"
        }
    }

    /// Of a dump, or of a program that has ended, as it was measured then, with what was live at that time.
    package init?(_ image: HeapImage, census: Census) {
        self.init(
            image, heldBytes: AllocatorReport.held(image, census, at: image.header.residence.measured_ns).bytes)
    }

    /// Of a dump, or of a program that has ended, as it was measured then: which of malloc's free bytes were pinned is
    /// not known.
    ///
    /// - Returns: nil if nothing was measured.
    package init?(_ image: HeapImage, heldBytes: UInt64) {
        let residence = image.header.residence
        guard residence.measured_ns > 0 else { return nil }
        func bytes(_ kilobytes: UInt32) -> UInt64 { UInt64(kilobytes) << 10 }
        let allocator = bytes(residence.allocator_kb), held = min(heldBytes, allocator)
        parts = [
            ("heldBytes", held, "held by live blocks at the most"),
            ("freeBytes", allocator - held, "free or headers, retained by the allocator or pinned"),
            ("otherBytes", bytes(residence.anonymous_kb) + bytes(residence.stacks_kb), "not malloc's"),
            ("fileBytes", bytes(residence.files_kb), "file pages"),
            ("sharedBytes", bytes(residence.shared_kb), "shared memory"),
            ("imageBytes", bytes(residence.image_kb), "heapsum's own"),
        ]
        moment = "after \(shortDuration(Double(residence.measured_ns) / 1e9))"
    }
}
