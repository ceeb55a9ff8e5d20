// Why a process can't be looked into, told from what /proc says of it, and the way out of each.

import Glibc
import HeapImage
import Proc
import Text

/// Who traces a process; nil where nobody does.
package func tracer(of processID: pid_t) -> pid_t? {
    guard let thread = Presence.livingThread(of: UInt32(bitPattern: processID)),
        let word = statusLine("TracerPid:", of: pid_t(bitPattern: thread))?.first, let tracer = pid_t(word), tracer > 0
    else { return nil }
    return tracer
}

extension Snapshot {
    /// Refuses before anything is stopped what would fail in any case.
    static func refuse(_ processID: pid_t) throws(LeaksError) {
        guard let thread = Presence.livingThread(of: UInt32(bitPattern: processID)) else {
            throw LeaksError("\(processID): no such process")
        }
        if processID == getpid() { throw LeaksError("\(processID): that is heapsum itself") }
        if let tracer = statusLine("TracerPid:", of: pid_t(bitPattern: thread))?.first, tracer != "0" {
            throw LeaksError(
                "\(processID): process \(tracer) traces it (\(name(of: tracer))), and a process has one tracer: end "
                    + "that one, or detach it, and try again"
            )
        }
        var head = [UInt8](repeating: 0, count: 20)
        let descriptor = open("/proc/\(thread)/exe", O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 {
            let count = head.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            close(descriptor)
            if count == 20, head[0] == 0x7F, head[4] == 1 {
                throw LeaksError("\(processID): a 32-bit program: heapsum records and reads programs of 64 bits alone")
            }
        }
    }

    /// Refuses a sampled image: a block that only blocks outside of it point to would seem lost.
    static func refuse(_ image: HeapImage) throws(LeaksError) {
        guard image.isSampled else { return }
        throw LeaksError(
            "\(image.file): sampled: a pointer in a block that was not drawn is not seen, and what it leads to would "
                + "seem lost: record without --sample for verdicts; heapsum diff of two dumps tells what grows")
    }

    /// The reason for a stop that failed.
    static func refusal(_ processID: pid_t, Errno error: CInt) -> LeaksError {
        switch error {
        case ESRCH: return LeaksError("\(processID): no such process")
        case ENOEXEC: return LeaksError("\(processID): it runs in 32-bit mode: heapsum reads programs of 64 bits alone")
        case ENOTSUP: return LeaksError("\(processID): threads are stopped on x86-64 alone so far")
        case EAGAIN:
            return LeaksError(
                "\(processID): no thread of it would stop: it sleeps uninterruptibly (a vfork's parent, a file server "
                    + "that doesn't answer); try again when it goes on"
            )
        case EPERM, EACCES: return permissionRefusal(processID)
        default: return LeaksError("\(processID): can't be stopped: \(String(cString: strerror(error)))")
        }
    }

    private static func permissionRefusal(_ processID: pid_t) -> LeaksError {
        if let tracer = statusLine("TracerPid:", of: processID)?.first, tracer != "0" {
            return LeaksError(
                "\(processID): process \(tracer) traces it, and a process has one tracer: end that one, or detach it, "
                    + "and try again"
            )
        }
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
                "\(processID): yama keeps processes from being traced (kernel.yama.ptrace_scope is \(scope)): run "
                    + "heapsum as root, or set it to 0"
                    + (scope == "3" ? ", which takes a reboot where it is 3" : ""))
        }
        if ours != 0 {
            return LeaksError(
                "\(processID): it keeps itself from being traced (PR_SET_DUMPABLE is 0, or it has capabilities that "
                    + "you lack): run heapsum as root"
            )
        }
        return LeaksError(
            "\(processID): not ours to trace: heapsum lacks CAP_SYS_PTRACE there. In a container add it (--cap-add "
                + "SYS_PTRACE), or run heapsum on the host"
        )
    }

    private static func name(of process: String) -> String {
        procFile("/proc/\(process)/comm", limit: 64).map { String(decoding: $0.prefix { $0 != 10 }, as: UTF8.self) }
            ?? "unknown"
    }
}
