// Whether a freezer of control groups holds a process: docker pause, systemctl freeze, a batch system.

import Glibc
import SystemPackage

/// How a process is frozen.
package enum Freezer: Sendable {
    /// By the freezer of control groups v1: a tracer can't stop its threads either.
    case first
    /// By control groups v2: a tracer can stop its threads, but no system call can be made in them.
    case second

    /// The freezer that holds a process now; nil if none does, or if that can't be seen from here (another container).
    ///
    /// - Complexity: reads up to four small files.
    package static func holding(_ pid: pid_t) -> Freezer? {
        guard let groups = try? readBytes(FilePath("/proc/\(pid)/cgroup"), limit: 1 << 16) else { return nil }
        return holding(groups) { path in
            (try? readBytes(FilePath(path), limit: 4096)).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    /// The same from the text of /proc/PID/cgroup, with the files that `read` gives.
    package static func holding(_ groups: [UInt8], read: (String) -> String?) -> Freezer? {
        for line in String(decoding: groups, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            // A group outside of this tool's own namespace has no path here.
            guard parts.count == 3, !parts[2].split(separator: "/").contains("..") else { continue }
            let group = parts[2] == "/" ? "" : parts[2]
            if parts[1].split(separator: ",").contains("freezer") {
                let state = read("/sys/fs/cgroup/freezer\(group)/freezer.state")
                if let state, state.hasPrefix("FR") { return .first } // FROZEN, FREEZING
            }
            guard parts[0] == "0" && parts[1].isEmpty else { continue }
            for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
                let events = read("\(root)\(group)/cgroup.events")?.split(separator: "\n") ?? []
                if events.contains("frozen 1") { return .second }
            }
        }
        return nil
    }
}
