// One stopped thread of the target, and the calls that heaprun makes in it. The thread is always resumed at the end.
// A call that does not return in time restores the thread's state by itself when it does return.

import CAttach
import CHeapImage
import Glibc
import Launch
import Proc
import SystemPackage
import Text

/// How long to look for a thread at a safe place, and how long a call may take.
private let searchSeconds: UInt64 = 10
private let callMilliseconds: UInt32 = 5000
/// Threads that one round tries.
private let roundCount = 32

/// A stopped thread, for as long as `body` runs.
struct StoppedThread: ~Copyable {
    private var thread: OpaquePointer?
    let tid: pid_t
    private let pid: pid_t

    fileprivate init(_ thread: OpaquePointer, tid: pid_t, pid: pid_t) {
        (self.thread, self.tid, self.pid) = (thread, tid, pid)
    }

    /// Resumes the thread. Returns the nanoseconds for which it was stopped; nil if a call did not return in time and
    /// the thread was resumed then.
    consuming func release() -> UInt64? { thread.map { attach_release($0) } }

    /// The address of memory in the process for strings and answers.
    mutating func room() throws(LaunchError) -> UInt64 {
        guard thread != nil else { throw noReturn() }
        let result = attach_prepare(&thread)
        if result == -ETIMEDOUT { throw noReturn() }
        guard result >= 0 else {
            throw .own("\(pid): no memory could be mapped in it for the calls: \(errnoText(-result))")
        }
        return attach_room(thread)
    }

    mutating func call(_ function: UInt64, _ one: UInt64 = 0, _ two: UInt64 = 0) throws(LaunchError) -> UInt64 {
        guard thread != nil else { throw noReturn() }
        var answer: UInt64 = 0
        let result = attach_call(&thread, function, one, two, callMilliseconds, &answer)
        switch -result {
        case ..<1: return answer
        case ETIMEDOUT:
            throw noReturn(
                or: "a call in thread \(tid) did not return within \(callMilliseconds / 1000) s: another thread holds "
                    + "a lock that it needs. The thread was resumed, and continues when it gets the lock; try again "
                    + "later")
        case EFAULT: throw .own("\(pid): a call in thread \(tid) faulted; the thread's state was restored")
        case ESRCH: throw .own("\(pid): thread \(tid) ended during a call")
        default: throw .own("\(pid): no call can be made in thread \(tid): \(errnoText(-result))")
        }
    }

    /// Why a call did not return in time, and the thread was let go in it. It finds back by itself.
    ///
    /// - Parameter other: the reason if the program is not frozen.
    func noReturn(or other: String? = nil) -> LaunchError {
        if Freezer.holding(pid) != nil {
            return .own(
                "\(pid): it was frozen (docker pause, or another freezer of its control group) during a call in "
                    + "thread \(tid), which finishes the call when the program runs: thaw it, and try again")
        }
        let usual =
            "a system call in thread \(tid) did not return within 2 s: it waits for a processor, a device or a file "
            + "server, or was frozen from elsewhere. The thread was resumed, and continues when it can; try again later"
        return .own("\(pid): \(other ?? usual)")
    }

    /// - Returns: the call's result or a negated errno; -ETIMEDOUT: see `noReturn`.
    mutating func systemCall(_ number: Int, _ arguments: [UInt64]) -> Int64 {
        guard thread != nil else { return -Int64(ETIMEDOUT) }
        return (arguments + [UInt64](repeating: 0, count: 6 - arguments.count)).withUnsafeBufferPointer {
            attach_system_call(&thread, number, $0.baseAddress)
        }
    }

    func write(_ bytes: [UInt8], at address: UInt64) throws(LaunchError) {
        let count = bytes.withUnsafeBytes { attach_write(pid, address, $0.baseAddress, $0.count) }
        guard count == bytes.count else { throw .own("\(pid): its memory can't be written") }
    }

    /// The text at an address, cut at 1,000 bytes.
    func text(at address: UInt64) -> String {
        var bytes = [UInt8](repeating: 0, count: 1000)
        let count = bytes.withUnsafeMutableBytes { attach_read(pid, address, $0.baseAddress, $0.count) }
        return pathText(bytes.prefix(max(0, count)).prefix { $0 != 0 })
    }

