// Turns tracks into findings: which series grow, which queues are not drained, and what moves without growing. The test
// alone accuses nothing: see Growth. A series that isn't accused keeps its shape, so that the reader sees how it was
// judged.

import Trend

extension Examination {
    /// One series of one track.
    private struct Candidate {
        var kind: GrowthKind
        var tag: Int?
        var name: String
        var what: String
        var unit: Unit
        var floor: Double
        var track: Track
        var metric: Int
        var memory: MemoryClass?

        /// The kernel reclaims it when memory is short. It may grow for months and leaks nothing.
        var isReclaimable = false
        var values: [Double] { track.values[metric] }
        var range: Double { track.highest[metric] - track.lowest[metric] }
    }

    mutating func judge() {
        for index in tracked.indices { tracked[index].track.finish() }
        kernelTrack.finish()
        memoryTrack.finish()
        takenTrack.finish()
        for index in countTracks.indices { countTracks[index].finish() }
        load.finish()
        verdict.load = load.picture(tracked)
        trees.finish()
        nameSuccessors()
        let candidates = candidates()
        verdict.tests = candidates.count
        var rest: [Candidate] = [], accusedMemory: Set<Int> = []
        for candidate in candidates {
            // Growth of address space adds little if the memory in it grows as well.
            if let tag = candidate.tag, candidate.kind == .process, candidate.metric == Metrics.addressSpace,
                accusedMemory.contains(tag)
            {
                continue
            }
            if !candidate.isReclaimable,
                let found = Growth.judge(
                    candidate.track.times, candidate.values, floor: candidate.floor, tests: verdict.tests),
                isTold(candidate)
            {
                if let tag = candidate.tag { accusedMemory.insert(tag) }
                var told = finding(candidate, found.trend, isGrowing: true)
                if found.start > 0 {
                    told.since = verdict.from + Int64(candidate.track.times[found.start] * 1000)
                    told.whole = (told.first, found.whole)
                    told.first = candidate.values[found.start]
                }
                verdict.growing.append(told)
            } else {
                rest.append(candidate)
            }
        }
        for tree in trees.growing(tests: verdict.tests, accused: accusedMemory, tracked) {
            verdict.growing.append(finding(tree))
        }
        nameCausesOnce()
        verdict.growing.sort { Self.weight($0) > Self.weight($1) }
        // Those that move the most: first of the watched processes, then separately of the machine, which other
        // processes move.
        let moving = rest.filter {
            $0.range >= 2 * $0.floor
                && ($0.tag == nil || tracked[$0.tag ?? 0].kind != .process || $0.metric != Metrics.addressSpace)
        }
        .sorted { $0.range / $0.floor > $1.range / $1.floor }
        let ofProcesses = moving.filter { $0.tag.map { tracked[$0].kind == .process } ?? false }.prefix(20)
        let ofMachine = moving.filter { !($0.tag.map { tracked[$0].kind == .process } ?? false) }.prefix(20)
        verdict.moving = (ofProcesses + ofMachine).map {
            finding($0, Trend(times: $0.track.times, values: $0.values), isGrowing: false)
        }
        judgeQueues()
        verdict.jobRuns = jobs.runs.count
        verdict.leftBehind = jobs.leftBehind(steps)
    }

    /// Makes bytes and counts comparable: how many times its floor each has gained.
    private static func weight(_ finding: Finding) -> Double {
        (finding.last - finding.first) / (finding.unit == .bytes ? Metrics.megabyte : 8)
    }

    // An ended process can't grow any more. It is reported only if it lived long enough to matter.
    private func isTold(_ candidate: Candidate) -> Bool {
        let span = lastTime - firstTime
        return !hasEnded(candidate.track, candidate.tag)
            || candidate.track.lastTime - candidate.track.firstTime >= span / 4
    }

    /// Whether it is missing in the last sample with any of its kind.
    private func hasEnded(_ track: Track, _ tag: Int?) -> Bool {
        guard let tag else { return false }
        return track.lastTime < lastTimes[tracked[tag].kind] ?? lastTime
    }

