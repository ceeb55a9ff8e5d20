// A helper process that runs other people's libraries on hostile input: names that take minutes to demangle, DWARF made
// to crash its reader. It may hang, use up its memory or die, and only the answer is lost. It is forked at the first
// question, answers one question at a time over a socket, and ends with this process.
//
// It is forked and is not a program of its own, so nothing has to be installed or found. A forked process has a copy of
// every lock in its current state. If another thread held one, nobody releases the copy, and a helper that needs it
// waits for ever. The helper has one thread, so it can be seen from outside: it waits in futex(2), and nobody else can
// wake it. Then another helper is forked, and is asked the same question.

import CSymbols
import Glibc
import Proc
import SystemPackage

/// Why a helper has no answer.
enum HelperError: Error, Equatable {
    case cannotStart(Errno)
    case tookTooLong(milliseconds: Int)
    /// It waited for a lock that another thread had held at the fork, and so did the helpers forked after it.
    case waitsForALock
    /// The signal, or 0 if it just ended.
    case died(signal: CInt)

    var text: String {
        switch self {
        case .cannotStart(let errno): "a helper process can't be started: \(errno)"
        case .tookTooLong(let milliseconds): "given up after \(milliseconds / 1000) s"
        case .waitsForALock: "the helper process waits for a lock that it can't get"
        case .died(let signal):
            signal == 0 ? "the helper process ended" : "the helper process was killed by signal \(signal)"
        }
    }
}

final class Helper {
    /// Answers a question. It runs only in the helper process. To an empty question it gives an empty answer, after it
    /// has touched what it will need.
    typealias Serve = ([UInt8]) -> [UInt8]

    private let memoryByteCount: UInt64
    private let serve: Serve
    private var process: (pid: pid_t, end: CInt)?

    /// An answer is as untrusted as the input that the helper read.
    private static let largestAnswer = 256 << 20
    private static let startTimeout = 5000
    /// The time between two looks at a helper that owes an answer.
    private static let lookMilliseconds = 200
    private static let mostStarts = 3

    /// - Parameter memoryByteCount: how much address space the helper may use in addition to what is mapped now.
    init(memoryByteCount: UInt64, serve: @escaping Serve) {
        self.memoryByteCount = memoryByteCount
        self.serve = serve
    }

    deinit { stop() }

    /// Asks, and waits for the answer. After an error the helper is gone, and the next question starts another.
    func ask(_ question: [UInt8], timeoutMilliseconds: Int) throws(HelperError) -> [UInt8] {
        var attempt = 0
        while true {
            attempt += 1
            do throws(HelperError) {
                if process == nil { try start() }
                return try exchange(question, timeoutMilliseconds)
            } catch {
                if error != .waitsForALock || attempt == Self.mostStarts { throw error }
            }
        }
    }

