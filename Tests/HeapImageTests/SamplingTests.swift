// What sampled blocks stand for, against libm; and sampled images made by the image builder.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing

@Suite struct Weights {
    @Test func chancesAreLibms() {
        var size: UInt64 = 0
        while size < 1 << 47 {
            for interval in [1, 2, 7, 512, 524_288, 1_000_003, UInt64(HEAP_SAMPLE_MOST)] {
                let expected = -expm1(-Double(max(size, 1)) / Double(interval))
                let chance = Double(heap_sample_chance(size, interval)) / Double(HEAP_SAMPLE_ONE)
                #expect(abs(chance / expected - 1) < 1e-9, "\(size) of \(interval)")
                let blocks = Double(heap_counted_blocks(size, interval)) / Double(BlockWeight.unit)
                #expect(abs(blocks * expected - 1) < 0.0005, "\(size) of \(interval)")
                // Rounded to a byte.
                let bytes = Double(heap_counted_bytes(size, interval)), ideal = Double(size) / expected
                #expect(abs(bytes - ideal) <= 0.5 + ideal * 2e-6, "\(size) of \(interval): \(bytes), not \(ideal)")
            }
            size = size < 64 ? size + 1 : size * 5 / 4
        }
        #expect(heap_counted_bytes(100, 0) == 100 && heap_counted_blocks(100, 0) == 1)
        #expect(heap_counted_bytes(.max, 1) == .max && heap_counted_blocks(.max, 512) == BlockWeight.unit)
        #expect(heap_counted_bytes(0, 512) == 0)
    }

    private func sampled(_ kind: heap_kind, version: UInt32 = HEAP_VERSION) -> ImageBuilder {
        var builder = ImageBuilder(kind: kind)
        builder.version = version
        builder.header.sample_interval = 4096
        let stack = builder.addStack([1, 2])
        builder.addBlock(address: 0x1000, bytes: 64, stack: stack, counted: false)
        builder.addBlock(address: 0x2000, bytes: 1 << 20, stack: stack, counted: false)
        builder.count(
            stack, allocated: heap_counted_blocks(64, 4096) + BlockWeight.unit,
            bytes: heap_counted_bytes(64, 4096) + 1 << 20)
        return builder
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_DUMP.rawValue, HEAP_KIND_PACKED.rawValue])
    func aBlockCountsForThoseThatWereNotDrawn(kind: UInt32) throws {
        let image = try open(sampled(heap_kind(rawValue: kind)))
        let census = try image.census()
        // 1 / (1 - exp(-64 / 4096)) is 64.5.
        #expect(census.liveRecords == 2 && census.liveBlocks == 66, "\(census.liveBlocks)")
        #expect(census.liveBytes == 1 << 20 + 4128)
        #expect(census.stacks[2].allocatedBlocks == 66 && census.settledBlocks == 0)
        #expect(abs(census.variance.errorBlocks - 64) < 0.5, "\(census.variance.errorBlocks)")
        #expect(abs(census.variance.errorBytes - 64 * 64) < 32, "the large block is there for certain")
    }

    @Test func olderImagesAreWhole() throws {
        for version in [HEAP_VERSION_1, HEAP_VERSION_2] {
            let image = try open(sampled(HEAP_KIND_PACKED, version: version))
            #expect(!image.isSampled && !image.damaged)
            #expect(try image.census().liveBlocks == 2)
        }
    }

    @Test func anImageOfVersion3KnowsNoPython() throws {
        var builder = sampled(HEAP_KIND_PACKED, version: HEAP_VERSION_3)
        builder.header.python = 0x030B_02F1
        let image = try open(builder)
        #expect(image.isSampled && image.header.python == 0 && image.header.unmixed_stacks == 0 && !image.damaged)
    }

    @Test func anIntervalThatCannotBeIsRefused() {
        var builder = sampled(HEAP_KIND_PACKED)
        builder.header.sample_interval = HEAP_SAMPLE_MOST + 1
        #expect(throws: (any Error).self) { try open(builder) }
    }
}
