// One entity's numbers over the whole recording, in bounded memory. When the number of moments reaches a limit,
// adjacent moments are merged, and from then on each moment stands for twice as many samples. A moment is the mean of
// its samples, so that a saw with teeth as long as a moment doesn't look like a slope.

import Glibc
import Trend

package struct Track: Sendable {
    package static let mostMoments = 512

    /// Seconds since the recording's first sample.
    package private(set) var times: [Double] = []
    /// By metric, one value for each moment.
    package private(set) var values: [[Double]]
    /// Original values, not means.
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

    /// Adds the rest of the last moment.
    package mutating func finish() { if pending > 0 { closeMoment() } }

    /// Frees all moments.
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

    private static func halved(_ list: [Double]) -> [Double] {
        Swift.stride(from: 0, to: list.count - 1, by: 2).map { index -> Double in
            (list[index] + list[index + 1]) / 2
        }
    }
}
