// What the program notices of a verdict: nothing. Each waiting system call goes on waiting; a program that works gives
// the same result.

import Glibc
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
}
