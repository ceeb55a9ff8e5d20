// One entity's numbers over the whole recording, in bounded memory: as many moments as come, up to a limit, at which
// neighbours are put together and each moment stands for twice as many samples from there on. A moment is its samples' mean,
// so that a saw whose teeth are as long as a moment doesn't look like a slope.

import Glibc
import Trend

package struct Track: Sendable {
    package static let mostMoments = 512

    /// Seconds since the recording's first sample.
    package private(set) var times: [Double] = []
    /// By metric, one value a moment.
    package private(set) var values: [[Double]]
    /// As they were, not means.
    package private(set) var first: [Double]
    package private(set) var last: [Double]
    package private(set) var lowest: [Double]
    package private(set) var highest: [Double]
    package private(set) var sampleCount = 0
    package private(set) var firstTime = 0.0
    package private(set) var lastTime = 0.0
    private var stride = 1
    private var pending = 0
    private var timeSum = 0.0
    private var sums: [Double]

    package init(metrics: Int) {
        values = [[Double]](repeating: [], count: metrics)
        first = [Double](repeating: 0, count: metrics)
        (last, lowest, highest, sums) = (first, first, first, first)
    }

    package mutating func add(at time: Double, _ metrics: [Double]) {
        if sampleCount == 0 {
            (firstTime, first, lowest, highest) = (time, metrics, metrics, metrics)
        }
        sampleCount += 1
        lastTime = time
        last = metrics
        timeSum += time
        for index in metrics.indices {
            let value = metrics[index]
            sums[index] += value
            if value < lowest[index] { lowest[index] = value }
            if value > highest[index] { highest[index] = value }
        }
        pending += 1
        if pending == stride { closeMoment() }
    }

    /// Takes in what is left of the last moment.
    package mutating func finish() { if pending > 0 { closeMoment() } }

    /// Lets go of all moments.
    mutating func forget() { (times, values) = ([], [[Double]](repeating: [], count: values.count)) }

    private mutating func closeMoment() {
        times.append(timeSum / Double(pending))
        for index in sums.indices {
            values[index].append(sums[index] / Double(pending))
            sums[index] = 0
        }
        (pending, timeSum) = (0, 0)
        guard times.count == Self.mostMoments else { return }
        times = Self.halved(times)
        for index in values.indices { values[index] = Self.halved(values[index]) }
        stride *= 2
    }

    private static func halved(_ list: [Double]) -> [Double] { Swift.stride(from: 0, to: list.count - 1, by: 2).map { (list[$0] + list[$0 + 1]) / 2 } }
}

/// The rules by which growth is told. The shape and the test come from Trend; these keep the innocent out where hundreds of
/// series are looked at, each of which wanders.
package enum Growth {
    /// The chance that any innocent series of a whole recording is accused by the test, all of them together (Bonferroni): each
    /// gets its part.
    package static let chance = 0.01
    /// Fewer moments than these prove nothing.
    static let fewestMoments = 8

    /// Whether the level rises throughout, and not by chance: the lowest values of 16 and more spans of equal length either
    /// never fall, and rise five times at least; or rise on average by more than Student's t allows. Mann-Kendall's test alone
    /// is no help against walks, as it takes each moment for a new one; a walk that is as likely to go down as up passes
    /// here with at most the chance that each series has. And the last third adds a tenth of it all, which a warm-up doesn't.
    ///
    /// - Parameter chance: that a walk passes for growth.
    static func persists(_ values: [Double], chance: Double) -> Bool {
        // As many steps as heads in a row that are rarer than that.
        let fewestSteps = Int((-log2(chance)).rounded(.up))
        let count = min(max(16, fewestSteps + 1), values.count)
        guard count >= fewestMoments else { return false }
        let floors = (0 ..< count).map { part in values[(part * values.count / count) ..< ((part + 1) * values.count / count)].min() ?? 0 }
        let steps = zip(floors.dropFirst(), floors).map { $0 - $1 }
        let rise = (floors.last ?? 0) - (floors.first ?? 0)
        guard rise > 0, (floors.last ?? 0) - floors[count - 1 - count / 3] >= rise / 10 else { return false }
        let falls = steps.reduce(0) { $0 + max(0, -$1) }
        if steps.count >= fewestSteps && falls <= rise / 100 && steps.count(where: { $0 > 0 }) >= 5 { return true }
        return studentTail(of: steps) <= chance
    }

    /// How likely numbers with a mean of zero have one as far above it as these, by Student's t. The tail is the normal one of
    /// D. L. Wallace's deviate (Bounds on Normal Approximations to Student's and the Chi-Square Distributions, Annals of
    /// Mathematical Statistics 30, 1959), which is right to some per cent.
    private static func studentTail(of numbers: [Double]) -> Double {
        let count = Double(numbers.count), degrees = count - 1
        let mean = numbers.reduce(0, +) / count
        let variance = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / degrees
        if mean <= 0 { return 1 }
        let t = variance > 0 ? mean / (variance / count).squareRoot() : .infinity
        let deviate = (8 * degrees + 1) / (8 * degrees + 3) * (degrees * log1p(t * t / degrees)).squareRoot()
        return erfc(deviate / 2.0.squareRoot()) / 2
    }

    /// - Parameters:
    ///   - floor: what the series must have gained.
    ///   - tests: how many series were looked at.
    /// - Returns: the trend of a series that grows.
    static func find(_ times: [Double], _ values: [Double], floor: Double, tests: Int) -> Trend? {
        guard values.count >= fewestMoments, let begin = times.first, let end = times.last, let lowest = values.min(), let highest = values.max(),
            highest - lowest >= floor else { return nil }
        let chance = chance / Double(max(tests, 1))
        guard persists(values, chance: chance) else { return nil }
        let trend = Trend(times: times, values: values)
        guard trend.shape == .steadyGrowth, trend.pValue <= chance, trend.slopeLow > 0,
            trend.slopePerSecond * (end - begin) >= floor else { return nil }
        return trend
    }
}
