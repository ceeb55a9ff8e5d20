// What malloc gave away before the recording: the program's own list of its blocks is the oracle.

import Glibc
import HeapImage
import Leaks
import TestSupport
import Testing
import Text

/// A program of before.c that was attached to when its shape was made.
private struct Earlier {
    let program: Attached

    init(program: Attached) { self.program = program }

    init(_ shape: String) throws {
        program = try Attached([try Built.program("leaks/before"), shape])
        guard try program.answer() == "ready" else { throw Failure("before \(shape) is not ready") }
        try program.attach()
    }

    func snapshot() throws -> Snapshot {
        let images = program.scratch.file("images")
        let image = try HeapImage(path: "\(images)/before.\(program.pid).heap")
        return try Snapshot.take(of: program.pid, image: image)
    }

    /// The program's live blocks with their bytes.
    func list() throws -> [UInt64: UInt64] {
        var live: [UInt64: UInt64] = [:]
        program.tell("list")
        for line in try program.answers(until: "done") {
            let words = line.split(separator: " ")
            guard words.count == 2, let address = UInt64(words[0], radix: 16), let bytes = UInt64(words[1]) else {
                throw Failure("what is \(line)?")
            }
            live[address] = bytes
        }
        return live
    }

    /// Blocks of the program's list that the snapshot has otherwise; and how many blocks from before it has more. These
    /// are the loader's and the C library's own, the same in all shapes: so nothing that is free can be among them.
    func differences(_ table: BlockTable) throws -> (wrong: [String], more: Int) {
        let live = try list()
        var wrong: [String] = []
        for (address, bytes) in live {
            guard let number = table.block(at: address), table.start(number) == address else {
                wrong.append("missing: \(String(address, radix: 16)) of \(bytes)")
                continue
            }
            if table.bytes(number) != bytes || table.stack(number) != BlockTable.earlierStack {
                wrong.append("\(String(address, radix: 16)) of \(bytes): \(table.bytes(number))")
            }
        }
        let earlier = (0 ..< table.count).count { table.stack($0) == BlockTable.earlierStack }
        return (wrong, earlier - live.count)
    }

    /// What heapsum leaks says in CSV: bytes of a block, from the sums of a row; blocks; verdict; "drags along"; stack.
    func rows() throws -> (rows: [Row], messages: String) {
        let outcome = try program.scratch.run(
            [Built.products + "/heapsum", "leaks", "--verdict", "all", "--format", "csv", String(program.pid)])
        guard outcome.exitStatus == 0 else { throw Failure("heapsum leaks: \(outcome)") }
        let rows = outcome.output.split(whereSeparator: \.isNewline).dropFirst().compactMap { line -> Row? in
            let cells = line.split(separator: ",", maxSplits: 6, omittingEmptySubsequences: false).map(String.init)
            guard cells.count == 7, let bytes = Int(cells[1]), let blocks = Int(cells[2]), let more = Int(cells[4])
            else { return nil }
            return Row(verdict: cells[0], bytes: bytes, blocks: blocks, dragged: more, stack: cells[6])
        }
        return (rows, outcome.messages)
    }

    struct Row {
        var verdict: String, bytes: Int, blocks: Int, dragged: Int, stack: String
        var isEarlier: Bool { stack == "\"from before the recording\"" }
        var each: Int { bytes / max(blocks, 1) }
    }
}

@Suite struct EarlierTests {
    @Test(arguments: ["sizes", "caches", "trim", "threads", "heaps", "blocked"])
    func allBlocksAreFound(shape: String) throws {
        let none = try Earlier("none"), earlier = try Earlier(shape)
        let baseline = try none.differences(try none.snapshot().blocks).more
        let found = try earlier.snapshot()
        let (wrong, more) = try earlier.differences(found.blocks)
        #expect(wrong.isEmpty, "\(wrong.count): \(wrong.prefix(5))")
        // Each other thread has a vector of thread-local storage.
        let threads = shape == "threads" ? 16 : shape == "heaps" ? 1 : 0
        #expect(baseline ... baseline + threads ~= more, "\(more), \(baseline)")
        #expect(!found.notes.contains { $0.contains("not all blocks") }, "\(found.notes)")
    }

