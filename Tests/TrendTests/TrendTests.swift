// The statistics, against SciPy's answers and published tables; and the shapes, by series that are made up of
// what they are called after, and of noise.

import TestSupport
import Testing

@testable import Trend

private func near(_ left: Double, _ right: Double, by share: Double = 1e-9) -> Bool {
    abs(left - right) <= share * max(1, abs(right))
}

@Suite struct StatisticsTests {
    /// SciPy 1.17.1: stats.theilslopes(values, times, 0.95), and the sum of signs and the variance behind
    /// stats.kendalltau's asymptotic p.
    private static let known:
        [(times: [Double], values: [Double], score: Int, variance: Double, slope: (Double, Double, Double))] = [
            (
                Array(0 ..< 8).map(Double.init), [3, 1, 4, 1.5, 9, 2.6, 5, 3.5], 8, 65.33333333333333,
                (0.3666666666666667, -1.5, 1.5)
            ),
            (
                Array(0 ..< 13).map(Double.init), [1, 1, 2, 2, 2, 3, 5, 5, 8, 8, 8, 8, 13], 67, 254.33333333333334,
                (0.8452380952380952, 0.6, 1.0)
            ),
            (
                [0, 1, 2, 4, 5, 7, 8, 9, 11, 14, 15, 20], [10, 15, 14, 20, 18, 25, 23, 22, 30, 28, 35, 31], 52,
                212.66666666666666,
                (1.25, 0.8333333333333334, 1.6666666666666667)
            ),
            (
                Array(0 ..< 11).map(Double.init), [9, 8.5, 8, 7, 7, 6, 3, 2, 2, 1, 0.5], -53, 163,
                (-0.9375, -1.0833333333333333, -0.625)
            ),
        ]

    @Test func asSciPyHasThem() throws {
        for (times, values, score, variance, slope) in Self.known {
            let test = MannKendall(values)
            #expect(test.score == score && near(test.variance, variance, by: 1e-6), "\(test)")
            let line = try #require(TheilSen(times: times, values: values))
            #expect(near(line.slope, slope.0) && near(line.low, slope.1) && near(line.high, slope.2), "\(line)")
        }
    }

    @Test func theExactProbabilityIsKendalls() {
        // SciPy's stats.kendalltau(method='exact') of the first series above. Kendall's table for four values of which
        // five of the six pairs rise: 4 of 24 orders to either side. Of five values 2 of 120 orders rise or fall
        // throughout.
        #expect(near(MannKendall([3, 1, 4, 1.5, 9, 2.6, 5, 3.5]).pValue, 0.39875992063492066))
        #expect(near(MannKendall([10, 15, 14, 20]).pValue, 8.0 / 24))
        #expect(near(MannKendall([1, 2, 3, 4, 5]).pValue, 2.0 / 120))
        #expect(
            MannKendall([7, 7, 7, 7, 7, 7]).pValue == 1 && MannKendall([]).pValue == 1 && MannKendall([1]).pValue == 1)
    }

    @Test func chanceIsFoundSureOnceInTwentyTimes() {
        // By its definition; with 2,000 series of 30 the share lies within 0.035 and 0.065 but for once in a thousand
        // seeds.
        var generator = SeededGenerator(seed: 7)
        let sure = (0 ..< 2000).filter { _ in
            MannKendall((0 ..< 30).map { _ in Double.random(in: 0 ..< 1, using: &generator) }).pValue < 0.05
        }.count
        #expect((70 ... 130).contains(sure), "\(sure)")
    }

    @Test func thinningKeepsTheSlope() throws {
        let times = (0 ..< 50_000).map { Double($0) * 60 }
        let line = try #require(TheilSen(times: times, values: times.map { 5 + 0.25 * $0 }))
        #expect(near(line.slope, 0.25) && TheilSen(times: [3, 3, 3], values: [1, 2, 3]) == nil)
    }
}

@Suite struct ShapeTests {
    private static func shape(
        _ count: Int = 60, step seconds: Double = 1, noise: Double = 0, seed: UInt64 = 1, _ value: (Double) -> Double
    ) -> Shape {
        var generator = SeededGenerator(seed: seed)
        let times = (0 ..< count).map { Double($0) * seconds }
        return Trend(
            times: times,
            values: times.map { value($0) + (noise > 0 ? Double.random(in: -noise ... noise, using: &generator) : 0) }
        ).shape
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func eachIsToldFromTheOthers(seed: UInt64) {
        let day = 86_400.0
        func tooth(_ time: Double, _ period: Double) -> Double { time.truncatingRemainder(dividingBy: period) / period }
        func noon(_ time: Double) -> Double {
            let at = abs(tooth(time, day) - 0.5) * 2
            return 1 - at * at
        }
        #expect(Self.shape(noise: 3, seed: seed) { 100 + $0 } == .steadyGrowth)
        #expect(Self.shape(noise: 3, seed: seed) { 1000 - 5 * $0 } == .shrinking)
        #expect(Self.shape(noise: 3, seed: seed) { $0 < 31 ? 100 : 300 } == .step)
        #expect(Self.shape(noise: 1, seed: seed) { 100 + 50 * tooth($0, 12) } == .sawTooth)
        #expect(Self.shape(noise: 0.5, seed: seed) { 100 + 50 * tooth($0, 12) + 2 * $0 } == .steadyGrowth)
        #expect(Self.shape(noise: 1, seed: seed) { 100 + 400 * min($0, 20) / 20 } == .warmUp)
        #expect(Self.shape(noise: 2, seed: seed) { _ in 100 } == .flat)
        #expect(Self.shape(500, step: 1800, noise: 20, seed: seed) { 1000 + 800 * noon($0) } == .daily)
        #expect(
            Self.shape(500, step: 1800, noise: 20, seed: seed) { 1000 + 800 * noon($0) + 200 * $0 / day }
                == .steadyGrowth)
    }

    @Test func fewMomentsAreToldHonestly() {
        #expect(Trend(values: []).shape == .tooFew && Trend(values: [5]).shape == .tooFew)
        #expect(Trend(values: [1, 2]).shape == .tooFew && Trend(values: [1, 2, 3, 4]).shape == .tooFew)
        #expect(Trend(values: [4, 4]).shape == .flat && Trend(values: [4, 4, 4, 4]).shape == .flat)
        #expect(Trend(values: [10, 20, 30, 41, 50]).shape == .steadyGrowth)
        #expect(Trend(values: [10, 10, 10, 90, 90, 90]).shape == .step)
        #expect(Trend(values: [10, 60, 12, 58, 11, 63, 10]).shape == .sawTooth)
    }

    @Test func whateverComesIsSurvived() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0 ..< 2000 {
            let count = Int.random(in: 0 ... 40, using: &generator)
            let times = (0 ..< count).map { _ in Double(Int.random(in: 0 ... 20, using: &generator)) * 7200 }.sorted()
            let values = (0 ..< count).map { _ in
                [0, 1, 1e19, -5, Double.random(in: 0 ..< 1, using: &generator)].randomElement(using: &generator) ?? 0
            }
            let trend = Trend(times: times, values: values)
            #expect(trend.pValue >= 0 && trend.pValue <= 1 && trend.count == count)
            #expect(trend.shape != .steadyGrowth || count >= Trend.fewest)
        }
    }
}
