// The examples of docs/examples show what their pages say: the lost list and the cycle at the program's end, the cache
// that nobody empties while it runs. How many of each there are the program itself prints.

import Glibc
import TestSupport
import Testing

@Suite struct ExampleTests {
    /// Blocks by verdict at the end of an example, and the first number that it printed.
    private func atEnd(_ name: String) throws -> (verdicts: [String: Int], printed: Int) {
        let scratch = try Scratch()
        let told = try scratch.record(
            ["\(Built.examples)/\(name)", "0.5"], options: ["--quiet", "-o", "images", "--leaks", "--leak-exit", "9"],
            library: Built.interposer)
        #expect(told.exitStatus == 9, "\(told)")
        let heapsum = "'\(Built.products)/heapsum'"
        let rows = try scratch.shell(heapsum + " leaks --verdict all --format csv images/*.heap").output
        var verdicts: [String: Int] = [:]
        for line in rows.split(whereSeparator: \.isNewline).dropFirst() {
            let cells = line.split(separator: ",")
            verdicts[String(cells[0]), default: 0] += Int(cells[2]) ?? 0
        }
        return (verdicts, try #require(Int(told.output.prefix { $0.isNumber })))
    }

    @Test func aLostListIsOneLeakAndWhatHangsFromIt() throws {
        let (verdicts, batches) = try atEnd("lost-list")
        // One batch in ten, the first among them, of a hundred measurements with a text each.
        #expect(verdicts["definite"] == (batches + 9) / 10 && verdicts["indirect"] == (batches + 9) / 10 * 199)
        #expect(verdicts["possible"] == nil, "\(verdicts)")
    }

    @Test func aCycleIsOneLeakAndTheRestOfIt() throws {
        let (verdicts, clients) = try atEnd("shared-cycle")
        #expect(verdicts["definite"] == clients && verdicts["indirect"] == 2 * clients, "\(clients): \(verdicts)")
    }

    @Test func aTagNamesTheTenantWhoseReportsAreLost() throws {
        let scratch = try Scratch()
        let told = try scratch.record(
            ["\(Built.examples)/three-tenants", "0.5"],
            options: ["--quiet", "-o", "images", "--leaks", "--leak-exit", "9"], library: Built.interposer)
        #expect(told.exitStatus == 9, "\(told)")
        func tags(_ options: String) throws -> [[String]] {
            try scratch.shell("'\(Built.products)/heapsum' \(options) --by tag --format csv images/*.heap").output
                .split(whereSeparator: \.isNewline).dropFirst()
                .map {
                    $0.replacing("\"", with: "").split(separator: ",", omittingEmptySubsequences: false).map(
                        String.init)
                }
        }
        // All that is lost is one tenant's: whole reports of 1,280 bytes.
        let lost = try tags("--verdict definite")
        #expect(lost.count == 1 && lost[0].last == "tenant green", "\(lost)")
        let bytes = try #require(lost.first.flatMap { Int($0[0]) }), blocks = try #require(Int(lost[0][1]))
        #expect(blocks > 0 && bytes == 1280 * blocks)
        // The settings of the three are kept; at the peak each had reports, too.
        for options in ["", "--at peak"] {
            let all = try tags(options)
            #expect(Set(all.compactMap(\.last)) == ["tenant red", "tenant green", "tenant blue", "no tag"], "\(all)")
        }
    }

    @Test func aCacheIsKeptByItsVariable() throws {
        let scratch = try Scratch()
        let running = try scratch.startRecorded(
            ["\(Built.examples)/session-cache", "600"], options: ["--quiet", "-o", "images"], library: Built.interposer)
        let pid = try running.child()
        defer {
            kill(pid, SIGKILL)
            _ = try? running.wait()
        }
        func holders() throws -> Outcome {
            try scratch.run([Built.products + "/heapsum", "leaks", "--holders", "--format", "json", String(pid)])
        }
        // Once there are sessions enough.
        var last = Outcome(waitStatus: 0, output: "", messages: "")
        let isSo = try eventually(seconds: 60) {
            last = try holders()
            guard let sessions = last.output.firstRange(of: "\"holder\":\"global sessions (session-cache)\"") else {
                return false
            }
            let line = last.output[sessions.upperBound...].prefix { $0 != "}" }
            guard let kept = line.firstRange(of: "\"keptBytes\":") else { return false }
            return (Int(line[kept.upperBound...].prefix { $0.isNumber }) ?? 0) > 500_000
        }
        #expect(isSo, "\(last)")
        #expect(last.output.contains("\"definite\":{\"blocks\":0,"), "\(last.output.prefix(800))")
    }
}
