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
