// Reports of damaged images: whatever the numbers and names have become, a report is written.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct HostileReports {
    private func reportAll(_ bytes: [UInt8]) throws {
        let reduction = Reduction()
        try reduction.add(HeapImage(MemorySource(bytes), presence: .gone))
        let names = FrameNames(reduction) { _ in throw NoFile() }
        for sort in SortKey.allCases {
            let selection = RowSelection(reduction, names: names, sort: sort, filter: try FrameFilter(include: ["."]))
            try Table(style: Style(width: 60, colors: true), sort: sort).write(
                reduction, selection, names: names, to: TextOutput())
        }
        let selection = RowSelection(reduction, names: names, withFreed: true)
        for format in MachineFormat.allCases {
            try MachineReport(reduction, selection, names: names).write(format, to: TextOutput())
        }
        for input in reduction.inputs {
            if let image = input.image { try InfoReport(style: Style()).write(image, to: TextOutput()) }
        }
    }

    private func image(_ kind: heap_kind) -> ImageBuilder {
        var builder = ImageBuilder(kind: kind)
        let module = builder.addModule("/opt/app\u{1B}]0;title\u{7}", buildID: [1, 2])
        for index in UInt64(0) ..< 5 {
            let stack = builder.addStack([
                heap_frame_make(module, index), heap_frame_make(HEAP_MODULE_CUT, 0), heap_frame_make(module, 9),
            ])
            builder.addBlock(address: 0x1000 + index * 0x10000, bytes: 100 * index, stack: stack)
        }
        if kind != HEAP_KIND_RUNNING {
            builder.addName(
                heap_frame_make(module, 9), "inner\u{1B}[2J", symbol: "_inner", file: "/a.c", line: 1, flags: 3)
            builder.addName(
                heap_frame_make(module, 9), "outer", symbol: "_outer", file: "/a.c", line: 9, offset: 4, flags: 1)
            builder.addName(heap_frame_make(module, 2), nil)
        }
        _ = builder.addThread(tid: 1)
        builder.timeline = [heap_sample(time_ns: 1, live_bytes: 1, live_blocks: 1, rss_bytes: 0)]
        return builder
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_PACKED.rawValue])
    func randomFlips(kind: UInt32) throws {
        let bytes = image(heap_kind(rawValue: kind)).bytes()
        try reportAll(bytes)
        var random = SeededGenerator(seed: 4)
        for _ in 0 ..< 300 {
            var flipped = bytes
            for _ in 0 ..< Int.random(in: 1 ... 40, using: &random) {
                flipped[Int.random(in: 40 ..< bytes.count, using: &random)] = UInt8.random(
                    in: 0 ... 255, using: &random)
            }
            do { try reportAll(flipped) } catch is InputError {}
        }
    }

    @Test func sumsThatWrap() throws {
        var builder = image(HEAP_KIND_PACKED)
        builder.addBlock(address: 0x9000, bytes: .max - 900, stack: 2, counted: false)
        builder.addBlock(address: 0xA000, bytes: .max, stack: 3, counted: false)
        builder.header.ended_ns = .max
        builder.header.started_realtime_ns = .max
        try reportAll(builder.bytes())
    }
}
