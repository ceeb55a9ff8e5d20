// Follows a traced program to the ends of its processes, and lets each be looked at while its memory is there. One
// thread traces: all calls come from it.
//
// The kernel stops each thread that ends. A single thread's own end (the system call exit) goes on at once. Where a
// process ends, all of its threads stop so, and the last one to come finds the others held. Threads that an exec ends
// go on at once too, or the exec would wait for them: what it leaves was looked at before, as the recorder's hook tells
// (HEAP_LEAVING_NOTICE).

import CLeaks
import Glibc
import Proc
import SystemPackage
import Text

/// What became of a wait status.
package enum TracedStatus: Equatable, Sendable {
    /// It is no stop: an end, or nothing of ours.
    case notAStop
    /// The thread was looked at, and goes on.
    case goesOn
    /// Job control stopped the thread's process by this signal.
    case stopped(signal: Int32)
}

/// A process at its end, with all of its threads standing still.
package struct EndingProcess {
    package var processID: pid_t
    package var ending: pid_t
    package var kind: EndingKind
    package var held: [pid_t]
    /// Threads that did not stop in time.
    package var missing: [pid_t]
    /// It goes on where the exec fails, and is looked at again at its next end.
    package var isExec: Bool
}

/// The tracer of a program and what it starts.
package final class EndWatch {
    private let look: (EndingProcess) -> Void

    /// - Parameter look: is handed each process at its end.
    package init(look: @escaping (EndingProcess) -> Void) { self.look = look }

    /// Options for the start of a program.
    package static func traceOptions(follow: Bool) -> UInt { UInt(leaks_trace_options(follow ? 1 : 0)) }

    /// Takes what waitpid said of a thread. All stops of traced threads have to come here, or they stand still for
    /// good.
    package func take(_ thread: pid_t, _ status: Int32) -> TracedStatus {
        switch leaks_event_of(thread, status) {
        case LEAKS_EVENT_NONE: return .notAStop
        case LEAKS_EVENT_SIGNAL: leaks_continue(thread, stopSignal(status))
        case LEAKS_EVENT_GROUP_STOP:
            leaks_listen(thread)
            return .stopped(signal: stopSignal(status))
        case LEAKS_EVENT_INTERRUPTED: leaks_continue_interrupted(thread)
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
        // A thread's own end, or one that an exec makes: others go on.
        if !others.isEmpty && call == Self.exit || others.contains(where: { isExecuting($0, process) }) {
            leaks_continue(thread, 0)
            return
        }
        var held: Set<pid_t> = [thread]
        guard let missing = hold(others, of: process, into: &held) else {
            for thread in held { leaks_continue(thread, 0) }
            return
        }
        // A process that ends by itself is in exit_group, or in the last thread's exit.
        let isDone = call == Self.exitGroup || call == Self.exit
        let caller = isDone ? thread : held.first { leaks_system_call_of($0) == Self.exitGroup }
        look(
            EndingProcess(
                processID: process, ending: caller ?? thread, kind: caller != nil ? .done : .killed,
                held: held.sorted(), missing: missing, isExec: false))
        for thread in held { leaks_continue(thread, 0) }
    }

    /// Waits for the other threads of a process that ends: all of them come. Those that sleep uninterruptibly are given
    /// up, and returned. Nil: one of them is about to exec, and waits for the others to end.
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
                // Whatever stopped it before: it goes on to its end.
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

    /// Lets all threads of a traced process stand still, and go on after `body`.
    ///
    /// - Parameter body: is handed the process as one at work; a process without a thread that stops is not looked at.
    package func pause<Result>(_ process: pid_t, _ body: (EndingProcess) throws -> Result) rethrows -> Result? {
        try standStill(process, besides: []) { held, missing in
            guard let first = held.first else { return nil }
            return try body(
                EndingProcess(
                    processID: process, ending: held.contains(process) ? process : first, kind: .killed, held: held,
                    missing: missing, isExec: false))
        }
    }

    /// `besides` stand still already.
    private func standStill<Result>(
        _ process: pid_t, besides: [pid_t], _ body: (_ held: [pid_t], _ missing: [pid_t]) throws -> Result
    ) rethrows -> Result {
        var stopped: [pid_t: LeaksStop] = [:], missing: [pid_t] = [], others = Set<pid_t>()
        // New threads may come until all that could make one stand still.
        while true {
            let more = threads(of: process).filter { !besides.contains($0) && !others.contains($0) }
            if more.isEmpty { break }
            others.formUnion(more)
            for other in more { leaks_interrupt(other) }
            missing += halt(more, into: &stopped)
        }
        defer {
            for (other, stop) in stopped {
                switch stop {
                case .interrupted: leaks_continue_interrupted(other)
                case .at(let signal): leaks_continue(other, signal)
                case .ending, .leaving: break
                }
            }
            // Now that the others run: who was about to end, or to exec, is looked at as ever.
            for (other, stop) in stopped {
                if case .ending = stop { takeEnd(of: other) }
                if case .leaving = stop { takeExec(by: other) }
            }
        }
        return try body(besides + stopped.keys.sorted(), missing)
    }

    private enum LeaksStop { case interrupted, at(signal: CInt), ending, leaving }

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
                case LEAKS_EVENT_INTERRUPTED, LEAKS_EVENT_GROUP_STOP: stopped[thread] = .interrupted
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

    // MARK: What /proc says

    private static let exit = 60, exitGroup = 231, execve = "59", execveat = "322"

    private func process(of thread: pid_t) -> pid_t {
        statusLine("Tgid:", of: thread)?.first.flatMap { pid_t($0) } ?? thread
    }

    /// Threads that have memory still.
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
        return call == Self.execve || call == Self.execveat
    }
}
