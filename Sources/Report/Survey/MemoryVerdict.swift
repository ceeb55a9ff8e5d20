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
    /// What is known of leaks among the held.
    package var lost: String?

    package var total: UInt64 { parts.reduce(0) { $0 &+ $1.bytes } }

    package var text: String {
        guard let largest = parts.max(by: { $0.bytes < $1.bytes }), total > 0 else {
            return "nothing resident, \(moment)"
        }
        let shown = parts.filter { $0.bytes > 0 }.map { "\(separated($0.bytes)) \($0.text)" }
        let hint = hint.map { " (\($0))" } ?? ""
        return "mostly \(largest.text)\(hint): \(separated(total)) bytes resident, \(moment), are "
            + shown.joined(separator: ", ") + (lost.map { "; \($0)" } ?? "")
    }

    /// Of a process that runs.
    package init(_ split: ResidentSplit, _ report: PagesReport) {
        let sums = report.survey.sums
        func by(_ part: UInt64, _ whole: UInt64, _ row: PinRow) -> String {
            "\(PagesReport.share(part, whole)) by \(report.names.shortStack(row.node))"
        }
        let pinner = report.rows.first.map { by($0.sums.pinned, sums.pinned, $0) }
        let holder = report.rows.max { $0.sums.live < $1.sums.live }.map { by($0.sums.live, sums.live, $0) }
        let trim = report.survey.isGlibc ? "malloc_trim(0) would give back \(separated(sums.returned))" : nil
        let whose: [String: String?] = [
            "heldBytes": holder, "pinnedBytes": pinner, "retainedBytes": trim,
            "mappedBytes": Self.mapper(report), "otherBytes": split.largestOther.map(Self.text),
            "fileBytes": split.largestFile.map(Self.text),
            "sharedBytes": split.largestShared.map(Self.text),
        ]
        parts = [
            ("heldBytes", split.held, "held by live blocks"),
            ("earlierBytes", split.earlier, "held by blocks \(report.survey.earlier?.origin ?? "not booked")"),
            ("pinnedBytes", split.pinned, "free but pinned by live blocks"),
            (
                "retainedBytes", split.retained,
                report.survey.isGlibc ? "free pages retained by the allocator" : "the allocator's without a live block"
            ),
            ("unbookedBytes", split.unbooked, report.textOfKept),
            ("unclearBytes", split.unclear, "the allocator's that could not be told apart"),
            ("stackBytes", split.stacks, "stacks of threads"),
            ("otherBytes", split.others, "not malloc's"), ("fileBytes", split.files, "file pages"),
            ("sharedBytes", split.shared, "shared memory"), ("imageBytes", split.image, "heapsum's own"),
        ]
        if report.reduction.hasMappings {
            parts.insert(("mappedBytes", split.mapped, "mapped by the program itself"), at: 7)
        }
        moment = "at \(utcTime(split.takenRealtimeNanoseconds))"
        let most = parts.max { $0.bytes < $1.bytes }?.name
        hint = most.flatMap { whose[$0] ?? nil }
        // Whose the others are is said beside their bytes.
        for index in parts.indices where parts[index].name != most {
            if parts[index].name == "heldBytes" || parts[index].name == "retainedBytes" { continue }
            if parts[index].bytes >= 1 << 20, let whose = whose[parts[index].name] ?? nil {
                parts[index].text += " (\(whose))"
            }
        }
        lost =
            "heapsum leaks \(report.reduction.inputs.first?.processID.map { "\($0)" } ?? "PID") tells which of the "
            + "held are leaked"
    }

    /// The stack that mapped the most.
    private static func mapper(_ report: PagesReport) -> String? {
        let rows = report.reduction.mappedRows.filter { $0.kind != .pool }
        return rows.max { $0.bytes < $1.bytes }.map { row in
            let share = PagesReport.share(row.bytes, report.reduction.mappedTotals.bytes)
            return "\(share) of the address space by \(report.names.shortStack(row.node))"
        }
    }

    private static func text(_ part: ResidentSplit.Part) -> String {
        let name =
            part.name.isEmpty ? "without a name" : part.isBehindFile ? ".bss of \(part.name)" : printable(part.name)
        return "\(separated(part.bytes)) of them \(name), at \(hexadecimal(part.start))"
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
        // A verdict is of the end: it says how much of what is live now is lost.
        let verdicts = image.storedVerdict()?.totals ?? [:]
        let leaked = min((verdicts[.definite]?.bytes ?? 0) &+ (verdicts[.indirect]?.bytes ?? 0), held)
        if !verdicts.isEmpty { lost = "\(separated(leaked)) of the held are leaked, by the image's verdict" }
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
