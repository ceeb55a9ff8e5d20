// Each interposed function, once for a block that stays and once for one that goes, and the corners that libc has of
// its own.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct FunctionTests {
    @Test func eachFunctionIsBookedOnceWithItsCaller() throws {
        let plain = try Scratch().run([try Built.program("functions")])
        let recording = try Scratch().recordProgram("functions")
        #expect(recording.outcome == plain)
        let reduced = try Reduced(try recording.image(of: "functions"))
        let lines = plain.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        let all =
            try interposedNames("C") + interposedNames("C_LESS_COMMON") + ["cfree"] + interposedNames("NEW")
            + interposedNames("DELETE")
        #expect(lines.map { $0[0] } == all)
        for line in lines {
            // The program says how many blocks of how many bytes each left; its caller is the innermost frame, or one
            // helper of the program's own within it.
            let name = line[0], expected = (blocks: UInt64(line[1]), bytes: UInt64(line[2]))
            let frees = try interposedNames("DELETE").contains(name) || name.contains("free")
            let holding = reduced.holding(frees ? "give_\(name)" : "leak_\(name)", anywhere: true)
            #expect(holding.blocks == expected.blocks && holding.bytes == expected.bytes, "\(name): \(holding)")
            if frees { #expect(holding.allocatedBlocks == 2 && holding.freedBlocks == 1, "\(name): \(holding)") }
            // A C++ runtime's operator is no part of the stack, nor are the hooks.
            let innermost = reduced.reduction.rows.map { reduced.functions($0) }.filter {
                $0.contains(frees ? "give_\(name)" : "leak_\(name)")
            }
            for names in innermost {
                #expect(!names.contains { $0.hasPrefix("_Zn") || $0.hasPrefix("_Zd") || $0 == "malloc" }, "\(names)")
            }
        }
    }

    @Test func cornersAreLibcs() throws {
        let plain = try Scratch().run([try Built.program("edges")])
        let recording = try Scratch().recordProgram("edges")
        #expect(recording.outcome == plain)
        let image = try recording.image(of: "edges")
        let reduced = try Reduced(image)
        let left = reduced.holding("leave")
        #expect(left.blocks == 4 && left.bytes == 0 + 24 + 24 + 100, "\(left)")
        #expect(image.losses.unmatched_frees == 0 && image.losses.healed_slots == 0)
        // Nothing else of the program's is live: what main tried it gave back.
        #expect(reduced.holding("main").blocks == 0)
    }

    @Test func requestedBytesAndEventsAreValgrinds() throws {
        // One run each under memcheck and recorded, of programs whose work doesn't hang on their environment.
        // Memcheck's own freeing of libc's and the C++ runtime's blocks at the end is turned off.
        for (program, arguments) in [("edges", []), ("race", []), ("/usr/bin/sqlite3", [":memory:", sql])]
            as [(String, [String])]
        {
            let scratch = try Scratch()
            let path = program.hasPrefix("/") ? program : try Built.program(program)
            let name = path.split(separator: "/").last.map(String.init) ?? ""
            let judged = try scratch.run(
                ["valgrind", "--run-libc-freeres=no", "--run-cxx-freeres=no", path] + arguments)
            let recorded = Recording(
                scratch: scratch, outcome: try scratch.run([path] + arguments, variables: scratch.recordingVariables()))
            #expect(recorded.outcome.exitStatus == judged.exitStatus)
            let valgrind = try Valgrind(judged.messages)
            let totals = try Reduced(try recorded.image(of: name)).totals
            // A thread's table of TLS blocks (dtv) grows by 16 bytes for each module with TLS that a process has: the
            // library and libunwind are two more, or, under valgrind, none. Three threads are started by "race".
            let slack: UInt64 = program == "race" ? 3 * 4 * 16 : 0
            #expect(totals.history?.allocatedBlocks == valgrind.allocations, "\(program)")
            #expect(totals.history?.freedBlocks == valgrind.frees, "\(program)")
            #expect(totals.liveBlocks == valgrind.liveBlocks, "\(program)")
            #expect(
                totals.liveBytes >= valgrind.liveBytes && totals.liveBytes <= valgrind.liveBytes + slack,
                "\(program): \(totals.liveBytes), \(valgrind)")
        }
    }

    private let sql = """
        create table t(a, b); with recursive c(x) as (select 1 union all select x + 1 from c where x < 2000) \
        insert into t select x, hex(x) from c; select count(*), max(b) from t where b is not null;
        """
}

/// Memcheck's heap summary.
struct Valgrind {
    var liveBytes: UInt64 = 0, liveBlocks: UInt64 = 0, allocations: UInt64 = 0, frees: UInt64 = 0,
        allocatedBytes: UInt64 = 0

    init(_ messages: String) throws {
        func numbers(after heading: String) throws -> [UInt64] {
            guard let line = messages.split(separator: "\n").last(where: { $0.contains(heading) }),
                let colon = line.firstIndex(of: ":")
            else {
                throw Failure("valgrind said no \(heading): \(messages)")
            }
            return line[colon...].split(separator: " ").compactMap { UInt64(String($0.filter { $0 != "," })) }
        }
        let live = try numbers(after: "in use at exit"), total = try numbers(after: "total heap usage")
        guard live.count == 2, total.count == 3 else {
            throw Failure("valgrind's summary reads otherwise: \(messages)")
        }
        (liveBytes, liveBlocks) = (live[0], live[1])
        (allocations, frees, allocatedBytes) = (total[0], total[1], total[2])
    }
}
