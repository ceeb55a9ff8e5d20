// How much processor time opening and looking up take. The limits are wide, for debug builds; the
// figures are for reading: swift test -c release -Xswiftc -enable-testing --filter SpeedTests

import TestSupport
import Testing

@testable import Symbols

@Suite(.serialized) struct SpeedTests {
    private func report(_ what: String, _ duration: Duration) {
        print("\(what): \(duration.formatted)")
    }

    /// Addresses in functions of the file; none where it has no functions.
    private func addresses(in path: String, count: Int, using random: inout SeededGenerator) throws -> [UInt64] {
        let code = try SymbolListing(path: path).symbols.filter {
            [UInt8(ascii: "t"), UInt8(ascii: "T")].contains($0.type) && $0.byteCount > 0
        }
        return code.isEmpty
            ? []
            : (0 ..< count).map { _ in
                let symbol = code[Int.random(in: code.indices, using: &random)]
                return symbol.address + UInt64.random(in: 0 ..< symbol.byteCount, using: &random)
            }
    }

    @Test func openingALibraryOfManySymbols() throws {
        let directory = try Scratch()
        let count = 100_000
        var random = SeededGenerator(seed: 5)
        var source = ".text\n"
        for number in (0 ..< count).shuffled(using: &random) {
            let name = "_ZN7library6modul\(number % 97)E10function_\(number)RKNSt7__cxx1112basic_stringE"
            source +=
                ".type \(name),@function\n\(number % 3 == 0 ? "" : ".globl \(name)\n")\(name):\n.fill 16,1,0x90\n.size "
                + "\(name),16\n"
        }
        let path = try directory.compile(source, as: "many.s", flags: "-shared -nostdlib -Wl,--build-id", to: "many.so")
        let clock = ThreadClock()
        var module: ModuleSymbols?
        let opening = try clock.measure { module = try ModuleSymbols(path: path, expectedBuildID: nil) }
        report("open and index \(count) symbols", opening)
        #expect(opening < .seconds(10))
        let opened = try #require(module)
        var named = 0
        let addresses = try addresses(in: path, count: 20_000, using: &random)
        let looking = clock.measure {
            for address in addresses { named += opened.name(at: address) == nil ? 0 : 1 }
        }
        #expect(named == 20_000)
        report("20,000 lookups in it, names and all", looking)
        #expect(looking < .seconds(10))
    }

    @Test func aHundredModules() throws {
        let paths = try lines(
            shell("find /usr/lib/$(uname -m)-linux-gnu -maxdepth 1 -type f -name '*.so*' -size -8M | sort")
        ).map(String.init)
        let clock = ThreadClock()
        var random = SeededGenerator(seed: 6)
        var (opening, looking) = (Duration.zero, Duration.zero)
        var named = 0, opened = 0
        for path in paths where opened < 100 {
            // Linker scripts are named .so too, and some libraries are data alone.
            guard let addresses = try? addresses(in: path, count: 200, using: &random), !addresses.isEmpty else {
                continue
            }
            var module: ModuleSymbols?
            opening += try clock.measure { module = try ModuleSymbols(path: path, expectedBuildID: nil) }
            looking += clock.measure {
                for address in addresses { named += module?.name(at: address) == nil ? 0 : 1 }
            }
            opened += 1
        }
        try #require(opened == 100)
        report("open and index 100 modules", opening)
        report("20,000 lookups in them, names and all", looking)
        #expect(named == 20_000)
        #expect(opening + looking < .seconds(20))
    }
}

extension Duration {
    fileprivate var formatted: String {
        let microseconds = components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000
        return "\(microseconds / 1000).\(String(microseconds % 1000 + 1000).dropFirst()) ms"
    }
}
