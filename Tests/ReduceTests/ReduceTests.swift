// Reducing, against a naive count of the same blocks: whole frame lists as keys, no tree, no hash of ours.

import CHeapImage
import HeapImage
import TestSupport
import Testing

@testable import Reduce

struct Description {
    var modules: [(path: String, buildID: [UInt8])]
    var stacks: [[(module: Int, offset: UInt64)]]
    var blocks: [(address: UInt64, bytes: UInt64, stack: Int, tick: UInt32)]
    var pid: UInt32

    static func random(seed: UInt64, pid: UInt32 = 100, blocks: Int = 800) -> Description {
        var random = SeededGenerator(seed: seed)
        let modules = [
            ("/usr/bin/app", [1, 1, 1] as [UInt8]), ("/lib/libx.so", [2, 2]), ("/lib/libx.so", [3, 3]),
            ("/lib/libnone.so", []),
        ]
        let stacks = (0 ..< 60).map { _ in
            (0 ..< Int.random(in: 0 ..< 7, using: &random)).map { _ in
                (module: Int.random(in: 0 ..< 4, using: &random), offset: UInt64.random(in: 1 ..< 5, using: &random))
            }
        }
        var address: UInt64 = 0x10_0000
        let blocks = (0 ..< blocks).map { _ in
            defer { address += 0x10_0000 }
            return (
                address: address, bytes: UInt64.random(in: 0 ..< 300_000, using: &random),
                stack: Int.random(in: 0 ..< 60, using: &random), tick: UInt32.random(in: 0 ..< 5000, using: &random)
            )
        }
        return Description(modules: modules, stacks: stacks, blocks: blocks, pid: pid)
    }

    /// The image; `shuffled` puts modules in another order and every node in twice.
    func image(_ kind: heap_kind, shuffled: Bool = false) throws -> HeapImage {
        var builder = ImageBuilder(kind: kind, pid: pid)
        builder.header.began_ns = 5_000_000_000
        builder.header.ended_ns = 5_000_000_000
        var numbers = [UInt32](repeating: 0, count: modules.count)
        for index in shuffled ? Array(modules.indices.reversed()) : Array(modules.indices) {
            numbers[index] = builder.addModule(
                modules[index].path, buildID: modules[index].buildID, bias: UInt64(index) << 20)
            if shuffled {
                numbers[index] = builder.addModule(
                    modules[index].path, buildID: modules[index].buildID, bias: UInt64(index) << 20)
            }
        }
        let stackNumbers = stacks.map { stack in
            builder.addStack(stack.map { heap_frame_make(numbers[$0.module], $0.offset) }, duplicate: shuffled)
        }
        for block in blocks {
            builder.addBlock(
                address: block.address, bytes: block.bytes, stack: stackNumbers[block.stack], tick: block.tick)
        }
        return try HeapImage(MemorySource(builder.bytes(), name: "\(pid).heap"), presence: .gone)
    }

    /// Bytes and blocks by the whole stack's text.
    func naive() -> [String: Naive] {
        var result: [String: Naive] = [:]
        for block in blocks {
            let key = stacks[block.stack].map { "\(modules[$0.module].path)\(modules[$0.module].buildID):\($0.offset)" }
                .joined(separator: " ")
            result[key, default: Naive()].bytes += block.bytes
            result[key, default: Naive()].blocks += 1
            result[key, default: Naive()].oldest = min(result[key, default: Naive()].oldest, block.tick)
        }
        return result
    }
}

struct Naive: Equatable {
    var bytes: UInt64 = 0
    var blocks: UInt64 = 0
    var oldest: UInt32 = .max
}

func naive(_ reduction: Reduction) -> [String: Naive] {
    var result: [String: Naive] = [:]
    for row in reduction.rows where row.blocks > 0 {
        let key = reduction.frames(of: row).map { frame in
            let module = reduction.modules[Int(frame.module)]
            return "\(String(decoding: module.path, as: UTF8.self))\(module.buildID):\(frame.offset)"
        }.joined(separator: " ")
        #expect(result[key] == nil, "a stack has one row")
        let tick = UInt32(((5 - (row.oldestSeconds ?? 0)) * 1000).rounded())
        result[key] = Naive(bytes: row.bytes, blocks: row.blocks, oldest: tick)
    }
    return result
}

