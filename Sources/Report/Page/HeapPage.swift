// The data for the page of a reduction, or of what grew between moments. This file only collects numbers and names;
// Sources/Page decides how they look.
//
// The numbers are those of `--format json`: totals before filters, rows after.

import CHeapImage
import HeapImage
import Page
import Reduce
import Text

extension MachineReport {
    /// Writes the page of all rows, with the snapshots of each stack if there is a single image.
    func writePage(to out: TextOutput) throws {
        var data = PageData()
        let rows = selection.rows
        HeapPage.begin(reduction, &data)
        data.string("blocks", selection.blocks.text)
        data.string("kind", "heap")
        HeapPage.writeTotals(reduction, &data)
        data.object("left") { data in
            data.integer("filtered", UInt64(selection.filtered))
            data.integer("filteredBytes", selection.filteredBytes)
            data.integer("below", UInt64(selection.below))
            data.integer("belowBytes", selection.belowBytes)
            data.integer("suppressed", UInt64(selection.suppressed.uses.reduce(0) { $0 + $1.stacks }))
            data.integer("suppressedBytes", selection.suppressed.uses.reduce(0) { $0 &+ $1.bytes })
        }

        var stacks = PageStacks(names: names, frameLimit: frameLimit, in: &data)
        for row in rows { stacks.add(row.node, in: &data) }
        stacks.write(to: &data)
        data.object("rows") { data in
            data.column("node", of: stacks.nodeOfRow)
            for quantity in known { data.column(quantity.name, rows.map(quantity.value)) }
            // The page needs each row's bytes; it says if they are not known.
            if !isAnySizeKnown { data.column(Quantity.bytes.name, rows.map(\.bytes)) }
            if rows.contains(where: { $0.blocksOfUnknownSize > 0 }) {
                data.column("blocksOfUnknownSize", rows.map(\.blocksOfUnknownSize))
            }
            if reduction.hasVerdicts { PageVerdicts.writeColumns(rows, to: &data) }
            // Times in whole milliseconds; -1: not known.
            for quantity in Quantity.all where !quantity.isSum && quantity.isShown(of: reduction) {
                data.column(
                    quantity.name,
                    of: rows.map { row in
                        switch quantity.known(row) {
                        case .seconds(let seconds): Int(max(0, min(seconds, 1e12)) * 1000 + 0.5)
                        case .count(let count): Int(clamping: count)
                        case nil: -1
                        }
                    })
            }
        }
        if reduction.hasVerdicts { PageVerdicts.write(reduction, names, to: &data) }
        if let survey { PageOfPages.write(survey, rows, to: &data) }
        HeapPage.writeQuantities(&data)
        data.string("sort", quantity.name)
        snapshots.write(to: &data)
        PageTimelines.write(reduction.inputs, to: &data)
        PageTimelines.writeHistograms(reduction, selection, to: &data)
        let notes =
            Table.notes(reduction, selection) + PageVerdicts.notes(reduction, names)
            + (survey?.notes.map { "The map of pages: \($0)." } ?? [])
        HeapPage.writeWarnings(reduction, names, notes, &data)
        data.stringTable("strings")
        try HeapPage.finish(reduction, data, to: out)
    }

    /// The rows at the snapshots of the only image; none if several images are summed or blocks were filtered.
    private var snapshots: PageMoments {
        var moments = PageMoments()
        guard reduction.inputs.count == 1, selection.blocks == BlockFilter(), let input = reduction.inputs.first,
            let image = input.image, let end = input.census?.momentNanoseconds
        else { return moments }
        let rows = selection.rows
        let none = [UInt64](repeating: 0, count: rows.count)
        moments.moments.append(.init(label: "the start", seconds: 0, bytes: none, blocks: none))
        for number in 0 ..< image.snapshotCount {
            let age = HeapImage.snapshotNanoseconds(number)
            guard age < end else { break }
            let levels = reduction.snapshot(number, ofInput: 0)
            moments.moments.append(
                .init(
                    label: shortDuration(Double(age) / 1e9), seconds: Double(age) / 1e9,
                    bytes: rows.map { levels[$0.node]?.bytes ?? 0 },
                    blocks: rows.map { levels[$0.node]?.blocks ?? 0 }))
        }
        moments.moments.append(
            .init(
                label: "the end", seconds: Double(end / 1_000_000) / 1000, bytes: rows.map(\.bytes),
                blocks: rows.map(\.blocks)))
        return moments
    }
}

