// Series of known kinds, some with a leak in them and some without, judged as a recording's are: how often an innocent
// one is accused, and how often a leak is missed. HEAPSUM_SIMULATIONS sets how many of each, and the table is printed:
// scripts/growth-table puts it into docs/heapwatch.md.

import Glibc
import TestSupport
import Testing
import Trend

@testable import Watch

@Suite struct SimulationTests {
    /// A kind of series: noise of deviation 1, one moment a step.
    struct Kind: Sendable {
        var name: String
        var leaks: Bool
        var make: @Sendable (_ count: Int, _ random: inout SeededGenerator) -> [Double]
    }

    private static func normal(_ random: inout SeededGenerator) -> Double {
        (0 ..< 12).reduce(0.0) { sum, _ in sum + Double.random(in: 0 ..< 1, using: &random) } - 6
    }

    private static func series(
        _ count: Int, noise: Double = 1, _ random: inout SeededGenerator, _ level: (Int) -> Double
    ) -> [Double] {
        (0 ..< count).map { 100 + level($0) + noise * normal(&random) }
    }

    /// A log of some height that is rotated after a number of moments, which need not be whole.
    private static func rotations(
        of height: Double, every periods: Range<Double>, _ random: inout SeededGenerator
    ) -> (Double) -> Double {
        let period = Double.random(in: periods, using: &random), phase = Double.random(in: 0 ..< period, using: &random)
        return { fmod($0 + phase, period) / period * height }
    }

    static let kinds: [Kind] = [
        Kind(name: "noise alone", leaks: false) { series($0, &$1) { _ in 0 } },
        Kind(name: "a walk", leaks: false) { count, random in
            var level = 0.0
            return (0 ..< count).map { _ in
                level += normal(&random)
                return 1000 + level
            }
        },
        Kind(name: "a walk in noise", leaks: false) { count, random in
            var level = 0.0
            return (0 ..< count).map { _ in
                level += 0.03 * normal(&random)
                return 1000 + level + normal(&random)
            }
        },
        Kind(name: "steps up and down", leaks: false) { count, random in
            var level = 0.0
            return (0 ..< count).map { _ in
                if Int.random(in: 0 ..< 40, using: &random) == 0 { level = Double.random(in: 0 ..< 20, using: &random) }
                return 100 + level + normal(&random)
            }
        },
        Kind(name: "one step up", leaks: false) { count, random in
            let at = Int.random(in: count / 5 ..< count * 4 / 5, using: &random)
            return series(count, &random) { $0 < at ? 0 : 15 }
        },
        Kind(name: "daily shape, five days", leaks: false) { count, random in
            let phase = Double.random(in: 0 ..< 6.28, using: &random)
            return series(count, &random) { 10 * sin(Double($0) / Double(count) * 5 * 6.2832 + phase) }
        },
        Kind(name: "log rotation", leaks: false) { count, random in
            let rotations = rotations(
                of: Double.random(in: 2 ..< 30, using: &random), every: Double(count) / 40 ..< Double(count) / 6,
                &random)
            return series(count, &random) { rotations(Double($0)) }
        },
        Kind(name: "log rotation over a walk in noise", leaks: false) { count, random in
            let rotations = rotations(
                of: Double.random(in: 2 ..< 30, using: &random), every: Double(count) / 40 ..< Double(count) / 6,
                &random)
            var level = 0.0
            return (0 ..< count).map { place in
                level += 0.03 * normal(&random)
                return 1000 + level + normal(&random) + rotations(Double(place))
            }
        },
        Kind(name: "warm-up", leaks: false) { count, random in
            series(count, &random) { 20 * (1 - exp(-Double($0) / Double(count) * 12)) }
        },
        Kind(name: "a leak", leaks: true) { count, random in
            series(count, &random) { signal * Double($0) / Double(count) }
        },
        Kind(name: "a leak with one fall", leaks: true) { count, random in
            let at = Int.random(in: count / 20 ..< count / 2, using: &random),
                fall = Double.random(in: 10 ..< 40, using: &random)
            let slope = signal / Double(count - at)
            return series(count, &random) { $0 < at ? fall + slope * Double($0) : slope * Double($0 - at) }
        },
        Kind(name: "a leak with three restarts", leaks: true) { count, random in
            var starts = (0 ..< 3).map { _ in Int.random(in: count / 20 ..< count * 3 / 5, using: &random) }.sorted()
            starts.insert(0, at: 0)
            let slope = signal / Double(count - (starts.last ?? 0))
            return series(count, &random) { place in slope * Double(place - (starts.last { $0 <= place } ?? 0)) }
        },
        Kind(name: "a leak under log rotation", leaks: true) { count, random in
            let rotations = rotations(of: 4, every: Double(count) / 40 ..< Double(count) / 20, &random)
            return series(count, &random) { signal * Double($0) / Double(count) + rotations(Double($0)) }
        },
        Kind(name: "a leak under slow log rotation", leaks: true) { count, random in
            let rotations = rotations(of: 4, every: Double(count) / 20 ..< Double(count) / 8, &random)
            return series(count, &random) { signal * Double($0) / Double(count) + rotations(Double($0)) }
        },
        Kind(name: "a leak in steps", leaks: true) { count, random in
            series(count, &random) { signal * 5 * Double($0 / (count / 40)) / 40 }
        },
        Kind(name: "a leak without noise, one fall", leaks: true) { count, random in
            let at = Int.random(in: count / 20 ..< count * 3 / 5, using: &random)
            var level = 0.0
            return (0 ..< count).map { place in
                if place == at { level -= 200 }
                level += Double.random(in: 0 ..< 2, using: &random)
                return 1000 + level
            }
        },
    ]

    /// Twice the noise's deviation, over all of the stretch that leaks.
    static let signal = 2.0

    @Test(arguments: [240]) func theInnocentAreNotAccusedAndLeaksAreNotMissed(moments: Int) {
        let count = getenv("HEAPSUM_SIMULATIONS").flatMap { Int(String(cString: $0)) } ?? 20
        let times = (0 ..< moments).map { Double($0) * 60 }
        for (number, kind) in Self.kinds.enumerated() {
            var random = SeededGenerator(seed: UInt64(number * 1000 + moments))
            var accused = 0
            for _ in 0 ..< count {
                let values = kind.make(moments, &random)
                if Growth.judge(times, values, floor: 0.5, tests: 1) != nil { accused += 1 }
            }
            let share = Double(accused) / Double(count)
            let outcome = kind.leaks ? "missed \(hundredths((1 - share) * 100))" : "accused \(hundredths(share * 100))"
            print("| \(kind.name) | \(moments) | \(outcome) % |")
            if kind.leaks {
                #expect(share >= 0.95 || count - accused <= 3, "\(kind.name): \(accused) of \(count)")
            } else {
                // A walk in noise is hard to tell from a leak that is restarted in as much noise.
                let share = kind.name.hasSuffix("a walk in noise") ? 50 : 100
                #expect(accused <= max(2, count / share), "\(kind.name): \(accused) of \(count)")
            }
        }
    }
}
