// A recording as a machine would make it, by a simulated clock: processes of which some idle, some work, and one leaks.
// usage: make-recording DIR [--days N] [--processes N] [--interval S]

import ArgumentParser
import TestSupport
import Watch

struct MakeRecording: ParsableCommand {
    @Argument var directory: String
    @Option var days = 7
    @Option var processes = 500
    @Option var interval = 60

    func run() throws {
        var head = SegmentHead()
        (head.host, head.kernel, head.wallMilliseconds, head.bootMilliseconds, head.intervalMilliseconds) = (
            "simulated", "6.1.0", 1_700_000_000_000, 1_000_000, Int64(interval) * 1000
        )
        let writer = try SampleWriter(directory: directory, head: head, keptBytes: 1 << 40)
        var generator = SeededGenerator(seed: 1)
        let memory: [(String, Int64)] = [
            ("MemTotal", 64 << 20), ("MemFree", 40 << 20), ("MemAvailable", 50 << 20), ("Buffers", 100_000),
            ("Cached", 10 << 20), ("AnonPages", 8 << 20), ("Shmem", 50_000),
            ("SReclaimable", 500_000), ("SUnreclaim", 200_000), ("KernelStack", 20_000), ("PageTables", 60_000),
            ("VmallocUsed", 90_000), ("SwapFree", 0),
        ]
        let columns = memory.map { "meminfo.\($0.0)" } + (0 ..< 170).map { "vmstat.counter\($0)" }
        var system = memory.map(\.1) + [Int64](repeating: 1000, count: 170)
        var entities = (0 ..< processes).map { number in
            var values = [Int64](repeating: 0, count: ProcessColumn.allCases.count)
            for (column, value) in [
                (ProcessColumn.state, 83), (.parent, 1), (.resident, 60_000), (.anonymous, 40_000), (.file, 20_000),
                (.virtual, 500_000), (.data, 90_000), (.threads, 8),
                (.descriptors, 40), (.files, 20), (.sockets, 12), (.pipes, 4), (.events, 4), (.descriptorLimit, 1024),
            ] { values[column.rawValue] = Int64(value) }
            return EntitySample(
                kind: .process, id: "\(1000 + number):\(5000 + number)", name: "worker-\(number)",
                detail: "/usr/sbin/worker\0--number\0\(number)\0", values: values)
        }
        var caches = (0 ..< 180).map {
            EntitySample(kind: .slab, id: "cache-\($0)", name: "cache-\($0)", values: [5000, 6000, 192, 400])
        }
        func move(_ value: inout Int64, by most: Int64) {
            value = max(0, value + Int64.random(in: -most ... most, using: &generator))
        }
        for minute in 0 ..< days * 86_400 / interval {
            for index in system.indices {
                if index >= memory.count {
                    system[index] += Int64.random(in: 0 ... 5000, using: &generator)
                } else if index > 0 {
                    move(&system[index], by: 400)
                }
            }
            for index in entities.indices {
                // A third works each minute, a third now and then; the others wait.
                guard index % 3 == 0 || index % 3 == 1 && Int.random(in: 0 ..< 10, using: &generator) == 0 else {
                    continue
                }
                move(&entities[index].values[ProcessColumn.anonymous.rawValue], by: 300)
                entities[index].values[ProcessColumn.resident.rawValue] =
                    entities[index].values[ProcessColumn.anonymous.rawValue] + 20_000
                entities[index].values[ProcessColumn.minorFaults.rawValue] += Int64.random(
                    in: 0 ... 3000, using: &generator)
                entities[index].values[ProcessColumn.userTicks.rawValue] += Int64.random(
                    in: 0 ... 900, using: &generator)
                entities[index].values[ProcessColumn.systemTicks.rawValue] += Int64.random(
                    in: 0 ... 200, using: &generator)
                if Int.random(in: 0 ..< 4, using: &generator) == 0 {
                    entities[index].values[ProcessColumn.sockets.rawValue] =
                        12 + Int64.random(in: 0 ... 6, using: &generator)
                    entities[index].values[ProcessColumn.descriptors.rawValue] =
                        28 + entities[index].values[ProcessColumn.sockets.rawValue]
                }
            }
            entities[7 % processes].values[ProcessColumn.anonymous.rawValue] += 20
            for index in caches.indices where index % 4 == 0 {
                move(&caches[index].values[SlabColumn.activeObjects.rawValue], by: 50)
                move(&caches[index].values[SlabColumn.pages.rawValue], by: 3)
            }
            let machine = EntitySample(kind: .system, id: "", name: "system", values: system)
            try writer.append(
                Sample(
                    bootMilliseconds: 1_000_000 + Int64(minute * interval) * 1000, systemColumns: columns,
                    entities: [machine] + entities + caches))
        }
        writer.finish()
    }
}

MakeRecording.main()
