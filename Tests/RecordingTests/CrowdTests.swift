// Threads by the hundred thousand, and forks by the hundred: what the recorder keeps of them is bounded, and nothing of
// theirs is lost.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct CrowdTests {
    @Test(
        arguments: [("joined", 100_000), ("detached", 100_000), ("destructors", 50_000), ("cancelled", 300)]
            as [(String, UInt64)])
    func threadsComeAndGo(how: String, count: UInt64) throws {
        let recording = try Scratch().recordProgram("crowd", [how, "\(count)"])
        #expect(
            recording.outcome.output == "\(count) threads\nflat\n" && recording.outcome.exitStatus == 0,
            "\(recording.outcome)")
        let image = try recording.image(of: "crowd")
        let reduced = try Reduced(image)
        #expect(
            reduced.holding("leave")
                == Holding(bytes: 48 * count, blocks: count, allocatedBlocks: count, freedBlocks: 0))
        // Records are handed on: about as many as threads were ever alive at once, which eight and those that are just
        // ending are.
        #expect(image.threads().count < 400, "\(image.threads().count) records")
        #expect(reduced.holding("destroy").blocks == 0 && reduced.holding("work").blocks == 0)
        let losses = image.losses
        #expect(
            losses.ringless_events == 0 && losses.unmatched_frees == 0 && losses.healed_slots == 0
                && losses.cut_stacks == 0)
        #expect(reduced.totals.history.map { $0.allocatedBlocks - $0.freedBlocks } == reduced.totals.liveBlocks)
    }

    @Test func forksOfAThreadedProgramLeaveWhatTheyHold() throws {
        let recording = try Scratch().recordProgram("forks", ["300"], variables: ["HEAPSUM_SKIP": "true"])
        #expect(recording.outcome.output == "300 of 300 ended well\n" && recording.outcome.exitStatus == 0)
        let images = try recording.images(of: "forks").map(\.image)
        // The parent's, and one of each child that allocated: no litter of those that ended or went on to exec.
        #expect(images.count == 101)
        for image in images where image.hasFlag(HEAP_FLAG_FORKED) {
            let held = try Reduced(image).holding("child_leaves")
            #expect(held.blocks == 5 && held.bytes == 160, "PID \(image.header.pid): \(held)")
            #expect(image.damages.isEmpty && image.losses.lost_allocations == 0)
        }
        #expect(try recording.names(of: "true").isEmpty)
    }
}
