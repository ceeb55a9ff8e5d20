// How steep is it? The median of the slopes between all pairs of moments: up to three values in ten may be
// wild, and it stands. Times need not be equally far apart.
//
// H. Theil, A rank-invariant method of linear and polynomial regression analysis (1950); P. K. Sen, Estimates of the
// regression coefficient based on Kendall's tau, J. Am. Stat. Assoc. 63 (1968), section 4 for the interval.

/// A slope and what it may be, in units of the values a unit of time.
package struct TheilSen: Equatable, Sendable {
    package var slope: Double
    /// The ends of the interval that holds the slope with 95 % confidence; infinite where there are too few moments to
    /// say.
    package var low: Double
    package var high: Double

    /// Most moments that are looked at one by one: half a million pairs. Of more, neighbours are taken together.
    package static let mostMoments = 1000

    /// - Parameters:
    ///   - times: ascending; of equal ones no slope is made.
    ///   - values: one a time; what is too many is left out.
    /// - Returns: nil where no two times differ.
    /// - Complexity: O(n²) up to `mostMoments`, O(n) above; a few milliseconds at the most.
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

/// At most `limit` moments, of which each stands for as many neighbours as all others: their medians.
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

/// 0 of no values.
func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    if sorted.isEmpty { return 0 }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
