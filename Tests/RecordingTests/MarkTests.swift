// What a program asks for by heapsum.h, and dumps that nobody sends a signal for. All numbers are those of
// Tests/Programs/marks.c.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct MarkTests {
    /// Live blocks and bytes of what passes a filter.
    private func live(_ image: HeapImage, since: String? = nil, until: String? = nil) throws -> Holding {
        let reduction = Reduction()
        try reduction.add(image)
        var filter = BlockFilter()
        (filter.since, filter.until) = (since, until)
        // stdout's buffer is the C library's.
        return reduction.rows(filter).rows.filter { $0.bytes != 4096 }.reduce(into: Holding()) {
            $0.bytes += $1.bytes
            $0.blocks += $1.blocks
        }
    }

    @Test func marksPartTheBlocks() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("marks")
        #expect(recording.outcome.output == "done\n" && recording.outcome.exitStatus == 0)
        let image = try recording.image(of: "marks")
        let second = "second, with a name that is longer than"
        #expect(image.marks().map(\.name) == ["first", second] && second.utf8.count == 39)
        func expect(_ image: HeapImage) throws {
            #expect(try live(image, until: "first") == Holding(bytes: 3000, blocks: 3))
            #expect(try live(image, since: "first", until: second) == Holding(bytes: 10_000, blocks: 5))
            #expect(try live(image, since: second) == Holding(bytes: 21_000, blocks: 7))
            #expect(try live(image, since: "third") == Holding() && live(image, until: "third") == Holding())
            // Whoever looks at blocks one by one passes over the same ones.
            let reduction = Reduction()
            try reduction.add(image)
            var filter = BlockFilter()
            (filter.since, filter.until) = ("first", second)
            let sizes = reduction.distributions(of: reduction.rows, blocks: filter).all.sizes.filter { $0.blocks > 0 }
            #expect(sizes.map(\.blocks) == [5] && sizes.map(\.bytes) == [10_000])
        }
        try expect(image)
        // A packed copy has them too, and one cut off behind the header says so by having none.
        try image.pack(to: "\(scratch.path)/packed.heap")
        try expect(HeapImage(path: "\(scratch.path)/packed.heap"))
    }

    @Test func withoutTheRecorderNothingHappens() throws {
        let scratch = try Scratch()
        for words in [[], ["pause"], ["dump"], ["many", "3"]] {
            let outcome = try scratch.run([Built.program("marks")] + words)
            #expect(
                outcome.output == "done\n" && outcome.exitStatus == 0 && outcome.messages == "", "\(words): \(outcome)")
        }
    }

    @Test func theNewestMarksAreKept() throws {
        let scratch = try Scratch()
        let image = try scratch.recordProgram("marks", ["many", "100"]).image(of: "marks")
        #expect(image.marks().map(\.name) == (53 ... 100).map { "mark \($0)" } && image.header.marks == 100)
        #expect(
            image.mark(named: "mark 52") == nil && image.mark(named: "mark 77#1")?.number == 77
                && image.mark(named: "mark 77#2") == nil)
    }

    @Test func whatIsPausedIsCountedAndNotBooked() throws {
        let scratch = try Scratch()
        let image = try scratch.recordProgram("marks", ["pause"]).image(of: "marks")
        // Left: the second of 1,000 bytes, which became 1,500, and the one of 3,000.
        #expect(try live(image) == Holding(bytes: 4500, blocks: 2))
        let losses = image.losses
        #expect(
            losses.paused_allocations == 4 && losses.paused_bytes == 8000 && losses.paused_frees == 1
                && losses.unmatched_frees == 0)
    }

    @Test func aDumpFromWithinIsOfThatMoment() throws {
        let scratch = try Scratch()
        let images = try scratch.recordProgram("marks", ["dump"]).images(of: "marks")
        #expect(images.count == 2)
        let dump = try #require(images.first { $0.image.kind == .dump }),
            whole = try #require(images.first { $0.image.kind != .dump })
        #expect(
            try live(dump.image) == Holding(bytes: 5000, blocks: 1)
                && live(whole.image) == Holding(bytes: 10_000, blocks: 2))
    }

    @Test func aDumpEachTimeItGrew() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("marks", ["growth"], variables: ["HEAPSUM_DUMP_AT_GROWTH": "2000000"])
        #expect(recording.outcome.output == "done\n")
        let dumps = try recording.images(of: "marks").filter { $0.image.kind == .dump }.sorted {
            $0.image.header.dumps < $1.image.header.dumps
        }
        // At 2, 4, 6, 8 and 10 MB; then it fell, and passed 12 MB at its end.
        let held = try dumps.map { try live($0.image).bytes }
        #expect(held.count >= 5 && held.count <= 6, "\(held)")
        for (number, bytes) in held.enumerated() {
            let bound = UInt64(number + 1) * 2_000_000
            // Folded each megabyte at the latest.
            #expect(bytes >= bound && bytes <= bound + 1_200_000 * UInt64(number + 1), "\(held)")
        }
    }

    @Test func aDumpWhenAnAllocationFails() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("marks", ["failure"], variables: ["HEAPSUM_DUMP_AT_FAILURE": "1"])
        #expect(recording.outcome.output == "50 failures\ndone\n" && recording.outcome.exitStatus == 0)
        // Fifty failures within a minute are one dump.
        #expect(try recording.images(of: "marks").count { $0.image.kind == .dump } == 1)
        let without = try Scratch()
        #expect(
            try without.recordProgram("marks", ["failure"]).images(of: "marks").count { $0.image.kind == .dump } == 0)
        let odd = try Scratch()
        let wrong = try odd.recordProgram("marks", ["alignment"], variables: ["HEAPSUM_DUMP_AT_FAILURE": "1"])
        #expect(wrong.outcome.output == "2 failures\ndone\n")
        #expect(try wrong.images(of: "marks").count { $0.image.kind == .dump } == 0)
    }
}
