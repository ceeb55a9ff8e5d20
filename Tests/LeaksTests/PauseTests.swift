// What the program notices of a verdict: nothing. Each waiting system call goes on waiting; a program that works gives
// the same result.

import Glibc
import HeapImage
import Launch
import Leaks
import TestSupport
import Testing

@Suite struct PauseTests {
    @Test func noWaitingCallComesBack() throws {
        let watched = try Watched([try leaksProgram("calls")])
        var lines = try watched.lines()
        #expect(lines == ["29 calls"])
        for _ in 0 ..< 10 { #expect(try watched.leaks().exitStatus == 0) }
        lines = try watched.lines()
        #expect(lines == ["29 calls"])
        // What System V's objects need to go.
        kill(watched.pid, SIGTERM)
        #expect(try watched.running.wait().exitStatus == 0)
    }

    // Before an exec heaprun --leaks stops the other threads. The exec fails, and they wait on.
    @Test func noWaitingCallComesBackWhenAnExecFails() throws {
        let watched = try Watched(
            [try leaksProgram("calls"), "0", "3"], options: ["--leaks", "--quiet", "-o", "images"])
        #expect(try watched.lines() == ["29 calls"])
        kill(watched.pid, SIGTERM)
        #expect(try watched.running.wait().exitStatus == 0)
    }

    // A signal that is sent to the process ends one wait, not one in each thread; and a thread goes on in the wait that
    // it has come to, not in one before.
    @Test(arguments: ["signals", "calls"])
    func eachWaitEndsInItsTurn(kind: String) throws {
        let watched = try Watched([try leaksProgram("turns"), kind])
        for _ in 0 ..< 10 { #expect(try watched.leaks().exitStatus == 0) }
        kill(watched.pid, SIGTERM)
        let outcome = try watched.running.wait()
        #expect(outcome.exitStatus == 0 && outcome.output.hasSuffix("all well\n"), "\(outcome)")
    }

    // heapsum is killed while all threads are stopped: at any time of the pause, and while the kernel makes the copy of
    // the process. Then the threads find home by themselves.
    @Test func heapsumMayDieAtAnyInstant() throws {
        let watched = try Watched([try leaksProgram("calls"), "300"])
        let threads = try words(watched, "ls /proc/\(watched.pid)/task")
        let masks = try threads.map { try line("SigBlk", of: $0) }
        let isAlone = try living(watched) == 1
        #expect(threads.count == 30 && isAlone)
        var generator = SeededGenerator(seed: 4711)
        var hits = 0
        // A stop may be over before the kill: then once more.
        for round in 0 ..< 60 where hits < 6 {
            let tool = try watched.scratch.start([Built.products + "/heapsum", "leaks", String(watched.pid)])
            var result: Int32 = 0, isOver = false
            func wait(until isThere: () -> Bool) {
                while !isOver && !isThere() { isOver = waitpid(tool.pid, &result, WNOHANG) != 0 }
            }
            // All are stopped, and then one makes the copy: so heapsum has seen each stop.
            wait { threads.allSatisfy { state(of: $0) == "t" } }
            wait { threads.contains { state(of: $0) != "t" } }
            usleep(UInt32.random(in: 0 ..< (round % 2 == 0 ? 3000 : 12000), using: &generator))
            let isStopped = threads.contains { state(of: $0) == "t" }
            if !isOver {
                kill(tool.pid, SIGKILL)
                waitpid(tool.pid, &result, 0)
            }
            if isStopped && result == SIGKILL { hits += 1 }
            // All run or wait again, with their own signal masks; and the copy is gone.
            #expect(eventually { threads.allSatisfy { state(of: $0) == "S" } })
            #expect(try threads.map { try line("SigBlk", of: $0) } == masks)
            #expect(try eventually { try living(watched) == 1 })
            try #require(try watched.lines() == ["29 calls"], "killed \(round + 1) times")
        }
        #expect(hits > 2)
        #expect(try watched.leaks().exitStatus == 0)
        #expect(try watched.lines() == ["29 calls"])
        kill(watched.pid, SIGTERM)
        #expect(try watched.running.wait().exitStatus == 0)
    }

    /// A thread's state by the kernel: "S": it waits; "t": a tracer has stopped it.
    private func state(of thread: String) -> Character? {
        guard let text = try? contents("/proc/\(thread)/stat"), let end = text.lastIndex(of: ")") else { return nil }
        return text[end...].dropFirst(2).first
    }

    private func line(_ name: String, of thread: String) throws -> Substring? {
        try contents("/proc/\(thread)/status").split(separator: "\n").first { $0.hasPrefix(name) }
    }

    /// How many children it has that are no zombies.
    private func living(_ watched: Watched) throws -> Int {
        try words(watched, "cat /proc/\(watched.pid)/task/*/children")
            .filter { state(of: $0) != "Z" && state(of: $0) != nil }.count
    }

    private func words(_ watched: Watched, _ command: String) throws -> [String] {
        try watched.scratch.shell(command).output.split { $0.isWhitespace }.map(String.init)
    }

    // A signal that comes while the program stands still is delivered as if it ran.
    @Test func signalsArriveAllTheSame() throws {
        let watched = try Watched([try leaksProgram("ticking")])
        for _ in 0 ..< 20 { #expect(try watched.leaks().exitStatus == 0) }
        kill(watched.pid, SIGTERM)
        let outcome = try watched.running.wait()
        #expect(outcome.exitStatus == 0, "\(outcome)")
        #expect(outcome.output.hasSuffix("all well\n"), "\(outcome)")
    }

    // Near a container's limit, a search that gave the clone pages of its own would end the program.
    @Test func theSearchTakesNoMemoryFromTheProgram() throws {
        let watched = try Watched([try leaksProgram("planted"), "200000", "100"])
        let place = try findImage(of: watched.pid, deadline: 0)
        let snapshot = try Snapshot.take(
            of: watched.pid, image: HeapImage(place.source(of: watched.pid), presence: .running))
        let clone = try #require(
            try contents("/proc/\(watched.pid)/task/\(watched.pid)/children").split(separator: " ").first)
        let before = try privateKilobytes(clone)
        let verdict = LeakVerdict(snapshot)
        let after = try privateKilobytes(clone)
        #expect(verdict.snapshot.blocks.count > 200_000)
        #expect(after - before < 1000, "\(before) kB, then \(after) kB")
        snapshot.finish()
    }

    /// What only this process has, by the kernel.
    private func privateKilobytes(_ pid: Substring) throws -> Int {
        try contents("/proc/\(pid)/smaps_rollup").split(separator: "\n").filter { $0.hasPrefix("Private_") }
            .reduce(0) { $0 + (Int($1.split(separator: " ").dropFirst().first ?? "") ?? 0) }
    }
}
