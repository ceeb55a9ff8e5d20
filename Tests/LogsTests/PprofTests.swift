// pprof's profiles, as Go's runtime, Debian's pprof and heapsum itself write them, against what pprof says of the same
// file.

import Glibc
import Reduce
import Report
import TestSupport
import Testing

@testable import Logs

@Suite struct PprofProfiles {
    /// Bytes and blocks by function, as heapsum has them.
    private static func byFunction(_ log: Reduced) -> [String: [UInt64]] {
        var result: [String: [UInt64]] = [:]
        for row in FrameNames(log.reduction).grouped(log.reduction.rows, by: .function) {
            result[row.key?.function ?? "?"] = [row.bytes, row.blocks]
        }
        return result
    }

    /// What pprof says that a profile holds in all, of a sample type that is in bytes or a count.
    private static func total(_ scratch: Scratch, _ type: String, _ file: String) throws -> UInt64? {
        let unit = type.hasSuffix("space") ? "-unit=bytes" : ""
        let outcome = try scratch.shell(
            "'\(Built.pprof)' -top \(unit) -sample_index=\(type) \(file) 2>/dev/null | sed -n 's/.*of \\([0-9]*\\)B* "
                + "total.*/\\1/p'"
        )
        return UInt64(outcome.output.prefix { $0 != "\n" })
    }

    private static let program = """
        package main
        import ("os"; "runtime"; "runtime/pprof")
        var kept [][]byte
        //go:noinline
        func keepName(n int) { kept = append(kept, make([]byte, n)) }
        func main() {
            runtime.MemProfileRate = 1
            kept = make([][]byte, 0, 64)
            cpu, _ := os.Create(os.Args[2]); pprof.StartCPUProfile(cpu)
            for i := 0; i < 10; i++ { keepName(1000) }
            for i, x := 0, 0; i < 200000000; i++ { x += i }
            pprof.StopCPUProfile(); cpu.Close()
            runtime.GC()
            heap, _ := os.Create(os.Args[1]); pprof.WriteHeapProfile(heap); heap.Close()
            text, _ := os.Create("heap.txt"); pprof.Lookup("heap").WriteTo(text, 1); text.Close()
            runtime.KeepAlive(kept)
        }
        """

