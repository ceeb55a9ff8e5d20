// Starts the program and represents it until it ends: one thread, which sleeps in sigtimedwait and has no handlers.
// Invariant: to the program, heaprun looks like the process that started heaprun: it has the same process group,
// terminal, descriptors, directory, signal mask and dispositions. And whoever watches heaprun sees the program's end
// and stops. It must never wait for anything but signals and a deadline.

import CLaunch
import Glibc
import Proc
import SystemPackage
import Text

/// How a program ended.
package enum Ending: Equatable, Sendable {
    case exited(status: Int32)
    case killed(signal: Int32, dumpedCore: Bool = false)

    /// As in a shell: the program's own status, or 128 plus the signal's number.
    package var exitStatus: Int32 {
        switch self {
        case .exited(let status): status
        case .killed(let signal, _): 128 + signal
        }
    }
}

/// One program that is supervised from its start to its end.
package struct Supervisor {
    package let pid: pid_t
    private var signals: sigset_t
    private let maskBefore: sigset_t
    private var childIsStopped = false
    private let tracer: EndTracer?

    /// Starts a program with the signal state, descriptors and directory with which this process was started.
    ///
    /// From then on, all signals that can be waited for are blocked in this process.
    /// - Parameter tracer: traces the program and looks at it when it ends.
    /// - Throws: 126 or 127 if execve fails, 125 if no process could be made or it can't be traced.
    package init(
        executable: FilePath, arguments: [UnsafeMutablePointer<CChar>?], environment: [[CChar]],
        tracer: EndTracer? = nil
    ) throws(LaunchError) {
        self.tracer = tracer
        var blocked = sigset_t()
        var before = sigset_t()
        launch_block_signals(&blocked, &before)
        let ignoresChild = launch_take_child_signal()
        let pid = executable.withPlatformString { path in
            withPointers(to: environment) { entries in
                (arguments + [nil]).withUnsafeBufferPointer {
                    launch_start(path, $0.baseAddress, entries, &before, ignoresChild, tracer?.options ?? 0)
                }
            }
        }
        guard pid > 0 else {
            let number = errno
            sigprocmask(SIG_SETMASK, &before, nil)
            if pid == -2 {
                throw .own(
                    "--leaks: \(executable.text) can't be traced: \(errnoText(number)). A container needs "
                        + "CAP_SYS_PTRACE "
                        + "(--cap-add SYS_PTRACE), and kernel.yama.ptrace_scope must be below 3; without --leaks the "
                        + "program is recorded all the same")
            }
            throw executionError(number, executable)
        }
        self.pid = pid
        signals = blocked
        maskBefore = before
        openStandardDescriptors()
    }

    /// Passes signals on and follows stops until the program ends. Returns how it ended.
    ///
    /// `tick` is called at once, and then after as many nanoseconds as it returns. `requests` is called when a program
    /// may have asked for something: at SIGIO, and at each tick. Other children (orphans, if this is PID 1) are reaped.
    package mutating func wait(tick: () -> UInt64, requests: () -> Void = {}) -> Ending {
        var due = monotonicNanoseconds()
        while true {
            let now = monotonicNanoseconds()
            if now >= due {
                requests()
                due = now &+ max(tick(), 1_000_000)
            }
            let left = due &- min(due, monotonicNanoseconds())
            var timeout = timespec(tv_sec: Int(left / 1_000_000_000), tv_nsec: Int(left % 1_000_000_000))
            var info = siginfo_t()
            let number = sigtimedwait(&signals, &info, &timeout)
            if number == SIGCHLD, let ending = reap() { return ending }
            if number == SIGIO { requests() }
            if number > 0 && number != SIGCHLD { pass(number, info) }
        }
    }

    // One SIGCHLD may stand for many changes, so all are handled.
    private mutating func reap() -> Ending? {
        var ending: Ending?
        while true {
            var status: Int32 = 0
            // Traced threads are not children: waiting for them needs __WALL.
            let all = tracer == nil ? 0 : Int32(launch_wait_all)
            let changed = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED | all)
            if changed < 0 && errno == EINTR { continue }
            guard changed > 0 else { return ending }
            switch tracer?.take(changed, status) {
            case .goesOn: continue
            case .stopped(let number):
                if changed == pid {
                    childIsStopped = true
                    stopLikeChild(number)
                }
                continue
            case .notAStop, nil: break
            }
            guard changed == pid else { continue }
            if launch_exited(status) != 0 {
                ending = .exited(status: launch_exit_status(status))
            } else if launch_killed(status) != 0 {
                ending = .killed(signal: launch_kill_signal(status), dumpedCore: launch_dumped_core(status) != 0)
            } else if launch_stopped(status) != 0 {
                childIsStopped = true
                stopLikeChild(launch_stop_signal(status))
            } else {
                childIsStopped = false
            }
        }
    }

    // The job's shell waits for heaprun, so on a stop by job control heaprun must stop, too. Not on SIGSTOP: it is sent
    // to one process, and its sender will continue that one, never heaprun. Without a terminal there is no job control.
    private mutating func stopLikeChild(_ number: Int32) {
        guard number == SIGTSTP || number == SIGTTIN || number == SIGTTOU, hasTerminal() else { return }
        launch_stop_self(number)
        // Continued: by the shell for the whole group, or only this process.
        kill(pid, SIGCONT)
    }

    // A signal from the kernel came from the terminal for the whole group, so the program already has it. An alarm is
    // the exception: timers survive exec but not fork, so this process may have a timer that was set for the program.
    private mutating func pass(_ number: Int32, _ info: siginfo_t) {
        var info = info
        guard launch_sent_by_process(&info) != 0 || number == SIGALRM else { return }
        kill(pid, number)
    }

    /// Restores the signal mask, after taking the signals that were still pending at the program's end: they were meant
    /// for the program.
    package mutating func finish() {
        var none = timespec()
        while sigtimedwait(&signals, nil, &none) > 0 {}
        // If nobody reads the report, that must not change the exit status.
        Glibc.signal(SIGPIPE, SIG_IGN)
        var mask = maskBefore
        sigprocmask(SIG_SETMASK, &mask, nil)
    }
}

