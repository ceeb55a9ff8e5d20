// What repeats is removed, whatever its form; and what does not repeat stays.

import Glibc
import TestSupport
import Testing
import Trend

@Suite struct PeriodTests {
    private func noise(_ count: Int, _ seed: UInt64) -> [Double] {
        var random = SeededGenerator(seed: seed)
        return (0 ..< count).map { _ in
            (0 ..< 12).reduce(0.0) { sum, _ in sum + Double.random(in: 0 ..< 1, using: &random) } - 6
        }
    }

    private func deviation(_ values: [Double]) -> Double {
        let mean = values.reduce(0, +) / Double(values.count)
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot()
    }

    /// Periods that are a number of moments and that are not, and forms of several kinds.
    @Test(arguments: [7, 12, 19.3, 33.7], [0, 1, 2]) func whatRepeatsIsRemoved(period: Double, form: Int) throws {
        for count in [240, 512] where Double(count) / period >= 6.5 {
            let times = (0 ..< count).map { Double($0) * 30 + 1e9 }
            let repeated = (0 ..< count).map { place in
                let phase = fmod(Double(place) + 3, period) / period
                return form == 0 ? 8 * phase : form == 1 ? 4 * sin(phase * 2 * Double.pi) : phase < 0.3 ? 6 : 0
            }
            let values = zip(repeated, noise(count, UInt64(count))).map { 50 + $0 + $1 }
            let quiet = try #require(Period.removed(times, values), "\(count)")
            #expect(deviation(values) > 2 && deviation(quiet) < 1.35, "\(count): \(deviation(quiet))")
            #expect(abs(quiet.reduce(0, +) - values.reduce(0, +)) < 1e-6 * Double(count))
        }
    }

    @Test func whatDoesNotRepeatStays() {
        let times = (0 ..< 240).map(Double.init)
        for seed in 1 ... 200 as ClosedRange<UInt64> {
            #expect(Period.removed(times, noise(240, seed)) == nil, "\(seed)")
        }
        var level = 0.0
        let walk = noise(240, 1).map { step in
            level += step
            return level
        }
        #expect(Period.removed(times, (0 ..< 240).map { $0 < 90 ? 0 : 15 }) == nil)
        // A walk may be a little quieter without a period, but not by much.
        if let quiet = Period.removed(times, walk) { #expect(deviation(quiet) > deviation(walk) / 2) }
    }

    @Test func strangeInputHasAnAnswer() {
        let strange: [Double] = [0, -0.0, .nan, .infinity, -.infinity, 1e308, -1e308, .leastNonzeroMagnitude]
        var random = SeededGenerator(seed: 2)
        for _ in 0 ..< 200 {
            let times = (0 ..< 60).map { Bool.random(using: &random) ? Double($0) : strange[$0 % 8] }
            let values = (0 ..< 60).map { Bool.random(using: &random) ? Double($0 % 5) : strange[($0 + 3) % 8] }
            _ = Period.removed(times, values)
            _ = Period.removed((0 ..< 60).map(Double.init), values)
            _ = Period.removed(times, (0 ..< 60).map { Double($0 % 5) })
        }
        #expect(Period.removed([], []) == nil)
        #expect(Period.removed((0 ..< 60).map(Double.init), Array(repeating: 3, count: 60)) == nil)
    }
}