    private func candidates() -> [Candidate] {
        var list: [Candidate] = []
        func add(
            _ kind: GrowthKind, _ tag: Int?, _ name: String, _ metric: Metrics.Metric, _ track: Track, _ index: Int,
            _ memory: MemoryClass? = nil
        ) {
            // A series that never moves can't be accused and doesn't count as a test.
            guard track.times.count >= Growth.fewestMoments, track.lowest[index] < track.highest[index] else { return }
            let floor = max(metric.floor, metric.share * track.first[index].magnitude)
            list.append(
                Candidate(
                    kind: kind, tag: tag, name: name, what: metric.what, unit: metric.unit, floor: floor, track: track,
                    metric: index, memory: memory))
        }
        for (tag, entity) in tracked.enumerated() {
            switch entity.kind {
            case .system: break
            case .process:
                for (index, var metric) in Metrics.process.enumerated() {
                    if index == 0, entity.isResidentOnly { metric.what = "resident memory" }
                    let isDescriptor = (Metrics.firstDescriptor ..< Metrics.addressSpace).contains(index)
                    add(isDescriptor ? .descriptors : .process, tag, entity.name, metric, entity.track, index)
                }
            case .slab:
                // By the kernel's information. Older recordings, and kernels without SLUB, only have the name.
                let isReclaimable = entity.isReclaimable ?? SlabCaches.isReclaimable(entity.name)
                let what =
                    entity.detail == ImportedSlab.bsdMark
                    ? "the kernel's memory of this type" : isReclaimable ? "slab cache, reclaimable" : "slab cache"
                add(
                    .slab, tag, entity.name, Metrics.Metric(what: what, unit: .bytes, floor: Metrics.megabyte),
                    entity.track, 0)
                if isReclaimable, list.last?.tag == tag { list[list.count - 1].isReclaimable = true }
            case .group:
                for (index, group) in Metrics.group.enumerated() {
                    add(
                        .kernel, tag, entity.name.hasPrefix("/") ? "control group \(entity.name)" : entity.name,
                        Metrics.Metric(what: group.what, unit: .bytes, floor: Metrics.megabyte), entity.track, index)
                }
            }
        }
        let total = Double(verdict.memory?.total ?? 0)
        for (index, which) in Metrics.kernel.enumerated() {
            add(
                .kernel, nil, which.plainName,
                Metrics.Metric(what: which.title, unit: .bytes, floor: max(8 * Metrics.megabyte, total / 2000)),
                kernelTrack, index, which)
            // It isn't known whether the kernel could reclaim it.
            if which == .slab, list.last?.memory == .slab { list[list.count - 1].isReclaimable = true }
        }
        let isPartial = verdict.memory?.isPartial ?? false
        add(
            .unexplained, nil, "unexplained",
            Metrics.Metric(
                what: isPartial ? MemoryPicture.partialTitle : "pages that no counter explains", unit: .bytes,
                floor: max(16 * Metrics.megabyte, total / 1000)), kernelTrack, Metrics.kernel.count)
        add(
            .unexplained, nil, Metrics.inUse,
            Metrics.Metric(what: "memory taken from what is free or cache", unit: .bytes, floor: 16 * Metrics.megabyte),
            takenTrack, 0)
        for (index, count) in Metrics.counts.enumerated() {
            let metric = Metrics.Metric(what: count.name, unit: .count, floor: count.floor, share: 0.05)
            add(count.column == "file.open" ? .descriptors : .kernel, nil, count.column, metric, countTracks[index], 0)
        }
        return list
    }

    private func finding(_ candidate: Candidate, _ trend: Trend, isGrowing: Bool) -> Finding {
        let track = candidate.track
        var finding = Finding(
            kind: candidate.kind, name: candidate.name, what: candidate.what, unit: candidate.unit,
            first: track.first[candidate.metric],
            last: track.last[candidate.metric], trend: trend, from: verdict.from + Int64(track.firstTime * 1000),
            to: verdict.from + Int64(track.lastTime * 1000))
        finding.hasEnded = hasEnded(track, candidate.tag)
        let entity = candidate.tag.map { tracked[$0] }
        finding.pid = entity?.pid
        finding.detail = entity?.kind == .process ? entity?.detail ?? "" : ""
        finding.successorOf = entity?.successorOf
        finding.isNamed = entity?.kind == .group
        if entity?.kind == .group { finding.holders = entity?.detail.split(separator: "\0").map(String.init) ?? [] }
        guard isGrowing else { return finding }
        finding.next = nextStep(candidate, entity, hasEnded: finding.hasEnded)
        if !finding.hasEnded {
            switch (candidate.kind, candidate.unit) {
            case (.descriptors, _): finding.exhaustedAt = exhausted(left: left(entity), trend)
            case (_, .bytes)
            where !candidate.what.hasSuffix("queue") && candidate.metric != Metrics.addressSpace
                || candidate.kind != .process:
                finding.exhaustedAt = exhausted(left: verdict.memory.map { Double($0.available + $0.swapFree) }, trend)
            default: break
            }
        }
        return finding
    }

    private func left(_ entity: Tracked?) -> Double? {
        if let entity {
            return entity.descriptorLimit > 0 && entity.descriptorLimit < .max
                ? Double(entity.descriptorLimit) - Double(entity.descriptors) : nil
        }
        guard let fileLimit, fileLimit < .max, let open = Metrics.counts.firstIndex(where: { $0.column == "file.open" })
        else { return nil }
        return Double(fileLimit) - countTracks[open].last[0]
    }

    /// nil if it is more than ten years away.
    private func exhausted(left: Double?, _ trend: Trend) -> Int64? {
        guard let left, trend.slopePerSecond > 0 else { return nil }
        let seconds = max(0, left) / trend.slopePerSecond
        return seconds < 10 * 365 * 86_400 ? verdict.to + Int64(seconds * 1000) : nil
    }

