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

    // heapsum is killed when it makes its first call of ptrace, its second, and so on. strace counts them. All of them
    // if HEAPSUM_TEST_ALL is set, else each other one of those around the clone, and some before and after.
    @Test func heapsumMayDieAtEachCall() throws {
        let watched = try Watched([try leaksProgram("held")])
        let threads = try words(watched, "ls /proc/\(watched.pid)/task")
        let masks = try threads.map { try line("SigBlk", of: $0) }
        func trace(_ options: [String]) throws -> (status: Int32, calls: [Substring]) {
            let outcome = try watched.scratch.run(
                ["strace", "-f", "-e", "trace=ptrace", "-o", "trace"] + options
                    + [Built.products + "/heapsum", "leaks", String(watched.pid)])
            let lines = try contents(watched.scratch.file("trace")).split(separator: "\n")
            return (outcome.exitStatus, lines.filter { $0.contains("ptrace(") })
        }
        let whole = try trace([])
        let begin = try #require(whole.calls.firstIndex { $0.contains("PTRACE_SETOPTIONS") })
        #expect(whole.status == 0 && threads.count == 6)
        let isAll = getenv("HEAPSUM_TEST_ALL") != nil, count = whole.calls.count
        let chosen =
            isAll ? Array(1 ... count) : [2, begin / 2] + stride(from: begin, to: begin + 16, by: 2) + [count - 8]
        var killed = 0
        for number in chosen {
            let part = try trace(["-e", "inject=ptrace:signal=SIGKILL:when=\(number)"])
            // With fewer calls than the first time it ends by itself.
            if part.status == 128 + SIGKILL { killed += 1 } else { #expect(part.status == 0 && number > count - 40) }
            #expect(eventually { threads.allSatisfy { ["S", "R"].contains(state(of: $0)) } }, "\(number)")
            #expect(try eventually { try threads.map { try line("SigBlk", of: $0) } == masks }, "\(number)")
            #expect(try eventually { try living(watched) == 0 }, "\(number)")
            try #require(try watched.lines() == [], "killed at call \(number): \(part.calls.suffix(3))")
        }
        #expect(killed > chosen.count / 2)
        kill(watched.pid, SIGTERM)
        let outcome = try watched.running.wait()
        #expect(outcome.exitStatus == 0 && outcome.output.hasSuffix("all well\n"), "\(outcome)")
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

    /// heapsum leaks under strace, which writes its calls of ptrace to a file.
    private func traced(_ watched: Watched, _ file: String, _ options: [String] = []) throws -> Running {
        try watched.scratch.start(
            ["strace", "-f", "--seccomp-bpf", "-e", "trace=ptrace", "-o", file] + options
                + [Built.products + "/heapsum", "leaks", String(watched.pid)])
    }

    private func requests(_ watched: Watched, _ file: String) throws -> [Substring] {
        try contents(watched.scratch.file(file)).split(separator: "\n").filter { $0.contains("ptrace(") }
    }

    /// The same, when it has made all calls before this one, for which strace lets it wait for a second.
    private func tracedUpTo(_ number: Int, _ watched: Watched) throws -> Running {
        let file = "calls-\(number)"
        let tool = try traced(watched, file, ["-e", "inject=ptrace:delay_enter=1s:when=\(number)"])
        let isThere = eventually(seconds: 60) {
            access(watched.scratch.file(file), R_OK) == 0
                && ((try? requests(watched, file).count) ?? 0) >= number - 1
        }
        #expect(isThere)
        usleep(300_000)
        return tool
    }

    // A stop by job control that comes while a thread makes heapsum's call holds the program as soon as heapsum leaves
    // it. strace lets heapsum wait for a second where it has the thread begin the call, make it, and come back.
    @Test func aStopMeanwhileIsNotLost() throws {
        let watched = try Watched([try leaksProgram("stacks")])
        let threads = try words(watched, "ls /proc/\(watched.pid)/task")
        func all(_ wanted: Character) -> Bool { threads.allSatisfy { state(of: $0) == wanted } }
        let whole = try traced(watched, "whole").wait()
        let calls = try requests(watched, "whole")
        let begin = try #require(calls.firstIndex { $0.contains("PTRACE_SYSCALL") })
        let back = try #require(calls[begin...].firstIndex { $0.contains("PTRACE_CONT") })
        #expect(whole.exitStatus == 0)
        for number in [begin + 1, begin + 2, back + 1] {
            let tool = try tracedUpTo(number, watched)
            kill(watched.pid, SIGSTOP)
            let outcome = try tool.wait()
            #expect(outcome.exitStatus == 0, "\(outcome)")
            // The signal makes the kernel begin the call again.
            #expect(!outcome.output.contains("no snapshot"), "call \(number): \(outcome)")
            try #require(eventually { all("T") }, "call \(number): \(threads.map { state(of: $0) })")
            kill(watched.pid, SIGCONT)
            #expect(eventually { !threads.contains { state(of: $0) == "T" } })
        }
        #expect(try watched.rows().sum("definite") == [1, 1234])
        kill(watched.pid, SIGTERM)
        #expect(try watched.running.wait().exitStatus == 0)
    }

    // SIGCONT interrupts a call of heapsum's, too: that one is begun again, before the call's entry and in it.
    @Test func aContinuationMeanwhileIsNoObstacle() throws {
        let watched = try Watched([try leaksProgram("stacks")])
        #expect(try traced(watched, "whole").wait().exitStatus == 0)
        let begin = try #require(try requests(watched, "whole").firstIndex { $0.contains("PTRACE_SYSCALL") })
        for number in [begin + 1, begin + 2] {
            let tool = try tracedUpTo(number, watched)
            kill(watched.pid, SIGCONT)
            let outcome = try tool.wait()
            #expect(outcome.exitStatus == 0, "\(outcome)")
            #expect(!outcome.output.contains("no snapshot"), "call \(number): \(outcome)")
        }
        #expect(try watched.rows().sum("definite") == [1, 1234])
        kill(watched.pid, SIGTERM)
        #expect(try watched.running.wait().exitStatus == 0)
    }

    // No thread of it can make the copy. It is read as it is, and stays stopped.
    @Test func whyAStoppedProgramMakesNoSnapshotIsSaid() throws {
        let watched = try Watched([try leaksProgram("held")])
        kill(watched.pid, SIGSTOP)
        try #require(eventually { state(of: String(watched.pid)) == "T" })
        let outcome = try watched.leaks()
        #expect(outcome.exitStatus == 0 && outcome.output.contains("job control has stopped it"), "\(outcome)")
        #expect(outcome.output.contains("kill -CONT \(watched.pid)"), "\(outcome)")
        #expect(try watched.rows().sum("definite") == [1, 1234])
        #expect(state(of: String(watched.pid)) == "T")
        kill(watched.pid, SIGCONT)
        #expect(try !watched.leaks().output.contains("no snapshot"))
        kill(watched.pid, SIGTERM)
        #expect(try watched.running.wait().exitStatus == 0)
    }

    // heaprun --leaks has a program that job control has stopped before the verdict for which it has asked. It stays
    // stopped after it, until somebody continues it.
    @Test func aStoppedProgramStaysStopped() throws {
        let scratch = try Scratch()
        try scratch.write(
            "program.c",
            """
            #include <fcntl.h>
            #include <heapsum.h>
            #include <pthread.h>
            #include <stdio.h>
            #include <unistd.h>
            static volatile unsigned long turns;
            static void *count(void *unused) {
                for (;;) turns++;
                return unused;
            }
            int main(void) {
                pthread_t thread;
                if (pthread_create(&thread, 0, count, 0) != 0) return 2;
                if (creat("runs", 0600) < 0) return 2;
                while (access("go", F_OK) != 0) usleep(10000);
                if (creat("asks", 0600) < 0) return 2;
                const int answer = heapsum_leaks();
                if (creat("goes on", 0600) < 0) return 2;
                printf("%d\\n", answer);
                return 0;
            }
            """)
        try scratch.prepare("cc -O1 -I'\(Built.root)/Interposer/include' -o program program.c -lpthread")
        // The shell gets heaprun's own SIGCONT, which heaprun passes on to the program that it has started.
        let running = try scratch.startRecorded(
            ["sh", "-c", "./program; exit $?"], options: ["--leaks", "--quiet", "-o", "images"],
            library: Built.interposer)
        let runs = eventually { access(scratch.file("runs"), F_OK) == 0 }
        #expect(runs)
        let shell = try running.child()
        let children = try contents("/proc/\(shell)/task/\(shell)/children")
        let program = try #require(pid_t(children.prefix { $0 != " " }))
        // heaprun finds both the stop and the question when it goes on.
        kill(running.pid, SIGSTOP)
        try scratch.write("go", "")
        let asks = eventually { access(scratch.file("asks"), F_OK) == 0 }
        #expect(asks)
        usleep(300_000)
        kill(program, SIGSTOP)
        usleep(300_000)
        kill(running.pid, SIGCONT)
        let isAnswered = eventually { names(in: scratch.path + "/images").contains { $0.hasSuffix(".1.heap") } }
        #expect(isAnswered)
        usleep(500_000)
        let threads = try scratch.shell("ls /proc/\(program)/task").output.split(separator: "\n")
        let states = threads.map { state(of: "\(program)/task/\($0)") }
        #expect(states == ["t", "t"] && access(scratch.file("goes on"), F_OK) != 0)
        kill(program, SIGCONT)
        let outcome = try running.wait()
        #expect(outcome.exitStatus == 0 && outcome.output == "0\n", "\(outcome)")
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
