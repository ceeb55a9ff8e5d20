// The memory limits of a process: those of its control groups, and its own for address space and data. Read from
// outside, a few small files each time; the process pays nothing.

import Glibc
import Proc
import SystemPackage
import Text

/// A limit of a process, and how much of it is used.
struct MemoryLimit: Equatable {
    /// Its name in messages: "memory.max of /kubepods/pod1", "RLIMIT_AS".
    var name: String
    var usedBytes: UInt64
    var limitBytes: UInt64

    var share: Double { limitBytes == 0 ? 0 : Double(usedBytes) / Double(limitBytes) }
}

/// All limits of a process: of its control group and the groups above (version 2 and 1), RLIMIT_AS and RLIMIT_DATA.
///
/// - Parameter root: the directory that contains /proc and /sys.
/// - Complexity: a few files for each level of the hierarchy.
func memoryLimits(of pid: pid_t, root: String = "") -> [MemoryLimit] {
    groupLimits(of: pid, root) + resourceLimits(of: pid, root)
}

private func text(_ path: String) -> String? {
    (try? readBytes(FilePath(text: path), limit: 1 << 16)).map { String(decoding: $0, as: UTF8.self) }
}

private func number(_ path: String) -> UInt64? {
    text(path).flatMap { UInt64($0.prefix { $0.isNumber }) }
}

// "No limit" is the largest number of whole pages in version 1, and the word max in version 2.
private let unlimited: UInt64 = 1 << 62

private func groupLimits(of pid: pid_t, _ root: String) -> [MemoryLimit] {
    var limits: [MemoryLimit] = []
    for line in (text("\(root)/proc/\(pid)/cgroup") ?? "").split(separator: "\n") {
        // hierarchy:controllers:path; the path may hold colons
        let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else { continue }
        let isUnified = parts[0] == "0" && parts[1].isEmpty
        guard isUnified || parts[1].split(separator: ",").contains("memory") else { continue }
        let (limit, usage) =
            isUnified ? ("memory.max", "memory.current") : ("memory.limit_in_bytes", "memory.usage_in_bytes")
        let mount = "\(root)/sys/fs/cgroup" + (isUnified ? "" : "/memory")
        // From the group itself up to the root: the tightest limit ends the process. In a container the path may be the
        // host's, while the container's own group is mounted here.
        var components = parts[2].split(separator: "/")
        while true {
            let group = components.map { "/" + $0 }.joined()
            if let most = number("\(mount)\(group)/\(limit)"), most < unlimited,
                let used = number("\(mount)\(group)/\(usage)")
            {
                limits.append(
                    MemoryLimit(name: "\(limit) of \(group.isEmpty ? "/" : group)", usedBytes: used, limitBytes: most))
            }
            if components.popLast() == nil { break }
        }
    }
    return limits
}

private func resourceLimits(of pid: pid_t, _ root: String) -> [MemoryLimit] {
    guard let limits = text("\(root)/proc/\(pid)/limits"), let status = text("\(root)/proc/\(pid)/status") else {
        return []
    }
    func used(_ name: String) -> UInt64? {
        status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            .flatMap { $0.split { $0 == " " || $0 == "\t" }.dropFirst().first }.flatMap { UInt64($0) }.map { $0 << 10 }
    }
    let rows = [("Max address space", "RLIMIT_AS", "VmSize"), ("Max data size", "RLIMIT_DATA", "VmData")]
    return rows.compactMap { heading, name, counter in
        guard let line = limits.split(separator: "\n").first(where: { $0.hasPrefix(heading) }),
            let soft = line.dropFirst(heading.count).split(separator: " ").first.flatMap({ UInt64($0) }), soft > 0,
            let used = used(counter)
        else { return nil }
        return MemoryLimit(name: name, usedBytes: used, limitBytes: soft)
    }
}
