// Separate debug files, in all the places where they may lie and all the ways in which they prove to be the
// right ones; symbols and DWARF that are compressed; the vDSO. binutils make the files, and nm says where
// the functions are.

import Glibc
import TestSupport
import Testing
import Text

@testable import Symbols

@Suite struct DebugFileTests {
    static let source = """
        int exported(int x) { return x + 1; }
        __attribute__((noinline)) static int local(int x) { return x * x; }
        int (*keep)(int) = local;
        """

    /// A stripped library, its debug file, and where its local function is.
    private struct Made {
        let directory: Scratch
        var path: String, debug: String, local: UInt64, exported: UInt64

        init(flags: String = "-Wl,--build-id") throws {
            directory = try Scratch()
            let full = try directory.compile(DebugFileTests.source, flags: "-g -O1 -shared -fPIC \(flags)", to: "full")
            (path, debug) = ("\(directory.path)/lib.so", "\(directory.path)/made.debug")
            try shell("objcopy --only-keep-debug '\(full)' '\(debug)' && strip -o '\(path)' '\(full)'")
            var found: [Substring: UInt64] = [:]
            for line in lines(try shell("nm '\(full)'")) {
                let fields = line.split(separator: " ")
                if fields.count == 3 { found[fields[2]] = UInt64(fields[0], radix: 16) }
            }
            (local, exported) = (try #require(found["local"]), try #require(found["exported"]))
        }

        func link(to name: String) throws {
            try shell(
                "cd '\(directory.path)' && cp made.debug '\(name)' && objcopy --add-gnu-debuglink='\(name)' lib.so && "
                    + "mv '\(name)' moved.debug"
            )
        }

        func expectNames(_ module: ModuleSymbols, _ comment: Comment? = nil) {
            #expect(module.name(at: local + 1) == SymbolName(name: "local", offset: 1), comment)
            #expect(module.name(at: exported + 1) == SymbolName(name: "exported", offset: 1), comment)
        }
    }

    private func place(_ id: [UInt8]) throws -> String { try #require(SymbolSearch.place(ofBuildID: id)) }

    @Test func byBuildID() throws {
        let made = try Made()
        let bare = try ModuleSymbols(path: made.path, expectedBuildID: nil)
        #expect(bare.name(at: made.local) == nil && bare.debugInfoPath == nil)
        let id = try #require(bare.buildID)
        let file = "\(made.directory.path)/debug/\(try place(id))"
        try shell("mkdir -p '\(file)' && rmdir '\(file)' && cp '\(made.debug)' '\(file)'")
        let search = SymbolSearch(debugDirectories: ["/nowhere", "\(made.directory.path)/debug"])
        let found = try ModuleSymbols(path: made.path, expectedBuildID: id, search: search)
        made.expectNames(found)
        #expect(found.debugInfoPath == file && found.problems.isEmpty)

        // The module is gone, or another build is in its place: the debug file knows the names all the same.
        made.expectNames(try ModuleSymbols(path: "/nowhere/lib.so", expectedBuildID: id, search: search))
        let other = try Made(flags: "-Wl,--build-id -DOTHER -O2")
        let replaced = try ModuleSymbols(path: other.path, expectedBuildID: id, search: search)
        made.expectNames(replaced)
        guard case .buildIDDiffers(id, _) = try #require(replaced.problems.first).reason else {
            Issue.record("\(replaced.problems)")
            return
        }
        // Without it there is nothing to name from, and the error says what is wanted.
        let error = #expect(throws: SymbolsError.self) { try ModuleSymbols(path: other.path, expectedBuildID: id) }
        #expect(error?.wantedFile?.contains(hexadecimal(id)) == true)
        #expect(error?.wantedFile?.contains(try place(id)) == true)

        // A file under that build-id that is another build is not used, and said.
        try shell("cp '\(other.debug)' '\(file)'")
        let wrong = try ModuleSymbols(path: made.path, expectedBuildID: id, search: search)
        #expect(wrong.name(at: made.local) == nil && wrong.debugInfoPath == nil)
        #expect(wrong.problems.map(\.file) == [file])
    }

