// Formats of other tools, of a real program, as those tools read them: pprof itself, valgrind's ms_print and
// callgrind_annotate. What they print is held against heapsum's JSON by Oracles/formats.py, function by function.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct FormatsOfOtherTools {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private static let oracle = "\(Built.root)/Tests/ReportTests/Oracles/formats.py"

    /// Records the program, and writes its stacks as JSON, with those that hold nothing.
    private func record() throws {
        let outcome = try scratch.run(
            [Built.program("formats")], variables: ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path])
        try #require(outcome.exitStatus == 0, "\(outcome)")
        try heapsum("--format json --sort allocated-bytes", to: "report.json")
    }

    private func heapsum(_ options: String, to file: String) throws {
        let outcome = try scratch.shell("'\(Built.products)/heapsum' \(options) formats.*.heap > \(file)")
        try #require(outcome.exitStatus == 0, "\(outcome)")
    }

    /// Runs a reader, and holds what it printed against the JSON; at least so many figures must have been compared.
    private func compare(_ what: String, _ reader: String, _ key: String = "", atLeast least: Int) throws {
        let read = try scratch.shell("\(reader) > printed")
        #expect(read.exitStatus == 0 && !read.messages.contains("uninitialized"), "\(reader): \(read.messages)")
        let outcome = try scratch.run(
            ["python3", Self.oracle, what, "report.json", "printed"] + (key.isEmpty ? [] : [key]))
        let count = outcome.output.split { $0 == " " || $0 == "\n" }.last.flatMap { Int($0) } ?? 0
        #expect(
            outcome.exitStatus == 0 && count >= least,
            "\(what) \(key): \(outcome.output)\(outcome.messages.suffix(2000))")
    }

    @Test func pprofShowsTheSame() throws {
        try record()
        try heapsum("--format pprof", to: "heap.pb.gz")
        #expect(try scratch.shell("gzip -t heap.pb.gz").exitStatus == 0)
        for (type, key) in [
            ("inuse_space", "bytes"), ("inuse_objects", "blocks"), ("alloc_space", "allocatedBytes"),
            ("alloc_objects", "allocatedBlocks"),
        ] {
            let options = "-top -nodecount=1000000 -nodefraction=0 -edgefraction=0 -unit=B -symbolize=none"
            try compare("pprof", "'\(Built.pprof)' \(options) -sample_index=\(type) heap.pb.gz", key, atLeast: 20)
        }
        // Without a word, what is in use; and names as they are linked, so that pprof leaves the others alone.
        let raw = try scratch.shell("'\(Built.pprof)' -raw heap.pb.gz; '\(Built.pprof)' -top heap.pb.gz")
        #expect(
            raw.output.contains("alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes[dflt]"))
        #expect(
            raw.output.contains("File: formats\n") && raw.output.contains("Type: inuse_space")
                && raw.output.contains("climb(int) "))
        let buildID = try scratch.shell("readelf -n '\(Built.program("formats"))' | sed -n 's/.*Build ID: //p'").output
        #expect(
            buildID.count > 20 && raw.output.contains("formats \(buildID.dropLast()) [FN][FL][LN]"),
            "\(raw.output.suffix(800))")
        #expect(raw.output.contains("climb(int) \(Built.root)/Tests/Programs/formats.cc:"), "\(raw.output)")
    }

    @Test func heaptrackShowsTheSame() throws {
        try record()
        try heapsum("--format heaptrack", to: "heap.heaptrack")
        let options = "--shorten-templates 0 --flamegraph-cost-type leaked -F leaked.folded"
        try compare("heaptrack", "heaptrack_print heap.heaptrack \(options) > summary; cat leaked.folded", atLeast: 20)
        let report = try JSONReader.read(Array(scratch.shell("cat report.json").output.utf8))
        let blocks = report["totals"]?["liveBlocks"]?.integer ?? 0
        let summary = try scratch.shell("cat summary").output
        #expect(blocks > 0 && summary.contains("calls to allocation functions: \(blocks) "), "\(summary.suffix(400))")
        // Read back by heapsum, too: the same blocks and bytes.
        let back = try scratch.shell("'\(Built.products)/heapsum' --format json heap.heaptrack").output
        let totals = try JSONReader.read(Array(back.utf8))["totals"]
        #expect(totals?["liveBlocks"]?.integer == blocks)
        #expect(totals?["liveBytes"]?.integer == report["totals"]?["liveBytes"]?.integer)
    }

    @Test func callgrindAnnotateShowsTheSame() throws {
        try record()
        try heapsum("--format callgrind", to: "callgrind.out")
        let annotate = "callgrind_annotate --threshold=100 --show-percs=no"
        try compare("callgrind", "\(annotate) --auto=no callgrind.out", atLeast: 20)
        // Recursion through two functions: each counts once.
        try compare("callgrind-inclusive", "\(annotate) --auto=no --inclusive=yes callgrind.out", atLeast: 100)
        let tree = try scratch.shell("\(annotate) --auto=yes --inclusive=yes --tree=both callgrind.out")
        #expect(tree.exitStatus == 0 && tree.messages == "", "\(tree.messages)")
        #expect(tree.output.contains("* ") && tree.output.contains("formats.cc:descend(int)"))
        // The source itself, line by line.
        #expect(tree.output.contains("kept.push_back(malloc(bytes));"))
    }

    @Test func speedscopesFileIsSound() throws {
        try record()
        try heapsum("--format speedscope", to: "heap.speedscope.json")
        try compare("speedscope", "cat heap.speedscope.json", atLeast: 100)
        try heapsum("--format speedscope --sort peak-bytes", to: "peak.json")
        #expect(try contents("\(scratch.path)/peak.json").contains(#""activeProfileIndex":4"#))
    }

    @Test(arguments: [
        ("bytes", "bytes"), ("blocks", "blocks"), ("allocated-bytes", "allocatedBytes"),
        ("allocated-blocks", "allocatedBlocks"),
        ("peak-bytes", "peakBytes"), ("temporary", "temporaryBlocks"),
    ])
    func foldedStacksAreOfWhatRowsAreSortedBy(sort: String, key: String) throws {
        try record()
        try heapsum("--format folded --sort \(sort)", to: "folded")
        try compare("folded", "cat folded", key, atLeast: sort == "temporary" ? 6 : 20)
    }

    @Test func msPrintShowsTheSame() throws {
        try record()
        try heapsum("--format massif", to: "massif.out")
        try compare("massif", "ms_print --threshold=0 massif.out", atLeast: 60)
    }

    /// massif itself: the program's peak and end to the byte, and the peak's stacks.
    @Test func massifSaysTheSame() throws {
        try scratch.write(
            "s.c",
            """
            #include <stdlib.h>
            static void *kept[100];
            __attribute__((noinline)) static void grow(int n) { \
                for (int i = 0; i < n; i++) kept[i] = malloc(1000 + i); __asm__(""); }
            __attribute__((noinline)) static void peak(void) {
              void *p[30];
              for (int i = 0; i < 30; i++) p[i] = malloc(5000);
              for (int i = 0; i < 30; i++) free(p[i]);
              __asm__(""); }
            int main(void) { grow(50); peak(); for (int i = 0; i < 20; i++) free(kept[i]); return 0; }

            """)
        try scratch.prepare(
            "cd '\(scratch.path)' && gcc -O1 -g -o s s.c && valgrind -q --tool=massif --massif-out-file=theirs.out "
                + "--peak-inaccuracy=0.0 --max-snapshots=1000 --detailed-freq=1 ./s && "
                + "LD_PRELOAD='\(Built.interposer)' HEAPSUM_OUTPUT=. ./s && "
                + "'\(Built.products)/heapsum' --format massif s.*.heap > ours.out")
        // Of each snapshot its bytes; of the peak's tree the innermost functions' bytes.
        func figures(_ file: String) throws -> (peak: Int, end: Int, functions: [String]) {
            let text = try contents("\(scratch.path)/\(file)")
            let bytes = text.split(separator: "\n").compactMap {
                $0.hasPrefix("mem_heap_B=") ? Int($0.dropFirst(11)) : nil
            }
            let most = try #require(bytes.max()), end = try #require(bytes.last)
            let snapshot = try #require(
                text.split(separator: "snapshot=").first { $0.contains("mem_heap_B=\(most)\n") })
            return (
                most, end,
                snapshot.split(separator: "\n").compactMap { line in
                    guard let match = line.firstMatch(of: /^ n\d+: (\d+) 0x[0-9A-Fa-f]+: (\w+)/) else { return nil }
                    return "\(match.1) \(match.2)"
                }.sorted()
            )
        }
        let ours = try figures("ours.out"), theirs = try figures("theirs.out")
        #expect(ours.peak == theirs.peak && ours.end == theirs.end, "\(ours) \(theirs)")
        #expect(ours.functions == theirs.functions && ours.functions.count == 2, "\(ours) \(theirs)")
    }

    @Test func snapshotsOfLongRunsHaveTrees() throws {
        var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
        let app = builder.addModule("/opt/bin/app", bias: 0x40_0000)
        let first = builder.addStack([heap_frame_make(app, 0x10), heap_frame_make(app, 0x30)]),
            second = builder.addStack([heap_frame_make(app, 0x20)])
        builder.addBlock(address: 0x1_0000, bytes: 700, stack: first)
        builder.addBlock(address: 0x2_0000, bytes: 300, stack: second)
        (builder.header.snapshots, builder.header.ended_ns) = (2, 40_000_000_000)
        (builder.header.peak_ns, builder.header.peak_bytes) = (20_000_000_000, 5000)
        for (stack, levels, peak) in [(first, (40, 500), 4000), (second, (2, 0), 900)]
            as [(UInt32, (UInt64, UInt64), UInt64)]
        {
            builder.stacks[Int(stack)].snapshots = 2
            builder.stacks[Int(stack)].levels.0 = heap_level(bytes: levels.0, blocks: 1)
            builder.stacks[Int(stack)].levels.1 = heap_level(bytes: levels.1, blocks: 1)
            builder.stacks[Int(stack)].peak = heap_level(bytes: peak, blocks: 1)
        }
        builder.timeline = [heap_sample(time_ns: 1_000_000_000, live_bytes: 20, live_blocks: 1, rss_bytes: 0)]
        let reduction = Reduction()
        try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "a.heap"), presence: .gone))
        let names = FrameNames(reduction) { _ in throw NoFile() }, out = TextOutput()
        try MachineReport(reduction, RowSelection(reduction, names: names, withFreed: true), names: names).write(
            .massif, to: out)
        let figures = out.text.split(separator: "\n").filter {
            $0.hasPrefix("time=") || $0.hasPrefix("mem_heap_B=") || $0.hasPrefix("heap_tree=")
        }
        #expect(
            figures.map(String.init) == [
                "time=0", "mem_heap_B=0", "heap_tree=empty", "time=1000", "mem_heap_B=20", "heap_tree=empty",
                "time=8000", "mem_heap_B=42", "heap_tree=detailed", "time=16000", "mem_heap_B=500",
                "heap_tree=detailed",
                "time=20000", "mem_heap_B=5000", "heap_tree=peak", "time=40000", "mem_heap_B=1000",
                "heap_tree=detailed",
            ])
        // What stacks don't account for is said.
        #expect(
            out.text.contains(
                """
                n3: 5000 (heap allocation functions) malloc/new/new[], --alloc-fns, etc.
                 n1: 4000 0x400010: app+0x10
                  n0: 4000 0x400030: app+0x30
                 n0: 900 0x400020: app+0x20
                 n0: 100 of stacks that are not shown, or not known

                """), "\(out.text)")
        try write(out.bytes, to: "\(scratch.path)/massif.out")
        let read = try scratch.shell("ms_print massif.out")
        #expect(read.exitStatus == 0 && read.output.contains("Detailed snapshots: [2, 3, 4 (peak), 5]"), "\(read)")
    }
}

