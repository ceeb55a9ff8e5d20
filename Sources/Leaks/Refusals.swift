// Why a process can't be read, recognised from /proc, each with its way out.

import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

extension Snapshot {
    /// Throws, before any thread is stopped, if reading would fail in any case.
    static func refuse(_ processID: pid_t) throws(LeaksError) {
        guard let thread = Presence.livingThread(of: UInt32(bitPattern: processID)) else {
            throw LeaksError("\(processID): no such process")
        }
        if processID == getpid() { throw LeaksError("\(processID): that is heapsum itself") }
        if let process = process(ofThread: processID) {
            throw LeaksError("\(processID): a thread of process \(process): name the process")
        }
        if let refusal = tracedRefusal(processID) { throw refusal }
        if Freezer.holding(pid_t(bitPattern: thread)) == .first {
            throw LeaksError(
                "\(processID): it is frozen (docker pause, or another freezer of its control group), and can't be "
                    + "stopped: thaw it, and try again")
        }
        var head = [UInt8](repeating: 0, count: 20)
        let descriptor = open("/proc/\(thread)/exe", O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 {
            let count = head.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            close(descriptor)
            if count == 20, head[0] == 0x7F, head[4] == 1 {
                throw LeaksError("\(processID): a 32-bit program: heapsum records and reads only 64-bit programs")
            }
        }
    }

    /// Refuses a sampled image: a block to which only unrecorded blocks point would seem lost.
    static func refuse(_ image: HeapImage) throws(LeaksError) {
        guard image.isSampled else { return }
        throw LeaksError(
            "\(image.file): sampled: pointers in blocks that were not sampled are unknown, so reachable blocks would "
                + "seem lost: record without --sample for verdicts; heapsum diff of two dumps shows what grows")
    }

    /// The reason for a stop that failed.
    static func refusal(_ processID: pid_t, Errno error: CInt) -> LeaksError {
        switch error {
        case ESRCH: return LeaksError("\(processID): no such process")
        case ENOEXEC: return LeaksError("\(processID): it runs in 32-bit mode: heapsum reads only 64-bit programs")
        case ENOTSUP: return LeaksError("\(processID): heapsum can stop threads only on x86-64 and AArch64")
        case EAGAIN:
            return LeaksError(
                "\(processID): none of its threads stopped: it is in uninterruptible sleep (a vfork's parent, a file "
                    + "server that doesn't answer) or frozen; try again when it runs"
            )
        case EPERM, EACCES: return permissionRefusal(processID)
        default: return LeaksError("\(processID): can't be stopped: \(String(cString: strerror(error)))")
        }
    }

    /// A thread that was to make the clone slept for ten seconds instead.
    static func sleepRefusal(_ processID: pid_t) -> LeaksError {
        if Freezer.holding(livingThread(of: processID)) != nil {
            return LeaksError(
                "\(processID): it was frozen while heapsum had stopped it (docker pause): thaw it, and try again")
        }
        // Whether another container's freezer holds it can't be seen from here.
        return LeaksError(
            "\(processID): heapsum had stopped it, and one of its threads slept for ten seconds instead of making a "
                + "clone: it waits for a device or a file server that doesn't answer, or was frozen from elsewhere; "
                + "try again when it runs")
    }

    private static func permissionRefusal(_ processID: pid_t) -> LeaksError {
        if let refusal = tracedRefusal(processID) { return refusal }
        let owners = statusLine("Uid:", of: processID)?.compactMap { uid_t($0) } ?? []
        let ours = geteuid()
        if ours != 0, !owners.isEmpty, owners.contains(where: { $0 != ours }) {
            return LeaksError(
                "\(processID): it is user \(owners[0])'s and not yours: run heapsum as that user, or as root")
        }
        if let scope = procFile("/proc/sys/kernel/yama/ptrace_scope", limit: 16).map({
            String(decoding: $0.prefix { $0 != 10 }, as: UTF8.self)
        }), scope != "0", ours != 0 {
            return LeaksError(
                "\(processID): Yama forbids tracing (kernel.yama.ptrace_scope is \(scope)): run heapsum as root, or "
                    + "set it to 0" + (scope == "3" ? ", which takes a reboot because it is 3" : ""))
        }
        if ours != 0 {
            return LeaksError(
                "\(processID): it can't be traced by this user (PR_SET_DUMPABLE is 0, or it has capabilities that "
                    + "you lack): run heapsum as root"
            )
        }
        return LeaksError(
            "\(processID): heapsum may not trace it without CAP_SYS_PTRACE. In a container add it (--cap-add "
                + "SYS_PTRACE), or run heapsum on the host"
        )
    }

    private static func tracedRefusal(_ processID: pid_t) -> LeaksError? {
        guard let tracer = tracer(of: processID) else { return nil }
        return LeaksError(
            "\(processID): process \(tracer) traces it (\(name(of: tracer))), and a process can have only one tracer: "
                + "end or detach that one, and try again")
    }

    private static func name(of process: pid_t) -> String {
        procFile("/proc/\(process)/comm", limit: 64).map { String(decoding: $0.prefix { $0 != 10 }, as: UTF8.self) }
            ?? "unknown"
    }
}
