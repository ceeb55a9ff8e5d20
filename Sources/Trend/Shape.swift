// The rules that give a series its shape. Each is a share of the series's own range, so that none depends on the unit.
// They were tuned on the tests' series.

/// A series that is being judged.
struct Series {
    var times: [Double]
    var values: [Double]
    private let lowest: Double
    private let highest: Double

    init(times: [Double], values: [Double]) {
        // The teeth of a saw survive this; a spike of a single moment does not.
        (self.times, self.values) = thinned(times, values, to: 2000)
        lowest = self.values.min() ?? 0
        highest = self.values.max() ?? 0
    }

    private var range: Double { highest - lowest }

    func shape(pValue: Double, slope: Double) -> Shape {
        if values.count < 2 { return .tooFew }
        if range == 0 { return .flat }
        if values.count < Trend.fewest { return .tooFew }
        if isDaily { return .daily }
        let isSure = pValue < Trend.significance
        if isStep { return .step }
        if isUpAndDown { return floorRises ? .steadyGrowth : isLevel ? .flat : .sawTooth }
        if isSure && slope > 0 { return isWarmUp ? .warmUp : .steadyGrowth }
        if isSure && slope < 0 { return .shrinking }
        return isLevel ? .flat : isWarmUp ? .warmUp : .irregular
    }

    /// All values are within a twentieth of the highest.
    private var isLevel: Bool { range <= 0.05 * max(abs(highest), abs(lowest)) }

    /// One step makes up four fifths of the range; the values before it and after it each stay within a fifth.
    private var isStep: Bool {
        guard
            let jump = values.indices.dropFirst().max(by: {
                abs(values[$0] - values[$0 - 1]) < abs(values[$1] - values[$1 - 1])
            })
        else { return false }
        let height = values[jump] - values[jump - 1]
        func spread(_ part: ArraySlice<Double>) -> Double { (part.max() ?? 0) - (part.min() ?? 0) }
        return height > 0 && height >= 0.8 * range && spread(values[..<jump]) <= 0.2 * height
            && spread(values[jump...]) <= 0.2 * height
            && jump > 1 && jump < values.count - 1
    }

    /// Falls of a quarter of the range add up to half of the rises: two such falls, or one after which it rose again.
    private var isUpAndDown: Bool {
        var rises = 0.0, falls = 0.0, deepFalls = 0
        // Turning points at least a quarter of the range apart; smaller ones are noise.
        var extreme = values[0], rising: Bool?, low = values[0], high = values[0]
        for value in values.dropFirst() {
            low = min(low, value)
            high = max(high, value)
            switch rising {
            case nil:
                if value - low >= range / 4 {
                    (rising, extreme) = (true, value)
                    rises += value - low
                } else if high - value >= range / 4 {
                    (rising, extreme) = (false, value)
                    falls += high - value
                    deepFalls += 1
                }
            case true?:
                if value > extreme {
                    rises += value - extreme
                    extreme = value
                } else if extreme - value >= range / 4 {
                    falls += extreme - value
                    deepFalls += 1
                    (rising, extreme) = (false, value)
                }
            case false?:
                if value < extreme {
                    falls += extreme - value
                    extreme = value
                } else if value - extreme >= range / 4 {
                    rises += value - extreme
                    (rising, extreme) = (true, value)
                }
            }
        }
        return rises > 0 && falls >= rises / 2 && deepFalls >= (rising == true ? 1 : 2)
    }

    /// The lowest values of five equal spans rise from each span to the next, by a quarter of the range in total: the
    /// level under the teeth grows.
    private var floorRises: Bool {
        guard values.count >= 15 else { return false }
        let floors = parts(5).compactMap { $0.min() }
        return zip(floors, floors.dropFirst()).allSatisfy { $0 < $1 }
            && (floors.last ?? 0) - (floors.first ?? 0) >= range / 4
    }

    /// The second half of the time adds less than a tenth, and shows no trend of its own.
    private var isWarmUp: Bool {
        guard let begin = times.first, let end = times.last else { return false }
        let half = zip(times, values).filter { $0.0 >= (begin + end) / 2 }.map(\.1)
        let early = zip(times, values).filter { $0.0 < (begin + end) / 2 }.map(\.1)
        guard half.count >= 3, let least = half.min(), let most = half.max(), let start = early.first else {
            return false
        }
        let rise = median(half) - start
        return rise > 0.5 * range && most - least <= 0.1 * range
            && (half.count < Trend.fewest || MannKendall(half).pValue >= Trend.significance)
    }

    /// Two days or more in which each hour repeats its value, while the hours differ.
    private var isDaily: Bool {
        let day = 86_400.0
        guard let begin = times.first, let end = times.last, end - begin >= 2 * day, values.count >= 24 else {
            return false
        }
        // The value a day before each moment, from the nearest moment, at most an hour and a half away.
        var pairs: [(now: Double, before: Double)] = []
        var place = 0
        for (index, time) in times.enumerated() where time - day >= begin {
            while place + 1 < index && abs(times[place + 1] - (time - day)) <= abs(times[place] - (time - day)) {
                place += 1
            }
            if abs(times[place] - (time - day)) <= 5400 { pairs.append((values[index], values[place])) }
        }
        guard pairs.count >= 12 else { return false }
        let drift = median(pairs.map { $0.now - $0.before })
        let days = (end - begin) / day
        let misfit = median(pairs.map { abs($0.now - $0.before - drift) })
        // Growth over all days is below a quarter of a day's range, and each day is like the one before.
        return isUpAndDown && abs(drift) * days < range / 4 && misfit < range / 8
    }

    /// The values in spans of equal time.
    private func parts(_ count: Int) -> [[Double]] {
        guard let begin = times.first, let end = times.last, end > begin else { return [] }
        var parts = [[Double]](repeating: [], count: count)
        for (time, value) in zip(times, values) {
            parts[min(count - 1, max(0, Int((time - begin) / (end - begin) * Double(count))))].append(value)
        }
        return parts
    }
}