    /// Without local functions an exported one reaches over them: `nm -D` says "exported" where "local" runs. So such a
    /// listing comes after the module's own debug file, and names where there is none; one with local functions comes
    /// first.
    @Test func aListingOfDynamicSymbolsIsNoBetterThanADebugFile() throws {
        let made = try Made()
        let directory = made.directory.path
        let id = try #require(try ModuleSymbols(path: made.path, expectedBuildID: nil).buildID)
        let file = "\(directory)/debug/\(try place(id))"
        try shell("mkdir -p '\(file)' && rmdir '\(file)' && cp '\(made.debug)' '\(file)'")
        try shell(
            """
            cd '\(directory)' && nm -D lib.so > dynamic.syms && nm -D -S lib.so > sized.syms && \
            nm full > whole.syms && sed -i 's/ local$/ named_by_the_listing/' whole.syms
            { echo; echo 'other.so:'; nm full; echo; echo 'lib.so:'; nm -D lib.so; } > both.syms
            """)
        #expect(!lines(try shell("cat '\(directory)/dynamic.syms'")).contains { $0.hasSuffix("local") })
        // Behind an exported function, so that its name would reach over it.
        let (first, second) = (min(made.local, made.exported), max(made.local, made.exported))
        #expect(second - first < 4096)
        func name(_ listing: String, debug: Bool) throws -> SymbolName? {
            let search = SymbolSearch(debugDirectories: [debug ? "\(directory)/debug" : "/nowhere"])
            let list = try SymbolList("lib.so=\(directory)/\(listing)")
            return try Symbolizer(search: search, lists: [list], hasLines: false).module(path: made.path, buildID: id)
                .name(at: made.local + 1)
        }
        for listing in ["dynamic.syms", "sized.syms"] {
            #expect(try name(listing, debug: true) == SymbolName(name: "local", offset: 1), "\(listing)")
            // Where there is nothing else it may say what it says, and no more than that.
            let alone = try name(listing, debug: false)
            #expect(alone == nil || alone?.name == "exported", "\(listing): \(String(describing: alone))")
        }
        #expect(try name("whole.syms", debug: true) == SymbolName(name: "named_by_the_listing", offset: 1))
        // Local functions of another module in the same listing say nothing of this one.
        let both = try SymbolList(path: "\(directory)/both.syms", module: nil)
        let search = SymbolSearch(debugDirectories: ["\(directory)/debug"])
        let named = try Symbolizer(search: search, lists: [both], hasLines: false).module(path: made.path, buildID: id)
        #expect(named.name(at: made.local + 1) == SymbolName(name: "local", offset: 1))
    }

    @Test func aCopyOfTheModuleUnderItsBuildID() throws {
        let made = try Made()
        let id = try #require(try ModuleSymbols(path: made.path, expectedBuildID: nil).buildID)
        let file = "\(made.directory.path)/debug/\(try #require(SymbolSearch.place(ofBuildID: id, suffix: "")))"
        try shell("mkdir -p '\(file)' && rmdir '\(file)' && cp '\(made.directory.path)/full' '\(file)'")
        made.expectNames(
            try ModuleSymbols(
                path: "/nowhere/lib.so", expectedBuildID: id,
                search: SymbolSearch(debugDirectories: ["\(made.directory.path)/debug"])))
    }

