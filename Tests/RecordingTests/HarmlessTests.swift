// Programs that a preload of this kind has crashed, hung or misread: those that bring functions of libc's names, those
// that load and close plugins, those whose code runs before libraries are set up. Each runs plainly and recorded; what
// it prints, says and returns is the same.

import CHeapImage
import HeapImage
import TestSupport
import Testing

extension Scratch {
    /// Compiles a program of Tests/Programs/harmless into this directory.
    func compile(_ source: String, as name: String, _ flags: String = "") throws {
        let path = "\(Built.root)/Tests/Programs/harmless/\(source)"
        let compiler = source.hasSuffix(".cc") ? "c++ -std=c++17" : "cc -std=gnu17"
        try prepare("\(compiler) -O1 -g -w '\(path)' -o '\(name)' -pthread -ldl \(flags)")
    }

    /// Runs a command of this directory plainly and recorded, with a limit against hangs; both ways are to come out
    /// alike.
    func runBothWays(
        _ command: String, variables: [String: String?] = [:], preload: String = "%"
    ) throws -> (plain: Outcome, recording: Recording) {
        let arguments = ["timeout", "300"] + command.split(separator: " ").map(String.init)
        let others = preload.replacing("%", with: "").split(separator: ":").joined(separator: ":")
        let plain = try run(
            arguments, variables: variables.merging(["LD_PRELOAD": others.isEmpty ? nil : others]) { $1 })
        let list = preload.replacing("%", with: Built.interposer)
        let recorded = try run(
            arguments,
            variables: recordingVariables(
                variables.merging(["LD_PRELOAD": list, "HEAPSUM_MESSAGES": path + "/messages"]) { $1 }))
        return (plain, Recording(scratch: self, outcome: recorded))
    }
}

@Suite struct OwnFunctionTests {
    @Test(arguments: ["SIGACTION", "CLOCK", "LATE", "PARTIAL"]) func aProgramsOwnFunctionsAreNotCalled(
        kind: String
    ) throws {
        let scratch = try Scratch()
        try scratch.compile("own_functions.c", as: "own", "-D\(kind) -rdynamic")
        let (plain, recording) = try scratch.runBothWays("./own")
        #expect(plain.exitStatus == 0 && !plain.output.isEmpty)
        #expect(recording.outcome == plain, "\(recording.outcome)")
    }

    /// Names that a strictly conforming C program may use for its own: POSIX's and Linux's, none of ISO C's.
    static let names = """
        accept access alarm bind bsd_signal bzero cfree chdir chmod chown clock_gettime close closedir connect \
        ctermid dirfd dl_iterate_phdr dladdr dlclose dlopen
        dlsym dup dup2 execl execle execlp execv execve execvp execvpe faccessat fchdir fchmod fcntl fdopen fexecve \
        fileno flock fnmatch fstat fstatat fsync
        ftruncate getauxval getcwd getegid geteuid getgid gethostname getitimer getpagesize getpid getppid \
        getpriority getrandom getrlimit gettid gettimeofday getuid
        index ioctl isatty kill lchown link linkat listen lockf lseek lstat madvise memalign memfd_create memmem \
        memrchr mincore mkdir mlock
        mlockall mmap mprotect msync munlock munmap nanosleep nice open openat opendir pathconf pause pipe poll \
        posix_memalign posix_spawn posix_spawnp prctl pread
        pselect pthread_atfork pthread_setcancelstate pvalloc pwrite read readdir readlink readv recv rename_at \
        rindex rmdir sched_yield select
        send setitimer setpgid setrlimit setsid setuid shutdown sigaction sigaddset sigaltstack sigemptyset \
        sigismember sigignore sigprocmask sigset
        sleep socket srandom ssignal stat statx stpcpy strdup strnlen symlink sync syscall sysconf sysinfo \
        sysv_signal tgkill truncate ttyname umask uname
        unlink unlinkat usleep utime valloc wait waitpid write writev
        """.split(whereSeparator: { $0 == " " || $0 == "\n" }).map(String.init)

    /// A program that defines the names, calls the first of them a few times, grows, and prints how often each was
    /// called.
    static func source(_ names: [String]) -> String {
        let definitions = names.enumerated().map { "int \($1)(void) { return ++calls[\($0)]; }" }
        let calls = names.prefix(10).map { "\($0)();" }
        return """
            #include <stdio.h>
            #include <stdlib.h>
            static int calls[\(names.count)];
            \(definitions.joined(separator: "\n"))
            void *kept[400];
            int main(void) {
                for (int i = 0; i < 400; i++) kept[i] = malloc(4321);
                \(calls.joined(separator: " "))
                for (int i = 100; i < 400; i++) free(kept[i]);
                for (int i = 0; i < \(names.count); i++) printf("%d ", calls[i]);
                puts("");
                return 0;
            }

            """
    }

