// heaprun --otel: sends profiles of the recorded programs to a collector, from a process beside heaprun. So a collector
// that answers slowly delays nothing, and a fault in reading or sending ends no recording. The program itself takes no
// part: its image is read from outside.
//
// The two processes speak through a socket. The sender says at the start whether it can send: "ok", or the reason. At
// the end heaprun tells it which images there are; the sender sends them, says what it has done, and ends.

import CHeapImage
import CLaunch
import Glibc
import HeapImage
import Launch
import Proc
import Send
import Symbols
import SystemPackage
import Text

/// The sender, from heaprun's side.
final class OTelSender {
    private let url: String
    private let intervalSeconds: Double
    private var pid: pid_t = 0
    private var socket: CInt = -1
    private var lines: [String] = []

    /// The last profiles may take this long once the program has ended; heaprun waits a little longer.
    static let lastSeconds = 5.0
    /// One profile may take this long.
    static let profileSeconds = 4.0
    private static let patienceSeconds: CInt = 10

    init(url: String, intervalSeconds: Double) { (self.url, self.intervalSeconds) = (url, intervalSeconds) }

    var companion: Companion {
        Companion(
            start: { [self] (directory) throws(LaunchError) in try start(directory) },
            finish: { [self] in finish($0) }, report: { [self] in lines })
    }

    private func start(_ directory: FilePath) throws(LaunchError) {
        var settings: CollectorSettings
        do throws(SendError) { settings = try CollectorSettings(url: url) } catch { throw .own("--otel \(error)") }
        settings.seconds = Self.profileSeconds
        pid = launch_fork_companion(&socket, Self.patienceSeconds)
        if pid < 0 { throw .own("--otel: no process can be made: \(errnoText(errno))") }
        if pid == 0 {
            var sender = SenderProcess(socket: socket, directory: directory, intervalSeconds: intervalSeconds)
            sender.run(settings)
            _exit(0)
        }
        let answer = text()
        if answer != "ok" { throw .own("--otel \(answer ?? "\(url): the sender does not start")") }
    }

    /// Tells the sender that the program has ended, and waits for its account.
    private func finish(_ images: [FilePath]) {
        defer { close(socket) }
        var bytes: [UInt8] = []
        for image in images {
            bytes += image.withPlatformString { UnsafeRawBufferPointer(start: $0, count: strlen($0)).map { $0 } } + [0]
        }
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes {
                send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { break }
            done += count
        }
        shutdown(socket, Int32(SHUT_WR))
        switch text() {
        case nil:
            // It still has the socket, so it lives, and the number is its own.
            kill(pid, SIGKILL)
            lines.append(
                "heaprun: --otel: \(printable(withoutCredentials(url))) has not taken the last profiles in time")
        case "": lines.append("heaprun: --otel: the sender has ended before the program")
        case let account?: lines.append(account)
        }
    }

    /// What the sender says, up to a line's end or to the socket's end; nil if it says nothing in time. It says one
    /// line at a time, and waits for heaprun in between.
    private func text() -> String? {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1024)
        while bytes.count < 8192 && bytes.last != UInt8(ascii: "\n") {
            let count = recv(socket, &part, part.count, 0)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { return nil }
            if count == 0 { break }
            bytes += part[..<count]
        }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The process that sends.
private struct SenderProcess {
    let socket: CInt
    let directory: FilePath
    let intervalSeconds: Double
    private var sent = 0
    private var failed = 0
    private var unsent = 0
    private var problem: String?

    init(socket: CInt, directory: FilePath, intervalSeconds: Double) {
        (self.socket, self.directory, self.intervalSeconds) = (socket, directory, intervalSeconds)
    }

    mutating func run(_ settings: CollectorSettings) {
        let pusher: ProfilePusher
        do throws(SendError) {
            // Without source lines: names come from symbol tables, which cost little, and whoever receives the profile
            // can find lines by build-id.
            pusher = try ProfilePusher(settings, symbolizer: Symbolizer(hasLines: false))
        } catch {
            say("\(error)\n")
            return
        }
        say("ok\n")
        var due = monotonicNanoseconds() + UInt64(intervalSeconds * 1e9)
        while !hasEnded(before: due) {
            // The last profiles are more than a round's rest.
            for image in runningImages() where !hasEnded(before: 0) { push(image, pusher) }
            let now = monotonicNanoseconds()
            // Rounds that took too long are left out, not made up for.
            due = max(due &+ UInt64(intervalSeconds * 1e9), now)
        }
        let last = monotonicNanoseconds() + UInt64(OTelSender.lastSeconds * 1e9)
        for path in lastImages() {
            let now = monotonicNanoseconds()
            if now > last {
                unsent += 1
            } else if let image = try? HeapImage(path: path) {
                pusher.seconds = min(OTelSender.profileSeconds, Double(last - now) / 1e9)
                push(image, pusher)
            }
        }
        let place = printable(withoutCredentials(settings.url))
        var account = "heaprun: --otel: \(counted(UInt64(sent), "profile")) sent to \(place)"
        if failed > 0 { account += "; \(failed) failed: \(problem ?? "")" }
        if unsent > 0 { account += "; for \(counted(UInt64(unsent), "image")) there was no time" }
        say(account + "\n")
    }

    private mutating func push(_ image: HeapImage, _ pusher: ProfilePusher) {
        do {
            if let remark = try pusher.push(image) { problem = remark }
            sent += 1
        } catch {
            failed += 1
            problem = "\(error)"
        }
    }

    /// The images of programs that run now.
    private func runningImages() -> [HeapImage] {
        let names = ((try? namesInDirectory(directory)) ?? []).filter { $0.extension == "heap" }
        return names.sorted { $0.text < $1.text }.compactMap { name in
            guard let image = try? HeapImage(path: directory.appending(name).text), image.kind == .running,
                image.presence == .running, image.state == .running
            else { return nil }
            return image
        }
    }

    /// Waits until `due`, or until heaprun says that the program has ended. Looks once if that is over already.
    private func hasEnded(before due: UInt64) -> Bool {
        while true {
            let now = monotonicNanoseconds()
            var wait = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            let left = now >= due ? 0 : min((due - now) / 1_000_000 + 1, 1_000_000)
            if poll(&wait, 1, CInt(left)) > 0 { return true }
            if now >= due { return false }
        }
    }

    /// The paths that heaprun says, each with a NUL.
    private func lastImages() -> [String] {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(socket, &part, part.count)
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { break }
            bytes += part[..<count]
        }
        return bytes.split(separator: 0).map { pathText($0) }
    }

    private func say(_ text: String) {
        _ = Array(text.utf8).withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }
}