    @Test(arguments: ["-Wl,--build-id", "-Wl,--build-id=none"])
    func byLink(_ flags: String) throws {
        let made = try Made(flags: flags)
        try made.link(to: "lib.dbg")
        let directory = made.directory.path
        let search = SymbolSearch(debugDirectories: ["\(directory)/global"])
        #expect(try ModuleSymbols(path: made.path, expectedBuildID: nil, search: search).name(at: made.local) == nil)
        for place in ["lib.dbg", ".debug/lib.dbg", "global\(directory)/lib.dbg"] {
            let file = "\(directory)/\(place)"
            try shell("mkdir -p '\(file)' && rmdir '\(file)' && cp '\(directory)/moved.debug' '\(file)'")
            let found = try ModuleSymbols(path: made.path, expectedBuildID: nil, search: search)
            made.expectNames(found, "\(place)")
            #expect(found.debugInfoPath == file)
            // One byte more, and the CRC is another.
            try shell("echo >> '\(file)'")
            let refused = try ModuleSymbols(path: made.path, expectedBuildID: nil, search: search)
            #expect(refused.name(at: made.local) == nil)
            guard case .checksumDiffers = refused.problems.first?.reason else {
                Issue.record("\(refused.problems)")
                return
            }
            try shell("rm '\(file)'")
        }
    }

    @Test func theCRCIsThatOfZlib() throws {
        let directory = try Scratch()
        let path = try directory.write(
            Array((0 ..< 1_200_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }), to: "bytes")
        let expected = try shell(
            "python3 -c 'import zlib, sys; print(zlib.crc32(open(sys.argv[1], \"rb\").read()))' '\(path)'")
        #expect(
            try Decompression.crc32(of: FileReader(path: path)).map { "\($0)\n" }
                == String(decoding: expected, as: UTF8.self))
    }

