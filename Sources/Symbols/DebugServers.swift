// Debug files from debuginfod servers: many at once, within a time that the user allows. Each fetch runs in a process
// of its own (DebugFetch.swift), so a server can crash, stall or flood nothing but that. What comes back is a path in
// the cache of elfutils' library. The file there is as untrusted as any other: SymbolSearch opens it only if it has the
// build-id that was asked for.
//
// Invariant: all fetches of one object together take no longer than `seconds`.

import CSymbols
import Glibc
import SystemPackage
import Text

/// A debug file to fetch.
package struct WantedDebugFile: Hashable, Sendable {
    package var buildID: [UInt8]
    /// The module's name, for messages.
    package var module: String

    package init(buildID: [UInt8], module: String) { (self.buildID, self.module) = (buildID, module) }
}

/// How far a fetch of several files is.
package struct FetchProgress: Sendable {
    package var done = 0
    package var files: Int
    /// Received so far, as far as the servers tell.
    package var bytes: UInt64 = 0
}

/// The servers, and what they answered so far. One thread uses it.
package final class DebugServers: @unchecked Sendable {
    /// elfutils' own, if DEBUGINFOD_TIMEOUT says nothing.
    package static let usualSeconds = 90.0
    /// Requests to the servers at the same time.
    static let mostAtOnce = 4

    private let urls: String
    private var secondsLeft: Double
    private let seconds: Double
    private let progress: (FetchProgress?) -> Void
    private var answers: [[UInt8]: Result<String, DebugFetchFailure>] = [:]
    private var failures: [(reason: DebugFetchFailure, modules: [String])] = []

    /// - Parameters:
    ///   - urls: as DEBUGINFOD_URLS has them, separated by spaces.
    ///   - seconds: that all fetches may take together.
    ///   - progress: called ten times a second while files are fetched, and with nil when that is over.
    package init(urls: String, seconds: Double, progress: @escaping (FetchProgress?) -> Void = { _ in }) {
        (self.urls, self.seconds, secondsLeft, self.progress) = (urls, seconds, seconds, progress)
    }

    /// The path of a debug file that was fetched, which nobody has checked; nil if there is none. Fetches it if that
    /// was not tried yet.
    func path(of file: WantedDebugFile) -> String? {
        fetch([file])
        guard case .success(let path) = answers[file.buildID] else { return nil }
        return path
    }

    /// Fetches what was not asked for yet.
    ///
    /// - Complexity: at most the seconds that are left; four fetches at a time.
    func fetch(_ files: [WantedDebugFile]) {
        var seen: Set<[UInt8]> = []
        var queue = files.filter { answers[$0.buildID] == nil && seen.insert($0.buildID).inserted }
        guard !queue.isEmpty else { return }
        let clock = ContinuousClock(), began = clock.now
        let deadline = began + .seconds(secondsLeft)
        var state = FetchProgress(files: queue.count), received: UInt64 = 0
        var running: [(fetch: DebugFetch, file: WantedDebugFile)] = []
        queue.reverse()
        while !queue.isEmpty || !running.isEmpty {
            while running.count < Self.mostAtOnce, clock.now < deadline, let file = queue.popLast() {
                do throws(DebugFetchFailure) {
                    let left = Self.seconds(deadline - clock.now)
                    running.append((try DebugFetch(file.buildID, urls: urls, seconds: left), file))
                } catch {
                    take(.failure(error), for: file)
                }
            }
            DebugFetch.wait(for: running.map(\.fetch), milliseconds: Self.lookMilliseconds)
            let isLate = clock.now >= deadline
            for index in running.indices.reversed() {
                let (fetch, file) = running[index]
                let bytes = fetch.receivedBytes
                guard var answer = fetch.answer() ?? (isLate ? .failure(.tookTooLong) : nil) else { continue }
                let signal = fetch.end()
                if case .failure(.died) = answer { answer = .failure(.died(signal: signal)) }
                running.remove(at: index)
                received &+= bytes
                take(answer, for: file)
            }
            if isLate {
                for file in queue { take(.failure(.tookTooLong), for: file) }
                queue = []
            }
            state.done = state.files - queue.count - running.count
            state.bytes = running.reduce(received) { $0 &+ $1.fetch.receivedBytes }
            progress(state)
        }
        progress(nil)
        secondsLeft = max(0, secondsLeft - Self.seconds(clock.now - began))
    }

    private static let lookMilliseconds: CInt = 100

    private static func seconds(_ duration: Swift.Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        return Double(seconds) + Double(attoseconds) / 1e18
    }

    private func take(_ answer: Result<String, DebugFetchFailure>, for file: WantedDebugFile) {
        answers[file.buildID] = answer
        guard case .failure(let reason) = answer else { return }
        if let known = failures.firstIndex(where: { $0.reason == reason }) {
            failures[known].modules.append(file.module)
        } else {
            failures.append((reason, [file.module]))
        }
    }

    /// Counts what could not be fetched, by reason.
    package var notes: [String] {
        failures.map { reason, modules in
            let more = modules.count > 3 ? " and \(modules.count - 3) more" : ""
            return "debuginfod: \(counted(UInt64(modules.count), "debug file")) not fetched ("
                + modules.prefix(3).joined(separator: ", ") + more + "): \(reason.text(seconds: seconds))"
        }
    }
}

/// Why a debug file was not fetched.
enum DebugFetchFailure: Error, Equatable {
    /// libdebuginfod is missing; dlerror's text.
    case noLibrary(String)
    case cannotStart(Errno)
    case tookTooLong
    /// As libdebuginfod says it.
    case refused(Errno)
    /// The process that fetched it ended without an answer; the signal, or 0.
    case died(signal: CInt)

    func text(seconds: Double) -> String {
        switch self {
        case .noLibrary(let text): "elfutils' libdebuginfod (Debian's package libdebuginfod1) can't be loaded: \(text)"
        case .cannotStart(let errno): "a process for it can't be started: \(errno)"
        case .tookTooLong:
            "given up after \(shortDuration(seconds)), which is the limit for all files together "
                + "(--debuginfod-timeout)"
        case .refused(.noSuchFileOrDirectory): "no server sent it"
        case .refused(.fileTooLarge): "larger than the limit"
        case .refused(let errno): "the servers can't be asked: \(errno)"
        case .died(let signal):
            signal == 0
                ? "the process that fetched it ended" : "the process that fetched it was killed by signal \(signal)"
        }
    }
}
