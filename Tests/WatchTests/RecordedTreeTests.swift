// Gathering and judging on recorded trees, whose numbers the script that makes them knows: a slab cache that grows, six
// gigabytes that no counter tells of, a service that was started again, and names that are attacks.

import Glibc
import Report
import Screen
import TestSupport
import Testing
import Text

@testable import Watch

@Suite struct RecordedTreeTests {
    @Test func theKernelIsToldAsGrowingAndNobodyElse() throws {
        let scratch = try Scratch()
        try Trees.record(into: "\(scratch.path)/w")
        let verdict = try verdict(of: "\(scratch.path)/w")
        #expect(
            Set(verdict.growing.map { "\($0.kind) \($0.name)" }) == ["slab kmalloc-192", "unexplained unexplained"])
        let slab = try #require(verdict.growing.first { $0.kind == .slab })
        // The class that the cache is in is no second finding.
        #expect(slab.followers == ["unreclaimable slab"])
        // 20,000 objects a minute, 21 to a page.
        #expect(abs(slab.trend.slopePerSecond * 60 / (20_000.0 / 21 * 4096) - 1) < 0.001)
        #expect(
            slab.next?.command
                == "cat /sys/kernel/slab/kmalloc-192/alloc_calls > traces.txt; heapsum --input alloc-traces --cache "
                + "kmalloc-192=192 traces.txt"
        )
        let unexplained = try #require(verdict.growing.first { $0.kind == .unexplained })
        #expect(abs(unexplained.last - unexplained.first - Double(6 << 30)) < Double(1 << 20))
        #expect(unexplained.exhaustedAt != nil && unexplained.trend.shape == .steadyGrowth)
        #expect(verdict.moving.contains { $0.name == "dentry" && $0.trend.shape == .sawTooth })
        // What the kernel gives back when memory is short grows all the while, and is no leak.
        #expect(
            verdict.moving.contains {
                $0.name == "ext4_inode_cache" && $0.what == "slab cache, reclaimable" && $0.trend.shape == .steadyGrowth
            })
        // 6 GB in 40 minutes: what is left of 16 GB, 2 GB of swap included, is gone within the next hour and a half.
        let left = Double((unexplained.exhaustedAt ?? 0) - verdict.to) / 1000
        #expect((1800 ..< 5400).contains(left), "\(left)")
    }

    @Test func classesSumToTheTotal() throws {
        let trees = try Trees.path.get()
        for minute in [0, 20, Trees.count - 1] {
            let sample = Trees.sample(trees, minute)
            let system = try #require(sample.entities.first { $0.kind == .system })
            let entity = DecodedEntity(kind: .system, id: "", name: "", detail: "", values: system.values)
            let picture = try #require(MemoryColumns(sample.systemColumns).picture(entity, pageBytes: 4096))
            #expect(picture.total == 16 << 30)
            #expect(picture.free + picture.classes.reduce(0, +) + picture.unexplained == picture.total)
            // The script's own: 200 MB at first, and 6 GB more at the end.
            let expected = (Int64(200 << 10) + Int64(6 << 20) * Int64(minute) / Int64(Trees.count - 1)) << 10
            #expect(picture.unexplained == expected)
        }
    }

    @Test func processesAreThemselves() throws {
        let scratch = try Scratch()
        try Trees.record(into: "\(scratch.path)/w", groups: ["/system.slice/web.service", "old", "gone"])
        let trees = try Trees.path.get()
        let sample = Trees.sample(trees, 25, groups: ["/system.slice/web.service", "old", "gone"])
        let web = try #require(sample.process(100))
        #expect(
            web[.descriptors] == 49 && web[.files] == 41 && web[.sockets] == 4 && web[.pipes] == 1 && web[.polls] == 1
                && web[.events] == 1 && web[.memoryFiles] == 1)
        #expect(
            web[.receiveQueue] == 0x2BF20 && web[.undrainedSockets] >= 1 && web[.descriptorLimit] == 1024
                && web[.heap] == 1024 && web[.threads] == 4)
        #expect(
            sample.value("tcp.ESTABLISHED") == 2 && sample.value("tcp.LISTEN") == 1
                && sample.value("tcp.CLOSE_WAIT") == 1 && sample.value("tcp_mem.most") == 376_000)
        #expect(
            sample.value("zoneinfo.pagesOnLists") == 3000 && sample.value("buddy.0.Normal.1") == 3821
                && sample.value("pressure.memory.some.microseconds") == 250)
        let groups = sample.entities.filter { $0.kind == .group }
        #expect(groups.map(\.name) == ["/system.slice/web.service", "/old"])
        #expect(
            sample.groupColumns.contains("stat.anon") && sample.groupColumns.contains("events.oom_kill")
                && sample.groupColumns.contains("stat.rss"))

        var examination = Examination(directory: "\(scratch.path)/w")
        let verdict = try examination.run()
        let workers = examination.tracked.filter { $0.name == "worker" }
        #expect(workers.map(\.pid) == [300, 317] && workers[1].successorOf == 300)
        // PID 300 came back as another program: that is no successor, and no growth of the first.
        #expect(examination.tracked.contains { $0.pid == 300 && $0.name == "backup" && $0.successorOf == nil })
        #expect(verdict.undrained.map(\.pid) == [100] && verdict.undrained.first?.bytes == 0x2BF20)
    }

    @Test func aServiceIsFollowedToItsSuccessor() throws {
        let scratch = try Scratch(), trees = try Trees.path.get()
        let writer = try SampleWriter(directory: "\(scratch.path)/w", head: Trees.head, keptBytes: 1 << 30)
        // One gatherer sees all trees, through a link that is moved on.
        var options = GatherOptions()
        options.root = "\(scratch.path)/now"
        options.selection = Selection(pids: [300])
        let gatherer = Gatherer(options)
        var pids: [String] = []
        for minute in 0 ..< Trees.count {
            #expect(
                system("ln -sfn '\(trees)/\(String(String(1000 + minute).dropFirst()))' '\(scratch.path)/now'") == 0)
            let sample = gatherer.sample(at: 7_000_000 + Int64(minute) * 60_000)
            try writer.append(sample)
            pids += sample.entities.filter { $0.kind == .process }.map { "\($0.id)" }
        }
        #expect(
            pids == [String](repeating: "300:700", count: 15)
                + [String](repeating: "317:90700", count: Trees.count - 15))
    }

    @Test func hostileNamesReachNoTerminal() throws {
        let scratch = try Scratch()
        try Trees.record(into: "\(scratch.path)/w")
        let sample = Trees.sample(try Trees.path.get(), 0)
        #expect(sample.process(150)?.name == "evil) S 1\n\u{1B}[31m")
        var table = LiveTable(pageBytes: 4096)
        table.add(sample)
        #expect(!table.lines(ScreenSize(width: 1000, height: 100)).map(\.text).joined().contains("\u{1B}"))
        let out = TextOutput()
        let verdict = try verdict(of: "\(scratch.path)/w")
        try VerdictText(style: Style()).write(verdict, to: out)
        try VerdictJSON().write(verdict, to: out)
        #expect(!out.text.contains("\u{1B}"))
    }
}
