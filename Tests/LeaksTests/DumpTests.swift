// A verdict in a dump: heapsum leaks says of the dump what it says of the program, and two dumps say what became
// unreachable between them and which holder grew.

import Glibc
import TestSupport
import Testing

@Suite struct DumpTests {
    private func json(_ scratch: Scratch, _ arguments: [String], _ python: String) throws -> String {
        let command = arguments.map { "'\($0)'" }.joined(separator: " ")
        let outcome = try scratch.shell(
            "'\(Built.products)/heapsum' \(command) > report.json && python3 -c 'import json; "
                + "r = json.load(open(\"report.json\")); \(python)'")
        try #require(outcome.exitStatus == 0, "\(outcome)")
        return outcome.output
    }

    @Test(arguments: ["cases", "graphs", "inside"]) func aDumpSaysWhatTheProgramSays(name: String) throws {
        let watched = try Watched([try leaksProgram(name)])
        let taken = try watched.scratch.run([Built.products + "/heapdump", "--leaks", String(watched.pid)])
        try #require(taken.exitStatus == 0, "\(taken)")
        let dump = taken.output.split(separator: "\n").map(String.init)[0]
        let options = ["leaks", "--verdict", "all", "--holders", "--format", "json"]
        let words = "print({k: r[k] for k in (\"whole\", \"verdicts\", \"rows\", \"holders\")})"
        let alive = try json(watched.scratch, options + [String(watched.pid)], words)
        #expect(try json(watched.scratch, options + [dump], words) == alive)
        // The program may be gone by then; a copy has it too.
        _ = try watched.end()
        _ = try watched.scratch.run([Built.products + "/heapsum", "pack", dump, "-o", "copy"])
        let copy = try #require(try watched.scratch.shell("ls copy/*.heap").output.split(separator: "\n").first)
        #expect(try json(watched.scratch, options + [String(copy)], words) == alive)
    }

    @Test func twoDumpsSayWhatWasLostBetweenThemAndWhoGrew() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo pipe")
        let running = try scratch.startRecorded(
            [try leaksProgram("growing")], options: ["--quiet", "-o", "images"], library: Built.interposer,
            input: scratch.path + "/pipe")
        let pid = try running.child()
        defer { kill(pid, SIGKILL) }
        #expect(try eventually { try contents(running.outputPath).contains("ready") })
        func dump() throws -> String {
            let outcome = try scratch.run([Built.products + "/heapdump", "--leaks", String(pid)])
            try #require(outcome.exitStatus == 0, "\(outcome)")
            return outcome.output.split(separator: "\n").map(String.init)[0]
        }
        let first = try dump()
        _ = try scratch.shell("echo >pipe")
        #expect(try eventually { try contents(running.outputPath).contains("done") })
        let second = try dump()

        // 50 blocks of 333 bytes were lost by the first, and 100 more by the second; 200 entries came in between.
        let told = try json(
            scratch, ["diff", "--format", "json", first, second],
            "h = [x for x in r[\"holders\"] if \"cache\" in x[\"holder\"]][0];"
                + "print(r[\"lost\"][\"bytesBefore\"], r[\"lost\"][\"growthBytes\"], r[\"lost\"][\"growthBlocks\"]); "
                + "print(h[\"holder\"], h[\"depth\"], h[\"keptBytesBefore\"], h[\"growthBytes\"], "
                + "h[\"growthBlocks\"]); "
                + "print(any(\"table\" in x[\"holder\"] for x in r[\"holders\"])); "
                + "print(sorted((x[\"verdict\"], x[\"growthBytes\"]) for x in r[\"rows\"] if x[\"growthBytes\"] > "
                + "5000))"
        )
        #expect(
            told == """
                16650 33300 100
                global cache (growing) 0 102400 204800 400
                False
                [('definite', 33300), ('reachable', 200000)]

                """)
        let table = try scratch.run([Built.products + "/heapsum", "diff", first, second]).output
        #expect(table.contains("lost    16,650 → 49,950  +33,300"), "\(table)")
        #expect(table.contains("33,300 bytes in 100 blocks of forget ← work ← main"), "\(table)")
        #expect(table.contains("+204,800   307,200          +400   global cache (growing)"), "\(table)")

        // Every view has it.
        #expect(
            try json(
                scratch, ["--verdict", "definite", "--format", "json", second],
                "print([(x[\"verdict\"], x[\"bytes\"], x[\"blocks\"]) for x in r[\"rows\"]])")
                == "[('definite', 33300, 100), ('definite', 16650, 50)]\n")
        let view = try scratch.run([Built.products + "/heapsum", "--by", "function", second]).output
        #expect(view.contains("definite") && view.contains("reachable"), "\(view)")
        let csv = try scratch.run([Built.products + "/heapsum", "--format", "csv", second]).output
        #expect(csv.contains(",verdict,stack,stack_key\r\n") && csv.contains(",definite,"), "\(csv)")
    }

    @Test func whatADumpCannotTellIsSaid() throws {
        let watched = try Watched([try leaksProgram("cases")])
        let heapsum = Built.products + "/heapsum"
        func dump(_ options: [String]) throws -> String {
            let outcome = try watched.scratch.run([Built.products + "/heapdump"] + options + [String(watched.pid)])
            return try #require(outcome.output.split(separator: "\n").first.map(String.init))
        }
        let with = try dump(["--leaks"]), without = try dump([])
        let why = try watched.scratch.run([heapsum, "leaks", "--why", "0x10", with])
        #expect(why.exitStatus == 2 && why.messages.contains("not the program's memory"), "\(why)")
        let none = try watched.scratch.run([heapsum, "leaks", without])
        #expect(none.exitStatus == 2 && none.messages.contains("heapdump --leaks"), "\(none)")
        let filtered = try watched.scratch.run([heapsum, "--verdict", "definite", without])
        #expect(filtered.exitStatus == 2 && filtered.messages.contains("no image here has a verdict"), "\(filtered)")
        for arguments in [["--verdict", "lost"], ["--verdict", "definite", "--older-than", "1s"]] {
            #expect(try watched.scratch.run([heapsum] + arguments + [with]).exitStatus == 64, "\(arguments)")
        }
        // Of a dump with a verdict and one without, nothing is known of the rows that both have.
        let mixed = try watched.scratch.run([heapsum, "--set", "all", "--format", "csv", with, without]).output
        #expect(!mixed.contains(",definite,"), "\(mixed)")
    }
}
