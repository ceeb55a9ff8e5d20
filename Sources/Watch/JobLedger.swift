// What each job left behind, from the machine's levels before and after it. A job left something if a level rose during
// the job by far more than it moves otherwise, and never came back down. Once in three months is enough.
//
// Only memory that belongs to no process is examined: a process that stays is a finding of its own.

struct JobLedger {
    struct Run {
        var job: String
        var at: Int64
        var before: [String: Double]
        var after: [String: Double]
    }

    private(set) var runs: [Run] = []
    private var open: (job: String, levels: [String: Double])?

    mutating func add(_ occasion: Occasion, _ levels: [String: Double], at wall: Int64) {
        switch occasion {
        case .interval: break
        case .beforeJob(let job): open = (job, levels)
        case .afterJob(let job, _):
            guard let before = open, before.job == job else { return }
            runs.append(Run(job: job, at: wall, before: before.levels, after: levels))
            open = nil
        }
    }

    func leftBehind(_ steps: NextSteps) -> [LeftBehind] {
        var found: [LeftBehind] = []
        let names = Set(runs.flatMap { $0.after.keys }).sorted()
        let counts = Dictionary(runs.map { ($0.job, 1) }, uniquingKeysWith: +)
        for name in names {
            let isCount = name.hasPrefix("count ")
            // Runs with both levels known.
            let levels = runs.compactMap { run in
                run.before[name].flatMap { before in run.after[name].map { (run: run, before: before, after: $0) } }
            }
            // Changes while no job runs, and falls, are not leaks: they show how much the level moves anyway.
            let changes =
                levels.map { $0.after - $0.before }.filter { $0 < 0 }
                + zip(levels.dropFirst(), levels).map { $0.before - $1.after }
            let floor = max(Self.floor(name), 5 * Self.usual(changes))
            var left: [String: (runs: Int, amount: Double, last: Int64)] = [:]
            // The lowest level from each moment on, computed backwards.
            var lowest = Double.infinity
            for (run, before, after) in levels.reversed() {
                lowest = min(lowest, after)
                let kept = lowest - before
                if after - before >= floor, kept >= (after - before) / 2 {
                    let sum = left[run.job] ?? (0, 0, run.at)
                    left[run.job] = (sum.runs + 1, sum.amount + (after - before), sum.last)
                }
                lowest = min(lowest, before)
            }
            for (job, sum) in left.sorted(by: { $0.key < $1.key }) {
                let (kind, what, step) = Self.told(name, steps)
                found.append(
                    LeftBehind(
                        job: job, kind: kind, what: what, unit: isCount ? .count : .bytes, runs: sum.runs,
                        allRuns: counts[job] ?? sum.runs, amount: sum.amount, lastAt: sum.last, next: step))
            }
        }
        return found.sorted {
            ($0.unit == .bytes ? $0.amount : $0.amount * 1024) > ($1.unit == .bytes ? $1.amount : $1.amount * 1024)
        }
    }

    private static func floor(_ name: String) -> Double {
        if name.hasPrefix("count ") { return Metrics.counts.first { "count " + $0.column == name }?.floor ?? 64 }
        // Pages that no counter explains move by the pages that each processor keeps.
        return name == "unexplained"
            ? 16 * Metrics.megabyte : name.hasPrefix("slab ") ? Metrics.megabyte : 2 * Metrics.megabyte
    }

    /// How far the level usually moves: 1.5 times the median of the changes' sizes, as for a normal distribution.
    private static func usual(_ changes: [Double]) -> Double {
        let sizes = changes.map(\.magnitude).sorted()
        return sizes.isEmpty ? 0 : 1.4826 * sizes[sizes.count / 2]
    }

    private static func told(_ name: String, _ steps: NextSteps) -> (GrowthKind, String, NextStep?) {
        if name == "unexplained" { return (.unexplained, "pages that no counter explains", steps.unexplained) }
        if name.hasPrefix("slab ") {
            let cache = String(name.dropFirst(5))
            return (.slab, "slab cache \(cache)", steps.slab(cache, objectBytes: 0))
        }
        if name.hasPrefix("memory "), let which = MemoryClass.allCases.first(where: { "memory " + $0.name == name }) {
            return (.kernel, which.title, steps.memory(which))
        }
        return (
            name == "count file.open" ? .descriptors : .kernel,
            Metrics.counts.first { "count " + $0.column == name }?.name ?? name, nil
        )
    }
}
