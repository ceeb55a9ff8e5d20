// A page's timelines and histograms: the whole process over time, live blocks by size and age, and freed blocks by
// lifetime.

import CHeapImage
import HeapImage
import Page
import Reduce
import Text

enum PageTimelines {
    /// A page has timelines of at most this many processes: those that hold the most.
    static let limit = 16

    static func write(_ inputs: [Input], to data: inout PageData) {
        let images = inputs.enumerated().filter { $0.element.image != nil }.sorted {
            ($0.element.bytes, $1.offset) > ($1.element.bytes, $0.offset)
        }
        data.integer("timelinesLeftOut", UInt64(max(0, images.count - limit)))
        data.array("timelines") { data in
            for (_, input) in images.prefix(limit) {
                if let image = input.image { data.object { write(image, input, to: &$0) } }
            }
        }
    }

    private static func write(_ image: HeapImage, _ input: Input, to data: inout PageData) {
        let header = image.header, samples = image.timeline()
        func seconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds / 1_000_000) / 1000 }
        data.string("label", printable(image.programName) + " · pid \(header.pid)")
        data.number(
            "startedUnix", header.started_realtime_ns == 0 ? nil : Double(header.started_realtime_ns / 1_000_000) / 1000
        )
        data.array("seconds") { data in for sample in samples { data.number(nil, seconds(sample.nanoseconds)) } }
        data.column("bytes", samples.map(\.liveBytes))
        data.column("blocks", samples.map(\.liveBlocks))
        data.array("rss") { data in for sample in samples { data.integer(nil, sample.rssBytes) } }
        data.object("end") { data in
            data.number("seconds", seconds(input.census?.momentNanoseconds ?? 0))
            data.integer("bytes", input.bytes)
            data.integer("blocks", input.blocks)
        }
        data.object("peak") { data in
            data.number("seconds", header.peak_ns > 0 ? seconds(header.peak_ns) : nil)
            data.integer("bytes", input.peakBytes)
        }
        data.array("marks") { data in
            for mark in image.marks() {
                data.object { data in
                    data.number("seconds", seconds(mark.nanoseconds))
                    data.string("label", printable(mark.name))
                }
            }
        }
        let residence = header.residence
        if residence.measured_ns > 0 {
            data.object("residence") { data in
                data.number("seconds", seconds(residence.measured_ns))
                for (name, kilobytes) in [
                    ("allocator", residence.allocator_kb), ("anonymous", residence.anonymous_kb),
                    ("stacks", residence.stacks_kb),
                    ("files", residence.files_kb), ("shared", residence.shared_kb), ("image", residence.image_kb),
                ] { data.integer(name, UInt64(kilobytes) << 10) }
            }
        }
    }

    /// Live blocks of these rows by size and by age, and freed ones by lifetime: each class's upper bound, blocks and
    /// bytes.
    ///
    /// - Complexity: O(blocks + stacks), reading the images again.
    static func writeHistograms(_ reduction: Reduction, _ selection: RowSelection, to data: inout PageData) {
        var isShown = [Bool](repeating: false, count: reduction.tree.count)
        for row in selection.rows where Int(row.node) < isShown.count { isShown[Int(row.node)] = true }
        let shown = reduction.rows.map { isShown[Int($0.node)] }
        var sizes = [(blocks: UInt64, bytes: UInt64)](repeating: (0, 0), count: Distributions.sizeClasses)
        var ages = sizes
        reduction.forEachLiveBlock(passing: selection.blocks) {
            (block: LiveBlock, row: Int, ageSeconds: Double, weight: BlockWeight) in
            guard shown[row] else { return }
            let size = Distributions.sizeClass(block.bytes)
            let milliseconds = UInt64(max(0, min(ageSeconds, 1e12)) * 1000)
            let age = UInt64.bitWidth - milliseconds.leadingZeroBitCount
            sizes[size] = (sizes[size].blocks &+ weight.units, sizes[size].bytes &+ weight.bytes)
            ages[age] = (ages[age].blocks &+ weight.units, ages[age].bytes &+ weight.bytes)
        }
        func write(_ name: String, _ classes: [(blocks: UInt64, bytes: UInt64)], _ data: inout PageData) {
            data.object(name) { data in
                let used = classes.indices.filter { classes[$0].blocks > 0 }
                data.column("class", of: used)
                data.column("blocks", used.map { BlockWeight.rounded(classes[$0].blocks) })
                data.column("bytes", used.map { classes[$0].bytes })
            }
        }
        data.object("histograms") { data in
            write("sizes", sizes, &data)
            write("ages", ages, &data)
            let sums = reduction.inputs.reduce(into: [UInt64](repeating: 0, count: LifetimeClass.count)) {
                sums, input in
                for (index, count) in lifetimes(of: input).enumerated() { sums[index % LifetimeClass.count] &+= count }
            }
            data.column("lifetimes", sums)
        }
    }

    /// By stack, and then by class.
    private static func lifetimes(of input: Input) -> [UInt64] {
        guard let image = input.image, let census = input.census else { return [] }
        return image.lifetimes(census)
    }
}
