// Source lines and inlined calls against eu-addr2line, over programs compiled here by two compilers and in
// two versions of DWARF, this test's own executable, and what of the machine's libraries has DWARF. And DWARF
// that lies: the process that reads it may die, and the tool goes on.

import Glibc
import TestSupport
import Testing

@testable import Symbols

@Suite struct LineTests {
    static let cxx = """
        #include <algorithm>
        #include <map>
        #include <string>
        #include <vector>
        namespace app {
        static inline __attribute__((always_inline)) int add(int x) { volatile int y = x; return y + 1; }
        static inline __attribute__((always_inline)) int twice(int x) { int r = add(x); return r + add(r); }
        struct Item { int key; std::string text; bool operator<(const Item &o) const { return key < o.key; } };
        int sorted(std::vector<Item> &items) { std::sort(items.begin(), items.end()); return twice((int)items.size()); }
        __attribute__((noinline)) int fail(int x) { if (x > 3) throw std::string("no"); return x; }
        int map(std::map<std::string, Item> &m, const std::string &k) { \
        try { m[k].key = fail(twice(m.size())); } catch (std::string &s) { return 1; } return 0; }
        }
        int main(int c, char **v) {
            std::vector<app::Item> items; std::map<std::string, app::Item> m;
            auto more = [&](int n) { for (int i = 0; i < n; i++) items.push_back({n - i, v[0]}); };
            more(c * 10);
            return app::sorted(items) + app::map(m, v[0]);
        }
        """

    private struct Call: Equatable { var name: String, file: String, line: Int }

    /// What eu-addr2line says: the innermost first, names without what they were inlined into.
    private func oracle(_ path: String, _ addresses: [UInt64], in directory: Scratch) throws -> [[Call]] {
        let list = try directory.write(
            Array(addresses.map { "0x\(String($0, radix: 16))\n" }.joined().utf8), to: "addresses")
        // Its status says whether all were found.
        let output = lines(try shell("eu-addr2line -a -A -i -f -e '\(path)' < '\(list)' || true"))
        var found: [[Call]] = []
        var name: String?
        for line in output {
            if line.hasPrefix("0x"), line.dropFirst(2).allSatisfy(\.isHexDigit), name == nil {
                found.append([])
            } else if let function = name {
                var place = line
                if let more = place.firstRange(of: " (discriminator") { place = place[..<more.lowerBound] }
                let parts = place.split(separator: ":", omittingEmptySubsequences: false)
                // file:line:column, or file:line.
                let numbers = parts.reversed().prefix { Int($0) != nil }.count
                let file = parts.dropLast(numbers).joined(separator: ":"),
                    number = numbers > 0 ? Int(parts[parts.count - numbers]) ?? 0 : 0
                found[found.count - 1].append(Call(name: function, file: file, line: number))
                name = nil
            } else {
                name = line.firstRange(of: " inlined at ").map { String(line[..<$0.lowerBound]) } ?? String(line)
            }
        }
        return found
    }

    /// Compares random addresses of a file's functions; answers how many had lines and how many inlined calls.
    private func compare(
        _ path: String, symbolsOf symbols: String? = nil, count: Int, namespaces: Bool = false
    ) throws -> (lines: Int, inlined: Int) {
        let directory = try Scratch()
        var random = SeededGenerator(seed: 11)
        let code = try SymbolListing(path: symbols ?? path).symbols.filter {
            "tTW".utf8.contains($0.type) && $0.byteCount > 0
        }
        try #require(!code.isEmpty, "\(path)")
        let addresses = (0 ..< count).map { _ in
            let symbol = code[Int.random(in: code.indices, using: &random)]
            return symbol.address + UInt64.random(in: 0 ..< symbol.byteCount, using: &random)
        }
        let lines = DebugLines()
        let ours = lines.calls(in: path, buildID: nil, at: addresses)
        #expect(lines.notes.isEmpty, "\(lines.notes)")
        let theirs = try oracle(path, addresses, in: directory)
        try #require(theirs.count == ours.count, "\(path)")
        var (withLines, inlined, differ) = (0, 0, 0)
        for (index, expected) in theirs.enumerated() {
            let own = ours[index].map { Call(name: $0.function ?? "??", file: $0.file ?? "??", line: $0.line ?? 0) }
            if own.isEmpty {
                if expected.first?.line ?? 0 != 0 { differ += 1 }
                continue
            }
            withLines += own[0].line > 0 ? 1 : 0
            inlined += own.count > 1 ? 1 : 0
            // eu-addr2line knows no unit without .debug_aranges, and leaves single callers out of long chains
            // (llvm-symbolizer has them): what it says must be in ours, in that order, from the same place on.
            var rest = own[...]
            let isWithin =
                expected.first.map { $0.file == own[0].file && $0.line == own[0].line } ?? true
                && expected.allSatisfy { wanted in
                    guard let place = rest.firstIndex(where: { $0.line == wanted.line && $0.file == wanted.file })
                    else { return false }
                    rest = rest[(place + 1)...]
                    return true
                }
            let saysNothing = expected.count == 1 && (expected[0].file == "??" || expected[0].line == 0)
            if !(isWithin || saysNothing) {
                differ += 1
                if differ < 4 {
                    print("\(path) 0x\(String(addresses[index], radix: 16)): eu-addr2line \(expected), here \(own)")
                }
            }
        }
        // A line table of a unit may have two rows for one address; which one counts is the reader's choice.
        #expect(differ * 200 <= count, "\(path): \(differ) of \(count) differ")
        return (withLines, inlined)
    }

