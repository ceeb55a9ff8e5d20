// Programs that can make no call for heaprun: job control or a freezer holds them, or their main thread has ended.
// heaprun says which, and what helps.

import Glibc
import HeapImage
import TestSupport
import Testing

@Suite struct HeldTests {
    private func program(_ source: String) throws -> Attached {
        let scratch = try Scratch()
        try scratch.write("program.c", source)
        try scratch.prepare("cc -O1 -o program program.c -lpthread")
        let program = try Attached(["./program"], scratch: scratch)
        #expect(try program.answer() == "ready")
        return program
    }

    /// Answers each line of its input.
    private let answering = """
        #include <stdio.h>
        int main(void) {
            char line[64];
            puts("ready"); fflush(stdout);
            while (fgets(line, sizeof line, stdin) != NULL) { fputs(line, stdout); fflush(stdout); }
            return 0;
        }
        """

    /// Its main thread ends when it is told so.
    private let leaving = """
        #include <pthread.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        void *volatile keep[64];
        static void *answer(void *main_thread) {
            char line[64];
            if (pthread_join(*(pthread_t *)main_thread, NULL) != 0) _exit(2);
            for (unsigned i = 0; i < 64; i++) keep[i] = malloc(1234);
            puts("alone"); fflush(stdout);
            _exit(fgets(line, sizeof line, stdin) == NULL);
        }
        int main(void) {
            static pthread_t self;
            char line[64];
            pthread_t thread;
            self = pthread_self();
            puts("ready"); fflush(stdout);
            if (fgets(line, sizeof line, stdin) == NULL || pthread_create(&thread, 0, answer, &self) != 0) return 2;
            pthread_exit(0);
        }
        """

    private func isStopped(_ program: Attached) throws -> Bool {
        try contents("/proc/\(program.pid)/stat").contains(") T ")
    }

    @Test func aProgramThatJobControlHasStopped() throws {
        let program = try program(answering)
        kill(program.pid, SIGSTOP)
        #expect(try eventually { try isStopped(program) })
        let outcome = try program.heaprun("--pid", ["-o", "images"])
        #expect(outcome.exitStatus == 125, "\(outcome)")
        #expect(outcome.messages.contains("job control has stopped it"), "\(outcome)")
        #expect(outcome.messages.contains("kill -CONT \(program.pid)"), "\(outcome)")
        // It stays stopped, until somebody continues it; then the advice has helped.
        #expect(try isStopped(program))
        kill(program.pid, SIGCONT)
        #expect(try program.ask("go") == "go")
        try program.attach()
        // The same at the end of a recording.
        kill(program.pid, SIGSTOP)
        #expect(try eventually { try isStopped(program) })
        let refused = try program.heaprun("--detach")
        #expect(refused.exitStatus == 125 && refused.messages.contains("job control has stopped it"), "\(refused)")
        kill(program.pid, SIGCONT)
        _ = try program.detach()
        #expect(try program.ask("go") == "go")
    }

    // It has no way to be recorded but from its start, and no way to end a recording but its end.
    @Test func aRecordedProgramWhoseMainThreadHasEnded() throws {
        let program = try program(leaving)
        try program.attach()
        #expect(try program.ask("leave") == "alone")
        for (option, more) in [("--detach", []), ("--pid", ["--sample", "512", "-o", "images"])] {
            let outcome = try program.heaprun(option, more)
            #expect(outcome.exitStatus == 125, "\(outcome)")
            for word in ["main thread has ended", "recorded until it ends", "heapdump \(program.pid) writes a dump"] {
                #expect(outcome.messages.contains(word), "\(option): \(outcome)")
            }
            #expect(!outcome.messages.contains("start it by heaprun"), "\(outcome)")
        }
        // Both are so.
        let dump = try program.scratch.run([Built.heapdump, String(program.pid)])
        #expect(dump.exitStatus == 0, "\(dump)")
        #expect(try HeapImage(path: String(dump.output.prefix { $0 != "\n" })).held(1234 ... 1234).blocks == 64)
        program.tell("end")
        #expect(try program.wait().exitStatus == 0)
        let last = try program.heaprun("--detach")
        #expect(last.exitStatus == 0 && last.messages.contains("had ended already"), "\(last)")
        let image = try HeapImage(path: program.scratch.file("images/program.\(program.pid).heap"))
        #expect(image.kind == .packed && image.held(1234 ... 1234).blocks == 64)
    }

