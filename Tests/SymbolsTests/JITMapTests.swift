// JIT maps: names with spaces, memory used again, files of others.

import Glibc
import TestSupport
import Testing

@testable import Symbols

@Suite struct JITMapTests {
    private func code(_ text: String) throws -> JITCode {
        let directory = try Scratch()
        return try JITCode(path: directory.write(Array(text.utf8), to: "map"))
    }

    private func named(_ name: String, _ offset: UInt64?) -> JITAnswer {
        .named(JITName(function: name, offset: offset))
    }

    @Test func names() throws {
        let code = try code("7f0000001000 40 LazyCompile:~main /app/x@1.js:3\n0x7f0000001040 0x20 Stub:a b\n")
        #expect(code.notes.isEmpty)
        #expect(code.answer(at: 0x7F00_0000_103F) == named("LazyCompile:~main /app/x@1.js:3", 0x3F))
        #expect(code.answer(at: 0x7F00_0000_1040) == named("Stub:a b", 0))
        #expect(code.answer(at: 0x7F00_0000_1060) == nil && code.answer(at: 0x7F00_0000_0FFF) == nil)
    }

    /// The map doesn't say when a function was there, so an address that two of them had has no name.
    @Test func memoryThatWasUsedAgainHasNoName() throws {
        let code = try code("1000 100 old\n1200 10 other\n1080 100 new\n1000 20 newest\n1204 4 inner\n")
        #expect(code.answer(at: 0x1010) == .several)
        #expect(code.answer(at: 0x1030) == named("old", 0x30))
        #expect(code.answer(at: 0x1090) == .several && code.answer(at: 0x117F) == named("new", 0xFF))
        #expect(code.answer(at: 0x1205) == .several && code.answer(at: 0x1201) == named("other", 1))
        // The same function, compiled again: at another place, its start isn't known.
        let again = try self.code("1000 100 f\n1000 80 f\n2000 100 g\n2010 40 g\n")
        #expect(again.answer(at: 0x1010) == named("f", 0x10))
        #expect(again.answer(at: 0x2020) == named("g", nil) && again.answer(at: 0x2008) == named("g", 8))
    }

    /// Against all lines of random maps, read one by one.
    @Test func eachAddressHasTheFunctionsThatHoldIt() throws {
        var random = SeededGenerator(seed: 7)
        for round in 0 ..< 30 {
            let lines = (0 ..< 60).map { _ in
                (
                    start: UInt64.random(in: 0x1000 ..< 0x1400, using: &random),
                    count: UInt64.random(in: 0 ..< (round % 2 == 0 ? 16 : 0x200), using: &random),
                    name: "f\(Int.random(in: 0 ..< 12, using: &random))"
                )
            }
            let text = lines.map { "\(String($0.start, radix: 16)) \(String($0.count, radix: 16)) \($0.name)\n" }
            let code = try code(text.joined())
            for address: UInt64 in 0xFF0 ..< 0x1620 {
                let holding = lines.filter { $0.start <= address && address < $0.start + $0.count }
                let names = Set(holding.map(\.name)), starts = Set(holding.map(\.start))
                let expected: JITAnswer? =
                    names.count > 1
                    ? .several
                    : names.first.map { named($0, starts.count == 1 ? starts.first.map { address - $0 } : nil) }
                #expect(code.answer(at: address) == expected, "\(round): \(address)")
            }
        }
    }

    @Test func badLinesAreTold() throws {
        let code = try code("1000 10 f\nnonsense\n\n2000 zz g\nffffffffffffffff ff h\n3000 0 empty\n")
        #expect(code.answer(at: 0x1001) == named("f", 1) && code.answer(at: 0x3000) == nil)
        #expect(code.notes.count == 1 && code.notes[0].offset == 10)
        #expect("\(code.notes[0])".contains("2 lines"))
    }

    @Test func aLineWithoutAnEndIsNotYetThere() throws {
        let code = try code("1000 10 f\n2000 10 half_of_a_na")
        #expect(code.answer(at: 0x1001) == named("f", 1) && code.answer(at: 0x2001) == nil)
        #expect(code.notes.count == 1 && code.notes[0].offset == 10 && "\(code.notes[0])".contains("within a line"))
    }

    @Test func aLineOfWordsIsOneName() throws {
        let words = String(repeating: "a ", count: 200_000)
        let code = try code("1000 10 \(words)\n2000\t10  g h \r\n3000 10\n")
        #expect(code.answer(at: 0x2001) == named("g h", 1) && code.notes.count == 1)
        guard case .named(let name) = code.answer(at: 0x1001) else { throw Failure("no name") }
        #expect(name.function.hasPrefix("a a a ") && name.function.utf8.count <= 1 << 16)
    }

    @Test func whichFileIsTaken() throws {
        let second: UInt64 = 1_000_000_000
        let directory = try Scratch()
        try shell("mkdir '\(directory.path)/tmp'")
        let path = try directory.write(Array("1000 10 f\n".utf8), to: "tmp/perf-77.map")
        func read(
            _ processID: UInt32, since: UInt64 = 0, until: UInt64? = nil
        ) -> (code: JITCode?, notes: [SymbolsError]) {
            var process = JITProcess(processID: processID)
            (process.sinceNanoseconds, process.untilNanoseconds) = (since, until)
            return JITCode.read(of: process, sysroot: directory.path)
        }
        let now = UInt64(time(nil)) * second
        #expect(read(77).code?.answer(at: 0x1000) == named("f", 0))
        #expect(read(77, since: now - 60 * second, until: now + 60 * second).code != nil)
        #expect(read(78).code == nil && read(78).notes.isEmpty)
        #expect(
            read(77, since: now + 3600 * second).code == nil && read(77, since: now + 3600 * second).notes.count == 1)
        // A process that ended before has not written it.
        #expect(
            read(77, until: now - 60 * second).code == nil
                && "\(read(77, until: now - 60 * second).notes)".contains("newer"))
        try shell("ln -s '\(path)' '\(directory.path)/tmp/perf-79.map' && mkfifo '\(directory.path)/tmp/perf-80.map'")
        #expect(read(79).code == nil && read(79).notes.count == 1)
        #expect(read(80).code == nil && read(80).notes.count == 1)
    }
}
