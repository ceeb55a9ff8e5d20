// The tree of calls: every call's sums against the blocks' own stacks, and its text.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct CallTreeTests {
    /// Bytes and blocks by the path of names from the root on, of all nodes.
    private func paths(_ tree: CallTree) -> [String: [UInt64]] {
        var paths: [String: [UInt64]] = [:]
        var open = [(0, "")]
        while let (node, path) = open.popLast() {
            let item = tree.nodes[node]
            #expect(paths[path] == nil, "\(path)")
            paths[path] = [item.bytes, item.blocks]
            #expect(item.children.reduce(item.ownBytes) { $0 + tree.nodes[$1].bytes } == item.bytes)
            #expect(item.children.reduce(item.ownBlocks) { $0 + tree.nodes[$1].blocks } == item.blocks)
            #expect(
                item.children.map { tree.nodes[$0].bytes } == item.children.map { tree.nodes[$0].bytes }.sorted(by: >))
            open += item.children.map { ($0, path + "/" + tree.nodes[$0].name) }
        }
        return paths
    }

    @Test(arguments: [1, 2, 3] as [UInt64], [CallTreeDirection.topDown, .inverted])
    func everyCallHoldsWhatTheStacksThroughItDo(seed: UInt64, direction: CallTreeDirection) throws {
        let heap = try MadeUpHeap(seed: seed)
        var expected: [String: [UInt64]] = [:]
        for block in heap.blocks {
            var path =
                block.functions.map { $0 == "?" ? "libgone.so+0x77" : $0 }
                + (block.thread.map { ["thread \($0)"] } ?? []) + (block.tag.map { ["tag \($0)"] } ?? [])
            if direction == .topDown { path.reverse() }
            for length in 0 ... path.count {
                let key = path[..<length].map { "/" + $0 }.joined()
                let old = expected[key] ?? [0, 0]
                expected[key] = [old[0] + block.bytes, old[1] + 1]
            }
        }
        #expect(paths(CallTree(heap.reduction.rows, names: heap.names, direction: direction)) == expected)
    }

    private func text(
        _ direction: CallTreeDirection, _ limits: CallTreeLimits = CallTreeLimits(), byBlocks: Bool = false,
        style: Style = Style()
    ) throws -> String {
        var builder = ImageBuilder()
        let app = builder.addModule("/opt/app")
        func frames(_ names: String) -> [UInt64] {
            names.split(separator: " ").map {
                heap_frame_make(app, UInt64(MadeUpHeap.functions.firstIndex(of: String($0)) ?? 0) * 0x100 + 0x11)
            }
        }
        for (index, (stack, bytes)) in [
            ("alpha beta main", 7000), ("gamma beta main", 2000), ("beta main", 500), ("malloc main", 400),
            ("gamma alpha main", 60), ("beta gamma main", 40),
        ].enumerated() {
            builder.addBlock(
                address: 0x10_0000 * UInt64(index + 1), bytes: UInt64(bytes), stack: builder.addStack(frames(stack)))
        }
        let reduction = Reduction()
        try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "app.heap"), presence: .gone))
        let names = FrameNames(reduction) { _ in
            FixedNames(symbols: MadeUpHeap.functions.enumerated().map { (UInt64($0) * 0x100, $1) })
        }
        let out = TextOutput()
        let selection = RowSelection(reduction, names: names)
        try CallTreeTable(table: Table(style: style), direction: direction, limits: limits, byBlocks: byBlocks).write(
            reduction, selection, names: names, to: out)
        return out.text.split(separator: "\n").dropFirst(2).dropLast().joined(separator: "\n")
    }

    @Test func golden() throws {
        #expect(
            try text(.topDown) == """
                 bytes    share   blocks   calls, from the outermost inward
                10,000   100.0%        6   main  app
                 9,500    95.0%        3   ├─ beta  app
                 7,000    70.0%        1   │  ├─ alpha  app
                 2,000    20.0%        1   │  ├─ gamma  app
                   500     5.0%        1   │  └─ (itself)
                   400     4.0%        1   ├─ malloc  app
                   100     1.0%        2   └─ … 2 smaller calls
                """)
        #expect(
            try text(.inverted) == """
                 bytes    share   blocks   calls, from the allocating function outward
                 7,000    70.0%        1   alpha  app
                 7,000    70.0%        1   beta  app
                 7,000    70.0%        1   main  app
                 2,060    20.6%        2   gamma  app
                 2,000    20.0%        1   ├─ beta  app
                 2,000    20.0%        1   │  main  app
                    60     0.6%        1   └─ … 1 smaller caller
                   540     5.4%        2   beta  app
                   500     5.0%        1   ├─ main  app
                    40     0.4%        1   └─ … 1 smaller caller
                   400     4.0%        1   malloc  app
                   400     4.0%        1   main  app
                """)
    }

    @Test func limitsAreKeptAndCounted() throws {
        var limits = CallTreeLimits()
        (limits.most, limits.leastShare) = (2, 0)
        #expect(
            try text(.topDown, limits).hasSuffix(
                """
                 9,500    95.0%        3   ├─ beta  app
                   500     5.0%        1   │  ├─ (itself)
                 9,000    90.0%        2   │  └─ … 2 smaller calls
                   500     5.0%        3   └─ … 3 smaller calls
                """))
        limits = CallTreeLimits()
        limits.leastBytes = 450
        #expect(
            try text(.topDown, limits).hasSuffix(
                "               500     5.0%        3   └─ … 3 smaller calls".dropFirst(12)))
        limits = CallTreeLimits()
        limits.depth = 1
        #expect(
            try text(.topDown, limits).hasSuffix(
                "10,000   100.0%        6   main  app\n10,000   100.0%        6   └─ … 4 smaller calls"))
        let narrow = try text(.topDown, style: Style(width: 60))
        #expect(narrow.split(separator: "\n").allSatisfy { $0.count <= 60 })
        let everything = CallTreeLimits(leastShare: 0)
        #expect(try !text(.topDown, everything).contains("smaller"))
    }

    /// A stack as deep as a hostile log may have it, with a branch at each level.
    @Test func depthCostsNoMoreThanItIs() throws {
        let reduction = Reduction()
        let input = reduction.begin(Input(path: "log", kind: "aix"))
        let frame = reduction.frame(LogFrame(name: Array("again".utf8)))
        for depth in stride(from: 1, to: 3000, by: 10) {
            reduction.add(frames: Array(repeating: frame, count: depth), bytes: 100, input: input)
        }
        let names = FrameNames(reduction), out = TextOutput()
        try CallTreeTable(
            table: Table(style: Style(width: 80)), direction: .topDown, limits: CallTreeLimits(leastShare: 0),
            byBlocks: false
        )
        .write(reduction, RowSelection(reduction, names: names), names: names, to: out)
        #expect(out.text.split(separator: "\n").count { $0.contains("again") } == 2991)
        #expect(out.text.utf8.count < 2_000_000)
    }
}
