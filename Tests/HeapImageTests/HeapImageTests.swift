// Reading: both shapes, the tree's laws, ages, and what a finished program's counters come to.

import CHeapImage
import HeapImage
import Proc
import TestSupport
import Testing

/// A description of blocks that both shapes are made from.
struct SampleBlock { var address: UInt64, bytes: UInt64, stack: UInt32, tick: UInt32 }

func sampleBlocks(_ count: Int, stacks: Int, seed: UInt64) -> [SampleBlock] {
    var random = SeededGenerator(seed: seed)
    var address: UInt64 = 0x5555_0000_0010
    return (0 ..< count).map { _ in
        let bytes: UInt64 =
            switch UInt32.random(in: 0 ..< 20, using: &random) {
            case 0: .random(in: 131_072 ..< 1_000_000, using: &random)
            case 1: .random(in: 8192 ..< 100_000, using: &random)
            case 2, 3: .random(in: 500 ..< 8192, using: &random)
            default: .random(in: 0 ..< 500, using: &random)
            }
        defer { address += max(32, (bytes + 8 + 15) & ~15) }
        return SampleBlock(
            address: address, bytes: bytes, stack: .random(in: 2 ..< UInt32(stacks + 2), using: &random),
            tick: .random(in: 0 ..< 60_000, using: &random))
    }
}

func sampleImage(_ kind: heap_kind, blocks: [SampleBlock], stacks: Int) -> ImageBuilder {
    var builder = ImageBuilder(kind: kind)
    let module = builder.addModule("/usr/bin/sample", buildID: [1, 2, 3, 4], bias: 0x5000_0000)
    let library = builder.addModule("/lib/libc.so.6", buildID: [9, 8, 7])
    for index in 0 ..< stacks {
        let frames = [
            heap_frame_make(library, 0x1000), heap_frame_make(module, UInt64(0x2000 + index * 16)),
            heap_frame_make(module, 0x3000 + UInt64(index % 7)), heap_frame_make(library, 0x29D90),
        ]
        _ = builder.addStack(frames)
    }
    for block in blocks {
        builder.addBlock(address: block.address, bytes: block.bytes, stack: block.stack, tick: block.tick)
    }
    _ = builder.addThread(tid: 4242)
    builder.timeline = (0 ..< 50).map {
        heap_sample(time_ns: UInt64($0 + 1) * 10_000_000, live_bytes: 1, live_blocks: 1, rss_bytes: 0)
    }
    return builder
}

func open(_ builder: ImageBuilder, presence: Presence? = .gone) throws -> HeapImage {
    try HeapImage(MemorySource(builder.bytes(), name: "sample.heap"), presence: presence)
}

func allBlocks(_ image: HeapImage) -> [LiveBlock] {
    var blocks: [LiveBlock] = []
    image.forEachBlock { batch in for index in batch.indices { blocks.append(batch[index]) } }
    return blocks.sorted { ($0.address, $0.bytes) < ($1.address, $1.bytes) }
}

@Suite struct Reading {
    @Test(arguments: [HEAP_KIND_RUNNING, HEAP_KIND_DUMP, HEAP_KIND_PACKED].map(\.rawValue))
    func everyBlockIsThereOnce(kind: UInt32) throws {
        let blocks = sampleBlocks(5000, stacks: 40, seed: 7)
        let image = try open(sampleImage(heap_kind(rawValue: kind), blocks: blocks, stacks: 40))
        let read = allBlocks(image)
        #expect(read.count == blocks.count)
        for (one, other) in zip(read, blocks) {
            #expect(one == LiveBlock(address: other.address, bytes: other.bytes, stack: other.stack, tick: other.tick))
        }
        #expect(image.damages.isEmpty)
    }

    @Test(arguments: [HEAP_KIND_RUNNING, HEAP_KIND_PACKED].map(\.rawValue))
    func censusIsTheSumOfTheBlocks(kind: UInt32) throws {
        let blocks = sampleBlocks(3000, stacks: 25, seed: 11)
        let image = try open(sampleImage(heap_kind(rawValue: kind), blocks: blocks, stacks: 25))
        let census = try image.census()
        for stack in 2 ..< UInt32(27) {
            let own = blocks.filter { $0.stack == stack }
            let counts = census.stacks[Int(stack)]
            #expect(counts.liveBlocks == UInt64(own.count))
            #expect(counts.liveBytes == own.reduce(0) { $0 + $1.bytes })
            #expect(counts.oldestTick == own.map(\.tick).min() ?? .max)
            #expect(counts.newestTick == own.map(\.tick).max() ?? 0)
            #expect(counts.allocatedBlocks == UInt64(own.count))
        }
        #expect(census.liveBytes == blocks.reduce(0) { $0 + $1.bytes })
        #expect(census.settledBlocks == 0)
    }

