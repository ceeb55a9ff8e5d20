// Names in images: what is stored comes back, stays through further packing, and a hostile section costs no more
// than it is worth. And what a packed copy keeps of a cut image's losses.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing

@Suite struct StoredNameTests {
    private let stored = [
        StoredFrame(
            frame: heap_frame_make(1, 0x2000),
            names: [
                StoredName(function: "inner(int)", symbol: "_Z5inneri", file: "/src/a.cc", line: 12, inlined: true),
                StoredName(
                    function: "größe()", symbol: "_Z6groessev", file: "/src/a.cc", line: 40, symbolOffset: 7,
                    inlined: false),
            ]),
        StoredFrame(
            frame: heap_frame_make(2, 0x1000),
            names: [StoredName(function: "malloc_consolidate", symbol: "malloc_consolidate", symbolOffset: 0x99)]),
        // Looked up, and not found.
        StoredFrame(frame: heap_frame_make(2, 0x29D90), names: [StoredName()]),
    ]

    private func frames(_ image: HeapImage) throws -> [UInt64: [StoredName]] {
        let names = try #require(image.storedNames())
        return Dictionary(uniqueKeysWithValues: names.frames.map { ($0.frame, names.names($0.entries)) })
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_DUMP.rawValue, HEAP_KIND_PACKED.rawValue])
    func whatIsStoredComesBack(kind: UInt32) throws {
        let directory = try Scratch()
        let source = try open(
            sampleImage(heap_kind(rawValue: kind), blocks: sampleBlocks(500, stacks: 9, seed: 4), stacks: 9))
        #expect(!source.hasNames && source.storedNames() == nil)
        var options = PackOptions()
        options.names = stored
        #expect(try source.pack(to: directory.file("a.heap"), options: options).namesLeftOut == 0)
        let packed = try HeapImage(path: directory.file("a.heap"))
        #expect(try frames(packed) == Dictionary(uniqueKeysWithValues: stored.map { ($0.frame, $0.names) }))
        #expect(
            allBlocks(packed) == allBlocks(source) && packed.modules() == source.modules()
                && packed.program == source.program)
        #expect(try packed.census().stacks == source.census().stacks)
        // Packed again, they are still there; named again, the new names count.
        try packed.pack(to: directory.file("b.heap"))
        let again = try HeapImage(path: directory.file("b.heap"))
        #expect(try frames(again) == frames(packed))
        options.names = [StoredFrame(frame: heap_frame_make(1, 0x2000), names: [StoredName(function: "other")])]
        try again.pack(to: directory.file("c.heap"), options: options)
        let renamed = try HeapImage(path: directory.file("c.heap"))
        #expect(try frames(renamed) == [heap_frame_make(1, 0x2000): [StoredName(function: "other")]])
        #expect(
            packed.damages.isEmpty && again.damages.isEmpty && renamed.damages.isEmpty
                && allBlocks(renamed) == allBlocks(source))
    }

    @Test func theHeadersFormIsRead() throws {
        var builder = sampleImage(HEAP_KIND_PACKED, blocks: [], stacks: 1)
        builder.addName(
            42, "f", symbol: "_f", file: "f.c", line: 3, flags: HEAP_NAME_SOURCE.rawValue | HEAP_NAME_INLINED.rawValue)
        builder.addName(42, "g", offset: 5)
        builder.addName(43, nil)
        builder.addName(42, "too late")
        let image = try open(builder)
        let names = try #require(image.storedNames())
        #expect(names.frames.map(\.frame) == [42, 43, 42])
        #expect(
            names.names(names.frames[0].entries) == [
                StoredName(function: "f", symbol: "_f", file: "f.c", line: 3, inlined: true),
                StoredName(function: "g", symbolOffset: 5),
            ])
        // Without the flag the section is the recorder's own, whatever is in it.
        var bytes = builder.bytes()
        bytes[24] &= ~UInt8(HEAP_FLAG_NAMES.rawValue)
        let plain = try HeapImage(MemorySource(bytes), presence: .gone)
        #expect(plain.storedNames() == nil && plain.damages.isEmpty)
    }

    @Test func namesThatOverlapAreNoMoreThanTheirBytes() throws {
        var builder = sampleImage(HEAP_KIND_PACKED, blocks: [], stacks: 1)
        let text = builder.addString([UInt8](repeating: 0x61, count: 60_000))
        for index in UInt64(0) ..< 2000 {
            // Each name is another part of the same bytes.
            let part = heap_string(offset: text.offset + UInt32(index), length: text.length - UInt32(index))
            builder.names.append(
                heap_name(frame: index, symbol_offset: 0, function: part, symbol: part, file: part, line: 0, flags: 0))
        }
        let image = try open(builder)
        let names = try #require(image.storedNames())
        let all = names.frames.map { names.names($0.entries) }
        let named = all.filter { $0[0].function != nil }
        #expect(named.count == 1 && named[0][0].function?.utf8.count == 60_000)
        #expect(image.damages.map(\.what) == ["names that overlap"] && image.damages[0].count >= 1999)
    }

    @Test func hostileEntries() throws {
        var builder = sampleImage(HEAP_KIND_PACKED, blocks: [], stacks: 1)
        builder.names = (0 ..< 3000).map {
            heap_name(
                frame: 7, symbol_offset: $0, function: heap_string(), symbol: heap_string(), file: heap_string(),
                line: 0, flags: 0)
        }
        builder.names.append(
            heap_name(
                frame: 8, symbol_offset: .max, function: heap_string(offset: .max, length: .max),
                symbol: heap_string(offset: 1, length: .max),
                file: heap_string(offset: 3, length: 0), line: .max, flags: .max))
        let image = try open(builder)
        let names = try #require(image.storedNames())
        #expect(
            names.names(names.frames[0].entries).count == 1024
                && names.names(names.frames[0].entries).last?.symbolOffset == 2999)
        let odd = names.names(names.frames[1].entries)
        #expect(odd.count == 1 && odd[0].function == nil && odd[0].line == Int(UInt32.max) && odd[0].inlined == true)
        #expect(names.names(0 ..< 100_000).count == 1024)
        #expect(image.damages.map(\.what).contains("a frame with more than 1024 functions"))
    }

    @Test func aPackedCopyOfACutImageSaysWhatWasLost() throws {
        let directory = try Scratch()
        var bytes = sampleImage(HEAP_KIND_PACKED, blocks: sampleBlocks(5000, stacks: 5, seed: 1), stacks: 5).bytes()
        bytes.removeLast(24 * 1000)
        let cut = try HeapImage(MemorySource(bytes, name: "cut.heap"), presence: .gone)
        #expect(try cut.pack(to: directory.file("a.heap")).census.lostRecords == 1000)
        let packed = try HeapImage(path: directory.file("a.heap"))
        #expect(try packed.census().lostRecords == 1000 && packed.census().liveBlocks == 4000 && packed.damages.isEmpty)
        // Nor does a copy of the copy lose count.
        try packed.pack(to: directory.file("b.heap"))
        let second = try HeapImage(path: directory.file("b.heap"))
        #expect(try second.census().lostRecords == 1000)
    }

    @Test func packingToADescriptorLeavesNoFile() throws {
        let directory = try Scratch()
        let image = try open(sampleImage(HEAP_KIND_PACKED, blocks: sampleBlocks(300, stacks: 3, seed: 2), stacks: 3))
        let file = Glibc.open(directory.file("out"), O_WRONLY | O_CREAT, 0o600)
        try image.pack(toDescriptor: file, name: "out")
        close(file)
        #expect(try allBlocks(HeapImage(path: directory.file("out"))) == allBlocks(image))
        #expect(throws: FileError.self) { try image.pack(toDescriptor: -1, name: "nothing") }
        #expect(directory.names == ["out"])
    }
}
