// One entity's numbers over the whole recording, in bounded memory: as many moments as come, up to a limit, at which
// neighbours are put together and each moment stands for twice as many samples from there on. A moment is its samples' mean,
// so that a saw whose teeth are as long as a moment doesn't look like a slope.

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

    /// Whether the level rises throughout, and not by chance: the lowest values of up to 16 spans of equal length either never
    /// fall, and rise five times at least; or rise on average by five standard errors. A walk that is as likely to go down as
    /// up does the first once in 30,000 times, and the second once in 10,000; Mann-Kendall's test alone is no help against
    /// walks, as it takes each moment for a new one. And the last third adds a tenth of it all, which a warm-up doesn't.
    static func persists(_ values: [Double]) -> Bool {
        let count = min(16, values.count)
        guard count >= fewestMoments else { return false }
        let floors = (0 ..< count).map { part in values[(part * values.count / count) ..< ((part + 1) * values.count / count)].min() ?? 0 }
        let steps = zip(floors.dropFirst(), floors).map { $0 - $1 }
        let rise = (floors.last ?? 0) - (floors.first ?? 0)
        guard rise > 0, (floors.last ?? 0) - floors[count - 1 - count / 3] >= rise / 10 else { return false }
        let falls = steps.reduce(0) { $0 + max(0, -$1) }
        if falls <= rise / 100 && steps.count(where: { $0 > 0 }) >= 5 { return true }
        let mean = rise / Double(steps.count)
        let variance = steps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(steps.count - 1)
        return mean >= 5 * (variance / Double(steps.count)).squareRoot()
    }

    /// - Parameters:
    ///   - floor: what the series must have gained.
    ///   - tests: how many series were looked at.
    /// - Returns: the trend of a series that grows.
    static func find(_ times: [Double], _ values: [Double], floor: Double, tests: Int) -> Trend? {
        guard values.count >= fewestMoments, let begin = times.first, let end = times.last, let lowest = values.min(), let highest = values.max(),
            highest - lowest >= floor, persists(values) else { return nil }
        let trend = Trend(times: times, values: values)
        guard trend.shape == .steadyGrowth, trend.pValue <= chance / Double(max(tests, 1)), trend.slopeLow > 0,
            trend.slopePerSecond * (end - begin) >= floor else { return nil }
        return trend
    }
}
