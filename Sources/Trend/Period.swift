// What repeats in a series: a log that is rotated, a cache that is emptied every hour. It hides growth as noise does,
// but it can be removed, whatever its form.
//
// The method is phase dispersion minimization (R. F. Stellingwerf, Period determination using phase dispersion
// minimization, Astrophysical Journal 224, 1978): the moments are sorted into bins by their phase in a period, and the
// best period is the one whose bins scatter least.

import Glibc

package enum Period {
    /// Fewer repetitions in a series prove nothing.
    private static let fewestTimes = 6.0
    /// Periods of fewer moments have too few phases.
    private static let fewestMoments = 4.0
    private static let mostBins = 16

    /// The series without the part that repeats. The mean stays. Remove a trend before.
    ///
    /// - Parameter times: ascending.
    /// - Returns: nil if no period explains so much that Schwarz's criterion accepts its bins.
    /// - Complexity: O(n²)
    package static func removed(_ times: [Double], _ values: [Double]) -> [Double]? {
        let count = min(times.count, values.count)
        guard count >= 48, let begin = times.first, times[count - 1] > begin else { return nil }
        let span = (times[count - 1] - begin) * Double(count) / Double(count - 1)
        guard span.isFinite, times[..<count].allSatisfy({ $0 >= begin && $0 <= times[count - 1] }) else { return nil }
        // In the middle of each moment, so that no moment is on a bin's edge if the period is a number of moments.
        let places = times[..<count].map { ($0 - begin) / span + 0.5 / Double(count) }
        let mean = values[..<count].reduce(0, +) / Double(count)
        let rest = values[..<count].map { $0 - mean }
        let all = rest.reduce(0) { $0 + $1 * $1 }
        // What a period gains, for a number of repetitions in the series.
        func gain(_ repetitions: Double) -> Double {
            let bins = Bins(rest, places, repetitions)
            let parameters = Double(bins.count) + 1
            return Double(count) * log(all / max(bins.residual, all * 1e-12)) - parameters * log(Double(count))
        }
        var best = (gain: 0.0, repetitions: 0.0)
        func attempt(_ repetitions: Double) {
            let gain = gain(repetitions)
            if gain > best.gain { best = (gain, repetitions) }
        }
        // A period that is wrong by less than a fifth of a repetition in the series is still seen.
        let most = Double(count) / fewestMoments
        for step in 0 ... Int((most - fewestTimes) * 5) { attempt(fewestTimes + Double(step) / 5) }
        guard best.gain > 0 else { return nil }
        for width in [0.05, 0.01] {
            let middle = best.repetitions
            for step in -4 ... 4 { attempt(middle + Double(step) * width) }
        }
        let bins = Bins(rest, places, best.repetitions)
        return zip(values, places).map { $0 - bins.mean(at: $1) }
    }

    /// A series sorted by phase.
    private struct Bins {
        let count: Int
        let repetitions: Double
        /// The sum of squared distances from the bins' means.
        var residual: Double
        private var means: [Double]

        /// - Parameters:
        ///   - values: with a mean of 0.
        ///   - places: from 0 to below 1.
        init(_ values: [Double], _ places: [Double], _ repetitions: Double) {
            count = max(Int(fewestMoments), min(mostBins, Int(Double(values.count) / repetitions)))
            self.repetitions = repetitions
            means = [Double](repeating: 0, count: count)
            residual = 0
            var sizes = [Double](repeating: 0, count: count)
            for (value, place) in zip(values, places) {
                let bin = bin(at: place)
                means[bin] += value
                sizes[bin] += 1
                residual += value * value
            }
            for bin in 0 ..< count where sizes[bin] > 0 {
                residual -= means[bin] * means[bin] / sizes[bin]
                means[bin] /= sizes[bin]
            }
        }

        func mean(at place: Double) -> Double { means[bin(at: place)] }

        private func bin(at place: Double) -> Int {
            let phase = place * repetitions
            return min(Int((phase - phase.rounded(.down)) * Double(count)), count - 1)
        }
    }
}
