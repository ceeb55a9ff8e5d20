// The readers against the kernel itself, with other programs' readings of the same as the oracle.

import Glibc
import Proc
import SystemPackage
import TestSupport
import Testing

@Suite struct KernelTests {
    /// A process that does nothing, with a name that is hard to parse.
    private func sleeper(_ scratch: Scratch) throws -> Running {
        try scratch.prepare("cp /bin/sleep 'a) R (b'")
        return try scratch.start(["\(scratch.path)/a) R (b", "60"])
    }

    @Test func psSaysTheSame() throws {
        let scratch = try Scratch()
        let running = try sleeper(scratch)
        defer { kill(running.pid, SIGKILL) }
        #expect(
            eventually {
                ProcessStat.of(running.pid)?.name == Array("a) R (b".utf8)
                    && ProcessStat.of(running.pid)?.state == UInt8(ascii: "S")
            })
        let stat = try #require(ProcessStat.of(running.pid))
        let ps = try scratch.shell("ps -o state=,nlwp= -p \(running.pid)").output.split(separator: " ").map {
            $0.filter { $0 != "\n" }
        }
        #expect(ps == [String(UnicodeScalar(stat.state)), "\(stat.threads)"])
        // util-linux counts by /proc too; the start is the kernel's clock: between boot and now.
        let ticks = UInt64(sysconf(Int32(_SC_CLK_TCK)))
        #expect(
            stat.startTime > 0 && stat.startTime <= clockNanoseconds(CLOCK_BOOTTIME) / 1_000_000_000 * ticks + ticks)
        #expect(innermostPID(of: running.pid) == UInt32(running.pid))
        #expect(processes().contains(running.pid))
        let id = UInt32(bitPattern: running.pid)
        #expect(Presence.find(processID: id, startTime: stat.startTime, bootID: Presence.currentBootID() ?? []) == id)
        #expect(Presence.find(processID: id, startTime: stat.startTime + 1, bootID: []) == nil)
        #expect(
            Presence.find(processID: id, startTime: stat.startTime, bootID: [UInt8](repeating: 7, count: 16)) == nil)
    }

    @Test func mappingsAreThoseOfAwk() throws {
        let scratch = try Scratch()
        let running = try sleeper(scratch)
        defer { kill(running.pid, SIGKILL) }
        #expect(eventually { ProcessStat.of(running.pid)?.state == UInt8(ascii: "S") })
        let awk = try scratch.shell("awk '{ print $1 }' /proc/\(running.pid)/maps").output.split(separator: "\n").map(
            String.init)
        let found = try mappings(of: running.pid)
        func padded(_ value: UInt64) -> String {
            String(repeating: "0", count: max(0, 8 - String(value, radix: 16).count)) + String(value, radix: 16)
        }
        #expect(found.map { "\(padded($0.start))-\(padded($0.end))" } == awk)
        let sum = try scratch.shell("awk '/^Rss:/ { sum += $2 } END { print sum }' /proc/\(running.pid)/smaps").output
        #expect(
            try residentMappings(of: running.pid).reduce(0) { $0 + $1.residentBytes } / 1024
                == UInt64(sum.filter { $0 != "\n" }))
        #expect(throws: Errno.self) { try mappings(of: pid_t.max) }
    }

    @Test func directoriesAreMadeWithTheirParents() throws {
        let scratch = try Scratch()
        try makeDirectories(FilePath("\(scratch.path)/a/b/c"))
        try makeDirectories(FilePath("\(scratch.path)/a/b/c"))
        #expect(try scratch.shell("test -d a/b/c").exitStatus == 0)
        try scratch.write("a/file", "")
        let error = #expect(throws: MakeDirectoriesError.self) {
            try makeDirectories(FilePath("\(scratch.path)/a/file/x"))
        }
        #expect(error?.path.text.hasSuffix("a/file/x") == true && error?.errno == .notDirectory)
    }
}