/// Replaces this process by the program (--exec). Returns only by throwing.
package func replaceProcess(
    executable: FilePath, arguments: [UnsafeMutablePointer<CChar>?], environment: [[CChar]]
) throws(LaunchError) -> Never {
    executable.withPlatformString { path in
        withPointers(to: environment) { entries in
            (arguments + [nil]).withUnsafeBufferPointer {
                if let list = $0.baseAddress { _ = execve(path, list, entries) }
            }
        }
    }
    throw executionError(errno, executable)
}

private func executionError(_ number: Int32, _ executable: FilePath) -> LaunchError {
    let message = "\(executable.text): \(errnoText(number))"
    switch number {
    case ENOENT, ENOTDIR: return .notFound(message)
    case EAGAIN, ENOMEM, EMFILE, ENFILE: return .own("can't start \(message)")
    default: return .notExecutable(message)
    }
}

// A null-terminated array of pointers to C strings, as for execve.
private func withPointers<Result>(
    to entries: [[CChar]], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>?) -> Result
) -> Result {
    let pointers = entries.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
}

// If heaprun was started with stdin, stdout or stderr closed, the next opened files would take their numbers, and a
// message would be written into an image. The program itself still gets them closed.
private func openStandardDescriptors() {
    while true {
        let file = open("/dev/null", O_RDWR | O_CLOEXEC)
        if file > STDERR_FILENO { close(file) }
        if file < 0 || file > STDERR_FILENO { return }
    }
}

private func hasTerminal() -> Bool {
    let terminal = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY)
    guard terminal >= 0 else { return false }
    close(terminal)
    return true
}

/// CLOCK_MONOTONIC, which the recorder also reads.
package func monotonicNanoseconds() -> UInt64 {
    clockNanoseconds(CLOCK_MONOTONIC)
}
