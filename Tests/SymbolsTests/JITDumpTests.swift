// jitdump files: made by hand, by Tests/Programs/compiles.c, and by node. The oracle is perf, which makes an ELF file
// of each function.

import TestSupport
import Testing

@testable import Symbols

/// Writes a jitdump file, field by field.
struct HandmadeJITDump {
    var bytes: [UInt8] = []
    static let second: UInt64 = 1_000_000_000

    init(processID: UInt32 = 77, timestamp: UInt64 = 100 * second, flags: UInt64 = 0) {
        add(UInt32(0x4A69_5444), UInt32(1), UInt32(40), UInt32(62), UInt32(0), processID)
        add(timestamp, flags)
    }

    mutating func add<each Value: FixedWidthInteger>(_ values: repeat each Value) {
        for value in repeat each values { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
    }

    mutating func record(_ kind: UInt32, at time: UInt64, _ body: (inout HandmadeJITDump) -> Void) {
        var content = HandmadeJITDump()
        content.bytes = []
        body(&content)
        add(kind, UInt32(16 + content.bytes.count), time)
        bytes += content.bytes
    }

    mutating func load(_ name: String, _ address: UInt64, _ byteCount: UInt64, at time: UInt64, index: UInt64 = 0) {
        record(0, at: time) { content in
            content.add(UInt32(77), UInt32(77), address, address, byteCount, index)
            content.bytes += Array(name.utf8) + [0] + [UInt8](repeating: 0x90, count: Int(byteCount))
        }
    }

    mutating func move(from: UInt64, to: UInt64, _ byteCount: UInt64, at time: UInt64, index: UInt64) {
        record(1, at: time) { $0.add(UInt32(77), UInt32(77), to, from, to, byteCount, index) }
    }

    /// - Parameter count: what the record says, if that is not the truth.
    mutating func lines(
        _ address: UInt64, _ lines: [(address: UInt64, line: UInt32, file: [UInt8])], count: UInt64? = nil
    ) {
        record(2, at: 0) { content in
            content.add(address, count ?? UInt64(lines.count))
            for (address, line, file) in lines {
                content.add(address, line, UInt32(0))
                content.bytes += file + [0]
            }
        }
    }
}

@Suite struct JITDumpTests {
    private static let second = HandmadeJITDump.second

    private func read(
        _ dump: HandmadeJITDump, of processID: UInt32? = 77,
        lifetime: ClosedRange<UInt64>? = 90 * second ... 900 * second
    ) throws -> JITDump {
        let directory = try Scratch()
        let path = try directory.write(dump.bytes, to: "dump")
        return try JITDump.read(FileReader(path: path), of: processID, lifetime: lifetime)
    }

    private func name(_ answer: JITAnswer?) -> String? {
        switch answer {
        case .named(let name): name.function
        case .several: "several"
        case nil: nil
        }
    }

    @Test func theTimeTellsWhichFunctionWasThere() throws {
        let second = Self.second
        var dump = HandmadeJITDump()
        dump.load("early", 0x1000, 0x100, at: 200 * second)
        dump.load("late", 0x1080, 0x100, at: 300 * second)
        let index = try read(dump).index
        #expect(name(index.answer(at: 0x1090, during: 210 * second ... 290 * second)) == "early")
        #expect(name(index.answer(at: 0x1090, during: 310 * second ... 400 * second)) == "late")
        #expect(name(index.answer(at: 0x1090, during: 250 * second ... 350 * second)) == "several")
        #expect(name(index.answer(at: 0x1090, during: nil)) == "several")
        // On the border either may have been there.
        #expect(name(index.answer(at: 0x1090, during: 300 * second ... 300 * second)) == "several")
        #expect(name(index.answer(at: 0x1090, during: 110 * second ... 190 * second)) == nil)
        #expect(name(index.answer(at: 0x1010, during: nil)) == "early")
        #expect((index.earliest(at: 0x1090) ?? .max) < 200 * second)
    }

    @Test func anotherClockTellsNothing() throws {
        let second = Self.second
        for (timestamp, flags) in [(100 * second, UInt64(1)), (1_700_000_000 * second, 0), (10 * second, 0)] {
            var dump = HandmadeJITDump(timestamp: timestamp, flags: flags)
            dump.load("early", 0x1000, 0x100, at: timestamp + second)
            dump.load("late", 0x1000, 0x100, at: timestamp + 100 * second)
            let found = try read(dump)
            #expect(!found.knowsTimes && found.index.earliest(at: 0x1000) == nil)
            #expect(name(found.index.answer(at: 0x1010, during: 110 * second ... 120 * second)) == "several")
        }
    }

