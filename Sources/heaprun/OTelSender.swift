// heaprun --otel: sends profiles of the recorded programs to a collector, from a process beside heaprun. So a collector
// that answers slowly delays nothing, and a fault in reading or sending ends no recording. The program itself takes no
// part: its image is read from outside.
//
// The two processes speak through a socket, by lines. The sender says at the start whether it can send: "ok", or the
// reason. At the end heaprun tells it which images there are; the sender sends them, says "+" and its sums before the
// first and after each, and at last its account. A signal that asks heaprun to end stops the sending, and nothing else.

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
    private var received: [UInt8] = []
    /// The collector, as messages name it.
    private var place = ""

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
        place = printable(withoutCredentials(settings.url))
        pid = launch_fork_companion(&socket, Self.patienceSeconds)
        if pid < 0 { throw .own("--otel: no process can be made: \(errnoText(errno))") }
        if pid == 0 {
            var sender = SenderProcess(socket: socket, directory: directory, intervalSeconds: intervalSeconds)
            sender.run(settings)
            _exit(0)
        }
        let heard = hear(until: Self.due(), nil)
        guard case .line("ok") = heard else {
            if case .line(let reason) = heard { throw .own("--otel \(reason)") }
            throw .own("--otel \(url): the sender does not start")
        }
    }

    private static func due() -> UInt64 { monotonicNanoseconds() + UInt64(patienceSeconds) * 1_000_000_000 }

    /// Tells the sender that the program has ended, and waits for its account.
    private func finish(_ images: [FilePath]) {
        defer { close(socket) }
        let due = Self.due(), signals = EndSignals([SIGINT, SIGTERM, SIGHUP, SIGQUIT])
        defer { signals.forget() }
        var heard = tell(images, until: due, signals)
        var sums: [Substring] = [], done = -1
        while heard == nil {
            let next = hear(until: due, signals)
            if case .line(let line) = next, line.hasPrefix("+") {
                sums = line.dropFirst().split(separator: " ")
                done += 1
            } else {
                heard = next
            }
        }
        switch heard {
        case .line(let account): lines.append(account)
        case .ended, nil: lines.append("heaprun: --otel: the sender has ended before the program")
        case .late:
            // It still has the socket, so it lives, and the number is its own.
            kill(pid, SIGKILL)
            lines.append("heaprun: --otel: \(place) has not taken the last profiles in time")
        case .signal(let number):
            kill(pid, SIGKILL)
            var account = "heaprun: --otel: SIG\(signalName(number)) has stopped the sending to \(place)"
            if let sent = sums.first.flatMap({ UInt64($0) }) { account += "; \(counted(sent, "profile")) sent" }
            if let failed = sums.last.flatMap({ UInt64($0) }), failed > 0 { account += ", \(failed) failed" }
            let left = images.dropFirst(max(done, 0)).map { printable($0.lastComponent?.string ?? $0.text) }
            if !left.isEmpty {
                account += "; not sent, or not answered: " + left.prefix(3).joined(separator: ", ")
                if left.count > 3 { account += " and \(left.count - 3) more" }
            }
            lines.append(account)
        }
    }

    // MARK: The socket

    private enum Heard: Equatable {
        case line(String)
        /// The sender has ended.
        case ended
        case late
        case signal(Int32)
    }

    /// How long a signal waits to be seen.
    private static let sliceMilliseconds: UInt64 = 50

    /// Waits until the socket is ready, but no longer than a slice.
    ///
    /// - Returns: why there is no more to wait for, if so.
    private func wait(_ events: Int32, until due: UInt64, _ signals: EndSignals?) -> Heard? {
        if let number = signals?.next() { return .signal(number) }
        let now = monotonicNanoseconds()
        if now >= due { return .late }
        var wait = pollfd(fd: socket, events: Int16(events), revents: 0)
        poll(&wait, 1, CInt(min(Self.sliceMilliseconds, (due - now) / 1_000_000 + 1)))
        return nil
    }

    /// Tells the sender the images' paths; nil if that is done, or the sender does not hear.
    private func tell(_ images: [FilePath], until due: UInt64, _ signals: EndSignals) -> Heard? {
        var bytes: [UInt8] = []
        for image in images {
            bytes += image.withPlatformString { UnsafeRawBufferPointer(start: $0, count: strlen($0)).map { $0 } } + [0]
        }
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes {
                send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            if count > 0 {
                done += count
            } else if errno == EAGAIN {
                if let reason = wait(POLLOUT, until: due, signals) { return reason }
            } else if errno != EINTR {
                break
            }
        }
        shutdown(socket, Int32(SHUT_WR))
        return nil
    }

    /// The next line that the sender says.
    private func hear(until due: UInt64, _ signals: EndSignals?) -> Heard {
        var part = [UInt8](repeating: 0, count: 1024)
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: received[..<end], as: UTF8.self)
                received.removeSubrange(...end)
                return .line(line)
            }
            if let reason = wait(POLLIN, until: due, signals) { return reason }
            let count = recv(socket, &part, part.count, Int32(MSG_DONTWAIT))
            if count < 0 && (errno == EINTR || errno == EAGAIN) { continue }
            if count <= 0 { return .ended }
            received += part[..<count]
        }
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
        let images = lastImages()
        sayProgress()
        for path in images {
            let now = monotonicNanoseconds()
            if now > last {
                unsent += 1
            } else if let image = try? HeapImage(path: path) {
                pusher.seconds = min(OTelSender.profileSeconds, Double(last - now) / 1e9)
                push(image, pusher)
            }
            sayProgress()
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

    private func sayProgress() { say("+\(sent) \(failed)\n") }

    private func say(_ text: String) {
        _ = Array(text.utf8).withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }
}
