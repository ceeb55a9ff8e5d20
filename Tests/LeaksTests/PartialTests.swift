// Many threads; and what can't be read whole: it is said, and accuses nobody.

import Glibc
import TestSupport
import Testing

@testable import Leaks

@Suite struct PartialTests {
    @Test(arguments: [1, 300]) func eachThreadHoldsItsOwn(count: Int) throws {
        let rows = try Watched([try leaksProgram("threads"), String(count)]).rows()
        #expect(rows.sum("definite") == [count, count * 48])
        #expect(rows.sum("possible") == [0, 0])
        for size in [64, 80] {
            let own = rows.filter { $0.bytes == size * count && $0.blocks == count }
            #expect(own.map(\.verdict) == ["reachable"], "\(size)")
        }
    }

    private func expectPossible(_ outcome: Outcome, _ reason: String) {
        #expect(
            outcome.exitStatus == 0 && outcome.output.contains("Not whole:") && outcome.output.contains(reason),
            "\(outcome)")
        #expect(
            outcome.output.contains("definite          0") && outcome.output.contains("4,000        1   possible"),
            "\(outcome)")
    }

    @Test func aThreadThatWillNotStop() throws {
        let watched = try Watched([try leaksProgram("partly"), "vfork"])
        expectPossible(try watched.leaks(), "sleeps uninterruptibly")
        let json = try watched.leaks(["--format", "json"])
        #expect(json.output.contains("\"whole\":false") && json.messages.contains("Not whole"), "\(json)")
    }

    // heaprun makes the verdict that the program asks for, and lives on. It waits for a thread in uninterruptible sleep
    // for some seconds; one that sleeps longer is not to be stopped when it comes back.
    @Test func aThreadThatWillNotStopComesBack() throws {
        let scratch = try Scratch()
        try scratch.write(
            "program.c",
            """
            #define _GNU_SOURCE
            #include <fcntl.h>
            #include <heapsum.h>
            #include <pthread.h>
            #include <stdio.h>
            #include <stdlib.h>
            #include <sys/wait.h>
            #include <unistd.h>
            static int end[2];
            static void *wait_for_child(void *unused) {
                char byte;
                pid_t child = vfork();
                if (child == 0) {
                    close(end[1]);
                    _exit(read(end[0], &byte, 1) != 0);
                }
                waitpid(child, 0, 0);
                return unused;
            }
            int main(void) {
                pthread_t thread;
                if (pipe2(end, O_CLOEXEC) != 0) return 2;
                if (pthread_create(&thread, 0, wait_for_child, 0) != 0) return 2;
                usleep(300000);
                int found = heapsum_leaks();
                siginfo_t ended = {0};
                waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT | __WALL);
                printf("%d, %s\\n", found, ended.si_pid == 0 ? "no zombie" : "a zombie");
                fflush(stdout);
                close(end[1]);
                if (pthread_join(thread, 0) != 0) return 3;
                puts("all well");
                return 0;
            }
            """)
        try scratch.prepare("cc -O1 -I'\(Built.root)/Interposer/include' -o program program.c -lpthread")
        let outcome = try scratch.startRecorded(
            ["timeout", "120", "./program"], options: ["--quiet", "-o", "images"], library: Built.interposer
        ).wait()
        #expect(outcome.exitStatus == 0 && outcome.output == "-1, no zombie\nall well\n", "\(outcome)")
    }

    @Test func messagesBehindTheFirst() throws {
        expectPossible(try Watched([try leaksProgram("partly"), "messages"]).leaks(), "messages in socket")
    }

    // A dump says the same. What a lost block holds is then not called indirectly lost, either.
    @Test func aDumpOfWhatIsNotWhole() throws {
        let watched = try Watched([try leaksProgram("partly"), "messages"])
        let taken = try watched.scratch.run([Built.products + "/heapdump", "--leaks", String(watched.pid)])
        let dump = try #require(taken.output.split(separator: "\n").first, "\(taken)")
        let options = ["leaks", "--verdict", "all", "--format", "csv"]
        let running = try watched.leaks(Array(options.dropFirst()))
        let stored = try watched.scratch.run([Built.products + "/heapsum"] + options + [String(dump)])
        #expect(running.exitStatus == 0 && stored.output == running.output, "\(running) \(stored)")
        for bytes in [4000, 3000] { #expect(running.output.contains("possible,\(bytes),1,0,0,"), "\(running)") }
    }

    // Linux without CONFIG_CHECKPOINT_RESTORE has no list of timers, nor has a process that is gone.
    @Test func whatTimersHoldMayBeHidden() throws {
        let gone = try Scratch().start(["true"])
        _ = try gone.wait()
        #expect(unreadTimers(of: gone.pid).map(\.what).joined().contains("timers (timer_create)"))
        #expect(unreadTimers(of: getpid()).isEmpty)
    }

    // The image of a fork's child has its own blocks alone. Where the others lie is known: what no word there leads to
    // is lost, and what one leads to may be held.
    @Test func aProcessThatInheritedBlocks() throws {
        let watched = try Watched([try leaksProgram("partly"), "fork"])
        let child = try #require(try watched.lines().first)
        func rows(_ options: String) throws -> Outcome {
            try watched.scratch.shell("'\(Built.products)/heapsum' leaks --verdict all --format csv \(options)")
        }
        func verdicts(_ outcome: Outcome) -> [String] {
            outcome.output.split(whereSeparator: \.isNewline).map { $0.split(separator: ",") }.filter {
                $0.count > 2 && ["4000", "5000", "6000"].contains($0[1])
            }.map { "\($0[1]) \($0[0])" }.sorted()
        }
        let living = try rows(child)
        #expect(verdicts(living) == ["4000 definite", "5000 possible", "6000 reachable"], "\(living)")
        #expect(living.messages.contains("inherited by fork") && !living.messages.contains("Not whole"), "\(living)")
        try watched.scratch.prepare("gcore -o core \(child) >/dev/null 2>&1")
        _ = try watched.end()
        let core = try rows("--core core.\(child) images/partly.\(child).heap")
        #expect(verdicts(core) == verdicts(living), "\(core)")
    }
}