    @Test func twelveProgramsWithTwentyNamesOfTheirOwnEach() throws {
        let scratch = try Scratch()
        var generator = SeededGenerator(seed: 20)
        let shuffled = Self.names.shuffled(using: &generator)
        for number in 0 ..< 12 {
            let names = (0 ..< 20).map { shuffled[(number * 20 + $0) % shuffled.count] }
            try scratch.write("p\(number).c", Self.source(names))
            try scratch.prepare("cc -std=c17 -O1 -w -fno-builtin p\(number).c -o p\(number)")
            // Dumps on the way, as the program grows: they open, write, rename and close.
            let (plain, recording) = try scratch.runBothWays(
                "./p\(number)", variables: ["HEAPSUM_DUMP_AT_GROWTH": "500000"])
            #expect(plain.exitStatus == 0 && plain.output.hasPrefix("1 "), "\(names): \(plain)")
            #expect(recording.outcome == plain, "\(names): \(recording.outcome)")
            let images = try recording.images(of: "p\(number)")
            #expect(images.count >= 3, "an image and two dumps: \(images.map(\.name))")
            let last = try #require(images.first { $0.name.split(separator: ".").count == 3 })
            let reduced = try Reduced(last.image)
            let held = reduced.holding("main")
            #expect(held.blocks == 100 && held.bytes == 432_100, "\(names): \(held)")
        }
    }

    @Test func openUnderALockDoesNotHang() throws {
        let scratch = try Scratch()
        try scratch.compile("checked_open.c", as: "checked", "-DPROGRAM")
        try scratch.compile("checked_open.c", as: "checked.so", "-shared -fPIC")
        try scratch.write(
            "plain.c",
            "#include <sys/wait.h>\n#include <unistd.h>\n#include <fcntl.h>\nint main(void) { int s; if (fork() == 0) "
                + "_exit(open(\"/etc/hostname\", O_RDONLY) < 0); wait(&s); return s; }\n"
        )
        try scratch.prepare("cc -O1 plain.c -o plain")
        let inside = try scratch.runBothWays("./checked")
        #expect(
            inside.plain.output == "child 0\n" && inside.recording.outcome == inside.plain,
            "\(inside.recording.outcome)")
        let preloaded = try scratch.runBothWays("./plain", preload: "%:\(scratch.path)/checked.so")
        #expect(
            preloaded.plain.exitStatus == 0 && preloaded.recording.outcome == preloaded.plain,
            "\(preloaded.recording.outcome)")
    }

    @Test func anAllocatorThatWrapsSigactionIsNotTakenForGlibc() throws {
        let scratch = try Scratch()
        try scratch.compile("wrapping_allocator.c", as: "wrapping.so", "-shared -fPIC -fno-builtin")
        try scratch.compile("half_freed.c", as: "half", "-O0")
        let (plain, recording) = try scratch.runBothWays("./half", preload: "%:\(scratch.path)/wrapping.so")
        #expect(plain.exitStatus == 0 && recording.outcome == plain)
        let held = try Reduced(try recording.image(of: "half")).holding("main")
        #expect(held.blocks == 50 && held.bytes == 402_500, "\(held)")
    }
}

@Suite struct LoaderTests {
    @Test func whatTheLoaderCallsEarlyMayAllocate() throws {
        let scratch = try Scratch()
        try scratch.compile("early.c", as: "libearly.so", "-DLIBRARY -shared -fPIC")
        try scratch.compile("early.c", as: "early", "-L. -learly -Wl,-rpath,'$ORIGIN'")
        let (plain, recording) = try scratch.runBothWays("./early")
        #expect(plain.output == "1 1 1 1\n", "\(plain)")
        #expect(recording.outcome == plain, "\(recording.outcome)")
        let image = try recording.image(of: "early")
        #expect(try Reduced(image).holding("main").bytes >= 4321)
        #expect(image.losses.early_allocations > 0 && image.losses.lost_allocations == 0)
    }

