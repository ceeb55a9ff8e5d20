// Listings read back: what nm and gensyms print of a file names the same addresses as the file itself.
// Forms that this machine can't make are written down here as the tools' manuals have them.

import TestSupport
import Testing

@testable import Symbols

@Suite struct SymbolListTests {
    private func list(_ text: String, name: String = "app.syms", module: String? = nil) throws -> SymbolList {
        let directory = try Scratch()
        return try SymbolList(path: directory.write(Array(text.utf8), to: name), module: module)
    }

    @Test(arguments: [
        "nm", "nm -S", "nm -n", "nm -C", "gensyms", "gensyms --sort size", "gensyms --source", "gensyms --demangle",
    ])
    func theFileAndItsListingSayTheSame(_ command: String) throws {
        let directory = try Scratch()
        let source = try directory.write(Array(LineTests.cxx.utf8), to: "app.cc"), path = "\(directory.path)/app"
        try shell("c++ -g -O1 -o '\(path)' '\(source)'")
        let listing = "\(directory.path)/app.syms"
        if command.hasPrefix("nm") {
            try shell("\(command) '\(path)' > '\(listing)'")
        } else {
            _ = try directory.write(Array(try gensyms("\(command.dropFirst(8)) '\(path)'").utf8), to: "app.syms")
        }
        let module = try ModuleSymbols(path: path, expectedBuildID: nil), list = try SymbolList(listing)
        #expect(list.notes.isEmpty && list.isOf(module: path) && !list.isOf(module: "/usr/bin/other"))
        let isDemangled = command == "nm -C" || command.hasSuffix("--demangle"), hasSizes = command.hasPrefix("gensyms")
        let demangler = Demangler()
        var random = SeededGenerator(seed: 4)
        let code = try SymbolListing(path: path).symbols.filter { "tTW".utf8.contains($0.type) && $0.byteCount > 0 }
        var compared = 0
        for _ in 0 ..< 3000 {
            let symbol = try #require(code.randomElement(using: &random))
            let address =
                symbol.address + UInt64.random(in: 0 ..< (symbol.byteCount + (hasSizes ? 16 : 0)), using: &random)
            let expected = module.name(at: address), found = list.name(at: address, inModule: path)
            if expected?.name.hasSuffix("@plt") == true { continue } // no listing has stubs
            // Aliases have one name in a listing with demangled names and another without; where they begin is the
            // same.
            #expect(found?.offset == expected?.offset, "\(command) \(String(address, radix: 16))")
            if !isDemangled {
                #expect(found == expected)
            } else if let found, let expected {
                #expect(
                    found.name == demangler.demangle(expected.name)
                        || code.filter { $0.address == symbol.address }.count > 1)
            }
            compared += found == nil ? 0 : 1
        }
        #expect(compared > 2000)
    }

    /// Assemblers mark code and data of AArch64 and others: gensyms lists the marks, as nm --special-syms does.
    @Test func marksOfCodeAreNoNames() throws {
        let list = try list(
            """
            0000000000001000 t $x 30
            0000000000001000 T first 20
            0000000000001020 t $d.1 10
            0000000000001030 t $xrv64gc 10
            0000000000001040 t $s3app4mainyyF 10
            0000000000001050 T $x 10
            """)
        let names = stride(from: UInt64(0x1004), through: 0x1054, by: 16).map { list.name(at: $0)?.name }
        #expect(names == ["first", "first", nil, nil, "$s3app4mainyyF", "$x"])
    }

    @Test func kernelSymbols() throws {
        let kallsyms = """
            0000000000000000 A fixed_percpu_data
            ffffffff81000000 T _stext
            ffffffff81000000 T startup_64
            ffffffff81001000 t sme_enable
            ffffffff81002000 T kmem_cache_alloc
            ffffffff81002400 W arch_weak
            ffffffff81003000 D data_behind
            ffffffffc0100000 t ext4_map_blocks\t[ext4]
            ffffffffc0100300 T ext4_free\t[ext4]

            """
        for name in ["kallsyms", "System.map-6.1"] {
            let list = try list(name == "kallsyms" ? kallsyms : kallsyms.replacing("\t[ext4]", with: ""), name: name)
            #expect(list.symbolCount == 9 && list.notes.isEmpty)
            #expect(list.name(at: 0xFFFF_FFFF_8100_21A0) == SymbolName(name: "kmem_cache_alloc", offset: 0x1A0))
            #expect(list.name(at: 0xFFFF_FFFF_8100_0010)?.name == "startup_64")
            #expect(list.name(at: 0xFFFF_FFFF_8100_3010) == nil) // data
            #expect(list.name(at: 0xFFFF_FFFF_C010_0010) == SymbolName(name: "ext4_map_blocks", offset: 0x10))
            #expect(list.name(at: 0xFFFF_FFFF_C010_0310)?.name == "ext4_free")
            #expect(list.name(at: 0xFFFF_FFFF_C0F0_0000) == nil) // far behind the last one
            #expect(list.name(at: 0x1000) == nil)
        }
        let error = #expect(throws: SymbolsError.self) {
            try list("0000000000000000 T _text\n0000000000000000 t startup\n")
        }
        #expect("\(String(describing: error))".contains("read it as root"))
    }

    @Test func headingsSayWhichModule() throws {
        let two =
            "File: /opt/a.so\n0000000000001000 T in_a 20\n\nFile: /opt/b.so\nSrc: b.c\n0000000000001000 t in_b 20\n"
        let list = try list(two, name: "all.txt")
        #expect(list.name(at: 0x1010, inModule: "/opt/a.so")?.name == "in_a")
        #expect(list.name(at: 0x1010, inModule: "/opt/b.so")?.name == "in_b")
        #expect(list.name(at: 0x1010, inModule: "/elsewhere/b.so")?.name == "in_b")
        #expect(list.name(at: 0x1010, inModule: "/opt/c.so") == nil)
        #expect(list.name(at: 0x1010) == nil) // whose would it be?
        let nm = try self.list(
            "\n/opt/a.so:\n                 U malloc\n                 w __gmon\n0000000000001000 T in_a\n"
                + "0000000000001020 T next\n",
            name: "x")
        #expect(nm.notes.isEmpty && nm.name(at: 0x1010, inModule: "/opt/a.so")?.name == "in_a")
        let named = try self.list("0000000000001000 T in_a 20\n", name: "x", module: "liba.so.1")
        #expect(
            named.name(at: 0x1010, inModule: "/usr/lib/liba.so.1")?.name == "in_a"
                && !named.isOf(module: "/usr/lib/liba.so"))
        let byName = try self.list("0000000000001000 T in_a 20\n", name: "liba.so.1.syms")
        #expect(byName.isOf(module: "/usr/lib/liba.so.1") && !byName.isOf(module: "/usr/lib/liba.so"))
    }

    @Test func argumentsNameAModule() throws {
        let directory = try Scratch()
        let path = try directory.write(Array("0000000000001000 T f 20\n".utf8), to: "some=thing")
        #expect(try SymbolList(path).name(at: 0x1001)?.name == "f")
        #expect(try SymbolList("prog=\(path)").isOf(module: "/bin/prog"))
        #expect(throws: SymbolsError.self) { try SymbolList("\(directory.path)/missing") }
        #expect(throws: SymbolsError.self) { try SymbolList(directory.path) }
    }

    @Test func linesThatAreNoSymbolsAreCountedAndTold() throws {
        let list = try list("0000000000001000 T f 20\nwhat is this\n0000000000001020 T g 20\nand this\n")
        #expect(list.name(at: 0x1021)?.name == "g")
        let note = try #require(list.notes.first)
        #expect(note.offset == 24 && "\(note)".contains("2 lines are no symbols"))
        let error = #expect(throws: SymbolsError.self) { try self.list("nothing\nof use\n") }
        #expect(error?.offset == 0)
        #expect(throws: SymbolsError.self) { try self.list("") }
    }

    @Test func hostileListings() throws {
        var random = SeededGenerator(seed: 31)
        let text = Array(
            ("File: a\n0000000000001000 T f 20\nffffffffffffffff t g ffffffffffffffff\n 10 20 t h\n\n"
                + "0000000000001008 W i 0\n0x10 T j k l 3\n")
                .utf8)
        for _ in 0 ..< 2000 {
            var bytes = text
            for _ in 0 ..< 3 {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0 ... 255, using: &random)
            }
            let directory = try Scratch()
            guard let list = try? SymbolList(path: directory.write(bytes, to: "list"), module: "m") else { continue }
            for address: UInt64 in [0, 0x1000, 0x1010, .max - 1, .max] { _ = list.name(at: address, inModule: "m") }
        }
        let long = try list("0000000000001000 T " + String(repeating: "x", count: 300_000) + "\n0000000000001010 T y\n")
        #expect(long.name(at: 0x1001)?.name.utf8.count == StringTable.nameLimit)
    }
}
