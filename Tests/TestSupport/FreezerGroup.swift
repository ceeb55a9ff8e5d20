// A control group's freezer (docker pause) for tests. Needs root, and a freezer.

import Glibc

/// The freezers of control groups.
package enum TestFreezer: Sendable, CaseIterable {
    case first, second

    /// Those of this system that a test may use.
    package static let usable = allCases.filter { FreezerGroup(getpid(), $0, moves: false) != nil }
}

/// A control group of its own for a program, removed at the end. The program goes back to where it was.
package final class FreezerGroup {
    private let pid: pid_t
    private let path: String
    private let parent: String
    private let kind: TestFreezer

    /// Nil if this system has no such freezer.
    package convenience init?(_ pid: pid_t, _ kind: TestFreezer) { self.init(pid, kind, moves: true) }

    fileprivate init?(_ pid: pid_t, _ kind: TestFreezer, moves: Bool) {
        let lines = (try? contents("/proc/\(pid)/cgroup"))?.split(separator: "\n") ?? []
        let own = lines.first { kind == .first ? $0.contains(":freezer:") : $0.hasPrefix("0::") }
        guard let group = own?.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).last else {
            return nil
        }
        let roots = kind == .first ? ["/sys/fs/cgroup/freezer"] : ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        let name = "heapsum-test-\(getpid())-\(pid)" + (moves ? "" : "-empty")
        guard
            let parent = roots.map({ $0 + group }).first(where: {
                access($0 + "/cgroup.procs", W_OK) == 0 && mkdir("\($0)/\(name)", 0o755) == 0
            })
        else { return nil }
        (self.pid, self.parent, path, self.kind) = (pid, parent, "\(parent)/\(name)", kind)
        isIn = moves && write("\(pid)", to: path + "/cgroup.procs")
        guard access(path + (kind == .first ? "/freezer.state" : "/cgroup.freeze"), W_OK) == 0, isIn == moves else {
            return nil
        }
    }

    private var isIn = false

    deinit {
        if isIn {
            setFrozen(false)
            _ = write("\(pid)", to: parent + "/cgroup.procs")
        }
        for _ in 0 ..< 100 where rmdir(path) != 0 { usleep(10_000) }
    }

    private func write(_ text: String, to path: String) -> Bool {
        guard let file = fopen(path, "we") else { return false }
        return fputs(text, file) >= 0 && fclose(file) == 0
    }

    package func setFrozen(_ isFrozen: Bool) {
        _ =
            kind == .first
            ? write(isFrozen ? "FROZEN" : "THAWED", to: path + "/freezer.state")
            : write(isFrozen ? "1" : "0", to: path + "/cgroup.freeze")
    }

    /// Until all of it is frozen.
    package func freeze() throws -> Bool {
        setFrozen(true)
        return try eventually {
            try kind == .first
                ? contents(path + "/freezer.state").hasPrefix("FROZEN")
                : contents(path + "/cgroup.events").contains("frozen 1")
        }
    }
}