    @Test func codeMoves() throws {
        let second = Self.second
        var dump = HandmadeJITDump()
        dump.load("moves", 0x1000, 0x40, at: 200 * second, index: 5)
        dump.move(from: 0x1000, to: 0x2000, 0x40, at: 300 * second, index: 5)
        dump.move(from: 0x7000, to: 0x3000, 0x40, at: 300 * second, index: 5) // it was not there
        dump.load("gone", 0x3000, 0x40, at: 200 * second, index: 6)
        let index = try read(dump).index
        #expect(name(index.answer(at: 0x1010, during: 210 * second ... 220 * second)) == "moves")
        #expect(index.answer(at: 0x1010, during: 310 * second ... 320 * second) == nil)
        #expect(name(index.answer(at: 0x2010, during: 310 * second ... 320 * second)) == "moves")
        #expect(index.answer(at: 0x2010, during: 210 * second ... 220 * second) == nil)
        // Whatever was moved there has no name, and least of all that of what was there before.
        #expect(index.answer(at: 0x3010, during: 310 * second ... 320 * second) == nil)
        #expect(name(index.answer(at: 0x3010, during: 210 * second ... 220 * second)) == "gone")
    }

    @Test func linesAreFound() throws {
        let file = Array("a.src".utf8), second = Self.second
        var dump = HandmadeJITDump()
        dump.lines(0x1000, [(0x1000, 3, file), (0x1010, 5, [0xFF]), (0x1020, 9, Array("b.src".utf8))])
        dump.load("f", 0x1000, 0x40, at: 200 * second)
        let index = try read(dump).index
        func place(_ address: UInt64) -> String? {
            guard case .named(let name) = index.answer(at: address, during: nil) else { return nil }
            return name.file.map { "\($0):\(name.line ?? 0)" }
        }
        #expect(place(0x100F) == "a.src:3" && place(0x1010) == "a.src:5" && place(0x103F) == "b.src:9")
    }

    /// V8's lines are 64 bytes too high, its inlined functions' lines are of other files, and some of its files' names
    /// are from freed memory.
    @Test func linesAsV8WritesThem() throws {
        let own = Array("/srv/app.js".utf8), second = Self.second
        var dump = HandmadeJITDump()
        dump.lines(0x1000, [(0x1040, 3, own), (0x1050, 5, Array("/srv/lib.js".utf8)), (0x1078, 7, own)])
        dump.load("JS:*f /srv/app.js:2:10", 0x1000, 0x40, at: 200 * second)
        dump.lines(0x2000, [(0x2040, 3, [0xFB, 0x6C, 0x93]), (0x2050, 4, own)])
        dump.load("JS:*g /srv/app.js:2:10", 0x2000, 0x40, at: 200 * second)
        dump.lines(0x3000, [(0x3040, 3, own)], count: 1 << 60)
        dump.load("JS:*h /srv/app.js:2:10", 0x3000, 0x40, at: 200 * second)
        let found = try read(dump)
        func answer(_ address: UInt64) -> JITAnswer? { found.index.answer(at: address, during: nil) }
        let f = JITName(function: "JS:*f /srv/app.js:2:10", offset: 0, file: "/srv/app.js", line: 3)
        #expect(answer(0x1000) == .named(f))
        #expect(answer(0x1010) == .named(JITName(function: f.function, offset: 0x10)))
        #expect(answer(0x103F) == .named(JITName(function: f.function, offset: 0x3F, file: "/srv/app.js", line: 7)))
        #expect(answer(0x2010) == .named(JITName(function: "JS:*g /srv/app.js:2:10", offset: 0x10)))
        #expect(answer(0x3010) == .named(JITName(function: "JS:*h /srv/app.js:2:10", offset: 0x10)))
        #expect(found.notes.isEmpty)
        // If it can't be told whether there is a shift, no line is said.
        var unclear = HandmadeJITDump()
        unclear.lines(0x1000, [(0x1040, 3, own)])
        unclear.load("JS:*f /srv/app.js:2:10", 0x1000, 0x400, at: 200 * second)
        let other = try read(unclear)
        #expect(other.index.answer(at: 0x1000, during: nil) == .named(JITName(function: f.function, offset: 0)))
        #expect(other.notes.count == 1)
    }

    @Test func filesOfOthersAreRefused() throws {
        var dump = HandmadeJITDump()
        dump.load("f", 0x1000, 0x40, at: 200 * Self.second)
        #expect(throws: SymbolsError.self) { try read(dump, of: 78) }
        for (place, value) in [(0, UInt8(0x45)), (4, 2), (8, 39), (9, 0xFF)] {
            var other = dump
            other.bytes[place] = value
            #expect(throws: SymbolsError.self, "\(place)") { try read(other) }
        }
        var swapped = dump
        swapped.bytes.replaceSubrange(0 ..< 4, with: [0x4A, 0x69, 0x54, 0x44])
        #expect { try read(swapped) } throws: { "\($0)".contains("byte order") }
    }

