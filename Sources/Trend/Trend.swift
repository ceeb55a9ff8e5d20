// How a number changed over time: slope, significance and shape. Every report of growth, of a stack's bytes or of a
// process's memory, asks here, so that one word means one thing.
//
// Invariant: "steady growth" is never reported for fewer moments than the test needs. Five values that all rise, or all
// fall, occur by chance once in sixty times, four once in twelve.

/// The shape of a series.
package enum Shape: String, CaseIterable, Sendable {
    /// Rises to the end, as a leak does.
    case steadyGrowth = "steady growth"
    /// Falls to the end.
    case shrinking
    /// One jump, level before and after it.
    case step
    /// Rose at first, then stayed level: a cache that is full.
    case warmUp = "warm-up"
    /// Up and down, and no higher at the end.
    case sawTooth = "saw-tooth"
    /// Up and down each day, and no higher from day to day.
    case daily
    case flat
    /// Moves in none of these ways.
    case irregular
    /// Too few moments for the test.
    case tooFew = "too few"
}

/// A series of values, examined.
package struct Trend: Equatable, Sendable {
    package var count: Int
    package var first: Double
    package var last: Double
    /// In the values' units per second; 0 if no two times differ.
    package var slopePerSecond: Double
    /// The ends of the 95 % interval; infinite if there are too few moments.
    package var slopeLow: Double
    package var slopeHigh: Double
    /// Two-sided p-value of the Mann-Kendall test.
    package var pValue: Double
    package var shape: Shape

    package static let significance = 0.05
    package static let fewest = 5

    /// - Parameters:
    ///   - times: in seconds, ascending.
    ///   - values: one for each time.
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

    /// The same for moments without known times: their order stands for the time, and slopes are per moment.
    package init(values: [Double]) { self.init(times: values.indices.map(Double.init), values: values) }
}
