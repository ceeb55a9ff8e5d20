// Files that lie. Whatever is in them, the reader answers or throws an error that says where; it never
// traps, and never allocates or works much more than the file is large.

import TestSupport
import Testing

@testable import Symbols

/// Everything that reads a file; only typed errors come out, and the compiler sees to that.
private func readAll(_ path: String) -> SymbolsError? {
    var first: SymbolsError?
    do throws(SymbolsError) {
        let module = try ModuleSymbols(path: path, expectedBuildID: [1])
        for address: UInt64 in [0, 0x1000, 0x1010, 0x1160, 0x2000, .max] { _ = module.name(at: address) }
    } catch {
        if case .buildIDDiffers = error.reason {} else { first = error }
    }
    do throws(SymbolsError) {
        var listing = try SymbolListing(path: path)
        listing.sort(by: .name)
        var name: [UInt8] = []
        for symbol in listing.symbols { listing.appendName(of: symbol, to: &name) }
    } catch {
        first = first ?? error
    }
    return first
}

@Suite struct HostileTests {
    @Test(arguments: [(true, false), (true, true), (false, false), (false, true)])
    func bothClassesAndByteOrders(_ isWide: Bool, _ isBigEndian: Bool) throws {
        let directory = try Scratch()
        var places = HandmadeELF.Places()
        let path = try directory.write(HandmadeELF(isWide: isWide, isBigEndian: isBigEndian).bytes(&places), to: "made")
        let warnings = String(decoding: try shell("readelf -WhSsn '\(path)' 2>&1 >/dev/null"), as: UTF8.self)
        #expect(warnings == "", "the file that this test made is not a good one")
        let readelf = String(decoding: try shell("readelf -Wsn '\(path)'"), as: UTF8.self)
        #expect(readelf.contains("alpha") && readelf.contains("Build ID: 0102030405060708"))

        let module = try ModuleSymbols(path: path, expectedBuildID: [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(module.buildID == [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(module.name(at: 0xFFF) == nil)
        #expect(module.name(at: 0x101F) == SymbolName(name: "alpha", offset: 0x1F))
        // No table has local functions, so nothing tells where a function without a size ends.
        #expect(module.name(at: 0x1020) == SymbolName(name: "beta", offset: 0))
        #expect(module.name(at: 0x1021) == nil && module.name(at: 0x1100) == nil)
    }

    @Test func anotherBuildIsNotSymbolized() throws {
        let directory = try Scratch()
        var places = HandmadeELF.Places()
        let path = try directory.write(HandmadeELF().bytes(&places), to: "made")
        #expect(
            throws: SymbolsError(file: path, reason: .buildIDDiffers(expected: [9], found: [1, 2, 3, 4, 5, 6, 7, 8]))
        ) {
            try ModuleSymbols(path: path, expectedBuildID: [9])
        }
    }

    @Test func whatIsNoELFFile() throws {
        let directory = try Scratch()
        func reason(_ path: String) -> SymbolsError.Reason? { readAll(path)?.reason }
        #expect(reason(directory.path + "/missing") == .cannotOpen(.noSuchFileOrDirectory))
        #expect(reason(directory.path) == .cannotOpen(.isDirectory))
        #expect(reason("/dev/zero") == .notELF)
        try shell("mkfifo '\(directory.path)/fifo'")
        #expect(reason(directory.path + "/fifo") == .notELF)
        #expect(reason(try directory.write([], to: "empty")) == .notELF)
        #expect(reason(try directory.write(Array("#!/bin/sh\necho hello, world\n".utf8), to: "script")) == .notELF)
    }

    /// Each lie, and the offset in the file that the error has to name.
    @Test(arguments: [true, false])
    func lies(_ isWide: Bool) throws {
        let directory = try Scratch()
        var honest = HandmadeELF.Places()
        _ = HandmadeELF(isWide: isWide).bytes(&honest)
        let header = isWide ? 64 : 40
        let record = isWide ? 24 : 16
        func section(_ index: Int) -> Int { honest.sectionTable + index * header }
        let most: UInt64 = isWide ? .max : 0xFFFF_FFFF
        let lies: [(String, UInt64, at: UInt64)] = [
            ("e_shoff", most, most), ("e_shoff", most - 63, most - 63), ("e_shoff", 1 << 20, 1 << 20),
            ("e_shnum", 0xFFFF, UInt64(honest.sectionTable)), ("e_shnum", 7, UInt64(honest.sectionTable)),
            ("e_shentsize", 1, isWide ? 58 : 46), ("e_shstrndx", 17, UInt64(honest.sectionTable)),
            ("2.sh_offset", most, most), ("2.sh_size", most - UInt64(record) + 1, UInt64(honest.symtab)),
            ("2.sh_size", 1 << 20, UInt64(honest.symtab)), ("2.sh_entsize", 0, UInt64(section(2))),
            ("2.sh_link", 0xFFFF_FFFF, UInt64(section(2))), ("2.sh_link", 2, UInt64(section(2))),
            ("2.sh_link", 5, UInt64(section(2))),
            ("3.sh_offset", most, most), ("3.sh_size", most, UInt64(honest.strtab)),
            ("3.sh_size", 3, UInt64(honest.symtab + 2 * record)),
            ("4.sh_name", 0xFFFF_FFFF, UInt64(section(4))),
            ("1.st_name", 0xFFFF_FFFF, UInt64(honest.symtab + record)),
            ("2.st_name", 13, UInt64(honest.symtab + 2 * record)),
            ("2.st_shndx", 6, UInt64(honest.symtab + 2 * record)),
            ("n_namesz", 0xFFFF_FFFF, UInt64(honest.note)), ("n_descsz", 9, UInt64(honest.note)),
            ("5.sh_size", most, UInt64(honest.note)),
        ]
        for (field, value, offset) in lies {
            if field == "2.sh_size", value > UInt64(1 << 40) { continue } // more symbols than can be counted: below
            var places = HandmadeELF.Places()
            var made = HandmadeELF(isWide: isWide)
            made.lie = { name, truth in name == field ? value : truth }
            let path = try directory.write(made.bytes(&places), to: "lie")
            let error = readAll(path)
            #expect(error?.file == path && error?.offset == offset, "\(field) = \(value): \(String(describing: error))")
            guard case .damaged = error?.reason else {
                Issue.record("\(field) = \(value): \(String(describing: error))")
                continue
            }
        }
        // Segments are looked at where no section has notes.
        for (offset, count) in [(most, UInt64(1)), (64, 0xFFFE), (1 << 20, 3)] {
            var places = HandmadeELF.Places()
            var made = HandmadeELF(isWide: isWide)
            made.lie = { name, truth in
                name == "e_phoff" ? offset : name == "e_phnum" ? count : name == "5.sh_type" ? 1 : truth
            }
            let error = readAll(try directory.write(made.bytes(&places), to: "lie"))
            #expect(error?.offset == offset, "\(String(describing: error))")
        }
    }

    @Test func aCountOfSectionsInTheFirstHeaderIsChecked() throws {
        let directory = try Scratch()
        for count: UInt64 in [6, 7, 1 << 40, .max] {
            var places = HandmadeELF.Places()
            var made = HandmadeELF()
            made.lie = { name, truth in name == "e_shnum" ? 0 : name == "0.sh_size" ? count : truth }
            let error = readAll(try directory.write(made.bytes(&places), to: "many"))
            #expect((error == nil) == (count == 6), "\(count): \(String(describing: error))")
        }
    }

    @Test func symbolsAtTheEndOfTheAddressSpace() throws {
        let directory = try Scratch()
        var places = HandmadeELF.Places()
        var made = HandmadeELF(symbols: [
            .init(name: "last", value: UInt64.max - 15, byteCount: .max),
            .init(name: "outside", value: 0x500, byteCount: 16),
            .init(name: "label", value: UInt64.max - 15, byteCount: 0, info: 0x10),
        ])
        made.lie = { name, truth in name == "1.sh_addr" ? .max - 31 : truth } // and 256 bytes long
        let module = try ModuleSymbols(path: directory.write(made.bytes(&places), to: "end"), expectedBuildID: nil)
        #expect(module.name(at: .max - 1) == SymbolName(name: "last", offset: 14))
        #expect(module.name(at: .max - 16) == nil)
        #expect(module.name(at: 0x500) == nil)
    }

    @Test func manyOverlappingSymbolsWithOneLongNameStayQuick() throws {
        let directory = try Scratch()
        var places = HandmadeELF.Places()
        let count = 20_000
        var made = HandmadeELF(symbols: (0 ..< count).map { _ in .init(name: "", value: 0x1000, byteCount: 0x80) })
        made.symbols.append(.init(name: String(repeating: "_", count: 200_000), value: 0x1000, byteCount: 0x80))
        // One of them has an empty name that is not at 0, which must not win for having no underscores.
        made.lie = { name, truth in name.hasSuffix(".st_name") ? UInt64(count) + truth % 1000 : truth }
        let path = try directory.write(made.bytes(&places), to: "long")
        let clock = ThreadClock()
        let duration = try clock.measure {
            let module = try ModuleSymbols(path: path, expectedBuildID: nil)
            #expect(module.name(at: 0x1000)?.name.utf8.count == StringTable.nameLimit)
        }
        #expect(duration < .seconds(20)) // about 2 s in a debug build; without limits it would be hours
    }

    @Test func everyTruncation() throws {
        let directory = try Scratch()
        var places = HandmadeELF.Places()
        let bytes = HandmadeELF().bytes(&places)
        for count in 0 ..< bytes.count {
            let error = readAll(try directory.write(Array(bytes.prefix(count)), to: "cut"))
            #expect(error != nil, "cut to \(count) of \(bytes.count) bytes")
        }
    }

    @Test func flippedBytes() throws {
        let directory = try Scratch()
        var random = SeededGenerator(seed: 3)
        var places = HandmadeELF.Places()
        let small = try directory.compile(
            """
            __attribute__((weak)) int weak(int x) { return x; }
            static int local(int x) { return x + weak(x); }
            int exported(int x) { return local(x) * 2; }
            """, flags: "-shared -fPIC -nostdlib -Wl,-z,noseparate-code -Wl,--build-id", to: "small.so")
        var answered = 0, refused = 0
        for original in [
            HandmadeELF().bytes(&places), HandmadeELF(isWide: false, isBigEndian: true).bytes(&places),
            try readFile(small),
        ] {
            for round in 0 ..< 2500 {
                var bytes = original
                for _ in 0 ... (round % 3) {
                    let position = Int.random(in: 4 ..< bytes.count, using: &random)
                    bytes[position] =
                        [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0 ... 255, using: &random)].randomElement(
                            using: &random) ?? 0
                }
                if round % 16 == 15 { bytes.removeLast(Int.random(in: 0 ..< bytes.count, using: &random)) }
                if readAll(try directory.write(bytes, to: "flipped")) == nil { answered += 1 } else { refused += 1 }
            }
        }
        #expect(answered > 500 && refused > 500)
    }
}
