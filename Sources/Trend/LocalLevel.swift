// How well a series is described as a walk that is seen through noise: the local level model (A. C. Harvey,
// Forecasting, Structural Time Series Models and the Kalman Filter, 1989). Such a series goes up and down by chance
// alone, so whoever accuses a series of growth must describe it better than that.

import Glibc

package enum LocalLevel {
    /// The log-likelihood of the best of some walks, from one that stands still to one as restless as the noise, but
    /// for a constant that depends on the number of values alone.
    ///
    /// - Complexity: O(n)
    package static func logLikelihood(_ values: [Double]) -> Double {
        guard let first = values.first else { return 0 }
        var best = -Double.infinity
        // Variances of a step of the walk, in units of the noise's.
        for walk in [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3] {
            // The Kalman filter: the level, and its variance.
            var level = first, variance = 1.0, squares = 0.0, logs = 0.0
            for value in values.dropFirst() {
                variance += walk
                let expected = variance + 1, error = value - level
                squares += error * error / expected
                logs += log(expected)
                level += variance / expected * error
                variance /= expected
            }
            let likelihood = logLikelihood(residual: squares, count: values.count - 1) - logs / 2
            best = max(best, likelihood)
        }
        return best
    }

    /// Of normal noise whose squares add up to the residual, but for the same constant.
    package static func logLikelihood(residual: Double, count: Int) -> Double {
        let count = Double(max(count, 1))
        return -count / 2 * log(max(residual, .leastNormalMagnitude) / count)
    }
}