extension GrowthSelection {
    /// Writes the page of what grew: each stack that changed, with its values at each moment.
    package func writePage(_ growth: Growth, frameLimit: Int? = nil, names: FrameNames, to out: TextOutput) throws {
        var data = PageData()
        HeapPage.begin(growth.reduction, &data)
        data.string("kind", "diff")
        data.object("totals") { data in
            data.integer("liveBytes", total.row.bytes.last ?? 0)
            data.integer("liveBlocks", total.row.blocks.last ?? 0)
            data.integer("bytesBefore", total.row.bytes.first ?? 0)
            data.integer("blocksBefore", total.row.blocks.first ?? 0)
            data.integer("uniqueStacks", UInt64(growth.rows.count { ($0.blocks.last ?? 0) > 0 }))
        }
        data.object("left") { data in
            data.integer("filtered", UInt64(filtered))
            data.integer("unchanged", UInt64(unchanged))
            data.integer("unchangedBytes", unchangedBytes)
            data.integer("below", UInt64(below))
        }
        var stacks = PageStacks(names: names, frameLimit: frameLimit, byName: acrossBuilds, in: &data)
        for ranked in rows { stacks.add(ranked.row.node, in: &data) }
        stacks.write(to: &data)
        data.object("rows") { data in
            data.column("node", of: stacks.nodeOfRow)
            data.column("bytes", rows.map { $0.row.bytes.last ?? 0 })
            data.column("blocks", rows.map { $0.row.blocks.last ?? 0 })
            data.array("shape") { data in
                for ranked in rows { data.integer(nil, UInt64(data.number(of: ranked.trend.shape.rawValue))) }
            }
            data.array("bytesAnHour") { data in for ranked in rows { data.number(nil, ranked.bytesAnHour) } }
        }
        HeapPage.writeQuantities(&data)
        data.string("sort", "bytes")
        var moments = PageMoments()
        let seconds = growth.seconds, labels = withoutCommonDirectory(growth.moments.map(\.label))
        for number in growth.moments.indices {
            moments.moments.append(
                .init(
                    label: labels[number], seconds: seconds?[number], bytes: rows.map { $0.row.bytes[number] },
                    blocks: rows.map { $0.row.blocks[number] }))
        }
        moments.write(to: &data)
        // One process's moments lie on its own timeline. The last of several files has the longest one.
        PageTimelines.write(growth.reduction.inputs.last.map { [$0] } ?? [], to: &data)
        HeapPage.writeWarnings(growth.reduction, names, [], &data)
        data.stringTable("strings")
        try HeapPage.finish(growth.reduction, data, to: out)
    }
}

/// Paths without the directories that all of them begin with, because a page has little room.
func withoutCommonDirectory(_ paths: [String]) -> [String] {
    guard let first = paths.first, paths.count > 1 else { return paths }
    let shared = paths.dropFirst().reduce(first.utf8.count) {
        min($0, zip(first.utf8, $1.utf8).prefix { $0 == $1 }.count)
    }
    guard let slash = first.utf8.prefix(shared).lastIndex(of: UInt8(ascii: "/")) else { return paths }
    let length = first.utf8.distance(from: first.utf8.startIndex, to: slash) + 1
    return paths.map { String(decoding: $0.utf8.dropFirst(length), as: UTF8.self) }
}

/// What heapsum's pages have in common.
enum HeapPage {
    /// The names of the rows' columns.
    static func writeQuantities(_ data: inout PageData) {
        data.array("quantities") { data in
            for quantity in Quantity.all {
                data.object { data in
                    data.string("key", quantity.name)
                    data.string("unit", quantity.unit.rawValue)
                    data.bool("isSum", quantity.isSum)
                    data.string("title", quantity.pageTitle)
                    data.string("short", quantity.pageColumn?.title)
                    data.string("hint", quantity.pageColumn?.hint)
                }
            }
        }
    }

