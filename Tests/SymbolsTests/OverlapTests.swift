// ELF files whose parts lie on top of one another, in numbers: a reader that trusted each of them would read
// the same bytes tens of thousands of times over.

import TestSupport
import Testing

@testable import Symbols

@Suite struct OverlapTests {
    /// A 64-bit little-endian file of a header, `segments` and `sections`, given as their fields, and `rest`.
    private func file(
        segments: [[(UInt64, Int)]] = [], sections: [[(UInt64, Int)]] = [], names: Int = 0, rest: [UInt8] = []
    ) -> [UInt8] {
        var bytes: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        func put(_ value: UInt64, _ width: Int) {
            for index in 0 ..< width { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
        }
        let segmentsAt = UInt64(64), sectionsAt = segmentsAt + UInt64(segments.count * 56)
        put(3, 2)
        put(62, 2)
        put(1, 4)
        put(0, 8)
        put(segments.isEmpty ? 0 : segmentsAt, 8)
        put(sections.isEmpty ? 0 : sectionsAt, 8)
        put(0, 4)
        put(64, 2)
        put(56, 2)
        put(UInt64(segments.count), 2)
        put(64, 2)
        put(UInt64(sections.count), 2)
        put(UInt64(names), 2)
        for record in segments + sections { for (value, width) in record { put(value, width) } }
        return bytes + rest
    }

    /// p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    private func segment(_ type: UInt64, at offset: UInt64, count: UInt64, align: UInt64 = 4) -> [(UInt64, Int)] {
        [(type, 4), (5, 4), (offset, 8), (offset, 8), (offset, 8), (count, 8), (count, 8), (align, 8)]
    }

    /// sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info, sh_addralign, sh_entsize
    private func section(
        _ type: UInt64, at offset: UInt64, count: UInt64, name: UInt64 = 0, link: UInt64 = 0, entry: UInt64 = 0
    ) -> [(UInt64, Int)] {
        [(name, 4), (type, 4), (2, 8), (0x1000, 8), (offset, 8), (count, 8), (link, 4), (0, 4), (8, 8), (entry, 8)]
    }

    private func reason(_ path: String) -> SymbolsError? {
        do throws(SymbolsError) {
            _ = try ModuleSymbols(path: path, expectedBuildID: nil)
            _ = try SymbolListing(path: path)
            return nil
        } catch { return error }
    }

    @Test func noteSegmentsOnTopOfOneAnother() throws {
        let directory = try Scratch()
        let count = 60_000, end = UInt64(64 + count * 56)
        // A note without a name or value, over and over: 12 zero bytes each.
        let rest = [UInt8](repeating: 0, count: 120_000)
        let bytes = file(
            segments: Array(repeating: segment(4, at: end, count: UInt64(rest.count)), count: count), rest: rest)
        let path = try directory.write(bytes, to: "notes")
        let error = try #require(reason(path))
        guard case .damaged = error.reason else {
            Issue.record("\(error)")
            return
        }
        #expect(error.offset == end)
    }

    @Test func loadedSegmentsOnTopOfOneAnotherAreNothingToSymbols() throws {
        let directory = try Scratch()
        let note: [UInt8] = [4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0] + Array("GNU\0".utf8) + [9, 8, 7, 6]
        let loads = Array(repeating: segment(1, at: 0, count: 1 << 40), count: 300), end = UInt64(64 + 301 * 56)
        let path = try directory.write(
            file(segments: loads + [segment(4, at: end, count: UInt64(note.count))], rest: note), to: "loads")
        #expect(try ModuleSymbols(path: path, expectedBuildID: nil).buildID == [9, 8, 7, 6])
    }

    @Test func sectionsOnTopOfOneAnother() throws {
        let directory = try Scratch()
        // Every kind of section that is read, each over the whole file, 65,000 times in all.
        let kinds: [UInt64] = [2, 3, 4, 7, 9, 11, 17, 18]
        let count = 65_000, bytesOfAll = UInt64(64 + count * 64)
        for kind in kinds {
            let all = (0 ..< count).map {
                section($0 == 0 ? 3 : kind, at: 0, count: bytesOfAll, name: UInt64($0), link: 0, entry: 24)
            }
            let path = try directory.write(file(sections: all, names: 0), to: "kind\(kind)")
            if let error = reason(path) { #expect(error.file == path) }
        }
    }
}
