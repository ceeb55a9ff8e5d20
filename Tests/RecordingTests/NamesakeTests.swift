// Names that mean something else: a library's own function of an interposed name, an older version of one. And what a
// program starts, by each function for it.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing

@Suite struct NamesakeTests {
    /// All but malloc, free, calloc and realloc: a library that has those is an allocator.
    @Test func aLibrarysOwnMeaningOfANameIsKept() throws {
        let names = try interposedNames("C_LESS_COMMON") + interposedNames("OTHER") + ["cfree"]
        #expect(names.count > 35)
        let scratch = try Scratch()
        let list = "-fno-builtin '-DNAMES=\(names.map { "X(\($0))" }.joined(separator: " "))'"
        try scratch.compile("namesakes.c", as: "libnamesakes.so", "-DLIBRARY -shared -fPIC \(list)")
        try scratch.compile("namesakes.c", as: "namesakes", "\(list) -L. -lnamesakes -Wl,-rpath,'$ORIGIN'")
        let (plain, recording) = try scratch.runBothWays("./namesakes")
        #expect(
            plain.output.hasPrefix("reallocarray 102.5\n") && plain.output.split(separator: "\n").count == names.count,
            "\(plain)")
        #expect(recording.outcome == plain, "\(recording.outcome)")
        #expect(try recording.names(of: "namesakes").count == 1)
    }

    /// execl of a library that logs what is started: it is called, and no other of that library's in its place.
    @Test func aWrapperIsCalledByItsOwnName() throws {
        let scratch = try Scratch()
        try scratch.write(
            "log.c",
            """
            #include <dlfcn.h>
            #include <unistd.h>
            extern char **environ;
            static int start(const char *path) {
                char *words[] = {"true", NULL};
                return ((int (*)(const char *, char *const *, char *const *))dlsym(RTLD_NEXT, "execve"))\
                    (path, words, environ);
            }
            int execl(const char *path, const char *first, ...) { return write(1, "execl\\n", 6) == 6 \
                ? start(path) : -1; }
            int execv(const char *path, char *const *words) { return write(1, "execv\\n", 6) == 6 ? start(path) : -1; }

            """)
        try scratch.write(
            "main.c", "#include <unistd.h>\nint main(void) { return execl(\"/bin/true\", \"true\", (char *)0); }\n")
        try scratch.prepare(
            "cc -D_GNU_SOURCE -O1 -w -shared -fPIC log.c -o liblog.so && cc -O1 main.c -o main -L. -llog "
                + "-Wl,-rpath,'$ORIGIN'"
        )
        let (plain, recording) = try scratch.runBothWays("./main")
        #expect(plain.output == "execl\n" && recording.outcome == plain, "\(plain) \(recording.outcome)")
    }

    @Test(arguments: ["%", "libjemalloc.so.2:%", "libtcmalloc_minimal.so.4:%", "%:libjemalloc.so.2"])
    func whatLibcBuildsOnAProgramsMallocIsTheProgramsOwn(preload: String) throws {
        let scratch = try Scratch()
        if preload == "%" {
            try scratch.compile("own_blocks.c", as: "own", "-fno-builtin")
        } else { // another allocator stands before the library, or behind it
            try scratch.write(
                "own.c",
                "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { void *b = reallocarray(malloc(10), 100, "
                    + "10); free(reallocarray(b, 300, 10)); return puts(\"done\") < 0; }\n"
            )
            try scratch.prepare("cc -D_GNU_SOURCE -O1 -fno-builtin own.c -o own")
        }
        let (plain, recording) = try scratch.runBothWays("./own", preload: preload)
        #expect(plain.output == "done\n" && recording.outcome == plain, "\(plain) \(recording.outcome)")
    }

    #if arch(x86_64)
        @Test func aStackMayBeEightBytesOff() throws {
            let scratch = try Scratch()
            try scratch.compile("misaligned.c", as: "misaligned", "-D_GNU_SOURCE")
            let (plain, recording) = try scratch.runBothWays("./misaligned")
            #expect(plain.output == (0 ..< 16).map { "\($0): status 0\n" }.joined(), "\(plain)")
            #expect(recording.outcome == plain, "\(recording.outcome)")
        }

        /// Libraries linked for an address above which the loader put them: what is added to their addresses is below
        /// zero.
        @Test func aLibraryMayLieBelowWhereItWasLinked() throws {
            let scratch = try Scratch()
            try scratch.write("one.c", "int one(void) { return 1; }\n")
            try scratch.write("two.c", "int two(void) { return 2; }\n")
            try scratch.write("main.c", "int one(void), two(void);\nint main(void) { return one() + two() - 3; }\n")
            try scratch.prepare(
                "for n in one two; do cc -shared -fPIC -Wl,-Ttext-segment=0x7ff000000000 $n.c -o lib$n.so; done && cc "
                    + "main.c -o main -L. -lone -ltwo -Wl,-rpath,'$ORIGIN'"
            )
            let (plain, recording) = try scratch.runBothWays("./main")
            #expect(plain.exitStatus == 0 && recording.outcome == plain, "\(plain) \(recording.outcome)")
        }
    #endif

    @Test(arguments: ["signals", "filter", "environment"], [nil, "USR2"]) func aVforkChildsDoingsAreItsOwn(
        what: String, signal: String?
    ) throws {
        let scratch = try Scratch()
        try scratch.compile("shared_memory.c", as: "shared")
        let (plain, recording) = try scratch.runBothWays("./shared \(what)", variables: ["HEAPSUM_SIGNAL": signal])
        #expect(
            plain.exitStatus == 0
                && plain.output.contains(what == "signals" ? "got 2" : what == "filter" ? "child 0" : "ended"),
            "\(plain)")
        #expect(recording.outcome == plain, "\(recording.outcome)")
        // Beside dumps, which the signal may have asked for.
        let image = try #require(try recording.images(of: "shared").first { $0.name.split(separator: ".").count == 3 })
            .image
        #expect(try Reduced(image).holding("main").blocks == 200 && !image.hasFlag(HEAP_FLAG_STOPPED))
    }

    /// A crash handler's fork, on an alternate stack of 6 KB: the child's first allocation makes its image there.
    @Test func aForksImageNeedsLittleStack() throws {
        let scratch = try Scratch()
        try scratch.write(
            "main.c",
            """
            #include <signal.h>
            #include <stdio.h>
            #include <stdlib.h>
            #include <string.h>
            #include <sys/wait.h>
            #include <unistd.h>
            #if defined(__aarch64__)
            static char stack[8192]; // the kernel's part is larger by 3 KB there
            #else
            static char stack[6144];
            #endif
            static void on_signal(int number) {
                int status = 0;
                if (fork() == 0) _exit(strdup("a line of a report") == NULL || number == 0);
                wait(&status);
                if (write(1, status == 0 ? "well\\n" : "died\\n", 5) != 5) _exit(2);
            }
            int main(void) {
                stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
                struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
                free(malloc(10));
                sigaltstack(&alternate, NULL);
                sigaction(SIGUSR1, &action, NULL);
                return raise(SIGUSR1);
            }

            """)
        try scratch.prepare("cc -D_GNU_SOURCE -O1 -w main.c -o main")
        let (plain, recording) = try scratch.runBothWays("./main")
        #expect(plain.output == "well\n" && recording.outcome == plain, "\(plain) \(recording.outcome)")
    }

    @Test func aProductThatOverflowsIsNoRequest() throws {
        let scratch = try Scratch()
        try scratch.write(
            "main.c",
            "#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>\nint main(void) { errno = 0; void *b = "
                + "reallocarray(NULL, (size_t)-1 / 2, 3); return printf(\"%d %d\\n\", b == NULL, errno == ENOMEM) < 0; "
                + "}\n"
        )
        try scratch.prepare("cc -D_GNU_SOURCE -O1 -w -fno-builtin main.c -o main")
        for preload in ["%", "%:libjemalloc.so.2", "%:libtcmalloc_minimal.so.4"] {
            let (plain, recording) = try scratch.runBothWays("./main", preload: preload)
            #expect(plain.output == "1 1\n" && recording.outcome == plain, "\(preload): \(plain) \(recording.outcome)")
        }
    }

    @Test func aProgramsLocksStay() throws {
        let scratch = try Scratch()
        try scratch.compile("locked.c", as: "locked")
        let (plain, recording) = try scratch.runBothWays("./locked")
        #expect(plain.output == "behind posix_spawn: locked by me\nbehind exec: locked by me\n", "\(plain)")
        #expect(recording.outcome == plain, "\(recording.outcome)")
    }

    @Test func valgrindSaysNothingOfUs() throws {
        let scratch = try Scratch()
        let (plain, recording) = try scratch.runBothWays("valgrind -q sh -c true;true")
        #expect(plain.exitStatus == 0 && recording.outcome.messages == plain.messages, "\(recording.outcome)")
    }

    /// A wrapper finds libc's by dlsym: what it stands before is seen as ever.
    @Test func aWrapperIsNoNamesake() throws {
        let scratch = try Scratch()
        try scratch.write(
            "wrapper.c",
            """
            #include <dlfcn.h>
            #include <stddef.h>
            static int calls;
            int wrapped(void) { return calls; }
            void *valloc(size_t bytes) { calls++; return ((void *(*)(size_t))dlsym(RTLD_NEXT, "valloc"))(bytes); }

            """)
        try scratch.write(
            "main.c",
            "#include <stdio.h>\n#include <stdlib.h>\nint wrapped(void);\nvoid *valloc(size_t);\nvoid *volatile "
                + "kept;\nint main(void) { kept = valloc(4321); return printf(\"%d\\n\", wrapped()) < 0; }\n"
        )
        try scratch.prepare(
            "cc -D_GNU_SOURCE -O1 -shared -fPIC wrapper.c -o libwrapper.so && cc -O1 main.c -o main -L. -lwrapper "
                + "-Wl,-rpath,'$ORIGIN'"
        )
        let (plain, recording) = try scratch.runBothWays("./main")
        #expect(plain.output == "1\n" && recording.outcome == plain, "\(recording.outcome)")
        #expect(try Reduced(try recording.image(of: "main")).holding("main").bytes == 4321)
    }

    /// dlsym finds no name that libc keeps for old programs alone; those find it by its version.
    @Test func olderVersionsAreLibcs() throws {
        let scratch = try Scratch()
        try scratch.write(
            "main.c",
            """
            #include <dlfcn.h>
            #include <spawn.h>
            #include <stdio.h>
            #if defined(__x86_64__)
            #define OLDEST "GLIBC_2.2.5"
            #define OLD_SPAWN dlvsym(RTLD_DEFAULT, "posix_spawn", OLDEST)
            #else
            #define OLDEST "GLIBC_2.17"
            #define OLD_SPAWN NULL // there is one version
            #endif
            int main(void) {
                return printf("%d %d %d %d\\n", dlsym(RTLD_DEFAULT, "cfree") != NULL, \
                    dlvsym(RTLD_DEFAULT, "cfree", OLDEST) != NULL,
                    dlsym(RTLD_DEFAULT, "posix_spawn") == (void *)posix_spawn, OLD_SPAWN == (void *)posix_spawn) < 0;
            }

            """)
        try scratch.prepare("cc -D_GNU_SOURCE -O1 -w main.c -o main -ldl")
        let (plain, recording) = try scratch.runBothWays("./main")
        #expect(plain.output.hasPrefix("0 1 1 ") && recording.outcome == plain, "\(plain) \(recording.outcome)")
    }

    @Test func aModuleMayHideItsHeaders() throws {
        let scratch = try Scratch()
        try scratch.compile(
            "hidden.c", as: "libhidden.so",
            "-DLIBRARY -shared -fPIC -fno-optimize-sibling-calls -Wl,-z,separate-code -Wl,-z,now")
        try scratch.compile("hidden.c", as: "hidden", "-Wl,-z,now -L. -lhidden -Wl,-rpath,'$ORIGIN'")
        let (plain, recording) = try scratch.runBothWays("./hidden")
        #expect(plain.output == "1\n" && recording.outcome == plain, "\(plain) \(recording.outcome)")
        let image = try recording.image(of: "hidden")
        let reduced = try Reduced(image)
        #expect(
            reduced.holding("first", anywhere: true).bytes == 22
                && reduced.holding("second", anywhere: true).bytes == 22)
    }

    @Test(arguments: ["name", "number"]) func lockingIsTheKernels(by: String) throws {
        let scratch = try Scratch()
        try scratch.compile("locks.c", as: "locks")
        // As it stands; with a limit that the program keeps, and would not with the image; one that it does not keep;
        // one of nothing.
        for (limit, user) in [
            ("-1", "root"), ("-1", "nobody"), ("8000", "nobody"), ("2000", "nobody"), ("0", "nobody"), ("2000", "root"),
        ] {
            let (plain, recording) = try scratch.runBothWays("./locks \(by) \(limit) \(user)")
            #expect(plain.exitStatus == 0 && plain.output.split(separator: "\n").count == 2, "\(plain)")
            #expect(recording.outcome == plain, "\(limit) \(user): \(plain) \(recording.outcome)")
        }
    }

    @Test func patternsAreFnmatchs() throws {
        let scratch = try Scratch()
        try scratch.compile(
            "globs.c", as: "globs", "-I'\(Built.root)/Interposer' -D_GNU_SOURCE '\(Built.root)/Interposer/base/glob.c'")
        let outcome = try scratch.run(["./globs"], variables: ["LC_ALL": "C"])
        #expect(outcome.output == "0 differ\n" && outcome.exitStatus == 0, "\(outcome)")
    }

    @Test func interruptionsAreTheProgramsToChoose() throws {
        let scratch = try Scratch()
        try scratch.write(
            "main.c",
            """
            #include <errno.h>
            #include <signal.h>
            #include <stdio.h>
            #include <sys/wait.h>
            #include <unistd.h>
            #include "\(Built.root)/Tests/Programs/at_rest.h"
            static int handled[2];
            static void on(int number) { if (write(handled[1], "h", 1) != 1) _exit(3 + number); }
            int main(void) {
                for (int interrupts = 0; interrupts < 2; interrupts++) {
                    int ends[2];
                    char byte;
                    if (pipe(ends) != 0 || pipe(handled) != 0) return 2;
                    signal(SIGUSR1, on);
                    siginterrupt(SIGUSR1, interrupts);
                    struct sigaction now;
                    sigaction(SIGUSR1, NULL, &now);
                    if (fork() == 0) {
                        // When it waits for the byte; and the byte when the handler has come between.
                        wait_until_asleep(getppid());
                        kill(getppid(), SIGUSR1);
                        _exit(read(handled[0], &byte, 1) != 1 || write(ends[1], "x", 1) != 1);
                    }
                    long got = read(ends[0], &byte, 1);
                    printf("%ld %d %d\\n", got, got < 0 && errno == EINTR, (now.sa_flags & SA_RESTART) != 0);
                    while (wait(NULL) < 0) {}
                }
                return 0;
            }

            """)
        try scratch.prepare("cc -D_GNU_SOURCE -O1 -w main.c -o main")
        let (plain, recording) = try scratch.runBothWays("./main", variables: ["HEAPSUM_SIGNAL": "10"])
        #expect(plain.output == "1 0 1\n-1 1 0\n" && recording.outcome == plain, "\(plain) \(recording.outcome)")
    }
}

