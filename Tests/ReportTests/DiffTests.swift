// heapsum diff: moments made by hand, whose growth is known, and a recorded program that grows where its source says.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@testable import Report

@Suite struct DiffTests {
    private static let heapsum = Built.products + "/heapsum"

    /// A dump of three stacks, 60 s and `start` after the recording began, loaded anywhere: what each holds is given.
    private func write(
        _ path: String, pid: UInt32 = 7, start: UInt64 = 0, bias: UInt64 = 0, leak: Int = 0, cache: Int = 0,
        late: Int = 0,
        change: (inout ImageBuilder, [UInt32]) -> Void = { _, _ in }
    ) throws {
        var builder = ImageBuilder(kind: HEAP_KIND_DUMP, pid: pid)
        builder.header.started_realtime_ns = 1_700_000_000_000_000_000
        builder.header.ended_ns = (60 + start) * 1_000_000_000
        let app = builder.addModule("/opt/app", buildID: [7], bias: bias)
        let stacks = [0x100, 0x200, 0x300].map {
            builder.addStack([heap_frame_make(app, $0), heap_frame_make(app, 0x10)])
        }
        for (index, count) in [leak, cache, late].enumerated() {
            for number in 0 ..< count {
                builder.addBlock(
                    address: UInt64(index + 1) << 32 | UInt64(number) << 8, bytes: 100, stack: stacks[index], tick: 1000
                )
            }
        }
        change(&builder, stacks)
        try builder.write(to: path)
    }

    private func diff(_ words: [String], in scratch: Scratch) throws -> Outcome {
        try scratch.run([Self.heapsum, "diff"] + words, directory: scratch.path)
    }

    /// Runs Python over the JSON of a diff.
    private func check(_ words: [String], in scratch: Scratch, _ script: String) throws {
        let outcome = try diff(["--format", "json", "-o", "out.json"] + words, in: scratch)
        #expect(outcome.exitStatus == 0, "\(outcome.messages)")
        try scratch.write(
            "check.py",
            "import json\nd = json.load(open('out.json'))\nrows = {(r['frames'] or [{}])[0].get('offset'): r for r in "
                + "d['rows']}\n"
                + script)
        let answer = try scratch.run(["/usr/bin/python3", "check.py"], directory: scratch.path)
        #expect(answer.exitStatus == 0, "\(answer.messages)")
    }

