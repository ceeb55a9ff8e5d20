// Follows a traced program to the end of each of its processes, and has the memory examined before it is freed. One
// thread traces: make all calls from it.
//
// The kernel stops each ending thread. If only this thread ends (the system call exit), it is resumed at once. If the
// process ends, each of its threads stops and is held until the last one has stopped. Threads that an exec ends are
// resumed at once too, because the exec waits for them: the process was examined before, when the recorder's hook
// announced the exec (HEAP_LEAVING_NOTICE).

import CLeaks
import Glibc
import Proc
import SystemPackage
import Text

/// What a wait status led to.
package enum TracedStatus: Equatable, Sendable {
    /// It is no stop: the thread has ended, or is not traced.
    case notAStop
    /// The stop was handled, and the thread runs on.
    case goesOn
    /// Job control stopped the thread's process by this signal.
    case stopped(signal: Int32)
}

/// A process at its end, with all of its threads stopped.
package struct EndingProcess {
    package var processID: pid_t
    package var ending: pid_t
    package var kind: EndingKind
    package var held: [pid_t]
    /// Threads that did not stop in time.
    package var missing: [pid_t]
    /// Whether it ends by an exec. If the exec fails, the process runs on, and is examined again at its next end.
    package var isExec: Bool
}

/// Traces a program and the processes that it starts.
package final class EndWatch {
    private let look: (EndingProcess) -> Void
    /// Threads that were asked to stop, and have not gone on since.
    private var interruptions: [pid_t: OpaquePointer] = [:]

    /// - Parameter look: called with each process at its end.
    package init(look: @escaping (EndingProcess) -> Void) { self.look = look }

    /// ptrace's options for the start of a program.
    package static func traceOptions(follow: Bool) -> UInt { UInt(leaks_trace_options(follow ? 1 : 0)) }

    /// Handles a thread's status from waitpid. Pass every stop of a traced thread here, or the thread stays stopped
    /// for good.
    package func take(_ thread: pid_t, _ status: Int32) -> TracedStatus {
        switch leaks_event_of(thread, status) {
        case LEAKS_EVENT_NONE:
            forgetInterruption(of: thread)
            return .notAStop
        case LEAKS_EVENT_SIGNAL: leaks_continue(thread, stopSignal(status))
        case LEAKS_EVENT_GROUP_STOP:
            leaks_listen(thread)
            return .stopped(signal: stopSignal(status))
        case LEAKS_EVENT_INTERRUPTED:
            // A thread's first stop, or one that came too late.
            leaks_continue_interrupted(thread, interruptions.removeValue(forKey: thread), nil)
        case LEAKS_EVENT_EXIT: takeEnd(of: thread)
        case LEAKS_EVENT_LEAVING: takeExec(by: thread)
        default: leaks_continue(thread, 0)
        }
        return .goesOn
    }

    private func stopSignal(_ status: Int32) -> Int32 { status >> 8 & 0xFF }

    // MARK: Ends

    private func takeEnd(of thread: pid_t) {
        let process = self.process(of: thread), call = leaks_system_call_of(thread)
        let others = threads(of: process).filter { $0 != thread }
        // Only this thread ends, or an exec ends it.
        if !others.isEmpty && call == ThreadLayout.exit || others.contains(where: { isExecuting($0, process) }) {
            leaks_continue(thread, 0)
            return
        }
        var held: Set<pid_t> = [thread]
        guard let missing = hold(others, of: process, into: &held) else {
            for thread in held { leaks_continue(thread, 0) }
            return
        }
        // A process that ends by itself is in exit_group, or in the last thread's exit.
        let isDone = call == ThreadLayout.exitGroup || call == ThreadLayout.exit
        let caller = isDone ? thread : held.first { leaks_system_call_of($0) == ThreadLayout.exitGroup }
        look(
            EndingProcess(
                processID: process, ending: caller ?? thread, kind: caller != nil ? .done : .killed,
                held: held.sorted(), missing: missing, isExec: false))
        for thread in held { leaks_continue(thread, 0) }
    }

    /// Waits until the other threads of an ending process have stopped. Gives up on those in uninterruptible sleep, and
    /// returns them. Nil: one of the threads is in an exec, and waits for the others to end.
    private func hold(_ threads: [pid_t], of process: pid_t, into held: inout Set<pid_t>) -> [pid_t]? {
        let deadline = clockNanoseconds(CLOCK_MONOTONIC) &+ 2_000_000_000
        var waiting = threads
        while !waiting.isEmpty {
            waiting.removeAll { thread in
                var status: CInt = 0
                let found = leaks_poll(thread, &status)
                if found < 0 { return true }
                if found == 0 { return false }
                if leaks_event_of(thread, status) == LEAKS_EVENT_EXIT {
                    held.insert(thread)
                    return true
                }
                // It was stopped for another reason: resume it, so that it reaches its end.
                leaks_continue(thread, 0)
                return false
            }
            if waiting.isEmpty || clockNanoseconds(CLOCK_MONOTONIC) > deadline { break }
            if waiting.contains(where: { isExecuting($0, process) }) { return nil }
            usleep(200)
        }
        return waiting
    }

    // MARK: Exec

    private func takeExec(by thread: pid_t) {
        let process = self.process(of: thread)
        standStill(process, besides: [thread]) { held, missing in
            look(
                EndingProcess(
                    processID: process, ending: thread, kind: .done, held: held, missing: missing, isExec: true))
        }
        leaks_continue(thread, 0)
    }

    // MARK: A moment in between

    /// Stops all threads of a traced process, calls `body`, and resumes them.
    ///
    /// - Parameter body: called with the running process; not called if no thread stops.
    package func pause<Result>(_ process: pid_t, _ body: (EndingProcess) throws -> Result) rethrows -> Result? {
        try standStill(process, besides: []) { held, missing in
            guard let first = held.first else { return nil }
            return try body(
                EndingProcess(
                    processID: process, ending: held.contains(process) ? process : first, kind: .killed, held: held,
                    missing: missing, isExec: false))
        }
    }

    /// The threads `besides` are stopped already.
    private func standStill<Result>(
        _ process: pid_t, besides: [pid_t], _ body: (_ held: [pid_t], _ missing: [pid_t]) throws -> Result
    ) rethrows -> Result {
        var stopped: [pid_t: LeaksStop] = [:], missing: [pid_t] = [], others = Set<pid_t>()
        // Running threads may make new ones until all are stopped.
        while true {
            let more = threads(of: process).filter { !besides.contains($0) && !others.contains($0) }
            if more.isEmpty { break }
            others.formUnion(more)
            for other in more {
                forgetInterruption(of: other)
                interruptions[other] = leaks_interrupt(process, other)
            }
            missing += halt(more, into: &stopped)
        }
        defer {
            var turn = leaks_turns(process)
            for (other, stop) in stopped.sorted(by: { $0.key < $1.key }) {
                switch stop {
                case .interrupted:
                    leaks_continue_interrupted(other, interruptions.removeValue(forKey: other), &turn)
                case .byJobControl:
                    // It stays so until a SIGCONT.
                    forgetInterruption(of: other)
                    leaks_listen(other)
                case .at(let signal): leaks_continue(other, signal)
                case .ending, .leaving: break
                }
            }
            // Now that the others run, handle the stops of threads that were about to end or to exec.
            for (other, stop) in stopped {
                if case .ending = stop { takeEnd(of: other) }
                if case .leaving = stop { takeExec(by: other) }
            }
        }
        return try body(besides + stopped.keys.sorted(), missing)
    }

    private enum LeaksStop { case interrupted, byJobControl, at(signal: CInt), ending, leaving }

    private func halt(_ threads: [pid_t], into stopped: inout [pid_t: LeaksStop]) -> [pid_t] {
        let deadline = clockNanoseconds(CLOCK_MONOTONIC) &+ 2_000_000_000
        var waiting = threads
        while !waiting.isEmpty {
            waiting.removeAll { thread in
                var status: CInt = 0
                let found = leaks_poll(thread, &status)
                if found <= 0 { return found < 0 }
                switch leaks_event_of(thread, status) {
                case LEAKS_EVENT_SIGNAL: stopped[thread] = .at(signal: stopSignal(status))
                case LEAKS_EVENT_INTERRUPTED:
                    leaks_interrupted(thread, interruptions[thread])
                    stopped[thread] = .interrupted
                case LEAKS_EVENT_GROUP_STOP: stopped[thread] = .byJobControl
                case LEAKS_EVENT_EXIT: stopped[thread] = .ending
                case LEAKS_EVENT_LEAVING: stopped[thread] = .leaving
                default: stopped[thread] = .at(signal: 0)
                }
                return true
            }
            if waiting.isEmpty || clockNanoseconds(CLOCK_MONOTONIC) > deadline { break }
            usleep(200)
        }
        return waiting
    }

    private func forgetInterruption(of thread: pid_t) {
        leaks_forget_interruption(interruptions.removeValue(forKey: thread))
    }

    // MARK: What /proc says

    private func process(of thread: pid_t) -> pid_t {
        Proc.process(ofThread: thread) ?? thread
    }

    /// The threads that still have memory.
    private func threads(of process: pid_t) -> [pid_t] {
        guard let names = try? namesInDirectory(FilePath("/proc/\(process)/task")) else { return [] }
        return names.compactMap { pid_t($0.string) }.filter { thread in
            guard let state = statusLine("State:", of: thread)?.first else { return false }
            return state != "Z" && state != "X"
        }
    }

    private func isExecuting(_ thread: pid_t, _ process: pid_t) -> Bool {
        guard let text = procFile("/proc/\(process)/task/\(thread)/syscall", limit: 256) else { return false }
        let call = String(decoding: text.prefix { $0 != 32 && $0 != 10 }, as: UTF8.self)
        return call == ThreadLayout.execve || call == ThreadLayout.execveat
    }
}
