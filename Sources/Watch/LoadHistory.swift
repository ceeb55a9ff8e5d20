// How busy the machine was: its load, processors, pressure, swapping, and the processes that used the processors.
// Memory problems often show here first: a load of 18, and a machine that only swaps.
//
// Invariant: a counter that goes back (the machine was restarted) starts again and adds nothing.

import Proc
import Text

/// A number over the recording.
package struct LoadSeries: Sendable {
    package var first: Double
    package var last: Double
    package var mean: Double
    package var most: Double
}

package struct LoadPicture: Sendable {
    /// The average of one minute.
    package var load: LoadSeries?
    package var processors: Int64 = 0
    /// Seconds since the machine's start, first and last.
    package var uptime: (first: Double, last: Double)?
    /// Shares of all processors' time, by use: user, system, iowait, steal.
    package var processorShares: [(name: String, share: Double)] = []
    /// Shares of the time in which something waited: memory, io, cpu.
    package var pressure: [(name: String, some: Double, full: Double?, most: Double)] = []
    /// Bytes a second.
    package var swapIn: LoadSeries?
    package var swapOut: LoadSeries?
    /// Processes, the busiest first: seconds of processor time, and seconds of the recording.
    package var busiest: [(pid: Int64, name: String, detail: String, seconds: Double, span: Double)] = []
    /// What top's first lines would show, at the first and the last sample.
    package var heads: [[String]] = []

    /// Whether the machine itself is in trouble: more tasks want to run than there are processors, or programs wait for
    /// memory.
    package var isStrained: Bool {
        (load.map { $0.mean > 1.5 * Double(max(processors, 1)) } ?? false)
            || pressure.contains { $0.name == "memory" && $0.some > 0.05 }
            || (swapIn?.mean ?? 0) + (swapOut?.mean ?? 0) > 1_048_576
    }
}

struct LoadHistory {
    /// A counter's gains from sample to sample.
    private struct Counter {
        var last: Int64?, lastTime = 0.0, sum = 0.0, seconds = 0.0
        /// - Returns: its gain per second.
        mutating func add(_ value: Int64, at time: Double) -> Double? {
            defer { (last, lastTime) = (value, time) }
            guard let last, value >= last, time > lastTime else { return nil }
            let gained = Double(value) - Double(last)
            sum += gained
            seconds += time - lastTime
            return gained / (time - lastTime)
        }
        var mean: Double? { seconds > 0 ? sum / seconds : nil }
    }

