// heapsum ask: its schema, its bound, and images that are damaged, empty or hostile.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct AskTests {
    private static let keys = [
        "schema", "subject", "totals", "timeline", "memory", "verdicts", "findings", "leftOut", "unknown", "others",
    ]
    private static let findingKeys = [
        "kind", "function", "module", "file", "line", "callers", "through", "stackKey", "bytes", "blocks", "share",
        "liveBytes",
        "liveBlocks", "oldestSeconds", "newestSeconds", "allocatedBlocks", "freedBlocks", "evidence", "next",
    ]
    private static let evidenceKeys: [String: [String]] = [
        "leaked": [
            "verdict", "ownBytes", "ownBlocks", "indirectBytes", "indirectBlocks", "example", "bytesAnHour",
        ],
        "growing": [
            "by", "bytesBefore", "blocksBefore", "moments", "seconds", "shape", "pValue", "bytesAnHour", "bornByEighth",
        ],
        "pinned": ["isResident", "aloneBytes", "allPinnedBytes", "trimmableBytes"],
        "peak": ["peakBytes", "peakBlocks", "peakSeconds"],
        "foreign": ["otherBytes", "sharedBytes", "largestAddress", "largestBytes"],
        "retained": ["trimmableBytes", "mayBePinned"], "held": ["holder", "severalRoots", "growthBytes"],
        "temporary": ["temporaryBlocks", "allocatedBytes"], "live": ["bornByEighth"],
    ]
    private static let parts: [String: [String]] = [
        "subject": [
            "path", "program", "pid", "kind", "state", "runs", "recordedSeconds", "moments", "sampleInterval",
            "damaged",
        ],
        "totals": [
            "liveBytes", "liveBlocks", "peakBytes", "peakSeconds", "allocatedBytes", "allocatedBlocks",
            "temporaryBlocks", "stacks", "lostEvents",
        ],
        "timeline": ["firstBytes", "lastBytes", "shape", "bytesAnHour", "pValue"],
        "memory": [
            "residentBytes", "heldBytes", "earlierBytes", "pinnedBytes", "retainedBytes", "unbookedBytes",
            "unclearBytes",
            "freeBytes", "stackBytes", "otherBytes", "fileBytes", "sharedBytes", "imageBytes",
        ],
        "verdicts": [
            "definite", "indirect", "possible", "reachable", "whole", "ofNewest", "pauseNanoseconds",
        ],
        "leftOut": ["findings", "bytes"], "others": ["processes", "next"],
    ]

    private func names(_ value: JSONValue?) -> Set<String> {
        if case .object(let members)? = value { Set(members.keys) } else { [] }
    }

    /// The answer's text, once its bound and all of its keys are checked.
    @discardableResult private func check(_ text: String) throws -> JSONValue {
        #expect(text.utf8.count <= 5000)
        let answer = try JSONReader.read(Array(text.utf8))
        #expect(answer["schema"]?.string == "heapsum-ask/1" && names(answer) == Set(Self.keys))
        for (part, keys) in Self.parts where answer[part] != .null { #expect(names(answer[part]) == Set(keys)) }
        for finding in try #require(answer["findings"]?.array) {
            #expect(names(finding) == Set(Self.findingKeys))
            let keys = try #require(Self.evidenceKeys[finding["kind"]?.string ?? ""])
            #expect(names(finding["evidence"]) == Set(keys))
        }
        for gap in try #require(answer["unknown"]?.array) { #expect(names(gap) == ["what", "because", "next"]) }
        return answer
    }

    private func answer(_ source: HeapImage, path: String = "a.heap") throws -> JSONValue {
        let reduction = Reduction()
        try reduction.add(source)
        let names = FrameNames(reduction) { _ in throw NoFile() }
        var facts = AskFacts(name: path, reduction: reduction, names: names)
        facts.verdictGap = .ended
        if let told = LeakSummary(reduction, input: 0, names: names) {
            facts.verdict = (told, HolderTree(reduction, input: 0, names: names), true)
            facts.verdictFile = path
        }
        if let image = reduction.inputs[0].image, image.snapshotCount > 0 {
            let growth = Growth()
            try growth.addSnapshots(of: image)
            facts.growth = (growth, FrameNames(growth.reduction) { _ in throw NoFile() })
        }
        let out = TextOutput()
        try AskReport(facts).writeJSON(to: out)
        return try check(out.text)
    }

    private func open(_ builder: ImageBuilder) throws -> HeapImage {
        try HeapImage(MemorySource(builder.bytes()), presence: .gone)
    }

    /// An image of many stacks with names of all lengths, to 4 KB, one of control characters.
    private func crowded(stacks: UInt64) -> ImageBuilder {
        var builder = ImageBuilder()
        builder.program = "/opt/" + String(repeating: "p\u{1}", count: 1000)
        let module = builder.addModule(builder.program, buildID: [7])
        for index in 1 ... stacks {
            let letters = index == 1 ? 4096 : index == 2 ? 5 : Int(index % 300)
            let unit = index == 3 ? "\u{1}" : index == 4 ? "é\u{301}" : "t"
            builder.addName(
                heap_frame_make(module, index), "a::b<\(index)>::" + String(repeating: unit, count: letters),
                file: "/" + String(repeating: "d/", count: Int(index % 2000)) + "f.cc", line: 7, offset: 1, flags: 1)
            let stack = builder.addStack([
                heap_frame_make(module, index), heap_frame_make(module, index % 7 + 1),
                heap_frame_make(module, index % 11 + 1), heap_frame_make(module, 1),
            ])
            builder.addBlock(address: 0x1_0000 * index, bytes: 100_000 / (index % 9 + 1), stack: stack)
        }
        return builder
    }

    @Test(arguments: [UInt64(1), 3, 20, 1000]) func theBoundHolds(stacks: UInt64) throws {
        let builder = crowded(stacks: stacks)
        for path in ["a.heap", String(repeating: "\u{2}", count: 4000), String(repeating: "d'/", count: 180)] {
            let told = try answer(open(builder), path: path)
            let findings = try #require(told["findings"]?.array)
            #expect(!findings.isEmpty)
            if stacks == 20 { #expect(findings.count + Int(told["leftOut"]?["findings"]?.integer ?? 0) > 3) }
            if path.utf8.first == 2 { #expect(findings.allSatisfy { $0["next"] == .null }) }
            if path == "a.heap" { #expect(findings.allSatisfy { $0["next"]?.string?.hasSuffix(" a.heap") == true }) }
        }
    }

    @Test func anImageWithoutBlocks() throws {
        let told = try answer(open(ImageBuilder()))
        #expect(told["findings"] == .array([]) && told["totals"]?["liveBytes"]?.integer == 0, "\(told)")
        #expect(told["leftOut"]?["findings"]?.integer == 0)
    }

    /// Blocks of all ages pile up; old ones and young ones don't. What was held at the snapshots says more.
    @Test func whatPilesUp() throws {
        var builder = ImageBuilder()
        let module = builder.addModule("/opt/app", buildID: [7])
        func stack(_ offset: UInt64, _ name: String) -> UInt32 {
            builder.addName(heap_frame_make(module, offset), name, offset: 1, flags: 1)
            return builder.addStack([heap_frame_make(module, offset)])
        }
        let leak = stack(16, "leak"), cache = stack(32, "cache"), start = stack(48, "at_start")
        // 7 seconds: before the first snapshot.
        for index in UInt64(0) ..< 140 {
            builder.addBlock(
                address: 0x10_0000 + index * 64, bytes: 32, stack: leak, tick: heap_tick_of_milliseconds(index * 50))
            builder.addBlock(
                address: 0x20_0000 + index * 1024, bytes: 900, stack: cache,
                tick: heap_tick_of_milliseconds(6500 + index))
            builder.addBlock(
                address: 0x90_0000 + index * 1024, bytes: 900, stack: start, tick: heap_tick_of_milliseconds(index))
        }
        builder.header.ended_ns = 7_000_000_000
        builder.timeline = [
            heap_sample(time_ns: 1_000_000, live_bytes: 1, live_blocks: 1, rss_bytes: 0),
            heap_sample(time_ns: 7_000_000_000, live_bytes: 9, live_blocks: 1, rss_bytes: 0),
        ]
        let told = try answer(open(builder)), findings = try #require(told["findings"]?.array)
        #expect(
            findings.first?["function"]?.string == "leak" && findings.first?["kind"]?.string == "growing", "\(told)")
        #expect(findings.first?["evidence"]?["by"]?.string == "ages")
        let births = findings.first?["evidence"]?["bornByEighth"]?.array?.compactMap(\.integer) ?? []
        #expect(births.count == 8 && births.reduce(0, +) == 140 && births.allSatisfy { (16 ... 19).contains($0) })
        #expect(findings.dropFirst().allSatisfy { $0["kind"]?.string == "live" } && findings.count == 3, "\(told)")
    }

    // MARK: Wrappers

    /// An image in which functions, each from a caller of its own, allocate in several ways.
    ///
    /// - Parameter inside: the functions between the callers and the allocator, outermost first.
    private func wrapped(_ inside: [String], callers: Int, sizes: (Int) -> UInt64) -> ImageBuilder {
        var builder = ImageBuilder()
        let module = builder.addModule("/opt/app", buildID: [7])
        var known: [String: UInt64] = [:]
        func frame(_ name: String) -> UInt64 {
            let isNew = known[name] == nil, offset = known[name] ?? UInt64(known.count + 1) * 16
            known[name] = offset
            if isNew { builder.addName(heap_frame_make(module, offset), name, offset: 1, flags: 1) }
            return heap_frame_make(module, offset)
        }
        for index in 0 ..< callers {
            let stack = builder.addStack((inside.reversed() + ["user\(index)", "main"]).map(frame))
            for block in UInt64(0) ..< (index == 3 ? 50 : 2) {
                builder.addBlock(
                    address: UInt64(index + 1) << 24 + block << 16, bytes: sizes(index), stack: stack)
            }
        }
        return builder
    }

    private func first(_ builder: ImageBuilder) throws -> (function: String?, through: [String]) {
        let finding = try #require(try answer(open(builder))["findings"]?.array?.first)
        return (finding["function"]?.string, finding["through"]?.array?.compactMap(\.string) ?? [])
    }

    /// The blocks belong to who called the program's own allocation function.
    @Test func wrappersPassBlocksOn() throws {
        let ofManySizes = { (index: Int) -> UInt64 in 16 << UInt64(index % 6) }
        for inside in [["xmalloc"], ["xstrdup", "xmalloc"], ["outer", "middle", "inner"]] {
            let (function, through) = try first(wrapped(inside, callers: 12, sizes: ofManySizes))
            #expect(function == "user3" && through == Array(inside.prefix(2)), "\(function ?? "-") \(through)")
        }
        // Another one of the same module, with fewer callers.
        var builder = wrapped(["xmalloc"], callers: 12, sizes: ofManySizes)
        let module = builder.addModule("/opt/app", buildID: [7])
        func frame(_ offset: UInt64, _ name: String) -> UInt64 {
            builder.addName(heap_frame_make(module, offset), name, offset: 1, flags: 1)
            return heap_frame_make(module, offset)
        }
        for index in UInt64(0) ..< 3 {
            let stack = builder.addStack([frame(4096, "xrealloc"), frame(4112 + index * 16, "grow\(index)")])
            builder.addBlock(address: 1 << 36 + index << 24, bytes: 100_000 << (2 * index), stack: stack)
        }
        let (function, through) = try first(builder)
        #expect(function == "grow2" && through == ["xrealloc"], "\(function ?? "-") \(through)")
    }

    /// A function that keeps blocks of its own kind, or that few others call, is the culprit.
    @Test func whatIsNoWrapper() throws {
        let alike = try first(wrapped(["remember"], callers: 12) { _ in 96 })
        #expect(alike.function == "remember" && alike.through.isEmpty, "\(alike)")
        let few = try first(wrapped(["load"], callers: 5) { 16 << UInt64($0) })
        #expect(few.function == "load" && few.through.isEmpty, "\(few)")
    }

    @Test func randomFlips() throws {
        var builder = crowded(stacks: 12)
        _ = builder.addThread(tid: 1)
        builder.timeline = (1 ... 9).map {
            heap_sample(time_ns: $0 << 30, live_bytes: $0, live_blocks: 1, rss_bytes: 0)
        }
        let source = try open(builder), directory = try Scratch()
        var options = PackOptions()
        var known = StoredVerdict()
        known.holders = [
            StoredHolder(
                name: String(repeating: "h", count: 5000), stack: nil, isSharedByRoots: false, depth: 0, own: Amount(),
                kept: Amount(blocks: 9, bytes: 300_000)),
            StoredHolder(
                name: "", stack: 2, isSharedByRoots: false, depth: 1, own: Amount(blocks: 3, bytes: 300),
                kept: Amount(blocks: 9, bytes: 200_000)),
        ]
        options.verdict = VerdictToStore(known: known) { block in
            (block.stack % 6 == 0 ? .definite : .reachable, Amount(blocks: 2, bytes: 50))
        }
        try source.pack(to: directory.file("a.heap"), options: options)
        let bytes = try bytes(of: directory.file("a.heap"))
        let whole = try answer(HeapImage(MemorySource(bytes), presence: .gone))
        let kinds = Set((whole["findings"]?.array ?? []).compactMap { $0["kind"]?.string })
        #expect(kinds.isSuperset(of: ["leaked", "held"]), "\(whole)")
        var random = SeededGenerator(seed: 11)
        for _ in 0 ..< 100 {
            var flipped = bytes
            for _ in 0 ..< Int.random(in: 1 ... 40, using: &random) {
                flipped[Int.random(in: 40 ..< bytes.count, using: &random)] = UInt8.random(
                    in: 0 ... 255, using: &random)
            }
            do { _ = try answer(HeapImage(MemorySource(flipped), presence: .gone)) } catch is InputError {}
        }
    }

    private func bytes(of path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        return Array(bytes[..<fread(&bytes, 1, bytes.count, file)])
    }

    @Test func statuses() throws {
        let scratch = try Scratch()
        func ask(_ words: String...) throws -> Outcome {
            try scratch.run([Built.products + "/heapsum", "ask"] + words)
        }
        try crowded(stacks: 5).write(to: scratch.file("a.heap"))
        try scratch.write("empty.heap", "")
        try scratch.write("text.heap", "no image")
        let good = try ask("a.heap")
        #expect(good.exitStatus == 0, "\(good)")
        try check(good.output)
        let gaps = try JSONReader.read(Array(good.output.utf8))["unknown"]?.array ?? []
        #expect(gaps.contains { $0["what"]?.string == "leaked" && $0["because"]?.string == "ended" }, "\(good)")
        for name in ["empty.heap", "text.heap", "missing.heap", "4194303", "/proc/self"] {
            let bad = try ask(name)
            #expect(bad.exitStatus == 2 && bad.output.isEmpty && bad.messages.contains(name), "\(bad)")
        }
        // A directory with an image that can be used and others that can't: the answer, and status 2.
        let some = try ask(".")
        #expect(some.exitStatus == 2 && some.messages.contains("empty.heap"), "\(some)")
        try check(some.output)
        #expect(try ask().exitStatus == 64)
        #expect(try ask("--format", "csv", "a.heap").exitStatus == 64)
        // Cut off: the part that is there counts.
        _ = try scratch.shell("head -c $(($(stat -c %s a.heap) - 50)) a.heap >cut.heap")
        let cut = try ask("cut.heap")
        #expect(cut.exitStatus == 0 && cut.messages.contains("damaged: "), "\(cut)")
        #expect(try check(cut.output)["subject"]?["damaged"] == .bool(true))
    }

    /// Of two processes the larger is told of.
    @Test func theLargestProcess() throws {
        let scratch = try Scratch()
        try crowded(stacks: 2).write(to: scratch.file("a.heap"))
        var larger = crowded(stacks: 9)
        larger.header.pid = 77
        try larger.write(to: scratch.file("b.heap"))
        let told = try scratch.run([Built.products + "/heapsum", "ask", "."])
        let answer = try check(told.output)
        #expect(answer["subject"]?["pid"]?.integer == 77 && answer["others"]?["processes"]?.integer == 1, "\(told)")
        #expect(answer["others"]?["next"]?.string == "heapsum ask ./a.heap")
    }
}
