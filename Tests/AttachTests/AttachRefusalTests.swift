// What can't be attached to is refused with the reason and the way out, before anything is changed: exit status 125,
// and the program goes on.

import Glibc
import TestSupport
import Testing

@Suite struct AttachRefusalTests {
    private func expect(_ program: Attached, says words: [String]) throws {
        let outcome = try program.heaprun("--pid", ["-o", "images"])
        #expect(outcome.exitStatus == 125 && outcome.output.isEmpty, "\(outcome)")
        for word in words { #expect(outcome.messages.contains(word), "\(word) in \(outcome.messages)") }
        #expect(!(try contents("/proc/\(program.pid)/maps")).contains("libheapsum"))
        #expect((try contents("/proc/\(program.pid)/status")).contains("TracerPid:\t0"))
    }

    /// A program of the tests that is compiled here, and answers "ready".
    private func program(_ source: String, options: String = "", start: [String] = []) throws -> Attached {
        let scratch = try Scratch()
        try scratch.write("program.c", source)
        try scratch.prepare("cc -O1 -o program program.c \(options)")
        let program = try Attached(start + ["./program"], scratch: scratch)
        #expect(try program.answer() == "ready")
        return program
    }
    private let waiting = """
        #include <stdio.h>
        int main(void) { puts("ready"); fflush(stdout); return getchar() == EOF; }
        """

    @Test func aStaticProgram() throws {
        try expect(program(waiting, options: "-static"), says: ["statically linked", "start it by heaprun"])
    }

    @Test func aProgramOfMusl() throws {
        let scratch = try Scratch()
        try scratch.write("program.c", waiting)
        try scratch.prepare("musl-gcc -o program program.c")
        let program = try Attached(["./program"], scratch: scratch)
        #expect(try program.answer() == "ready")
        try expect(program, says: ["musl", "start it by heaprun"])
    }

    @Test func aTracedProgram() throws {
        let program = try program(waiting)
        let debugger = try program.scratch.start(["strace", "-o", "trace", "-p", String(program.pid)])
        #expect(try eventually { !(try contents("/proc/\(program.pid)/status").contains("TracerPid:\t0")) })
        let outcome = try program.heaprun("--pid")
        #expect(outcome.exitStatus == 125 && outcome.messages.contains("traces it (strace)"), "\(outcome)")
        kill(debugger.pid, SIGTERM)
        _ = try debugger.wait()
    }

    @Test func aProgramUnderAFilter() throws {
        let program = try program(
            """
            #include <linux/filter.h>
            #include <linux/seccomp.h>
            #include <stdio.h>
            #include <sys/prctl.h>
            int main(void) {
                struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
                struct sock_fprog filter = {1, &allow};
                if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 2;
                if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) return 3;
                puts("ready"); fflush(stdout);
                return getchar() == EOF;
            }
            """)
        try expect(program, says: ["seccomp filter", "start it by heaprun"])
    }

    // The image is mapped whole and mostly empty: the kernel would bring all of it in.
    @Test(.enabled(if: geteuid() == 0, "RLIMIT_MEMLOCK")) func aProgramThatLocksWhatItGets() throws {
        let program = try program(
            """
            #include <stdio.h>
            #include <sys/mman.h>
            int main(void) {
                if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return 2;
                puts("ready"); fflush(stdout);
                return getchar() == EOF;
            }
            """)
        try expect(program, says: ["MCL_FUTURE", "start it by heaprun"])
        let locked = try contents("/proc/\(program.pid)/maps")
        try expect(program, says: ["MCL_FUTURE"])
        #expect(try contents("/proc/\(program.pid)/maps") == locked)
    }

    @Test(.enabled(if: geteuid() == 0, "only root can become another user")) func programsOfOthers() throws {
        let program = try program(waiting)
        // The build may lie where others can't look: a copy of the tool may be run by all.
        try program.scratch.prepare("chmod 755 . && cp '\(Built.heaprun)' heaprun && chmod 755 heaprun")
        let other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        let outcome = try program.scratch.run(
            other + [program.scratch.file("heaprun"), "--pid", String(program.pid), "-o", "/tmp"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(outcome.exitStatus == 125 && outcome.messages.contains("run heaprun as that user, or as root"))
    }

    // Its own user may not trace it; root may.
    @Test(.enabled(if: geteuid() == 0, "only root can become another user")) func aProgramThatIsNotDumpable() throws {
        let scratch = try Scratch()
        try scratch.write(
            "program.c",
            """
            #include <stdio.h>
            #include <sys/prctl.h>
            int main(void) { prctl(PR_SET_DUMPABLE, 0); puts("ready"); fflush(stdout); return getchar() == EOF; }
            """)
        let (program, outcome) = try asAnotherUser(scratch)
        #expect(outcome.exitStatus == 125 && outcome.messages.contains("PR_SET_DUMPABLE"), "\(outcome)")
        try program.attach()
        _ = try program.detach()
    }

    @Test(.enabled(if: geteuid() == 0, "only root makes a setuid program")) func aSetuidProgram() throws {
        let scratch = try Scratch()
        try scratch.write("program.c", waiting)
        // Not under /tmp, where such a bit may count for nothing.
        let place = Built.root + "/.build/test-programs/setuid-\(getpid())"
        try scratch.prepare("cc -o program program.c && chmod 755 . && install -D -m 4755 program '\(place)'")
        defer { unlink(place) }
        let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        let program = try Attached(user + [place], scratch: scratch)
        #expect(try program.answer() == "ready")
        try expect(program, says: ["setuid"])
    }

    // Its memory is there, but not under its number.
    @Test func aProgramWhoseMainThreadHasEnded() throws {
        let program = try program(
            """
            #include <pthread.h>
            #include <stdio.h>
            #include <unistd.h>
            static void *wait(void *unused) {
                usleep(100000);
                puts("ready"); fflush(stdout);
                _exit(getchar() == EOF);
                return unused;
            }
            int main(void) {
                pthread_t thread;
                if (pthread_create(&thread, 0, wait, 0) != 0) return 2;
                pthread_exit(0);
            }
            """, options: "-lpthread")
        let outcome = try program.heaprun("--pid", ["-o", "images"])
        #expect(outcome.exitStatus == 125 && outcome.messages.contains("main thread has ended"), "\(outcome)")
        program.tell("go")
        #expect(try program.wait().exitStatus == 0)
    }

    // Its memory is its parent's, which waits for it.
    @Test func aVforksChild() throws {
        let program = try program(
            """
            #include <stdio.h>
            #include <sys/wait.h>
            #include <unistd.h>
            int main(void) {
                char word[16];
                int status;
                puts("ready"); fflush(stdout);
                pid_t child = vfork();
                if (child == 0) {
                    if (write(1, "child\\n", 6) != 6 || read(0, word, 1) != 1) _exit(2);
                    _exit(0);
                }
                waitpid(child, &status, 0);
                return status;
            }
            """)
        #expect(try program.answer() == "child")
        let child = try program.running.child()
        let outcome = try program.scratch.run(
            [Built.heaprun, "--pid", String(child), "-o", "images"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(outcome.exitStatus == 125, "\(outcome)")
        #expect(outcome.messages.contains("vfork child") && outcome.messages.contains("name process \(program.pid)"))
        program.tell("go")
        #expect(try program.wait().exitStatus == 0)
    }

    // Libraries that were loaded late have used up glibc's reserve of thread-local memory.
    @Test func aProgramWithoutRoomForThreadData() throws {
        let scratch = try Scratch()
        try scratch.write(
            "data.c",
            """
            static __attribute__((tls_model("initial-exec"))) __thread char data[BYTES];
            char *NAME(void) { return data; }
            """)
        // From large to small, until nothing more fits.
        let sizes = (0 ..< 24).map { 2048 >> ($0 / 3) }.filter { $0 >= 32 }
        try scratch.write(
            "program.c",
            """
            #include <dlfcn.h>
            #include <stdio.h>
            int main(void) {
                char path[32];
                for (int i = 0; i < \(sizes.count); i++) {
                    snprintf(path, sizeof path, "./lib%d.so", i);
                    dlopen(path, RTLD_NOW);
                }
                puts("ready"); fflush(stdout);
                return getchar() == EOF;
            }
            """)
        for (number, size) in sizes.enumerated() {
            try scratch.prepare("cc -shared -fPIC -DBYTES=\(size) -DNAME=data\(number) -o lib\(number).so data.c")
        }
        try scratch.prepare("cc -O1 -o program program.c -ldl")
        let program = try Attached(["./program"], scratch: scratch)
        #expect(try program.answer() == "ready")
        try expect(program, says: ["static TLS", "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=1024"])
        program.tell("go")
        #expect(try program.wait().exitStatus == 0)
        // The way out is one.
        let again = try Attached(
            ["./program"], variables: ["GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=16384"], scratch: scratch)
        #expect(try again.answer() == "ready")
        try again.attach()
        _ = try again.detach()
    }

    @Test(
        .enabled(
            if: geteuid() == 0 && (try? contents("/proc/sys/kernel/yama/ptrace_scope")).map { $0 != "0\n" } == true,
            "needs Yama, and root to become a user"))
    func yama() throws {
        let scratch = try Scratch()
        try scratch.write("program.c", waiting)
        let (_, outcome) = try asAnotherUser(scratch)
        #expect(outcome.exitStatus == 125 && outcome.messages.contains("Yama forbids tracing"), "\(outcome)")
    }

    @Test(
        .enabled(
            if: (try? contents("/proc/cpuinfo"))?.contains(" user_shstk") == true,
            "needs a processor and a kernel with shadow stacks"))
    func aShadowStack() throws {
        let program = try program(
            """
            #include <stdio.h>
            #include <sys/syscall.h>
            #include <unistd.h>
            /* arch_prctl(ARCH_SHSTK_ENABLE, ARCH_SHSTK_SHSTK), and no return from here. */
            int main(void) {
                long result;
                __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_arch_prctl), "D"(0x5001), "S"(1)
                    : "rcx", "r11", "memory");
                if (result != 0) _exit(2);
                write(1, "ready\\n", 6);
                char word;
                _exit(read(0, &word, 1) != 1);
            }
            """)
        try expect(program, says: ["shadow stack", "x86_shstk=off"])
    }

    // The loader reaches a copy of the library through /proc alone.
    @Test(.enabled(if: geteuid() == 0, "only root may change the root directory")) func aRootWithoutProc() throws {
        let scratch = try Scratch()
        try scratch.write("program.c", waiting)
        try scratch.prepare(
            "cc -O1 -o program program.c && mkdir -p root/proc root/lib64 root/lib/x86_64-linux-gnu && cp program root "
                + "&& cp /lib64/ld-linux-x86-64.so.2 root/lib64 && cd /lib/x86_64-linux-gnu && cp libc.so.6 libdl.so.2 "
                + "'\(scratch.file("root/lib/x86_64-linux-gnu"))'")
        let program = try Attached(["unshare", "-m", "chroot", "root", "/program"], scratch: scratch)
        #expect(try program.answer() == "ready")
        try expect(
            program,
            says: [
                "its root directory is \(scratch.file("root"))", "Mount /proc there",
                "mount --bind /proc \(scratch.file("root/proc"))", "start the program by heaprun",
            ])
        // The advice helps. The mount is in the program's own namespace, and goes with it.
        try scratch.prepare("nsenter -t \(program.pid) -m mount --bind /proc '\(scratch.file("root/proc"))'")
        try program.attach()
        #expect(try contents("/proc/\(program.pid)/maps").contains("memfd:libheapsum.so"))
        _ = try program.detach()
    }

    @Test func processesThatAreNotThereOrNotRecorded() throws {
        let scratch = try Scratch()
        let missing = try scratch.run([Built.heaprun, "--pid", "4194303"])
        #expect(missing.exitStatus == 125 && missing.messages.contains("no such process"))
        let program = try program(waiting)
        let outcome = try program.heaprun("--detach")
        #expect(outcome.exitStatus == 125 && outcome.messages.contains("it is not recorded"), "\(outcome)")
    }

    @Test func wrongArguments() throws {
        let scratch = try Scratch()
        for arguments in [
            ["--pid", "1", "--detach", "1"], ["--for", "1s", "true"], ["--pid", "1", "--for", "x"], ["--pid", "0"],
            ["--pid", "1", "--exec"], ["--detach", "1", "--for", "1s"], ["--pid", "1", "true"],
        ] {
            let outcome = try scratch.run([Built.heaprun] + arguments)
            #expect(outcome.exitStatus == 125 && !outcome.messages.isEmpty, "\(arguments): \(outcome)")
        }
    }

    /// Runs program.c as another user, and what heaprun says to that user when it attaches.
    private func asAnotherUser(_ scratch: Scratch) throws -> (Attached, Outcome) {
        try scratch.prepare(
            "cc -o program program.c && chmod 777 . && cp '\(Built.heaprun)' heaprun && chmod 755 heaprun program")
        let other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        let program = try Attached(other + ["./program"], scratch: scratch)
        #expect(try program.answer() == "ready")
        let outcome = try scratch.run(
            other + ["./heaprun", "--pid", String(program.pid), "-o", "/tmp"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        return (program, outcome)
    }
}
