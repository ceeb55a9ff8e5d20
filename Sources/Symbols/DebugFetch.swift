// One fetch from debuginfod servers, by libdebuginfod in a process of its own. It speaks HTTP with machines that nobody
// has to trust, so it may crash, hang, or be flooded: its memory and the file that it writes are limited, and it is
// killed when its time is over.

import CSymbols
import Glibc
import SystemPackage
import Text

/// A running fetch. `end` must be called.
struct DebugFetch {
    private let pid: pid_t
    private let socket: CInt
    /// The bytes received, which the process counts in memory that both have.
    private let shared: UnsafeMutablePointer<UInt64>

    private static let memoryByteCount: UInt64 = 1 << 30
    /// Larger than any debug file known, and small enough for most disks.
    private static let largestFile: UInt64 = 8 << 30
    private static let pageBytes = 4096

    /// - Parameter seconds: until the process is told to stop; the caller kills it then.
    init(_ buildID: [UInt8], urls: String, seconds: Double) throws(DebugFetchFailure) {
        guard let page = mmap(nil, Self.pageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
            page != MAP_FAILED
        else { throw .cannotStart(Errno(rawValue: errno)) }
        shared = page.assumingMemoryBound(to: UInt64.self)
        var end: CInt = -1
        let child = symbols_fork(&end, Helper.mappedByteCount(), Self.memoryByteCount)
        if child == 0 { Self.serve(buildID, urls, seconds, end, shared) }
        (pid, socket) = (child, end)
        guard child > 0 else {
            let reason = Errno(rawValue: errno)
            munmap(page, Self.pageBytes)
            throw .cannotStart(reason)
        }
        _ = fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK)
    }

    var receivedBytes: UInt64 { shared.pointee }

    /// Waits until one of the fetches may have an answer.
    static func wait(for fetches: [DebugFetch], milliseconds: CInt) {
        var descriptors = fetches.map { pollfd(fd: $0.socket, events: CShort(POLLIN), revents: 0) }
        poll(&descriptors, nfds_t(descriptors.count), milliseconds)
    }

    /// The path of the file, or why there is none; nil: not yet. The answer is one message: a byte for its kind, four
    /// for an error's number, and a text.
    func answer() -> Result<String, DebugFetchFailure>? {
        var bytes = [UInt8](repeating: 0, count: Self.longestAnswer)
        let got = recv(socket, &bytes, bytes.count, 0)
        if got < 0 && (errno == EAGAIN || errno == EINTR) { return nil }
        // Its end of the socket is closed: it ended or is about to. `end` tells how.
        guard got > 5 else { return .failure(.died(signal: 0)) }
        let number = bytes[1 ..< 5].reversed().reduce(Int32(0)) { $0 << 8 | Int32($1) }
        let text = String(decoding: bytes[5 ..< got], as: UTF8.self)
        return switch Answer(rawValue: bytes[0]) {
        case .path: .success(text)
        case .noLibrary: .failure(.noLibrary(text))
        case .tookTooLong: .failure(.tookTooLong)
        case .refused, nil: .failure(.refused(Errno(rawValue: number)))
        }
    }

    /// Ends the process if it still runs, and frees what belongs to it. Returns the signal that ended it, or 0.
    func end() -> CInt {
        close(socket)
        kill(pid, SIGKILL)
        var status: CInt = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        munmap(shared, Self.pageBytes)
        return symbols_was_killed(status)
    }

    // MARK: The process that fetches

    private enum Answer: UInt8 { case path = 1, noLibrary, refused, tookTooLong }
    private static let longestAnswer = 8192

    /// The library takes a fetch that was stopped for a refusal, of which it leaves an empty file as a memo. Then
    /// nobody would ask again for ten minutes, so it is removed.
    private static func forgetRefusal(of buildID: [UInt8]) {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        let home = variable("HOME") ?? "/"
        let places = [
            variable("DEBUGINFOD_CACHE_PATH"), variable("XDG_CACHE_HOME").map { "\($0)/debuginfod_client" },
            "\(home)/.cache/debuginfod_client", "\(home)/.debuginfod_client_cache",
        ]
        for place in places.compactMap({ $0 }) {
            let memo = "\(place)/\(hexadecimal(buildID))/debuginfo"
            var status = stat()
            if lstat(memo, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size == 0 { unlink(memo) }
        }
    }

    private static func serve(
        _ buildID: [UInt8], _ urls: String, _ seconds: Double, _ end: CInt, _ shared: UnsafeMutablePointer<UInt64>
    ) -> Never {
        func answer(_ kind: Answer, _ number: CInt, _ text: String) -> Never {
            let head = [kind.rawValue] + (0 ..< 4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
            let message = head + Array(text.utf8.prefix(longestAnswer - 5))
            _ = send(end, message, message.count, CInt(MSG_NOSIGNAL))
            _exit(0)
        }
        symbols_limit_files(largestFile)
        setenv("DEBUGINFOD_URLS", urls, 1)
        var library = symbols_debuginfod()
        if let error = symbols_load_debuginfod(&library) { answer(.noLibrary, 0, String(cString: error)) }
        guard let client = library.debuginfod_begin() else { answer(.refused, ENOMEM, "-") }
        // A little earlier than the caller kills this process: the library then removes what it has begun to write.
        stopsAt = now() + max(seconds - 1.5, seconds / 2)
        counter = shared
        library.debuginfod_set_progressfn(client) { _, done, all in
            if all > 0, done > 0 { counter?.pointee = UInt64(done) }
            return now() >= stopsAt ? 1 : 0
        }
        var path: UnsafeMutablePointer<CChar>?
        let result = library.debuginfod_find_debuginfo(client, buildID, CInt(buildID.count), &path)
        if result >= 0, let path { answer(.path, 0, String(cString: path)) }
        guard now() >= stopsAt else { answer(.refused, result < 0 ? -result : EIO, "-") }
        forgetRefusal(of: buildID)
        answer(.tookTooLong, ETIME, "-")
    }
}

// What the library's callback sees. Only a process that fetches, which has one thread of ours, uses these.
nonisolated(unsafe) private var stopsAt = Double.infinity
nonisolated(unsafe) private var counter: UnsafeMutablePointer<UInt64>?

private func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
