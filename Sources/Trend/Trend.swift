// What became of a number over time: how steep, how sure, and of which shape. Whoever tells of growth, of a
// stack's bytes or of a process's memory, asks here, so that one word means one thing.
//
// Invariant: a shape that accuses ("steady growth") is never said of fewer moments than the test needs: five
// that all rise, or all fall, come about by chance once in sixty times, four once in twelve.

/// The shape of a series.
package enum Shape: String, CaseIterable, Sendable {
    /// Rises, and goes on rising to the end: what a leak looks like.
    case steadyGrowth = "steady growth"
    /// Falls, and goes on falling.
    case shrinking
    /// One jump, level before and behind it.
    case step
    /// Rose at first, and stayed: a cache that is full.
    case warmUp = "warm-up"
    /// Up and down, and no higher in the end.
    case sawTooth = "saw-tooth"
    /// Up and down with the days, and no higher from one to the next.
    case daily
    case flat
    /// Moves, and none of these.
    case irregular
    /// Fewer moments than a test needs.
    case tooFew = "too few"
}

/// A series of values, examined.
package struct Trend: Equatable, Sendable {
    package var count: Int
    package var first: Double
    package var last: Double
    /// In the values' units a second; 0 where no two moments differ.
    package var slopePerSecond: Double
    /// The 95 % interval's ends; infinite where there are too few moments.
    package var slopeLow: Double
    package var slopeHigh: Double
    /// Of the Mann-Kendall test, to both sides.
    package var pValue: Double
    package var shape: Shape

    package static let significance = 0.05
    package static let fewest = 5

    /// - Parameters:
    ///   - times: in seconds, ascending.
    ///   - values: one a time.
    package init(times: [Double], values: [Double]) {
        count = min(times.count, values.count)
        let (times, values) = (Array(times.prefix(count)), Array(values.prefix(count)))
        first = values.first ?? 0
        last = values.last ?? 0
        let line = TheilSen(times: times, values: values)
        slopePerSecond = line?.slope ?? 0
        slopeLow = line?.low ?? -.infinity
        slopeHigh = line?.high ?? .infinity
        pValue = MannKendall(values).pValue
        shape = Series(times: times, values: values).shape(pValue: pValue, slope: slopePerSecond)
    }

    /// The same for moments of which no time is known: their order stands for it, and slopes are a moment.
    package init(values: [Double]) { self.init(times: values.indices.map(Double.init), values: values) }
}
