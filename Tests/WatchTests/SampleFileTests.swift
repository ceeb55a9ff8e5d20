// The files: what is written is read again, whatever happened to their end or their middle, and whoever wrote before.

import Glibc
import Report
import TestSupport
import Testing
import Text

@testable import Watch

@Suite struct SampleFileTests {
    /// Samples that move as a machine's do, and in which processes come and go.
    static func wandering(_ count: Int, seed: UInt64) -> [Sample] {
        var generator = SeededGenerator(seed: seed), entities: [EntitySample] = [], samples: [Sample] = [], next = 100
        for number in 0 ..< count {
            if entities.count < 8 || entities.count < 16 && Int.random(in: 0 ..< 3, using: &generator) == 0 {
                next += 1
                entities.append(
                    EntitySample(
                        kind: next % 5 == 0 ? .slab : .process, id: "\(next):\(number)", name: "p\(next)",
                        detail: "p\(next)\0-x\0",
                        values: (0 ..< 30).map { _ in Int64.random(in: -1 ... 1 << 40, using: &generator) }))
            }
            if entities.count > 5 && Int.random(in: 0 ..< 4, using: &generator) == 0 {
                entities.remove(at: Int.random(in: 0 ..< entities.count, using: &generator))
            }
            for index in entities.indices where Bool.random(using: &generator) {
                entities[index].values[Int.random(in: 0 ..< 30, using: &generator)] = Int64.random(
                    in: -1 ... Int64.max, using: &generator)
            }
            if number % 17 == 3, !entities.isEmpty { entities[0].name += "'" }
            let columns = (0 ..< 10 + number / 20).map { "c\($0)" }
            let occasion: Occasion =
                number % 9 == 4
                ? .beforeJob("job \(number)") : number % 9 == 5 ? .afterJob("job \(number - 1)", -3) : .interval
            samples.append(
                Sample(
                    bootMilliseconds: Int64(number) * 1000 + 5, occasion: occasion, systemColumns: columns,
                    groupColumns: [],
                    entities: entities + [
                        EntitySample(
                            kind: .system, id: "", name: "system",
                            values: columns.map { _ in Int64.random(in: 0 ... 99, using: &generator) })
                    ]))
        }
        return samples
    }

    private func record(_ samples: [Sample], to directory: String, keptBytes: UInt64 = 1 << 30) throws {
        let writer = try SampleWriter(directory: directory, head: SegmentHead(), keptBytes: keptBytes)
        for sample in samples { try writer.append(sample) }
        writer.finish()
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func whatIsWrittenIsRead(seed: UInt64) throws {
        let scratch = try Scratch(), made = Self.wandering(300, seed: seed)
        try record(Array(made[..<170]), to: "\(scratch.path)/w")
        // A second run goes on where the first stopped.
        try record(Array(made[170...]), to: "\(scratch.path)/w")
        let read = try samples(in: "\(scratch.path)/w")
        #expect(read.samples.map(\.lines) == made.map(\.lines) && read.damages.isEmpty)
    }

    @Test func anEndTornAnywhereLosesOneSample() throws {
        let scratch = try Scratch(), made = Self.wandering(12, seed: 5)
        try record(made, to: "\(scratch.path)/w")
        let path = "\(scratch.path)/w/samples-000001.watch"
        let bytes = try Watch.contents(path)
        // Where the last frame begins: the reader of everything but it ends there.
        let begin = try #require(bytes.indices.last { Frame.at($0, in: bytes)?.payload.upperBound == bytes.count })
        for end in begin ..< bytes.count {
            #expect(truncate(path, off_t(end)) == 0)
            let read = try samples(in: "\(scratch.path)/w")
            #expect(read.samples.map(\.lines) == made.dropLast().map(\.lines))
            #expect(
                read.damages
                    == (end == begin ? [] : [Damage(path: path, offset: begin, byteCount: end - begin, isTail: true)]))
            let file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
            let rest = Array(bytes[end...])
            #expect(Glibc.write(file, rest, rest.count) == rest.count)
            close(file)
        }
        // The next run's samples stand behind the torn one.
        #expect(truncate(path, off_t(bytes.count - 3)) == 0)
        try record(made, to: "\(scratch.path)/w")
        let read = try samples(in: "\(scratch.path)/w")
        #expect(read.samples.count == 23 && read.damages.count == 1)
    }

    @Test func damageLosesNoMoreThanUpToTheNextKey() throws {
        let scratch = try Scratch(), made = Self.wandering(300, seed: 6)
        try record(made, to: "\(scratch.path)/w")
        let path = "\(scratch.path)/w/samples-000001.watch"
        let bytes = try Watch.contents(path)
        var generator = SeededGenerator(seed: 1)
        let good = Set(made.map { $0.lines.joined() })
        for _ in 0 ..< 12 {
            var bad = bytes
            for _ in 0 ..< 3 {
                bad[Int.random(in: 200 ..< bad.count, using: &generator)] ^= UInt8.random(
                    in: 1 ... 255, using: &generator)
            }
            try write(bad, to: path)
            let read = try samples(in: "\(scratch.path)/w")
            // Three hits: three times 120 samples at the most, of which there are 300; and none is read wrongly.
            #expect(read.samples.allSatisfy { good.contains($0.lines.joined()) } && !read.damages.isEmpty)
            #expect(rewritten(bad) != nil)
        }
    }

