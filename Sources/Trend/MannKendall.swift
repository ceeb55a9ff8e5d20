// Whether there is a trend at all. The Mann-Kendall test only asks which value of each pair of moments is higher. It
// assumes no distribution, and one outlier changes it little.
//
// H. B. Mann, Nonparametric tests against trend, Econometrica 13 (1945); M. G. Kendall, Rank Correlation Methods
// (4th ed., 1975), chapters 4 and 5 for the variance with ties and the continuity correction.

import Glibc

/// The test's result for a series of values in the order of their times.
package struct MannKendall: Equatable, Sendable {
    /// The number of rising pairs minus the number of falling pairs.
    package var score: Int
    /// The score's variance under chance alone; 0 if all values are equal.
    package var variance: Double
    /// The probability, under chance, of a score at least this far from 0, on either side. Exact for at most ten
    /// distinct values; otherwise by the normal approximation.
    package var pValue: Double

    /// - Complexity: O(n log n)
    package init(_ values: [Double]) {
        let count = values.count
        let pairs = count * (count - 1) / 2
        var sorted = values
        let falls = Self.sortCountingFalls(&sorted)
        var ties = 0, tieTerm = 0.0, run = 1
        for index in sorted.indices.dropFirst() {
            if sorted[index] == sorted[index - 1] {
                run += 1
                if index < count - 1 { continue }
            }
            ties += run * (run - 1) / 2
            tieTerm += Double(run) * Double(run - 1) * Double(2 * run + 5)
            run = 1
        }
        score = pairs - ties - 2 * falls
        let n = Double(count)
        variance = max(0, (n * (n - 1) * (2 * n + 5) - tieTerm) / 18)
        if variance == 0 || score == 0 {
            pValue = 1
        } else if count <= 10 && ties == 0 {
            pValue = Self.exact(count: count, score: abs(score))
        } else {
            let deviations = (Double(abs(score)) - 1) / variance.squareRoot()
            pValue = min(1, erfc(deviations / 2.0.squareRoot()))
        }
    }

    /// Merge sort that counts the pairs whose later value is lower.
    private static func sortCountingFalls(_ values: inout [Double]) -> Int {
        var from = values, to = values, falls = 0, width = 1
        while width < values.count {
            var start = 0
            while start < values.count {
                let middle = min(start + width, values.count), end = min(start + 2 * width, values.count)
                var left = start, right = middle
                for place in start ..< end {
                    if right >= end || (left < middle && from[left] <= from[right]) {
                        to[place] = from[left]
                        left += 1
                    } else {
                        falls += middle - left
                        to[place] = from[right]
                        right += 1
                    }
                }
                start = end
            }
            swap(&from, &to)
            width *= 2
        }
        values = from
        return falls
    }

    /// The share of all orders of `count` different values whose score is at least this far from 0. To count the orders
    /// with k falls, insert one value after the other: each adds from 0 to (values before it) falls.
    private static func exact(count: Int, score: Int) -> Double {
        var orders = [1.0]
        for before in 1 ..< max(count, 2) {
            var next = [Double](repeating: 0, count: orders.count + before)
            for (falls, number) in orders.enumerated() { for more in 0 ... before { next[falls + more] += number } }
            orders = next
        }
        let pairs = count * (count - 1) / 2
        var far = 0.0, all = 0.0
        for (falls, number) in orders.enumerated() {
            all += number
            if abs(pairs - 2 * falls) >= score { far += number }
        }
        return min(1, far / all)
    }
}
