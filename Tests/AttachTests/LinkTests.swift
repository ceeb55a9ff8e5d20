// A recording that nobody waits for is found in its output directory: while it runs, and after the program's own end.

import Glibc
import TestSupport
import Testing

@Suite struct LinkTests {
    private func names(_ program: Attached) throws -> [String] {
        try program.scratch.run(["ls", program.scratch.file("images")]).output.split(separator: "\n").map(String.init)
    }

    /// What heapsum says about the output directory.
    private func report(_ program: Attached) throws -> Outcome {
        try program.scratch.run([Built.products + "/heapsum", program.scratch.file("images")])
    }

    private func isLink(_ program: Attached, _ name: String) -> Bool {
        var status = stat()
        return lstat(program.scratch.file("images/" + name), &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }

    @Test func theImageIsFoundWhileTheProgramRunsAndAfterItsEnd() throws {
        let program = try Attached.churn(3)
        try program.attach()
        let name = "churn.\(program.pid).heap"
        #expect(try names(program) == [name])
        #expect(isLink(program, name))
        try program.churnOn()
        let running = try report(program)
        #expect(running.exitStatus == 0 && running.output.contains("running"), "\(running)")
        kill(program.pid, SIGKILL)
        _ = try program.wait()
        let over = try report(program)
        #expect(over.exitStatus == 0 && over.output.contains("blocks"), "\(over)")
        #expect(!over.output.contains("running"), "\(over)")
    }

    @Test func aSecondRecordingIsFoundBesideTheFirst() throws {
        let program = try Attached.churn(1)
        let names = (1 ... 3).map { "churn.\(program.pid)\($0 == 1 ? "" : "-\($0)").heap" }
        for round in 0 ..< 3 {
            try program.attach()
            #expect(isLink(program, names[round]))
            _ = try program.detach()
            #expect(try self.names(program) == names[...round].sorted())
            #expect(names[...round].allSatisfy { !isLink(program, $0) })
        }
        #expect(try program.ask("quit") == "damaged 0")
    }

    @Test func theEndOfTheRecordingPutsTheImageInTheLinksPlace() throws {
        let program = try Attached.churn(3)
        try program.attach()
        let first = "churn.\(program.pid).heap", second = "churn.\(program.pid)-2.heap"
        let changed = try program.heaprun("--pid", ["--sample", "512K"])
        #expect(changed.exitStatus == 0, "\(changed)")
        #expect(!isLink(program, first) && isLink(program, second))
        _ = try program.detach()
        #expect(try names(program) == [second, first].sorted())
        #expect(!isLink(program, first) && !isLink(program, second))
        _ = try program.ask("pause")
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    // heaprun packs the image when the program ends. Until then its directory is empty, or has children's images.
    @Test func aDirectoryTellsWhoStillRuns() throws {
        let program = try Attached(
            [Built.heaprun, "-o", "images", try Built.program("dormant")],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try program.answer() == "ready")
        let pid = try program.running.child(), early = try report(program)
        #expect(early.exitStatus == 2, "\(early)")
        #expect(early.messages.contains("dormant (PID \(pid)) still runs and has no image in"), "\(early)")
        #expect(early.messages.contains("heapsum \(pid) reads it now"), "\(early)")
        #expect(try program.ask("quit") == "bye")
        #expect(try program.wait().exitStatus == 7)
        let late = try report(program)
        #expect(late.exitStatus == 0 && !late.messages.contains("still runs"), "\(late)")
    }

    @Test func aRefusalLeavesNoNewDirectory() throws {
        let program = try Attached(["cat"])
        // Not an option that the library takes: too long.
        let refused = try program.heaprun("--pid", ["-o", "new", "--only", String(repeating: "x", count: 20_000)])
        #expect(refused.exitStatus == 125, "\(refused)")
        #expect(access(program.scratch.file("new"), F_OK) != 0, "\(refused)")
        let there = try program.scratch.run(["mkdir", "-p", "old"])
        #expect(there.exitStatus == 0)
        _ = try program.heaprun("--pid", ["-o", "old", "--only", String(repeating: "x", count: 20_000)])
        #expect(access(program.scratch.file("old"), F_OK) == 0)
    }
}
