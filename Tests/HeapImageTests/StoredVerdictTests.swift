// A verdict in an image: what is stored comes back and agrees with the blocks, stays through further packing, and
// hostile entries are passed over and said.

import CHeapImage
import HeapImage
import TestSupport
import Testing

@Suite struct StoredVerdictTests {
    private func verdict() -> VerdictToStore {
        var known = StoredVerdict()
        known.holders = [
            StoredHolder(
                name: "global größe (app)", stack: nil, isSharedByRoots: false, depth: 0, own: Amount(),
                kept: Amount(blocks: 9, bytes: 900)),
            StoredHolder(
                name: "", stack: 2, isSharedByRoots: false, depth: 1, own: Amount(blocks: 3, bytes: 300),
                kept: Amount(blocks: 9, bytes: 900)),
            StoredHolder(
                name: "", stack: 3, isSharedByRoots: true, depth: 0, own: Amount(blocks: 1, bytes: 8),
                kept: Amount(blocks: 1, bytes: 8)),
        ]
        (known.notRead, known.notes, known.pauseNanoseconds) = (["a mapping"], ["one", "two"], 12_345)
        let kinds: [Verdict] = [.reachable, .possible, .definite, .indirect, .unknown]
        return VerdictToStore(known: known) { block in
            let kind = kinds[Int(block.address / 64 % 5)]
            return (kind, kind == .definite ? Amount(blocks: 2, bytes: 50) : Amount())
        }
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_DUMP.rawValue, HEAP_KIND_PACKED.rawValue])
    func whatIsStoredComesBack(kind: UInt32) throws {
        let directory = try Scratch()
        let source = try open(
            sampleImage(heap_kind(rawValue: kind), blocks: sampleBlocks(500, stacks: 9, seed: 4), stacks: 9))
        #expect(!source.hasVerdict && source.storedVerdict() == nil)
        var options = PackOptions()
        options.verdict = verdict()
        options.names = [StoredFrame(frame: heap_frame_make(1, 0x2000), names: [StoredName(function: "other")])]
        try source.pack(to: directory.file("a.heap"), options: options)
        let packed = try HeapImage(path: directory.file("a.heap"))
        let stored = try #require(packed.storedVerdict()), wanted = verdict()
        #expect(stored.holders == wanted.known.holders && stored.notRead == ["a mapping"])
        #expect(stored.notes == ["one", "two"] && stored.pauseNanoseconds == 12_345)
        // Each stack's sums, counted again of the blocks.
        var sums: [UInt32: [Verdict: StackVerdict]] = [:]
        for block in allBlocks(packed) {
            let (said, dragged) = wanted.judge(block)
            var one =
                sums[block.stack]?[said] ?? StackVerdict(stack: block.stack, verdict: said, example: block.address)
            one.own.add(Amount(blocks: 1, bytes: block.bytes))
            one.dragged.add(dragged)
            one.example = min(one.example, block.address)
            sums[block.stack, default: [:]][said] = one
        }
        #expect(stored.stacks.count == sums.values.reduce(0) { $0 + $1.count })
        for one in stored.stacks { #expect(sums[one.stack]?[one.verdict] == one) }
        #expect(Set(stored.stacks.map(\.verdict)).count == 5)
        #expect(stored.totals.values.reduce(0) { $0 + $1.blocks } == 500)
        let names = try #require(packed.storedNames())
        #expect(names.names(names.frames[0].entries) == [StoredName(function: "other")])
        // Packed again, it is still there; the names made anew leave it alone.
        try packed.pack(to: directory.file("b.heap"))
        options.verdict = nil
        try packed.pack(to: directory.file("c.heap"), options: options)
        for name in ["b.heap", "c.heap"] {
            let again = try HeapImage(path: directory.file(name))
            #expect(again.storedVerdict() == stored && again.damages.isEmpty && allBlocks(again) == allBlocks(source))
        }
        #expect(packed.damages.isEmpty)
    }

    @Test func hostileEntriesArePassedOver() throws {
        let directory = try Scratch()
        let source = try open(sampleImage(HEAP_KIND_PACKED, blocks: sampleBlocks(50, stacks: 3, seed: 4), stacks: 3))
        var options = PackOptions()
        options.verdict = verdict()
        try source.pack(to: directory.file("a.heap"), options: options)
        let file = try FileSource(path: directory.file("a.heap"))
        var bytes = [UInt8](repeating: 0, count: Int(file.length))
        _ = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        let image = try HeapImage(path: directory.file("a.heap"))
        let section = image.sections[Int(HEAP_SECTION_VERDICTS.rawValue)]
        func put(_ entry: Int, _ offset: Int, _ value: UInt32) {
            for index in 0 ..< 4 {
                bytes[Int(section.offset) + entry * 64 + offset + index] = UInt8(
                    truncatingIfNeeded: value >> (8 * index))
            }
        }
        let first = section.readableEntries - 7
        put(0, 4, 1 << 25) // a stack that isn't there
        put(first, 48, 7) // a depth out of nothing
        put(first + 1, 48, .max)
        put(first + 3, 56, .max - 3) // a text outside of STRINGS
        put(first + 4, 0, 99) // a kind of later days
        let hostile = try HeapImage(MemorySource(bytes, name: "hostile.heap"), presence: .gone)
        let stored = try #require(hostile.storedVerdict())
        #expect(stored.holders.map(\.stack) == [3] && stored.notRead == [""] && stored.notes == ["two"])
        let said = hostile.damages.map(\.what)
        #expect(
            said.contains("a verdict on a stack that isn't there")
                && said.contains("a holder without the line that holds it"),
            "\(said)")
        // Without the flag the section is the recorder's own, whatever is in it.
        bytes[25] &= ~UInt8(HEAP_FLAG_VERDICT.rawValue >> 8)
        let plain = try HeapImage(MemorySource(bytes), presence: .gone)
        #expect(plain.storedVerdict() == nil && plain.damages.isEmpty)
        // Cut off anywhere in it, what is left is read.
        for cut in stride(from: Int(section.offset), to: Int(section.offset) + section.readableEntries * 64, by: 32) {
            let part = try HeapImage(MemorySource(Array(bytes[..<cut])), presence: .gone)
            _ = part.storedVerdict()
        }
    }
}
