// heapsum_tag: the blocks of a thread have the tag that it had set. All numbers are those of Tests/Programs/tags.c,
// where each size belongs to one tag.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct TagTests {
    /// What was allocated, by tag and mean size: all of these blocks have one size.
    private struct Count: Equatable { var blocks: UInt64 = 0, bytes: UInt64 = 0 }

    private func reduce(_ image: HeapImage) throws -> Reduction {
        let reduction = Reduction()
        try reduction.add(image)
        #expect(reduction.inputs.allSatisfy { !$0.damaged }, "\(image.damages)")
        // Each text is in the image once.
        let frames = Set(image.nodes().frames.filter { heap_frame_module($0) == HEAP_MODULE_TAG })
        #expect(Set(frames.map { image.tag($0) }).count == frames.count)
        return reduction
    }

    /// The tag of the live block of each of these sizes.
    private func tags(_ image: HeapImage, _ sizes: [UInt64]) throws -> [UInt64: String] {
        let reduction = try reduce(image)
        var result: [UInt64: String] = [:]
        for row in reduction.rows where row.blocks == 1 && sizes.contains(row.bytes) {
            #expect(result[row.bytes] == nil)
            result[row.bytes] = reduction.tag(of: row)?.description ?? "none"
        }
        return result
    }

    private func allocated(_ reduction: Reduction) -> [StackTag?: Count] {
        var sums: [StackTag?: Count] = [:]
        for row in reduction.rows {
            sums[reduction.tag(of: row), default: Count()].blocks += row.history?.allocatedBlocks ?? 0
            sums[reduction.tag(of: row), default: Count()].bytes += row.history?.allocatedBytes ?? 0
        }
        return sums
    }

    private func tag(_ text: String) -> StackTag { .text(Array(text.utf8)) }

    @Test(arguments: [
        [:], ["HEAPSUM_UNWIND": "fp"], ["HEAPSUM_UNWIND": "libunwind"], ["HEAPSUM_VERIFY": "1"], ["HEAPSUM_DEPTH": "1"],
        ["HEAPSUM_THREADS": "1"], ["HEAPSUM_THREADS": "1", "HEAPSUM_UNWIND": "libunwind", "HEAPSUM_DEPTH": "2"],
        ["HEAPSUM_CHECK": "1"],
    ]) func eachBlockHasItsThreadsTag(variables: [String: String?]) throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("tags", variables: variables)
        #expect(recording.outcome.output == "done\n" && recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let image = try recording.image(of: "tags")
        #expect(image.hasFlag(HEAP_FLAG_TAGS))
        func expectTags(_ image: HeapImage) throws {
            let reduction = try reduce(image)
            var sums: [StackTag?: Count] = [:]
            for row in reduction.rows {
                sums[reduction.tag(of: row), default: Count()].blocks += row.blocks
                sums[reduction.tag(of: row), default: Count()].bytes += row.bytes
            }
            #expect(sums[tag("tenant 42")] == Count(blocks: 3, bytes: 200 + 400 + 600), "\(variables)")
            #expect(sums[tag("query \"a\"")] == Count(blocks: 2, bytes: 300 + 5000), "\(variables)")
            // And the buffer of stdout.
            #expect(sums[nil].map { $0.blocks == 3 && $0.bytes > 500 + 700 } == true && sums.count == 3, "\(sums)")
        }
        try expectTags(image)
        if variables["HEAPSUM_VERIFY"] != nil {
            #expect(image.header.verified_stacks > 0 && image.header.differing_stacks == 0)
            #expect(image.header.shorter_stacks == 0)
        }
        // A packed copy has them, too.
        try image.pack(to: "\(scratch.path)/packed.heap")
        try expectTags(HeapImage(path: "\(scratch.path)/packed.heap"))
    }

    @Test func withoutTheRecorderNothingHappens() throws {
        let scratch = try Scratch()
        for words in [[], ["threads", "4"], ["fork"], ["many", "5000"], ["long"]] {
            let outcome = try scratch.run([Built.program("tags")] + words)
            #expect(outcome.output == "done\n" && outcome.exitStatus == 0 && outcome.messages == "", "\(outcome)")
        }
        // Nor does an image have the flag whose program sets no tag.
        let plain = try Scratch()
        #expect(try !plain.recordProgram("marks").image(of: "marks").hasFlag(HEAP_FLAG_TAGS))
    }

    @Test func threadsDoNotMixTheirTags() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("tags", ["threads", "8"])
        #expect(recording.outcome.output == "done\n")
        let sums = allocated(try reduce(recording.image(of: "tags")))
        #expect(sums[tag("shared")] == Count(blocks: 8000, bytes: 256_000))
        for worker in 0 ..< 8 { #expect(sums[tag("worker \(worker)")] == Count(blocks: 2000, bytes: 160_000 / 2)) }
        #expect(sums.count == 10) // and none
    }

    // Half the blocks are of 16 bytes, so nearly each is drawn with this interval.
    @Test func sampledBlocksHaveTheirTags() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("tags", ["threads", "4"], variables: ["HEAPSUM_SAMPLE": "64"])
        let image = try recording.image(of: "tags")
        #expect(image.header.sample_interval == 64)
        let sums = allocated(try reduce(image))
        for worker in 0 ..< 4 {
            let bytes = sums[tag("worker \(worker)")]?.bytes ?? 0
            #expect(bytes > 60_000 && bytes < 100_000, "\(bytes)")
        }
        #expect(sums[tag("shared")].map { $0.bytes > 100_000 && $0.bytes < 156_000 } == true, "\(sums)")
    }

    @Test func aForksChildGoesOnUnderTheTag() throws {
        let scratch = try Scratch()
        let images = try scratch.recordProgram("tags", ["fork"]).images(of: "tags").map(\.image)
        #expect(images.count == 2)
        let parent = try #require(images.first { !$0.hasFlag(HEAP_FLAG_FORKED) }),
            child = try #require(images.first { $0.hasFlag(HEAP_FLAG_FORKED) })
        #expect(try tags(parent, [1000, 5000]) == [1000: "of the parent", 5000: "of the parent"])
        #expect(
            try tags(child, [2000, 3000, 4000])
                == [2000: "of the parent", 3000: "of the child", 4000: "of the parent"])
    }

    @Test func tagsBeyondTheLimitAreCountedTogether() throws {
        let scratch = try Scratch()
        let image = try scratch.recordProgram("tags", ["many", "5000"]).image(of: "tags")
        let reduction = try reduce(image)
        let sums = allocated(reduction)
        #expect(sums.keys.count { if case .text = $0 { true } else { false } } == Int(HEAP_TAGS_MOST))
        #expect(sums[tag("tag number 0")] == Count(blocks: 2, bytes: 787))
        #expect(sums[tag("tag number 4095")] == Count(blocks: 1, bytes: 10))
        #expect(sums[tag("tag number 4096")] == nil)
        #expect(sums[.more] == Count(blocks: 905, bytes: 9040 + 888))
        #expect(reduction.tagsBeyondLimit.map { $0.blocks == 905 && $0.bytes == 9928 } == true)
    }

    @Test func longTagsKeepTheirBeginning() throws {
        let scratch = try Scratch()
        let image = try scratch.recordProgram("tags", ["long"]).image(of: "tags")
        #expect(
            try tags(image, [255, 256, 300]) == [
                255: String(repeating: "a", count: 255), 256: String(repeating: "a", count: 252) + "…",
                300: String(repeating: "ä", count: 126) + "…",
            ])
    }

    @Test func handlersHaveTagsOfTheirOwn() throws {
        let scratch = try Scratch()
        try scratch.prepare("cc -O1 -shared -fPIC -fno-builtin -o bump.so '\(Built.root)/Tests/Programs/bump.c'")
        let recording = try scratch.recordProgram(
            "tags", ["signals", "1500"], variables: ["LD_PRELOAD": "\(Built.interposer):\(scratch.path)/bump.so"])
        #expect(recording.outcome.output == "done\n" && recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let sums = allocated(try reduce(recording.image(of: "tags")))
        for (name, size) in [("odd", 24), ("even", 40), ("handler", 48)] as [(String, UInt64)] {
            let count = try #require(sums[tag(name)])
            #expect(count.blocks > 50 && count.bytes == count.blocks * size, "\(name): \(count)")
        }
        #expect(sums[tag("even")]?.blocks == (sums[tag("odd")]?.blocks).map { $0 * 2 })
    }

    // A tag is in the image whole before the first node that has it.
    @Test func aKilledProgramLeavesWholeTags() throws {
        for round in 0 ..< 8 {
            let scratch = try Scratch()
            let running = try scratch.start(
                [try Built.program("tags"), "endless"], variables: scratch.recordingVariables())
            _ = eventually {
                guard let name = scratch.names.first(where: { $0.hasPrefix("tags.") && $0.hasSuffix(".heap") }) else {
                    return false
                }
                guard let image = try? HeapImage(path: "\(scratch.path)/\(name)") else { return false }
                return image.nodes().frames.count > 100 * round
            }
            kill(running.pid, SIGKILL)
            let outcome = try running.wait()
            let reduction = try reduce(Recording(scratch: scratch, outcome: outcome).image(of: "tags"))
            for row in reduction.rows {
                guard case .text(let bytes)? = reduction.tag(of: row) else { continue }
                let parts = bytes.split(separator: 0x20)
                #expect(bytes.count == 200 && parts.count == 2 && parts[1].allSatisfy { $0 == 0x78 })
            }
        }
    }
}
