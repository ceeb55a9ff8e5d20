// Processes whose first thread has ended while another goes on. The kernel shows such a process as a zombie, without
// memory or files; it is none. Oracles: the program, which counts what it keeps, and /proc/PID/task.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import TestSupport
import Testing

@testable import Launch

@Suite struct LeaderTests {
    private func blocks(_ image: HeapImage) -> Int {
        var count = 0
        image.forEachBlock { blocks in for index in blocks.indices where blocks[index].bytes == 1000 { count += 1 } }
        return count
    }

    /// PID and count, as the program says them.
    private func said(_ scratch: Scratch) -> (pid: pid_t, count: Int)? {
        let words = ((try? contents("\(scratch.path)/said")) ?? "").split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard words.count == 2, let pid = pid_t(words[0]), let count = Int(words[1]) else { return nil }
        return (pid, count)
    }

    @Test func itIsThereUntilItsLastThreadEnds() throws {
        let scratch = try Scratch()
        let running = try scratch.startRecorded(
            [try Built.program("leader"), "said"], options: ["-o", "images"], library: Built.interposer)
        #expect(eventually { said(scratch)?.count == 10 })
        let pid = try #require(said(scratch)?.pid)
        let status = try #require(ProcessStat.of(pid))
        #expect(status.state == UInt8(ascii: "Z") && livingThread(of: pid) != pid)
        let shown = try contents("/proc/\(pid)/maps"), found = try mappings(of: pid)
        #expect(shown.isEmpty && !found.isEmpty)
        let dump = try scratch.run([Built.heapdump, String(pid)])
        #expect(dump.exitStatus == 0, "\(dump)")
        #expect(blocks(try HeapImage(path: String(dump.output.dropLast()))) == 10)
        // Its image, by path and by the process's memory, says that it runs; and what heaprun measures is there.
        guard case .file(let path) = try findImage(of: pid, deadline: 0) else { throw Failure("no path") }
        #expect(try HeapImage(path: path.text).presence == .running)
        #expect(
            try eventually {
                try HeapImage(path: path.text).header.rss_bytes > 0
                    && HeapImage(path: path.text).header.residence.measured_ns > 0
            })
        let span = try #require(imageSpans(try mappings(of: pid)).first)
        #expect(
            blocks(
                try HeapImage(
                    ProcessMemorySource(process: pid, base: span.first.start, length: span.byteCount),
                    presence: .running)) == 10)
        let info = try scratch.run([Built.products + "/heapsum", "info", path.text])
        #expect(info.output.contains("running"), "\(info)")
        // The kernel shows the first thread's mappings no more; the frames have names all the same.
        let report = try scratch.run([Built.products + "/heapsum", path.text])
        #expect(report.output.contains("keep ") && !report.messages.contains("names"), "\(report)")
        kill(pid, SIGTERM)
        let outcome = try running.wait()
        #expect(outcome.exitStatus == 9 && !outcome.messages.contains("still runs"), "\(outcome)")
        #expect(try scratch.run([Built.heapdump, "--timeout", "0", String(pid)]).messages.contains("no such process"))
    }

    @Test func aChildThatGoesOnIsNotTakenForDead() throws {
        let scratch = try Scratch()
        let outcome = try scratch.record(
            [try Built.program("leader"), "said", "child"], options: ["-o", "images"], library: Built.interposer)
        let pid = try #require(said(scratch)?.pid)
        defer { kill(pid, SIGKILL) }
        let line = try #require(
            outcome.messages.split(separator: "\n").first {
                $0.contains("(PID \(pid)) still runs; its image stays at ")
            }, "\(outcome)")
        let path = String(line[line.range(after: "stays at ")])
        // What it keeps from now on is in its image.
        for _ in 0 ..< 27 {
            let before = said(scratch)?.count ?? 0
            kill(pid, SIGUSR1)
            #expect(eventually { said(scratch)?.count == before + 1 })
        }
        let image = try HeapImage(path: path)
        #expect(image.presence == .running && blocks(image) == 37)
        kill(pid, SIGKILL)
        #expect(eventually { Presence.livingThread(of: UInt32(pid)) == nil })
        #expect(try HeapImage(path: path).presence == .gone)
        // It is found where the others lie, too.
        let found = try scratch.shell("for f in images/*.heap; do readlink -f $f; done").output
        #expect(found.split(separator: "\n").contains(Substring(path)), "\(found)")
        _ = system("rm -r '\(FilePath(path).removingLastComponent().text)'")
    }
}
