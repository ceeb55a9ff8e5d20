// What compilers and assemblers make: aliases, weak and local names, indirect functions, code without
// sizes, labels in the midst of functions, and the calls that the linker makes stubs for.

import Glibc
import TestSupport
import Testing

@testable import Symbols

@Suite struct CompiledTests {
    static let assembler = """
            .text
            .globl sized, __alias, alias, aliaa, long_alias, unsized, last, indirect
            .weak  weakling
            .type sized,@function; .type alias,@function; .type aliaa,@function; .type long_alias,@function; \
            .type __alias,@function; .type weakling,@function
            .type indirect,@gnu_indirect_function; .type localname,@function
        sized: alias: __alias: long_alias: aliaa: weakling: localname:
            .fill 16,1,0x90
        inner_label:
            .fill 16,1,0x90
            .size sized, 32; .size alias, 32; .size aliaa, 32; .size long_alias, 32; .size __alias, 32; \
            .size weakling, 32; .size localname, 32
        gap:
            .fill 32,1,0x90
        unsized:
            .fill 32,1,0x90
        indirect:
            .fill 16,1,0x90
            .size indirect, 16
            .fill 16,1,0x90
        nested_outer:
            .type nested_outer,@function
            .fill 16,1,0x90
        nested_inner:
            .type nested_inner,@function
            .fill 16,1,0x90
            .size nested_inner, 16
            .fill 16,1,0x90
            .size nested_outer, 48
        last:
            .fill 16,1,0x90
            .section .other,"ax",@progbits
            .fill 64,1,0x90
            .data
        in_data:
            .fill 64,1,0
            .section .note.GNU-stack,"",@progbits
        """

    /// Addresses of symbols as nm has them, the oracle for where the linker put things.
    private func addresses(_ path: String) throws -> [Substring: UInt64] {
        var found: [Substring: UInt64] = [:]
        for line in lines(try shell("nm '\(path)'")) {
            let fields = line.split(separator: " ")
            if fields.count == 3 { found[fields[2]] = UInt64(fields[0], radix: 16) }
        }
        return found
    }

