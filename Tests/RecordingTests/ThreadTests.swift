// Threads against each other: blocks that one allocates and another frees, and dumps that are taken meanwhile.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct ThreadTests {
    @Test func threeRacingThreadsLeaveExactlyWhatTheyLeave() throws {
        let recording = try Scratch().recordProgram("race")
        #expect(recording.outcome.output == "done\n")
        let image = try recording.image(of: "race")
        let reduced = try Reduced(image)
        #expect(reduced.holding("leave") == Holding(bytes: 20_000, blocks: 500, allocatedBlocks: 500, freedBlocks: 0))
        for thread in ["first", "third"] {
            let held = reduced.holding(thread)
            #expect(
                held.blocks == 0 && held.allocatedBlocks == held.freedBlocks && held.allocatedBlocks >= 500_000,
                "\(thread): \(held)")
        }
        #expect(image.losses.unmatched_frees == 0 && image.losses.healed_slots == 0)
    }

    @Test func aDumpHoldsEachSteadyBlockOnce() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo input")
        let running = try scratch.start(
            [try Built.program("steady")], variables: scratch.recordingVariables(), input: scratch.path + "/input")
        #expect(try eventually { try contents(running.outputPath).hasPrefix("ready") })
        for number in 1 ... 10 {
            kill(running.pid, SIGUSR2)
            let path = "\(scratch.path)/steady.\(running.pid).\(number).heap"
            #expect(eventually { access(path, R_OK) == 0 }, "dump \(number) never came")
            let image = try HeapImage(path: path)
            #expect(image.kind == .dump)
            var addresses: Set<UInt64> = [], blocks = 0
            image.forEachBlock { batch in
                for index in batch.indices {
                    addresses.insert(batch[index].address)
                    blocks += 1
                }
            }
            let reduced = try Reduced(image)
            #expect(reduced.holding("hold").blocks == 20_000)
            // What the four threads had in hand: a block, twice where it was reallocated while its slot was read.
            let others = reduced.holding("work", anywhere: true).blocks - 20_000
            #expect(others <= 8, "\(others) blocks beside the steady ones")
            #expect(blocks - addresses.count <= 4, "addresses that stand twice: \(blocks - addresses.count)")
            #expect(reduced.reduction.inputs.allSatisfy { !$0.damaged }, "\(image.damages)")
        }
        kill(running.pid, SIGKILL)
        _ = try running.wait()
        let leftovers = try scratch.shell("ls -A").output.split(separator: "\n").filter { $0.hasPrefix(".steady") }
        #expect(leftovers.isEmpty, "half-written dumps: \(leftovers)")
    }
}