    private func start() throws(HelperError) {
        var attempt = 0
        while true {
            attempt += 1
            var end: CInt = -1
            let pid = symbols_fork(&end, Self.mappedByteCount(), memoryByteCount)
            if pid == 0 { serveForEver(end) }
            guard pid > 0 else { throw .cannotStart(Errno(rawValue: errno)) }
            process = (pid, end)
            _ = fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK)
            do throws(HelperError) {
                _ = try exchange([], Self.startTimeout)
                return
            } catch {
                if attempt == Self.mostStarts { throw error }
            }
        }
    }

    private func stop() {
        guard let process else { return }
        self.process = nil
        close(process.end)
        kill(process.pid, SIGKILL)
        var status: CInt = 0
        while waitpid(process.pid, &status, 0) < 0 && errno == EINTR {}
    }

    /// Gives up the helper, and returns what happened to it.
    private func lose(_ error: HelperError) -> HelperError {
        guard let process, error == .died(signal: 0) else {
            stop()
            return error
        }
        self.process = nil
        close(process.end)
        // Its end of the socket is closed, so it is dead or about to be.
        var status: CInt = 0
        while waitpid(process.pid, &status, 0) < 0 { if errno != EINTR { return error } }
        return .died(signal: symbols_was_killed(status))
    }

    // MARK: The parent's end

    private func exchange(_ question: [UInt8], _ timeoutMilliseconds: Int) throws(HelperError) -> [UInt8] {
        guard let process else { throw .cannotStart(.noSuchProcess) }
        var wait = Wait(process: process, timeoutMilliseconds: timeoutMilliseconds)
        let message = Self.length(question.count) + question
        var done = 0
        while done < message.count {
            let sent = message.withUnsafeBytes {
                send(process.end, $0.baseAddress.map { $0 + done }, $0.count - done, CInt(MSG_NOSIGNAL))
            }
            if sent > 0 {
                done += sent
            } else if let error = wait.until(POLLOUT, couldNot: errno) {
                throw lose(error)
            }
        }
        let count = Self.count(try receive(4, &wait))
        guard count <= Self.largestAnswer else { throw lose(.died(signal: 0)) }
        return try receive(count, &wait)
    }

    private func receive(_ count: Int, _ wait: inout Wait) throws(HelperError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(max(count, 1), 1 << 16))
        while bytes.count < count {
            let got = chunk.withUnsafeMutableBytes {
                recv(wait.process.end, $0.baseAddress, min($0.count, count - bytes.count), 0)
            }
            if got > 0 {
                bytes.append(contentsOf: chunk[..<got])
            } else if got == 0 {
                throw lose(.died(signal: 0))
            } else if let error = wait.until(POLLIN, couldNot: errno) {
                throw lose(error)
            }
        }
        return bytes
    }

    /// The wait for one answer.
    private struct Wait {
        let process: (pid: pid_t, end: CInt)
        private let deadline: ContinuousClock.Instant
        private let timeoutMilliseconds: Int
        /// What the helper waited for at the last look, if it was a lock.
        private var lock: [UInt8]?

        init(process: (pid: pid_t, end: CInt), timeoutMilliseconds: Int) {
            self.process = process
            self.timeoutMilliseconds = timeoutMilliseconds
            deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        }

        /// Waits until the socket may be ready, after a call on it failed with `couldNot`. Returns why there will be
        /// no answer.
        mutating func until(_ events: Int32, couldNot: CInt) -> HelperError? {
            if couldNot == EINTR { return nil }
            guard couldNot == EAGAIN else { return .died(signal: 0) }
            let (seconds, attoseconds) = (deadline - ContinuousClock.now).components
            let left = Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
            guard left >= 0, seconds >= 0, attoseconds >= 0 else {
                return .tookTooLong(milliseconds: timeoutMilliseconds)
            }
            var descriptor = pollfd(fd: process.end, events: CShort(events), revents: 0)
            guard poll(&descriptor, 1, CInt(min(left + 1, Helper.lookMilliseconds))) == 0 else { return nil }
            // The same call with the same arguments twice: the helper did not wake in between.
            let now = Helper.lock(of: process.pid)
            if now != nil, now == lock { return .waitsForALock }
            lock = now
            return nil
        }
    }

    /// The futex(2) call, with its arguments, in which a process waits; nil if it doesn't, or if the kernel does not
    /// tell this process.
    private static func lock(of pid: pid_t) -> [UInt8]? {
        let call = (try? readBytes(FilePath("/proc/\(pid)/syscall"), limit: 4096)) ?? []
        return call.starts(with: Array("\(SYMBOLS_FUTEX) ".utf8)) ? call : nil
    }

    // MARK: The helper's end

    private func serveForEver(_ end: CInt) -> Never {
        func readAll(_ count: Int) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            var done = 0
            while done < count {
                let got = bytes.withUnsafeMutableBytes { read(end, $0.baseAddress.map { $0 + done }, count - done) }
                if got < 0 && errno == EINTR { continue }
                if got <= 0 { _exit(0) }
                done += got
            }
            return bytes
        }
        while true {
            let question = readAll(Self.count(readAll(4)))
            let answer = serve(question)
            let message = Self.length(answer.count) + answer
            var done = 0
            while done < message.count {
                let wrote = message.withUnsafeBytes {
                    send(end, $0.baseAddress.map { $0 + done }, $0.count - done, CInt(MSG_NOSIGNAL))
                }
                if wrote < 0 && errno == EINTR { continue }
                if wrote <= 0 { _exit(0) }
                done += wrote
            }
        }
    }

    private static func length(_ count: Int) -> [UInt8] {
        (0 ..< 4).map { UInt8(truncatingIfNeeded: count >> ($0 * 8)) }
    }
    private static func count(_ bytes: [UInt8]) -> Int { bytes.reversed().reduce(0) { $0 << 8 | Int($1) } }

    static func mappedByteCount() -> UInt64 {
        let text = ((try? readBytes("/proc/self/statm", limit: 4096)) ?? []).prefix { $0 != 0x20 }
        let pages = UInt64(String(decoding: text, as: UTF8.self)) ?? 1 << 22
        return pages &* UInt64(sysconf(CInt(_SC_PAGESIZE)))
    }
}
