// Which blocks count, by age, thread and moment: against the same blocks chosen by hand.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct BlockFilterTests {
    private func filter(_ change: (inout BlockFilter) -> Void) -> BlockFilter {
        var filter = BlockFilter()
        change(&filter)
        return filter
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func agesAreEachBlocksOwn(seed: UInt64) throws {
        let heap = try MadeUpHeap(seed: seed)
        let all = heap.blocks.reduce(0) { $0 + $1.bytes }
        // Ages lie between 70 and 100 s.
        for (older, newer) in [(85.0, nil), (nil, 85.0), (80.0, 90.0), (100.1, nil), (nil, 69.0)]
            as [(Double?, Double?)]
        {
            let filter = filter { ($0.olderThan, $0.newerThan) = (older, newer) }
            let wanted = heap.blocks.filter { $0.age >= (older ?? 0) && $0.age < (newer ?? .infinity) }
            for grouping in [Grouping.stack, .size, .thread] {
                let selection = RowSelection(heap.reduction, names: heap.names, by: grouping, blocks: filter)
                #expect(
                    selection.passing.bytes == wanted.reduce(0) { $0 + $1.bytes }
                        && selection.passing.blocks == UInt64(wanted.count))
                #expect(selection.filteredBytes == all - selection.passing.bytes && selection.undecided == 0)
                #expect(selection.rows.compactMap(\.oldestSeconds).max() == wanted.map(\.age).max())
                #expect(selection.rows.compactMap(\.newestSeconds).min() == wanted.map(\.age).min())
            }
            let out = TextOutput()
            try writeRecords(
                heap.reduction, RowSelection(heap.reduction, names: heap.names, blocks: filter), frameLimit: nil,
                names: heap.names, to: out)
            #expect(out.text.split(separator: "\n").count { $0.hasPrefix("Allocation #") } == wanted.count)
        }
    }

    @Test func aThreadsBlocksAreItsOwn() throws {
        let heap = try MadeUpHeap(seed: 9)
        for thread: UInt32 in [1, 2, 77] {
            let wanted = heap.blocks.filter { $0.thread == thread }
            let selection = RowSelection(
                heap.reduction, names: heap.names, blocks: filter { $0.thread = UInt64(thread) })
            #expect(
                selection.passing.bytes == wanted.reduce(0) { $0 + $1.bytes }
                    && selection.passing.blocks == UInt64(wanted.count))
            let half = filter { ($0.thread, $0.olderThan) = (UInt64(thread), 85) }
            #expect(
                RowSelection(heap.reduction, names: heap.names, blocks: half).passing.blocks
                    == UInt64(wanted.count { $0.age >= 85 }))
        }
    }

    @Test func rowsAtThePeakAreWhatWasHeldThen() throws {
        let (reduction, names) = try sample()
        let selection = RowSelection(reduction, names: names, blocks: filter { $0.moment = .peak })
        let peaks = Dictionary(
            uniqueKeysWithValues: reduction.rows.map {
                ($0.node, [$0.history?.peakBytes ?? 0, $0.history?.peakBlocks ?? 0])
            })
        #expect(selection.rows.first.map { [$0.bytes, $0.blocks] } == [4_000_000, 3])
        #expect(selection.rows.allSatisfy { peaks[$0.node] == [$0.bytes, $0.blocks] && $0.oldestSeconds == nil })
        #expect(selection.rows.count == peaks.values.count { $0 != [0, 0] })
        let out = TextOutput()
        try Table(style: Style()).write(reduction, selection, names: names, to: out)
        #expect(
            out.text.contains("Here: what was live at the peak: 4,000,")
                && out.text.contains("4,000,000   80.0%        3\n"), "\(out.text)")
    }

    @Test func aLogsBlocksAreDividedByAgeOnlyWhereThatIsKnown() {
        let reduction = Reduction()
        let input = reduction.begin(Input(path: "log", kind: "slub"))
        func add(_ name: String, _ bytes: UInt64, _ oldest: Double?, _ newest: Double?) {
            reduction.add(
                frames: [reduction.frame(LogFrame(name: Array(name.utf8)))], bytes: bytes, blocks: 2, input: input,
                ageSeconds: oldest, newestSeconds: newest)
        }
        add("old", 1, 90, 80)
        add("between", 10, 90, 20)
        add("young", 100, 20, 10)
        add("unknown", 1000, nil, nil)
        func rows(_ older: Double?, _ newer: Double?) -> [UInt64] {
            let result = reduction.rows(filter { ($0.olderThan, $0.newerThan) = (older, newer) })
            #expect(result.rows.reduce(result.filteredBytes) { $0 + $1.bytes } == 1111)
            return [result.rows.reduce(0) { $0 + $1.bytes }, result.undecidedBytes]
        }
        #expect(rows(50, nil) == [1, 1010])
        #expect(rows(nil, 50) == [100, 1010])
        #expect(rows(15, 95) == [11, 1100])
        #expect(rows(30, 60) == [0, 1010])
        #expect(rows(95, nil) == [0, 1000])
    }

    @Test func timesAsTheyAreTyped() {
        #expect(
            ["90s", "5m", "2h", "3d", "250ms", "1.5h", "7", "1w", "2min"].map(durationSeconds) == [
                90, 300, 7200, 259_200, 0.25, 5400, 7, 604_800, 120,
            ])
        for wrong in [
            "", "s", "-1s", "1x", "1 s", "1e9", "inf", "nan", ".5s", "5.", "1.2.3s", "999999999999999d", "5M",
        ] { #expect(durationSeconds(wrong) == nil, "\(wrong)") }
    }
}