    private func nextStep(_ candidate: Candidate, _ entity: Tracked?, hasEnded: Bool) -> NextStep? {
        if let entity, let pid = entity.pid {
            switch candidate.what {
            case "shared memory": return steps.shared(pid: pid)
            case "memory in memfds":
                return NextStep(
                    command: "ls -lL /proc/\(pid)/fd | sort -n -k 5 | tail; ls -l /proc/\(pid)/fd | grep memfd:",
                    remark: "strace -k -f -e trace=memfd_create,ftruncate,close -p \(pid) shows who makes them.")
            case "receive queue", "send queue":
                return steps.queue(pid: pid, isReceiving: candidate.what == "receive queue")
            case "threads": return steps.descriptors(pid: pid, what: "threads")
            case _ where candidate.kind == .descriptors: return steps.descriptors(pid: pid, what: candidate.what)
            default:
                return steps.process(
                    pid: pid, detail: entity.detail, name: entity.name, hasEnded: hasEnded,
                    isRecorded: entity.isRecorded)
            }
        }
        if let entity, entity.kind == .group {
            return steps.group(entity.name, holders: entity.detail.split(separator: "\0").map(String.init))
        }
        switch candidate.kind {
        case .slab where entity?.detail == ImportedSlab.bsdMark:
            return NextStep(
                command: "vmstat -m | sort -n -k 3; vmstat -z",
                remark:
                    "The name is of a type of malloc(9), or of a zone: in the kernel's source MALLOC_DEFINE or "
                    + "uma_zcreate has it, and those that use it."
            )
        case .slab: return steps.slab(candidate.name, objectBytes: entity?.objectBytes ?? 0)
        case .unexplained:
            return candidate.name == Metrics.inUse || verdict.memory?.isPartial ?? false
                ? steps.notToldApart : steps.unexplained
        case .descriptors:
            return NextStep(
                command: "lsof -n | awk '{ print $1, $2 }' | sort | uniq -c | sort -n | tail",
                remark: "Who has the most.")
        default:
            if candidate.name == "kmemleak.objects" { return steps.kmemleak }
            if candidate.name == "processes.zombies" {
                return NextStep(
                    command: "ps -eo stat,ppid,comm | grep ^Z", remark: "Their parents don't wait for them.")
            }
            if candidate.name.hasPrefix("tcp") || candidate.name.hasPrefix("sockstat") {
                return NextStep(
                    command: "ss -tanp state close-wait", remark: "The program has to close these: the other side has.")
            }
            return candidate.memory.map { steps.memory($0) }
                ?? NextStep(command: "heapwatch verdict", remark: "The processes in it stand above.")
        }
    }

    private func finding(_ tree: ProcessTrees.Growing) -> Finding {
        var finding = Finding(
            kind: .process, name: tracked[tree.root].name, what: "process tree, \(tree.count) processes", unit: .bytes,
            first: tree.track.first[0], last: tree.track.last[0],
            trend: tree.trend, from: verdict.from + Int64(tree.track.firstTime * 1000),
            to: verdict.from + Int64(tree.track.lastTime * 1000))
        finding.pid = tracked[tree.root].pid
        finding.detail = tracked[tree.root].detail
        finding.exhaustedAt = exhausted(left: verdict.memory.map { Double($0.available + $0.swapFree) }, tree.trend)
        finding.next = NextStep(
            command: "ps -o pid,rss,etime,args --ppid \(tracked[tree.root].pid ?? 0)",
            remark: "Its processes grow in number: none of them by itself.")
        return finding
    }

    private mutating func nameSuccessors() {
        var last: [String: Int] = [:]
        for index in tracked.indices where tracked[index].kind == .process {
            let name = tracked[index].name + "\0" + tracked[index].detail
            if let before = last[name], tracked[before].track.lastTime < tracked[index].track.firstTime {
                tracked[index].successorOf = tracked[before].pid
            }
            last[name] = index
        }
    }

    // At least 16 KB in the queue, for at least half of the time, and never shrinking.
    private mutating func judgeQueues() {
        for entity in tracked where entity.kind == .process && entity.track.lastTime == lastTimes[.process] {
            guard let pid = entity.pid else { continue }
            for (index, queue) in entity.queues.enumerated() where queue.bytes >= 16_384 && queue.samples >= 5 {
                let seconds = entity.track.lastTime - queue.since
                guard seconds >= (entity.track.lastTime - entity.track.firstTime) / 2 else { continue }
                verdict.undrained.append(
                    Undrained(
                        pid: pid, name: entity.name, isReceiving: index == 0, bytes: Int64(queue.bytes),
                        sockets: entity.undrainedSockets, seconds: seconds,
                        next: steps.queue(pid: pid, isReceiving: index == 0)))
            }
        }
        verdict.undrained.sort { $0.bytes > $1.bytes }
    }
}
