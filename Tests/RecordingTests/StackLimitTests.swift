// More stacks than the recorder is to tell apart.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct StackLimits {
    private static let stacks: UInt64 = 4096

    @Test(arguments: ["own", "libunwind"]) func newStacksAreBookedUnderTheirKnownPart(how: String) throws {
        let recording = try Scratch().recordProgram(
            "varied", ["3"], variables: ["HEAPSUM_MAX_STACKS": "1000", "HEAPSUM_UNWIND": how])
        #expect(recording.outcome.output == "\(3 * Self.stacks) \(Self.stacks / 16)\n")
        let image = try recording.image(of: "varied"), reduced = try Reduced(image)
        let leaves = reduced.reduction.rows.filter { reduced.functions($0).first == "leaf" }
        let cut = reduced.reduction.rows.filter {
            reduced.reduction.frames(of: $0).first == Frame(module: SpecialModule.cut, offset: 1)
        }
        #expect(leaves.count > 900 && leaves.count <= 1000 && !cut.isEmpty)
        #expect(reduced.reduction.rows.count <= 1000 + 126 + 2)
        // Nothing is lost of the blocks, and each of an unknown stack is counted.
        func allocations(_ rows: [Row]) -> UInt64 { rows.reduce(0) { $0 + ($1.history?.allocatedBlocks ?? 0) } }
        let allocated = allocations(cut)
        #expect(allocations(leaves) + allocated == 3 * Self.stacks)
        #expect(image.losses.limited_allocations == allocated)
        let live: UInt64 = (leaves + cut).reduce(0) { $0 + $1.blocks }
        #expect(live == Self.stacks / 16)
        #expect(image.losses.lost_stacks == 0)
        // What is known of a cut stack is its outermost end.
        for row in cut {
            let names = reduced.functions(row)
            #expect(names.contains("main") && names.last == "_start" && !names.contains("leaf"), "\(names)")
        }
    }

    @Test func stacksWithinTheLimitAreAllTold() throws {
        let recording = try Scratch().recordProgram("varied", ["2"], variables: ["HEAPSUM_MAX_STACKS": "0"])
        let image = try recording.image(of: "varied"), reduced = try Reduced(image)
        let leaves = reduced.reduction.rows.filter { reduced.functions($0).first == "leaf" }
        #expect(leaves.count == Int(Self.stacks))
        let live = Self.stacks / 16, asked = 2 * Self.stacks
        let expected = Holding(bytes: 24 * live, blocks: live, allocatedBlocks: asked, freedBlocks: asked - live)
        #expect(reduced.holding("leaf") == expected)
        #expect(image.losses.limited_allocations == 0 && image.losses.lost_details == 0)
    }

    /// A stack's entry is all that it takes until it holds something at a peak.
    @Test func aStackThatCameAndWentTakesItsEntryAlone() throws {
        let image = try Scratch().recordProgram("varied", ["2"]).image(of: "varied")
        #expect(image.sections[SectionName.stacks.rawValue].entryBytes <= 72)
        #expect(image.sections[SectionName.details.rawValue].used < Self.stacks)
    }

    @Test(arguments: 0 ..< 20) func aKillWhileStacksAreMadeLosesNothing(round: Int) throws {
        let scratch = try Scratch()
        let running = try scratch.start(
            [try Built.program("varied"), "1000000"],
            variables: scratch.recordingVariables(["HEAPSUM_MAX_STACKS": round % 2 == 0 ? "0" : "1000"]))
        #expect(
            eventually {
                scratch.names.contains {
                    $0.hasPrefix("varied.") && (try? HeapImage(path: scratch.file($0))) != nil
                }
            })
        usleep(UInt32(round * 1237 % 20_000))
        kill(running.pid, SIGKILL)
        let recording = Recording(scratch: scratch, outcome: try running.wait())
        let image = try recording.image(of: "varied"), census = try image.census()
        #expect(census.settledBlocks <= 1, "one event was half folded at the most")
        #expect(census.liveBlocks <= 1 && !image.damaged)
        for stack in census.stacks { #expect(stack.allocatedBlocks == stack.freedBlocks + stack.liveBlocks) }
        let lost = image.losses
        #expect(lost.lost_allocations == 0 && lost.unmatched_frees == 0 && lost.healed_slots == 0)
    }
}
