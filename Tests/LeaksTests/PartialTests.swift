// Many threads; and what can't be read whole: it is said, and accuses nobody.

import Glibc
import TestSupport
import Testing

@Suite struct PartialTests {
    @Test(arguments: [1, 300]) func eachThreadHoldsItsOwn(count: Int) throws {
        let rows = try Watched([try leaksProgram("threads"), String(count)]).rows()
        #expect(rows.sum("definite") == [count, count * 48])
        #expect(rows.sum("possible") == [0, 0])
        for size in [64, 80] {
            let own = rows.filter { $0.bytes == size * count && $0.blocks == count }
            #expect(own.map(\.verdict) == ["reachable"], "\(size)")
        }
    }

    private func expectPossible(_ outcome: Outcome, _ reason: String) {
        #expect(
            outcome.exitStatus == 0 && outcome.output.contains("Not whole:") && outcome.output.contains(reason),
            "\(outcome)")
        #expect(
            outcome.output.contains("definite          0") && outcome.output.contains("4,000        1   possible"),
            "\(outcome)")
    }

    @Test func aThreadThatWillNotStop() throws {
        let watched = try Watched([try leaksProgram("partly"), "vfork"])
        expectPossible(try watched.leaks(), "sleeps uninterruptibly")
        let json = try watched.leaks(["--format", "json"])
        #expect(json.output.contains("\"whole\":false") && json.messages.contains("Not whole"), "\(json)")
    }

    @Test func aProcessThatInheritedBlocks() throws {
        let watched = try Watched([try leaksProgram("partly"), "fork"])
        let child = try #require(try watched.lines().first)
        expectPossible(try watched.scratch.run([Built.products + "/heapsum", "leaks", child]), "inherited by fork")
    }
}
