// A program that a control group's freezer holds (docker pause): heapsum says so, waits for nothing, and leaves it as
// it was.

import Glibc
import TestSupport
import Testing

/// A control group of its own for a program, removed at the end. The program goes back to where it was.
private final class Group {
    private let pid: pid_t
    private let path: String
    private let parent: String
    private let isFirst: Bool

    /// The group of this process in the first or the second version's hierarchy with a freezer, if groups can be made
    /// in it.
    static func parent(first: Bool) -> String? {
        let lines = (try? contents("/proc/self/cgroup"))?.split(separator: "\n") ?? []
        let own = lines.first { first ? $0.contains(":freezer:") : $0.hasPrefix("0::") }
        guard let group = own?.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).last else {
            return nil
        }
        let roots = first ? ["/sys/fs/cgroup/freezer"] : ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        return roots.map { $0 + group }.first { parent in
            let path = "\(parent)/heapsum-test-\(getpid())"
            guard access(parent + "/cgroup.procs", W_OK) == 0, mkdir(path, 0o755) == 0 else { return false }
            defer { rmdir(path) }
            return access(path + (first ? "/freezer.state" : "/cgroup.freeze"), W_OK) == 0
        }
    }

    init(_ pid: pid_t, first: Bool) throws {
        parent = try #require(Self.parent(first: first))
        path = "\(parent)/heapsum-test-\(getpid())-\(pid)"
        (self.pid, isFirst) = (pid, first)
        try #require(mkdir(path, 0o755) == 0)
        try #require(write("\(pid)", to: path + "/cgroup.procs"))
    }

    deinit {
        setFrozen(false)
        _ = write("\(pid)", to: parent + "/cgroup.procs")
        for _ in 0 ..< 100 where rmdir(path) != 0 { usleep(10_000) }
    }

    private func write(_ text: String, to path: String) -> Bool {
        guard let file = fopen(path, "we") else { return false }
        return fputs(text, file) >= 0 && fclose(file) == 0
    }

    func setFrozen(_ isFrozen: Bool) {
        _ =
            isFirst
            ? write(isFrozen ? "FROZEN" : "THAWED", to: path + "/freezer.state")
            : write(isFrozen ? "1" : "0", to: path + "/cgroup.freeze")
    }

    /// Until all of it is frozen.
    func freeze() throws -> Bool {
        setFrozen(true)
        return try eventually {
            try isFirst
                ? contents(path + "/freezer.state").hasPrefix("FROZEN")
                : contents(path + "/cgroup.events").contains("frozen 1")
        }
    }
}

@Suite struct FrozenTests {
    private static let hasFirst = Group.parent(first: true) != nil, hasSecond = Group.parent(first: false) != nil

    @Test(.enabled(if: hasFirst, "needs root, and the freezer of control groups' first version"))
    func aProgramThatTheFirstFreezerHolds() throws { try expectFrozen(first: true) }
    @Test(.enabled(if: hasSecond, "needs root, and the freezer of control groups' second version"))
    func aProgramThatTheSecondFreezerHolds() throws { try expectFrozen(first: false) }
    @Test(.enabled(if: hasFirst, "needs root, and the freezer of control groups' first version"))
    func theFirstFreezerMeanwhile() throws { try expectFrozenMeanwhile(first: true) }
    @Test(.enabled(if: hasSecond, "needs root, and the freezer of control groups' second version"))
    func theSecondFreezerMeanwhile() throws { try expectFrozenMeanwhile(first: false) }

    private func expectFrozen(first: Bool) throws {
        let watched = try Watched([try leaksProgram("held")])
        let group = try Group(watched.pid, first: first)
        let isFrozen = try group.freeze()
        try #require(isFrozen)
        let outcome = try watched.leaks()
        if first {
            #expect(outcome.exitStatus == 2 && outcome.messages.contains("is frozen"), "\(outcome)")
        } else {
            #expect(outcome.exitStatus == 0 && outcome.output.contains("is frozen"), "\(outcome)")
            #expect(try watched.rows().sum("definite") == [1, 1234])
        }
        #expect(try contents("/proc/\(watched.pid)/status").contains("TracerPid:\t0"))
        group.setFrozen(false)
        #expect(try watched.rows().sum("definite") == [1, 1234])
        try expectWell(watched)
    }

    // While a thread makes heapsum's call: heapsum gives up after ten seconds, and the thread finds home.
    private func expectFrozenMeanwhile(first: Bool) throws {
        let watched = try Watched([try leaksProgram("held")])
        let group = try Group(watched.pid, first: first)
        // heapsum waits for some seconds when it is about to let the thread go.
        let tool = try watched.scratch.start(
            [
                "strace", "-f", "--seccomp-bpf", "-e", "trace=ptrace", "-e",
                "inject=ptrace:delay_enter=5s:when=\(try calls(watched))",
                "-o", "trace", Built.products + "/heapsum", "leaks", String(watched.pid),
            ])
        let isThere = try eventually(seconds: 60) {
            guard access(watched.scratch.file("trace"), R_OK) == 0 else { return false }
            return try contents(watched.scratch.file("trace")).contains("PTRACE_SETOPTIONS, ")
        }
        #expect(isThere)
        let isFrozen = try group.freeze()
        #expect(isFrozen)
        let outcome = try tool.wait()
        #expect(outcome.exitStatus == 2 && outcome.messages.contains("was frozen while"), "\(outcome)")
        group.setFrozen(false)
        try expectWell(watched)
    }

    /// The number of the call that lets the thread go.
    private func calls(_ watched: Watched) throws -> Int {
        _ = try watched.scratch.run(
            [
                "strace", "-f", "--seccomp-bpf", "-e", "trace=ptrace", "-o", "calls",
                Built.products + "/heapsum", "leaks", String(watched.pid),
            ], directory: watched.scratch.path)
        let lines = try contents(watched.scratch.file("calls")).split(separator: "\n").filter {
            $0.contains(" ptrace(")
        }
        return try #require(lines.firstIndex { $0.contains("PTRACE_SYSCALL") }) + 1
    }

    private func expectWell(_ watched: Watched) throws {
        let threads = try watched.scratch.shell("ls /proc/\(watched.pid)/task").output.split(separator: "\n")
        #expect(
            try eventually {
                try threads.allSatisfy {
                    try contents("/proc/\(watched.pid)/task/\($0)/status").contains("TracerPid:\t0")
                }
            })
        kill(watched.pid, SIGTERM)
        let outcome = try watched.running.wait()
        #expect(outcome.exitStatus == 0 && outcome.output.hasSuffix("all well\n"), "\(outcome)")
    }
}
