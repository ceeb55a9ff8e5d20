// A program that a control group's freezer holds (docker pause): heapsum says so, waits for nothing, and leaves it as
// it was. Needs root and a freezer.

import Glibc
import TestSupport
import Testing

@Suite struct FrozenTests {
    @Test(.enabled(if: !TestFreezer.usable.isEmpty, "needs root and a freezer"), arguments: TestFreezer.usable)
    func aFrozenProgram(by freezer: TestFreezer) throws {
        let watched = try Watched([try leaksProgram("held")])
        let group = try #require(FreezerGroup(watched.pid, freezer))
        let isFrozen = try group.freeze()
        try #require(isFrozen)
        let outcome = try watched.leaks()
        if freezer == .first {
            #expect(outcome.exitStatus == 2 && outcome.messages.contains("is frozen"), "\(outcome)")
        } else {
            #expect(outcome.exitStatus == 0 && outcome.output.contains("is frozen"), "\(outcome)")
            #expect(try watched.rows().sum("definite") == [1, 1234])
        }
        #expect(try contents("/proc/\(watched.pid)/status").contains("TracerPid:\t0"))
        group.setFrozen(false)
        #expect(try watched.rows().sum("definite") == [1, 1234])
        try expectWell(watched)
    }

    // While a thread makes heapsum's call: heapsum gives up after ten seconds, and the thread finds home.
    @Test(.enabled(if: !TestFreezer.usable.isEmpty, "needs root and a freezer"), arguments: TestFreezer.usable)
    func aProgramThatIsFrozenMeanwhile(by freezer: TestFreezer) throws {
        let watched = try Watched([try leaksProgram("held")])
        let group = try #require(FreezerGroup(watched.pid, freezer))
        let number = try calls(watched)
        var last: Outcome?
        // Again, if this machine was too busy to freeze it in time.
        for attempt in 0 ..< 5 where last?.messages.contains("was frozen while") != true {
            last = try frozenMeanwhile(watched, group, at: number, trace: "trace.\(attempt)")
        }
        let outcome = try #require(last)
        #expect(outcome.exitStatus == 2 && outcome.messages.contains("was frozen while"), "\(outcome)")
        try expectWell(watched)
    }

    /// What heapsum says; it waits for some seconds when it is about to let the thread go, which is call `number`.
    private func frozenMeanwhile(
        _ watched: Watched, _ group: FreezerGroup, at number: Int, trace: String
    ) throws -> Outcome {
        let tool = try watched.scratch.start(
            [
                "strace", "-f", "--seccomp-bpf", "-e", "trace=ptrace", "-e",
                "inject=ptrace:delay_enter=5s:when=\(number)",
                "-o", trace, Built.products + "/heapsum", "leaks", String(watched.pid),
            ])
        let isThere = try eventually(seconds: 60) {
            guard access(watched.scratch.file(trace), R_OK) == 0 else { return false }
            return try contents(watched.scratch.file(trace)).contains("PTRACE_SETOPTIONS, ")
        }
        #expect(isThere)
        let isFrozen = try group.freeze()
        #expect(isFrozen)
        defer { group.setFrozen(false) }
        return try tool.wait()
    }

    /// The number of the call that lets the thread go.
    private func calls(_ watched: Watched) throws -> Int {
        _ = try watched.scratch.run(
            [
                "strace", "-f", "--seccomp-bpf", "-e", "trace=ptrace", "-o", "calls",
                Built.products + "/heapsum", "leaks", String(watched.pid),
            ], directory: watched.scratch.path)
        let lines = try contents(watched.scratch.file("calls")).split(separator: "\n").filter {
            $0.contains(" ptrace(")
        }
        return try #require(lines.firstIndex { $0.contains("PTRACE_SYSCALL") }) + 1
    }

    private func expectWell(_ watched: Watched) throws {
        let threads = try watched.scratch.shell("ls /proc/\(watched.pid)/task").output.split(separator: "\n")
        #expect(
            try eventually {
                try threads.allSatisfy {
                    try contents("/proc/\(watched.pid)/task/\($0)/status").contains("TracerPid:\t0")
                }
            })
        kill(watched.pid, SIGTERM)
        let outcome = try watched.running.wait()
        #expect(outcome.exitStatus == 0 && outcome.output.hasSuffix("all well\n"), "\(outcome)")
    }
}
