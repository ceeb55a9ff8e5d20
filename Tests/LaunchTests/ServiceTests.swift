// Recording as services run: as the first process of a PID namespace with a read-only root and a small /dev/shm,
// under a memory limit, started again under the same PID, and under supervisors that watch the process itself.
// Oracles: bubblewrap's namespaces, the kernel's OOM killer, dpkg's start-stop-daemon, and musl's own compiler.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import TestSupport
import Testing

@testable import Launch

private let canContain = system("bwrap --unshare-pid --ro-bind / / --proc /proc --dev /dev true 2>/dev/null") == 0
// A directory in which memory can be limited: of cgroups' second version, or the first's.
private let memoryGroup: (parent: String, limit: String)? = {
    for (parent, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
        let probe = "\(parent)/heapsum-probe-\(getpid())"
        guard mkdir(probe, 0o700) == 0 else { continue }
        defer { rmdir(probe) }
        if access("\(probe)/\(limit)", W_OK) == 0 { return (parent, limit) }
    }
    return nil
}()

@Suite struct ServiceTests {
    private func keeper() throws -> Scratch {
        let scratch = try Scratch()
        // One that waits on, whatever signal comes.
        try scratch.write("keeper.c", RecordTests.keeper.replacing("pause();", with: "for (;;) pause();"))
        try scratch.prepare("cc -O1 -fno-builtin -o keeper keeper.c && mkdir images")
        return scratch
    }

    /// bwrap's words: another PID namespace, a read-only root, /dev/shm of 64 MB, and one directory that can be
    /// written.
    private func container(_ scratch: Scratch, _ variables: [(String, String)] = []) -> [String] {
        [
            "bwrap", "--unshare-pid", "--unshare-ipc", "--as-pid-1", "--die-with-parent", "--ro-bind", "/", "/",
            "--dev", "/dev", "--size", "67108864", "--tmpfs", "/dev/shm",
            "--proc", "/proc", "--bind", "\(scratch.path)/images", "\(scratch.path)/images",
        ] + variables.flatMap { ["--setenv", $0.0, $0.1] }
    }

    private func blocks(_ image: HeapImage, of size: UInt64) -> Int {
        var count = 0
        image.forEachBlock { for index in $0.indices where $0[index].bytes == size { count += 1 } }
        return count
    }

    /// Those that can be read: one may be in the making.
    private func images(_ scratch: Scratch) throws -> [HeapImage] {
        try namesInDirectory(FilePath("\(scratch.path)/images")).compactMap {
            try? HeapImage(path: "\(scratch.path)/images/\($0.string)")
        }
    }

    /// The PID out here of the program below a started one.
    private func program(_ name: String, below pid: pid_t) throws -> pid_t {
        var found: pid_t?
        let isThere = eventually {
            found = processes().first { other in
                guard let text = try? contents("/proc/\(other)/stat"), text.contains("(\(name)) ") else { return false }
                var ancestor = other
                while ancestor > 1, ancestor != pid {
                    guard let stat = try? contents("/proc/\(ancestor)/stat"),
                        let parent = stat.split(separator: ")").last?.split(separator: " ").dropFirst().first.flatMap({
                            pid_t($0)
                        })
                    else { return false }
                    ancestor = parent
                }
                return ancestor == pid
            }
            return found != nil
        }
        guard isThere, let found else { throw Failure("\(name) did not start") }
        return found
    }