    /// The way in which Fedora's packages carry it: .symtab alone, without what .dynsym has, in xz.
    @Test func miniDebugInfo() throws {
        let made = try Made()
        try shell(
            """
            cd '\(made.directory.path)' && objcopy -S --remove-section .gdb_index --remove-section .comment \
            --strip-symbol=exported made.debug mini \
            && objcopy --only-keep-debug full mini && strip --strip-debug mini && objcopy --strip-symbol=exported mini \
            && xz -k mini && objcopy --add-section .gnu_debugdata=mini.xz lib.so
            """)
        let found = try ModuleSymbols(path: made.path, expectedBuildID: nil)
        made.expectNames(found)
        #expect(found.problems.isEmpty && found.debugInfoPath == nil)
        // Damaged, it takes nothing from what .dynsym says.
        try shell(
            "cd '\(made.directory.path)' && head -c 200 mini.xz > cut.xz && objcopy --update-section "
                + ".gnu_debugdata=cut.xz lib.so"
        )
        let damaged = try ModuleSymbols(path: made.path, expectedBuildID: nil)
        #expect(
            damaged.name(at: made.exported) == SymbolName(name: "exported", offset: 0)
                && damaged.name(at: made.local) == nil)
        #expect(damaged.problems.count == 1)
    }

    @Test func aCompressedSymbolTable() throws {
        let made = try Made()
        try shell("cd '\(made.directory.path)' && eu-elfcompress -q -f -n .symtab -n .strtab -o packed full")
        let sections = String(decoding: try shell("readelf -SW '\(made.directory.path)/packed'"), as: UTF8.self)
        try #require(sections.split(separator: "\n").contains { $0.contains(".symtab") && $0.contains(" C ") })
        made.expectNames(try ModuleSymbols(path: "\(made.directory.path)/packed", expectedBuildID: nil))
    }

    @Test(arguments: ["zlib-gabi", "zlib-gnu", "zstd"])
    func compressedDWARF(_ method: String) throws {
        let made = try Made()
        let full = "\(made.directory.path)/full", packed = "\(made.directory.path)/packed"
        // Small sections aren't worth it, and stay as they are.
        try shell("objcopy --compress-debug-sections=\(method) '\(full)' '\(packed)'")
        try #require(try readFile(full) != readFile(packed))
        let lines = DebugLines()
        let calls = lines.calls(in: packed, buildID: nil, at: [made.exported, made.local])
        #expect(calls == lines.calls(in: full, buildID: nil, at: [made.exported, made.local]))
        #expect(calls.map { $0.first?.line } == [1, 2] && lines.notes.isEmpty)
        #expect(try ModuleSymbols(path: packed, expectedBuildID: nil).debugInfoPath == packed)
    }

    @Test func aClaimOfWhatDecompressionGivesIsNotBelieved() throws {
        let made = try Made()
        try shell("cd '\(made.directory.path)' && eu-elfcompress -q -f -n .symtab -o packed full")
        var bytes = try readFile("\(made.directory.path)/packed")
        let fields = try #require(
            try lines(shell("readelf -SW '\(made.directory.path)/packed' | sed 's/\\[ */[/'")).first {
                $0.contains(" .symtab ")
            }
        )
        .split(separator: " ")
        let offset = try #require(Int(fields[4], radix: 16))
        for claim: UInt64 in [0, 1, 1 << 20, 1 << 40, .max] {
            for shift in 0 ..< 8 { bytes[offset + 8 + shift] = UInt8(truncatingIfNeeded: claim >> UInt64(shift * 8)) }
            let path = try made.directory.write(bytes, to: "liar")
            let error = #expect(throws: SymbolsError.self) { try ModuleSymbols(path: path, expectedBuildID: nil) }
            #expect(error?.offset == UInt64(offset), "\(claim): \(String(describing: error))")
        }
    }

    @Test func sysroot() throws {
        let made = try Made()
        let root = made.directory.path
        let id = try #require(try ModuleSymbols(path: made.path, expectedBuildID: nil).buildID)
        let file = "\(root)/root/usr/lib/debug/\(try place(id))"
        try shell(
            "mkdir -p '\(root)/root/opt' '\(file)' && rmdir '\(file)' && cp '\(made.path)' '\(root)/root/opt/lib.so' "
                + "&& cp '\(made.debug)' '\(file)'"
        )
        made.expectNames(
            try ModuleSymbols(path: "/opt/lib.so", expectedBuildID: id, search: SymbolSearch(sysroot: "\(root)/root")))
        // A sysroot has what it has: this machine's own file is not the one.
        #expect(throws: SymbolsError.self) {
            try ModuleSymbols(path: made.path, expectedBuildID: nil, search: SymbolSearch(sysroot: "\(root)/root"))
        }
    }

    @Test func theVDSO() throws {
        // Every process has the same one; Python writes its own to a file, where readelf and nm read it.
        let directory = try Scratch()
        let file = "\(directory.path)/vdso"
        _ = try directory.write(
            Array(
                """
                import sys
                low, high = next(l for l in open("/proc/self/maps") if "[vdso]" in l).split()[0].split("-")
                memory = open("/proc/self/mem", "rb")
                memory.seek(int(low, 16))
                open(sys.argv[1], "wb").write(memory.read(int(high, 16) - int(low, 16)))
                """.utf8), to: "copy.py")
        try shell("python3 '\(directory.path)/copy.py' '\(file)'")
        let digits = try #require(lines(shell("readelf -nW '\(file)' | sed -n 's/.*Build ID: //p'")).first)
        let id = digits.indices.enumerated().filter { $0.offset % 2 == 0 }.compactMap {
            UInt8(digits[$0.element...].prefix(2), radix: 16)
        }
        let path = "linux-vdso.so.1"
        let module = try ModuleSymbols(path: path, expectedBuildID: id)
        var compared = 0
        for line in try lines(shell("nm -D --defined-only '\(file)' | grep -i ' [tw] '")) {
            let fields = line.split(separator: " ")
            guard let address = UInt64(fields[0], radix: 16) else { continue }
            // An alias without underscores has the better name.
            let plain = fields[2].prefix { $0 != "@" }
            let name = module.name(at: address)
            #expect(
                name?.offset == 0 && (name?.name == String(plain) || "__vdso_\(name?.name ?? "")" == plain), "\(line)")
            compared += 1
        }
        #expect(compared > 2)
        #expect(throws: SymbolsError.self) { try ModuleSymbols(path: path, expectedBuildID: [1, 2, 3]) }
        #expect(throws: SymbolsError.self) { try ModuleSymbols(path: path, expectedBuildID: nil) }
    }
}
