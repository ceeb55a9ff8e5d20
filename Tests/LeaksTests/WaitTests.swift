// How heapsum tells a thread that sleeps on from one that only sleeps now and then, when it waits for its stop.

import CLeaks
import Glibc
import TestSupport
import Testing

@Suite struct WaitTests {
    private let asleep: UInt64 = 300_000_000

    /// A child of this process, for the call under test to wait for: nobody else may.
    private func child(_ body: String) throws -> (pid: pid_t, scratch: Scratch) {
        let scratch = try Scratch()
        try scratch.write(
            "program.c",
            """
            #include <fcntl.h>
            #include <time.h>
            #include <unistd.h>
            int main(int count, char **words) {
                (void)count;
                if (creat(words[1], 0600) < 0) return 2;
                \(body)
                return 0;
            }
            """)
        try scratch.prepare("cc -O1 -o program program.c")
        let words = [scratch.file("program"), scratch.file("runs")].map { (word: String) in strdup(word) }
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, scratch.file("program"), nil, nil, words + [nil], environ)
        try #require(failure == 0)
        let runs = eventually { access(scratch.file("runs"), F_OK) == 0 }
        #expect(runs)
        return (pid, scratch)
    }

    // It sleeps at nearly each look, and for longer than the bound in all.
    @Test func aThreadThatSleepsOftenIsWaitedFor() throws {
        let (pid, _) = try child(
            "for (int i = 0; i < 2000; i++) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);")
        var status: CInt = 0
        #expect(leaks_wait_awake(pid, &status, asleep) == -ESRCH, "to its end")
    }

    @Test(arguments: ["pause();", "if (vfork() == 0) { pause(); _exit(0); }"])
    func aThreadThatSleepsOnIsGivenUp(body: String) throws {
        let (pid, scratch) = try child(body)
        var status: CInt = 0
        #expect(leaks_wait_awake(pid, &status, asleep) == 0)
        for one in try scratch.shell("cat /proc/\(pid)/task/*/children").output.split(whereSeparator: \.isWhitespace) {
            kill(try #require(pid_t(one)), SIGKILL)
        }
        kill(pid, SIGKILL)
        #expect(waitpid(pid, &status, 0) == pid)
    }
}