    /// Any bytes behind a right sum: the decoder's own checks.
    @Test func hostilePayloadsAreRefused() throws {
        var generator = SeededGenerator(seed: 2), encoder = SampleEncoder()
        let payload = encoder.encode(try #require(Self.wandering(30, seed: 7).last), isKey: true)
        for _ in 0 ..< 5000 {
            var bad = payload
            for _ in 0 ..< Int.random(in: 1 ... 4, using: &generator) {
                bad[Int.random(in: 0 ..< bad.count, using: &generator)] = UInt8.random(in: 0 ... 255, using: &generator)
            }
            if Bool.random(using: &generator) { bad.removeLast(Int.random(in: 1 ..< bad.count, using: &generator)) }
            var decoder = SampleDecoder()
            do {
                try decoder.apply(bad[...], isKey: true)
                try decoder.apply(bad[...], isKey: false)
                _ = encoder.encode(decoder.sample(), isKey: true)
            } catch {}
        }
    }

    /// Numbers that no kernel has, under the names that verdicts, pages and exports look for.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func hostileNumbersEndNothing(seed: UInt64) throws {
        let scratch = try Scratch()
        var generator = SeededGenerator(seed: seed)
        func number() -> Int64 {
            switch Int.random(in: 0 ..< 4, using: &generator) {
            case 0: Int64.random(in: Int64.max - 9 ... Int64.max, using: &generator)
            case 1: Int64.random(in: -1 ... 9, using: &generator)
            default: Int64.random(in: -1 ... Int64.max, using: &generator)
            }
        }
        let names = [
            "meminfo.MemTotal", "meminfo.MemFree", "meminfo.Cached", "meminfo.SUnreclaim", "load.1", "load.5",
            "load.15", "uptime.seconds", "cpu.user", "cpu.idle", "cpuPercent.iowait",
            "pressure.memory.some.microseconds",
            "pressure.memory.full.microseconds", "vmstat.pswpin", "rate.swapOut", "processors.count", "tasks.total",
            "file.open", "file.most", "self.microseconds", "self.pid", "sockstat.TCP.mem", "kmemleak.objects",
        ]
        let groups = ["tmpfs.bytes", "file.bytes", "sysvipc.bytes", "stat.anon"]
        try record(
            (0 ..< 60).map { minute in
                Sample(
                    bootMilliseconds: Int64(minute) * 60_000, systemColumns: names, groupColumns: groups,
                    entities: [EntitySample(kind: .system, id: "", name: "system", values: names.map { _ in number() })]
                        + (1 ... 4).map {
                            EntitySample(
                                kind: .process, id: "\($0):1", name: "p\($0)", detail: "p\0",
                                values: ProcessColumn.allCases.map { _ in number() })
                        }
                        + (1 ... 2).map {
                            EntitySample(
                                kind: .slab, id: "s\($0)", name: "s\($0)",
                                values: SlabColumn.allCases.map { _ in number() })
                        }
                        + (1 ... 2).map {
                            EntitySample(
                                kind: .group, id: "g\($0)", name: "file /g\($0)", detail: "user 1\0",
                                values: groups.map { _ in number() })
                        })
            }, to: "\(scratch.path)/w")
        var examination = Examination(directory: "\(scratch.path)/w")
        let verdict = try examination.run()
        let out = TextOutput()
        try VerdictText(style: Style()).write(verdict, to: out)
        try VerdictJSON().write(verdict, to: out)
        try examination.writePage { try out.write($0) }
        for format in ExportFormat.allCases {
            var export = Export(format: format)
            try export.write("\(scratch.path)/w", to: out)
        }
        #expect(verdict.samples == 60 && out.bytes.count > 10_000)
    }

    @Test func thinningKeepsWithinBoundsAndSpansAll() throws {
        let scratch = try Scratch()
        // Some hundred bytes a sample, in segments of 1,440.
        let made = Self.wandering(3500, seed: 8)
        try record(made, to: "\(scratch.path)/all")
        try record(made, to: "\(scratch.path)/w", keptBytes: 200_000)
        let whole = try samples(in: "\(scratch.path)/all"), thin = try samples(in: "\(scratch.path)/w")
        #expect(whole.samples.count == 3500 && thin.samples.count < 3000 && thin.damages.isEmpty)
        let byTime = Dictionary(uniqueKeysWithValues: made.map { ($0.bootMilliseconds, $0) })
        // One in eleven of them, for the time it takes to compare them.
        #expect(
            thin.samples.enumerated().allSatisfy {
                $0.offset % 11 != 0 || byTime[$0.element.bootMilliseconds]?.lines == $0.element.lines
            })
        #expect(
            thin.samples.first?.bootMilliseconds == made.first?.bootMilliseconds
                && thin.samples.last?.bootMilliseconds == made.last?.bootMilliseconds)
        // What was taken around jobs stays.
        #expect(thin.samples.count { $0.occasion != .interval } == made.count { $0.occasion != .interval })
    }

    @Test func twoRunsAtOnceAreRefused() throws {
        let scratch = try Scratch()
        let first = try SampleWriter(directory: "\(scratch.path)/w", head: SegmentHead(), keptBytes: 1 << 20)
        #expect(throws: WatchError.self) {
            _ = try SampleWriter(directory: "\(scratch.path)/w", head: SegmentHead(), keptBytes: 1 << 20)
        }
        first.finish()
    }
}
