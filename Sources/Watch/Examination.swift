// Goes through a recording once and finds what grows. Each process, slab cache, control group and class of the kernel's
// memory is a track of bounded size. A process has one track from start to end, even if its PID is reused.

import Trend

/// The series of each kind, in the order of a track's metrics.
enum Metrics {
    struct Metric: Sendable {
        var what: String
        var unit: Unit
        /// The least gain that is reported: an amount, and a share of the initial level.
        var floor: Double
        var share = 0.01
    }

    static let megabyte = 1_048_576.0
    /// Everything that is neither free nor cache, if no total is known.
    static let inUse = "memory in use"
    /// The first is the process's own memory, from the counter that the kernel has.
    static let process: [Metric] =
        [
            Metric(what: "anonymous memory", unit: .bytes, floor: megabyte),
            Metric(what: "shared memory", unit: .bytes, floor: megabyte),
            Metric(what: "threads", unit: .count, floor: 5, share: 0.05),
            Metric(what: "receive queue", unit: .bytes, floor: 65_536, share: 0.05),
            Metric(what: "send queue", unit: .bytes, floor: 65_536, share: 0.05),
            Metric(what: "memory in memfds", unit: .bytes, floor: megabyte),
        ] + descriptorColumns.map { Metric(what: $0.1, unit: .count, floor: 8, share: 0.05) }
        + [Metric(what: "address space", unit: .bytes, floor: 64 * megabyte, share: 0.05)]
    static let descriptorColumns: [(ProcessColumn, String)] = [
        (.files, "files"), (.sockets, "sockets"), (.pipes, "pipes"), (.events, "eventfds"),
        (.polls, "epoll descriptors"), (.timers, "timers"),
        (.watches, "inotify watches"), (.memoryFiles, "memfds"), (.otherDescriptors, "other descriptors"),
    ]
    static let firstDescriptor = 6
    static let addressSpace = process.count - 1

    static func process(_ entity: DecodedEntity, into list: inout [Double]) {
        func bytes(_ column: ProcessColumn) -> Double { Double(max(entity[column], 0)) * 1024 }
        list[0] =
            entity[.anonymous] == Sample.unknown ? bytes(.resident) + bytes(.swap) : bytes(.anonymous) + bytes(.swap)
        // heapsum's own image is no growth of the program's.
        list[1] = max(0, bytes(.shared) - bytes(.image))
        list[2] = Double(max(entity[.threads], 0))
        list[3] = Double(max(entity[.receiveQueue], 0))
        list[4] = Double(max(entity[.sendQueue], 0))
        list[5] = bytes(.memoryFileKilobytes)
        for (index, column) in descriptorColumns.enumerated() {
            list[firstDescriptor + index] = Double(max(entity[column.0], 0))
        }
        list[addressSpace] = bytes(.virtual)
    }

    /// Classes whose growth is a finding of its own. Anonymous memory is reported by process, and caches are reclaimed.
    static let kernel: [MemoryClass] = [
        .shared, .slabUnreclaimable, .otherReclaimable, .stacks, .pageTables, .vmalloc, .perCPU, .sockets, .hugePages,
        .compressed, .writeback, .graphics, .slab,
    ]

    /// Counts of the machine: column, what it is, floor.
    static let counts: [(column: String, name: String, floor: Double)] = [
        ("file.open", "open files, all processes", 64), ("tcp.CLOSE_WAIT", "TCP sockets in CLOSE_WAIT", 32),
        ("sockstat.TCP.orphan", "orphaned TCP sockets", 32),
        ("kmemleak.objects", "objects that kmemleak suspects", 1), ("processes.zombies", "zombies", 8),
        ("sysvipc.segments", "System V shared segments", 8),
    ]
    static let group: [(columns: [String], what: String)] = [
        (["stat.anon", "stat.rss"], "anonymous memory"), (["stat.shmem"], "shared memory"),
        (["stat.kernel", "memory.kernel"], "kernel memory"), (["stat.sock"], "sockets' memory"),
        (["tmpfs.bytes"], "files in it"), (["sysvipc.bytes"], "resident and swapped"),
        (["file.bytes"], "bytes in memory"),
    ]
}