    /// Go's allocator has a class of 1,024 bytes.
    @Test func ofGo() throws {
        let scratch = try Scratch()
        try write(Array(Self.program.utf8), to: scratch.path + "/main.go")
        let built = try scratch.shell(
            "GO111MODULE=off GOFLAGS= GOCACHE='\(Built.root)/.build/go-cache' go run main.go heap.pb.gz cpu.pb.gz && "
                + "gzip -dc heap.pb.gz > heap.pb"
        )
        #expect(built.exitStatus == 0, "\(built.messages)")
        for name in ["heap.pb.gz", "heap.pb"] {
            let path = scratch.path + "/" + name
            #expect(LogKind(head: try head(path)) == .pprof)
            let log = try reduce(path, .pprof)
            #expect(log.input.damages.isEmpty, "\(log.input.damages)")
            let own = log.reduction.rows.filter { row in
                log.reduction.frames(of: row).contains {
                    FrameNames(log.reduction).name($0).function == "main.keepName"
                }
            }
            #expect(own.map { [$0.bytes, $0.blocks] } == [[10240, 10]])
            #expect(log.reduction.totals.liveBytes == (try Self.total(scratch, "inuse_space", name)))
            #expect(log.reduction.totals.liveBlocks == (try Self.total(scratch, "inuse_objects", name)))
        }
        // The same as text, as /debug/pprof/heap?debug=1 has it.
        #expect(LogKind(head: try head(scratch.path + "/heap.txt")) == .heapProfile)
        let text = try reduce(scratch.path + "/heap.txt", .heapProfile),
            binary = try reduce(scratch.path + "/heap.pb", .pprof)
        #expect(
            Self.byFunction(text)["main.keepName"] == [10240, 10] && text.input.damages.isEmpty
                && text.input.passedOver.isEmpty, "\(text.input.passedOver)")
        #expect(Self.byFunction(text) == Self.byFunction(binary))
        do {
            _ = try reduce(scratch.path + "/cpu.pb.gz", .pprof)
            Issue.record("processor time is no memory")
        } catch let error as LogError {
            #expect(error.details.contains { $0.contains(LogNote.nothingInUse.text) }, "\(error)")
        }
    }

    /// Go's default rate samples one of 512 KB; text and binary profiles are scaled alike, as pprof does it.
    @Test func sampled() throws {
        let scratch = try Scratch()
        let text =
            "heap profile: 3: 49152 [3: 49152] @ heap/1048576\n2: 32768 [2: 32768] @ 0x4b3c32 0x437452\n"
            + "#\t0x4b3c31\tmain.a[...]+0x51\t/src/main.go:4\n#\t0x437451\tmain.main+0x11\t/src/main.go:9\n\n"
            + "1: 16384 [1: 16384] @ 0x4b3d32 0x437452\n\n# runtime.MemStats\n# Alloc = 11\n"
        try write(Array(text.utf8), to: scratch.path + "/heap.txt")
        let made = try scratch.shell("'\(Built.pprof)' -proto -output=heap.pb.gz heap.txt 2>/dev/null")
        #expect(made.exitStatus == 0)
        let asText = try reduce(scratch.path + "/heap.txt", .heapProfile),
            asBinary = try reduce(scratch.path + "/heap.pb.gz", .pprof)
        let total = try Self.total(scratch, "inuse_space", "heap.txt")
        // pprof rounds each sample down.
        #expect(asBinary.reduction.totals.liveBytes == total && (total ?? 0) > 1_500_000)
        let difference = Int64(asText.reduction.totals.liveBytes) - Int64(total ?? 0)
        #expect(abs(difference) <= 2, "\(asText.reduction.totals.liveBytes) and \(String(describing: total))")
        #expect(asText.rows.keys.contains { $0.contains("main.a[...] < 0x437451 main.main") }, "\(asText.rows)")
    }

    /// jemalloc samples each 4 KB here, of 3 MB.
    @Test func sampledByJemalloc() throws {
        let scratch = try Scratch()
        let program =
            "#include <stdlib.h>\nvolatile char *p; int main(void) { for (int i = 0; i < 20000; i++) p = malloc(100); "
            + "for (int i = 0; i < 500; i++) p = malloc(3000); return 0; }\n"
        try write(Array(program.utf8), to: scratch.path + "/many.c")
        let made = try scratch.shell(
            """
            gcc -O0 many.c -o many && LD_PRELOAD=$(ls /usr/lib/*/libjemalloc.so.2) \
            MALLOC_CONF=prof:true,lg_prof_sample:12,prof_final:true,prof_prefix:$PWD/profile ./many && \
            cp profile.*.heap last.heap
            jeprof --show_bytes --text many last.heap 2>/dev/null | awk '/^Total:/ { print $2 }'
            """)
        let text = try reduce(scratch.path + "/last.heap", .heapProfile),
            total = try #require(UInt64(made.output.prefix { $0 != "\n" }), "\(made)")
        // Rounded row by row, up here and down there.
        #expect(
            abs(Int64(text.reduction.totals.liveBytes) - Int64(total)) <= 64,
            "\(text.reduction.totals.liveBytes) and \(total)")
        // What was allocated is 20,000 blocks of 112 bytes and 500 of 3,072; a sample is near it.
        #expect(total > 3_000_000 && total < 4_800_000)
    }

    /// gperftools' profile in text, and what pprof makes of it.
    @Test func ofGperftools() throws {
        let scratch = try Scratch()
        try write(Array(Producers.program.utf8), to: scratch.path + "/leak.c")
        let outcome = try scratch.shell(
            """
            gcc -g -O1 -fno-omit-frame-pointer leak.c -o leak
            LD_PRELOAD=$(ls /usr/lib/*/libtcmalloc.so.? | head -1) HEAPPROFILE=$PWD/profile ./leak; \
            cp $(ls profile.*.heap | tail -1) last.heap
            '\(Built.pprof)' -proto -output=last.pb.gz leak last.heap && gzip -dc last.pb.gz > last.pb
            """)
        #expect(outcome.exitStatus == 0, "\(outcome.messages)")
        for name in ["last.pb.gz", "last.pb"] {
            let log = try reduce(scratch.path + "/" + name, .pprof)
            let functions = Self.byFunction(log)
            #expect(functions["keep_name"] == [1000, 10] && functions["lose"] == [80, 10], "\(functions)")
            #expect(log.reduction.totals.liveBytes == (try Self.total(scratch, "inuse_space", name)))
        }
    }

    /// What heapsum writes it reads again, with the same rows.
    @Test func ofHeapsum() throws {
        let scratch = try Scratch()
        let heapsum = "\(Built.products)/heapsum"
        let text =
            "Current allocation report:\n\n"
            + (1 ... 40).map {
                "Allocation #\($0): 0x3060\nAllocation size: 0x\(String($0 * 3, radix: 16))\nAllocation "
                    + "traceback:\n0xD01CA874 malloc\n0x1001070\($0 % 5) f_\($0 % 5)\n0x10000B84 main\n"
            }.joined(separator: "\n")
        try write(Array(text.utf8), to: scratch.path + "/log")
        #expect(try scratch.shell("'\(heapsum)' --format pprof log > log.pb.gz").exitStatus == 0)
        let json =
            "python3 -c 'import json, sys; print(sorted((r[\"bytes\"], r[\"blocks\"], [f[\"function\"] for f in "
            + "r[\"frames\"]]) for r in json.load(sys.stdin)[\"rows\"]))'"
        let before = try scratch.shell("'\(heapsum)' --format json log | \(json)"),
            after = try scratch.shell("'\(heapsum)' --format json log.pb.gz | \(json)")
        #expect(before.output == after.output && before.output.contains("f_4"), "\(after)")
    }

    /// Cut anywhere, a profile is damaged or refused, and never a smaller one in silence.
    @Test func cutOff() throws {
        let scratch = try Scratch()
        let text =
            "Current allocation report:\n\nAllocation #1: 0x3060\nAllocation size: 0x40\nAllocation "
            + "traceback:\n0xD01CA874 malloc\n0x10010700 f\n"
        try write(Array(text.utf8), to: scratch.path + "/log")
        #expect(try scratch.shell("'\(Built.products)/heapsum' --format pprof log | gzip -dc > log.pb").exitStatus == 0)
        let whole = try head(scratch.path + "/log.pb")
        for count in 1 ..< whole.count {
            let file = try LogFile(whole.prefix(count))
            do {
                let log = try reduce(file.path, .pprof)
                // Between two fields nobody can tell that more would come, but names that others refer to are missing
                // then.
                #expect(!log.input.damages.isEmpty || log.reduction.totals.liveBytes == 64, "\(count)")
            } catch is LogError {}
        }
    }

    /// Whatever its bytes are, a profile is read, or refused.
    @Test(arguments: [1, 2, 3] as [UInt64]) func flipsAreSurvived(seed: UInt64) throws {
        let scratch = try Scratch()
        let text = (1 ... 6).map {
            "Allocation #\($0): 0x3060\nAllocation size: 0x4\($0)\nAllocation traceback:\n0xD01CA87\($0) "
                + "malloc\n0x10010700 f\n"
        }.joined(separator: "\n")
        try write(Array(text.utf8), to: scratch.path + "/log")
        #expect(try scratch.shell("'\(Built.products)/heapsum' --format pprof log | gzip -dc > log.pb").exitStatus == 0)
        let whole = try head(scratch.path + "/log.pb")
        var random = SeededGenerator(seed: seed)
        for _ in 0 ..< 600 {
            var damaged = whole
            for _ in 0 ..< Int.random(in: 1 ... 6, using: &random) {
                let place = Int.random(in: 0 ..< damaged.count, using: &random)
                if Bool.random(using: &random) {
                    damaged[place] = UInt8.random(in: 0 ... 255, using: &random)
                } else {
                    damaged[place] ^= 0x80
                }
            }
            let file = try LogFile(damaged)
            do { _ = try reduce(file.path, .pprof) } catch let error as LogError { #expect(error.file == file.path) }
        }
    }
}
