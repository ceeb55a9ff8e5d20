// Rows by something else than their stacks: each against a count of the same blocks by hand, block for block.

import CHeapImage
import HeapImage
import Reduce
import Symbols
import TestSupport
import Testing
import Text

@testable import Report

/// Functions of 0x100 bytes each, in the order of their names here, all of one source file but for those of a header.
struct MadeUpModule: ModuleNaming {
    var functions: [String]
    var header: Set<String> = []

    func name(at address: UInt64) -> SymbolName? {
        let index = Int(address / 0x100)
        return index < functions.count ? SymbolName(name: functions[index], offset: address % 0x100) : nil
    }

    func calls(at addresses: [UInt64]) -> [[SourceCall]] {
        addresses.map { address in
            guard let function = name(at: address)?.name else { return [] }
            let file = header.contains(function) ? "/usr/include/c++/12/vector" : "/src/\(function.first ?? "x").c"
            return [SourceCall(function: function, file: file, line: Int(address / 0x100) + 1)]
        }
    }
}

/// A program whose every block is known: the functions of its stack, innermost first, its size, thread and age.
struct MadeUpHeap {
    struct Block { var functions: [String], bytes: UInt64, thread: UInt32?, tag: String?, age: Double }
    var blocks: [Block] = []
    let reduction = Reduction()
    let names: FrameNames
    static let functions = [
        "alpha", "beta", "gamma", "malloc", "operator new(unsigned long)", "std::vector<int>::grow()", "main",
        "start_thread",
    ]

    init(seed: UInt64, count: Int = 500) throws {
        var random = SeededGenerator(seed: seed)
        var builder = ImageBuilder()
        builder.header.began_ns = 100_000_000_000
        builder.header.ended_ns = 100_000_000_000
        let app = builder.addModule("/opt/app"), nameless = builder.addModule("/lib/libgone.so")
        let tags = ["tenant 1", "tenant 2", ""].map { builder.addString($0.utf8) }
        var stacks: [(functions: [String], thread: UInt32?, tag: String?, number: UInt32)] = []
        for index in 0 ..< 40 {
            let length = Int.random(in: 0 ..< 5, using: &random)
            let functions = (0 ..< length).map { _ in (Self.functions + ["?"]).randomElement(using: &random) ?? "?" }
            let thread: UInt32? = index % 3 == 0 ? nil : UInt32(index % 3)
            var frames = functions.map { function in
                Self.functions.firstIndex(of: function).map { heap_frame_make(app, UInt64($0) * 0x100 + 0x11) }
                    ?? heap_frame_make(nameless, 0x77)
            }
            if let thread { frames.append(heap_frame_make(HEAP_MODULE_THREAD, UInt64(thread))) }
            let tag = Int.random(in: 0 ..< 4, using: &random)
            if tag < 3 { frames.append(heap_tag_frame(tags[tag].length == 0 ? heap_string() : tags[tag])) }
            let text: String? = tag == 3 ? nil : tag == 2 ? "more tags than are kept" : "tenant \(tag + 1)"
            stacks.append((functions, thread, text, builder.addStack(frames)))
        }
        for index in 0 ..< count {
            let stack = stacks[Int.random(in: 0 ..< stacks.count, using: &random)]
            let bytes = UInt64.random(in: 0 ..< 200, using: &random) * (index % 5 == 0 ? 100 : 1)
            // Ticks are milliseconds this early.
            let tick = UInt32.random(in: 0 ..< 30_000, using: &random)
            builder.addBlock(
                address: 0x1_0000 + UInt64(index) * 0x10_000, bytes: bytes, stack: stack.number, tick: tick)
            blocks.append(
                Block(
                    functions: stack.functions, bytes: bytes, thread: stack.thread, tag: stack.tag,
                    age: 100 - Double(tick) / 1000))
        }
        try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "app.heap"), presence: .gone))
        names = FrameNames(reduction) { module in
            guard module.baseName == "app" else { throw NoFile() }
            return MadeUpModule(functions: Self.functions, header: ["std::vector<int>::grow()"])
        }
    }

    /// Bytes and blocks by the key that `key` has for a block.
    func count(_ key: (Block) -> String) -> [String: [UInt64]] {
        var counts: [String: [UInt64]] = [:]
        for block in blocks {
            let old = counts[key(block)] ?? [0, 0]
            counts[key(block)] = [old[0] + block.bytes, old[1] + 1]
        }
        return counts
    }

    func grouped(_ grouping: Grouping) -> [String: [UInt64]] {
        let rows = RowSelection(reduction, names: names, by: grouping).rows
        return Dictionary(rows.map { ($0.key?.text ?? "", [$0.bytes, $0.blocks]) }, uniquingKeysWith: { _, _ in [] })
    }
}