    @Test(.enabled(if: canContain, "needs bubblewrap, and the right to make namespaces"))
    func heaprunAsTheFirstProcess() throws {
        let scratch = try keeper()
        let running = try scratch.start(
            container(scratch, [("HEAPSUM_LIBRARY", Built.interposer)]) + [
                Built.heaprun, "-o", "\(scratch.path)/images", "\(scratch.path)/keeper", "wait",
            ])
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        let pid = try program("keeper", below: running.pid)
        // From outside, by the PID that it has here; inside it is the second process.
        let dump = try scratch.run([Built.heapdump, String(pid)])
        #expect(dump.output == "\(scratch.path)/images/keeper.2.1.heap\n", "\(dump)")
        let image = try HeapImage(path: "\(scratch.path)/images/keeper.2.1.heap")
        #expect(
            image.kind == .dump && image.header.pid == 2 && blocks(image, of: 48) == 1000
                && image.header.residence.measured_ns > 0)
        kill(pid, SIGKILL)
        let outcome = try running.wait()
        // 64 MB are too few for an image that grows.
        #expect(outcome.exitStatus == 137 && outcome.messages.contains("/dev/shm has only 64 MB free"), "\(outcome)")
        let last = try HeapImage(path: "\(scratch.path)/images/keeper.2.heap")
        #expect(last.kind == .packed && last.state == .killed && blocks(last, of: 48) == 1000)
    }

    // Nothing can be written but /dev/shm, which is not to be seen from outside: heapdump goes by /proc.
    @Test(.enabled(if: canContain, "needs bubblewrap, and the right to make namespaces"))
    func aProgramAsTheFirstProcessWithAReadOnlyRoot() throws {
        let scratch = try keeper()
        let running = try scratch.start(
            container(scratch, [("LD_PRELOAD", Built.interposer), ("HEAPSUM_OUTPUT", "/nonexistent")]) + [
                "\(scratch.path)/keeper", "wait",
            ])
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        let pid = try program("keeper", below: running.pid)
        let place = try findImage(of: pid, deadline: 0)
        #expect(place != .file("/dev/shm/keeper.1.heap"))
        let dump = try scratch.run([Built.heapdump, String(pid)])
        #expect(dump.exitStatus == 0, "\(dump)")
        let image = try HeapImage(path: String(dump.output.dropLast()))
        #expect(image.header.pid == 1 && blocks(image, of: 48) == 1000)
        // The first process of a namespace gets the signals alone that it handles: the dump signal is one.
        kill(pid, SIGUSR2)
        #expect(try eventually { try HeapImage(path: Self.path(place)).header.dumps > 0 })
        kill(pid, SIGKILL)
        #expect(try running.wait().exitStatus == 137)
    }

    private static func path(_ place: ImagePlace) throws -> String {
        guard case .file(let path) = place else { throw Failure("no path leads to the image") }
        return path.string
    }

    @Test(.enabled(if: canContain, "needs bubblewrap, and the right to make namespaces"))
    func aRestartUnderTheSamePIDIsAnotherProcess() throws {
        let scratch = try keeper()
        for name in ["keeper.1.heap", "keeper.1-2.heap"] {
            let outcome = try scratch.run(
                container(scratch, [("LD_PRELOAD", Built.interposer), ("HEAPSUM_OUTPUT", "\(scratch.path)/images")]) + [
                    "\(scratch.path)/keeper"
                ])
            #expect(outcome.exitStatus == 3 && access("\(scratch.path)/images/\(name)", F_OK) == 0, "\(outcome)")
            // The kernel knows a process by PID and by its start in ticks of 10 ms: no service starts again within one.
            usleep(30_000)
        }
        // Two processes of one PID: neither takes the other's image's place.
        let both = try scratch.run([Built.products + "/heapsum", "--format", "json", "images"])
        #expect(both.output.contains("\"liveBlocks\":2000,") && both.messages.isEmpty, "\(both)")
    }

    @Test(.enabled(if: memoryGroup != nil, "needs the right to make a cgroup with a limit of memory"))
    func theKernelsKillForMemoryLeavesTheImage() throws {
        let scratch = try Scratch()
        try scratch.write(
            "grow.c",
            """
            #include <stdlib.h>
            #include <string.h>
            int main(void) { for (;;) { char *block = malloc(4000); if (!block) return 9; memset(block, 1, 4000); } }
            """)
        try scratch.prepare("cc -O1 -fno-builtin -o grow grow.c")
        let (parent, limit) = try #require(memoryGroup)
        let group = "\(parent)/heapsum-\(getpid())"
        try scratch.prepare("mkdir '\(group)' && echo 100663296 > '\(group)/\(limit)'")
        defer { _ = eventually { rmdir(group) == 0 } }
        let outcome = try scratch.run(
            ["sh", "-c", "echo $$ > '\(group)/cgroup.procs' && exec '\(Built.heaprun)' -o images ./grow"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(outcome.exitStatus == 137, "\(outcome)")
        let name = try #require(try namesInDirectory(FilePath("\(scratch.path)/images")).first?.string)
        let image = try HeapImage(path: "\(scratch.path)/images/\(name)")
        #expect(image.state == .killed && image.header.exit_signal == 9 && blocks(image, of: 4000) > 10_000)
    }

    // dpkg's supervisor knows a daemon by its PID and by the file that it runs: heaprun must have become the program.
    @Test func aSupervisorThatWatchesTheProcessSeesTheProgram() throws {
        let scratch = try keeper()
        func supervise(_ words: [String]) throws -> Int32 {
            try scratch.run(
                ["start-stop-daemon", "--pidfile", "\(scratch.path)/pid"] + words,
                variables: ["HEAPSUM_LIBRARY": Built.interposer]
            ).exitStatus
        }
        let keeper = "\(scratch.path)/keeper"
        let start = [
            "--start", "--background", "--make-pidfile", "--exec", keeper, "--startas", Built.heaprun, "--", "--exec",
            "-o", "\(scratch.path)/images", keeper, "wait",
        ]
        for round in 1 ... 2 {
            #expect(try supervise(start) == 0)
            #expect(
                try eventually {
                    try supervise(["--status", "--exec", keeper]) == 0
                        && images(scratch).filter { blocks($0, of: 48) == 1000 }.count == round
                })
            // It runs already: a second one is not started.
            #expect(try supervise(start) == 1)
            #expect(try supervise(["--stop", "--retry", "TERM/20", "--exec", keeper]) == 0)
            #expect(try supervise(["--status", "--exec", keeper]) != 0)
        }
        let ended = try images(scratch).filter { $0.effectiveState == .unknown && blocks($0, of: 48) == 1000 }
        #expect(ended.count == 2)
    }

    @Test(arguments: ["musl-gcc -Wl,--eh-frame-hdr", "gcc -static", "musl-gcc -static"])
    func programsOfMuslAndStaticOnesWithTheLibraryAreRecorded(compiler: String) throws {
        let scratch = try Scratch()
        let library = Built.interposer.replacing("libheapsum.so", with: "")
        let linked = compiler.hasSuffix("-static") ? "@\(library)static.options \(library)libheapsum.a" : ""
        try scratch.write("program.c", RecordTests.keeper)
        try scratch.prepare("\(compiler) -w -O1 -o program program.c \(linked)")
        for end in ["exit", "kill", "fork"] {
            let outcome = try scratch.record(
                ["./program", end], options: ["--quiet", "-o", end], library: Built.interposer)
            #expect(outcome.messages.isEmpty && outcome.exitStatus == (end == "kill" ? 137 : 3), "\(outcome)")
            let kept = try scratch.shell("ls \(end)/*.heap").output.split(separator: "\n").map {
                blocks(try HeapImage(path: scratch.file(String($0))), of: 48)
            }
            #expect(kept.max() == 1000 && kept.count == (end == "fork" ? 2 : 1), "\(end): \(kept)")
        }
        // The summary has the program's functions, and not what of the C library has called main.
        let summary = try scratch.record(["./program", "exit"], options: ["-o", "told"], library: Built.interposer)
        #expect(summary.messages.contains(" main\n") && !summary.messages.contains("ld-musl"), "\(summary.messages)")
    }

    @Test func muslsStaticProgramsAreRefusedWithAWayOut() throws {
        let scratch = try Scratch()
        try scratch.write("program.c", "int main(void) { return 0; }\n")
        try scratch.prepare("musl-gcc -static -o program program.c")
        #expect(try scratch.run(["./program"]).exitStatus == 0)
        let outcome = try scratch.record(["./program"], library: Built.interposer)
        #expect(outcome.exitStatus == 125 && outcome.output.isEmpty)
        #expect(outcome.messages.contains("statically linked") && outcome.messages.contains("without -static"))
    }
}