@Suite struct InvariantTests {
    @Test(arguments: [true, false]) func aBrokenInvariantIsSeen(looks: Bool) throws {
        let scratch = try Scratch()
        try scratch.compile("tamper.c", as: "tamper", "-I'\(Built.root)/Interposer'")
        let (plain, recording) = try scratch.runBothWays("./tamper", variables: ["HEAPSUM_CHECK": looks ? "1" : nil])
        #expect(plain.exitStatus == 0 && recording.outcome == plain)
        let name = try #require(try recording.names(of: "tamper").first)
        #expect(try HeapImage(path: "\(scratch.path)/\(name)").hasFlag(HEAP_FLAG_BROKEN) == looks)
        let said = (try? contents(scratch.path + "/messages")) ?? ""
        #expect(
            said.contains("the recorder is wrong about itself; this does not hold: folded <= head") == looks, "\(said)")
    }
}

@Suite struct StartTests {
    private static let ways = 12

    #if arch(x86_64)
        /// A program of 32 bits, whose loader could not load the library, and would say so. This one has no loader, and
        /// prints its environment.
        @Test func aProgramForAnotherProcessorGoesWithout() throws {
            let scratch = try Scratch()
            try scratch.write(
                "print.s",
                """
                    .globl _start
                _start: mov %esp, %esi
                    mov (%esi), %eax
                    lea 8(%esi,%eax,4), %esi
                1:  mov (%esi), %ecx
                    test %ecx, %ecx
                    jz 4f
                    mov %ecx, %edx
                2:  cmpb $0, (%edx)
                    je 3f
                    inc %edx
                    jmp 2b
                3:  movb $10, (%edx)
                    inc %edx
                    sub %ecx, %edx
                    mov $4, %eax
                    mov $1, %ebx
                    int $0x80
                    add $4, %esi
                    jmp 1b
                4:  mov $1, %eax
                    xor %ebx, %ebx
                    int $0x80

                """)
            try scratch.prepare(
                "as --32 print.s -o print.o && ld -m elf_i386 print.o -o print && printf '#! %s/print\\n' \"$PWD\" > "
                    + "script && chmod +x script"
            )
            try scratch.compile("starts.c", as: "starts")
            // A script for a script; a namesake that may not be executed stands before the program; the working
            // directory in PATH.
            try scratch.prepare(
                "printf '#! %s/script\\n' \"$PWD\" > second && chmod +x second && mkdir before && touch before/print "
                    + "before/script before/second"
            )
            for (program, list) in [
                ("print", "/nowhere:\(scratch.path)"), ("script", "\(scratch.path)/before:\(scratch.path)"),
                ("second", "/nowhere:"),
            ] {
                let path = "\(scratch.path)/\(program)", variables = ["PATH": "\(list):/usr/bin:/bin", "FOUND": "it"]
                let (plain, recording) = try scratch.runBothWays("./starts / \(path) \(program)", variables: variables)
                let lines = plain.output.split(separator: "\n").map(String.init)
                #expect(
                    lines.filter { $0 == "FOUND=it" }.count == Self.ways + 1
                        && !lines.contains { $0.hasPrefix("LD_PRELOAD") || $0.contains("did not") }, "\(plain)")
                // What says how to record is handed on; LD_PRELOAD is not.
                let wanted = { (lines: [Substring]) in
                    lines.filter { line in
                        ["way ", "LD_", "FOUND=", "V="].contains { line.hasPrefix($0) } || line.contains("did not")
                    }
                }
                let ours = wanted(recording.outcome.output.split(separator: "\n")),
                    theirs = wanted(plain.output.split(separator: "\n"))
                // The large environment of the last way is cut at so many variables: those that say how to record are
                // among them.
                #expect(
                    ours.filter { $0 != "V=1" } == theirs.filter { $0 != "V=1" }
                        && ours.filter { $0 == "V=1" }.count > 19_000, "\(ours.prefix(40))")
                #expect(recording.outcome.messages == plain.messages)
            }
        }
    #endif

    /// In a root that the library's path does not lead into, the loader finds no library, and would say so.
    @Test(.enabled(if: getuid() == 0, "only root can have another root"), arguments: [true, false])
    func inAnotherRootNothingIsPrinted(isThere: Bool) throws {
        let scratch = try Scratch()
        try scratch.prepare(
            "mkdir -p root/bin && for file in /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*'); do mkdir -p root$(dirname "
                + "$file) && cp -L $file root$file; done"
        )
        // The library is there, and may not be read: of root only a directory in its place is not to be opened.
        if isThere { try scratch.prepare("mkdir -p 'root\(Built.interposer)'") }
        try scratch.write("root/script", "#!/bin/sh\necho started $1 ${LD_PRELOAD:-nothing}\n")
        try scratch.prepare("chmod +x root/script")
        try scratch.compile("starts.c", as: "starts")
        let (plain, recording) = try scratch.runBothWays(
            "./starts root /script script", variables: ["PATH": "/:/bin:/usr/bin"])
        let lines = plain.output.split(separator: "\n")
        // A script that is started by fexecve is opened again, by a /dev/fd that isn't here.
        #expect(
            lines.filter { $0.hasPrefix("started ") }.count == Self.ways
                && lines.suffix(2) == ["by system", "by popen"] && !plain.messages.contains("LD_PRELOAD"), "\(plain)")
        #expect(recording.outcome == plain, "\(recording.outcome)")
    }
}
