// Functions whose symbols have no size, as those written in assembler: no address gets the name of a function in which
// it is not. Oracle: nm.

import TestSupport
import Testing

@testable import Symbols

@Suite struct UnsizedTests {
    private struct Sized { var name: Substring, byteCount: UInt64 }

    /// What nm lists, by address; without versions.
    private func nm(_ path: String, _ options: String) throws -> [UInt64: [Sized]] {
        var found: [UInt64: [Sized]] = [:]
        for line in lines(try shell("nm -S --defined-only \(options) '\(path)'")) {
            let fields = line.split(separator: " ")
            guard let address = fields.first.flatMap({ UInt64($0, radix: 16) }), fields.count >= 3 else { continue }
            let size = fields.count == 4 ? UInt64(fields[1], radix: 16) ?? 0 : 0
            let name = fields[fields.count - 1].prefix { $0 != "@" }
            found[address, default: []].append(Sized(name: name, byteCount: size))
        }
        return found
    }

    /// Functions without sizes. Those with `covered` in their names have call frame information; of those without, what
    /// follows is not known once the local ones have no names. `second` is a label in the midst of a covered function
    /// that has a name; `inside` is one in a function that loses its own.
    private static let assembler = """
        .text
        .macro function name
        .type \\name, @function
        \\name:
        .endm
        .globl bare, covered, second, inside, sized, before, last
        function bare
        .skip 16, 0x90
        function local_bare
        .skip 16, 0x90
        function covered
        .cfi_startproc
        .skip 16, 0x90
        function second
        .skip 16, 0x90
        .cfi_endproc
        function local_after
        .skip 16, 0x90
        function local_covered
        .cfi_startproc
        .skip 16, 0x90
        function inside
        .skip 16, 0x90
        .cfi_endproc
        function sized
        .skip 8, 0x90
        .size sized, 8
        .skip 8, 0x90
        function before
        .skip 16, 0x90
        .Lnameless:
        .cfi_startproc
        .skip 16, 0x90
        .cfi_endproc
        function last
        .cfi_startproc
        .skip 16, 0x90
        .cfi_endproc
        .skip 16, 0x90
        .section .note.GNU-stack, "", @progbits
        """
    /// What a C file adds: a static function, one that is hidden, and one that a version script makes local.
    private static let source = """
        __attribute__((noinline)) static int alone(int x) { return x * 3; }
        __attribute__((visibility("hidden"), noinline)) int hidden(int x) { return alone(x) + 1; }
        int unlisted(int x) { return hidden(x) + 2; }
        int listed(int x) { return unlisted(x) + hidden(x) + alone(x); }
        """

    /// The name and the start of what holds each address of a file's code, by our look-ups.
    private func names(_ path: String) throws -> [UInt64: SymbolName] {
        let module = try ModuleSymbols(path: path, expectedBuildID: nil, search: SymbolSearch(sysroot: ""))
        #expect(module.problems.isEmpty, "\(module.problems)")
        var found: [UInt64: SymbolName] = [:]
        for section in try ELFFile(path: path).sections where section.isCode {
            for address in section.address ..< section.endAddress { found[address] = module.name(at: address) }
        }
        return found
    }

