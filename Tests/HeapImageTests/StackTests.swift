// Stacks as an image stores them: of either version the same is read, what is damaged harms nobody, and packing leaves
// out what never mattered without a sum that changes.

import CHeapImage
import HeapImage
import TestSupport
import Testing

@Suite struct Stacks {
    /// Stacks with all that a stack may have.
    private func builder(_ kind: heap_kind, version: UInt32) -> (builder: ImageBuilder, stacks: [UInt32]) {
        var builder = ImageBuilder(kind: kind)
        builder.version = version
        builder.header.peak_epoch = 7
        builder.header.snapshots = 4
        builder.header.peak_bytes = 900
        let stacks = (1 ... 4).map { builder.addStack([UInt64($0), 99]) }
        for (number, stack) in stacks.enumerated() {
            builder.addBlock(address: 0x1000 * UInt64(number + 1), bytes: 10, stack: stack)
            builder.count(stack, allocated: 40, bytes: 400, freed: 40, freedBytes: 400)
        }
        func change(_ number: Int, _ body: (inout heap_stack_1) -> Void) { body(&builder.stacks[Int(stacks[number])]) }
        change(0) {
            $0.peak = heap_level(bytes: 500, blocks: 5)
            $0.snapshots = 3
            $0.levels.0 = heap_level(bytes: 11, blocks: 1)
            $0.levels.1 = heap_level(bytes: 11, blocks: 1)
            $0.lifetimes.2 = 7
        }
        change(1) {
            $0.peak = heap_level(bytes: 400, blocks: 4)
            $0.lifetimes.0 = 3
            $0.lifetimes.10 = 30
            $0.temporary_blocks = 12
        }
        change(2) { $0.peak_epoch = 6 }
        return (builder, stacks)
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_DUMP.rawValue, HEAP_KIND_PACKED.rawValue])
    func bothVersionsSayTheSame(kind: UInt32) throws {
        let directory = try Scratch()
        let (old, stacks) = builder(heap_kind(rawValue: kind), version: HEAP_VERSION_1)
        let (new, _) = builder(heap_kind(rawValue: kind), version: HEAP_VERSION)
        let images = [try open(old), try open(new)]
        try images[0].pack(to: directory.file("a.heap"))
        try images[1].pack(to: directory.file("b.heap"))
        let copies = [try HeapImage(path: directory.file("a.heap")), try HeapImage(path: directory.file("b.heap"))]
        #expect(copies.allSatisfy { $0.header.version == HEAP_VERSION })
        let first = Int(stacks[0]), second = Int(stacks[1]), third = Int(stacks[2])
        for image in images + copies {
            let census = try image.census(), count = LifetimeClass.count
            #expect(census.stacks[first].peak == Level(bytes: 500, blocks: 5))
            #expect(census.stacks[second].peak == Level(bytes: 400, blocks: 4))
            #expect(census.stacks[third].peak == Level(bytes: 10, blocks: 1), "it has not changed since")
            #expect(census.stacks[Int(stacks[3])].peak == Level())
            #expect(census.stacks[second].temporaryBlocks == 12)
            #expect((0 ..< 4).map { image.snapshot($0)[first].bytes } == [11, 11, 0, 10])
            #expect(image.snapshot(0)[second] == Level(bytes: 10, blocks: 1))
            let lifetimes = image.lifetimes(census)
            #expect(Array(lifetimes[first * count ..< first * count + 4]) == [33, 0, 0, 7])
            #expect(lifetimes[second * count] == 7 && lifetimes[second * count + 1] == 3)
            #expect(lifetimes[second * count + 11] == 30)
            #expect(image.nodes().frames(from: census.stacks[second].node) == [2, 99])
            #expect(allBlocks(image) == allBlocks(images[0]))
            #expect(!image.damaged)
        }
    }

    @Test func aListOfSnapshotsThatRunsInACircleIsCut() throws {
        var (builder, stacks) = builder(HEAP_KIND_PACKED, version: HEAP_VERSION)
        builder.stacks[Int(stacks[3])].lifetimes.5 = 1
        var bytes = builder.bytes()
        let header = bytes.withUnsafeBytes { $0.loadUnaligned(as: heap_header.self) }
        let section = withUnsafeBytes(of: header.sections) {
            $0.loadUnaligned(fromByteOffset: Int(HEAP_SECTION_DETAILS.rawValue) * 40, as: heap_section.self)
        }
        // Entry 1 is the first stack's; its newest snapshot is entry 4, which is made to follow itself.
        let place = Int(section.offset) + 4 * Int(HEAP_DETAIL_BYTES)
        #expect(bytes[place] == 3 && bytes[place + 4] == 2, "the third snapshot")
        bytes[place] = 4
        var image = try HeapImage(MemorySource(bytes), presence: .gone)
        _ = try image.census()
        #expect(image.snapshot(2)[Int(stacks[0])] == Level())
        #expect(image.damaged)
        // And a reference past the section's end.
        bytes[place] = 0xFF
        image = try HeapImage(MemorySource(bytes), presence: .gone)
        #expect(image.snapshot(0)[Int(stacks[0])] == Level())
        #expect(image.damaged)
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_PACKED.rawValue])
    func stacksThatCameAndWentBecomeOneRow(kind: UInt32) throws {
        let directory = try Scratch()
        var builder = ImageBuilder(kind: heap_kind(rawValue: kind))
        builder.header.snapshots = 1
        var matters: [UInt32] = []
        for number in UInt64(0) ..< 20_000 {
            let stack = builder.addStack([1000 + number, 5 + number % 3, 7])
            builder.count(stack, allocated: 2, bytes: 64, freed: 2, freedBytes: 64)
            builder.stacks[Int(stack)].temporary_blocks = 1
            builder.stacks[Int(stack)].snapshots = 1
            guard number % 4000 == 17 else {
                builder.stacks[Int(stack)].lifetimes.1 = 1
                continue
            }
            matters.append(stack)
            switch matters.count {
            case 1: builder.addBlock(address: 0x5000, bytes: 100, stack: stack, tick: 3)
            case 2: builder.stacks[Int(stack)].peak = heap_level(bytes: 70, blocks: 1)
            case 3: builder.stacks[Int(stack)].levels.0 = heap_level(bytes: 80, blocks: 1)
            case 4: builder.count(stack, allocated: 1, bytes: 1 << 30, freed: 1, freedBytes: 1 << 30)
            default: builder.count(stack, allocated: 900, bytes: 900, freed: 900, freedBytes: 900)
            }
        }
        builder.header.peak_bytes = 100
        let thread = builder.addThread(tid: 9)
        for number in UInt64(0) ..< 2 { // one of a stack that goes, one of one that stays
            builder.putEvent(
                thread: thread, number: number, kind: HEAP_EVENT_FREED, address: 0x9000,
                slot: heap_slot_make(number == 0 ? matters[1] : matters[1] + 1, 0, 0), bytes: 1)
        }
        builder.threads[thread].folded = 2
        let source = try open(builder)
        let before = try source.census()
        try source.pack(to: directory.file("a.heap"))
        let packed = try HeapImage(path: directory.file("a.heap"))
        let after = try packed.census(), tree = packed.nodes()
        #expect(packed.header.gone_stacks == 20_000 - 5)
        // The two that name none and the empty one, those that matter, and the row for all others.
        #expect(after.stacks.count == 2 + 5 + 1)
        for sum in [\StackCounts.allocatedBlocks, \.allocatedBytes, \.freedBlocks, \.freedBytes, \.temporaryBlocks] {
            #expect(
                after.stacks.reduce(0) { $0 + $1[keyPath: sum] } == before.stacks.reduce(0) { $0 + $1[keyPath: sum] })
        }
        for (place, old) in matters.enumerated() {
            let stack = after.stacks[2 + place]
            #expect(tree.frames(from: stack.node) == source.nodes().frames(from: before.stacks[Int(old)].node))
            #expect(stack.peak == before.stacks[Int(old)].peak)
            #expect(packed.snapshot(0)[2 + place] == source.snapshot(0)[Int(old)])
        }
        #expect(tree.frames(from: after.stacks[7].node) == [heap_frame_make(UInt32(HEAP_MODULE_CUT), 2)])
        #expect(packed.lifetimes(after)[7 * LifetimeClass.count + 2] == 20_000 - 5)
        #expect(after.stacks[2].liveBytes == 100 && after.liveBlocks == 1)
        #expect(tree.count == 1 + 1 + 3 + 5 + 1, "the root, and what is left of the tree")
        #expect(!packed.damaged)
        // A copy of the copy says the same.
        try packed.pack(to: directory.file("b.heap"))
        let second = try HeapImage(path: directory.file("b.heap"))
        #expect(try second.census().stacks == after.stacks)
        #expect(second.header.gone_stacks == packed.header.gone_stacks)
    }
}
