// Dumps near a limit (--dump-near-limit): the recorded processes are watched from outside, and one that comes near a
// limit is dumped. The next dump is taken when half of what was left is used, so there are few dumps and the last one
// shows the cause of the end.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// How near each process is to its limits, and what was dumped.
struct NearLimit {
    private let share: Double
    private let runDirectory: FilePath
    /// The share of the limit at which a process is dumped next.
    private var next: [pid_t: Double] = [:]
    private var processes: [pid_t] = []
    private var listDue: UInt64 = 0
    /// What happened, for the summary.
    private(set) var lines: [String] = []

    /// The smallest step between two dumps: within a hundredth of the limit they would show the same.
    private static let leastStep = 0.01
    /// A process is dumped only if its own memory is at least this share of its group's.
    private static let leastPart = 0.1

    init(share: Double, runDirectory: FilePath) {
        self.share = share
        self.runDirectory = runDirectory
    }

    /// Looks once, and dumps processes near a limit. Returns after how many nanoseconds to look again.
    mutating func look(now: UInt64) -> UInt64 {
        if now >= listDue {
            processes = recorded()
            // At the first look the program itself does not exist yet.
            listDue = now &+ (processes.isEmpty ? 100_000_000 : 1_000_000_000)
        }
        var nearest = 0.0
        for pid in processes {
            let limits = memoryLimits(of: pid)
            guard let limit = limits.max(by: { $0.share < $1.share }) else { continue }
            let wanted = next[pid] ?? share
            nearest = max(nearest, limit.share / wanted)
            if limit.share < share * 0.8 { next[pid] = nil } // it went down: the next rise is another
            guard limit.share >= wanted, isLarge(pid, limit) else { continue }
            next[pid] = limit.share + max(Self.leastStep, (1 - limit.share) / 2)
            dump(pid, limit)
        }
        // Near a limit things go fast. Far from it, one look per second is enough.
        return nearest > 0.9 ? 50_000_000 : nearest > 0.6 || processes.isEmpty ? 200_000_000 : 1_000_000_000
    }

    private mutating func dump(_ pid: pid_t, _ limit: MemoryLimit) {
        let percent = Int(limit.share * 100)
        let what = "\(pid) was at \(percent) % of \(limit.name) (\(separated(limit.limitBytes)) bytes)"
        do throws(LaunchError) {
            let dump = try takeDump(of: pid, deadline: 0)
            lines += ["heaprun: \(what): dumped to \(dump.path.text)"] + dump.notes.map { "heaprun: \($0)" }
        } catch { lines.append("heaprun: \(what), and could not be dumped: \(error.message)") }
    }

    // In a group with many processes, only those with a large share count.
    private func isLarge(_ pid: pid_t, _ limit: MemoryLimit) -> Bool {
        if limit.name.hasPrefix("RLIMIT") { return true }
        return Double(residentBytes(of: pid) ?? 0) >= Self.leastPart * Double(limit.usedBytes)
    }

    // The processes that have an image here.
    private func recorded() -> [pid_t] {
        var found: Set<pid_t> = []
        for name in (try? namesInDirectory(runDirectory)) ?? [] where name.text.hasSuffix(".heap") {
            guard let file = try? openToRead(runDirectory.appending(name), [.nonBlocking]) else { continue }
            defer { try? file.close() }
            guard let header = imageHeader(file), header.kind == HEAP_KIND_RUNNING.rawValue else { continue }
            let bootID = withUnsafeBytes(of: header.boot_id) { Array($0) }
            if let pid = Presence.find(processID: header.pid, startTime: header.start_time, bootID: bootID) {
                found.insert(pid_t(bitPattern: pid))
            }
        }
        return found.sorted()
    }
}
