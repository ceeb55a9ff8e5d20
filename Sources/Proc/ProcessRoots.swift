// Processes that see other files than this tool: in a container, a chroot, or a mount namespace of their own. Their
// files can be read through /proc/PID/root.

import Glibc
import SystemPackage

/// The root directories of processes whose files are not this tool's.
package struct ProcessRoots: Sendable {
    private struct Process: Hashable {
        var id: UInt32
        var startTime: UInt64
    }
    private var roots: [Process: String] = [:]

    /// Looks at all processes.
    ///
    /// - Complexity: reads two links for each process, and two files for each one with other files.
    package init() {
        let ownFiles = Self.namespace(of: "self"), ownRoot = Self.status(of: "self")
        for pid in processes() {
            let place = String(livingThread(of: pid))
            guard let files = Self.namespace(of: place), let root = Self.status(of: place),
                files != ownFiles || root.st_ino != ownRoot?.st_ino || root.st_dev != ownRoot?.st_dev,
                let startTime = ProcessStat.of(pid)?.startTime
            else { continue }
            let path = "/proc/\(place)/root"
            roots[Process(id: UInt32(bitPattern: pid), startTime: startTime)] = path
            if let inner = innermostPID(of: pid) { roots[Process(id: inner, startTime: startTime)] = path }
        }
    }

    /// The root directory of a process that runs and sees other files; else nil.
    ///
    /// - Parameters:
    ///   - processID: here, or in its own PID namespace.
    ///   - startTime: in clock ticks since boot.
    package func root(of processID: UInt32, startTime: UInt64) -> String? {
        roots[Process(id: processID, startTime: startTime)]
    }

    private static func namespace(of process: String) -> ino_t? {
        (try? FilePath("/proc/\(process)/ns/mnt").status())?.st_ino
    }

    private static func status(of process: String) -> stat? { try? FilePath("/proc/\(process)/root/").status() }
}
