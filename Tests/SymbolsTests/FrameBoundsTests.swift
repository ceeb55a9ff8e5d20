// Where code begins and ends by .eh_frame. Oracle: readelf's list of its entries. And tables that lie.

import Glibc
import TestSupport
import Testing

@testable import Symbols

@Suite struct FrameBoundsTests {
    /// The entries of .eh_frame as readelf prints them, by their starts.
    private func entries(_ path: String) throws -> [(start: UInt64, end: UInt64)] {
        let command = "readelf --debug-dump=frames '\(path)' 2>/dev/null | sed -n 's/.* FDE .*pc=//p'"
        let found = lines(try shell(command)).compactMap { line -> (start: UInt64, end: UInt64)? in
            let ends = String(line).components(separatedBy: "..").map { UInt64($0, radix: 16) }
            guard ends.count == 2, let start = ends[0], let end = ends[1], start < end else { return nil }
            return (start, end)
        }
        return found.sorted { $0.start < $1.start }
    }

    /// Compares what is said around starts and other addresses, with and without ends; how many were compared.
    private func compare(_ path: String) throws -> Int {
        let file = try ELFFile(path: path), entries = try entries(path)
        guard !entries.isEmpty else { return 0 }
        let addresses = Set(entries.flatMap { [$0.start, $0.start - 1, $0.start + 1, $0.end, $0.end + 5] } + [0])
            .sorted()
        let whole = try #require(try FrameBounds.around(addresses, in: file) { _, _ in true })
        let starts = try #require(try FrameBounds.around(addresses, in: file) { _, _ in false })
        var next = 0
        for (number, address) in addresses.enumerated() {
            while next < entries.count, entries[next].start <= address { next += 1 }
            let wanted = FrameBounds(
                start: next > 0 ? entries[next - 1].start : 0, end: next > 0 ? entries[next - 1].end : 0,
                next: next < entries.count ? entries[next].start : .max)
            #expect(whole[number] == wanted, "\(path) \(String(address, radix: 16))")
            #expect(starts[number].start == wanted.start && starts[number].next == wanted.next, "\(path)")
            // One alone is read where .eh_frame_hdr says.
            if number % 16 == 0 {
                #expect(try FrameBounds.around([address], in: file) { _, _ in true } == [wanted], "\(path)")
            }
        }
        return addresses.count
    }

    @Test func entriesAreReadelfs() throws {
        let scratch = try Scratch()
        let static_ = try scratch.compile("int main(void) { return 0; }", flags: "-static", to: "static")
        let paths = lines(
            try shell(
                "find /usr/lib/$(uname -m)-linux-gnu /usr/aarch64-linux-gnu/lib -maxdepth 1 -name '*.so.*' -type f "
                    + "-size -300k 2>/dev/null | sort | awk 'NR % 8 == 0'")
        ).map(String.init)
        var (files, compared) = (0, 0)
        for path in [static_, "/lib/ld-musl-\(try machine()).so.1"] + paths {
            guard (try? ELFFile(path: path)) != nil else { continue }
            let own = try compare(path)
            (files, compared) = (files + (own > 0 ? 1 : 0), compared + own)
        }
        #expect(files > 20 && compared > 20_000, "\(files) \(compared)")
    }

