// The part of `heapsum info` on what the program maps itself, and of a running program on all of its address space.

import HeapImage
import Reduce
import Survey
import Text

struct MappingReport {
    var style: Style

    private func write(_ sums: RequestSums, _ line: (String, String) throws -> Void) throws {
        var text =
            "\(separated(sums.requests)) of blocks and pools; \(counted(sums.places, "place")) in the program's code "
            + "\(sums.places == 1 ? "makes" : "make") requests to Valgrind"
        var left: [String] = []
        if sums.refusedPlaces > 0 { left.append("\(separated(sums.refusedPlaces)) that can't be changed") }
        if sums.unsurePlaces > 0 { left.append("\(separated(sums.unsurePlaces)) that may not be code") }
        if !left.isEmpty { text += "; left alone: " + left.joined(separator: ", ") }
        if sums.lostPools > 0 {
            text +=
                "; \(counted(sums.lostPools, "time")) no room for a pool: its blocks stay when it is destroyed"
        }
        try line("requests", left.isEmpty && sums.lostPools == 0 ? text : style.warning(text))
    }

    /// Nothing if the image has no mappings.
    func write(_ image: HeapImage, _ survey: MappingSurvey?, to out: TextOutput) throws {
        guard image.hasMappings, let sums = image.mappingSums() else { return }
        var totals = MappedTotals(), kinds: [ProgramMapping.Kind: (bytes: UInt64, mappings: UInt64)] = [:]
        for mapping in image.mappings() {
            if mapping.kind == .allocator {
                totals.allocatorBytes &+= mapping.bytes
                totals.allocatorMappings &+= 1
                continue
            }
            totals.bytes &+= mapping.bytes
            totals.mappings &+= 1
            if mapping.isReserved { totals.reservedBytes &+= mapping.bytes }
            kinds[mapping.kind, default: (0, 0)].bytes &+= mapping.bytes
            kinds[mapping.kind, default: (0, 0)].mappings &+= 1
        }
        try out.write("\n" + style.bold("Mappings") + "\n")
        func line(_ name: String, _ text: String) throws { try out.write(style.dim(padded(name, 14)) + text + "\n") }
        try line("mapped", Table.mappedText(totals) + "; at most \(separated(sums.peakBytes)) bytes")
        for (kind, sum) in kinds.sorted(by: { ($0.value.bytes, $0.key.rawValue) > ($1.value.bytes, $1.key.rawValue) }) {
            try out.write(
                "  \(leftPadded(separated(sum.bytes), 16))  \(kind.name), \(counted(sum.mappings, "mapping"))\n")
        }
        try line("calls", "\(separated(sums.calls)) that mapped, moved or unmapped")
        if sums.discards > 0 {
            try line(
                "given back", "\(separated(sums.discardedBytes)) bytes by \(counted(sums.discards, "call")) of madvise")
        }
        if sums.lostCalls > 0 {
            try line(
                "lost",
                style.warning(
                    "\(counted(sums.lostCalls, "call")) found no space in the image: \(separated(sums.lostBytes)) "
                        + "bytes are not told right"))
        }
        if let pools = image.poolSums(), pools.allocatedBlocks > 0 || pools.lostBlocks > 0 {
            try line(
                "pools",
                "\(separated(pools.allocatedBytes &- pools.freedBytes)) bytes in "
                    + "\(counted(pools.allocatedBlocks &- pools.freedBlocks, "block")); "
                    + "\(counted(pools.allocatedBlocks, "block")) in all, \(separated(pools.lostBlocks)) not booked, "
                    + "\(counted(pools.unmatchedFrees, "free")) of blocks that were not booked")
        }
        if let requests = image.requestSums() { try write(requests, line) }
        guard let survey else { return }
        try out.write("\n" + style.bold("Address space") + "\n")
        for part in MappingSurvey.Part.allCases where survey[part].ranges > 0 {
            let sum = survey[part]
            try out.write(
                "  \(leftPadded(separated(sum.bytes), 20))  \(part.text), \(counted(sum.ranges, "range"))\n")
        }
        if survey.gone.ranges > 0 {
            try out.write(
                "  \(leftPadded(separated(survey.gone.bytes), 20))  booked, and not in the kernel's list: mapped or "
                    + "unmapped meanwhile, or unmapped unseen, \(counted(survey.gone.ranges, "range"))\n")
        }
    }
}