@Suite struct FormatsOfLogs {
    private func sample() throws -> (Reduction, FrameNames) {
        let reduction = Reduction()
        let input = reduction.begin(Input(path: "kernel.log", kind: "slub"))
        let frames = [
            LogFrame(address: 0x10, name: Array("kmalloc".utf8)),
            LogFrame(address: 0x20, name: Array("driver_probe".utf8)), LogFrame(address: 0x30),
        ]
        reduction.add(frames: frames.map(reduction.frame), bytes: 96, blocks: 3, input: input)
        return (reduction, FrameNames(reduction) { _ in throw NoFile() })
    }

    private func write(_ format: MachineFormat, _ quantity: Quantity = .bytes) throws -> [UInt8] {
        let (reduction, names) = try sample(), out = TextOutput()
        let rows = RowSelection(reduction, names: names, withFreed: format.showsHistory)
        try MachineReport(reduction, rows, names: names, quantity: quantity).write(format, to: out)
        return out.bytes
    }

    @Test func whatIsNotKnownIsLeftOut() throws {
        let scratch = try Scratch()
        try TestSupport.write(write(.pprof), to: "\(scratch.path)/p")
        let raw = try scratch.shell("'\(Built.pprof)' -raw p").output
        #expect(
            raw.contains("\ninuse_objects/count inuse_space/bytes[dflt]\n") && !raw.contains("alloc_")
                && raw.contains("3         96: 1 2 3"), "\(raw)")
        #expect(raw.contains("kmalloc") && raw.contains("driver_probe") && raw.contains("0x2f"), "\(raw)")
        let callgrind = String(decoding: try write(.callgrind), as: UTF8.self)
        #expect(
            callgrind.contains("\nevents: Bytes Blocks\nsummary: 96 3\n") && callgrind.contains("calls=3 0\n"),
            "\(callgrind)")
        let speedscope = String(decoding: try write(.speedscope), as: UTF8.self)
        #expect(
            speedscope.contains("live bytes") && speedscope.contains("live blocks")
                && !speedscope.contains("allocated"), "\(speedscope)")
        #expect(String(decoding: try write(.folded, .blocks), as: UTF8.self) == "0x30;driver_probe;kmalloc 3\n")
    }

    @Test func whatCantBeShownIsRefused() throws {
        for quantity in Quantity.sums where quantity.isOfHistory {
            #expect(throws: FormatError.self) { try write(.folded, quantity) }
            #expect(throws: FormatError.self) { try write(.callgrind, quantity) }
        }
        #expect(throws: FormatError.self) { try write(.massif) }
        let scratch = try Scratch()
        let log = "\(Built.root)/Tests/LogsTests/Fixtures/slub-x86.txt"
        for (options, word) in [
            ("--format massif", "one process"), ("--format folded --sort peak-bytes", "not known of these inputs"),
            ("--format massif --by function", "made of stacks"),
        ] {
            try scratch.write("kept", "as it was")
            let outcome = try scratch.shell("'\(Built.products)/heapsum' \(options) -o kept '\(log)'")
            #expect(outcome.exitStatus == 64 && outcome.output == "" && outcome.messages.contains(word), "\(outcome)")
            #expect(try contents("\(scratch.path)/kept") == "as it was")
        }
    }
}
