// The data of `heapwatch report` for the browser: the verdict, and every series behind it. This file only collects
// numbers and names; Sources/Page decides how they look.
//
// A recording may have thousands of processes. Only those with the most memory get graphs, and the page says how many
// are left out. The table has all processes that existed for a while.

import Page
import Text

extension Examination {
    /// The limits for processes with a graph and for rows of the table.
    private static let mostGraphs = 300
    private static let mostRows = 5000

    /// Writes the page of a recording that `run` has read.
    package func writePage<Failure: Error>(to out: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
        var data = PageData()
        data.open()
        data.string("schema", "heapwatch-page/1")
        data.string("tool", "heapwatch \(version)")
        data.string("host", printable(verdict.host))
        data.string("kernel", printable(verdict.kernel))
        data.number("from", Double(verdict.from) / 1000)
        data.number("to", Double(verdict.to) / 1000)
        data.integer("samples", UInt64(verdict.samples))
        data.number("intervalSeconds", verdict.intervalSeconds)
        data.number("ownShare", verdict.ownShare)
        data.integer("ownBytes", verdict.ownBytes.map { UInt64(max(0, $0)) })
        data.integer("tests", UInt64(verdict.tests))
        data.integer("processCount", UInt64(verdict.processes))
        var warnings = verdict.notes.map(printable) + verdict.damages.map { printable($0.text) + "." }
        if verdict.thinnings > 0 {
            warnings.append(
                "The recording was thinned \(verdict.thinnings) times to keep to its size: older samples stand further "
                    + "apart."
            )
        }
        data.strings("warnings", warnings)
        writeVerdict(&data)
        writeMemory(&data)
        writeLoad(&data)
        writeTables(&data)
        data.close()
        let growing = verdict.growing.count
        try Page(
            .watch, title: "\(printable(verdict.host)) · heapwatch",
            summary: [
                "\(shortTime(verdict.from)) to \(shortTime(verdict.to)), \(verdict.samples) samples · "
                    + "\(growing == 0 ? "nothing grows" : growing == 1 ? "one thing grows" : "\(growing) things grow")"
            ]
        ).write(data, to: out)
    }

    private func writeVerdict(_ data: inout PageData) {
        func write(_ finding: Finding, _ data: inout PageData) {
            data.string("kind", finding.kind.rawValue)
            data.number("pid", finding.pid.map { Double($0) })
            data.string("name", printable(finding.name))
            data.string("what", printable(finding.what))
            data.string("words", printable(Finding.commandLine(finding.detail, finding.name)))
            data.strings("holders", finding.holders.map(printable))
            data.strings("followers", finding.followers.map(printable))
            data.bool("isBytes", finding.unit == .bytes)
            data.number("first", finding.first)
            data.number("last", finding.last)
            data.number("perHour", finding.trend.slopePerSecond * 3600)
            data.number("perHourLow", finding.trend.slopeLow * 3600)
            data.number("perHourHigh", finding.trend.slopeHigh * 3600)
            data.number("pValue", finding.trend.pValue)
            data.string("shape", finding.trend.shape.rawValue)
            data.bool("hasEnded", finding.hasEnded)
            data.number("successorOf", finding.successorOf.map { Double($0) })
            data.number("exhaustedAt", finding.exhaustedAt.map { Double($0) / 1000 })
            data.string("command", finding.next.map { printable($0.command) })
            data.string("remark", finding.next.map { printable($0.remark) })
        }
        data.array("growing") { data in for finding in verdict.growing { data.object { write(finding, &$0) } } }
        data.array("moving") { data in for finding in verdict.moving { data.object { write(finding, &$0) } } }
        data.array("undrained") { data in
            for queue in verdict.undrained {
                data.object { data in
                    data.number("pid", Double(queue.pid))
                    data.string("name", printable(queue.name))
                    data.string("what", queue.isReceiving ? "receive queue" : "send queue")
                    data.number("bytes", Double(queue.bytes))
                    data.number("sockets", Double(max(queue.sockets, 0)))
                    data.number("seconds", queue.seconds)
                    data.string("command", printable(queue.next.command))
                }
            }
        }
        data.integer("jobRuns", UInt64(verdict.jobRuns))
        data.array("leftBehind") { data in
            for left in verdict.leftBehind {
                data.object { data in
                    data.string("job", printable(left.job))
                    data.string("what", printable(left.what))
                    data.bool("isBytes", left.unit == .bytes)
                    data.integer("runs", UInt64(max(0, left.runs)))
                    data.integer("allRuns", UInt64(max(0, left.allRuns)))
                    data.number("amount", left.amount)
                    data.string("command", left.next.map { printable($0.command) })
                }
            }
        }
    }

    private static func whole(_ value: Double) -> Int {
        Int(exactly: value.rounded()) ?? (value > 0 ? .max : value < 0 ? .min : 0)
    }

    private func times(_ track: Track) -> [Double] {
        track.times.map { (Double(verdict.from) + ($0 * 1000).rounded()) / 1000 }
    }

    private func write(_ track: Track, _ metric: Int, _ data: inout PageData) {
        data.column("values", of: track.values[metric].map(Self.whole))
        data.number("first", track.first[metric])
        data.number("last", track.last[metric])
        data.number("most", track.highest[metric])
    }

