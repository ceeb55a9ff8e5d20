// Where no verdict can be had: the reason and the way out are said, nothing is stopped, and the exit status is 2.

import Glibc
import TestSupport
import Testing

@Suite struct RefusalTests {
    private func refusal(_ arguments: [String]) throws -> String {
        let scratch = try Scratch()
        let outcome = try scratch.run(arguments)
        #expect(outcome.exitStatus == 2 && outcome.output.isEmpty, "\(outcome)")
        return outcome.messages
    }

    private var leaks: [String] { [Built.products + "/heapsum", "leaks"] }

    @Test func processesThatAreNotThereOrNotRecorded() throws {
        #expect(try refusal(leaks + ["4194303"]).contains("no such process"))
        let scratch = try Scratch()
        let sleeper = try scratch.start(["/bin/sleep", "60"])
        #expect(try refusal(leaks + [String(sleeper.pid)]).contains("not recorded"))
        kill(sleeper.pid, SIGKILL)
        _ = try sleeper.wait()
    }

    /// A thread's number has a directory in /proc, too, that doesn't stand in its list.
    @Test func aThreadIsNoProcess() throws {
        let watched = try Watched([try leaksProgram("held")])
        let threads = try watched.scratch.shell("ls /proc/\(watched.pid)/task").output.split(separator: "\n")
        let thread = try #require(threads.first { $0 != "\(watched.pid)" })
        for command in [leaks, [Built.products + "/heapsum"], [Built.products + "/heapdump"]] {
            let message = try refusal(command + [String(thread)])
            #expect(message.contains("a thread of process \(watched.pid)"), "\(message)")
        }
    }

    @Test func anImageOfAProgramThatIsGone() throws {
        let watched = try Watched([try leaksProgram("cases")])
        _ = try watched.end()
        let image = try #require(try watched.scratch.shell("ls images/*.heap").output.split(separator: "\n").first)
        let message = try watched.scratch.run(leaks + [String(image)], directory: watched.scratch.path)
        #expect(
            message.exitStatus == 2 && message.messages.contains("does not run any more")
                && message.messages.contains("heapsum leaks PID"), "\(message)")
    }

    @Test func aProcessThatAnotherTraces() throws {
        let watched = try Watched([try leaksProgram("cases")])
        let debugger = try watched.scratch.start(["strace", "-f", "-o", "trace", "-p", String(watched.pid)])
        let isTraced = try eventually { !(try contents("/proc/\(watched.pid)/status").contains("TracerPid:\t0")) }
        #expect(isTraced)
        let message = try refusal(leaks + [String(watched.pid)])
        #expect(message.contains("traces it (strace)") && message.contains("one tracer"), "\(message)")
        kill(debugger.pid, SIGTERM)
        _ = try debugger.wait()
        #expect(try watched.leaks().exitStatus == 0)
    }

    // Another user's, and one's own that is not to be traced (PR_SET_DUMPABLE 0). Needs root, to become others.
    @Test(.enabled(if: geteuid() == 0)) func processesOfOthers() throws {
        let watched = try Watched([try leaksProgram("cases")])
        let other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        // The build may lie where others can't look: a copy of the tool may be run by all.
        try watched.scratch.prepare("chmod 755 . && cp '\(Built.products)/heapsum' heapsum && chmod 755 heapsum")
        let outcome = try watched.scratch.run(
            other + ["\(watched.scratch.path)/heapsum", "leaks", String(watched.pid)])
        #expect(outcome.exitStatus == 2 && outcome.messages.contains("root"), "\(outcome)")
        #expect(try contents("/proc/\(watched.pid)/status").contains("State:\tS"))
    }

    // A process may be traced and hold a filter that lets no clone pass, in any thread; or its next child begins a
    // PID namespace, which root may make. It is read where it stands, and that is said.
    @Test(arguments: ["main", "thread"]) func whomACloneWouldEnd(how: String) throws { try expectNoClone(how) }
    @Test(.enabled(if: getuid() == 0, "only root makes a PID namespace")) func whoseChildWouldBeginANamespace() throws {
        try expectNoClone("namespace")
    }

    private func expectNoClone(_ how: String) throws {
        let watched = try Watched([try leaksProgram("filtered"), how])
        let outcome = try watched.leaks()
        #expect(
            outcome.exitStatus == 0 && outcome.output.contains(how == "namespace" ? "PID namespace" : "seccomp")
                && outcome.output.contains("stood still while"), "\(outcome)")
        #expect(try watched.rows().sum("definite") == [1, 1234])
        kill(watched.pid, SIGTERM)
        #expect(try watched.running.wait().exitStatus == 0)
    }

    // Threads in which a call would do harm. The call goes into another thread, or the program is read where it stands;
    // none of its own numbers changes, and no call of its own is handed to it.
    @Test(arguments: ["pool", "coroutine", "dead"]) func whereACallWouldHarm(how: String) throws {
        try expectNoHarm(how)
    }

    private static let canDispatch =
        (try? Scratch().run([leaksProgram("stacks"), "can dispatch"]).exitStatus) == 0
    @Test(.enabled(if: canDispatch, "this kernel hands no program its own system calls"))
    func whereAProgramTakesItsOwnCalls() throws { try expectNoHarm("dispatch") }

    private func expectNoHarm(_ how: String) throws {
        let watched = try Watched([try leaksProgram("stacks"), how])
        for _ in 0 ..< 2 {
            let outcome = try watched.leaks()
            #expect(
                outcome.exitStatus == 0
                    && outcome.output.contains("could be led through a clone") == (how == "dispatch"), "\(outcome)")
        }
        #expect(try watched.rows().sum("definite") == [1, 1234])
        kill(watched.pid, SIGTERM)
        let outcome = try watched.running.wait()
        #expect(outcome.exitStatus == 0, "\(outcome)")
    }

    @Test func wrongArguments() throws {
        let scratch = try Scratch()
        for arguments in [
            ["--verdict", "lost", "1"], ["--verdict", "", "1"], ["--why", "xyz", "1"], ["--top", "-1", "1"],
            ["--holders", "--format", "csv", "1"], [],
        ] {
            #expect(try scratch.run(leaks + arguments).exitStatus == 64, "\(arguments)")
        }
    }
}