    /// A library of assembler and C, and copies of it that lost some or all local names. In none does an address get
    /// another name than in the whole one.
    @Test func whatFollowsAFunctionWithoutASize() throws {
        let scratch = try Scratch()
        try scratch.write("code.s", Self.assembler)
        try scratch.write("part.c", Self.source)
        try scratch.write(
            "versions", "{ global: listed; bare; covered; second; inside; sized; before; last; local: *; };")
        try scratch.prepare(
            """
            cd '\(scratch.path)'
            link() { gcc -O1 -fPIC -shared -Wl,--version-script=versions "$@"; }
            link -o whole.so part.c code.s; link -o discarded.so part.c code.s -Wl,-x
            gcc -O1 -fPIC -shared -o one.so code.s
            strip -o stripped.so whole.so; strip -x -o no-locals.so whole.so
            objcopy --discard-all whole.so no-locals-by-objcopy.so
            objcopy --only-keep-debug whole.so whole.debug
            objcopy --strip-all --add-gnu-debuglink=whole.debug whole.so linked.so
            nm --format=posix --defined-only whole.so | awk '$2 ~ /[Tt]/ { print $1 }' >kept
            objcopy -S --keep-symbols=kept whole.so mini; xz mini
            objcopy --strip-all --add-section .gnu_debugdata=mini.xz whole.so with-mini.so
            gcc -c code.s; strip -x -o code-x.o code.o; gcc -O1 -fPIC -shared -o objects.so code-x.o
            gcc -O2 -flto -fPIC -shared -o optimized.so part.c code.s
            """)
        let starts = try nm(scratch.file("whole.so"), "")
        func start(_ name: Substring) throws -> UInt64 {
            try #require(starts.first { $0.value.contains { $0.name == name } }).key
        }
        let whole = try names(scratch.file("whole.so"))
        let first = try start("bare")
        // By sixteens, from the first one on: what the whole file says, and what one without local names does.
        let all = [
            "bare", "local_bare", "covered", "second", "local_after", "local_covered", "inside", "sized", "before", nil,
            "last", "last",
        ]
        let few: [String?] = [
            "bare", nil, "covered", "second", nil, nil, "inside", "sized", "before", nil, "last", nil,
        ]
        func expect(_ file: String, _ wanted: [String?], reach: Bool, from first: UInt64) throws {
            let found = try names(scratch.file(file))
            for (index, name) in wanted.enumerated() {
                let start = first + UInt64(index) * 16
                #expect(found[start]?.name == name, "\(file): \(index)")
                // Those without entry have their first address alone, if that is all that is known.
                let isKnown = reach || ["covered", "second", "last"].contains(name)
                let end = name == "sized" ? 8 : isKnown ? 16 : 1
                #expect(found[start + 7]?.name == (isKnown || name == "sized" ? name : nil), "\(file): \(index)")
                if name != nil, name != "last" {
                    #expect(found[start + UInt64(end) - 1]?.name == name, "\(file): \(index)")
                    #expect(found[start + UInt64(end)]?.name != name, "\(file): \(index)")
                }
            }
        }
        try expect("whole.so", all, reach: true, from: first)
        try expect("linked.so", all, reach: true, from: first)
        try expect("with-mini.so", all, reach: true, from: first)
        for file in ["stripped.so", "no-locals.so", "no-locals-by-objcopy.so"] {
            try expect(file, few, reach: false, from: first)
        }
        for (file, wanted, reach) in [
            ("discarded.so", few, false), ("one.so", all, true), ("objects.so", few, false),
            ("optimized.so", all, true),
        ] {
            let own = try #require(try nm(scratch.file(file), "").first { $0.value.contains { $0.name == "bare" } }).key
            try expect(file, wanted, reach: reach, from: own)
        }
        for file in ["stripped.so", "no-locals.so", "no-locals-by-objcopy.so", "linked.so", "with-mini.so"] {
            for (address, name) in try names(scratch.file(file)) where name.name != "__cxa_finalize@plt" {
                #expect(whole[address] == name, "\(file): \(String(address, radix: 16))")
            }
        }
        for file in ["whole.so", "stripped.so", "no-locals.so"] { try expectListingSaysTheSame(scratch.file(file)) }
    }

    /// gensyms' sizes are those of look-ups.
    private func expectListingSaysTheSame(_ path: String) throws {
        let module = try ModuleSymbols(path: path, expectedBuildID: nil, search: SymbolSearch(sysroot: ""))
        var compared = 0
        for symbol in try SymbolListing(path: path).symbols where symbol.type == UInt8(ascii: "T") {
            #expect(module.byteCount(from: symbol.address) == symbol.byteCount)
            #expect(module.name(at: symbol.address + symbol.byteCount - 1)?.offset == symbol.byteCount - 1)
            #expect(module.name(at: symbol.address + symbol.byteCount)?.offset ?? 0 == 0)
            compared += 1
        }
        #expect(compared >= 8)
    }

