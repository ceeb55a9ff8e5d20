// The slope: the median of the slopes between all pairs of moments. Up to three values in ten may be outliers without
// changing it much. Times need not be evenly spaced.
//
// H. Theil, A rank-invariant method of linear and polynomial regression analysis (1950); P. K. Sen, Estimates of the
// regression coefficient based on Kendall's tau, J. Am. Stat. Assoc. 63 (1968), section 4 for the interval.

/// A slope and its confidence interval, in units of the values per unit of time.
package struct TheilSen: Equatable, Sendable {
    package var slope: Double
    /// The ends of the 95 % confidence interval; infinite if there are too few moments.
    package var low: Double
    package var high: Double

    /// The most moments that are used one by one: half a million pairs. With more, neighbours are merged.
    package static let mostMoments = 1000

    /// - Parameters:
    ///   - times: ascending; pairs of equal times are skipped.
    ///   - values: one for each time; surplus ones are ignored.
    /// - Returns: nil if no two times differ.
    /// - Complexity: O(n²) up to `mostMoments`, O(n) above; at most a few milliseconds.
    package init?(times: [Double], values: [Double]) {
        let (times, values) = thinned(times, values, to: Self.mostMoments)
        let count = times.count
        var slopes: [Double] = []
        slopes.reserveCapacity(count * (count - 1) / 2)
        for later in times.indices {
            for earlier in 0 ..< later where times[later] > times[earlier] {
                slopes.append((values[later] - values[earlier]) / (times[later] - times[earlier]))
            }
        }
        guard !slopes.isEmpty else { return nil }
        slopes.sort()
        let middle = slopes.count / 2
        slope = slopes.count % 2 == 1 ? slopes[middle] : (slopes[middle - 1] + slopes[middle]) / 2
        // 1.959964: the normal distribution's 97.5 % quantile.
        let reach = 1.959964 * MannKendall(values).variance.squareRoot()
        let below = Int(((Double(slopes.count) - reach) / 2).rounded()) - 1,
            above = Int(((Double(slopes.count) + reach) / 2).rounded())
        low = below >= 0 ? slopes[min(below, slopes.count - 1)] : -.infinity
        high = above < slopes.count ? slopes[max(above, 0)] : .infinity
    }
}

/// At most `limit` moments. Each is the median of equally many neighbours.
func thinned(_ times: [Double], _ values: [Double], to limit: Int) -> (times: [Double], values: [Double]) {
    let count = min(times.count, values.count)
    guard count > limit else { return (Array(times.prefix(count)), Array(values.prefix(count))) }
    var thin: ([Double], [Double]) = ([], [])
    for part in 0 ..< limit {
        let range = part * count / limit ..< (part + 1) * count / limit
        thin.0.append(median(Array(times[range])))
        thin.1.append(median(Array(values[range])))
    }
    return thin
}

/// 0 if there are no values.
func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    if sorted.isEmpty { return 0 }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