/// An entity while it exists.
struct Tracked {
    var kind: EntityKind
    var name: String
    var detail: String
    var pid: Int64?
    var track: Track
    var successorOf: Int64?
    var descriptorLimit = Sample.unknown
    var descriptors: Int64 = 0
    /// For receive and send queues: since when they have held bytes without ever shrinking, and how many.
    var queues = [Queue](repeating: Queue(), count: 2)
    var undrainedSockets: Int64 = 0
    var parent: Int64 = 0
    /// heapsum's library is loaded in it.
    var isRecorded = false
    /// Resident bytes of heapsum's image.
    var imageBytes = 0.0
    /// Its anonymous memory is not known, so all its resident memory is examined.
    var isResidentOnly = false
    /// For a process: processor time in ticks, first and last.
    var ticks: (first: Int64, last: Int64)?
    /// For a slab cache: whether the kernel can reclaim it, and the size of an object.
    var isReclaimable: Bool?
    var objectBytes: Int64 = 0

    struct Queue {
        var bytes = 0.0, since = 0.0, samples = 0
        mutating func add(_ value: Double, at time: Double) {
            if value <= 0 || value < bytes || samples == 0 { (samples, since) = (0, time) }
            bytes = value
            if value > 0 { samples += 1 }
        }
    }
}

