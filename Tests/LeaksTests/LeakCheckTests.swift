// Verdicts in the formats that builds and other tools read: heapsum check's limits, suppressions, and pprof's labels.

import Glibc
import TestSupport
import Testing

@Suite struct LeakCheckTests {
    private let scratch: Scratch
    private let heapsum = Built.products + "/heapsum"

    init() throws { scratch = try Scratch() }

    /// An image of a program's end: 50 blocks of 333 bytes are lost, and 100 entries of a cache are not.
    private func record() throws {
        let outcome = try scratch.record(
            ["sh", "-c", "exec '\(try leaksProgram("growing"))' </dev/null"],
            options: ["--quiet", "--leaks", "--only", "growing", "-o", "heap"], library: Built.interposer)
        try #require(outcome.exitStatus == 0, "\(outcome)")
    }

    private func check(_ options: String) throws -> Outcome {
        try scratch.shell("'\(heapsum)' check \(options) heap")
    }

    @Test func limitsOfWhatIsLost() throws {
        try record()
        let failed = try check("--max-definite 16649")
        #expect(failed.exitStatus == 1, "\(failed)")
        #expect(
            failed.output.contains("definitely lost bytes: 16,650 (at most 16,649 allowed, 1 too many)")
                && failed.output.contains("16,650 bytes in 50 blocks: definite") && failed.output.contains("forget")
                && !failed.output.contains("remember"), "\(failed.output)")
        #expect(try check("--max-definite 16650").exitStatus == 0)
        // With a verdict, what the runtimes keep is reachable, and the cache is no leak: nothing is suppressed.
        let lost = try check("--leaks")
        #expect(
            lost.exitStatus == 1 && lost.output.contains("live blocks: 50 (at most 0 allowed")
                && lost.output.contains("Counted: blocks that are definite or indirect.")
                && !lost.output.contains("Suppressed"), "\(lost.output)")
        try scratch.prepare("echo 'leak:^forget$' > known.supp; echo 'leak:^nothing$' > other.supp")
        #expect(try check("--leaks --suppressions known.supp").exitStatus == 0)
        #expect(try check("--leaks --suppressions other.supp").exitStatus == 1)
        #expect(try check("--max-definite 0 --suppressions known.supp").exitStatus == 0)
    }

    @Test func formatsOfBuilds() throws {
        try record()
        let sarif = try scratch.shell(
            "'\(heapsum)' check --max-definite 0 --format sarif heap | python3 -c 'import json, sys; "
                + "r = json.load(sys.stdin)[\"runs\"][0][\"results\"]; print(len(r), "
                + "r[0][\"properties\"][\"verdict\"], "
                + "r[0][\"properties\"][\"bytes\"])'")
        #expect(sarif.output == "1 definite 16650\n", "\(sarif)")
        let junit = try scratch.shell(
            "'\(heapsum)' check --max-definite 0 --max-blocks 10000 --format junit heap | python3 -c 'import sys; "
                + "import xml.etree.ElementTree as E; s = E.parse(sys.stdin).getroot(); "
                + "print(s.get(\"tests\"), s.get(\"failures\"), s.find(\".//failure\").get(\"type\"), "
                + "\": definite\" in s.find(\".//failure\").text)'")
        #expect(junit.output == "2 1 max-definite True\n", "\(junit)")
        // pprof itself sums up by label.
        let tags = try scratch.shell(
            "'\(heapsum)' --format pprof -o p.pb.gz heap/*.heap; "
                + "'\(Built.pprof)' -tags -sample_index=inuse_space -unit=B p.pb.gz"
        )
        let lines = tags.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(lines.contains { $0.first == "16650.0B" && $0.last == "definite" }, "\(tags)")
        #expect(lines.contains { $0.last == "reachable" } && tags.output.contains("verdict:"), "\(tags)")
    }

    @Test func suppressionsOfTheReport() throws {
        try record()
        try scratch.prepare(
            """
            printf '{\\n  what is known\\n  Memcheck:Leak\\n  fun:malloc\\n  fun:forget\\n}\\n' > known.supp
            """)
        let told = try scratch.shell("'\(heapsum)' leaks --suppressions known.supp heap/*.heap")
        #expect(
            told.output.contains("definite          0         0")
                && told.output.contains("50 blocks of 16,650 bytes suppressed by what is known"), "\(told)")
        #expect(try scratch.shell("'\(heapsum)' leaks --suppressions none.supp heap/*.heap").exitStatus == 2)
    }

    @Test func withoutAVerdictThereIsNoAnswer() throws {
        let program = try leaksProgram("growing")
        _ = try scratch.record(
            ["sh", "-c", "exec '\(program)' </dev/null"], options: ["--quiet", "--only", "growing", "-o", "heap"],
            library: Built.interposer)
        for options in ["--max-definite 0", "--leaks"] {
            let outcome = try check(options)
            #expect(outcome.exitStatus == 2 && outcome.messages.contains("it has no verdict"), "\(outcome)")
        }
        for options in ["--leaks --verdict definite", "--max-definite 0 --verdict reachable"] {
            #expect(try check(options).exitStatus == 64)
        }
    }
}
