// heapsum ask on the programs of Examples/: its first finding names the function with the fault, of the running
// program, of what it left, and of a directory of dumps. Which function that is, the examples' pages say.

import Glibc
import TestSupport
import Testing
import Text

@Suite struct AskExamples {
    struct Example: CustomTestStringConvertible {
        var name: String
        /// The function with the fault.
        var culprit: String
        /// What the first finding names when it has ended, if that is a function which the culprit calls.
        var callee: String?
        /// Arguments to run on and on, and to end by itself soon.
        var long = ["600"]
        var short = ["3"]
        /// What the first finding is while it runs, and when it has ended.
        var kinds: (running: Set<String>, ended: Set<String>)
        var testDescription: String { name }
    }

    static let examples = [
        Example(name: "unjoined-threads", culprit: "accept_requests", kinds: (["growing"], ["growing"])),
        Example(name: "pool-slot-zero", culprit: "open_connection", kinds: (["leaked"], ["growing"])),
        Example(
            name: "producer-consumer", culprit: "read_measurement(unsigned int)", kinds: (["growing"], ["peak"])),
        Example(
            name: "slow-growth", culprit: "begin_trace", long: ["0.7", "600"], short: ["0.5", "7"],
            kinds: (["leaked"], ["growing"])),
        Example(name: "session-cache", culprit: "log_in(unsigned int)", kinds: (["growing"], ["peak"])),
        Example(name: "lost-list", culprit: "append", kinds: (["leaked"], ["growing"])),
        Example(name: "three-tenants", culprit: "make_report(unsigned int)", kinds: (["leaked"], ["growing"])),
        // Without a verdict each function grows by itself: the constructor's vector is most of it.
        Example(
            name: "shared-cycle", culprit: "accept_client()", callee: "Connection::Connection()",
            kinds: (["leaked"], ["growing"])),
        Example(
            name: "pinned-pages", culprit: "add_to_index", long: ["600", "128"], short: ["1", "128"],
            // On a busy machine the index is built for so long that blocks of all ages live.
            kinds: (["pinned"], ["pinned", "growing"])),
    ]

    private func ask(_ scratch: Scratch, _ words: [String]) throws -> JSONValue {
        let told = try scratch.run([Built.products + "/heapsum", "ask"] + words)
        try #require(told.exitStatus == 0, "\(told)")
        #expect(told.output.utf8.count <= 5000)
        return try JSONReader.read(Array(told.output.utf8))
    }

    /// The first answer that has the fault in front, or the last of many: on a busy machine it takes its time to show.
    private func askUntil(
        _ culprit: String, _ kinds: Set<String>, _ scratch: Scratch, _ words: [String]
    ) throws -> JSONValue {
        var answer = JSONValue.null
        for _ in 0 ..< 20 {
            sleep(3)
            answer = try ask(scratch, words)
            let first = answer["findings"]?.array?.first
            if first?["function"]?.string == culprit, kinds.contains(first?["kind"]?.string ?? "") { break }
        }
        return answer
    }