    /// The Swift toolchain's llvm-symbolizer says the same, to the last caller.
    private func compareWithLLVM(_ path: String) throws {
        let directory = try Scratch()
        var random = SeededGenerator(seed: 12)
        let code = try SymbolListing(path: path).symbols.filter { "tTW".utf8.contains($0.type) && $0.byteCount > 0 }
        let addresses = (0 ..< 1000).map { _ in
            let symbol = code[Int.random(in: code.indices, using: &random)]
            return symbol.address + UInt64.random(in: 0 ..< symbol.byteCount, using: &random)
        }
        let list = try directory.write(
            Array(addresses.map { "0x\(String($0, radix: 16))\n" }.joined().utf8), to: "addresses")
        let tool = "\"$(dirname \"$(readlink -f \"$(command -v swift)\")\")/llvm-symbolizer\""
        let output = String(
            decoding: try shell(
                "\(tool) --no-demangle --relativenames=false -e '\(path)' < '\(list)' 2>/dev/null || \(tool) "
                    + "--no-demangle -e '\(path)' < '\(list)'"
            ), as: UTF8.self)
        let blocks = output.components(separatedBy: "\n\n").filter { !$0.isEmpty }
        try #require(blocks.count == addresses.count)
        var (compared, differ) = (0, 0)
        for (block, calls) in zip(blocks, DebugLines().calls(in: path, buildID: nil, at: addresses)) {
            let theirs = block.split(separator: "\n").enumerated().filter { $0.offset % 2 == 1 }.map {
                $0.element.split(separator: ":")
            }
            guard theirs.first?.first != "??", !calls.isEmpty else { continue }
            compared += 1
            if theirs.map({ $0.count > 1 ? Int($0[1]) ?? 0 : 0 }) != calls.map({ $0.line ?? 0 }) { differ += 1 }
        }
        #expect(compared > 500 && differ * 100 <= compared, "\(differ) of \(compared) differ")
    }

    @Test(arguments: [
        "g++ -gdwarf-4 -O2", "g++ -gdwarf-5 -O2", "g++ -gdwarf-5 -O0", "clang++ -gdwarf-4 -O2 -gdwarf-aranges",
        "clang++ -gdwarf-5 -O1",
    ])
    func compiledPrograms(_ compiler: String) throws {
        let directory = try Scratch()
        let source = try directory.write(Array(Self.cxx.utf8), to: "app.cc")
        let path = directory.path + "/app"
        _ = try shell("cd '\(directory.path)' && \(compiler) -o app app.cc 2>&1 && test -s '\(source)'")
        let (lines, inlined) = try compare(path, count: 2000)
        try compareWithLLVM(path)
        #expect(lines > 1000, "\(compiler)")
        #expect(inlined > (compiler.contains("-O0") ? -1 : 200), "\(compiler)")
    }

