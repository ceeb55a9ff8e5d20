// JIT maps: names with spaces, memory used again, files of others.

import Glibc
import TestSupport
import Testing

@testable import Symbols

@Suite struct JITMapTests {
    private func map(_ text: String) throws -> JITMap {
        let directory = try Scratch()
        return try JITMap(path: directory.write(Array(text.utf8), to: "map"))
    }

    @Test func names() throws {
        let map = try map("7f0000001000 40 LazyCompile:~main /app/x@1.js:3\n0x7f0000001040 0x20 Stub:a b\n")
        #expect(map.notes.isEmpty)
        #expect(map.name(at: 0x7F00_0000_103F) == SymbolName(name: "LazyCompile:~main /app/x@1.js:3", offset: 0x3F))
        #expect(map.name(at: 0x7F00_0000_1040)?.name == "Stub:a b")
        #expect(map.name(at: 0x7F00_0000_1060) == nil && map.name(at: 0x7F00_0000_0FFF) == nil)
    }

    @Test func aLaterLineTakesTheMemory() throws {
        let map = try map("1000 100 old\n1200 10 other\n1080 100 new\n1000 20 newest\n1204 4 inner\n")
        #expect(map.name(at: 0x1010)?.name == "newest")
        #expect(map.name(at: 0x1030) == nil) // what was there is partly overwritten: it is gone
        #expect(map.name(at: 0x1090)?.name == "new" && map.name(at: 0x117F)?.name == "new")
        #expect(map.name(at: 0x1205)?.name == "inner" && map.name(at: 0x1201) == nil)
    }

    @Test func badLinesAreTold() throws {
        let map = try map("1000 10 f\nnonsense\n\n2000 zz g\nffffffffffffffff ff h\n3000 0 empty\n")
        #expect(map.name(at: 0x1001)?.name == "f" && map.name(at: 0x3000) == nil)
        #expect(map.notes.count == 1 && map.notes[0].offset == 10)
        #expect("\(map.notes[0])".contains("2 lines"))
    }

    @Test func whichFileIsTaken() throws {
        let directory = try Scratch()
        try shell("mkdir '\(directory.path)/tmp'")
        let path = try directory.write(Array("1000 10 f\n".utf8), to: "tmp/perf-77.map")
        #expect(try JITMap(processID: 77, sysroot: directory.path)?.name(at: 0x1000)?.name == "f")
        #expect(try JITMap(processID: 78, sysroot: directory.path) == nil)
        let later = UInt64(time(nil)) + 3600
        #expect(throws: SymbolsError.self) { try JITMap(processID: 77, sysroot: directory.path, since: later) }
        try shell("ln -s '\(path)' '\(directory.path)/tmp/perf-79.map' && mkfifo '\(directory.path)/tmp/perf-80.map'")
        #expect(throws: SymbolsError.self) { try JITMap(processID: 79, sysroot: directory.path) }
        #expect(throws: SymbolsError.self) { try JITMap(processID: 80, sysroot: directory.path) }
    }
}
