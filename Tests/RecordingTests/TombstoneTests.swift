// The blind tombstone on paper (docs/tombstone.md): a model of its stores, in all orders of two threads.

import TestSupport
import Testing

@Suite struct TombstoneTests {
    private func run(_ fault: String = "") throws -> Outcome {
        let scratch = try Scratch()
        try scratch.prepare("cc -std=gnu17 -O2 -o tombstone '\(Built.root)/Tests/Programs/tombstone.c'")
        return try scratch.run(["./tombstone"] + (fault.isEmpty ? [] : [fault]))
    }

    @Test func aReaderIsRightAfterAKillInAnyOrder() throws {
        let outcome = try run()
        #expect(outcome.exitStatus == 0 && outcome.output.hasPrefix("exact: "), "\(outcome)")
        // It is no proof where nothing was explored; and some frees are counted by a thread that doesn't know when.
        let numbers = outcome.output.split { !$0.isNumber }.compactMap { Int($0) }
        #expect(numbers.count == 3 && numbers[0] > 10000 && numbers[2] > 0, "\(outcome.output)")
    }

    /// Each rule is needed: without it there is an order in which a reader is wrong.
    @Test(arguments: ["plain-publish", "no-journal", "stale-entry", "head-first", "take-and-lose"])
    func withoutARuleAReaderIsWrong(fault: String) throws {
        let outcome = try run(fault)
        #expect(outcome.exitStatus == 1 && outcome.output.hasPrefix("wrong: "), "\(outcome)")
    }
}
