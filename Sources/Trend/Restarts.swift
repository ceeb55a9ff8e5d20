// A leak that was restarted: it rises by one slope throughout, and the level falls a few times. Lines that each have a
// slope of their own need high teeth to be told from noise; one slope for all teeth is known from all moments together.
//
// For each of some slopes, the slope is taken off the series, and the best division of the rest into levels is found by
// dynamic programming (I. E. Auger, C. E. Lawrence, Algorithms for the optimal identification of segment neighborhoods,
// Bulletin of Mathematical Biology 51, 1989). The best slope is then the least-squares one of its division.

import Glibc

package struct Restarts: Equatable, Sendable {
    /// In units of the values per unit of time, above 0.
    package var slope: Double
    /// The first moments after the falls, ascending; one to three.
    package var starts: [Int]
    /// The sum of squared residuals, in units of the values, squared.
    package var residual: Double
    /// What is left of the series without slope and levels.
    package var residuals: [Double]

    /// More falls than these are a saw's.
    package static let mostFalls = 3
    /// Series of more moments are divided as means of neighbours.
    private static let mostMoments = 120

    /// - Parameters:
    ///   - noise: the deviation of noise without memory, above 0; see `LevelChanges.deviation`.
    ///   - shortest: the fewest moments after the last fall.
    /// - Returns: the best such description; nil if no slope above 0 has falls.
    /// - Complexity: O(n) above 120 moments, O(n²) below.
    package init?(times: [Double], values: [Double], noise: Double, shortest: Int) {
        let count = min(times.count, values.count)
        guard count >= 2 * shortest, noise > 0, let begin = times.first, times[count - 1] > begin else { return nil }
        let size = (count + Self.mostMoments - 1) / Self.mostMoments, parts = count / size
        func means(_ values: [Double]) -> [Double] {
            (0 ..< parts).map { values[$0 * size ..< ($0 + 1) * size].reduce(0, +) / Double(size) }
        }
        let x = means(times.map { $0 - begin }), y = means(values)
        guard let span = x.last, let low = y.min(), let high = y.max() else { return nil }
        // Schwarz's criterion for a place and a level.
        let penalty = 2 * log(Double(parts)) * noise * noise / Double(size)
        var best: (cost: Double, slope: Double, starts: [Int]) = (.infinity, 0, [])
        func attempt(_ slope: Double) {
            let levels = Levels(zip(x, y).map { $1 - slope * $0 }, lastAtLeast: (shortest + size - 1) / size)
            for division in levels.divisions where levels.fall(division.starts) {
                let cost = division.cost + penalty * Double(division.starts.count)
                if cost < best.cost { best = (cost, slope, division.starts) }
            }
        }
        // Over the whole span, a slope that counts gains more than the noise; and the last stretch, a fifth of the
        // span at the least, gains no more than the range.
        let least = noise / span, most = 5 * (high - low) / span, grid = 16
        guard most > least else { return nil }
        for step in 0 ..< grid { attempt(least * pow(most / least, Double(step) / Double(grid - 1))) }
        for _ in 0 ..< 2 where best.slope > 0 { attempt(Self.slope(x, y, best.starts)) }
        guard best.slope > 0 else { return nil }
        slope = best.slope
        starts = best.starts.map { $0 * size }
        residuals = []
        for (start, end) in zip([0] + starts, starts + [count]) {
            let rest = (start ..< end).map { values[$0] - best.slope * (times[$0] - begin) }
            let level = rest.reduce(0, +) / Double(rest.count)
            residuals += rest.map { $0 - level }
        }
        residual = residuals.reduce(0) { $0 + $1 * $1 }
    }

    /// The least-squares slope that all parts have in common.
    private static func slope(_ x: [Double], _ y: [Double], _ starts: [Int]) -> Double {
        var xy = 0.0, xx = 0.0
        for (start, end) in zip([0] + starts, starts + [x.count]) {
            let count = Double(end - start)
            let middle = x[start ..< end].reduce(0, +) / count, level = y[start ..< end].reduce(0, +) / count
            for place in start ..< end {
                xy += (x[place] - middle) * (y[place] - level)
                xx += (x[place] - middle) * (x[place] - middle)
            }
        }
        return xx > 0 ? xy / xx : 0
    }
}

/// The best divisions of a series into two, three and four levels.
private struct Levels {
    var divisions: [(cost: Double, starts: [Int])] = []
    private let sums: [Double]
    private let squares: [Double]

    /// - Parameter lastAtLeast: the fewest moments of the last level; the others have two or more.
    /// - Complexity: O(n²)
    init(_ values: [Double], lastAtLeast: Int) {
        let count = values.count, shortest = 2, middle = median(values)
        var sums = [0.0], squares = [0.0]
        for value in values {
            sums.append(sums[sums.count - 1] + value - middle)
            squares.append(squares[squares.count - 1] + (value - middle) * (value - middle))
        }
        (self.sums, self.squares) = (sums, squares)
        guard count >= shortest + max(lastAtLeast, shortest) else { return }
        // The least cost of the first so many moments, with one more change in each round; and its last change.
        var best = (0 ... count).map { $0 < shortest ? .infinity : cost(0, $0) }
        var ways: [[Int]] = []
        for changes in 1 ... Restarts.mostFalls {
            var next = [Double](repeating: .infinity, count: count + 1), way = [Int](repeating: 0, count: count + 1)
            for end in shortest ... count {
                let latest = end - (end == count ? max(lastAtLeast, shortest) : shortest)
                guard latest >= shortest else { continue }
                for start in shortest ... latest {
                    let all = best[start] + cost(start, end)
                    if all < next[end] { (next[end], way[end]) = (all, start) }
                }
            }
            ways.append(way)
            best = next
            guard next[count] < .infinity else { continue }
            var starts: [Int] = [], end = count
            for place in (0 ..< changes).reversed() {
                end = ways[place][end]
                starts.append(end)
            }
            divisions.append((next[count], starts.reversed()))
        }
    }

    /// The sum of squared distances from the mean of [start, end), which is not empty.
    private func cost(_ start: Int, _ end: Int) -> Double {
        let sum = sums[end] - sums[start]
        return squares[end] - squares[start] - sum * sum / Double(end - start)
    }

    /// Whether each level is below the one before.
    func fall(_ starts: [Int]) -> Bool {
        let levels = zip([0] + starts, starts + [sums.count - 1]).map { (sums[$1] - sums[$0]) / Double($1 - $0) }
        return zip(levels, levels.dropFirst()).allSatisfy { $0 > $1 }
    }
}