    // The survey of pages counts them as live, by the program's own list; and so does the verdict on all memory.
    @Test(arguments: ["sizes", "caches", "threads", "heaps"])
    func pagesTellThemFromFreeMemory(shape: String) throws {
        func survey(_ earlier: Earlier) throws -> JSONValue {
            let told = try earlier.program.scratch.run(
                [Built.products + "/heapsum", "pages", "--format", "json", String(earlier.program.pid)])
            #expect(told.exitStatus == 0, "\(told)")
            return try JSONReader.read(Array(told.output.utf8))
        }
        let none = try Earlier("none"), earlier = try Earlier(shape)
        let baseline = try #require(try survey(none)["pages"]?["earlier"]?["blocks"]?.integer)
        let told = try survey(earlier), sums = try #require(told["pages"]?["earlier"]), live = try earlier.list()
        let blocks = try #require(sums["blocks"]?.integer), bytes = try #require(sums["residentBytes"]?.integer)
        let more = Int(blocks) - live.count - (Int(baseline) - (try none.list().count))
        let threads = shape == "threads" ? 16 : shape == "heaps" ? 1 : 0
        #expect(0 ... threads ~= more, "\(blocks) of \(live.count), beside \(baseline)")
        #expect(sums["isWhole"] == .bool(true) && sums["youngerAtMost"]?.integer == 0, "\(sums)")
        #expect(sums["origin"]?.string == "from before the recording was attached")
        #expect(bytes > 0 && bytes <= live.values.reduce(0, +) + 256 << 10)
        let parts = ["live", "earlier", "overhead", "pinned", "trimmable", "top", "kept", "rim", "unclear"]
            .reduce(UInt64(0)) { $0 + (told["pages"]?[$1 + "Bytes"]?.integer ?? 1 << 50) }
        #expect(parts == told["pages"]?["residentBytes"]?.integer)
        // With headers and rounding, at most 16 bytes a block, and whole pages of those with mappings of their own.
        let held = try #require(told["memory"]?["earlierBytes"]?.integer)
        #expect(bytes < held && held <= bytes + 16 * blocks + 1 << 20, "\(told["memory"] as Any)")
        let pid = String(earlier.program.pid), heapsum = Built.products + "/heapsum"
        let table = try earlier.program.scratch.run([heapsum, "pages", pid]).output
        #expect(
            table.contains("live from before the recording was attached, in \(separated(blocks)) blocks"), "\(table)")
        let info = try earlier.program.scratch.run([heapsum, "info", pid]).output
        #expect(info.contains("\(separated(held)) held by blocks from before the recording was attached"), "\(info)")
    }

    // Where they can't be told, the first lines say so.
    @Test func pagesSayWhatTheyCannotTell() throws {
        let earlier = try Earlier("damaged"), pid = String(earlier.program.pid), heapsum = Built.products + "/heapsum"
        let table = try earlier.program.scratch.run([heapsum, "pages", pid]).output
        let first = table.split(separator: "\n").prefix(4).joined(separator: " ")
        #expect(
            first.contains("Blocks from before the recording was attached can't")
                && first.contains("its chunks do not fit together"), "\(table)")
        let info = try earlier.program.scratch.run([heapsum, "info", pid]).output
        #expect(info.contains("be told from free memory (the arena at 0x"), "\(info)")
    }

    // Blocks of the recording that only lost earlier ones hold are lost with them, and held with held ones.
    @Test func lostAndHeldBeforeAndAfter() throws {
        let earlier = try Earlier("lost")
        #expect(try earlier.program.ask("after") == "done")
        let rows = try earlier.rows().rows
        func sum(_ verdict: String, isEarlier: Bool) -> [Int] {
            rows.filter { $0.verdict == verdict && $0.isEarlier == isEarlier }.reduce([0, 0, 0]) {
                [$0[0] + $1.blocks, $0[1] + $1.bytes, $0[2] + $1.dragged]
            }
        }
        #expect(sum("definite", isEarlier: true) == [1000, 120_000, 1000], "\(rows)")
        #expect(sum("definite", isEarlier: false) == [1000, 150_000, 0], "\(rows)")
        #expect(sum("indirect", isEarlier: true) == [0, 0, 0] && sum("possible", isEarlier: false) == [0, 0, 0])
        #expect(sum("indirect", isEarlier: false) == [1000, 200_000, 0], "\(rows)")
        #expect(sum("reachable", isEarlier: false) == [2000, 700_000, 0], "\(rows)")
        #expect(sum("reachable", isEarlier: true)[0] >= 1000)
        // A dump has no earlier blocks, but says what they were.
        let dump = try earlier.program.scratch.run([Built.heapdump, "--leaks", String(earlier.program.pid)])
        let path = "\(earlier.program.scratch.file("images"))/before.\(earlier.program.pid).1.heap"
        let told = try earlier.program.scratch.run([Built.products + "/heapsum", "leaks", path])
        #expect(told.output.contains("not in the dump: 1,000 blocks of 120,000 bytes definite"), "\(dump) \(told)")
        #expect(told.output.contains("definite      1,000   150,000\nindirect      1,000   200,000\n"), "\(told)")
    }

    // Where the walk isn't sure, earlier memory is searched as unknown: what it holds is possibly lost, no more.
    @Test(arguments: [
        ("locked", "a thread is in malloc there"), ("foreign", "a part of it was not found"),
        ("damaged", "its chunks do not fit together"),
    ])
    func whatIsNotSureAccusesNobody(shape: String, reason: String) throws {
        let earlier = try Earlier(shape)
        #expect(try earlier.program.ask("after") == "done")
        let (rows, messages) = try earlier.rows()
        #expect(messages.contains("not all blocks from before") && messages.contains(reason), "\(messages)")
        func verdicts(_ bytes: Int) -> Set<String> {
            Set(rows.filter { !$0.isEarlier && $0.each == bytes }.map(\.verdict))
        }
        let lost = rows.filter { $0.each == 150 && ["definite", "possible"].contains($0.verdict) }
        #expect(lost.reduce(0) { $0 + $1.blocks } == 1000, "\(rows)")
        if shape == "locked" {
            // The main arena was walked all the same; of the other one's 501 blocks none was taken.
            #expect(verdicts(200) == ["indirect"] && verdicts(300) == ["reachable"], "\(rows)")
            #expect(!rows.contains { $0.isEarlier && $0.verdict == "definite" && $0.blocks != 1000 }, "\(rows)")
        } else {
            #expect(verdicts(200) == ["possible"] && verdicts(300) == ["possible"], "\(rows)")
            #expect(rows.allSatisfy { !$0.isEarlier }, "\(rows)")
        }
        #expect(verdicts(400) == ["reachable"])
    }
}

