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

    /// `global` and `hidden` have no size. Without .symtab nothing says where the first one ends.
    @Test func aStrippedLibrarysLocalFunctionHasNoName() throws {
        let scratch = try Scratch()
        try scratch.write(
            "code.s",
            """
            .text
            .globl global
            .type global, @function
            global: .skip 16, 0x90
            .type hidden, @function
            hidden: .skip 16, 0x90
            .globl sized
            .type sized, @function
            sized: .skip 8, 0x90
            .size sized, 8
            .skip 8, 0x90
            """)
        try scratch.prepare("cd '\(scratch.path)' && gcc -shared -nostdlib -o whole.so code.s")
        try scratch.prepare("cd '\(scratch.path)' && strip -o stripped.so whole.so")
        let start = try #require(
            try nm(scratch.file("whole.so"), "").first { $0.value.contains { $0.name == "global" } })
        for (file, names) in [
            ("whole.so", ["global", "global", "hidden", "hidden", "sized", nil]),
            ("stripped.so", ["global", nil, nil, nil, "sized", nil]),
        ] {
            let module = try ModuleSymbols(path: scratch.file(file), expectedBuildID: nil)
            let found = [0, 15, 16, 31, 39, 40].map { module.name(at: start.key + $0)?.name }
            #expect(found == names, "\(file)")
        }
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
