// binutils say what is right: over the machine's own libraries and programs, the test's own executable,
// and C++ compiled here, each address's name is one that nm lists there, types are nm's letters, and
// build-ids are readelf's.

import Glibc
import TestSupport
import Testing
import Text

@testable import Symbols

private struct Listed: Hashable { var address: UInt64, type: Substring, name: Substring }
private struct Sized { var start: UInt64, byteCount: UInt64, name: Substring }

/// nm's lines, versions cut off; without common symbols, which have no address, and without those that have no name.
private func nm(_ path: String, dynamic: Bool) throws -> [(symbol: Listed, byteCount: UInt64)] {
    // nm's status is 0 also for "no symbols".
    try lines(shell("nm -S --defined-only \(dynamic ? "-D" : "") '\(path)' 2>/dev/null")).compactMap { line in
        let fields = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
        guard fields.count >= 3, let address = UInt64(fields[0], radix: 16) else { return nil }
        let hasSize = fields[1].count > 1
        guard !hasSize || fields.count == 4 else { return nil }
        let type = fields[hasSize ? 2 : 1], name = hasSize ? fields[3] : fields[2]
        guard type != "C", !name.isEmpty else { return nil }
        let plain = name.firstIndex(of: "@").map { $0 == name.startIndex ? name : name[..<$0] } ?? name
        return (Listed(address: address, type: type, name: plain), hasSize ? UInt64(fields[1], radix: 16) ?? 0 : 0)
    }
}

@Suite struct OracleTests {
    /// 70 of the machine's files, always the same ones of the same machine, and unstripped ones.
    static func files(in directory: Scratch) throws -> [String] {
        var random = SeededGenerator(seed: 42)
        var files: [String] = []
        for (pattern, count) in [("/usr/lib/$(uname -m)-linux-gnu", 40), ("/usr/bin", 30)] {
            // Larger ones take a debug build long.
            let found = try lines(shell("find \(pattern) -maxdepth 1 -type f -size -1500k | sort")).map(String.init)
                .filter {
                    let reader = try FileReader(path: $0)
                    return try reader.byteCount > 64
                        && reader.read("magic", at: 0, count: 4).withSpan {
                            $0.unsafeLoadUnaligned(as: UInt32.self) == 0x464C_457F
                        }
                }
            try #require(found.count >= count)
            files += found.shuffled(using: &random).prefix(count)
        }
        files.append(try directory.compile(cxx, as: "source.cc", flags: "-O1 -Wl,--no-as-needed -lstdc++", to: "cxx"))
        files.append(
            try directory.compile(
                cxx, as: "source.cc", flags: "-O1 -shared -fPIC -Wl,--build-id=0x0102030405060708", to: "cxx.so"))
        files.append(try directory.compile(cxx, as: "source.cc", flags: "-O1 -c -ffunction-sections", to: "cxx.o"))
        return files
    }

    static let cxx = """
        #include <map>
        #include <string>
        #include <vector>
        static std::map<std::string, std::vector<std::string>> table;
        thread_local int counter;
        inline int shared() { static int once = (int)table.size(); return once; }
        __attribute__((weak)) int weak() { return ++counter; }
        namespace { struct Local { int f(const std::string &s) { return (int)table[s].size(); } }; }
        int run(const std::string &s) { table[s].push_back(s + "x"); return Local().f(s) + shared() + weak(); }
        int main(int c, char **v) { return run(v[0]) + c; }
        """