extension EarlierTests {
    // python3's sqlite3 never frees the message of a failed load_extension: 300 before the recording, 200 after.
    @Test func aRealProgramsLeakFromBefore() throws {
        let program = try Attached([
            "/usr/bin/python3", "-c",
            """
            import sqlite3, sys
            c = sqlite3.connect(":memory:")
            c.enable_load_extension(True)
            def leak(n):
                for _ in range(n):
                    try: c.load_extension("nothing")
                    except sqlite3.OperationalError: pass
            leak(300)
            print("ready", flush=True)
            for line in sys.stdin:
                leak(200)
                print("done", flush=True)
            """,
        ])
        #expect(try program.answer() == "ready")
        try program.attach()
        #expect(try program.ask("leak") == "done")
        let (rows, messages) = try Earlier(program: program).rows()
        func blocks(_ verdicts: [String], _ isWanted: (Earlier.Row) -> Bool) -> Int {
            rows.filter { verdicts.contains($0.verdict) && isWanted($0) }.reduce(0) { $0 + $1.blocks }
        }
        let lost = blocks(["definite", "indirect"], \.isEarlier)
        // Words that the last calls left on the stack may hold a few.
        #expect((290 ... 305).contains(lost), "\(rows.filter { $0.isEarlier }) \(messages)")
        let later = blocks(["definite", "indirect", "possible"]) { $0.stack.contains("sqlite3_load_extension") }
        #expect(later == 200, "\(rows)")
        #expect(!messages.contains("not all blocks"), "\(messages)")
    }
}

extension EarlierTests {
    // Whatever malloc's memory has in it, there is a verdict, and what the program's variables hold is not lost.
    @Test(arguments: [1, 2]) func damagedHeapsAreSurvived(first: Int) throws {
        let earlier = try Earlier("threads")
        #expect(try earlier.program.ask("after") == "done")
        for seed in Array(first * 100 + 1 ... first * 100 + 5) + [0] {
            #expect(try earlier.program.ask("spoil \(seed)") == "done")
            let (rows, messages) = try earlier.rows()
            let held = rows.filter { $0.each == 400 && !$0.isEarlier }
            #expect(
                held.map(\.verdict) == ["reachable"] && held.map(\.blocks) == [1000], "\(seed): \(rows) \(messages)")
        }
    }
}

extension EarlierTests {
    // A thread may be stopped at any instruction of malloc; one that is alone takes no lock. Nothing is lost here.
    @Test(arguments: ["busy", "caches"]) func aProgramInsideMalloc(shape: String) throws {
        let earlier = try Earlier(shape)
        if shape == "caches" { #expect(try earlier.program.ask("churn") == "done") }
        for _ in 0 ..< 5 {
            let (rows, messages) = try earlier.rows()
            // What the shape itself has is lost by design: its blocks are of no table.
            let accused = rows.filter { ["definite", "indirect"].contains($0.verdict) && !$0.isEarlier }
            #expect(accused.isEmpty, "\(accused) \(messages)")
            guard shape == "busy" else { continue }
            #expect(!rows.contains { $0.isEarlier && ["definite", "indirect"].contains($0.verdict) }, "\(rows)")
        }
    }

    // A program that frees and grows blocks by addresses from before the recording: neither what is freed so nor what
    // hangs on what was grown so is accused.
    @Test func addressesOfFreeAndReallocFromBefore() throws {
        let program = try Attached([try Built.program("leaks/looked_up")])
        #expect(try program.answer() == "ready")
        try program.attach()
        #expect(try program.ask("work") == "done")
        let said = try program.scratch.run([
            Built.products + "/heapsum", "leaks", "--format", "json", "--top", "0", String(program.pid),
        ])
        let report = try JSONReader.read(Array(said.output.utf8))
        let verdicts = try #require(report["verdicts"], "\(said)")
        #expect(verdicts["definite"]?["blocks"]?.integer == 10, "\(said)")
        #expect(verdicts["indirect"]?["blocks"]?.integer == 0)
        // Only memory behind the end of a block leads to what it kept.
        #expect(verdicts["possible"]?["blocks"]?.integer ?? 0 >= 1000, "\(said)")
        #expect(said.output.contains("malloc has them as free"), "\(said)")
        #expect(try program.ask("end") == "freed")
    }
}
