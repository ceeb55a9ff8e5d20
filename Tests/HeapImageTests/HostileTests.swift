// Images that were cut, flipped and made up: an error or damage, never a trap, a hang, or memory that
// the file doesn't bear out.

import CHeapImage
import HeapImage
import TestSupport
import Testing
import Text

@Suite struct Hostile {
    /// Everything that a reader asks of an image.
    private func readAll(_ bytes: [UInt8]) throws {
        let image = try HeapImage(MemorySource(bytes), presence: .gone)
        let census = try image.census()
        let nodes = image.nodes()
        for stack in census.stacks { _ = nodes.frames(from: stack.node) }
        _ = (image.modules(), image.timeline(), image.snapshot(0), image.program, image.arguments, image.allocator)
        _ = (image.damages.map(\.description), image.effectiveState)
    }

    private func small(_ kind: heap_kind) -> [UInt8] {
        var builder = sampleImage(kind, blocks: sampleBlocks(60, stacks: 6, seed: 5), stacks: 6)
        for number in UInt64(0) ..< 8 {
            builder.putEvent(
                thread: 0, number: number, kind: number % 2 == 0 ? HEAP_EVENT_ALLOCATED : HEAP_EVENT_FREED,
                address: 0x1000, slot: heap_slot_make(3, 0, 0), bytes: 8)
        }
        builder.threads[0].folded = 2
        builder.threads[0].in_flight.phase = 1
        return builder.bytes()
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_PACKED.rawValue])
    func everyByteOfTheHeader(kind: UInt32) {
        let bytes = small(heap_kind(rawValue: kind))
        var refused = 0
        for offset in 0 ..< MemoryLayout<heap_header>.size {
            for flip in [0x01, 0x80, 0xFF] as [UInt8] {
                var flipped = bytes
                flipped[offset] ^= flip
                do { try readAll(flipped) } catch { refused += 1 }
            }
        }
        // Magic, version, byte order, size and kind at the least.
        #expect(refused >= 3 * 20)
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_PACKED.rawValue])
    func everyCut(kind: UInt32) throws {
        let bytes = small(heap_kind(rawValue: kind))
        var random = SeededGenerator(seed: 21)
        let cuts = Array(0 ..< 1000) + (0 ..< 400).map { _ in Int.random(in: 1000 ..< bytes.count, using: &random) }
        for cut in cuts {
            let part = Array(bytes[..<cut])
            if cut < MemoryLayout<heap_header>.size {
                #expect(throws: InputError.self) { try readAll(part) }
            } else {
                try readAll(part)
            }
        }
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_PACKED.rawValue])
    func randomFlips(kind: UInt32) {
        let bytes = small(heap_kind(rawValue: kind))
        var random = SeededGenerator(seed: 99)
        for _ in 0 ..< 2000 {
            var flipped = bytes
            for _ in 0 ..< Int.random(in: 1 ... 24, using: &random) {
                flipped[Int.random(in: 0 ..< bytes.count, using: &random)] = UInt8.random(in: 0 ... 255, using: &random)
            }
            _ = try? readAll(flipped)
        }
    }

    @Test func whatIsLeftOfACutImageIsUsed() throws {
        let blocks = sampleBlocks(5000, stacks: 5, seed: 1)
        var bytes = sampleImage(HEAP_KIND_PACKED, blocks: blocks, stacks: 5).bytes()
        bytes.removeLast(24 * 1000)
        let image = try HeapImage(MemorySource(bytes, name: "cut.heap"), presence: .gone)
        #expect(try image.census().liveBlocks == 4000)
        #expect(image.damaged)
        #expect(image.damages.first?.lostBytes == 24_000)
        #expect(image.damages.first?.offset == UInt64(bytes.count))
    }

    @Test func errorsNameTheFileAndTheByte() {
        var bytes = small(HEAP_KIND_PACKED)
        let next = HEAP_VERSION + 1
        bytes[8] = UInt8(next)
        #expect {
            try HeapImage(MemorySource(bytes, name: "odd.heap"))
        } throws: { error in
            (error as? InputError).map {
                $0.file == "odd.heap" && $0.offset == 8
                    && $0.what.contains("version \(next); this tool reads versions 1 to \(HEAP_VERSION)")
            }
                ?? false
        }
        #expect(throws: InputError.self) { try HeapImage(path: "/nowhere/at/all.heap") }
        #expect(throws: InputError.self) { try HeapImage(path: "/tmp") }
        #expect(throws: InputError.self) { try HeapImage(path: "/dev/null") }
    }

    @Test func aCircleOfParentsIsCut() throws {
        var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
        let stack = builder.addStack([1, 2, 3])
        builder.addBlock(address: 0x1000, bytes: 1, stack: stack)
        var bytes = builder.bytes()
        // Node 1's parent becomes node 3: found by its frame, the outermost.
        let place = try #require(
            bytes.indices.first { index in
                index % 8 == 0 && index > 976
                    && Array(bytes[index ..< min(index + 12, bytes.count)]) == [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            })
        bytes[place + 8] = 3
        let image = try HeapImage(MemorySource(bytes), presence: .gone)
        #expect(image.nodes().frames(from: 3) == [1, 2, 3])
        #expect(image.damages.map(\.what) == ["a node's parent is not older than itself"])
    }
}
