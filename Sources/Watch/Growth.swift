// The rules that decide what grows. The shape and the test come from Trend. These rules avoid false accusations among
// hundreds of series, each of which wanders, and find growth that follows a fall.
//
// First the whole span is judged. If it shows nothing, the stretch since the last change of level is judged: a program
// that was restarted, or a file that was truncated, grows from there. A stretch proves nothing if the series has always
// gone up and down like that: see `isNew`.

import Glibc
import Trend

/// Decides which series grow.
package enum Growth {
    /// The chance that the test accuses any innocent series of a recording, for all series together. Each series gets
    /// its part of it (Bonferroni).
    package static let chance = 0.01
    /// Fewer moments than these prove nothing.
    static let fewestMoments = 8

    /// Whether the level rises throughout, and not by chance. The lowest values of 16 or more spans of equal length
    /// either never fall and rise at least five times, or rise on average by more than Student's t allows. The
    /// Mann-Kendall test alone does not help against random walks, because it assumes independent moments; a walk that
    /// goes down as likely as up passes here at most with the chance of each series. Also, the last third must add a
    /// tenth of the whole rise, which a warm-up doesn't.
    ///
    /// - Parameter chance: that a walk passes for growth.
    static func persists(_ values: [Double], chance: Double) -> Bool {
        // As many steps as tossed heads in a row that are rarer than this chance.
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

    /// The probability, by Student's t, that numbers with a mean of zero have a mean as high as these. The tail is the
    /// normal one of D. L. Wallace's deviate (Bounds on Normal Approximations to Student's and the Chi-Square
    /// Distributions, Annals of Mathematical Statistics 30, 1959), which is accurate to a few per cent.
    private static func studentTail(of numbers: [Double]) -> Double {
        let count = Double(numbers.count), degrees = count - 1
        let mean = numbers.reduce(0, +) / count
        let variance = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / degrees
        if mean <= 0 { return 1 }
        let t = variance > 0 ? mean / (variance / count).squareRoot() : .infinity
        let deviate = (8 * degrees + 1) / (8 * degrees + 3) * (degrees * log1p(t * t / degrees)).squareRoot()
        return erfc(deviate / 2.0.squareRoot()) / 2
    }

    /// A growth that was found.
    struct Found {
        /// The trend of the judged stretch.
        var trend: Trend
        /// The stretch's first moment; 0 for the whole span.
        var start: Int
        /// The trend of the whole span.
        var whole: Trend
    }

    /// - Parameters:
    ///   - floor: what the series must have gained.
    ///   - tests: how many series were looked at.
    /// - Returns: growth of the whole span, or of the stretch since the last change of level.
    /// - Complexity: O(n²) in the moments; a track has at most 512.
    static func judge(_ times: [Double], _ values: [Double], floor: Double, tests: Int) -> Found? {
        // Each series is examined in several ways, which share its chance.
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
        // The longest stretch first, because it is the most significant.
        for (place, start) in starts.enumerated()
        where looked.contains(start) && values.count - start >= fewestInStretch
            && isNew(values, lines, from: place + 1, noise: noise)
        {
            // The division into lines may miss a short tooth after the fall, so a slightly later start is tried, too.
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

    /// The number of ways to examine a series.
    private static let ways = 5

    /// A stretch needs this many moments to prove anything.
    static let fewestInStretch = 24

    /// Whether the stretch from a line's start on is something new. Either it began with a fall, the series fell in at
    /// most three jumps before, and the stretch is a fifth of the whole; or it rises twice as high as anything before.
    /// Saw-tooth and daily patterns go up and down repeatedly, and their last rise proves nothing.
    ///
    /// - Parameter lines: the straight lines that make up the series; the stretch begins with the one at `place`.
    private static func isNew(_ values: [Double], _ lines: [LevelChanges.Line], from place: Int, noise: Double) -> Bool
    {
        let start = lines[place].range.lowerBound
        // Running medians remove the noise.
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

    /// How far the level falls between the previous line and this one.
    private static func drop(_ lines: [LevelChanges.Line], _ place: Int) -> Double {
        lines[place - 1].last - lines[place].first
    }

    /// Growth among noise, with or without something that repeats, such as a log that is rotated.
    private static func trendInNoise(
        _ times: [Double], _ values: [Double], noise: Double, floor: Double, chance: Double
    ) -> Trend? {
        guard values.count >= 32, noise > 0, let begin = times.first, let end = times.last,
            let line = TheilSen(times: times, values: values), line.slope * (end - begin) >= noise / 2
        else { return nil }
        if let trend = lineInNoise(times, values, line, noise: noise, floor: floor, chance: chance) { return trend }
        // The trend is taken off, as well as it is known, before a period is looked for; and once more as it shows
        // without the period.
        var seen = line, quiet: [Double] = []
        for _ in 0 ..< 2 {
            let rise = times.map { seen.slope * ($0 - begin) }
            guard let rest = Period.removed(times, zip(values, rise).map { $0 - $1 }) else { return nil }
            quiet = zip(rest, rise).map { $0 + $1 }
            guard let line = TheilSen(times: times, values: quiet) else { return nil }
            seen = line
        }
        return lineInNoise(times, quiet, seen, noise: LevelChanges.deviation(quiet), floor: floor, chance: chance)
    }

    /// Growth among noise without memory, as in counters that are read at random moments. The noise hides the growth
    /// from `persists`, but a test for trends finds it. That test is valid here as long as nothing but the trend
    /// wanders, which is checked by the ratio of variances (A. W. Lo, A. C. MacKinlay, Stock market prices do not
    /// follow random walks, Review of Financial Studies 1, 1988): the variance of sixteen means of the residuals,
    /// against that of single steps. It is 1 without memory, and far higher for a walk. Also, the rise must be 1.4
    /// times the noise's deviation, and more than that with more than 240 moments (1.65 times with 512): a walk hidden
    /// in the noise rises by half as much, and goes further with more moments. A leak of twice the noise is above that
    /// limit.
    private static func lineInNoise(
        _ times: [Double], _ values: [Double], _ line: TheilSen, noise: Double, floor: Double, chance: Double
    ) -> Trend? {
        guard let begin = times.first, let end = times.last, noise > 0 else { return nil }
        let rise = line.slope * (end - begin)
        guard rise >= 1.4 * max(1, pow(Double(values.count) / 240, 0.22)) * noise, rise >= floor else { return nil }
        let left = zip(times, values).map { $1 - line.slope * ($0 - begin) }
        guard varianceRatio(left, parameters: 2, noise: noise) <= 2.5 else { return nil }
        let parts = min(32, values.count / 4)
        let sums = means(values, parts)
        let test = MannKendall(sums)
        guard test.score > 0, test.pValue <= chance else { return nil }
        // A series that rises to a level and stays there does not grow, with or without noise.
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
    /// - Returns: the trend if the series grows throughout.
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
