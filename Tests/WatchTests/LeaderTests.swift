// A process whose first thread has ended while another goes on: its memory and descriptors are counted. Oracle: the
// living thread's own entry in /proc.

import Glibc
import TestSupport
import Testing

@testable import Watch

@Suite struct LeaderTests {
    @Test func aProcessIsMoreThanItsFirstThread() throws {
        let scratch = try Scratch()
        let running = try scratch.start([try Built.program("leader"), "said"])
        #expect(eventually { access("\(scratch.path)/said", R_OK) == 0 })
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        var options = GatherOptions()
        options.selection = Selection(pids: [Int64(running.pid)])
        let sample = Gatherer(options).sample(at: bootMilliseconds())
        let process = try #require(sample.process(Int64(running.pid)))
        #expect(try contents("/proc/\(running.pid)/stat").contains(") Z "))
        let thread = try #require(
            try ProcText(root: "").names(in: "/proc/\(running.pid)/task").first { $0 != "\(running.pid)" })
        let line = try #require(
            try contents("/proc/\(running.pid)/task/\(thread)/status").split(separator: "\n").first {
                $0.hasPrefix("VmRSS:")
            })
        #expect(line.split(separator: " ").compactMap { Int64($0) } == [process[.resident]] && process[.resident] > 0)
        #expect(process[.state] == Int64(UInt8(ascii: "S")) && process.detail.contains("said"))
        #expect(
            try Int(process[.descriptors])
                == ProcText(root: "").names(in: "/proc/\(running.pid)/task/\(thread)/fd").count)
    }
}
