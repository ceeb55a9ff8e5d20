// Packing: what comes out says what went in, and no file is ever taken another's place.

import CHeapImage
import HeapImage
import TestSupport
import Testing
import Text

@Suite struct Packing {
    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_DUMP.rawValue, HEAP_KIND_PACKED.rawValue])
    func aPackedImageSaysTheSame(kind: UInt32) throws {
        let directory = try Scratch()
        let blocks = sampleBlocks(2000, stacks: 12, seed: 3)
        var builder = sampleImage(heap_kind(rawValue: kind), blocks: blocks, stacks: 12)
        builder.header.snapshots = 3
        builder.header.peak_epoch = 9
        // An event that is not folded, one that did not happen, and a reallocation that came back.
        let slot = builder.slot(address: 0x1000, bytes: 40, stack: 2, tick: 5)
        builder.addBlock(address: 0x1000, bytes: 40, stack: 2, tick: 5, counted: false)
        builder.putEvent(
            thread: 0, number: 0, kind: HEAP_EVENT_ALLOCATED, address: 0x1000, slot: slot, bytes: 40, tick: 5)
        builder.putEvent(
            thread: 0, number: 1, kind: HEAP_EVENT_ALLOCATED, address: 0x8000, slot: slot, bytes: 40, tick: 5,
            commit: false)
        let second = builder.addThread(tid: 77)
        builder.threads[second].in_flight = heap_in_flight(
            phase: 2, old_address: 0x3000, old_slot: slot, old_bytes: 40, new_address: 0x4000, new_slot: slot,
            new_bytes: 50,
            reserved: 0)
        builder.count(2, allocated: 1, bytes: 50)

        let source = try open(builder)
        let before = try source.census()
        let summary = try source.pack(to: directory.file("a.heap"), options: PackOptions(state: .killed, exitSignal: 9))
        #expect(summary.liveBlocks == 2002)
        let packed = try HeapImage(path: directory.file("a.heap"))
        #expect(packed.kind == (kind == HEAP_KIND_DUMP.rawValue ? .dump : .packed))
        #expect(packed.state == .killed)
        #expect(packed.header.exit_signal == 9)
        #expect(packed.hasFlag(HEAP_FLAG_IN_FLIGHT_SETTLED))
        #expect(allBlocks(packed) == allBlocks(source))
        let after = try packed.census()
        #expect(after.stacks == before.stacks)
        #expect(after.replayedEvents == 0 && after.settledBlocks == 0)
        #expect(after.peak == before.peak)
        #expect(packed.modules() == source.modules())
        #expect(packed.timeline() == source.timeline())
        #expect(packed.program == source.program && packed.arguments == source.arguments)
        for number in 0 ..< 3 { #expect(packed.snapshot(number) == source.snapshot(number)) }
        #expect(packed.damages.isEmpty)
        #expect(directory.names == ["a.heap"])
    }

    @Test func noFileIsOverwritten() throws {
        let directory = try Scratch()
        let image = try open(sampleImage(HEAP_KIND_PACKED, blocks: [], stacks: 1))
        try image.pack(to: directory.file("x.heap"))
        #expect(throws: FileError.self) { try image.pack(to: directory.file("x.heap")) }
        let second = try image.pack(into: directory.path) {
            ImageNames.image(program: "/bin/x", processID: 5, attempt: $0)
        }
        let third = try image.pack(into: directory.path) {
            ImageNames.image(program: "/bin/x", processID: 5, attempt: $0)
        }
        #expect(second.path == directory.file("x.5.heap"))
        #expect(third.path == directory.file("x.5-2.heap"))
        #expect(directory.names == ["x.5-2.heap", "x.5.heap", "x.heap"])
    }

    @Test func names() {
        #expect(ImageNames.image(program: "/usr/bin/ls", processID: 12) == "ls.12.heap")
        #expect(ImageNames.image(program: "", processID: 12, attempt: 3) == "program.12-3.heap")
        #expect(ImageNames.dump(ofImage: "ls.12-2.heap", number: 4) == "ls.12-2.4.heap")
    }
}
