// The contents of every report on an allocator's pages: the survey, its rows with names, and advice.

import CHeapImage
import HeapImage
import Reduce
import Survey
import Symbols
import Text

/// One stack, with what its blocks hold and pin.
package struct PinRow {
    package var node: UInt32
    package var sums: PinSums
}

/// A survey of pages for a report.
package struct PagesReport {
    package let survey: PageSurvey
    package let reduction: Reduction
    package let names: FrameNames
    /// Those that pin anything first, by that; then by what they hold.
    package let rows: [PinRow]

    /// - Parameter input: the number of the surveyed image among the reduction's inputs. The survey's groups are the
    ///   reduction's nodes.
    package init(_ survey: PageSurvey, reduction: Reduction, names: FrameNames) {
        (self.survey, self.reduction, self.names) = (survey, reduction, names)
        rows = survey.groups.enumerated().compactMap { group, sums in
            sums.blocks == 0 && sums.live == 0 ? nil : PinRow(node: UInt32(group), sums: sums)
        }.sorted {
            ($0.sums.pinned, $0.sums.live, $1.node) > ($1.sums.pinned, $1.sums.live, $0.node)
        }
    }

    /// The groups of an image's stacks: the nodes of the reduction.
    package static func groups(_ reduction: Reduction, input: Int) -> StackGroups {
        StackGroups(ofStack: reduction.nodes(ofStacksOf: input), count: reduction.tree.count)
    }

    /// The parts of the allocator's resident memory, with a name for JSON and words for people; empty ones only where
    /// they say something.
    var parts: [(name: String, bytes: UInt64, text: String)] {
        let sums = survey.sums, earlier = survey.earlier?.sums ?? PinSums()
        let blocks = rows.reduce(0) { $0 &+ $1.sums.blocks }
        var parts: [(name: String, bytes: UInt64, text: String)] = [
            ("liveBytes", sums.live &- earlier.live, "live, in \(counted(blocks, "block")), as requested"),
            (
                "earlierBytes", earlier.live,
                "live \(survey.earlier?.origin ?? ""), in \(counted(earlier.blocks, "block")), as malloc gave them"
            ),
            ("overheadBytes", sums.overhead, "their headers and rounding"),
            ("pinnedBytes", sums.pinned, "free, but pinned: a live block lies on the same page"),
        ]
        guard survey.hasResidency else { return parts }
        if survey.isGlibc {
            parts += [
                ("trimmableBytes", sums.returned, "free pages that malloc_trim(0) would give back"),
                ("topBytes", sums.top, "free pages at the tops of arenas, which it leaves"),
                ("keptBytes", sums.kept, textOfKept),
                ("rimBytes", sums.rims, "free pages with the record of a free chunk, which it leaves"),
                ("unclearBytes", sums.unclear, "pages without a live block that could not be told apart"),
            ]
        } else {
            parts.append(("retainedBytes", sums.unclear, "pages without a live block, which the allocator retains"))
        }
        return parts
    }

    /// What chunks in use are that no live block is known of.
    var textOfKept: String {
        guard let earlier = survey.earlier else { return "in the caches of threads, malloc's own, or not booked" }
        return earlier.isWhole
            ? "in the caches of threads, or malloc's own"
            : "in use: blocks \(earlier.origin), or in the caches of threads, which can't be told apart "
                + "(\(earlier.why))"
    }

    static func text(_ kind: Occupancy) -> String {
        switch kind {
        case .none: "nothing"
        case .eighth: "less than 1/8"
        case .quarter: "1/8 to 1/4"
        case .half: "1/4 to 1/2"
        case .threeQuarters: "1/2 to 3/4"
        case .full: "3/4 or more"
        }
    }

    static func text(_ arena: ArenaSums) -> String {
        switch arena.kind {
        case .main: "main arena"
        case .arena: "arena \(hexadecimal(arena.address ?? 0)), \(counted(UInt64(arena.heaps), "heap"))"
        case .mapped: "blocks with mappings of their own"
        case .other: "other mappings"
        }
    }

    /// The parts of the allocator with pages, largest first.
    var arenas: [ArenaSums] {
        survey.arenas.filter { $0.sums.resident > 0 }.sorted { $0.sums.resident > $1.sums.resident }
    }

    /// The classes of sizes with blocks, those that pin most first.
    var sizes: [(sizes: ClosedRange<UInt64>, sums: PinSums)] {
        survey.sizes.enumerated().filter { $1.blocks > 0 }.map { (Distributions.sizes(of: $0), $1) }
            .sorted { ($0.sums.pinned, $0.sums.live) > ($1.sums.pinned, $1.sums.live) }
    }

    /// Percent with one decimal.
    static func share(_ part: UInt64, _ whole: UInt64) -> String {
        guard whole > 0 else { return "-" }
        let tenths = Int((Double(part) * 1000 / Double(whole)).rounded())
        return "\(tenths / 10).\(tenths % 10)%"
    }
}