    @Test(arguments: ["replaced", "both", "many", "again", "error"]) func operatorsAreThoseOfTheCaller(
        how: String
    ) throws {
        let scratch = try Scratch()
        try scratch.compile("host.c", as: "host")
        // each with a C++ runtime of its own, of another size, so that one lies where the other was
        if how == "replaced" {
            try scratch.compile("plugin.cc", as: "one.so", "-shared -fPIC -static-libstdc++ -static-libgcc")
            try scratch.compile("plugin.cc", as: "two.so", "-DFILLER -shared -fPIC -static-libstdc++ -static-libgcc")
        } else if how == "again" { // the runtime stays when the plugin goes, and stands before it when that comes back
            try scratch.compile("plugin.cc", as: "one.so", "-DOWN=16 -DUNSIZED -shared -fPIC")
        } else {
            try scratch.compile(
                "plugin.cc", as: "one.so", "-DOWN=16 -fno-exceptions -fno-rtti -shared -fPIC -nostdlib -lc -lgcc")
            try scratch.compile(
                "plugin.cc", as: "two.so", "-DOWN=32 -fno-exceptions -fno-rtti -shared -fPIC -nostdlib -lc -lgcc")
        }
        let (plain, recording) = try scratch.runBothWays("./host \(how)")
        #expect(plain.output == (how == "error" ? "kept\n" : "used\n"), "\(plain)")
        #expect(recording.outcome == plain, "\(recording.outcome)")
    }

    /// The plugin that was opened comes before what it needs: a library's call reaches the opener's operators, as the
    /// loader has it.
    @Test func operatorsOfTheOpenerComeFirst() throws {
        let scratch = try Scratch()
        try scratch.compile("host.c", as: "host")
        try scratch.write(
            "outer.cc",
            """
            #include <cstdlib>
            #include <new>
            extern "C" void *make_within(int); extern "C" void take_within(void *);
            extern "C" void *make(int bytes) { return make_within(bytes); }
            extern "C" void take(void *block) { operator delete(block); } // what the library made by ours
            void *operator new(std::size_t bytes) { return static_cast<char *>(std::malloc(bytes + 48)) + 48; }
            void operator delete(void *block) noexcept { if (block) std::free(static_cast<char *>(block) - 48); }
            """)
        try scratch.write(
            "within.cc",
            """
            #include <cstdlib>
            #include <new>
            extern "C" void *make_within(int bytes) { return operator new(bytes); }
            void *operator new(std::size_t bytes) { return std::malloc(bytes); }
            void operator delete(void *block) noexcept { std::free(block); }
            """)
        try scratch.prepare(
            "c++ -O1 -fPIC -shared -fno-exceptions within.cc -o libwithin.so && c++ -O1 -fPIC -shared -fno-exceptions "
                + "outer.cc -o one.so -L. -lwithin -Wl,-rpath,'$ORIGIN' && cp one.so two.so"
        )
        let (plain, recording) = try scratch.runBothWays("./host error")
        #expect(plain.output == "kept\n" && recording.outcome == plain, "\(plain) \(recording.outcome)")
    }

    @Test func pluginsComeAndGoInOtherThreads() throws {
        let scratch = try Scratch()
        try scratch.compile("crowded_host.c", as: "host")
        for (kind, flags) in [(0, "-DOWN=16"), (1, "-DOWN=80 -DFILLER")] {
            try scratch.compile(
                "plugin.cc", as: "plugin-0-\(kind).so",
                "\(flags) -fno-exceptions -fno-rtti -shared -fPIC -nostdlib -lc -lgcc")
            try scratch.prepare(
                "cp plugin-0-\(kind).so plugin-1-\(kind).so; cp plugin-0-\(kind).so plugin-2-\(kind).so")
        }
        let (plain, recording) = try scratch.runBothWays("./host")
        #expect(plain.output == "used\n" && recording.outcome == plain, "\(recording.outcome)")
    }

    @Test func theFirstOperatorNewWaitsForNobody() throws {
        let scratch = try Scratch()
        try scratch.compile("constructor.cc", as: "constructor.so", "-DLIBRARY -shared -fPIC")
        try scratch.compile("constructor.cc", as: "main", "-rdynamic")
        let (plain, recording) = try scratch.runBothWays("./main")
        #expect(plain.output == "done\n" && recording.outcome == plain, "\(recording.outcome)")
    }

