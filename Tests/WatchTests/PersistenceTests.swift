// Many innocent series at once: walks that are as likely to go down as up, which a test for trends takes for growth
// every other time. Oracle: the chance that the rules promise.

import TestSupport
import Testing
import Trend

@testable import Watch

@Suite struct PersistenceTests {
    private func walk(_ count: Int, drift: Double = 0, _ generator: inout SeededGenerator) -> [Double] {
        var level = 1e9
        return (0 ..< count).map { _ in
            level += Double.random(in: -1e6 ... 1e6, using: &generator) + drift
            return level
        }
    }

    @Test(arguments: [60, 512]) func walksAreNotAccused(moments: Int) {
        var generator = SeededGenerator(seed: 7)
        let times = (0 ..< moments).map { Double($0) * 60 }
        let recordings = 25, series = 300
        var accused = 0, trends = 0
        for _ in 0 ..< recordings {
            let walks = (0 ..< series).map { _ in walk(moments, &generator) }
            if walks.contains(where: { Growth.find(times, $0, floor: 1e6, tests: series) != nil }) { accused += 1 }
            trends += walks.prefix(10).count { MannKendall($0).pValue < 0.01 / Double(series) }
        }
        // Mann and Kendall's test alone accuses a good part of them; the rules one recording in a hundred, or two, as
        // there are two ways.
        #expect(trends > recordings)
        #expect(accused <= 3, "\(accused) of \(recordings) recordings")
    }

    @Test(arguments: [60, 512]) func aDriftAmongTheSameStepsIsFound(moments: Int) {
        var generator = SeededGenerator(seed: 9)
        let times = (0 ..< moments).map { Double($0) * 60 }
        var found = 0
        for _ in 0 ..< 50
        where Growth.find(times, walk(moments, drift: 1.5e6, &generator), floor: 1e6, tests: 5000) != nil { found += 1 }
        #expect(found == 50)
    }

    /// A level that climbs now and then, and never falls, is growth, however uneven.
    @Test func stairsAreFound() {
        let times = (0 ..< 200).map(Double.init)
        var level = 1e9
        let stairs = (0 ..< 200).map { place -> Double in
            if place % 23 == 22 { level += place % 2 == 0 ? 1e6 : 9e6 }
            return level
        }
        #expect(Growth.find(times, stairs, floor: 1e6, tests: 500) != nil)
        #expect(Growth.find(times, stairs.map { -$0 }, floor: 1e6, tests: 500) == nil)
    }
}