    @Test func hostileFilesAreReadOrRefused() throws {
        let file = Array("a.src".utf8), second = Self.second
        var dump = HandmadeJITDump()
        dump.lines(0x1000, [(0x1000, 3, file), (0x1010, 5, [0xFF])])
        dump.load("f", 0x1000, 0x40, at: 200 * second, index: 1)
        dump.move(from: 0x1000, to: 0x2000, 0x40, at: 300 * second, index: 1)
        dump.load("g", .max - 4, 0x40, at: 300 * second, index: 2)
        var random = SeededGenerator(seed: 3)
        for count in 0 ..< dump.bytes.count {
            var cut = dump
            cut.bytes.removeLast(dump.bytes.count - count)
            // The lengths of the header and of the records: elsewhere something is missing, and has a note.
            let isWhole = [40, 40 + 72, 40 + 72 + 122, 40 + 72 + 122 + 64].contains(count)
            if let found = try? read(cut) { #expect(isWhole == found.notes.isEmpty, "\(count)") }
        }
        for _ in 0 ..< 3000 {
            var other = dump
            for _ in 0 ..< Int.random(in: 1 ... 4, using: &random) {
                other.bytes[Int.random(in: 0 ..< other.bytes.count, using: &random)] = UInt8.random(
                    in: 0 ... 255, using: &random)
            }
            guard let found = try? read(other, of: nil, lifetime: nil) else { continue }
            for address: UInt64 in [0, 0x1000, 0x1020, 0x2001, .max - 1, .max] {
                _ = found.index.answer(at: address, during: 0 ... 250 * second)
            }
        }
        // A million functions at one address.
        var many = HandmadeJITDump()
        for number in 0 ..< 20_000 { many.load("f\(number)", 0x1000, 1, at: 200 * second + UInt64(number)) }
        #expect(try read(many).index.answer(at: 0x1000, during: nil) == .several)
    }

    // MARK: perf

    private func output(_ command: String) throws -> String { String(decoding: try shell(command), as: UTF8.self) }

    /// perf makes an ELF file of each function of a jitdump file: nm and addr2line read it.
    private func compareWithPerf(_ command: String, lines: Bool) throws -> (functions: Int, lines: Int) {
        let scratch = try Scratch(), inside = "cd '\(scratch.path)' &&"
        try shell("\(inside) perf record -q -k mono -F 99 -o recorded \(command) > said 2>&1")
        try shell("\(inside) perf inject --jit -i recorded -o injected 2> /dev/null")
        let code = try JITCode(path: String(output("ls '\(scratch.path)'/jit-*.dump").dropLast()))
        #expect(code.notes.isEmpty, "\(code.notes)")
        // FILE:ADDRESS t NAME
        var symbols: [Substring: Substring] = [:]
        for line in try output("\(inside) nm -A jitted-*.so").split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            symbols[line[..<colon]] = line[colon...].dropFirst(1 + 16 + 3)
        }
        // … [0x7f1000(0x17) @ 0x80 fe:00 16500912 1]: --xs /…/jitted-4711-0.so
        let events = try output("\(inside) perf script -i injected --show-mmap-events 2> /dev/null | grep jitted-")
        var counts = (functions: 0, lines: 0)
        for event in events.split(separator: "\n") {
            let range = event.split(separator: "[").last?.split(separator: "(") ?? []
            let file = try #require(event.split(separator: "/").last)
            // Events of another form don't say where the code is.
            guard let start = range.first.flatMap({ UInt64($0.dropFirst(2), radix: 16) }), range.count > 1,
                let size = range[1].split(separator: ")").first.flatMap({ UInt64($0.dropFirst(2), radix: 16) }),
                size > 0
            else { continue }
            let symbol = try #require(symbols[file])
            switch code.answer(at: start) {
            case .named(let name):
                counts.functions += 1
                #expect(name.function == symbol)
            case .several: break
            case nil: Issue.record("nothing at \(start), where perf has \(symbol)")
            }
            guard lines else { continue }
            // The code begins at 0x80 in perf's files.
            let offsets = (0 ..< size).map { String(0x80 + $0, radix: 16) }.joined(separator: " ")
            let said = try output("\(inside) addr2line -e \(file) \(offsets)").split(separator: "\n")
            for offset in 0 ..< Int(size) {
                // perf's table ends where the last line begins.
                guard case .named(let name) = code.answer(at: start + UInt64(offset)), !said[offset].hasPrefix("??")
                else {
                    continue
                }
                counts.lines += 1
                #expect(said[offset] == "\(name.file ?? "??"):\(name.line ?? 0)", "\(symbol) \(offset)")
            }
        }
        return counts
    }

    private static let hasPerf =
        (try? shell("perf record -q -k mono -o /dev/null true > /dev/null 2>&1 && perf version > /dev/null")) != nil

    @Test(.enabled(if: hasPerf)) func perfReadsTheSameFunctionsAndLines() throws {
        let counts = try compareWithPerf("'\(Built.program("compiles"))' dump .", lines: true)
        #expect(counts.functions >= 4 && counts.lines > 50, "\(counts)")
    }

    @Test(.enabled(if: hasPerf)) func perfReadsTheSameFunctionsOfNode() throws {
        let program = "const a = []; for (let i = 0; i < 3000; i++) a.push(Buffer.alloc(9000, i))"
        let counts = try compareWithPerf("node --perf-prof -e '\(program)'", lines: false)
        #expect(counts.functions > 1000, "\(counts)")
    }
}