    @Test func libcBeforeTheLibraryIsSaid() throws {
        let scratch = try Scratch()
        let libc = try scratch.shell("ldd /bin/sh | sed -n 's/.*=> \\(.*libc.so.6\\) .*/\\1/p'").output.split(
            separator: "\n"
        ).first.map(String.init)
        let path = try #require(libc)
        try scratch.compile("half_freed.c", as: "half")
        for (command, preload) in [("./half", "\(path):%"), (path, "%")] {
            let (plain, recording) = try scratch.runBothWays(command, preload: preload)
            #expect(plain.exitStatus == 0 && recording.outcome == plain, "\(recording.outcome)")
            #expect(
                try contents(scratch.path + "/messages").contains("not recorded, as libc stands before libheapsum.so"))
            #expect(try recording.names(of: "half").isEmpty)
        }
    }

    @Test func aProgramStartedByTheLoaderIsItself() throws {
        let scratch = try Scratch()
        try scratch.compile("half_freed.c", as: "half")
        try scratch.compile("half_freed.c", as: "unidentified", "-Wl,--build-id=none")
        let loader = try scratch.shell("readelf -lW half | sed -n 's/.*interpreter: \\(.*\\)]/\\1/p'").output.split(
            separator: "\n"
        ).first.map(String.init)
        for name in ["half", "unidentified"] {
            let (plain, recording) = try scratch.runBothWays("\(try #require(loader)) ./\(name)")
            #expect(plain.exitStatus == 0 && recording.outcome == plain)
            let held = try Reduced(try recording.image(of: name)).holding("main")
            #expect(held.blocks == 50, "\(held)")
        }
    }

    @Test func aPluginsPathIsTheKernels() throws {
        let scratch = try Scratch()
        try scratch.write("leaf.c", "#include <stdlib.h>\nvoid *leaf(void) { return malloc(77); }\n")
        try scratch.write(
            "main.c",
            "#include <dlfcn.h>\n#include <unistd.h>\nint main(void) { void *l = dlopen(\"./leaf.so\", 2); if "
                + "(chdir(\"/\")) return 2; return ((void *(*)(void))dlsym(l, \"leaf\"))() == 0; }\n"
        )
        try scratch.prepare(
            "cc -g -O1 -fno-optimize-sibling-calls -shared -fPIC leaf.c -o leaf.so && cc -w -O1 main.c -o main -ldl")
        let (plain, recording) = try scratch.runBothWays("./main")
        #expect(plain.exitStatus == 0 && recording.outcome == plain)
        #expect(try Reduced(try recording.image(of: "main")).holding("leaf").bytes == 77)
    }

    /// What tells a rebuilt file, where nothing else does; the kernel's own figures by stat(1).
    @Test func aModulesFileIsKnown() throws {
        let scratch = try Scratch()
        try scratch.compile("half_freed.c", as: "half", "-Wl,--build-id=none")
        let figures = try scratch.shell("stat -c '%i %s %.9Y' half").output.split(whereSeparator: {
            $0 == " " || $0 == "\n"
        }).map(String.init)
        let (_, recording) = try scratch.runBothWays("./half")
        let module = try #require(
            try recording.image(of: "half").modules().first { $0.path.suffix(5) == Array("/half".utf8)[...] })
        let file = try #require(module.file)
        #expect([String(file.inode), String(file.byteCount)] == Array(figures.prefix(2)))
        #expect(String(file.modifiedNanoseconds) == figures[2].split(separator: ".").joined())
    }
}

/// What a program hands on to what it starts, and what it limits for itself.
@Suite struct InheritanceTests {
    @Test(arguments: ["setrlimit", "prlimit", "number", "old number"])
    func aProgramMayLimitItsOwnAddressSpace(way: String) throws {
        let scratch = try Scratch()
        try scratch.compile("address_space.c", as: "address_space")
        let (plain, recording) = try scratch.runBothWays("./address_space \(way)")
        #expect(plain.output == "0 200\n")
        #expect(recording.outcome == plain, "\(recording.outcome)")
        let image = try recording.image(of: "address_space")
        #expect(image.damages.isEmpty && image.losses.lost_allocations == 0)
        let held = try Reduced(image).holding("main")
        #expect(held.blocks == 200 && held.bytes == 200 * 3 << 20, "\(held)")
        #expect(try Reduced(image).holding("allocate").blocks == 4 * 2000)
    }

    @Test(arguments: 1 ... 7) func memoryIsLockedUnderALimit(flags: Int) throws {
        let scratch = try Scratch()
        try scratch.prepare("chmod 711 . && mkdir -m 1777 out")
        try scratch.compile("locks_memory.c", as: "locks_memory")
        let (plain, recording) = try scratch.runBothWays(
            "./locks_memory \(flags)", variables: ["HEAPSUM_OUTPUT": scratch.path + "/out"])
        #expect(plain.exitStatus == 0)
        #expect(recording.outcome == plain, "\(recording.outcome)")
    }

    @Test(arguments: ["10", nil]) func anIgnoredSignalIsHandedOn(signal: String?) throws {
        let scratch = try Scratch()
        try scratch.compile("ignored_signal.c", as: "ignored")
        let (plain, recording) = try scratch.runBothWays("./ignored", variables: ["HEAPSUM_SIGNAL": signal])
        #expect(plain.output.contains("vforked: ignored"))
        #expect(recording.outcome == plain, "\(recording.outcome)")
    }

    @Test func aForksChildHasNoDescriptorOfOurs() throws {
        let scratch = try Scratch()
        try scratch.compile("forks.c", as: "forks")
        let (plain, recording) = try scratch.runBothWays("./forks")
        #expect(plain.output == "0\n")
        #expect(recording.outcome == plain, "\(recording.outcome)")
    }
}