    private func writeMemory(_ data: inout PageData) {
        data.object("memory") { data in
            data.integer("total", UInt64(max(0, verdict.memory?.total ?? 0)))
            data.array("times") { data in for time in times(memoryTrack) { data.number(nil, time) } }
            data.array("classes") { data in
                let all =
                    MemoryClass.allCases.map { ($0.name, $0.title, $0.isOfApplications) } + [
                        ("free", "free", false), ("unexplained", "unexplained: no counter has it", false),
                    ]
                for (metric, (name, title, isOfApplications)) in all.enumerated() where verdict.memory != nil {
                    data.object { data in
                        data.string("name", name)
                        data.string("title", title)
                        data.bool("isOfApplications", isOfApplications)
                        write(memoryTrack, metric, &data)
                    }
                }
            }
        }
        data.array("counts") { data in
            for (count, track) in zip(Metrics.counts, countTracks) where track.sampleCount > 1 {
                write(count.name, track, &data)
            }
        }
    }

    /// A series with its times. Its name tells the unit.
    private func write(_ name: String, _ track: Track, _ data: inout PageData) {
        data.object { data in
            data.string("name", name)
            data.array("times") { data in for time in times(track) { data.number(nil, time) } }
            data.array("values") { data in
                for value in track.values[0] { data.number(nil, (value * 100).rounded() / 100) }
            }
            data.number("first", track.first[0])
            data.number("last", track.last[0])
            data.number("most", track.highest[0])
        }
    }

    /// Load, pressure, swapping, and the processes that used the processors.
    private func writeLoad(_ data: inout PageData) {
        let picture = verdict.load
        data.object("load") { data in
            data.integer("processors", UInt64(max(0, picture.processors)))
            data.number("uptimeFirst", picture.uptime?.first)
            data.number("uptimeLast", picture.uptime?.last)
            data.array("series") { data in
                for (name, track) in zip(LoadHistory.seriesNames, load.tracks) where track.sampleCount > 1 {
                    write(name, track, &data)
                }
            }
            data.array("pressure") { data in
                for each in picture.pressure {
                    data.object { data in
                        data.string("name", each.name)
                        data.number("some", each.some)
                        data.number("full", each.full)
                        data.number("most", each.most)
                    }
                }
            }
            data.array("busiest") { data in
                for each in picture.busiest {
                    data.object { data in
                        data.number("pid", Double(each.pid))
                        data.string("name", printable(Finding.commandLine(each.detail, each.name)))
                        data.number("seconds", each.seconds)
                        data.number("share", each.span > 0 ? each.seconds / each.span : nil)
                    }
                }
            }
            data.array("heads") { data in for head in picture.heads { data.strings(nil, head.map(printable)) } }
        }
    }

    private func writeTables(_ data: inout PageData) {
        let processes = tracked.indices.filter { tracked[$0].kind == .process && tracked[$0].track.sampleCount > 1 }
            .sorted { left, right in
                let (a, b) = (tracked[left].track.highest[0], tracked[right].track.highest[0])
                return a != b ? a > b : left < right
            }
        data.array("processMetrics") { data in
            for metric in Metrics.process {
                data.object {
                    $0.string("name", metric.what)
                    $0.bool("isBytes", metric.unit == .bytes)
                }
            }
        }
        data.array("processes") { data in
            for (place, index) in processes.prefix(Self.mostRows).enumerated() {
                data.object { write(tracked[index], hasGraph: place < Self.mostGraphs, &$0) }
            }
        }
        data.integer("processesLeftOut", UInt64(verdict.processes - min(processes.count, Self.mostRows)))
        for (kind, key) in [(EntityKind.slab, "slabs"), (.group, "groups")] {
            data.array(key) { data in
                for entity in tracked where entity.kind == kind && entity.track.sampleCount > 0 {
                    data.object { data in
                        data.string("name", printable(entity.name))
                        // A group's own anonymous memory; for anything else, its only number.
                        let metric = entity.track.highest.firstIndex { $0 > 0 } ?? 0
                        data.number("first", entity.track.first[metric])
                        data.number("last", entity.track.last[metric])
                        data.number("most", entity.track.highest[metric])
                    }
                }
            }
        }
    }

    private func write(_ entity: Tracked, hasGraph: Bool, _ data: inout PageData) {
        let track = entity.track
        data.number("pid", entity.pid.map { Double($0) })
        data.string("name", printable(entity.name))
        data.string(
            "command", entity.detail.split(separator: "\0").map { printable(String($0)) }.joined(separator: " "))
        data.number("from", Double(verdict.from) / 1000 + track.firstTime)
        data.number("to", Double(verdict.from) / 1000 + track.lastTime)
        data.bool("hasEnded", track.lastTime < lastTimes[.process] ?? lastTime)
        data.column("first", of: track.first.map(Self.whole))
        data.column("last", of: track.last.map(Self.whole))
        data.column("most", of: track.highest.map(Self.whole))
        guard hasGraph, track.times.count > 1 else { return }
        data.array("times") { data in for time in times(track) { data.number(nil, time) } }
        // Memory, shared memory, threads, and all kinds of descriptors together.
        data.array("series") { data in
            for metric in 0 ..< 3 { data.column(nil, of: track.values[metric].map(Self.whole)) }
            let descriptors = Metrics.firstDescriptor ..< Metrics.addressSpace
            data.column(
                nil,
                of: track.times.indices.map { moment in
                    Self.whole(descriptors.reduce(0) { $0 + track.values[$1][moment] })
                })
        }
    }
}