@Suite struct GroupingTests {
    private static func isAllocation(_ function: String) -> Bool {
        function == "malloc" || function.hasPrefix("operator new")
    }
    private static func isAsker(_ function: String) -> Bool { !isAllocation(function) && !function.hasPrefix("std::") }
    private static func line(_ function: String) -> String {
        "\((MadeUpHeap.functions.firstIndex(of: function) ?? 0) + 1)"
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func eachBlockCountsOnceUnderWhoAskedForIt(seed: UInt64) throws {
        let heap = try MadeUpHeap(seed: seed)
        #expect(
            heap.grouped(.function)
                == heap.count { block in
                    guard let innermost = block.functions.first else { return "no frames" }
                    let asker = block.functions.first(where: Self.isAsker) ?? innermost
                    return asker == "?" ? "libgone.so+0x77" : asker
                })
        #expect(
            heap.grouped(.module)
                == heap.count { block in
                    guard !block.functions.isEmpty else { return "no frames" }
                    guard let asker = block.functions.first(where: Self.isAsker) else { return "no module known" }
                    return asker == "?" ? "/lib/libgone.so" : "/opt/app"
                })
        func source(_ block: MadeUpHeap.Block, _ text: (String) -> String) -> String {
            let known = block.functions.filter { $0 != "?" && $0 != "start_thread" }
            let own = known.first { !Self.isAllocation($0) && !$0.hasPrefix("std::") }
            if let own { return "/src/\(own.prefix(1)).c" + text(own) }
            guard let innermost = block.functions.first else { return "no frames" }
            if let header = known.first {
                return (Self.isAllocation(header) ? "/src/\(header.prefix(1)).c" : "/usr/include/c++/12/vector")
                    + text(header)
            }
            let owner = block.functions.first { !Self.isAllocation($0) && !$0.hasPrefix("std::") } ?? innermost
            return "no source known: " + (owner == "?" ? "/lib/libgone.so" : "/opt/app")
        }
        #expect(heap.grouped(.file) == heap.count { source($0) { _ in "" } })
        #expect(heap.grouped(.line) == heap.count { source($0) { ":" + Self.line($0) } })
        #expect(heap.grouped(.thread) == heap.count { $0.thread.map { "\($0)" } ?? "not recorded" })
        #expect(heap.grouped(.tag) == heap.count { $0.tag ?? "no tag" })
        #expect(
            heap.grouped(.size)
                == heap.count { block in
                    if block.bytes <= 4096 { return "\(block.bytes)" }
                    return block.bytes <= 8192 ? "4097-8192" : block.bytes <= 16384 ? "8193-16384" : "16385-32768"
                })
    }

    @Test func historyAndAgesOfAGroupAreItsStacks() throws {
        let heap = try MadeUpHeap(seed: 4)
        let rows = RowSelection(heap.reduction, names: heap.names, by: .module, sort: .allocatedBytes).rows
        #expect(rows.reduce(0) { $0 + ($1.history?.allocatedBlocks ?? 0) } == UInt64(heap.blocks.count))
        for row in rows where row.key?.text == "/lib/libgone.so" {
            let ages = heap.blocks.filter { $0.functions.first(where: Self.isAsker) == "?" }.map(\.age)
            #expect(
                abs((row.oldestSeconds ?? 0) - (ages.max() ?? -1)) < 1e-6
                    && abs((row.newestSeconds ?? 0) - (ages.min() ?? -1)) < 1e-6)
        }
        let sizes = RowSelection(heap.reduction, names: heap.names, by: .size).rows
        #expect(
            sizes.allSatisfy { $0.history == nil }
                && sizes.compactMap(\.oldestSeconds).max() == heap.blocks.map(\.age).max())
    }

    @Test func filtersChooseStacksBeforeTheyAreGrouped() throws {
        let heap = try MadeUpHeap(seed: 5)
        let selection = RowSelection(
            heap.reduction, names: heap.names, by: .size, minBytes: 1000, filter: try FrameFilter(include: ["^beta$"]))
        let counts = heap.count { $0.functions.contains("beta") ? "\($0.bytes)" : "" }.filter {
            $0.key != "" && $0.value[0] >= 1000
        }
        let exact = selection.rows.filter { $0.key?.text.contains("-") == false }
        #expect(exact.allSatisfy { counts[$0.key?.text ?? ""] == [$0.bytes, $0.blocks] } && !exact.isEmpty)
        let all = heap.blocks.filter { $0.functions.contains("beta") }.reduce(0) { $0 + $1.bytes }
        #expect(selection.rows.reduce(0) { $0 + $1.bytes } + selection.smallBytes == all)
        #expect(selection.filteredBytes == heap.blocks.reduce(0) { $0 + $1.bytes } - all)
    }

    @Test func sizesOfALogAreKnownOfSingleBlocksAlone() throws {
        let reduction = Reduction()
        let input = reduction.begin(Input(path: "log", kind: "aix"))
        let one = reduction.frame(LogFrame(name: Array("one".utf8))),
            two = reduction.frame(LogFrame(name: Array("two".utf8)))
        reduction.add(frames: [one], bytes: 700, input: input)
        reduction.add(frames: [two], bytes: 100, blocks: 3, input: input)
        let rows = RowSelection(reduction, names: FrameNames(reduction), by: .size).rows
        #expect(
            rows.map { [$0.key?.text ?? "", "\($0.bytes)", "\($0.blocks)"] } == [
                ["700", "700", "1"], ["not known", "100", "3"],
            ])
    }

    @Test func everyFormatShowsTheKey() throws {
        let (reduction, names) = try sample()
        let selection = RowSelection(reduction, names: names, by: .function)
        func text(_ write: (TextOutput) throws -> Void) throws -> String {
            let out = TextOutput()
            try write(out)
            return out.text
        }
        #expect(
            try text { try Table(style: Style()).write(reduction, selection, names: names, to: $0) } == """
                /usr/bin/sample · pid 4242 · exited with status 0
                3,001,741 bytes live in 4 blocks · peak 5,000,000 bytes · 3 stacks

                    bytes    share   blocks   oldest   function
                3,001,234   100.0%        2     99 s   evil\\x1b[31m"name\\n  app
                      500     0.0%        1     97 s   libgone.so+0x77
                        7     0.0%        1    100 s   0xdeadbeef

                Lost: app.4242.heap: 2 allocations of 64 bytes found no space in the image.
                No names for 1 frame of libgone.so: the file is missing.
                Next: heapsum info app.4242.heap tells how the program stood; --include REGEX picks stacks, \
                --format json is for scripts.

                """)
        let json = try text { try JSONReport().write(reduction, selection, names: names, to: $0) }
        #expect(json.contains(#"{"key":"evil\u001b[31m\"name\n","bytes":3001234,"blocks":2,"#), "\(json)")
        #expect(
            json.contains(
                #""frames":[{"module":"/opt/bin/app","buildID":null,"offset":null,"address":null,"function":"evil"#),
            "\(json)")
        #expect(
            try text { try writeFolded(reduction, selection, frameLimit: nil, names: names, to: $0) }.contains(
                "libgone.so+0x77 500\n"))
        let csv = try text { try writeCSV(reduction, selection, frameLimit: nil, names: names, to: $0) }
        #expect(csv.contains("newest_seconds,function\r\n") && csv.contains(",\"libgone.so+0x77\"\r\n"), "\(csv)")
    }
}