package struct Examination {
    var reader: SampleReader
    var verdict = Verdict()
    var tracked: [Tracked] = []
    private var byIdentity: [EntityKind: [String: Int]] = [:]
    /// The entities in the last sample with any of their kind: an imported log may have processes at one time and
    /// caches at another.
    var here: [EntityKind: [Int]] = [:]
    /// The time of the first and the last sample, and of the last one with any of each kind.
    var firstTime = 0.0, lastTime = 0.0
    var lastTimes: [EntityKind: Double] = [:]
    /// Classes of memory, then unexplained.
    var kernelTrack = Track(metrics: Metrics.kernel.count + 1)
    /// One track for each of `Metrics.counts`.
    var countTracks = [Track](repeating: Track(metrics: 1), count: Metrics.counts.count)
    /// What was taken from free memory and caches, if nothing else is known about memory.
    var takenTrack = Track(metrics: 1)
    private var availableAtFirst: Double?
    /// Load, processor time, pressure, swapping.
    var load = LoadHistory()
    /// All classes of memory, then free, then unexplained; for the report's graph.
    var memoryTrack = Track(metrics: MemoryClass.allCases.count + 2)
    var jobs = JobLedger()
    var trees = ProcessTrees()
    private var hasAllocinfo = false, hasKmemleak = false
    private var pageBytes = SegmentHead().pageBytes
    var own: (first: Int64, firstTime: Double, last: Int64, lastTime: Double, pid: Int64)?
    var ownMicroseconds = 0.0, ownSeconds = 0.0
    var fileLimit: Int64?

    package init(directory: String) { reader = SampleReader(directory: directory) }

    var steps: NextSteps {
        NextSteps(
            kernel: verdict.kernel, hasAllocinfo: hasAllocinfo, hasKmemleak: hasKmemleak, pageBytes: pageBytes,
            directory: reader.directory)
    }

    /// - Throws: WatchError if there is nothing to read.
    package mutating func run() throws -> Verdict {
        var columns = MemoryColumns([]), groupColumns = MemoryColumns([])
        var intervals: [Int64: Int] = [:], previous: Int64?
        var metrics = [Double](repeating: 0, count: Metrics.process.count)
        var reader = reader
        try reader.forEach { head, decoder in
            let wall = head.wall(decoder.bootMilliseconds)
            pageBytes = head.pageBytes
            if verdict.samples == 0 { verdict.from = wall }
            // If the clock was set back between two runs, later samples still count as later.
            let time = Double(max(wall, previous ?? wall) - verdict.from) / 1000
            if let previous, case .interval = decoder.occasion { intervals[max(wall - previous, 0), default: 0] += 1 }
            previous = max(wall, previous ?? wall)
            verdict.to = max(wall, verdict.to)
            verdict.samples += 1
            (verdict.host, verdict.kernel) = (head.host, head.kernel)
            verdict.intervalSeconds = Double(head.intervalMilliseconds) / 1000
            verdict.thinnings = max(verdict.thinnings, head.thinnings)
            let system = decoder.columns[Int(EntityKind.system.rawValue)],
                groups = decoder.columns[Int(EntityKind.group.rawValue)]
            if system.count != columns.columnCount { columns = MemoryColumns(system) }
            if groups.count != groupColumns.columnCount { groupColumns = MemoryColumns(groups) }
            var present: [Int] = []
            present.reserveCapacity(here.values.reduce(0) { $0 + $1.count })
            lastTime = time
            var levels: [String: Double] = [:]
            var images = 0.0
            for index in decoder.entities.indices
            where decoder.entities[index].isHere && decoder.entities[index].kind == .process {
                images += Double(max(decoder.entities[index][.image], 0)) * 1024
            }
            verdict.imageBytes = images
            let isJob = decoder.occasion != .interval
            for index in decoder.entities.indices where decoder.entities[index].isHere {
                let kind = decoder.entities[index].kind
                if kind == .system {
                    machine(decoder.entities[index], columns, head, time, isJob, &levels)
                    continue
                }
                var tag = decoder.entities[index].tag
                if tag < 0 {
                    tag = self.tag(decoder.entities[index])
                    decoder.entities[index].tag = tag
                }
                present.append(tag)
                switch kind {
                case .system: break
                case .process:
                    Metrics.process(decoder.entities[index], into: &metrics)
                    tracked[tag].track.add(at: time, metrics)
                    tracked[tag].queues[0].add(metrics[3], at: time)
                    tracked[tag].queues[1].add(metrics[4], at: time)
                    tracked[tag].undrainedSockets = decoder.entities[index][.undrainedSockets]
                    tracked[tag].descriptors = decoder.entities[index][.descriptors]
                    tracked[tag].descriptorLimit = decoder.entities[index][.descriptorLimit]
                    tracked[tag].isRecorded = decoder.entities[index][.isRecorded] == 1
                    tracked[tag].imageBytes = Double(max(decoder.entities[index][.image], 0)) * 1024
                    tracked[tag].parent = decoder.entities[index][.parent]
                    tracked[tag].isResidentOnly = decoder.entities[index][.anonymous] == Sample.unknown
                    if let used = decoder.entities[index].processorTicks {
                        tracked[tag].ticks = (tracked[tag].ticks?.first ?? used, used)
                    }
                case .slab:
                    let bytes = Double(max(decoder.entities[index][.pages], 0)) * Double(head.pageBytes)
                    tracked[tag].track.add(at: time, [bytes])
                    let isReclaimable = decoder.entities[index][.isReclaimable]
                    if isReclaimable != Sample.unknown { tracked[tag].isReclaimable = isReclaimable == 1 }
                    tracked[tag].objectBytes = max(decoder.entities[index][.objectBytes], 0)
                    if isJob { levels["slab " + tracked[tag].name] = bytes }
                case .group:
                    let entity = decoder.entities[index]
                    tracked[tag].track.add(
                        at: time,
                        Metrics.group.map { group in
                            Double(group.columns.lazy.compactMap { groupColumns.value($0, entity) }.first ?? 0)
                        })
                }
            }
            for (kind, tags) in Dictionary(grouping: present, by: { tracked[$0].kind }) {
                // A build makes thousands of processes that prove nothing, so only their names are kept.
                for tag in here[kind] ?? []
                where tracked[tag].track.lastTime < time && tracked[tag].track.sampleCount < Growth.fewestMoments {
                    tracked[tag].track.forget()
                }
                here[kind] = tags
                lastTimes[kind] = time
                if kind == .process { trees.add(at: time, tracked, tags) }
            }
            jobs.add(decoder.occasion, levels, at: wall)
        }
        self.reader = reader
        verdict.recordedBytes = reader.byteCount
        verdict.notes = reader.notes
        verdict.damages = reader.damages
        if verdict.intervalSeconds == 0 {
            verdict.intervalSeconds = Double(intervals.max { $0.value < $1.value }?.key ?? 0) / 1000
        }
        finishOwnCost()
        judge()
        return verdict
    }

    /// The track of an entity, made if there is none.
    private mutating func tag(_ entity: DecodedEntity) -> Int {
        if let known = byIdentity[entity.kind]?[entity.id] {
            // After exec it is the same process under another name.
            (tracked[known].name, tracked[known].detail) = (entity.name, entity.detail)
            return known
        }
        let metrics =
            switch entity.kind {
            case .process: Metrics.process.count
            case .group: Metrics.group.count
            case .system, .slab: 1
            }
        var fresh = Tracked(kind: entity.kind, name: entity.name, detail: entity.detail, track: Track(metrics: metrics))
        if entity.kind == .process {
            fresh.pid = entity.id.split(separator: ":").first.flatMap { Int64($0) }
            verdict.processes += 1
        }
        byIdentity[entity.kind, default: [:]][entity.id] = tracked.count
        tracked.append(fresh)
        return tracked.count - 1
    }

    private mutating func machine(
        _ system: DecodedEntity, _ columns: MemoryColumns, _ head: SegmentHead, _ time: Double, _ isJob: Bool,
        _ levels: inout [String: Double]
    ) {
        hasAllocinfo = columns.value("allocinfo.isThere", system) == 1
        hasKmemleak = columns.value("kmemleak.objects", system) != nil
        fileLimit = columns.value("file.most", system)
        if let used = columns.value("self.microseconds", system), let pid = columns.value("self.pid", system) {
            if own?.pid != pid {
                finishOwnCost()
                own = (used, time, used, time, pid)
            }
            own?.last = used
            own?.lastTime = time
            verdict.ownBytes = max(
                verdict.ownBytes ?? 0, columns.value("self.peakKilobytes", system).map { min($0, 1 << 40) * 1024 } ?? 0)
        }
        load.add(at: time, columns, system, head)
        let picture = columns.picture(system, pageBytes: head.pageBytes)
        if let picture {
            verdict.memory = picture
            if verdict.memoryAtFirst == nil { verdict.memoryAtFirst = picture }
            let list =
                Metrics.kernel.map {
                    Double(picture[$0]) - ($0 == .shared ? min(Double(picture[$0]), verdict.imageBytes) : 0)
                } + [Double(picture.unexplained)]
            kernelTrack.add(at: time, list)
            memoryTrack.add(
                at: time, picture.classes.map { Double($0) } + [Double(picture.free), Double(picture.unexplained)])
            if isJob {
                for (index, which) in Metrics.kernel.enumerated() { levels["memory " + which.name] = list[index] }
                levels["unexplained"] = list[Metrics.kernel.count]
            }
        } else if let available = columns.availableWithoutTotal(system) {
            if availableAtFirst == nil { availableAtFirst = available }
            takenTrack.add(at: time, [(availableAtFirst ?? 0) - available])
        }
        for (index, count) in Metrics.counts.enumerated() {
            guard let value = columns.value(count.column, system) else { continue }
            countTracks[index].add(at: time, [Double(value)])
            if isJob { levels["count " + count.column] = Double(value) }
        }
    }

    private mutating func finishOwnCost() {
        guard let own, own.lastTime > own.firstTime else { return }
        ownMicroseconds += Double(max(own.last - own.first, 0))
        ownSeconds += own.lastTime - own.firstTime
        verdict.ownShare = ownMicroseconds / 1e6 / ownSeconds
        self.own = nil
    }
}