    func answer(at address: UInt64) -> heapsum_attach_answer {
        var answer = heapsum_attach_answer()
        _ = withUnsafeMutableBytes(of: &answer) { attach_read(pid, address, $0.baseAddress, $0.count) }
        return answer
    }
}

/// Stops a thread that is neither in the allocator nor in the loader.
///
/// - Throws: if none was found within ten seconds; the message says what the threads were doing.
func stopThread(of target: Target) throws(LaunchError) -> StoppedThread {
    let deadline = monotonicNanoseconds() + searchSeconds * 1_000_000_000
    // Load libunwind now, not while a thread is stopped.
    _ = attach_has_unwinder()
    var met: [pid_t: Int32] = [:]
    var pause: UInt32 = 500
    var turn = 0
    while monotonicNanoseconds() < deadline {
        var threads = threadsOf(target.pid)
        guard !threads.isEmpty else { throw .own("\(target.pid): no such process") }
        // The main thread first: it has the largest stack. Then the others in turn.
        if threads.count > roundCount {
            threads = [threads[0]] + (0 ..< roundCount).map { threads[(turn * roundCount + $0) % threads.count] }
        }
        turn += 1
        for tid in threads {
            // A thread in uninterruptible sleep would not stop, and could not be detached either.
            guard let stat = ProcessStat.of(thread: tid, of: target.pid), stat.isAlive, stat.state != UInt8(ascii: "D")
            else {
                met[tid] = Int32(ATTACH_STOPPED.rawValue)
                continue
            }
            var thread: OpaquePointer?
            let result = withUnsafePointer(to: target.plan) { attach_stop($0, tid, &thread) }
            if result == Int32(ATTACH_SAFE.rawValue), let thread {
                return StoppedThread(thread, tid: tid, pid: target.pid)
            }
            if result == -EPERM { throw permissionRefusal(target.pid, .notPermitted) }
            if result > 0 { met[tid] = result }
        }
        usleep(pause)
        // A growing, odd pause does not stay in step with a program's own rhythm.
        pause = min(20_000, pause + pause / 3 + 137)
    }
    throw notSafe(target, met)
}

private func notSafe(_ target: Target, _ met: [pid_t: Int32]) -> LaunchError {
    if let held = heldRefusal(target.pid) { return held }
    let reasons: [(attach_state, String)] = [
        (ATTACH_IN_ALLOCATOR, "was in the allocator or the loader"), (ATTACH_BUSY, "was running in libc"),
        (ATTACH_NO_ROOM, "had no room on its stack"), (ATTACH_UNKNOWN, "had a stack that can't be followed"),
        (ATTACH_STOPPED, "was stopped (SIGSTOP) or in uninterruptible sleep"),
        (ATTACH_IN_SEQUENCE, "was in a restartable sequence"), (ATTACH_FOREIGN_MODE, "ran 32-bit code"),
        (ATTACH_IN_VECTORS, "had a matrix, very long vector registers or a guarded stack in use"),
    ]
    let parts = reasons.compactMap { state, text -> String? in
        let threads = met.filter { $0.value == Int32(state.rawValue) }.keys.sorted()
        guard let first = threads.first else { return nil }
        let name = (try? readBytes(.init("/proc/\(target.pid)/task/\(first)/comm"), limit: 64)).map {
            pathText($0.prefix { $0 != 10 })
        }
        return threads.count == 1
            ? "thread \(first) (\(name ?? "?")) \(text)"
            : "\(threads.count) threads, such as \(first) (\(name ?? "?")), each \(text)"
    }
    return .own(
        "\(target.pid): for \(searchSeconds) s no thread was at a place where it can safely be stopped: "
            + "\(parts.joined(separator: "; ")). Nothing was changed; try again"
            + (attach_has_unwinder() != 0
                ? "" : ", with libunwind installed (Debian's libunwind8), which follows stacks"))
}

/// The living threads of a process, the first one first.
func threadsOf(_ pid: pid_t) -> [pid_t] {
    ((try? namesInDirectory(.init("/proc/\(pid)/task"))) ?? []).compactMap { pid_t($0.text) }.sorted {
        ($0 != pid, $0) < ($1 != pid, $1)
    }
}

private func < (one: (Bool, pid_t), other: (Bool, pid_t)) -> Bool {
    one.0 == other.0 ? one.1 < other.1 : !one.0
}
