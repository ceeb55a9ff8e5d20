// A helper process that runs other people's libraries on hostile input: names that take minutes to demangle, DWARF made
// to crash its reader. It may hang, use up its memory or die, and only the answer is lost. It is forked at the first
// question, answers one question at a time over a socket, and ends with this process.
//
// It is forked and is not a program of its own, so nothing has to be installed or found. A forked process has a copy of
// every lock in its current state. If another thread held one, nobody releases the copy; then the first question (an
// empty one) gets no answer, and another helper is forked.

import CSymbols
import Glibc
import SystemPackage

/// Why a helper has no answer.
enum HelperError: Error, Equatable {
    case cannotStart(Errno)
    case tookTooLong(milliseconds: Int)
    /// The signal, or 0 if it just ended.
    case died(signal: CInt)

    var text: String {
        switch self {
        case .cannotStart(let errno): "a helper process can't be started: \(errno)"
        case .tookTooLong(let milliseconds): "given up after \(milliseconds / 1000) s"
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

    /// - Parameter memoryByteCount: how much address space the helper may use in addition to what is mapped now.
    init(memoryByteCount: UInt64, serve: @escaping Serve) {
        self.memoryByteCount = memoryByteCount
        self.serve = serve
    }

    deinit { stop() }

    /// Asks, and waits for the answer. After an error the helper is gone, and the next question starts another.
    func ask(_ question: [UInt8], timeoutMilliseconds: Int) throws(HelperError) -> [UInt8] {
        if process == nil { try start() }
        guard let process else { throw .cannotStart(.noSuchProcess) }
        return try exchange(question, process.end, timeoutMilliseconds)
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
                _ = try exchange([], end, Self.startTimeout)
                return
            } catch {
                if attempt == 3 { throw error }
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

    private func exchange(_ question: [UInt8], _ end: CInt, _ timeoutMilliseconds: Int) throws(HelperError) -> [UInt8] {
        let deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        let message = Self.length(question.count) + question
        var done = 0
        while done < message.count {
            let sent = message.withUnsafeBytes {
                send(end, $0.baseAddress.map { $0 + done }, $0.count - done, CInt(MSG_NOSIGNAL))
            }
            if sent > 0 {
                done += sent
            } else {
                try wait(end, CShort(POLLOUT), deadline, timeoutMilliseconds, couldNot: errno)
            }
        }
        let head = try receive(4, end, deadline, timeoutMilliseconds)
        let count = Self.count(head)
        guard count <= Self.largestAnswer else { throw lose(.died(signal: 0)) }
        return try receive(count, end, deadline, timeoutMilliseconds)
    }

    private func receive(
        _ count: Int, _ end: CInt, _ deadline: ContinuousClock.Instant, _ milliseconds: Int
    ) throws(HelperError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(max(count, 1), 1 << 16))
        while bytes.count < count {
            let got = chunk.withUnsafeMutableBytes { recv(end, $0.baseAddress, min($0.count, count - bytes.count), 0) }
            if got > 0 {
                bytes.append(contentsOf: chunk[..<got])
            } else if got == 0 {
                throw lose(.died(signal: 0))
            } else {
                try wait(end, CShort(POLLIN), deadline, milliseconds, couldNot: errno)
            }
        }
        return bytes
    }

    private func wait(
        _ end: CInt, _ events: CShort, _ deadline: ContinuousClock.Instant, _ milliseconds: Int, couldNot: CInt
    ) throws(HelperError) {
        if couldNot == EINTR { return }
        guard couldNot == EAGAIN else { throw lose(.died(signal: 0)) }
        let left = deadline - ContinuousClock.now
        let (seconds, attoseconds) = left.components
        guard left > .zero else { throw lose(.tookTooLong(milliseconds: milliseconds)) }
        var descriptor = pollfd(fd: end, events: events, revents: 0)
        _ = poll(&descriptor, 1, CInt(clamping: seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1))
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

    private static func mappedByteCount() -> UInt64 {
        let text = (try? FileReader.readWhole("/proc/self/statm", limit: 4096))?.withSpan { span in
            (0 ..< span.byteCount).map { byte(span, $0) }.prefix { $0 != 0x20 }
        }
        let pages = text.flatMap { UInt64(String(decoding: $0, as: UTF8.self)) } ?? 1 << 22
        return pages &* UInt64(sysconf(CInt(_SC_PAGESIZE)))
    }
}