    @Test func assembledRanges() throws {
        let directory = try Scratch()
        let path = try directory.compile(Self.assembler, as: "source.s", flags: "-shared -nostdlib")
        let module = try ModuleSymbols(path: path, expectedBuildID: nil)
        let at = try addresses(path)
        func name(_ symbol: Substring, _ offset: UInt64) throws -> SymbolName? {
            module.name(at: try #require(at[symbol]) &+ offset)
        }
        // An exported one without underscores, not weak, of those a short one, and of those the one that sorts first.
        #expect(try name("sized", 0) == SymbolName(name: "aliaa", offset: 0))
        #expect(try name("inner_label", 3) == SymbolName(name: "aliaa", offset: 19))
        #expect(try name("gap", 0) == SymbolName(name: "gap", offset: 0))
        #expect(try name("gap", 31) == SymbolName(name: "gap", offset: 31))
        #expect(try name("unsized", 31) == SymbolName(name: "unsized", offset: 31))
        #expect(try name("indirect", 15) == SymbolName(name: "indirect", offset: 15))
        #expect(try name("indirect", 16) == nil)
        #expect(try name("nested_outer", 15) == SymbolName(name: "nested_outer", offset: 15))
        #expect(try name("nested_inner", 15) == SymbolName(name: "nested_inner", offset: 15))
        #expect(try name("nested_inner", 16) == SymbolName(name: "nested_outer", offset: 32))
        #expect(try name("last", 15) == SymbolName(name: "last", offset: 15))
        #expect(try name("last", 16) == nil) // the section's end, though .other may follow at once
        #expect(try name("in_data", 0) == nil)
    }

    /// What a compiler moves out of a function's way lies far from it, under a name of its own, between other
    /// functions' parts.
    @Test func coldPartsAreTheirOwnRanges() throws {
        let directory = try Scratch()
        let functions = (0 ..< 8).map {
            """
            int f\($0)(int x) {
                if (__builtin_expect(x > 1000 + \($0), 0)) { refuse(x, \($0)); refuse(x + 1, \($0)); abort(); }
                return x * (3 + \($0));
            }
            """
        }
        let path = try directory.compile(
            """
            #include <stdlib.h>
            extern void refuse(int, int) __attribute__((cold));
            \(functions.joined(separator: "\n"))
            void refuse(int x, int y) { static volatile int seen; seen = x + y; }
            """, flags: "-O2 -freorder-blocks-and-partition -shared -fPIC")
        let module = try ModuleSymbols(path: path, expectedBuildID: nil)
        // Starts and sizes as nm has them.
        var ranges: [(start: UInt64, size: UInt64, name: String)] = []
        for line in lines(try shell("nm -S --defined-only '\(path)'")) {
            let fields = line.split(separator: " ")
            guard fields.count == 4, let start = UInt64(fields[0], radix: 16), let size = UInt64(fields[1], radix: 16),
                fields[2].lowercased() == "t"
            else { continue }
            ranges.append((start, size, String(fields[3])))
        }
        let cold = ranges.filter { $0.name.hasSuffix(".cold") }
        #expect(cold.count == 8 && ranges.count >= 17, "\(ranges)")
        for range in ranges {
            for offset in 0 ..< range.size {
                #expect(module.name(at: range.start + offset) == SymbolName(name: range.name, offset: offset))
            }
        }
        for range in cold {
            // Not within the function that it is a part of.
            let whole = try #require(ranges.first { $0.name == String(range.name.dropLast(5)) })
            #expect(range.start >= whole.start + whole.size || range.start + range.size <= whole.start)
        }
    }

    @Test func theAllocatorsFunctionsHaveTheNamesThatPeopleKnow() throws {
        // libc has several names for each of these.
        let path = String(decoding: try shell("ldd /bin/sh | awk '/libc\\.so/ { print $3 }'").dropLast(), as: UTF8.self)
        let module = try ModuleSymbols(path: path, expectedBuildID: nil)
        for name in ["malloc", "free", "calloc", "realloc", "memalign", "read", "puts", "qsort"] {
            let address = try #require(
                try lines(shell("nm -D '\(path)' | awk '$3 ~ /^\(name)(@|$)/ { print $1 }'")).first.flatMap {
                    UInt64($0, radix: 16)
                })
            #expect(module.name(at: address) == SymbolName(name: name, offset: 0))
        }
    }

    @Test func aNameDoesNotCarryItsVersion() throws {
        let directory = try Scratch()
        let script = try directory.write(Array("V1 { global: *; };\nV2 { } V1;\n".utf8), to: "versions")
        let path = try directory.compile(
            """
            __asm__(".symver older,thing@V1\\n.symver newer,thing@@V2");
            int older(void) { return 1; }
            int newer(void) { return 2; }
            """, flags: "-shared -fPIC -nostdlib -Wl,--version-script='\(script)'")
        let symbols = String(decoding: try shell("nm '\(path)'"), as: UTF8.self)
        #expect(symbols.contains("thing@V1") && symbols.contains("thing@@V2"))
        let address = try #require(try addresses(path)["thing@@V2"])
        let name = try #require(ModuleSymbols(path: path, expectedBuildID: nil).name(at: address))
        #expect(!name.name.contains("@"))
    }