    @Test func theTestsOwnExecutable() throws {
        // Swift's DWARF; large, and with one unit for each module.
        let path = try #require(
            lines(shell("grep -o '/.*\\.xctest$' /proc/$PPID/maps | head -1")).first.map(String.init))
        let (lines, _) = try compare(path, count: 300)
        #expect(lines > 50)
    }

    @Test func theMachinesLibraries() throws {
        // The C library's debug files are there where libc6-dbg is.
        let paths = try lines(
            shell("find /usr/lib/debug/.build-id -name '*.debug' -size +20k 2>/dev/null | sort | head -200")
        ).map(String.init)
        var (withLines, inlined, files) = (0, 0, 0)
        for path in paths {
            guard let code = try? SymbolListing(path: path),
                code.symbols.contains(where: { "tT".utf8.contains($0.type) && $0.byteCount > 0 })
            else { continue }
            let found = try compare(path, count: path == paths.last ? 400 : 60)
            withLines += found.lines
            inlined += found.inlined
            files += 1
        }
        if paths.isEmpty {
            // Then one of this machine's own making stands in.
            let directory = try Scratch()
            withLines = try compare(directory.compile(DebugFileTests.source, flags: "-g -shared -fPIC"), count: 100)
                .lines
        }
        #expect(withLines > files)
    }

    @Test func anInlinedChain() throws {
        let directory = try Scratch()
        let path = try directory.compile(
            """
            static inline __attribute__((always_inline)) int inner(int x) { volatile int y = x;
              return y * 2; }
            static inline __attribute__((always_inline)) int middle(int x) {
              return inner(x) + 1; }
            int outer(int x) {
              return middle(x) + 3; }
            """, flags: "-g -O1 -shared -fPIC")
        let start = try #require(
            try lines(shell("nm '\(path)' | awk '$3 == \"outer\" { print $1 }'")).first.flatMap {
                UInt64($0, radix: 16)
            })
        let calls = try #require(DebugLines().calls(in: path, buildID: nil, at: [start + 4]).first)
        #expect(calls.map(\.function) == ["inner", "middle", "outer"])
        #expect(calls.map(\.line) == [2, 4, 6])
        #expect(calls.allSatisfy { $0.file == "\(directory.path)/source.c" })
        #expect(DebugLines().calls(in: path, buildID: nil, at: [0, .max]) == [[], []])
    }

    @Test func anotherBuildGivesNoLines() throws {
        let directory = try Scratch()
        let path = try directory.compile(DebugFileTests.source, flags: "-g -shared -fPIC -Wl,--build-id")
        let lines = DebugLines()
        #expect(lines.calls(in: path, buildID: [1, 2], at: [0x1100, 0x1110]) == [[], []])
        #expect(lines.notes.count == 1 && lines.notes[0].file == path)
    }

    /// Whatever the helper process meets, there is an answer, and the next file has its lines.
    @Test func hostileDWARF() throws {
        let directory = try Scratch()
        let path = try directory.compile(DebugFileTests.source, flags: "-g -O1 -shared -fPIC")
        let original = try readFile(path)
        var debug: [Range<Int>] = []
        for line in try lines(shell("readelf -SW '\(path)' | sed 's/\\[ *//'")) where line.contains(" .debug_") {
            let fields = line.split(separator: " ")
            let offset = try #require(Int(fields[4], radix: 16)), count = try #require(Int(fields[5], radix: 16))
            debug.append(offset ..< offset + count)
        }
        try #require(debug.count > 3)
        var random = SeededGenerator(seed: 8)
        let lines = DebugLines()
        let address = try #require(
            try SymbolListing(path: path).symbols.first { $0.type == UInt8(ascii: "T") && $0.byteCount > 0 }
        ).address
        for round in 0 ..< 200 {
            var bytes = original
            for _ in 0 ..< 8 {
                let place = Int.random(in: try #require(debug.randomElement(using: &random)), using: &random)
                bytes[place] =
                    [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0 ... 255, using: &random)].randomElement(using: &random)
                    ?? 0
            }
            let file = try directory.write(bytes, to: "hostile-\(round)")
            #expect(lines.calls(in: file, buildID: nil, at: [address, address + 4]).count == 2)
            unlink(file)
        }
        #expect(lines.calls(in: path, buildID: nil, at: [address]).first?.first?.line == 1)
    }
}

/// Split DWARF, whose functions and inlined calls lie in .dwo files beside the object files. Oracle: what the same
/// files said before.
@Suite struct SplitDwarfTests {
    @Test(arguments: ["cc -gdwarf-5", "cc -gdwarf-4"]) func aDwoFileThatIsGoneIsSaid(compiler: String) throws {
        let directory = try Scratch()
        for name in ["one", "two"] {
            _ = try directory.write(
                Array(
                    ("static inline __attribute__((always_inline)) int add_\(name)(int n) { return n * 3 + 1; }\n"
                        + "__attribute__((noinline)) int \(name)(int n) { return add_\(name)(n) * 7; }\n")
                        .utf8), to: "\(name).c")
        }
        _ = try directory.write(
            Array(
                ("int one(int), two(int);\nint main(int count, char **words) { (void)words; return one(count) + "
                    + "two(count); }\n")
                    .utf8), to: "main.c")
        _ = try shell(
            "cd '\(directory.path)' && \(compiler) -O1 -gsplit-dwarf -c one.c two.c main.c && cc -o prog one.o "
                + "two.o main.o"
        )
        let path = "\(directory.path)/prog"
        func calls() throws -> (functions: [[String?]], notes: [String]) {
            let symbols = try ModuleSymbols(path: path, expectedBuildID: nil), lines = DebugLines()
            let addresses = try ["one", "two"].map { name in
                try #require(
                    UInt64(
                        String(
                            decoding: try shell("nm '\(path)' | grep ' \(name)$'")
                                .prefix { $0 != 0x20 }, as: UTF8.self),
                        radix: 16)) + 1
            }
            return (
                lines.calls(in: path, buildID: symbols.buildID, at: addresses).map { $0.map(\.function) },
                lines.notes.map { "\($0)" }
            )
        }
        let before = try calls()
        #expect(before.functions == [["add_one", "one"], ["add_two", "two"]] && before.notes.isEmpty, "\(before)")
        unlink("\(directory.path)/two.dwo")
        let one = try calls()
        #expect(one.functions[0] == ["add_one", "one"] && one.functions[1] != ["add_two", "two"], "\(one)")
        #expect(
            one.notes.count == 1 && one.notes[0].contains("of 1 source file are missing")
                && one.notes[0].contains("\(directory.path)/two.dwo, and that is not there"), "\(one)")
        unlink("\(directory.path)/one.dwo")
        let none = try calls()
        #expect(
            none.notes.count == 1 && none.notes[0].contains("of 2 source files are missing")
                && none.notes[0].contains("one.dwo, \(directory.path)/two.dwo, and those are not there"), "\(none)")
    }
}
