// Where a series changes its level: a restart, a truncated file, a dropped cache. The stretch after the last change
// can be judged by itself.
//
// There are two kinds of series, hence two methods. If steps are of similar size, a jump is an outlier: a step further
// from the median than eight deviations, by the median of absolute deviations (F. R. Hampel, The influence curve and
// its role in robust estimation, J. Am. Stat. Assoc. 69, 1974). If noise is larger than the steps, the series is
// divided into straight lines by PELT: R. Killick, P. Fearnhead, I. A. Eckley, Optimal detection of changepoints with
// a linear computational cost, J. Am. Stat. Assoc. 107 (2012). The cost of a part is the residual of its least-squares
// line; the penalty is Schwarz's criterion for a place, a level and a slope.

import Glibc

package enum LevelChanges {
    /// The deviation of noise without memory, from the median of absolute first differences, so that levels don't
    /// matter.
    ///
    /// - Complexity: O(n log n)
    package static func deviation(_ values: [Double]) -> Double {
        let steps = zip(values.dropFirst(), values).map { $0 - $1 }
        let middle = median(steps)
        // 1.4826: the normal distribution's deviation divided by its median absolute deviation.
        return 1.4826 * median(steps.map { abs($0 - middle) }) / 2.0.squareRoot()
    }

    /// The first moment after the last jump; nil if there is none.
    ///
    /// - Complexity: O(n log n)
    package static func lastJump(_ values: [Double]) -> Int? {
        let steps = zip(values.dropFirst(), values).map { $0 - $1 }
        guard steps.count >= 8 else { return nil }
        let limit = jumpLimit(steps), middle = median(steps)
        return steps.lastIndex { abs($0 - middle) > limit }.map { $0 + 1 }
    }

    /// The size from which a step is a jump. A counter that mostly stands still is measured by the steps that it takes.
    private static func jumpLimit(_ steps: [Double]) -> Double {
        let middle = median(steps)
        var spread = median(steps.map { abs($0 - middle) })
        if spread == 0 { spread = median(steps.map { abs($0 - middle) }.filter { $0 > 0 }) }
        return 8 * 1.4826 * spread
    }

    /// The first moments of all straight lines but the first; none if the series is one line or too short.
    ///
    /// - Complexity: O(n²) at worst, O(n) if the number of changes grows with the length.
    package static func changes(_ times: [Double], _ values: [Double]) -> [Int] {
        let count = min(times.count, values.count), shortest = 8
        let noise = deviation(values)
        guard count >= 3 * shortest, noise > 0, let begin = times.first else { return [] }
        let lines = LineSums(times.map { $0 - begin }, values)
        let penalty = 3 * log(Double(count)) * noise * noise * 1.5
        var best = [Double](repeating: .infinity, count: count + 1), last = [Int](repeating: 0, count: count + 1)
        best[0] = -penalty
        var starts = [0]
        for end in shortest ... count {
            var costs: [Double] = []
            costs.reserveCapacity(starts.count)
            for start in starts {
                let cost = best[start] + lines.rest(start, end)
                costs.append(cost)
                if cost + penalty < best[end] { (best[end], last[end]) = (cost + penalty, start) }
            }
            // A start that already costs more than the best way to here can't become the best later.
            var kept: [Int] = []
            for (place, start) in starts.enumerated() where costs[place] <= best[end] { kept.append(start) }
            starts = kept
            let next = end - shortest + 1
            if next >= shortest, best[next] < .infinity { starts.append(next) }
        }
        var places: [Int] = [], place = last[count]
        while place > 0 {
            places.append(place)
            place = last[place]
        }
        return places.reversed()
    }

    /// A straight line through a part of a series: its ends, by least squares.
    package struct Line: Equatable, Sendable {
        /// The first moment, and the one after the last.
        package var range: Range<Int>
        package var first: Double
        package var last: Double
    }

    /// The lines between the changes of a series; see `changes`.
    ///
    /// - Parameter starts: ascending, within the series, and without its first moment.
    /// - Complexity: O(n)
    package static func lines(_ times: [Double], _ values: [Double], _ starts: [Int]) -> [Line] {
        let count = min(times.count, values.count), places = [0] + starts + [count]
        guard count > 0, let begin = times.first else { return [] }
        let sums = LineSums(times.map { $0 - begin }, values)
        return zip(places, places.dropFirst()).compactMap { start, end in start < end ? sums.line(start, end) : nil }
    }

    /// The medians of each moment and its neighbours, `reach` to each side.
    ///
    /// - Complexity: O(n · reach log reach)
    package static func runningMedians(_ values: [Double], reach: Int) -> [Double] {
        if reach < 1 { return values }
        return values.indices.map { median(Array(values[max(0, $0 - reach) ... min(values.count - 1, $0 + reach)])) }
    }

    /// The highest rise from a moment to a later one.
    ///
    /// - Complexity: O(n)
    package static func highestRise(_ values: [Double]) -> Double {
        var low = Double.infinity, rise = 0.0
        for value in values {
            low = min(low, value)
            rise = max(rise, value - low)
        }
        return rise
    }
}

/// Prefix sums that give the residual of a least-squares line over any part of a series in O(1).
private struct LineSums {
    private let scale: Double
    private let middle: Double
    private let times: [Double]
    private var sums: [(x: Double, y: Double, xx: Double, xy: Double, yy: Double)]

    init(_ times: [Double], _ values: [Double]) {
        // Numbers are centred about 0; otherwise sums of squares lose digits.
        (scale, middle) = (max(times.last ?? 1, 1e-9), median(values))
        self.times = times
        sums = [(0, 0, 0, 0, 0)]
        sums.reserveCapacity(values.count + 1)
        for (time, value) in zip(times, values) {
            let x = time / scale - 0.5, y = value - middle, last = sums[sums.count - 1]
            sums.append((last.x + x, last.y + y, last.xx + x * x, last.xy + x * y, last.yy + y * y))
        }
    }

    /// The line through [start, end), which is not empty.
    func line(_ start: Int, _ end: Int) -> LevelChanges.Line {
        let from = sums[start], to = sums[end], n = Double(end - start)
        let x = to.x - from.x, y = to.y - from.y
        let xx = to.xx - from.xx - x * x / n, xy = to.xy - from.xy - x * y / n
        let slope = xx > 0 ? xy / xx : 0
        func at(_ index: Int) -> Double { middle + y / n + slope * (times[index] / scale - 0.5 - x / n) }
        return LevelChanges.Line(range: start ..< end, first: at(start), last: at(end - 1))
    }

    /// The sum of squared residuals of the line through [start, end).
    func rest(_ start: Int, _ end: Int) -> Double {
        let from = sums[start], to = sums[end], n = Double(end - start)
        let x = to.x - from.x, y = to.y - from.y
        let xx = to.xx - from.xx - x * x / n, xy = to.xy - from.xy - x * y / n, yy = to.yy - from.yy - y * y / n
        return max(0, xx > 0 ? yy - xy * xy / xx : yy)
    }
}