    private func machine() throws -> Substring { try #require(lines(try shell("uname -m")).first) }

    /// Both classes and byte orders; an object file has no addresses yet.
    @Test(
        .enabled(
            if: ["clang", "ld.lld"].allSatisfy { access("/usr/bin/\($0)", X_OK) == 0 },
            "clang and lld compile for other machines"))
    func otherMachines() throws {
        let scratch = try Scratch()
        try scratch.write("code.c", "int f(int x) { return x + 1; } int g(int x) { return f(x) * 2; }")
        var compared = 0
        for machine in ["i386", "mips", "powerpc64", "s390x", "riscv64", "aarch64", "x86_64"] {
            let made = try scratch.shell(
                "clang --target=\(machine)-linux-gnu -fasynchronous-unwind-tables -fPIC -nostdlib -shared -fuse-ld=lld "
                    + "code.c -o \(machine).so && clang --target=\(machine)-linux-gnu -fPIC -c code.c -o \(machine).o")
            guard made.exitStatus == 0 else { continue }
            compared += try compare(scratch.file("\(machine).so"))
            let object = try ELFFile(path: scratch.file("\(machine).o"))
            #expect(try FrameBounds.around([0], in: object) { _, _ in true } == nil)
        }
        #expect(compared > 20)
    }

    /// A library whose look-ups read all of .eh_frame, because a function has no size and the local ones no names.
    private func small(_ scratch: Scratch, flags: String = "") throws -> String {
        try scratch.write(
            "small.s",
            """
            .text
            .globl covered
            .type covered, @function
            covered: .cfi_startproc
            .cfi_personality 0x1b, .Lhandler
            .cfi_lsda 0x1b, .Lhandler
            .skip 16, 0x90
            .cfi_endproc
            .globl other
            .type other, @function
            other: .cfi_startproc simple
            .cfi_signal_frame
            .skip 16, 0x90
            .cfi_endproc
            .Lhandler: .skip 16, 0x90
            .section .note.GNU-stack, "", @progbits
            """)
        try scratch.prepare("cd '\(scratch.path)' && gcc -shared -nostdlib -s \(flags) -o small.so small.s")
        return scratch.file("small.so")
    }

    @Test func liesAboutEntries() throws {
        let scratch = try Scratch()
        let path = try small(scratch)
        let file = try ELFFile(path: path)
        let index = try #require(try file.section(named: ".eh_frame"))
        let table = Int(file.sections[index].offset)
        let covered = try #require(try entries(path).first)
        let honest = try readFile(path)
        /// The problem of a copy with other bytes at a place of .eh_frame, and what it calls `covered`'s second byte.
        func lie(_ offset: Int, _ bytes: [UInt8]) throws -> (SymbolsError?, String?) {
            var copy = honest
            copy.replaceSubrange(table + offset ..< table + offset + bytes.count, with: bytes)
            let module = try ModuleSymbols(path: scratch.write(copy, to: "lie.so"), expectedBuildID: nil)
            #expect(module.name(at: covered.start)?.name == "covered")
            return (module.problems.first, module.name(at: covered.start + 1)?.name)
        }
        #expect(try lie(0, []) == (nil, "covered"))
        // The CIE is first: its length, 0, version, "zPLR", …. The FDE's length is behind it.
        let length = Int(honest[table])
        for (offset, bytes, at) in [
            (0, [0xF0, 0xFF, 0xFF, 0x7F], 0), // longer than the section
            (0, [3, 0, 0, 0], 0), // shorter than its own fields
            (0, [0xFF, 0xFF, 0xFF, 0xFF], 0), // 64 bits wide: the length is what follows
            (8, [9], 0), // its version
            (9, [UInt8](repeating: 0x41, count: 5), 0), // its augmentation: none that is known
            (10, [0x41], 0),
            (length + 8, [0xFF, 0xFF, 0, 0], length + 4), // the CIE of an FDE: before the section
            (length + 8, [4, 0, 0, 0], length + 4), // the FDE itself
        ] as [(Int, [UInt8], Int)] {
            let (problem, name) = try lie(offset, bytes)
            #expect(problem?.offset == UInt64(table + at), "\(offset): \(String(describing: problem))")
            #expect(name == nil, "\(offset)")
        }
        // A range that reaches around the address space, and an empty one, cover nothing.
        for count: [UInt8] in [[0xFF, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0]] {
            let (problem, name) = try lie(length + 16, count)
            #expect(problem == nil)
            #expect(name == (count[0] == 0 ? nil : "covered")) // up to the next one
        }
    }

    @Test func flippedBytesOfEntries() throws {
        let scratch = try Scratch()
        var random = SeededGenerator(seed: 29)
        var (answered, refused) = (0, 0)
        for flags in ["", "-Wl,--no-eh-frame-hdr"] {
            let path = try small(scratch, flags: flags)
            let file = try ELFFile(path: path), honest = try readFile(path)
            let names = try file.sectionNames()
            let places = names.indices.filter { names[$0].hasPrefix(".eh_frame") }.flatMap {
                Int(file.sections[$0].offset) ..< Int(file.sections[$0].offset + file.sections[$0].byteCount)
            }
            for _ in 0 ..< 1500 {
                var copy = honest
                for _ in 0 ... Int.random(in: 0 ..< 3, using: &random) {
                    let place = try #require(places.randomElement(using: &random))
                    copy[place] =
                        [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0 ... 255, using: &random)].randomElement(
                            using: &random) ?? 0
                }
                let flipped = try scratch.write(copy, to: "flipped.so")
                let module = try ModuleSymbols(path: flipped, expectedBuildID: nil)
                if module.problems.isEmpty { answered += 1 } else { refused += 1 }
                _ = try SymbolListing(path: flipped)
                for needsEnd in [false, true] {
                    _ = try? FrameBounds.around([0, 0x1000, 0x1010, .max], in: ELFFile(path: flipped)) { _, _ in
                        needsEnd
                    }
                }
            }
        }
        #expect(answered > 300 && refused > 300, "\(answered) \(refused)")
    }

    /// Many entries that share two CIEs by turns, and many symbols within one entry: no work by their product.
    @Test func manyEntriesAndSymbolsStayQuick() throws {
        let scratch = try Scratch()
        let count = 50_000
        let source =
            ".text\n.globl first\n.type first,@function\nfirst: .cfi_startproc\n"
            + (0 ..< count).map { ".globl s\($0)\ns\($0): nop\n" }.joined() + ".cfi_endproc\n"
            + (0 ..< count).map { ".cfi_startproc\($0 % 2 == 0 ? "\n.cfi_signal_frame" : "")\nnop\n.cfi_endproc\n" }
            .joined()
        try scratch.write("many.s", source)
        try scratch.prepare("cd '\(scratch.path)' && gcc -shared -nostdlib -s -o many.so many.s")
        let clock = ThreadClock()
        var module: ModuleSymbols?
        let duration = try clock.measure {
            module = try ModuleSymbols(path: scratch.file("many.so"), expectedBuildID: nil)
        }
        #expect(duration < .seconds(20)) // under a second alone; by the product it would be hours
        let start = try #require(try entries(scratch.file("many.so")).first).start
        for number in [0, 1, count / 2, count - 1] {
            #expect(module?.name(at: start + UInt64(number))?.name == "s\(number)")
        }
        #expect(module?.name(at: start + UInt64(count)) == nil)
    }
}
