// heaprun --leaks: whichever way a program ends, what it lost is found and nobody else is accused; and it ends as it
// does without. The pointer was last held by a local of main or of a function that main called. `make test-leaks` runs
// all shapes with all ends.

import Glibc
import TestSupport
import Testing

@Suite struct LeaksAtEndTests {
    private static let ends = [
        "return", "exit", "_exit", "quick_exit", "exit_group", "abort", "SIGTERM", "SIGSEGV", "exec", "execvp",
        "pthread_exit",
    ]
    private static let statuses: [String: Int32] = [
        "abort": 128 + SIGABRT, "SIGTERM": 128 + SIGTERM, "SIGSEGV": 128 + SIGSEGV, "pthread_exit": 0,
    ]

    private func record(_ scratch: Scratch, _ arguments: [String], _ options: [String]) throws -> Outcome {
        try scratch.record(arguments, options: options + ["-o", "images", "--leaks"], library: Built.interposer)
    }

    // Each end with another shape, and each shape with one end at least.
    @Test(arguments: Array(ends.enumerated()).map { "\($0.offset % 10) \($0.element)" })
    func whatALocalHeldLastIsFound(shapeAndEnd: String) throws {
        let words = shapeAndEnd.split(separator: " ").map(String.init), scratch = try Scratch()
        let program = try leaksProgram("ends"), status = Self.statuses[words[1]] ?? 3
        for mode in ["leak", "clean"] {
            let arguments = [program, mode] + words
            let told = try record(scratch, arguments, [])
            #expect(told.exitStatus == status, "\(told)")
            let isFound = told.messages.contains(": definite ") && !told.messages.contains(": definite 0 bytes")
            #expect(isFound == (mode == "leak"), "\(arguments): \(told.messages)")
            #expect(!told.messages.contains("no verdict"), "\(told.messages)")
            let checked = try record(scratch, arguments, ["--quiet", "--leak-exit", "77"])
            #expect(checked.exitStatus == (mode == "leak" ? 77 : status), "\(checked)")
        }
    }

    /// A call that waits is ended by a signal with a handler, and by no other: as without heaprun.
    @Test func aSignalWithoutAHandlerEndsNoCall() throws {
        let scratch = try Scratch(), program = try leaksProgram("ignores")
        let plain = try scratch.run([program])
        #expect(plain.output == "child window urgent continue ignored: 0\nhandled: interrupted\n", "\(plain)")
        let traced = try record(scratch, [program], ["--quiet"])
        #expect(traced.output == plain.output && traced.exitStatus == plain.exitStatus, "\(traced)")
    }

    @Test func theImageKeepsIt() throws {
        let scratch = try Scratch()
        _ = try record(scratch, [try leaksProgram("ends"), "leak", "4", "return"], ["--quiet"])
        let image = try #require(try scratch.shell("ls images/*.heap").output.split(separator: "\n").first)
        let told = try scratch.run([Built.products + "/heapsum", "leaks", "--format", "csv", String(image)])
        let rows = told.output.split(whereSeparator: \.isNewline).dropFirst()
        #expect(
            rows.contains { $0.hasPrefix("definite,16,1,1004,1,") }
                && rows.contains { $0.hasPrefix("indirect,1004,1,") },
            "\(told)")
    }

    // Valgrind looks at the same moment, the program's last. Debian's own programs that lose something, and have an
    // end of their own.
    @Test(arguments: [
        ["sort", "/etc/passwd"], ["perl", "-e", "my @a = map { \"x\" x $_ } 1..100; print 1"],
        ["jq", "-n", "include \"/nowhere/nowhere\"; ."],
    ])
    func theNumbersAreValgrinds(arguments: [String]) throws {
        let scratch = try Scratch()
        let valgrind = try scratch.run(
            ["valgrind", "--leak-check=full", "--run-cxx-freeres=no", "--run-libc-freeres=no"] + arguments)
        let numbers = ["definitely lost:", "indirectly lost:"].map { title -> [Int] in
            for line in valgrind.messages.split(separator: "\n") {
                guard let range = line.firstRange(of: title) else { continue }
                return line[range.upperBound...].split(separator: " ").compactMap { Int($0.filter { $0 != "," }) }
            }
            return []
        }
        try #require(numbers.allSatisfy { $0.count == 2 } && numbers[0][1] > 0, "\(valgrind)")
        _ = try record(scratch, arguments, ["--quiet"])
        let image = try #require(try scratch.shell("ls images/*.heap").output.split(separator: "\n").first)
        let told = try scratch.run(
            [Built.products + "/heapsum", "leaks", "--verdict", "all", "--format", "csv", String(image)])
        var sums: [String: [Int]] = [:]
        for line in told.output.split(whereSeparator: \.isNewline).dropFirst() {
            let cells = line.split(separator: ",", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
            let (bytes, blocks) = (Int(cells[1]) ?? 0, Int(cells[2]) ?? 0)
            sums[cells[0], default: [0, 0]][0] += bytes
            sums[cells[0], default: [0, 0]][1] += blocks
        }
        #expect(sums["definite"] == numbers[0] && sums["indirect", default: [0, 0]] == numbers[1], "\(told.output)")
    }

    // The shell's children are judged too, and traced programs get their signals, stop and go on.
    @Test func childrenAreJudgedAndSignalsArrive() throws {
        let scratch = try Scratch()
        let program = try leaksProgram("ends")
        let script = """
            trap 'echo got it' USR1; kill -USR1 $$
            '\(program)' leak 2 exit & '\(program)' clean 1 exit; wait
            sleep 0.3 & kill -STOP $!; kill -CONT $!; wait $!; echo slept $?
            (kill -TERM $$) & sleep 5
            """
        let plain = try scratch.run(["bash", "-c", script])
        let told = try record(scratch, ["bash", "-c", script], [])
        #expect(told.exitStatus == 128 + SIGTERM && plain.output == told.output, "\(told)")
        #expect(told.output == "got it\nslept 0\n", "\(told)")
        let line = told.messages.split(separator: "\n").first { $0.contains("leaks of ends") }
        #expect(line?.contains("definite 1,002 bytes in 1 block") == true, "\(told.messages)")
        #expect(told.messages.ranges(of: "leaks of ends").count == 1, "\(told.messages)")
    }

    @Test func threadsOfAllKinds() throws {
        let scratch = try Scratch()
        for arguments in [["threads"], ["exec"]] {
            let told = try record(scratch, [try leaksProgram("crowded")] + arguments, [])
            // What threads hold that run up to the end is not lost; what they held that ended is.
            #expect(told.exitStatus == 3 && told.messages.contains("definite 5,000 bytes in 50 blocks"), "\(told)")
        }
    }

    @Test func wrongArguments() throws {
        let scratch = try Scratch()
        for (arguments, words) in [
            (["--leak-exit", "3"], "--leak-exit goes with --leaks"), (["--leaks", "--leak-exit", "256"], "0 to 255"),
            (["--leaks", "--exec"], "doesn't go with --exec"), (["--leaks", "--print", "systemd"], "--print"),
        ] {
            let outcome = try scratch.record(["/bin/true"], options: arguments, library: Built.interposer)
            #expect(outcome.exitStatus == 125 && outcome.messages.contains(words), "\(outcome)")
        }
        // What can't be run has the status that it has without.
        #expect(try record(scratch, ["./nothing"], []).exitStatus == 127)
    }
}
