// Tags of images: equal texts of several images are one, and a damaged one is none.

import CHeapImage
import HeapImage
import TestSupport
import Testing

@testable import Reduce

@Suite struct TagTests {
    /// An image whose stack number i has the root `roots[i]` and one block of i + 1 bytes.
    private func image(
        _ kind: heap_kind = HEAP_KIND_DUMP, _ roots: (inout ImageBuilder) -> [UInt64]
    ) throws -> HeapImage {
        var builder = ImageBuilder(kind: kind)
        let module = builder.addModule("/usr/bin/app")
        for (index, root) in roots(&builder).enumerated() {
            let stack = builder.addStack([heap_frame_make(module, 0x100 + UInt64(index)), root])
            builder.addBlock(address: UInt64(index + 1) << 20, bytes: UInt64(index + 1), stack: stack)
        }
        return try HeapImage(MemorySource(builder.bytes(), name: "app.heap"), presence: .gone)
    }

    private func bytesByTag(_ reduction: Reduction) -> [StackTag?: UInt64] {
        var sums: [StackTag?: UInt64] = [:]
        for row in reduction.rows { sums[reduction.tag(of: row), default: 0] += row.bytes }
        return sums
    }

    @Test(arguments: [HEAP_KIND_RUNNING, HEAP_KIND_DUMP]) func equalTextsOfSeveralImagesAreOneTag(
        kind: heap_kind
    ) throws {
        let reduction = Reduction()
        try reduction.add(
            image(kind) { builder in
                ["one", "two", "one"].map { heap_tag_frame(builder.addString($0.utf8)) } + [
                    heap_tag_frame(heap_string())
                ]
            })
        try reduction.add(
            image(kind) { builder in ["two", "three"].map { heap_tag_frame(builder.addString($0.utf8)) } })
        func text(_ text: String) -> StackTag { .text(Array(text.utf8)) }
        let wanted: [StackTag?: UInt64] = [text("one"): 1 + 3, text("two"): 2 + 1, text("three"): 2, .more: 4]
        #expect(bytesByTag(reduction) == wanted)
        #expect(reduction.inputs.allSatisfy { $0.damages.isEmpty })
        // A tag says for whom the code ran, not which code.
        let keys = reduction.stackKeys(), plain = Reduction()
        try plain.add(image(kind) { _ in [heap_frame_make(HEAP_MODULE_THREAD, 7)] })
        #expect(keys[Int(reduction.rows[0].node)] == plain.stackKeys()[Int(plain.rows[0].node)])
    }

    @Test func damagedTagsAreNoNames() throws {
        let reduction = Reduction()
        let image = try image { builder in
            let text = builder.addString(repeatElement(0x61, count: 300))
            return [
                heap_string(offset: text.offset, length: 256), heap_string(offset: 0, length: 9),
                heap_string(offset: .max, length: 9), heap_string(offset: text.offset, length: 0xFFFF),
                heap_string(offset: text.offset, length: 255),
            ].map(heap_tag_frame)
        }
        try reduction.add(image)
        let longest = StackTag.text([UInt8](repeating: 0x61, count: 255))
        let wanted: [StackTag?: UInt64] = [.unreadable: 1 + 2 + 3 + 4, longest: 5]
        #expect(bytesByTag(reduction) == wanted)
        #expect(!reduction.inputs[0].damages.isEmpty)
    }

    // Each frame names other bytes: of so many only as many as a recorder makes are read.
    @Test func asManyTagsAreReadAsThereCanBe() throws {
        let reduction = Reduction(), count = 6000
        try reduction.add(
            image { builder in
                let text = builder.addString((0 ..< UInt32(count) * 2).map { UInt8($0 * 7919 >> 3 & 0xFF) })
                return (0 ..< UInt32(count)).map { heap_tag_frame(heap_string(offset: text.offset + $0, length: 200)) }
            })
        let tags = bytesByTag(reduction)
        #expect(tags.count <= Int(HEAP_TAGS_MOST) + 2 && tags[.unreadable] != nil)
        #expect(tags.values.reduce(0, +) == UInt64(count * (count + 1) / 2))
    }
}
