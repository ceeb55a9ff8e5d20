// How sizes and lifetimes are spread: against the same blocks sorted by hand.

import CHeapImage
import HeapImage
import TestSupport
import Testing
import Text

@testable import Reduce
@testable import Report

@Suite struct DistributionTests {
    @Test(arguments: [1, 2] as [UInt64]) func sizesAreEachBlocksOwn(seed: UInt64) throws {
        let heap = try MadeUpHeap(seed: seed)
        func count(_ blocks: [MadeUpHeap.Block]) -> [Int: [UInt64]] {
            var result: [Int: [UInt64]] = [:]
            for block in blocks {
                var number = 0
                while block.bytes >> UInt64(number) > 0 { number += 1 }
                result[number] = [(result[number]?[0] ?? 0) + block.bytes, (result[number]?[1] ?? 0) + 1]
            }
            return result
        }
        func count(_ distributions: Distributions?) -> [Int: [UInt64]] {
            var result: [Int: [UInt64]] = [:]
            for (number, sum) in (distributions?.sizes ?? []).enumerated() where sum.blocks > 0 {
                result[number] = [sum.bytes, sum.blocks]
            }
            return result
        }
        let rows = heap.reduction.rows
        let single = Array(rows.prefix(3))
        let made = heap.reduction.distributions(of: rows, single: single)
        #expect(count(made.all) == count(heap.blocks))
        #expect(made.rows.count == 3)
        for row in single { #expect(made.rows[row.node]?.sizes.reduce(0) { $0 + $1.bytes } == row.bytes) }
        var newer = BlockFilter()
        newer.newerThan = 85
        let young = heap.reduction.distributions(of: rows, blocks: newer)
        #expect(count(young.all) == count(heap.blocks.filter { $0.age < 85 }))
        for number in 1 ... 64 {
            let sizes = Distributions.sizes(of: number)
            #expect(
                Distributions.sizeClass(sizes.lowerBound) == number
                    && Distributions.sizeClass(sizes.upperBound) == number)
        }
        #expect(Distributions.sizeClass(0) == 0 && Distributions.sizes(of: 64).upperBound == .max)
    }

    /// A stack with so many freed blocks, of the classes that have counters, and of the shortest as the rest.
    private func image() throws -> Reduction {
        var builder = ImageBuilder()
        let app = builder.addModule("/opt/app")
        let one = builder.addStack([heap_frame_make(app, 0x11)]), other = builder.addStack([heap_frame_make(app, 0x22)])
        builder.count(one, allocated: 110, bytes: 1100, freed: 100, freedBytes: 1000)
        builder.stacks[Int(one)].lifetimes.0 = 20
        builder.stacks[Int(one)].lifetimes.3 = 5
        builder.count(other, allocated: 7, bytes: 70, freed: 7, freedBytes: 70)
        builder.stacks[Int(other)].lifetimes.10 = 7
        for number in 0 ..< 10 {
            builder.addBlock(address: 0x10_0000 + UInt64(number) * 0x1_0000, bytes: 10, stack: one, counted: false)
        }
        let reduction = Reduction()
        try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "app.heap"), presence: .gone))
        return reduction
    }

    @Test func lifetimesAreTheStacksOwn() throws {
        let reduction = try image()
        let made = reduction.distributions(of: reduction.rows, single: reduction.rows)
        #expect(made.all.lifetimes == [75, 20, 0, 0, 5, 0, 0, 0, 0, 0, 0, 7])
        #expect(reduction.rows.compactMap { made.rows[$0.node]?.lifetimes.reduce(0, +) } == [100, 7])
        // The header's own function is the measure of where a class begins and ends.
        for number in 0 ..< LifetimeClass.count {
            if let end = LifetimeClass.end(number) {
                #expect(
                    heap_lifetime_of_milliseconds(end) == UInt32(number + 1)
                        && heap_lifetime_of_milliseconds(end - 1) == UInt32(number))
            }
        }
        #expect(LifetimeClass.end(LifetimeClass.count - 1) == nil)
    }

    @Test func theTableAndJSONShowThem() throws {
        let reduction = try image()
        let names = FrameNames(reduction) { _ in throw NoFile() }
        let selection = RowSelection(reduction, names: names)
        let out = TextOutput()
        var table = Table(style: Style())
        table.distributions = reduction.distributions(of: reduction.rows, single: selection.rows)
        try table.write(reduction, selection, names: names, to: out)
        #expect(
            out.text.contains(
                """
                    app+0x11

                    size in bytes   live blocks   bytes
                          8 to 15            10     100   ████████████████████████

                           lifetime   freed blocks
                         below 4 ms             75   ████████████████████████
                      4 ms to 16 ms             20   ██████▍
                     16 ms to 64 ms              0
                    64 ms to 256 ms              0
                      256 ms to 1 s              5   █▋

                All blocks
                size in bytes   live blocks   bytes
                      8 to 15            10     100   ████████████████████████

                """), "\(out.text)")
        #expect(out.text.contains("  70 min and more              7   ██▎\n"), "\(out.text)")
        let json = TextOutput()
        var report = JSONReport()
        report.distributions = table.distributions
        try report.write(reduction, selection, names: names, to: json)
        #expect(
            json.text.contains(
                #""sizes":[{"from":8,"to":15,"blocks":10,"bytes":100}],"lifetimes":[{"fromSeconds":0.000,"#
                    + #""belowSeconds":0.004,"blocks":75},"#
            ), "\(json.text)")
        #expect(json.text.contains(#"{"fromSeconds":4194.304,"belowSeconds":null,"blocks":7}"#))
    }

    @Test func temporaryBlocksStandBesideTheirShare() throws {
        var builder = ImageBuilder()
        let app = builder.addModule("/opt/app")
        for (offset, allocated, temporary) in [(0x11, 2000, 1990), (0x22, 4000, 1000), (0x33, 5, 0)]
            as [(UInt64, UInt64, UInt64)]
        {
            let stack = builder.addStack([heap_frame_make(app, offset)])
            builder.count(stack, allocated: allocated, bytes: allocated, freed: allocated, freedBytes: allocated)
            builder.stacks[Int(stack)].temporary_blocks = temporary
        }
        let reduction = Reduction()
        try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "app.heap"), presence: .gone))
        let names = FrameNames(reduction) { _ in throw NoFile() }
        let out = TextOutput()
        try Table(style: Style(), sort: .temporary).write(
            reduction, RowSelection(reduction, names: names, sort: .temporary), names: names, to: out)
        let lines = out.text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(
            lines.filter { $0.count > 5 && $0[0] == "0" && $0[4] != "0" } == [
                ["0", "-", "0", "-", "1,990", "99.5%"], ["0", "-", "0", "-", "1,000", "25.0%"],
            ], "\(out.text)")
    }
}
