// Image, records, log, rows: the same rows as without the way round.

import CHeapImage
import HeapImage
import Reduce
import Report
import Symbols
import TestSupport
import Testing
import Text

@testable import Logs

@Suite struct Records {
    private struct Naming: ModuleNaming {
        func name(at address: UInt64) -> SymbolName? {
            // Every third function has no name; some names have blanks, as those of C++ do.
            let number = address / 64
            return number % 3 == 0
                ? nil
                : SymbolName(
                    name: number % 5 == 0 ? "Space::operator()(int, \(number))" : "function_\(number)",
                    offset: address % 64)
        }
    }

    private func image(seed: UInt64) throws -> HeapImage {
        var random = SeededGenerator(seed: seed)
        var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
        let modules = (0 ..< 4).map {
            builder.addModule("/lib/lib\($0).so", buildID: [UInt8($0)], bias: 0x7F00_0000_0000 + UInt64($0) << 24)
        }
        var stacks = (0 ..< 200).map { _ in
            builder.addStack(
                (0 ..< Int.random(in: 0 ..< 12, using: &random)).map { _ in
                    heap_frame_make(
                        modules[Int.random(in: 0 ..< 4, using: &random)], UInt64.random(in: 64 ..< 4096, using: &random)
                    )
                })
        }
        stacks.append(
            builder.addStack([
                heap_frame_make(modules[0], 100), heap_frame_make(HEAP_MODULE_CUT, 0), heap_frame_make(modules[1], 200),
            ]))
        stacks.append(builder.addStack([heap_frame_make(modules[0], 100), heap_frame_make(HEAP_MODULE_THREAD, 4711)]))
        stacks.append(builder.addStack([heap_frame_make(HEAP_MODULE_NONE, 0x5555_1234)]))
        stacks.append(
            builder.addStack([heap_frame_make(modules[0], 100), heap_tag_frame(builder.addString("tenant 42".utf8))]))
        for index in 0 ..< 5000 {
            builder.addBlock(
                address: 0x5555_0000_0000 + UInt64(index) * 4096,
                bytes: UInt64.random(in: 0 ..< 100_000, using: &random),
                stack: stacks[Int.random(in: 0 ..< stacks.count, using: &random)])
        }
        return try HeapImage(MemorySource(builder.bytes(), name: "image"), presence: .gone)
    }

    /// Rows by their frames as people see them: address and name.
    private func rows(_ reduction: Reduction, _ names: FrameNames) -> [[String]: [UInt64]] {
        var result: [[String]: [UInt64]] = [:]
        for row in reduction.rows where row.blocks > 0 {
            let key = reduction.frames(of: row).map { frame -> String in
                let named = names.name(frame)
                return frame.module == SpecialModule.none
                    ? "\(hexadecimal(frame.offset))" : "\(named.address ?? 0) \(named.function ?? named.text)"
            }
            #expect(result[key] == nil)
            result[key] = [row.bytes, row.blocks]
        }
        return result
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func comeBackAsTheSameRows(seed: UInt64) throws {
        let reduction = Reduction()
        try reduction.add(image(seed: seed))
        let names = FrameNames(reduction) { _ in Naming() }
        let out = TextOutput()
        try writeRecords(reduction, RowSelection(reduction, names: names), frameLimit: nil, names: names, to: out)
        let file = try LogFile(out.bytes)
        let again = try reduce(file.path, .aix)
        #expect(again.input.damages.isEmpty && again.input.passedOver.isEmpty)
        #expect(
            again.reduction.totals.liveBytes == reduction.totals.liveBytes && again.reduction.totals.liveBlocks == 5000)
        // An address without a module has its own text for a name.
        var expected = rows(reduction, names)
        if let bare = expected.removeValue(forKey: ["0x55551234"]) {
            expected["\(0x5555_1234) 0x55551234".split(separator: "|").map(String.init)] = bare
        }
        #expect(rows(again.reduction, FrameNames(again.reduction)) == expected)
        #expect(
            again.reduction.rows.contains { again.reduction.frames(of: $0).contains { $0.module == SpecialModule.cut } }
        )
        #expect(
            again.reduction.rows.contains {
                again.reduction.frames(of: $0).contains(Frame(module: SpecialModule.thread, offset: 4711))
            })
        #expect(again.reduction.rows.contains { again.reduction.tag(of: $0) == .text(Array("tenant 42".utf8)) })
    }

    @Test func areReadByAwkToo() throws {
        let reduction = Reduction()
        try reduction.add(image(seed: 9))
        let names = FrameNames(reduction) { _ in Naming() }
        let out = TextOutput()
        try writeRecords(reduction, RowSelection(reduction, names: names), frameLimit: nil, names: names, to: out)
        let scratch = try Scratch()
        try scratch.write("log", out.text)
        let counted = try scratch.shell(
            "grep -c '^Allocation #' log; perl -ne '$sum += hex $1 if /^Allocation size: 0x([0-9A-F]+)$/; END { print "
                + "\"$sum\\n\" }' log"
        ).output
        #expect(counted == "5000\n\(reduction.totals.liveBytes)\n")
    }
}
