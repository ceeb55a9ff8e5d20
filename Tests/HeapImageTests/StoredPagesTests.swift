// The pages of a program's end in an image, and each thread's largest freed mapped block: what is stored comes back and
// stays through further packing, and hostile entries are passed over and said.

import CHeapImage
import HeapImage
import TestSupport
import Testing

@Suite struct StoredPagesTests {
    private static let runs: [Range<UInt64>] = [0x1000 ..< 0x3000, 0x7F00_0000_0000 ..< 0x7F00_0001_0000]

    private func packed(_ runs: [Range<UInt64>], _ directory: Scratch) throws -> String {
        let source = try open(sampleImage(HEAP_KIND_RUNNING, blocks: sampleBlocks(50, stacks: 3, seed: 4), stacks: 3))
        #expect(!source.hasPages && source.storedPages() == nil)
        var options = PackOptions()
        options.pages = runs
        try source.pack(to: directory.file("a.heap"), options: options)
        return directory.file("a.heap")
    }

    @Test(arguments: [runs, []]) func whatIsStoredComesBack(runs: [Range<UInt64>]) throws {
        let directory = try Scratch(), image = try HeapImage(path: packed(runs, directory))
        #expect(image.storedPages() == runs && image.damages.isEmpty)
        try image.pack(to: directory.file("b.heap"))
        let again = try HeapImage(path: directory.file("b.heap"))
        #expect(again.storedPages() == runs && allBlocks(again) == allBlocks(image))
    }

    @Test(arguments: [0, 1, 0x1800, UInt64.max - 4095, 0x7F00_0000_8000])
    func hostileRunsAreNotBelieved(start: UInt64) throws {
        let directory = try Scratch(), path = try packed(Self.runs, directory)
        let file = try FileSource(path: path)
        var bytes = [UInt8](repeating: 0, count: Int(file.length))
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        try #require(count == bytes.count)
        let image = try bytes.withUnsafeMutableBytes { raw in
            let place = try #require(
                (0 ..< raw.count - 8).first {
                    raw.loadUnaligned(fromByteOffset: $0, as: UInt64.self) == Self.runs[1].lowerBound
                })
            raw.storeBytes(of: start, toByteOffset: place, as: UInt64.self)
            return try HeapImage(MemorySource(Array(raw), name: "hostile.heap"), presence: .gone)
        }
        // A run in order, wherever it is, is a run.
        if start == 0x7F00_0000_8000 { return #expect(image.storedPages()?.count == 2) }
        #expect(image.storedPages() == nil && !image.damages.isEmpty, "\(image.damages)")
        #expect(allBlocks(image).count == 50)
    }

    @Test func freedMappedBlocks() throws {
        var builder = sampleImage(HEAP_KIND_RUNNING, blocks: sampleBlocks(50, stacks: 3, seed: 4), stacks: 3)
        func thread(_ stack: UInt32, _ bytes: UInt64, freed: UInt32, timesOf other: UInt64? = nil) -> heap_thread {
            var thread = heap_thread()
            thread.mapped_word = heap_mapped_word(stack, bytes / 16)
            thread.mapped_times = heap_mapped_times(freed, 5, (other ?? bytes) / 16)
            return thread
        }
        // The last three: being changed, of a stack that isn't there, of none.
        builder.threads = [
            thread(2, 5 << 20, freed: 90), thread(3, 5 << 20, freed: 80), thread(2, 32 << 20, freed: 7),
            thread(2, 9 << 20, freed: 1, timesOf: 8 << 20), thread(1 << 20, 9 << 20, freed: 1), thread(0, 64, freed: 1),
        ]
        builder.rings = Array(repeating: heap_ring(), count: builder.threads.count)
        let image = try open(builder)
        let wanted = [
            FreedMapped(chunkBytes: 32 << 20, stack: 2, allocatedMilliseconds: 5, freedMilliseconds: 7),
            FreedMapped(chunkBytes: 5 << 20, stack: 3, allocatedMilliseconds: 5, freedMilliseconds: 80),
            FreedMapped(chunkBytes: 5 << 20, stack: 2, allocatedMilliseconds: 5, freedMilliseconds: 90),
        ]
        #expect(image.freedMapped() == wanted)
        let directory = try Scratch()
        try image.pack(to: directory.file("a.heap"))
        #expect(try HeapImage(path: directory.file("a.heap")).freedMapped() == wanted)
    }
}
