// Runs a command of this tool as a process of its own, and takes what it prints. An image that does harm, or a command
// that takes all memory, ends that process alone; and the server's own output stays a stream of messages.
//
// Invariant: at most `mostBytes` are kept of each stream, a command has at most `mostSeconds`, and none outlives the
// server.

import CLaunch
import Glibc
import Proc
import SystemPackage
import Text

struct OwnCommand {
    /// Its standard output; and of its messages the beginning.
    private(set) var output: [UInt8] = []
    private(set) var messages: [UInt8] = []
    private(set) var exitStatus: Int32 = 0
    /// Whether it printed more than is kept; then it was ended.
    private(set) var isTooLong = false
    private(set) var isTooSlow = false

    static let mostBytes = 64 << 10
    static let mostSeconds = 600

    /// - Throws: why it could not be started.
    init(_ words: [String]) throws(Errno) {
        let outputPipe = try Self.pipe()
        let messagePipe: [CInt]
        do throws(Errno) { messagePipe = try Self.pipe() } catch {
            for end in outputPipe { close(end) }
            throw error
        }
        // Under its own name, since one executable is all tools.
        let arguments = (["heapsum"] + words).map { strdup($0.pathCString) } + [nil]
        let nothing = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC)
        let pid = launch_own_command(arguments, environ, outputPipe[1], messagePipe[1], nothing)
        let error = pid < 0 ? errno : 0
        for argument in arguments { free(argument) }
        for end in [outputPipe[1], messagePipe[1], nothing] where end >= 0 { close(end) }
        defer { for end in [outputPipe[0], messagePipe[0]] { close(end) } }
        guard error == 0 else { throw Errno(rawValue: error) }
        read(outputPipe[0], messagePipe[0], of: pid)
        let status = isTooLong || isTooSlow ? Self.end(pid) : Self.wait(pid)
        exitStatus = status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    }

    private static func wait(_ pid: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return status
    }

    /// Ends a command. It is asked first: one that has just stopped a program lets that go on before it ends.
    private static func end(_ pid: pid_t) -> Int32 {
        var status: Int32 = 0
        kill(pid, SIGTERM)
        for _ in 0 ..< 100 {
            if waitpid(pid, &status, WNOHANG) == pid { return status }
            usleep(50_000)
        }
        kill(pid, SIGKILL)
        return wait(pid)
    }

    /// The two ends of a pipe, which programs that are started don't get.
    private static func pipe() throws(Errno) -> [CInt] {
        var ends: [CInt] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { throw Errno(rawValue: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return ends
    }

    /// Reads both streams until both have ended, or there is too much, or the time is over.
    private mutating func read(_ output: CInt, _ messages: CInt, of pid: pid_t) {
        var open = [output, messages], buffer = [UInt8](repeating: 0, count: 16_384)
        let end = clockNanoseconds(CLOCK_MONOTONIC) + UInt64(Self.mostSeconds) * 1_000_000_000
        while !open.isEmpty {
            let now = clockNanoseconds(CLOCK_MONOTONIC)
            guard now < end else {
                isTooSlow = true
                return
            }
            var waiting = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&waiting, nfds_t(waiting.count), CInt((end - now) / 1_000_000) + 1) >= 0 || errno == EINTR else {
                return
            }
            for one in waiting where one.revents != 0 {
                let count = buffer.withUnsafeMutableBytes { Glibc.read(one.fd, $0.baseAddress, $0.count) }
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { open.removeAll { $0 == one.fd } }
                let part = buffer.prefix(max(count, 0))
                if one.fd == output {
                    self.output += part
                    isTooLong = self.output.count > Self.mostBytes
                    if isTooLong { return }
                } else {
                    self.messages += part.prefix(Self.mostBytes - min(self.messages.count, Self.mostBytes))
                }
            }
        }
    }
}