    @Test func namesAreAmongThoseThatNmLists() throws {
        let directory = try Scratch()
        var random = SeededGenerator(seed: 7)
        var named = 0, unnamed = 0
        for path in try Self.files(in: directory) where !path.hasSuffix(".o") {
            let module = try ModuleSymbols(path: path, expectedBuildID: nil)
            var code: [Sized] = []
            // A separate debug file names what the library itself doesn't.
            let debug = module.debugInfoPath.flatMap { $0 == path ? nil : $0 }
            for (file, dynamic) in [(path, false), (path, true)] + (debug.map { [($0, false)] } ?? []) {
                for (symbol, byteCount) in try nm(file, dynamic: dynamic)
                where ["t", "T", "W", "i"].contains(symbol.type) {
                    code.append(Sized(start: symbol.address, byteCount: byteCount, name: symbol.name))
                }
            }
            guard let low = code.map(\.start).min(), let high = code.map({ $0.start + $0.byteCount }).max() else {
                continue
            }
            for _ in 0 ..< 60 {
                // Half of them anywhere, half close to a symbol's start or end, where mistakes are made.
                var address = UInt64.random(in: low ... high, using: &random)
                if Bool.random(using: &random), let symbol = code.randomElement(using: &random) {
                    address =
                        symbol.start &+ (Bool.random(using: &random) ? symbol.byteCount : 0)
                        &+ UInt64.random(in: 0 ... 3, using: &random) &- 1
                }
                let holding = code.filter { $0.start <= address && address < $0.start + $0.byteCount }
                guard let name = module.name(at: address) else {
                    #expect(holding.isEmpty, "\(path) \(String(address, radix: 16)): nm has \(holding.map(\.name))")
                    unnamed += 1
                    continue
                }
                if name.name.hasSuffix("@plt") { continue }
                named += 1
                let start = address - name.offset
                let innermost = holding.map(\.start).max()
                #expect(innermost == nil || innermost == start, "\(path) \(String(address, radix: 16)): \(name)")
                #expect(
                    code.contains {
                        $0.start == start && $0.name == name.name
                            && ($0.byteCount == 0 || address < start + $0.byteCount)
                    },
                    "\(path) \(String(address, radix: 16)): \(name)")
            }
        }
        // Without these a reader that names nothing, or anything, could pass.
        #expect(named > 1000)
        #expect(unnamed > 100)
    }

    /// Over a hundred libraries and more, a thousand addresses each: an address is in the symbol that nm has with the
    /// greatest start of those that hold it. nm's list is searched by a plain sweep, without our table.
    @Test func startsAreNmsOverManyLibraries() throws {
        var random = SeededGenerator(seed: 17)
        let paths = try lines(shell("find /usr/lib/$(uname -m)-linux-gnu -type f -name '*.so*' -size -600k | sort"))
            .map(String.init).shuffled(using: &random)
        var (files, named, unnamed) = (0, 0, 0)
        for path in paths where files < 150 {
            // Linker scripts are named .so too.
            guard let module = try? ModuleSymbols(path: path, expectedBuildID: nil, search: SymbolSearch(sysroot: ""))
            else { continue }
            var code = try nm(path, dynamic: true).filter {
                ["t", "T", "W", "i"].contains($0.symbol.type) && $0.byteCount > 0
            }
            .map { (start: $0.symbol.address, end: $0.symbol.address + $0.byteCount) }
            guard code.count > 20, module.debugInfoPath == nil else { continue } // .debug files name more than nm -D
            code.sort { $0.start < $1.start }
            let addresses = (0 ..< 1000).map { _ in
                UInt64.random(in: code[0].start ... code[code.count - 1].end, using: &random)
            }.sorted()
            var next = 0
            var open: [(start: UInt64, end: UInt64)] = []
            for address in addresses {
                while next < code.count, code[next].start <= address {
                    open.append(code[next])
                    next += 1
                }
                open.removeAll { $0.end <= address }
                let expected = open.last?.start // sorted by start
                let name = module.name(at: address)
                if let expected {
                    #expect(
                        name.map { address - $0.offset } == expected,
                        "\(path) \(String(address, radix: 16)): \(String(describing: name))")
                    named += 1
                } else {
                    #expect(
                        name == nil || name?.name.hasSuffix("@plt") == true
                            || code.allSatisfy { $0.start != address - (name?.offset ?? 0) },
                        "\(path) \(String(address, radix: 16)): \(String(describing: name))")
                    unnamed += 1
                }
            }
            files += 1
        }
        #expect(files >= 100 && named > 50_000 && unnamed > 10_000, "\(files) \(named) \(unnamed)")
    }

    @Test func typesAreNmsLetters() throws {
        let directory = try Scratch()
        var compared = 0
        for path in try Self.files(in: directory) {
            let listing = try SymbolListing(path: path)
            var ours: [Listed: Int] = [:]
            for symbol in listing.symbols {
                var name: [UInt8] = []
                listing.appendName(of: symbol, to: &name)
                let listed = Listed(
                    address: symbol.address, type: Substring(String(UnicodeScalar(symbol.type))),
                    name: Substring(String(decoding: name, as: UTF8.self)))
                ours[listed, default: 0] += 1
            }
            let (full, dynamic) = (try nm(path, dynamic: false), try nm(path, dynamic: true))
            var theirs: [Listed: Int] = [:]
            for (symbol, _) in full.isEmpty ? dynamic : full { theirs[symbol, default: 0] += 1 }
            let missing = theirs.filter { ours[$0.key] != $0.value }
            #expect(missing.isEmpty, "\(path): \(missing.prefix(3))")
            // What .symtab doesn't have comes from .dynsym, which says the same.
            let extra = Set(ours.keys).subtracting(theirs.keys).subtracting(dynamic.map(\.symbol))
            #expect(extra.isEmpty, "\(path): \(extra.prefix(3))")
            compared += theirs.count
        }
        #expect(compared > 5000)
    }

    @Test func buildIDsAreReadelfs() throws {
        let directory = try Scratch()
        var known = 0
        for path in try Self.files(in: directory) {
            let expected = try lines(shell("readelf -nW '\(path)' 2>/dev/null")).first { $0.contains("Build ID: ") }?
                .split(separator: " ").last.map(String.init)
            let found = try ELFFile(path: path).readBuildID().map(hexadecimal)
            #expect(found == expected, "\(path)")
            known += expected == nil ? 0 : 1
        }
        #expect(known > 50)
    }

    @Test func theTestsOwnExecutable() throws {
        // It is large, not stripped, and made by another compiler. Others may take an emulator for it.
        let own = try #require(realpath("/proc/self/exe", nil))
        defer { free(own) }
        let path = String(cString: own)
        let module = try ModuleSymbols(path: path, expectedBuildID: nil)
        var checked = 0
        for line in lines(try shell("nm -S --defined-only '\(path)' | awk '$3 ~ /^[tT]$/ && ++n % 50 == 0'")) {
            let fields = line.split(separator: " ")
            guard let start = UInt64(fields[0], radix: 16), let byteCount = UInt64(fields[1], radix: 16), byteCount > 1
            else { continue }
            let name = try #require(module.name(at: start + byteCount / 2), "\(line)")
            #expect(name.offset <= byteCount / 2)
            checked += 1
        }
        #expect(checked > 100)
    }
}