    @Test func factsAreRead() throws {
        var builder = sampleImage(HEAP_KIND_PACKED, blocks: [], stacks: 3)
        builder.header.losses.lost_allocations = 7
        let image = try open(builder)
        #expect(image.program == "/usr/bin/sample")
        #expect(image.programName == "sample")
        #expect(image.arguments == ["sample", "--all"])
        #expect(image.allocator == "/lib/x86_64-linux-gnu/libc.so.6")
        #expect(image.identity.processID == 4242)
        #expect(image.state == .exited)
        #expect(image.lostEvents == 7)
        #expect(image.timeline().count == 50)
        let modules = image.modules()
        #expect(modules.map(\.baseName) == ["", "sample", "libc.so.6"])
        #expect(modules[1].buildID == [1, 2, 3, 4])
        #expect(image.nodes().frames(from: 4).count == 4)
    }

    @Test func timelineDropsWhatDoesNotGoOn() throws {
        var builder = sampleImage(HEAP_KIND_PACKED, blocks: [], stacks: 1)
        builder.timeline = [10, 20, 20, 15, 30].map {
            heap_sample(time_ns: $0, live_bytes: 0, live_blocks: 0, rss_bytes: 0)
        }
        #expect(try open(builder).timeline().map(\.nanoseconds) == [10, 20, 30])
    }

    @Test func aProgramOfAnotherBootIsGone() throws {
        let builder = sampleImage(HEAP_KIND_RUNNING, blocks: [], stacks: 1)
        let image = try open(builder, presence: nil)
        #expect(image.presence == .gone)
        #expect(image.effectiveState == .unknown)
    }

    /// Another thread's free was folded before the allocation, and a peak and a snapshot fell in between.
    @Test func aCopyBelowZeroHeldNothing() throws {
        var builder = ImageBuilder(kind: HEAP_KIND_RUNNING)
        let stack = builder.addStack([1])
        builder.addBlock(address: 0x1000, bytes: 40, stack: stack)
        builder.header.peak_bytes = 1000
        builder.header.snapshots = 1
        let below = heap_level(bytes: 0 &- 64, blocks: 0 &- 1)
        builder.stacks[Int(stack)].peak = below
        builder.stacks[Int(stack)].snapshots = 1
        builder.stacks[Int(stack)].levels.0 = below
        let image = try open(builder)
        #expect(try image.census().stacks[Int(stack)].peak == Level())
        #expect(image.snapshot(0)[Int(stack)] == Level())
    }

    @Test func peakAndSnapshotsAreCopiedLazily() throws {
        var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
        let changed = builder.addStack([1]), unchanged = builder.addStack([2])
        builder.header.peak_epoch = 5
        builder.header.snapshots = 2
        builder.header.peak_bytes = 170
        builder.addBlock(address: 0x1000, bytes: 10, stack: changed)
        builder.addBlock(address: 0x2000, bytes: 70, stack: unchanged)
        builder.stacks[Int(changed)].peak_epoch = 5
        builder.stacks[Int(changed)].peak = heap_level(bytes: 100, blocks: 3)
        builder.stacks[Int(changed)].snapshots = 1
        builder.stacks[Int(changed)].levels.0 = heap_level(bytes: 55, blocks: 2)
        let image = try open(builder)
        let census = try image.census()
        #expect(census.stacks[Int(changed)].peak == Level(bytes: 100, blocks: 3))
        #expect(census.stacks[Int(unchanged)].peak == Level(bytes: 70, blocks: 1))
        #expect(image.snapshot(0)[Int(changed)] == Level(bytes: 55, blocks: 2))
        #expect(image.snapshot(1)[Int(changed)] == Level(bytes: 10, blocks: 1))
        #expect(image.snapshot(0)[Int(unchanged)] == Level(bytes: 70, blocks: 1))
        #expect(image.snapshot(2).isEmpty)
    }
}