    @Test func strippedAndDebugFilesSayTheSame() throws {
        let directory = try Scratch()
        let path = try directory.compile(
            "int exported(int x) { return x + 1; }\nstatic int local(int x) { return x * x; }\n"
                + "int (*keep)(int) = local;\n", flags: "-g -O1 -shared -fPIC -Wl,--build-id")
        let (stripped, debug) = (path + ".stripped", path + ".debug")
        try shell("objcopy --only-keep-debug '\(path)' '\(debug)' && strip -o '\(stripped)' '\(path)'")
        let at = try addresses(path)
        let (exported, local) = (try #require(at["exported"]), try #require(at["local"]))
        let (full, kept, bare) = (
            try ModuleSymbols(path: path, expectedBuildID: nil), try ModuleSymbols(path: debug, expectedBuildID: nil),
            try ModuleSymbols(path: stripped, expectedBuildID: nil)
        )
        #expect(full.buildID != nil && full.buildID == kept.buildID && full.buildID == bare.buildID)
        for module in [full, kept] {
            #expect(module.name(at: exported + 1) == SymbolName(name: "exported", offset: 1))
            #expect(module.name(at: local + 1) == SymbolName(name: "local", offset: 1))
        }
        #expect(bare.name(at: exported + 1) == SymbolName(name: "exported", offset: 1))
        #expect(bare.name(at: local + 1) == nil)
    }

    /// objdump makes up the same names for stubs.
    @Test func stubsAreNamedAfterWhatTheyCall() throws {
        let directory = try Scratch()
        let source =
            "#include <stdlib.h>\n#include <stdio.h>\nint main(int c, char **v) { void *p = malloc(c); puts(v[0]); "
            + "free(p); return atoi(v[0]); }\n"
        var compared = 0
        let made = try [
            directory.compile(source, flags: "-Wl,-z,lazy -fno-builtin", to: "lazy"),
            directory.compile(source, flags: "-fcf-protection=full -Wl,-z,ibtplt -Wl,-z,lazy -fno-builtin", to: "ibt"),
            directory.compile(
                "#include <stdlib.h>\nvoid *(*keep)(size_t) = malloc; void *f(void) { return malloc(1); }\n",
                flags: "-shared -fPIC -Wl,-z,now", to: "now.so"),
        ]
        for path in made + ["/bin/sh", "/usr/bin/env", "/bin/ls"] {
            let module = try ModuleSymbols(path: path, expectedBuildID: nil)
            for line in lines(try shell("objdump -d '\(path)' | grep -E '^[0-9a-f]+ <[^*+]+@plt>:$'")) {
                let fields = line.split(separator: " ")
                let address = try #require(UInt64(fields[0], radix: 16))
                #expect(
                    module.name(at: address + 3)
                        == SymbolName(name: String(fields[1].dropFirst().dropLast(2)), offset: 3), "\(path)")
                compared += 1
            }
        }
        #expect(compared > 100)
    }

    /// The same on AArch64, with and without landing pads and signed addresses.
    @Test(.enabled(if: access("/usr/bin/aarch64-linux-gnu-gcc", X_OK) == 0, "there is no compiler for AArch64"))
    func stubsOfAArch64AreNamedToo() throws {
        let scratch = try Scratch()
        try scratch.write(
            "calls.c",
            """
            #include <stdio.h>
            #include <stdlib.h>
            int main(int c, char **v) { void *p = malloc(c); puts(v[0]); free(p); return atoi(v[0]); }
            """)
        var compared = 0
        let protected = "-mbranch-protection=standard -Wl,-z,force-bti"
        for flags in [
            "", "-no-pie", "-shared -fPIC", "-Wl,-z,now", protected, protected + " -no-pie",
            protected + " -Wl,-z,pac-plt",
            protected + " -Wl,-z,pac-plt -no-pie",
        ] {
            try scratch.prepare(
                "cd '\(scratch.path)' && aarch64-linux-gnu-gcc -fno-builtin \(flags) -o calls calls.c 2>/dev/null")
            let module = try ModuleSymbols(
                path: scratch.file("calls"), expectedBuildID: nil, search: SymbolSearch(sysroot: ""))
            let disassembly = lines(try shell("aarch64-linux-gnu-objdump -d '\(scratch.file("calls"))'"))
            var (stub, count) = (SymbolName?.none, 0)
            for line in disassembly {
                if line.hasSuffix(">:") {
                    let fields = line.split(separator: " ")
                    let name = String(fields[1].dropFirst().dropLast(2))
                    stub =
                        name.hasSuffix("@plt")
                        ? SymbolName(name: name, offset: try #require(UInt64(fields[0], radix: 16))) : nil
                } else if let stub, let address = UInt64(line.prefix { $0 != ":" }.filter { $0 != " " }, radix: 16) {
                    #expect(
                        module.name(at: address) == SymbolName(name: stub.name, offset: address - stub.offset),
                        "\(flags)")
                    count += 1
                }
            }
            #expect(count >= 16, "\(flags)")
            compared += count
        }
        #expect(compared > 200)
    }

    @Test func anObjectFileNamesNothing() throws {
        let directory = try Scratch()
        let path = try directory.compile("int f(void) { return 1; }", flags: "-c")
        #expect(try ModuleSymbols(path: path, expectedBuildID: nil).name(at: 0) == nil)
    }
}