    @Test func aProgramWithoutRecordingWhoseMainThreadHasEnded() throws {
        let program = try program(leaving)
        #expect(try program.ask("leave") == "alone")
        let outcome = try program.heaprun("--detach")
        #expect(outcome.exitStatus == 125 && outcome.messages.contains("it is not recorded"), "\(outcome)")
        #expect(!outcome.messages.contains("start it by heaprun"), "\(outcome)")
    }

    // While a thread makes one of heaprun's calls: the first system call, and the first call of a function. strace lets
    // heaprun wait for some seconds when it is about to let the thread go into it.
    @Test(
        .enabled(if: !TestFreezer.usable.isEmpty, "needs root and a freezer"), arguments: TestFreezer.usable,
        ["PTRACE_SYSCALL", "PTRACE_CONT"])
    func aProgramThatIsFrozenMeanwhile(by freezer: TestFreezer, at request: String) throws {
        let number = try #require(try calls(of: waitingProgram()).firstIndex { $0.contains(request) }) + 1
        // Again, if this machine was too busy to freeze it in time.
        for _ in 0 ..< 4 where try isToldAsFrozen(freezer, at: number) { return }
        #expect(try isToldAsFrozen(freezer, at: number))
    }

    /// Whether heaprun says that the program was frozen. A freezer holds it before heaprun's ptrace call `number`.
    private func isToldAsFrozen(_ freezer: TestFreezer, at number: Int) throws -> Bool {
        let program = try waitingProgram()
        let group = try #require(FreezerGroup(program.pid, freezer))
        let tool = try traced(program, ["-e", "inject=ptrace:delay_enter=5s:when=\(number)"], into: "trace")
        let trace = program.scratch.file("trace")
        let isThere = try eventually(seconds: 60) {
            guard access(trace, R_OK) == 0 else { return false }
            return try requests(trace).count >= number - 1
        }
        #expect(isThere)
        let isFrozen = try group.freeze()
        #expect(isFrozen)
        let outcome = try tool.wait()
        group.setFrozen(false)
        guard outcome.messages.contains("it was frozen") else { return false }
        #expect(outcome.exitStatus == 125 && outcome.messages.contains("thaw it"), "\(outcome)")
        #expect(!outcome.messages.contains("timed out"), "\(outcome)")
        #expect(try eventually { try contents("/proc/\(program.pid)/status").contains("TracerPid:\t0") })
        #expect(try program.ask("go") == "go")
        return true
    }

    /// One that waits in a call already: the first look at its thread finds it at a safe place, each time.
    private func waitingProgram() throws -> Attached {
        let program = try self.program(answering)
        #expect(try eventually { try contents("/proc/\(program.pid)/stat").contains(") S ") })
        return program
    }

    private func traced(_ program: Attached, _ options: [String], into file: String) throws -> Running {
        try program.scratch.start(
            ["strace", "-f", "--seccomp-bpf", "-e", "trace=ptrace"] + options
                + ["-o", file, Built.heaprun, "--pid", String(program.pid), "-o", "images"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
    }

    private func requests(_ file: String) throws -> [Substring] {
        try contents(file).split(separator: "\n").filter { $0.contains(" ptrace(") }
    }

    /// What heaprun asks of ptrace to attach to a program.
    private func calls(of program: Attached) throws -> [Substring] {
        let outcome = try traced(program, [], into: "calls").wait()
        #expect(outcome.exitStatus == 0, "\(outcome)")
        return try requests(program.scratch.file("calls"))
    }
}