    @Test func stacksOfTwoProcessesAreOneRowByTheirFrames() throws {
        let scratch = try Scratch()
        try write("\(scratch.path)/old.heap", pid: 7, bias: 0x4000_0000, leak: 10, cache: 50)
        try write("\(scratch.path)/new.heap", pid: 8, start: 3600, bias: 0x7000_0000, leak: 30, cache: 20, late: 5)
        try check(
            ["old.heap", "new.heap"], in: scratch,
            """
            assert [r["growthBytes"] for r in d["rows"]] == [2000, 500, -3000], d["rows"]
            leak, cache, late = rows[0x100], rows[0x200], rows[0x300]
            assert (leak["bytesBefore"], leak["bytes"], leak["blocksBefore"], leak["blocks"], leak["growthBlocks"]) \
            == (1000, 3000, 10, 30, 20)
            assert (late["bytesBefore"], late["growthBlocks"]) == (0, 5) and late["bytesByMoment"] == [0, 500]
            # An hour lies between them; two moments have no verdict.
            assert leak["bytesAnHour"] == 2000 and leak["pValue"] is None and leak["shape"] == "too few"
            assert d["totals"]["growthBytes"] == -500 and d["totals"]["liveBytes"] == 5500 and \
            d["totals"]["bytesBefore"] == 6000
            assert [m["liveBytes"] for m in d["moments"]] == [6000, 5500] and len(d["inputs"]) == 2
            """)
        let table = try diff(["old.heap", "new.heap"], in: scratch).output
        #expect(
            table.hasPrefix(
                "old.heap → new.heap · 2 moments over 60 min\nbytes   6,000 → 5,500  -500  (-500 an hour)\nblocks  60 "
                    + "→ 55  -5\n"
            ), "\(table)")
        let csv = try diff(["--format", "csv", "old.heap", "new.heap"], in: scratch).output
        #expect(
            csv.contains("\r\n2000,20,1000,10,3000,30,2000.0,,\"too few\",\"1000 3000\",\"app+0x100 < app+0x10\"\r\n"),
            "\(csv)")
        let folded = try diff(["--format", "folded", "old.heap", "new.heap"], in: scratch).output
        #expect(folded == "app+0x10;app+0x100 1000 3000\napp+0x10;app+0x300 0 500\napp+0x10;app+0x200 5000 2000\n")
    }

    @Test func fiveMomentsHaveAVerdict() throws {
        let scratch = try Scratch()
        for day in 0 ..< 6 as Range<Int> {
            try write(
                "\(scratch.path)/\(day).heap", start: UInt64(day) * 86_400, leak: 10 + 5 * day,
                cache: day % 2 == 0 ? 80 : 20, late: 9)
        }
        let names = (0 ..< 6).map { "\($0).heap" }
        try check(
            names, in: scratch,
            """
            assert rows[0x100]["shape"] == "steady growth" and abs(rows[0x100]["pValue"] - 2 / 720) < 1e-9
            assert abs(rows[0x100]["bytesAnHour"] - 500 / 24) < 1e-6 and rows[0x200]["shape"] == "saw-tooth"
            assert 0x300 not in rows
            """)
        let table = try diff(names, in: scratch).output
        #expect(
            table.contains("1 stack grows steadily.") && table.contains("▁▂▄▅▇█")
                && table.contains("Unchanged: 1 stack with 900 bytes."), "\(table)")
        // What is named as one directory is one process's dumps, by time.
        #expect(try diff(["."], in: scratch).output.contains("6 moments over 5 d"))
    }

    @Test func oneImageHasItsSnapshots() throws {
        let scratch = try Scratch()
        try write("\(scratch.path)/one.heap", leak: 40, cache: 12) { builder, stacks in
            builder.header.snapshots = 2
            withUnsafeMutableBytes(of: &builder.stacks[Int(stacks[0])].levels) { levels in
                levels.storeBytes(of: heap_level(bytes: 1000, blocks: 10), as: heap_level.self)
                levels.storeBytes(of: heap_level(bytes: 2000, blocks: 20), toByteOffset: 16, as: heap_level.self)
            }
            // The other changed last before the first snapshot, and was not copied since.
            builder.stacks[Int(stacks[0])].snapshots = 2
        }
        try check(
            ["one.heap"], in: scratch,
            """
            assert rows[0x100]["bytesByMoment"] == [1000, 2000, 4000] and 0x200 not in rows
            assert [m["liveBytes"] for m in d["moments"]] == [2200, 3200, 5200]
            times = [m["unixSeconds"] for m in d["moments"]]
            assert [t - times[0] for t in times] == [0, 8, 52]
            """)
        try write("\(scratch.path)/young.heap", leak: 1)
        let young = try diff(["young.heap"], in: scratch)
        #expect(young.exitStatus == 2 && young.messages.contains("younger than its first snapshot (8 s)"))
    }

    @Test func theSetsOfALogAreMoments() throws {
        let scratch = try Scratch()
        func set(_ blocks: Int) -> String {
            "Current allocation report:\n\n"
                + (0 ..< blocks).map {
                    "Allocation #\($0): 0x\(String(0x1000 + $0 * 64, radix: 16))\nAllocation size: 0x20\nAllocation "
                        + "from heap: 0\nAllocation traceback:\n0xD01CA874 malloc\n0x10000B84 main\n\n"
                }.joined()
        }
        try scratch.write("malloc.log", set(3) + set(8) + set(5))
        let all = try diff(["malloc.log"], in: scratch)
        #expect(
            all.exitStatus == 0
                && all.output.hasPrefix("malloc.log@1 → malloc.log@3 · 3 moments\nbytes   96 → 160  +64\n"), "\(all)")
        #expect(all.output.contains("No rates: not all moments have a time."))
        let two = try diff(["--format", "folded", "malloc.log@2", "malloc.log@3"], in: scratch)
        #expect(two.output == "main;malloc 256 160\n", "\(two)")
    }

    @Test func imagesOfDifferentProgramsAreComparedWithAWarning() throws {
        let scratch = try Scratch()
        let programs = ["monday": "/opt/one/server", "tuesday": "/opt/two/server", "worker": "/usr/bin/worker"]
        for (pid, (name, program)) in programs.enumerated() {
            try write(scratch.file("\(name).heap"), pid: UInt32(pid + 7), leak: 10) { builder, _ in
                builder.program = program
            }
        }
        // The same program in another place: a new build.
        #expect(try diff(["monday.heap", "tuesday.heap"], in: scratch).messages == "")
        for format in ["table", "json", "csv", "folded"] {
            let words = ["--format", format, "monday.heap", "tuesday.heap", "worker.heap", "worker.heap"]
            let outcome = try diff(words, in: scratch)
            #expect(outcome.exitStatus == 0)
            let warnings = outcome.messages.split(separator: "\n").filter { $0.contains("different programs") }
            #expect(warnings.count == 1, "\(format): \(outcome.messages)")
            #expect(
                warnings.first?.hasPrefix(
                    "heapsum: monday.heap is of server, worker.heap of worker: different programs.") == true)
        }
        // Directories are moments too: one program in common is enough.
        for (directory, files) in [("old", ["monday", "worker"]), ("new", ["worker"]), ("other", ["tuesday"])] {
            let copies = files.map { "\($0).heap" }.joined(separator: " ")
            try scratch.prepare("cd '\(scratch.path)' && mkdir \(directory) && cp \(copies) \(directory)")
        }
        #expect(!(try diff(["old", "new"], in: scratch).messages.contains("different programs")))
        #expect(try diff(["new", "other"], in: scratch).messages.contains("new is of worker, other of server:"))
    }

    @Test func whatCannotBeComparedIsSaid() throws {
        let scratch = try Scratch()
        try write("\(scratch.path)/a.heap", pid: 7, leak: 1)
        try write("\(scratch.path)/b.heap", pid: 8, leak: 1)
        func fails(_ words: [String], _ status: Int32, _ text: String) throws {
            let outcome = try diff(words, in: scratch)
            #expect(
                outcome.exitStatus == status && outcome.messages.contains(text) && outcome.output == "",
                "\(words): \(outcome)")
        }
        try fails(["."], 2, "holds images of 2 processes")
        try fails(["a.heap", "/etc/passwd"], 2, "this moment can't be used at all")
        try fails([], 64, "moment")
        try fails(["--sort", "age", "a.heap", "b.heap"], 64, "ordered by what grew")
        try fails(["--older-than", "5m", "a.heap", "b.heap"], 64, "one moment")
        let same = try diff(["a.heap", "b.heap"], in: scratch)
        #expect(same.exitStatus == 0 && same.output.contains("Nothing changed"))
    }

    @Test func aPageNamesMomentsByWhatTellsThemApart() {
        #expect(withoutCommonDirectory(["out/app.7.1.heap", "out/app.7.2.heap"]) == ["app.7.1.heap", "app.7.2.heap"])
        #expect(
            withoutCommonDirectory(["/var/ä/one/app.heap", "/var/ä/once/app.heap"]) == [
                "one/app.heap", "once/app.heap",
            ])
        #expect(withoutCommonDirectory(["a.log@1", "a.log@2"]) == ["a.log@1", "a.log@2"])
        #expect(withoutCommonDirectory(["/x/a.heap", "b.heap"]) == ["/x/a.heap", "b.heap"])
        #expect(withoutCommonDirectory(["/x/a.heap"]) == ["/x/a.heap"] && withoutCommonDirectory([]) == [])
    }

    @Test func theProgramThatGrowsForAWeekIsFoundOut() throws {
        let scratch = try Scratch()
        _ = Built.interposer
        let running = try scratch.start(
            [Built.heaprun, "--quiet", "-o", "out", Built.examples + "/slow-growth", "0.4", "6000"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer],
            directory: scratch.path)
        let pid = try running.child()
        for day in 1 ... 6 {
            #expect(try eventually(seconds: 60) { try contents(running.outputPath).contains("day \(day) ") })
            #expect(try scratch.run([Built.heapdump, "\(pid)"]).exitStatus == 0)
        }
        kill(pid, SIGTERM)
        #expect(try running.wait().exitStatus == 128 + SIGTERM)
        try check(
            ["--by", "function", "out"], in: scratch,
            """
            grown = [r for r in d["rows"] if r["shape"] == "steady growth"]
            assert [r["key"] for r in grown] == ["begin_trace"], d["rows"]
            assert grown[0]["growthBytes"] % 400 == 0 and grown[0]["growthBytes"] > 0
            # The largest is not the one that grows.
            assert max(d["rows"], key=lambda r: r["bytes"])["key"] != "begin_trace"
            """)
    }
}