    /// Programs and libraries with all their names, and copies with fewer. The oracle is the whole file, whose names
    /// other tests compare with nm's.
    @Test func noAddressOfACopyHasAnotherNameThanInTheWholeFile() throws {
        let scratch = try Scratch()
        try scratch.write("main.cc", "#include <iostream>\nint main() { std::cout << 1; }\n")
        try scratch.write("main.c", "#include <stdio.h>\nint main(void) { return puts(\"1\"); }\n")
        try scratch.write("main.go", "package main\nfunc main() { println(1) }\n")
        try scratch.prepare(
            """
            cd '\(scratch.path)'
            gcc -static -o static main.c; musl-gcc -static -o musl main.c; g++ -O1 -static-libstdc++ -o cxx main.cc
            if command -v go; then HOME=$PWD go build -o go main.go; fi
            for library in $(find /opt/swift/usr/lib/swift/linux /usr/lib/gcc -name '*.so' -size -2M 2>/dev/null); do
                if nm "$library" 2>/dev/null | grep -q ' t ' && [ "$(ls library* | wc -l)" -lt 6 ]; then
                    cp -L "$library" "library-${library##*/}"
                fi
            done
            copy() { "$2"strip -o "$1.bare" "$1"; "$2"strip -x -o "$1.x" "$1"; echo "$1" >>files; }
            for file in static musl cxx go library-*; do [ ! -f "$file" ] || copy "$file" ""; done
            if command -v aarch64-linux-gnu-gcc; then
                aarch64-linux-gnu-gcc -static -o arm64 main.c; copy arm64 aarch64-linux-gnu-
            fi
            """)
        var (files, kept, lost) = (0, 0, 0)
        for file in lines(try readFile(scratch.file("files"))) {
            let whole = try ModuleSymbols(
                path: scratch.file("\(file)"), expectedBuildID: nil, search: SymbolSearch(sysroot: ""))
            for copy in ["\(file).bare", "\(file).x"] {
                let module = try ModuleSymbols(
                    path: scratch.file(copy), expectedBuildID: nil, search: SymbolSearch(sysroot: ""))
                for section in try ELFFile(path: scratch.file(copy)).sections where section.isCode {
                    for address in stride(from: section.address, to: section.endAddress, by: 5) {
                        let (name, known) = (module.name(at: address), whole.name(at: address))
                        if name == nil { lost += known == nil ? 0 : 1 } else { kept += 1 }
                        if let name, name != known {
                            Issue.record(
                                "\(copy) \(String(address, radix: 16)): \(name), not \(String(describing: known))")
                        }
                    }
                }
            }
            files += 1
        }
        #expect(files >= 3 && kept > 100_000 && lost > 100_000, "\(files) \(kept) \(lost)")
    }

    /// All of the code of musl and of glibc, as they are installed.
    @Test(arguments: ["musl-gcc", "gcc"]) func noAddressOfLibcHasAnothersName(compiler: String) throws {
        let path = try lines(
            shell(
                "realpath $(ldconfig -p | sed -n 's/.*x86-64.* => //p' | grep /libc.so.6$) /lib/ld-musl-*.so.1 "
                    + "2>/dev/null | grep \(compiler == "gcc" ? "-v" : "-e") musl")
        ).first.map(String.init)
        let libc = try #require(path)
        let module = try ModuleSymbols(path: libc, expectedBuildID: nil, search: SymbolSearch(sysroot: ""))
        // Debian's debug file of glibc has the local functions, and says so where those without a size end.
        var symbols = try nm(libc, "-D")
        if module.hasWholeTable { symbols.merge(try nm(try #require(module.debugInfoPath), "")) { $0 + $1 } }
        let starts = symbols.keys.sorted()
        var (named, unnamed, atStart) = (0, 0, 0)
        var next = 0
        for address in stride(from: starts[0], through: starts[starts.count - 1], by: compiler == "gcc" ? 7 : 3) {
            while next < starts.count, starts[next] <= address { next += 1 }
            guard let name = module.name(at: address), !name.name.hasSuffix("@plt") else {
                unnamed += 1
                continue
            }
            let holds = symbols[address - name.offset, default: []].contains {
                $0.name == name.name
                    && (name.offset < max($0.byteCount, 1)
                        || $0.byteCount == 0 && module.hasWholeTable && starts[next - 1] == address - name.offset)
            }
            if !holds { Issue.record("\(libc): \(String(address, radix: 16)) is named \(name)") }
            named += 1
        }
        for (start, own) in symbols {
            guard let name = module.name(at: start), name.offset == 0 else { continue }
            #expect(own.contains { $0.name == name.name })
            atStart += 1
        }
        #expect(named > 50_000 && unnamed > 1_000 && atStart > 1_000, "\(named) \(unnamed) \(atStart)")
    }
}
