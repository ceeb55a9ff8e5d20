// A core file beside the image of the same process says what a verdict on the running program says.

import Glibc
import TestSupport
import Testing

@Suite struct CoreTests {
    @Test(arguments: ["cases", "graphs", "inside", "cache"]) func aCoreSaysWhatTheProgramWouldHave(name: String) throws {
        let watched = try Watched([try leaksProgram(name)])
        let living = try watched.rows()
        try watched.scratch.prepare("gcore -o core \(watched.pid) >/dev/null 2>&1")
        _ = try watched.end()
        let outcome = try watched.scratch.shell("'\(Built.products)/heapsum' leaks --core core.\(watched.pid) --verdict all --format csv images/*.heap")
        #expect(outcome.exitStatus == 0, "\(outcome)")
        for verdict in ["definite", "indirect", "possible", "reachable"] {
            let sum = outcome.output.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("\(verdict),") }.reduce([0, 0]) { sum, line in
                let cells = line.split(separator: ",")
                return [sum[0] + (Int(cells[2]) ?? 0), sum[1] + (Int(cells[1]) ?? 0)]
            }
            #expect(sum == living.sum(verdict), "\(verdict) of \(name): \(outcome.messages)")
        }
    }

    @Test func coresThatCantBeUsed() throws {
        let watched = try Watched([try leaksProgram("cases")])
        try watched.scratch.prepare("gcore -o core \(watched.pid) >/dev/null 2>&1")
        let other = try Watched([try leaksProgram("cases")])
        _ = try watched.end()
        _ = try other.end()
        try watched.scratch.prepare("cp core.\(watched.pid) core; cp '\(other.scratch.path)'/images/*.heap other; cp images/*.heap image; head -c 2000 core > short; head -c 100000 core > shorter; echo nothing > text")
        func refusal(_ words: String) throws -> Outcome { try watched.scratch.shell("'\(Built.products)/heapsum' leaks --core \(words)") }
        #expect(try refusal("core other").messages.contains("name the image of the same process"))
        #expect(try refusal("text image").messages.contains("offset 0: "))
        #expect(try refusal("/bin/true image").messages.contains("no core file"))
        #expect(try refusal("nothing image").exitStatus == 2)
        // Cut off: nothing is called definitely lost, and what is missing is listed.
        for file in ["short", "shorter"] {
            let cut = try refusal("\(file) image")
            #expect(cut.exitStatus == 2 || cut.output.contains("cut off") && cut.output.contains("definite          0"), "\(cut)")
        }
    }
}
