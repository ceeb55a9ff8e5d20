// The range table against its law, told by hand and by a search that looks at every range.

import TestSupport
import Testing

@testable import Symbols

private func sized(_ range: Range<UInt64>, _ name: UInt32) -> RangeTable.Entry {
    RangeTable.Entry(start: range.lowerBound, end: range.upperBound, name: name, source: 0, rank: 0, isSized: true)
}

private func unsized(_ start: UInt64, limit: UInt64, _ name: UInt32) -> RangeTable.Entry {
    RangeTable.Entry(start: start, end: limit, name: name, source: 0, rank: 0, isSized: false)
}

private func names(_ table: RangeTable, _ addresses: UInt64...) -> [UInt32?] {
    addresses.map { table.match(at: $0)?.name }
}

@Suite struct RangeTableTests {
    @Test func anEmptyTableNamesNothing() {
        let table = RangeTable([], prefers: { $0.name < $1.name })
        #expect(table.match(at: 0) == nil)
        #expect(table.match(at: .max) == nil)
    }

    @Test func anAddressPastTheEndHasNoName() {
        let table = RangeTable([sized(10 ..< 20, 1), sized(30 ..< 40, 2)], prefers: { $0.name < $1.name })
        #expect(names(table, 9, 10, 19, 20, 29, 30, 39, 40, .max) == [nil, 1, 1, nil, nil, 2, 2, nil, nil])
    }

    @Test func theInnermostRangeWinsAndTheEnclosingOneComesBack() {
        let table = RangeTable(
            [sized(10 ..< 100, 1), sized(20 ..< 60, 2), sized(30 ..< 40, 3), sized(60 ..< 70, 4)],
            prefers: { $0.name < $1.name })
        #expect(
            names(table, 10, 20, 29, 30, 39, 40, 59, 60, 69, 70, 99, 100) == [1, 2, 2, 3, 3, 2, 2, 4, 4, 1, 1, nil])
    }

    @Test func crossingRanges() {
        let table = RangeTable([sized(10 ..< 50, 1), sized(30 ..< 80, 2)], prefers: { $0.name < $1.name })
        #expect(names(table, 29, 30, 49, 50, 79, 80) == [1, 2, 2, 2, 2, nil])
    }

    @Test func theShorterOfTwoWithOneStartIsTheInnermost() {
        let table = RangeTable([sized(10 ..< 20, 1), sized(10 ..< 50, 2)], prefers: { $0.name < $1.name })
        #expect(names(table, 10, 19, 20, 49, 50) == [1, 1, 2, 2, nil])
    }

    @Test func unsizedRangesReachToTheNextStartOrTheirLimit() {
        let table = RangeTable(
            [unsized(10, limit: 100, 1), unsized(20, limit: 100, 2), sized(40 ..< 50, 3), unsized(60, limit: 70, 4)],
            prefers: { $0.name < $1.name })
        #expect(names(table, 10, 19, 20, 39, 40, 49, 50, 60, 69, 70) == [1, 1, 2, 2, 3, 3, nil, 4, 4, nil])
        #expect(table.byteCount(from: 20) == 20)
        #expect(table.byteCount(from: 60) == 10)
        #expect(table.byteCount(from: 61) == 0)
    }

    @Test func anUnsizedRangeInsideASizedOneDoesNotHideIt() {
        let table = RangeTable(
            [sized(10 ..< 50, 1), unsized(10, limit: 100, 2), unsized(30, limit: 100, 3), unsized(50, limit: 100, 4)],
            prefers: { $0.name > $1.name })
        #expect(names(table, 10, 30, 49, 50, 99, 100) == [1, 1, 1, 4, 4, nil])
    }

    @Test func aliasesAreChosenByTheCaller() {
        let entries = [sized(10 ..< 20, 3), sized(10 ..< 20, 1), sized(10 ..< 20, 2)]
        #expect(RangeTable(entries, prefers: { $0.name < $1.name }).match(at: 12)?.name == 1)
        #expect(RangeTable(entries, prefers: { $0.name > $1.name }).match(at: 12)?.name == 3)
    }

    @Test func rangesAtTheAddressSpacesEnds() {
        let table = RangeTable(
            [sized(0 ..< 1, 1), sized(.max - 1 ..< .max, 2), sized(5 ..< 5, 3)], prefers: { $0.name < $1.name })
        #expect(names(table, 0, 1, 5, .max - 2, .max - 1, .max) == [1, nil, nil, nil, 2, nil])
    }

    @Test func deepNestingStaysSmallAndQuick() {
        let depth: UInt64 = 20_000
        let table = RangeTable(
            (0 ..< depth).map { sized($0 ..< 2 * depth - $0, UInt32($0)) }, prefers: { $0.name < $1.name })
        #expect(table.pieceCount == Int(2 * depth))
        #expect(
            names(table, depth - 1, depth, 2 * depth - 1, 2 * depth) == [UInt32(depth - 1), UInt32(depth - 1), 0, nil])
    }

    @Test func aSearchOfEveryRangeAgrees() {
        var random = SeededGenerator(seed: 1)
        for _ in 0 ..< 400 {
            let entries = (0 ..< Int.random(in: 1 ... 24, using: &random)).map { number -> RangeTable.Entry in
                let start = UInt64.random(in: 0 ..< 60, using: &random)
                return Bool.random(using: &random)
                    ? sized(start ..< start + UInt64.random(in: 0 ..< 30, using: &random), UInt32(number))
                    : unsized(start, limit: start + UInt64.random(in: 0 ..< 30, using: &random), UInt32(number))
            }
            let table = RangeTable(entries, prefers: { $0.name < $1.name })
            for address: UInt64 in 0 ..< 100 {
                #expect(table.match(at: address)?.name == search(entries, address))
            }
        }
    }

    /// The law, said as plainly as can be: looks at all ranges.
    private func search(_ entries: [RangeTable.Entry], _ address: UInt64) -> UInt32? {
        let real = entries.filter { $0.end > $0.start }
        let ranges = real.compactMap { entry -> (start: UInt64, end: UInt64, name: UInt32)? in
            if entry.isSized { return (entry.start, entry.end, entry.name) }
            if real.contains(where: { $0.isSized && $0.start <= entry.start && entry.start < $0.end }) { return nil }
            let next = real.map(\.start).filter { $0 > entry.start }.min() ?? .max
            return (entry.start, min(entry.end, next), entry.name)
        }
        return ranges.filter { $0.start <= address && address < $0.end }
            .min { a, b in a.start != b.start ? a.start > b.start : a.end != b.end ? a.end < b.end : a.name < b.name }?
            .name
    }
}
