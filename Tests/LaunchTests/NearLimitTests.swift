// Dumps before the end: which limits a process is under, by trees of files as the kernel has them, and a program that
// runs into a limit of each kind.

import Glibc
import HeapImage
import TestSupport
import Testing

@testable import Launch

@Suite struct NearLimitTests {
    private func tree(_ files: [String: String]) throws -> Scratch {
        let scratch = try Scratch()
        for (path, text) in files {
            try scratch.prepare("mkdir -p '\(path.split(separator: "/").dropLast().joined(separator: "/"))'")
            try scratch.write(path, text)
        }
        return scratch
    }

    private func limits(_ files: [String: String]) throws -> [MemoryLimit] {
        let scratch = try tree(files)
        return withExtendedLifetime(scratch) { memoryLimits(of: 7, root: scratch.path) }
    }

    @Test func groupsOfBothVersionsCountWithThoseAboveThem() throws {
        let second = try limits([
            "proc/7/cgroup": "0::/pods/a:b\n", "sys/fs/cgroup/pods/a:b/memory.max": "max\n",
            "sys/fs/cgroup/pods/a:b/memory.current": "50\n", "sys/fs/cgroup/pods/memory.max": "100\n",
            "sys/fs/cgroup/pods/memory.current": "91\n",
        ])
        #expect(second == [MemoryLimit(name: "memory.max of /pods", usedBytes: 91, limitBytes: 100)])
        let first = try limits([
            "proc/7/cgroup": "5:cpu:/x\n4:memory:/box\n0::/\n",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "1000\n",
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "10\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "77\n",
        ])
        #expect(first == [MemoryLimit(name: "memory.limit_in_bytes of /box", usedBytes: 10, limitBytes: 1000)])
        // In a container: the host's path, and the container's own group mounted as the root.
        let inside = try limits([
            "proc/7/cgroup": "0::/kubepods/pod1\n", "sys/fs/cgroup/memory.max": "4096\n",
            "sys/fs/cgroup/memory.current": "2048\n",
        ])
        #expect(inside.map(\.share) == [0.5])
        #expect(try limits([:]).isEmpty)
        #expect(try limits(["proc/7/cgroup": "nonsense\n0::\n::\n", "proc/7/limits": "Max address space\n"]).isEmpty)
    }

    @Test func aProcesssOwnLimitsAreTheKernels() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo input")
        let running = try scratch.start(
            ["prlimit", "--as=1073741824", "--data=536870912", "cat"], input: scratch.file("input"))
        let found = eventually { memoryLimits(of: running.pid).contains { $0.name == "RLIMIT_DATA" } }
        #expect(found)
        let limits = memoryLimits(of: running.pid).filter { $0.name.hasPrefix("RLIMIT") }
        #expect(limits.map(\.limitBytes) == [1 << 30, 1 << 29] && limits.allSatisfy { $0.usedBytes > 100_000 })
        kill(running.pid, SIGKILL)
        _ = try running.wait()
    }

    /// A program that keeps blocks until none is given, or it is killed.
    private func run(_ scratch: Scratch, _ command: String) throws -> (outcome: Outcome, dumps: [HeapImage]) {
        let outcome = try scratch.shell(command, variables: ["HEAPSUM_LIBRARY": Built.interposer])
        let names = try scratch.shell("ls out/*.heap").output.split(separator: "\n").map(String.init)
        let images = try names.map { try HeapImage(path: scratch.file($0)) }
        return (outcome, images.filter { $0.kind == .dump })
    }

    @Test func aLimitOfAddressSpaceIsSeenComing() throws {
        let scratch = try Scratch()
        let (outcome, dumps) = try run(
            scratch,
            "ulimit -v 1000000; '\(Built.heaprun)' -o out --dump-near-limit 70% '\(try Built.program("grows"))' 5000")
        #expect(outcome.exitStatus == 5, "\(outcome)")
        #expect(!dumps.isEmpty && dumps.count <= 8)
        #expect(outcome.messages.contains(" % of RLIMIT_AS (1,024,000,000 bytes): dumped to "), "\(outcome)")
        #expect(try dumps.contains { try $0.census().liveBytes > 300_000_000 })
    }

    private static let memoryGroup: String? = {
        let path = "/sys/fs/cgroup/memory/heapsum-test-\(getpid())"
        guard geteuid() == 0, mkdir(path, 0o755) == 0 else { return nil }
        return path
    }()

    @Test(.enabled(if: memoryGroup != nil, "a control group of memory can't be made here"))
    func anOOMKillIsSeenComing() throws {
        let group = try #require(Self.memoryGroup), scratch = try Scratch()
        defer { rmdir(group) }
        let (outcome, dumps) = try run(
            scratch,
            """
            echo 300M >'\(group)/memory.limit_in_bytes' && echo $$ >'\(group)/cgroup.procs' && \
            '\(Built.heaprun)' -o out --dump-near-limit 60% '\(try Built.program("grows"))' 5000
            status=$?; echo $$ >/sys/fs/cgroup/memory/cgroup.procs; exit $status
            """)
        #expect(outcome.exitStatus == 137, "\(outcome)")
        #expect(!dumps.isEmpty, "\(outcome)")
        #expect(outcome.messages.contains("memory.limit_in_bytes of "), "\(outcome)")
        #expect(outcome.messages.contains("ended by signal 9"), "\(outcome)")
    }

    @Test func wordsThatAreNoShareAreRefused() throws {
        for words in [["--dump-near-limit", "0"], ["--dump-near-limit", "150%"], ["--dump-near-limit=-3"]] {
            let outcome = try Scratch().run([Built.heaprun] + words + ["/bin/true"])
            #expect(outcome.exitStatus == 125 && outcome.messages.contains("from 1% to 99%"), "\(outcome)")
        }
        let both = try Scratch().run([Built.heaprun, "--exec", "--dump-near-limit", "90%", "/bin/true"])
        #expect(both.exitStatus == 125 && both.messages.contains("--exec"), "\(both)")
    }
}