    static let shares = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]
    static let pressures = [("memory", "some"), ("memory", "full"), ("io", "some"), ("io", "full"), ("cpu", "some")]

    /// The page's graphs: load; shares of processors; pressure of memory, io, cpu; bytes swapped in and out per second.
    static let seriesNames = [
        "load", "processors used", "memory pressure", "io pressure", "cpu pressure", "swapped in", "swapped out",
    ]
    private(set) var tracks = [Track](repeating: Track(metrics: 1), count: seriesNames.count)
    private var counters: [String: Counter] = [:]
    private var percents: [String: (sum: Double, count: Int)] = [:]
    private var processors: Int64 = 0
    private var uptime: (first: Double, last: Double)?
    private var heads: (first: [String], last: [String])?

    mutating func add(at time: Double, _ columns: MemoryColumns, _ system: DecodedEntity, _ head: SegmentHead) {
        func value(_ name: String) -> Int64? { columns.value(name, system) }
        processors = value("processors.count") ?? head.processors
        if let load = value("load.1") { tracks[0].add(at: time, [Double(load) / 100]) }
        if let up = value("uptime.seconds") { uptime = (uptime?.first ?? Double(up), Double(up)) }
        var used = 0.0, total = 0.0
        for name in Self.shares {
            if let percent = value("cpuPercent.\(name)") {
                let before = percents[name] ?? (0, 0)
                percents[name] = (before.sum + Double(percent), before.count + 1)
                total += Double(percent)
                if name != "idle" && name != "iowait" { used += Double(percent) }
            }
        }
        if total == 0 {
            for name in Self.shares {
                guard let ticks = value("cpu.\(name)"),
                    let rate = counters["cpu.\(name)", default: Counter()].add(ticks, at: time)
                else { continue }
                total += rate
                if name != "idle" && name != "iowait" { used += rate }
            }
        }
        if total > 0 { tracks[1].add(at: time, [used / total * 100]) }
        for (resource, kind) in Self.pressures {
            guard let total = value("pressure.\(resource).\(kind).microseconds"),
                let rate = counters["pressure.\(resource).\(kind)", default: Counter()].add(total, at: time)
            else { continue }
            if kind == "some" {
                tracks[resource == "memory" ? 2 : resource == "io" ? 3 : 4].add(at: time, [min(rate / 1e6, 1) * 100])
            }
        }
        for (place, name, rateName) in [(5, "vmstat.pswpin", "rate.swapIn"), (6, "vmstat.pswpout", "rate.swapOut")] {
            if let rate = value(rateName) {
                tracks[place].add(at: time, [Double(rate) * 1024])
            } else if let pages = value(name), let rate = counters[name, default: Counter()].add(pages, at: time) {
                tracks[place].add(at: time, [rate * Double(head.pageBytes)])
            }
        }
        let lines = Self.lines(columns, system)
        if !lines.isEmpty { heads = (heads?.first ?? lines, lines) }
    }

    mutating func finish() { for index in tracks.indices { tracks[index].finish() } }

    func picture(_ tracked: [Tracked]) -> LoadPicture {
        func series(_ index: Int) -> LoadSeries? {
            let track = tracks[index]
            guard track.sampleCount > 0 else { return nil }
            return LoadSeries(
                first: track.first[0], last: track.last[0],
                mean: track.values[0].reduce(0, +) / Double(max(track.values[0].count, 1)), most: track.highest[0])
        }
        var picture = LoadPicture()
        (picture.load, picture.processors, picture.uptime, picture.swapIn, picture.swapOut) = (
            series(0), processors, uptime, series(5), series(6)
        )
        if percents.isEmpty {
            let sums = Self.shares.map { ($0, counters["cpu.\($0)"]?.sum ?? 0) }, total = sums.reduce(0) { $0 + $1.1 }
            if total > 0 { picture.processorShares = sums.map { ($0.0, $0.1 / total) } }
        } else {
            picture.processorShares = Self.shares.compactMap { name in
                percents[name].map { (name, $0.sum / Double($0.count) / 100) }
            }
        }
        for (index, resource) in [(2, "memory"), (3, "io"), (4, "cpu")] {
            guard let mean = counters["pressure.\(resource).some"]?.mean else { continue }
            // Times in logs are rounded to a second, so a share can exceed 1: cap it.
            picture.pressure.append(
                (
                    resource, min(mean / 1e6, 1), counters["pressure.\(resource).full"]?.mean.map { min($0 / 1e6, 1) },
                    tracks[index].highest[0] / 100
                ))
        }
        picture.busiest = tracked.compactMap { entity in
            guard entity.kind == .process, let pid = entity.pid, let ticks = entity.ticks, ticks.last > ticks.first,
                entity.track.lastTime > entity.track.firstTime
            else { return nil }
            return (
                pid, entity.name, entity.detail, (Double(ticks.last) - Double(ticks.first)) / 100,
                entity.track.lastTime - entity.track.firstTime
            )
        }.sorted { $0.seconds > $1.seconds }
        picture.busiest = Array(picture.busiest.prefix(10))
        picture.heads =
            heads.map {
                [$0.first + Self.largest(tracked, isFirst: true), $0.last + Self.largest(tracked, isFirst: false)]
            } ?? []
        return picture
    }

    /// The rows below top's first lines: the five processes with the most memory at the first or last sample.
    private static func largest(_ tracked: [Tracked], isFirst: Bool) -> [String] {
        let processes = tracked.filter { $0.kind == .process && $0.track.sampleCount > 0 }
        guard let first = processes.map(\.track.firstTime).min(), let last = processes.map(\.track.lastTime).max()
        else { return [] }
        func bytes(_ process: Tracked) -> Double { isFirst ? process.track.first[0] : process.track.last[0] }
        let largest = processes.filter { isFirst ? $0.track.firstTime == first : $0.track.lastTime == last }.sorted {
            bytes($0) > bytes($1)
        }.prefix(5)
        return ["    PID    memory  command"]
            + largest.map { process in
                leftPadded("\(process.pid ?? 0)", 7) + leftPadded(readable(bytes(process)), 10) + "  "
                    + shortened(printable(Finding.commandLine(process.detail, process.name)), 60)
            }
    }

    /// What uptime and the first lines of top would have printed.
    private static func lines(_ columns: MemoryColumns, _ system: DecodedEntity) -> [String] {
        func value(_ name: String) -> Int64? { columns.value(name, system) }
        var lines: [String] = []
        var first: [String] = []
        if let up = value("uptime.seconds") { first.append("up " + uptimeText(up)) }
        if let one = value("load.1"), let five = value("load.5"), let fifteen = value("load.15") {
            first.append(
                "load average: " + [one, five, fifteen].map { hundredths(Double($0) / 100) }.joined(separator: ", "))
        }
        if !first.isEmpty { lines.append(first.joined(separator: ", ")) }
        let tasks = ["total", "running", "sleeping", "uninterruptible", "stopped", "zombie"].compactMap { name in
            value("tasks.\(name)").map { "\($0) \(name)" }
        }
        if !tasks.isEmpty { lines.append("Tasks: " + tasks.joined(separator: ", ")) }
        let shares = shares.compactMap { name in value("cpuPercent.\(name)").map { "\($0) \(name)" } }
        if !shares.isEmpty { lines.append("%Cpu: " + shares.joined(separator: ", ")) }
        func mega(_ name: String) -> String? { value("meminfo.\(name)").map { "\(signed($0 / 1024)) \(name)" } }
        let amounts = ["MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "Slab"].compactMap(mega)
        if !amounts.isEmpty { lines.append("MiB Mem: " + amounts.joined(separator: ", ")) }
        let swap = ["SwapTotal", "SwapFree"].compactMap(mega)
        if !swap.isEmpty { lines.append("MiB Swap: " + swap.joined(separator: ", ")) }
        return lines
    }

    /// In uptime's form: 5 days, 3:02.
    static func uptimeText(_ seconds: Int64) -> String {
        let seconds = max(0, seconds), days = seconds / 86_400, hours = seconds / 3600 % 24, minutes = seconds / 60 % 60
        return (days > 0 ? "\(days) day\(days == 1 ? "" : "s"), " : "")
            + "\(hours):\(minutes < 10 ? "0" : "")\(minutes)"
    }
}

extension DecodedEntity {
    /// A process's ticks of processor time; nil if not known.
    var processorTicks: Int64? {
        let user = self[.userTicks], system = self[.systemTicks]
        if user == Sample.unknown { return nil }
        return user.addingReportingOverflow(max(system, 0)).partialValue
    }
}