    private func check(
        _ answer: JSONValue, _ culprit: String, _ kinds: Set<String>, callee: String? = nil
    ) throws {
        let first = try #require(answer["findings"]?.array?.first, "\(answer)")
        #expect(first["function"]?.string == callee ?? culprit, "\(answer)")
        if callee != nil { #expect(first["callers"]?.array?.first?.string == culprit, "\(answer)") }
        #expect(kinds.contains(first["kind"]?.string ?? ""), "\(answer)")
        #expect(first["next"]?.string?.hasPrefix("heap") == true, "\(answer)")
    }

    @Test(arguments: examples) func whileItRuns(_ example: Example) throws {
        let scratch = try Scratch()
        let running = try scratch.startRecorded(
            ["\(Built.examples)/\(example.name)"] + example.long, options: ["--quiet", "-o", "images"],
            library: Built.interposer)
        let pid = try running.child()
        defer {
            kill(pid, SIGKILL)
            _ = try? running.wait()
        }
        if example.name == "pinned-pages" {
            #expect(try eventually(seconds: 60) { try contents(running.outputPath).contains("stored") })
        }
        let answer = try askUntil(example.culprit, example.kinds.running, scratch, ["\(pid)"])
        try check(answer, example.culprit, example.kinds.running)
        #expect(answer["subject"]?["runs"] == .bool(true) && answer["subject"]?["pid"]?.integer == UInt64(pid))
        #expect(answer["unknown"] == .array([]), "\(answer)")
    }

    @Test(arguments: examples) func whenItHasEnded(_ example: Example) throws {
        let scratch = try Scratch()
        let told = try scratch.record(
            ["\(Built.examples)/\(example.name)"] + example.short, options: ["--quiet", "-o", "images"],
            library: Built.interposer)
        try #require(told.exitStatus == 0, "\(told)")
        let answer = try ask(scratch, ["images"])
        try check(answer, example.culprit, example.kinds.ended, callee: example.callee)
        let gaps = answer["unknown"]?.array ?? []
        #expect(gaps.contains { $0["what"]?.string == "leaked" && $0["because"]?.string == "ended" }, "\(answer)")
    }

    /// A verdict that the image stores counts.
    @Test func whatWasLostAtTheEnd() throws {
        let scratch = try Scratch()
        let told = try scratch.record(
            ["\(Built.examples)/lost-list", "0.5"], options: ["--quiet", "-o", "images", "--leaks"],
            library: Built.interposer)
        try #require(told.exitStatus == 0, "\(told)")
        let answer = try ask(scratch, ["images"])
        try check(answer, "append", ["leaked"])
        #expect(answer["verdicts"]?["ofNewest"] == .bool(true), "\(answer)")
        let first = try #require(answer["findings"]?.array?.first)
        #expect(first["evidence"]?["verdict"]?.string == "definite")
        #expect(first["evidence"]?["indirectBlocks"]?.integer == (first["evidence"]?["ownBlocks"]?.integer ?? 0) * 199)
    }

    /// Sessions come and go, and are many more bytes: what grows at each of six moments comes first.
    @Test func betweenDumps() throws {
        let scratch = try Scratch()
        let running = try scratch.startRecorded(
            ["\(Built.examples)/slow-growth", "1", "600"], options: ["--quiet", "-o", "images"],
            library: Built.interposer)
        let pid = try running.child()
        defer {
            kill(pid, SIGKILL)
            _ = try? running.wait()
        }
        for day in 1 ... 6 {
            #expect(try eventually(seconds: 60) { try contents(running.outputPath).contains("day \(day) ") })
            #expect(try scratch.run([Built.heapdump, "\(pid)"]).exitStatus == 0)
        }
        let dumps = try scratch.shell("mkdir dumps && mv images/*.[0-9].heap dumps/")
        try #require(dumps.exitStatus == 0, "\(dumps)")
        let answer = try ask(scratch, ["dumps"])
        try check(answer, "begin_trace", ["growing"])
        let evidence = answer["findings"]?.array?.first?["evidence"]
        #expect(evidence?["by"]?.string == "moments" && evidence?["moments"]?.integer == 6, "\(answer)")
        #expect(evidence?["shape"]?.string == "steady growth", "\(answer)")
        let gap = answer["unknown"]?.array?.first
        #expect(
            gap?["because"]?.string == "not-stored" && gap?["next"]?.string == "heapdump --leaks \(pid)", "\(answer)")
        #expect(
            answer["findings"]?.array?.first?["next"]?.string?.hasPrefix("heapsum diff --include begin_trace") == true)
    }

    /// Of a sampled image the estimates tell what grows, and nothing is said of what is lost.
    @Test func ofASample() throws {
        let scratch = try Scratch()
        let told = try scratch.record(
            ["\(Built.examples)/lost-list", "2"], options: ["--quiet", "-o", "images", "--sample", "1K"],
            library: Built.interposer)
        try #require(told.exitStatus == 0, "\(told)")
        let answer = try ask(scratch, ["images"])
        try check(answer, "append", ["growing"])
        #expect(answer["subject"]?["sampleInterval"]?.integer == 1024, "\(answer)")
        let gaps = answer["unknown"]?.array ?? []
        let lost = try #require(gaps.first { $0["what"]?.string == "leaked" }, "\(answer)")
        #expect(lost["because"]?.string == "sampled" && lost["next"] == .null, "\(answer)")
    }

    /// A program that may not be stopped is asked for the rest.
    @Test func withoutAVerdict() throws {
        let scratch = try Scratch()
        let running = try scratch.startRecorded(
            ["\(Built.examples)/lost-list", "600"], options: ["--quiet", "-o", "images"], library: Built.interposer)
        let pid = try running.child()
        defer {
            kill(pid, SIGKILL)
            _ = try? running.wait()
        }
        let answer = try askUntil("append", ["growing"], scratch, ["--no-verdict", "\(pid)"])
        try check(answer, "append", ["growing"])
        #expect(answer["verdicts"] == .null)
        #expect(answer["unknown"]?.array?.first?["because"]?.string == "not-wanted", "\(answer)")
    }
}
