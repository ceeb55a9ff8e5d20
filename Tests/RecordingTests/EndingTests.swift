// Whatever a program's end, its image is complete: the 100,000 blocks that it leaked while two threads churned are
// exactly those, and of what the churning threads had in hand each block counts once.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct EndingTests {
    /// What `endings` leaks: each 1,000th block is of 5,000 bytes and its number, the others of 1 to 100.
    static let leaked: UInt64 = {
        var bytes: UInt64 = 0
        for number in 0 ..< UInt64(100_000) { bytes += number % 1000 == 0 ? 5000 + number : 1 + number % 100 }
        return bytes
    }()

    @Test(arguments: [
        ("return", 3), ("exit", 4), ("_exit", 5), ("quick_exit", 6), ("exit_group", 7), ("abort", 134), ("segv", 139),
        ("kill-self", 137), ("exec", 0),
    ])
    func theImageIsComplete(ending: String, status: Int32) throws {
        let recording = try Scratch().recordProgram("endings", [ending])
        #expect(recording.outcome.exitStatus == status)
        #expect(recording.outcome.output == "leaked\n")
        #expect(recording.outcome.messages.isEmpty)
        try check(try recording.image(of: "endings"))
    }

    @Test(arguments: 0 ..< 20)
    func aKillInTheMiddleOfChurnLosesNothing(round: Int) throws {
        let scratch = try Scratch()
        let running = try scratch.start(
            [try Built.program("endings"), "kill"], variables: scratch.recordingVariables())
        #expect(try eventually { try contents(running.outputPath) == "leaked\n" })
        usleep(UInt32(round * 1237 % 20_000))
        kill(running.pid, SIGKILL)
        let recording = Recording(scratch: scratch, outcome: try running.wait())
        #expect(recording.outcome.exitStatus == 137)
        try check(try recording.image(of: "endings"))
    }

    private func check(_ image: HeapImage) throws {
        let reduced = try Reduced(image)
        let held = reduced.holding("leak")
        #expect(held.blocks == 100_000 && held.bytes == Self.leaked, "\(held)")
        // Two or, after "leaked", three threads churn; none ever has more than one block.
        let churned = reduced.holding("churn_once")
        #expect(churned.blocks <= 3, "\(churned)")
        #expect(churned.allocatedBlocks == churned.freedBlocks + churned.blocks)
        #expect(reduced.reduction.inputs.allSatisfy { !$0.damaged })
        let losses = image.losses
        #expect(
            losses.lost_allocations == 0 && losses.unmatched_frees == 0 && losses.healed_slots == 0
                && losses.lost_stacks == 0)
        #expect(reduced.totals.history.map { $0.allocatedBlocks - $0.freedBlocks } == reduced.totals.liveBlocks)
        #expect(reduced.totals.history.map { $0.allocatedBytes - $0.freedBytes } == reduced.totals.liveBytes)
    }
}
