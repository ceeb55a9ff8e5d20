// A slope with falls, and a walk in noise: the two descriptions of a series between which a verdict decides. Oracles:
// every division tried one by one, and the likelihood of the series' differences by Cholesky's decomposition.

import Glibc
import TestSupport
import Testing

@testable import Trend

@Suite struct RestartsTests {
    private static func normal(_ random: inout SeededGenerator) -> Double {
        (0 ..< 12).reduce(0.0) { sum, _ in sum + Double.random(in: 0 ..< 1, using: &random) } - 6
    }

    @Test(arguments: [[30, 50], [40], [20, 41, 60]]) func fallsAreWhereTheyAre(truth: [Int]) throws {
        var random = SeededGenerator(seed: UInt64(truth.count))
        let times = (0 ..< 100).map { Double($0) * 10 }
        let values = (0 ..< 100).map { place -> Double in
            let since = Double(place - (truth.last { $0 <= place } ?? 0))
            return 50 + 0.3 * since + 0.2 * Self.normal(&random)
        }
        let found = try #require(Restarts(times: times, values: values, noise: 0.2, shortest: 20))
        #expect(found.starts == truth && abs(found.slope - 0.03) < 0.001)
        // What is left is the noise.
        #expect(found.residuals.count == 100 && abs((found.residual / 100).squareRoot() - 0.2) < 0.05)
    }

    @Test(arguments: 0 ..< 5) func noOtherDivisionIsBetter(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let count = 24, shortest = 5, noise = 1.0
        let times = (0 ..< count).map(Double.init)
        let values = times.map { 0.4 * ($0.truncatingRemainder(dividingBy: 9)) + Self.normal(&random) }
        let found = try #require(Restarts(times: times, values: values, noise: noise, shortest: shortest))
        func cost(_ starts: [Int], _ slope: Double) -> (cost: Double, falls: Bool) {
            var sum = 0.0, levels: [Double] = []
            for (start, end) in zip([0] + starts, starts + [count]) {
                let part = (start ..< end).map { values[$0] - slope * times[$0] }
                let level = part.reduce(0, +) / Double(part.count)
                levels.append(level)
                sum += part.reduce(0) { $0 + ($1 - level) * ($1 - level) }
            }
            return (
                sum + 2 * log(Double(count)) * noise * noise * Double(starts.count),
                zip(levels, levels.dropFirst()).allSatisfy { $0 > $1 }
            )
        }
        let ours = cost(found.starts, found.slope)
        #expect(
            ours.falls && abs(ours.cost - 2 * log(Double(count)) * Double(found.starts.count) - found.residual) < 1e-9)
        func others(_ starts: [Int]) {
            if !starts.isEmpty {
                let other = cost(starts, found.slope)
                #expect(!other.falls || other.cost >= ours.cost - 1e-9, "\(starts)")
            }
            guard starts.count < Restarts.mostFalls else { return }
            for next in stride(from: (starts.last ?? 0) + 2, through: count - shortest, by: 1) {
                others(starts + [next])
            }
        }
        others([])
    }

    @Test func whatHasNoFallsHasNoRestarts() {
        let times = (0 ..< 60).map(Double.init)
        #expect(Restarts(times: times, values: times.map { 3 * $0 }, noise: 0, shortest: 10) == nil)
        #expect(Restarts(times: times, values: times.map { _ in 7 }, noise: 1, shortest: 10) == nil)
        #expect(Restarts(times: [], values: [], noise: 1, shortest: 10) == nil)
        #expect(Restarts(times: times, values: times, noise: 1, shortest: 31) == nil)
        #expect(Restarts(times: times.map { _ in 1 }, values: times, noise: 1, shortest: 10) == nil)
    }

    @Test(arguments: [0.0, 0.05, 1.0]) func theFilterHasTheLikelihoodOfTheDifferences(step: Double) {
        var random = SeededGenerator(seed: 7), level = 0.0
        let values = (0 ..< 40).map { _ in
            level += step * Self.normal(&random)
            return level + Self.normal(&random)
        }
        let differences = zip(values.dropFirst(), values).map { $0 - $1 }, count = differences.count
        var best = -Double.infinity
        for walk in [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3] {
            // Differences of a walk in noise have the variance walk + 2, and neighbours the covariance -1.
            var diagonal = (walk + 2).squareRoot(), solved = differences[0] / diagonal
            var squares = solved * solved, logs = 2 * log(diagonal)
            for difference in differences.dropFirst() {
                let below = -1 / diagonal
                diagonal = (walk + 2 - below * below).squareRoot()
                solved = (difference - below * solved) / diagonal
                squares += solved * solved
                logs += 2 * log(diagonal)
            }
            best = max(best, -Double(count) / 2 * log(squares / Double(count)) - logs / 2)
        }
        #expect(abs(LocalLevel.logLikelihood(values) - best) < 1e-9)
    }
}