    /// Begins the data with its source and heapsum's version.
    static func begin(_ reduction: Reduction, _ data: inout PageData) {
        data.open()
        data.string("schema", "heapsum-page/1")
        data.string("tool", "heapsum \(version)")
        data.array("inputs") { data in
            for input in reduction.inputs { data.object { write(input, to: &$0) } }
        }
    }

    /// What is wrong or missing. Written after all frames were named, because names may be missing.
    static func writeWarnings(_ reduction: Reduction, _ names: FrameNames, _ notes: [String], _ data: inout PageData) {
        var warnings = notes + Table.warnings(reduction, names)
        for input in reduction.inputs { warnings += input.damages.map { "Damaged: \(printable("\($0)"))." } }
        data.strings("warnings", warnings)
    }

    private static func write(_ input: Input, to data: inout PageData) {
        data.string("path", printable(input.path))
        data.string("kind", input.kind)
        data.string("program", input.program.map(printable))
        data.integer("pid", input.processID.map(UInt64.init))
        data.string("state", input.kind == "dump" ? "dump of a running program" : input.stateText)
        data.integer("bytes", input.bytes)
        data.integer("blocks", input.blocks)
        guard let image = input.image else { return }
        data.string("allocator", printable(image.allocator))
        data.integer("depth", UInt64(image.header.depth))
        data.number(
            "startedUnix",
            image.header.started_realtime_ns == 0 ? nil : Double(image.header.started_realtime_ns / 1_000_000) / 1000)
        data.number("seconds", Double((input.census?.momentNanoseconds ?? 0) / 1_000_000) / 1000)
        data.integer("peakBytes", input.peakBytes)
        data.integer("rssPeakBytes", image.header.rss_peak_bytes == 0 ? nil : image.header.rss_peak_bytes)
        data.array("losses") { data in
            for (name, count) in InfoReport.losses(image) where count > 0 {
                data.array { data in
                    data.string(nil, name)
                    data.integer(nil, count)
                }
            }
        }
    }

    static func writeTotals(_ reduction: Reduction, _ data: inout PageData) {
        let totals = reduction.totals
        data.object("totals") { data in
            data.integer("liveBytes", totals.liveBytes)
            data.integer("liveBlocks", totals.liveBlocks)
            data.integer("allocatedBytes", totals.history?.allocatedBytes)
            data.integer("allocatedBlocks", totals.history?.allocatedBlocks)
            data.integer("freedBlocks", totals.history?.freedBlocks)
            data.integer("peakBytes", totals.peakBytes)
            data.integer("uniqueStacks", UInt64(totals.uniqueStacks))
            data.integer("lostEvents", totals.lostEvents)
            data.integer("unmatchedFrees", totals.unmatchedFrees)
            if let variance = totals.variance {
                data.integer("standardErrorBytes", UInt64(clamped: variance.errorBytes))
            }
            if totals.blocksOfUnknownSize > 0 { data.integer("blocksOfUnknownSize", totals.blocksOfUnknownSize) }
        }
    }

    static func finish(_ reduction: Reduction, _ data: PageData, to out: TextOutput) throws {
        var data = data
        data.close()
        let programs = Set(reduction.inputs.map { $0.image?.programName ?? $0.path })
        let title = programs.count == 1 ? printable(programs.first ?? "") : "\(reduction.inputs.count) inputs"
        let totals = reduction.totals
        try Page(
            .heap, title: "\(title) · heapsum",
            summary: [
                "\(Table.estimate(separated(totals.liveBytes), totals.variance?.errorBytes)) bytes live in "
                    + "\(counted(totals.liveBlocks, "block")) · "
                    + "\(counted(UInt64(totals.uniqueStacks), "stack"))"
            ]
        ).write(data) { try out.write($0) }
    }
}
