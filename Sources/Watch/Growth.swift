// The rules by which growth is told. The shape and the test come from Trend; these keep the innocent out where hundreds
// of series are looked at, each of which wanders, and let nothing hide behind a fall.
//
// What is judged is the whole span first; and where that shows nothing, the stretch since the last change of level: a
// program that was restarted, or a file that was cut, grows from there on. A stretch is no proof where the series has
// always gone up and down like that: see `isNew`.

import Glibc
import Trend

/// The rules by which growth is told. The shape and the test come from Trend; these keep the innocent out where
/// hundreds of series are looked at, each of which wanders.
package enum Growth {
    /// The chance that any innocent series of a whole recording is accused by the test, all of them together
    /// (Bonferroni): each gets its part.
    package static let chance = 0.01
    /// Fewer moments than these prove nothing.
    static let fewestMoments = 8

    /// Whether the level rises throughout, and not by chance: the lowest values of 16 and more spans of equal length
    /// either never fall, and rise five times at least; or rise on average by more than Student's t allows.
    /// Mann-Kendall's test alone is no help against walks, as it takes each moment for a new one; a walk that is as
    /// likely to go down as up passes here with at most the chance that each series has. And the last third adds a
    /// tenth of the whole, which a warm-up doesn't.
    ///
    /// - Parameter chance: that a walk passes for growth.
    static func persists(_ values: [Double], chance: Double) -> Bool {
        // As many steps as heads in a row that are rarer than that.
        let fewestSteps = Int((-log2(chance)).rounded(.up))
        let count = min(max(16, fewestSteps + 1), values.count)
        guard count >= fewestMoments else { return false }
        let floors = (0 ..< count).map { part in
            values[(part * values.count / count) ..< ((part + 1) * values.count / count)].min() ?? 0
        }
        let steps = zip(floors.dropFirst(), floors).map { $0 - $1 }
        let rise = (floors.last ?? 0) - (floors.first ?? 0)
        guard rise > 0, (floors.last ?? 0) - floors[count - 1 - count / 3] >= rise / 10 else { return false }
        let falls = steps.reduce(0) { $0 + max(0, -$1) }
        if steps.count >= fewestSteps && falls <= rise / 100 && steps.count(where: { $0 > 0 }) >= 5 { return true }
        return studentTail(of: steps) <= chance
    }

    /// How likely numbers with a mean of zero have one as far above it as these, by Student's t. The tail is the normal
    /// one of D. L. Wallace's deviate (Bounds on Normal Approximations to Student's and the Chi-Square Distributions,
    /// Annals of Mathematical Statistics 30, 1959), which is right to some per cent.
    private static func studentTail(of numbers: [Double]) -> Double {
        let count = Double(numbers.count), degrees = count - 1
        let mean = numbers.reduce(0, +) / count
        let variance = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / degrees
        if mean <= 0 { return 1 }
        let t = variance > 0 ? mean / (variance / count).squareRoot() : .infinity
        let deviate = (8 * degrees + 1) / (8 * degrees + 3) * (degrees * log1p(t * t / degrees)).squareRoot()
        return erfc(deviate / 2.0.squareRoot()) / 2
    }

    /// Growth that was found.
    struct Found {
        /// Of the stretch that was judged.
        var trend: Trend
        /// The stretch's first moment; 0 where it is the whole span.
        var start: Int
        /// Of the whole span.
        var whole: Trend
    }

    /// - Parameters:
    ///   - floor: what the series must have gained.
    ///   - tests: how many series were looked at.
    /// - Returns: what grows: the whole span, or the stretch since the last change of level.
    /// - Complexity: O(n²) in the moments, of which a track has 512 at the most.
    static func judge(_ times: [Double], _ values: [Double], floor: Double, tests: Int) -> Found? {
        // Each series is looked at in several ways, which share its chance.
        let tests = ways * max(tests, 1)
        if let trend = find(times, values, floor: floor, tests: tests) {
            return Found(trend: trend, start: 0, whole: trend)
        }
        guard values.count >= fewestMoments, let lowest = values.min(), let highest = values.max(),
            highest - lowest >= floor
        else { return nil }
        let chance = chance / Double(tests), noise = LevelChanges.deviation(values)
        let whole = Trend(times: times, values: values)
        if whole.shape != .daily, let trend = trendInNoise(times, values, noise: noise, floor: floor, chance: chance) {
            return Found(trend: trend, start: 0, whole: whole)
        }
        var starts = LevelChanges.changes(times, values)
        let jump = LevelChanges.lastJump(values)
        var looked = Set(starts.suffix(4))
        if let jump {
            looked.insert(jump)
            if !starts.contains(jump) { starts = (starts + [jump]).sorted() }
        }
        let lines = LevelChanges.lines(times, values, starts)
        // The longest first: it has the most to say.
        for (place, start) in starts.enumerated()
        where looked.contains(start) && values.count - start >= fewestInStretch
            && isNew(values, lines, from: place + 1, noise: noise)
        {
            // A short tooth behind the fall escapes the division into lines: what begins a little later is looked at,
            // too.
            for later in [0, (values.count - start) / 6] {
                let stretch = (times: Array(times[(start + later)...]), values: Array(values[(start + later)...]))
                if let trend = find(stretch.times, stretch.values, floor: floor, tests: 4 * tests)
                    ?? trendInNoise(stretch.times, stretch.values, noise: noise, floor: floor, chance: chance / 4)
                {
                    return Found(trend: trend, start: start + later, whole: whole)
                }
            }
        }
        if whole.shape != .daily,
            let (trend, start) = trendAfterRestarts(times, values, noise: noise, floor: floor, chance: chance / 4)
        {
            return Found(trend: trend, start: start, whole: whole)
        }
        return nil
    }

    /// How many ways there are to look at a series.
    private static let ways = 5

    /// Moments of a stretch that proves something.
    static let fewestInStretch = 24

    /// Whether the stretch from a line's start on is something new: it began with a fall, what came before fell in
    /// jumps, three at the most, and the stretch is a fifth of the whole; or it rises twice as high as anything before.
    /// Saws and days go up and down again and again, and the last of their rises proves nothing.
    ///
    /// - Parameter lines: the straight lines that the series is made of; the stretch begins with the one at `place`.
    private static func isNew(_ values: [Double], _ lines: [LevelChanges.Line], from place: Int, noise: Double) -> Bool
    {
        let start = lines[place].range.lowerBound
        // Running medians take the noise away.
        let smooth = LevelChanges.runningMedians(values, reach: min(8, values.count / 30))
        guard let low = smooth[start...].min(), let high = smooth[start...].max() else { return false }
        let rise = high - low
        if LevelChanges.highestRise(Array(smooth[...start])) * 2 <= rise { return true }
        guard (values.count - start) * 5 >= values.count, drop(lines, place) >= max(rise / 10, 1.2 * noise) else {
            return false
        }
        let past = lines[..<place]
        let gradualFalls = past.count { $0.first - $0.last >= 0.7 * rise }
        let abruptFalls = past.indices.dropFirst().count { drop(lines, $0) >= 0.7 * rise }
        return gradualFalls == 0 && abruptFalls <= 3
    }

    /// How far the level falls between a line and the one before.
    private static func drop(_ lines: [LevelChanges.Line], _ place: Int) -> Double {
        lines[place - 1].last - lines[place].first
    }

    /// Growth among noise that has no memory, as counters have that are read at odd moments. The noise hides from
    /// `persists` what a test for trends finds; that test is right here, as long as nothing wanders but the trend. That
    /// is asked by the ratio of variances (A. W. Lo, A. C. MacKinlay, Stock market prices do not follow random walks,
    /// Review of Financial Studies 1, 1988): of sixteen means of what is left of the trend, against that of single
    /// steps. It is 1 without memory, and far above for a walk. And the rise is two fifths more than the noise's
    /// deviation, and more in more than 240 moments, 1.65 times in 512: what a walk that hides in the noise rises by is
    /// half as much.
    private static func trendInNoise(
        _ times: [Double], _ values: [Double], noise: Double, floor: Double, chance: Double
    ) -> Trend? {
        guard values.count >= 32, let begin = times.first, let end = times.last else { return nil }
        guard noise > 0, let line = TheilSen(times: times, values: values), line.slope > 0 else { return nil }
        let rise = line.slope * (end - begin)
        // A walk in the noise goes further in more moments; a leak of twice the noise must still be above.
        guard rise >= 1.4 * max(1, pow(Double(values.count) / 240, 0.22)) * noise, rise >= floor else { return nil }
        let left = zip(times, values).map { $1 - line.slope * ($0 - begin) }
        guard varianceRatio(left, parameters: 2, noise: noise) <= 2.5 else { return nil }
        let parts = min(32, values.count / 4)
        let sums = means(values, parts)
        let test = MannKendall(sums)
        guard test.score > 0, test.pValue <= chance else { return nil }
        // What rises to a level and stays is no growth, noise or not.
        let thin = Trend(times: means(times, 8), values: means(values, 8))
        guard thin.shape == .steadyGrowth else { return nil }
        var trend = Trend(times: times, values: values)
        trend.shape = .steadyGrowth
        trend.pValue = test.pValue
        return trend.slopeLow > 0 ? trend : nil
    }

    /// Growth since the last of some restarts whose falls hide in the noise: all teeth together show the slope. The
    /// division into teeth must be likelier than a walk by as much as chance allows; and the last tooth must show its
    /// growth by itself.
    private static func trendAfterRestarts(
        _ times: [Double], _ values: [Double], noise: Double, floor: Double, chance: Double
    ) -> (Trend, start: Int)? {
        guard
            let restarts = Restarts(
                times: times, values: values, noise: noise, shortest: max(fewestInStretch, (values.count + 4) / 5)),
            let start = restarts.starts.last
        else { return nil }
        let likelihood = LocalLevel.logLikelihood(residual: restarts.residual, count: values.count)
        guard likelihood - LocalLevel.logLikelihood(values) >= -log(chance),
            varianceRatio(restarts.residuals, parameters: 2 + restarts.starts.count, noise: noise) <= 2.5
        else { return nil }
        return trendInNoise(
            Array(times[start...]), Array(values[start...]), noise: noise, floor: floor, chance: chance
        ).map { ($0, start) }
    }

    /// The variance of means of sixteen parts, in units of what noise without memory would give them: 1 without memory,
    /// far above for a walk.
    ///
    /// - Parameter parameters: of what was taken off the values.
    private static func varianceRatio(_ values: [Double], parameters: Int, noise: Double) -> Double {
        let blocks = means(values, 16), mean = blocks.reduce(0, +) / 16
        let squares = blocks.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return squares / Double(16 - parameters) * Double(values.count) / 16 / (noise * noise)
    }

    private static func means(_ values: [Double], _ count: Int) -> [Double] {
        (0 ..< count).map { part in
            let range = part * values.count / count ..< (part + 1) * values.count / count
            return values[range].reduce(0, +) / Double(max(range.count, 1))
        }
    }

    /// - Parameters:
    ///   - floor: what the series must have gained.
    ///   - tests: how many series were looked at.
    /// - Returns: the trend of a series that grows throughout.
    static func find(_ times: [Double], _ values: [Double], floor: Double, tests: Int) -> Trend? {
        guard values.count >= fewestMoments, let begin = times.first, let end = times.last, let lowest = values.min(),
            let highest = values.max(),
            highest - lowest >= floor
        else { return nil }
        let chance = chance / Double(max(tests, 1))
        guard persists(values, chance: chance) else { return nil }
        let trend = Trend(times: times, values: values)
        guard trend.shape == .steadyGrowth, trend.pValue <= chance, trend.slopeLow > 0,
            trend.slopePerSecond * (end - begin) >= floor
        else { return nil }
        return trend
    }
}