@Suite struct Reducing {
    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64], [false, true])
    func rowsAreTheNaiveCount(seed: UInt64, shuffled: Bool) throws {
        let description = Description.random(seed: seed)
        for kind in [HEAP_KIND_DUMP, HEAP_KIND_PACKED] {
            let reduction = Reduction()
            try reduction.add(description.image(kind, shuffled: shuffled))
            let expected = description.naive()
            #expect(naive(reduction) == expected)
            #expect(reduction.totals.uniqueStacks == expected.count)
            #expect(reduction.totals.liveBytes == description.blocks.reduce(0) { $0 + $1.bytes })
            #expect(reduction.totals.liveBlocks == UInt64(description.blocks.count))
            #expect(reduction.totals.history?.allocatedBlocks == UInt64(description.blocks.count))
            #expect(reduction.totals.history?.freedBlocks == 0)
        }
    }

    @Test func equalStacksOfSeveralProcessesAreOne() throws {
        let first = Description.random(seed: 8, pid: 1)
        var second = first
        second.pid = 2
        let reduction = Reduction()
        try reduction.add(first.image(HEAP_KIND_PACKED))
        try reduction.add(second.image(HEAP_KIND_RUNNING, shuffled: true))
        let expected = first.naive().mapValues { ($0.bytes * 2, $0.blocks * 2) }
        let found = naive(reduction)
        #expect(found.count == expected.count)
        for (key, value) in found { #expect(expected[key] ?? (0, 0) == (value.bytes, value.blocks)) }
        #expect(reduction.inputs.map(\.processID) == [1, 2])
        #expect(reduction.inputs.allSatisfy { $0.bytes * 2 == reduction.totals.liveBytes })
    }

    @Test func everyLiveBlockComesWithItsRow() throws {
        let description = Description.random(seed: 12)
        let reduction = Reduction()
        try reduction.add(description.image(HEAP_KIND_RUNNING))
        var bytes: [UInt32: UInt64] = [:]
        var count = 0
        reduction.forEachLiveBlock { block, row in
            bytes[row.node, default: 0] += block.bytes
            count += 1
        }
        #expect(count == description.blocks.count)
        for row in reduction.rows where row.bytes > 0 { #expect(bytes[row.node] == row.bytes) }
    }

    @Test func recordsOfALogHaveNoHistory() {
        let reduction = Reduction()
        let input = reduction.begin(Input(path: "log", kind: "aix"))
        let module = reduction.module(path: Array("/a".utf8), buildID: [], bias: nil)
        let inner = Frame(module: module, offset: 1), outer = Frame(module: module, offset: 2)
        reduction.add(frames: [inner, outer], bytes: 10, input: input, ageSeconds: 4)
        reduction.add(frames: [inner, outer], bytes: 5, blocks: 2, input: input, ageSeconds: 9)
        reduction.add(frames: [outer, inner], bytes: 1, input: input)
        #expect(reduction.rows.count == 2)
        #expect(reduction.rows[0].bytes == 15 && reduction.rows[0].blocks == 3)
        #expect(reduction.rows[0].oldestSeconds == 9 && reduction.rows[0].newestSeconds == 4)
        #expect(reduction.rows[0].history == nil && reduction.totals.history == nil)
        #expect(reduction.frames(of: reduction.rows[0]) == [inner, outer])
        #expect(reduction.inputs[0].blocks == 4)
    }

    @Test func collisionsAreToldApartByTheFrames() {
        // More nodes than the table began with, and every one asked for twice.
        var tree = StackTree()
        var nodes: [UInt32] = []
        for offset in UInt64(0) ..< 5000 {
            nodes.append(tree.intern(parent: UInt32(offset % 7), frame: Frame(module: 1, offset: offset / 2)))
        }
        for offset in UInt64(0) ..< 5000 {
            #expect(
                tree.intern(parent: UInt32(offset % 7), frame: Frame(module: 1, offset: offset / 2))
                    == nodes[Int(offset)])
        }
        #expect(Set(nodes).count == 5000)
    }
}

@Suite struct Choosing {
    private func image(_ name: String, _ kind: heap_kind, ended: UInt64, pid: UInt32 = 7) throws -> HeapImage {
        var builder = ImageBuilder(kind: kind, pid: pid)
        builder.header.ended_ns = ended
        return try HeapImage(MemorySource(builder.bytes(), name: name), presence: .gone)
    }

    private func images() throws -> [HeapImage] {
        [
            try image("b.2.heap", HEAP_KIND_DUMP, ended: 20), try image("b.heap", HEAP_KIND_PACKED, ended: 30),
            try image("b.1.heap", HEAP_KIND_DUMP, ended: 40), try image("other.heap", HEAP_KIND_DUMP, ended: 1, pid: 8),
        ]
    }

    @Test func theFinishedImageIsNewerThanItsDumps() throws {
        let selection = InputSelection(images: try images())
        #expect(selection.chosen.map(\.file) == ["b.heap", "other.heap"])
        #expect(selection.leftOut.map(\.file) == ["b.1.heap", "b.2.heap"])
        #expect(selection.leftOut.allSatisfy { $0.because.contains("b.heap") })
    }

    @Test func ofDumpsTheLastCounts() throws {
        let dumps = try images().filter { $0.file != "b.heap" }
        #expect(InputSelection(images: dumps).chosen.map(\.file) == ["b.1.heap", "other.heap"])
    }

    @Test func allAreSummedOnRequest() throws {
        #expect(InputSelection(images: try images(), choice: .all).chosen.count == 4)
    }

    @Test func aSetIsChosenByItsNumber() throws {
        let dumps = try images().filter { $0.file.hasPrefix("b.") }
        #expect(InputSelection(images: dumps, choice: .number(1)).chosen.map(\.file) == ["b.2.heap"])
        let none = InputSelection(images: dumps, choice: .number(4))
        #expect(none.chosen.isEmpty && none.leftOut.count == 3)
    }

    @Test func aDirectoryStandsForItsImages() throws {
        let directory = try Scratch()
        #expect(InputSelection(paths: [directory.path]).failures.count == 1)
        try ImageBuilder(pid: 1).write(to: directory.file("a.heap"))
        try ImageBuilder(pid: 2).write(to: directory.file("b.heap"))
        try ImageBuilder(pid: 3).write(to: directory.file("c.txt"))
        let selection = InputSelection(paths: [directory.path, directory.file("nothing")])
        #expect(selection.chosen.map(\.file) == [directory.file("a.heap"), directory.file("b.heap")])
        #expect(selection.failures.map(\.file) == [directory.file("nothing")])
    }
}
