// What heaprun says at the end of what happened: how the program ended, who still runs and by which PID, why nothing
// was recorded. Oracles: the plain run's own end, and the PIDs that this test's namespace has.

import Glibc
import HeapImage
import Proc
import SystemPackage
import TestSupport
import Testing

@testable import Launch

@Suite struct ClosingTests {
    @Test(arguments: [("SEGV", SIGSEGV), ("ABRT", SIGABRT), ("KILL", SIGKILL), ("TERM", SIGTERM), ("RTMIN+2", SIGUSR1)])
    func aDeathBySignalIsSaid(name: String, signal: Int32) throws {
        let scratch = try Scratch()
        let script = "ulimit -c 100000; kill -\(name) $$; sleep 9"
        let plain = try scratch.run(["/bin/bash", "-c", script])
        let outcome = try scratch.record(
            ["/bin/bash", "-c", script], options: ["-o", "images"], library: Built.interposer)
        #expect(outcome.exitStatus == plain.exitStatus)
        let number = plain.exitStatus - 128, core = plain.waitStatus & 0x80 != 0 ? ", core dumped" : ""
        #expect(
            outcome.messages.contains("heaprun: bash ended by signal \(number) (SIG\(name))\(core)\n"), "\(outcome)")
        #expect(
            try scratch.record(
                ["/bin/bash", "-c", script], options: ["--quiet", "-o", "images"], library: Built.interposer
            ).messages.isEmpty)
        let info = try scratch.shell("'\(Built.products)/heapsum' info images")
        #expect(info.output.contains("killed by signal \(number) (SIG\(name))"), "\(info)")
        // A status above 128 is no signal, and is none of ours to tell.
        #expect(
            try !scratch.record(["/bin/sh", "-c", "exit 139"], options: ["-o", "images"], library: Built.interposer)
                .messages.contains("by signal"))
    }

    @Test func stragglersAreWaitedForAndLeaveNothing() throws {
        let scratch = try Scratch()
        // It is there until the first program is gone. That it ends within heaprun's second after that, a busy machine
        // may not allow it at once.
        let script = "echo $HEAPSUM_RUN_DIR; (exec >/dev/null; while [ -e /proc/$$ ]; do :; done; exit 0) & exit 4"
        var outcome = Outcome(waitStatus: 0, output: "", messages: "")
        for _ in 0 ..< 5 {
            outcome = try scratch.record(
                ["/bin/bash", "-c", script], options: ["-o", "images"], library: Built.interposer)
            if !outcome.messages.contains("still runs") { break }
        }
        #expect(outcome.exitStatus == 4 && !outcome.messages.contains("still runs"), "\(outcome)")
        #expect(
            outcome.output.hasPrefix("/dev/shm/heapsum-") && access(String(outcome.output.dropLast()), F_OK) != 0,
            "\(outcome)")
    }

    @Test(arguments: [false, true]) func whoStillRunsIsNamedByAPIDOfUse(hasNamespace: Bool) throws {
        let scratch = try Scratch()
        // A first process of a namespace of its own would take its helper with it: here it is the sandbox that stays.
        let script = "exec >/dev/null 2>&1; touch began; i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done"
        let words =
            hasNamespace
            ? [
                "/bin/bash", "-c",
                "bwrap --dev-bind / / --unshare-pid --as-pid-1 --proc /proc /bin/bash -c '\(script)' & while [ ! -e "
                    + "began ]; do sleep 0.05; done",
            ]
            : ["/bin/bash", "-c", "/bin/bash -c '\(script)' & while [ ! -e began ]; do sleep 0.05; done"]
        let outcome = try scratch.record(words, options: ["-o", "images", "--only", "bash"], library: Built.interposer)
        let line = try #require(
            outcome.messages.split(separator: "\n").first {
                $0.contains("bash (PID ") && $0.contains("still runs; its image stays at ")
            }, "\(outcome)")
        let pid = try #require(pid_t(line[line.range(after: "(PID ")].prefix { $0.isNumber }))
        defer { kill(pid, SIGKILL) }
        // It is that process: its words are the script's, and heapdump takes its PID.
        #expect(try contents("/proc/\(pid)/cmdline").contains("touch began"))
        if hasNamespace { #expect(pid != 1) }
        let dump = try scratch.run([Built.heapdump, "\(pid)"])
        #expect(dump.exitStatus == 0, "\(dump)")
        kill(pid, SIGKILL)
        let path = String(line[line.range(after: "stays at ")])
        #expect(eventually { Presence.livingThread(of: UInt32(pid)) == nil })
        #expect(try HeapImage(path: path).programName == "bash")
        _ = system("rm -r '\(FilePath(path).removingLastComponent().text)'")
    }

    /// Helpers that may not be looked into (another user's, to heaprun) are not taken for gone.
    @Test(.enabled(if: getuid() == 0, "only root can become another user"))
    func whoMayNotBeLookedIntoIsNotTakenForGone() throws {
        let scratch = try Scratch()
        try scratch.write(
            "closed.c",
            """
            #include <stdlib.h>
            #include <sys/prctl.h>
            #include <unistd.h>
            int main(void) {
                void *volatile p = malloc(5000);
                int ends[2];
                char byte;
                if (pipe(ends) != 0) return 1;
                if (fork() != 0) return read(ends[0], &byte, 1) != 1;
                p = malloc(700);
                prctl(PR_SET_DUMPABLE, 0);
                for (int fd = 0; fd < 3; fd++) close(fd);
                if (write(ends[1], "x", 1) != 1) return 2;
                sleep(30);
                return p == NULL;
            }
            """)
        try scratch.prepare(
            "cc -O0 -o closed closed.c && chmod 755 . && mkdir -m 777 images && mkdir bin && cp '\(Built.heaprun)' "
                + "bin/heaprun && cp '\(Built.interposer)' bin/ && chmod -R a+rX bin"
        )
        let outcome = try scratch.run([
            "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "bin/heaprun", "-o", "images",
            "./closed",
        ])
        #expect(outcome.exitStatus == 0)
        let line = try #require(
            outcome.messages.split(separator: "\n").first { $0.contains("still runs; its image stays at ") },
            "\(outcome)")
        let pid = try #require(pid_t(line[line.range(after: "(PID ")].prefix { $0.isNumber }))
        #expect(try contents("/proc/\(pid)/comm") == "closed\n")
        kill(pid, SIGKILL)
        _ = system("rm -r '\(FilePath(String(line[line.range(after: "stays at ")])).removingLastComponent().text)'")
    }

    @Test func aMallocOfItsOwnIsTheReason() throws {
        let scratch = try Scratch()
        try scratch.write("own.c", programWithItsOwnMalloc)
        try scratch.write("none.c", "int main(void) { return 0; }\n")
        // Exported, and bound within the program without being so.
        try scratch.prepare(
            "cc -O0 -fno-builtin -rdynamic -o exported own.c && cc -O0 -fno-builtin -fvisibility=hidden -o hidden "
                + "own.c && cc -o none none.c"
        )
        for name in ["exported", "hidden"] {
            let outcome = try scratch.record(["./\(name)"], options: ["-o", "images"], library: Built.interposer)
            #expect(
                outcome.exitStatus == 0
                    && outcome.messages.contains("not recorded, as it has a malloc of its own (./\(name) defines it)"),
                "\(outcome)")
        }
        #expect(
            try scratch.record(["./none"], options: ["-o", "images"], library: Built.interposer).messages.contains(
                "it makes none, or has a malloc of its own linked into it"))
    }

    @Test func programsWithADotBeforeTheirNameAreRead() throws {
        let scratch = try Scratch()
        try scratch.prepare("cp /bin/bash .hidden")
        let outcome = try scratch.record(
            ["./.hidden", "-c", "exit 0"], options: ["--quiet", "-o", "images"], library: Built.interposer)
        #expect(outcome.exitStatus == 0)
        for words in ["heapsum --format json", "heapsum info", "heapsum check --format json --max-bytes 1G"] {
            let read = try scratch.shell("'\(Built.products)'/\(words) images")
            #expect(read.exitStatus == 0 && read.output.contains(".hidden"), "\(read)")
        }
    }
}
