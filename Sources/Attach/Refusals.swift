// Processes that can't be attached to: recognised from /proc before anything is changed, each with its way out.

import CAttach
import Glibc
import Launch
import Proc
import SystemPackage
import Text

/// Throws if attaching would fail or harm the process.
///
/// - Parameter toEnd: whether a recording is to be ended, which is refused for the same reasons.
func checkAttachable(_ pid: pid_t, toEnd: Bool = false) throws(LaunchError) {
    guard let living = Presence.livingThread(of: UInt32(bitPattern: pid)) else { throw .own("\(pid): no such process") }
    let thread = pid_t(bitPattern: living)
    if let process = process(ofThread: pid) {
        throw .own("\(pid): a thread of process \(process): name the process")
    }
    if pid == getpid() { throw .own("\(pid): that is heaprun itself") }
    if let refusal = tracedRefusal(pid) { throw refusal }
    try checkOwner(pid, thread)
    if thread != pid { throw mainThreadRefusal(pid, toEnd: toEnd) }
    // A stop by job control may be over soon: whoever looks for a thread to call waits for that.
    if let refusal = frozenRefusal(pid) { throw refusal }
    var head = [UInt8](repeating: 0, count: 20)
    let executable = open("/proc/\(thread)/exe", O_RDONLY | O_CLOEXEC)
    if executable >= 0 {
        let count = read(executable, &head, head.count)
        close(executable)
        if count == 20, head[4] == 1 || UInt16(head[18]) | UInt16(head[19]) << 8 != Processor.machine {
            throw .own(
                "\(pid): a program for another processor, or of 32 bits: heaprun records those of \(Processor.name) "
                    + "alone here")
        }
    } else if errno == ENOENT {
        throw .own("\(pid): a kernel thread, or a process that is ending: there is no program to record")
    } else {
        throw permissionRefusal(pid, Errno(rawValue: errno))
    }
    if let mode = firstWord("Seccomp:", of: thread), mode != "0" {
        throw .own(
            "\(pid): it runs under a seccomp filter, which may end it for a system call of the recorder's: "
                + "start it by heaprun, which checks the filter when the program sets it")
    }
    if statusWords("x86_Thread_features:", of: thread)?.contains(where: { Array("shstk".utf8) == Array($0) }) == true {
        throw .own(
            "\(pid): it runs with a shadow stack, which forbids calls from outside: start it by heaprun, or without "
                + "a shadow stack (GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)")
    }
    if let word = firstWord("PPid:", of: thread), let parent = pid_t(word), parent > 1,
        attach_shares_memory(pid, parent) == 1
    {
        throw .own("\(pid): a vfork child that still uses its parent's memory: name process \(parent), or wait")
    }
}

private func frozenRefusal(_ pid: pid_t) -> LaunchError? {
    guard Freezer.holding(pid) != nil else { return nil }
    return .own(
        "\(pid): it is frozen (docker pause, or another freezer of its control group), and can make no call: thaw it, "
            + "and try again")
}

/// Why none of a process's threads can make a call now; nil: nothing holds them all.
func heldRefusal(_ pid: pid_t) -> LaunchError? {
    if let refusal = frozenRefusal(pid) { return refusal }
    let states = threadsOf(pid).compactMap { ProcessStat.of(thread: $0, of: pid) }.filter(\.isAlive).map(\.state)
    guard !states.isEmpty, states.allSatisfy({ $0 == UInt8(ascii: "T") }) else { return nil }
    return .own(
        "\(pid): job control has stopped it (SIGSTOP), and a stopped program makes no call: let it go on "
            + "(kill -CONT \(pid)), and try again")
}

/// What can be done for a process whose main thread has ended depends on whether it is recorded.
private func mainThreadRefusal(_ pid: pid_t, toEnd: Bool) -> LaunchError {
    let why =
        "\(pid): its main thread has ended while others run on, and heaprun can call a program only by that thread"
    guard let image = try? findImage(of: pid, deadline: 0) else {
        return .own(toEnd ? "\(pid): it is not recorded" : "\(why): start it by heaprun")
    }
    guard isRecorded(pid) else { return .own("\(why). The image of its last recording is left when it ends") }
    // An image that no path leads to is lost with the program's memory.
    let isLeft = image.path.map { !$0.text.hasPrefix("/proc/") } ?? false
    return .own(
        "\(why). It is recorded until it ends\(isLeft ? ", and its image is left then" : ""); heapdump \(pid) writes a "
            + "dump of it now")
}

private func checkOwner(_ pid: pid_t, _ thread: pid_t) throws(LaunchError) {
    let users = statusWords("Uid:", of: thread)?.compactMap { uid_t(String(decoding: $0, as: UTF8.self)) } ?? []
    guard users.count >= 3 else { return }
    if geteuid() != 0, users.contains(where: { $0 != geteuid() }) {
        if users[0] == getuid() {
            throw .own(
                "\(pid): it is a setuid program, and runs as another user: run heaprun as root")
        }
        throw .own("\(pid): it is user \(users[0])'s and not yours: run heaprun as that user, or as root")
    }
    // Under secure execution the loader preloads only from the system's directories. dlopen of a path would work, but
    // the caller must not choose where such a program writes.
    if users[0] != users[1], geteuid() == 0, users[1] == 0 {
        throw .own(
            "\(pid): a setuid program that user \(users[0]) started: no image is made in such a process; run it under "
                + "heaprun as root, without the set-user-ID bit")
    }
}

private func tracedRefusal(_ pid: pid_t) -> LaunchError? {
    guard let tracer = tracer(of: pid) else { return nil }
    return .own(
        "\(pid): process \(tracer) traces it (\(processName(String(tracer)))), and a process can have only one tracer: "
            + "end or detach that one, and try again")
}

/// Why this user may not trace a process, from the error and from /proc.
func permissionRefusal(_ pid: pid_t, _ error: Errno) -> LaunchError {
    if error == .noSuchProcess || error == .noSuchFileOrDirectory { return .own("\(pid): no such process") }
    guard error == .notPermitted || error == .permissionDenied else { return .own("\(pid): \(error.description)") }
    if let refusal = tracedRefusal(pid) { return refusal }
    let scope = (try? readBytes("/proc/sys/kernel/yama/ptrace_scope", limit: 16)).map {
        String(decoding: $0.prefix { $0 != 10 }, as: UTF8.self)
    }
    if geteuid() != 0, let scope, scope != "0" {
        return .own(
            "\(pid): Yama forbids tracing (kernel.yama.ptrace_scope is \(scope)): run heaprun as root, or set it to 0"
                + (scope == "3" ? ", which takes a reboot because it is 3" : ""))
    }
    if geteuid() != 0 {
        return .own(
            "\(pid): it can't be traced by this user (PR_SET_DUMPABLE is 0, or it has capabilities that you lack): "
                + "run heaprun as root")
    }
    return .own(
        "\(pid): heaprun may not trace it without CAP_SYS_PTRACE. In a container add it (--cap-add SYS_PTRACE), or run "
            + "heaprun on the host")
}

private func firstWord(_ name: StaticString, of pid: pid_t) -> String? {
    statusWords(name, of: pid)?.first.map { String(decoding: $0, as: UTF8.self) }
}

private func processName(_ pid: String) -> String {
    (try? readBytes(.init("/proc/\(pid)/comm"), limit: 64)).map {
        String(decoding: $0.prefix { $0 != 10 }, as: UTF8.self)
    }
        ?? "unknown"
}
