// Demangled names against c++filt and swift-demangle, over all the names of libraries of this machine; and
// names that were made to take for ever.

import TestSupport
import Testing

@testable import Symbols

@Suite struct DemanglerTests {
    /// What a filter makes of names, a line each.
    private func filter(_ command: String, _ names: [String]) throws -> [Substring] {
        let directory = try Scratch()
        let list = try directory.write(Array((names.joined(separator: "\n") + "\n").utf8), to: "names")
        return lines(try shell("\(command) < '\(list)'"))
    }

    @Test func cxxNamesAreThoseOfCxxfilt() throws {
        let names = Array(
            Set(
                try lines(
                    shell(
                        "nm -D --defined-only \"$(c++ -print-file-name=libstdc++.so.6)\" | awk '$3 ~ /^_Z/ { "
                            + "sub(/@.*/, \"\", $3); print $3 }'"
                    )
                ).map(String.init))
        ).sorted()
        try #require(names.count > 3000)
        let demangler = Demangler()
        for (name, expected) in zip(names, try filter("c++filt -i", names)) {
            #expect(demangler.demangle(name) == expected)
        }
        #expect(demangler.refused == 0)
    }

    @Test func rustNames() throws {
        let demangler = Demangler()
        // Legacy: without its hash, and with its escapes read.
        #expect(demangler.demangle("_ZN4core3fmt9Formatter3pad17h5e2e5b6d1d0cf7fdE") == "core::fmt::Formatter::pad")
        #expect(
            demangler.demangle(
                "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE")
                == "<Test + 'static as foo::Bar<Test>>::bar")
        #expect(
            demangler.demangle("_ZN4core3fmt9Formatter3pad17h5e2e5b6d1d0cf7fdE.llvm.1234567").hasPrefix(
                "core::fmt::Formatter::pad"))
        // v0.
        #expect(demangler.demangle("_RNvC6_123foo3bar") == "123foo::bar")
        let names = ["_RINvNtC3std3mem8align_ofjE", "_RNvXs5_NtCs1234_7mycrate3fooNtB5_3BarNtNtC4core3fmt5Debug3fmt"]
        for (name, expected) in zip(names, try filter("c++filt -i -s rust", names)) where expected != name {
            #expect(demangler.demangle(name) == expected)
        }
    }

    @Test func swiftNamesAreThoseOfSwiftDemangle() throws {
        let library = try #require(
            lines(
                shell(
                    "grep -o '/.*libswiftCore\\.so' /proc/$PPID/maps | head -1; find /opt /usr /root -name "
                        + "libswiftCore.so -path '*linux*' 2>/dev/null | head -1"
                )
            ).first)
        let tool = try #require(lines(shell("dirname \"$(readlink -f \"$(command -v swift)\")\"")).first)
        let names = try lines(
            shell(
                "nm -D --defined-only '\(library)' | awk '$2 == \"T\" && $3 ~ /^\\$s/ { print $3 }' | awk 'NR % 20 == "
                    + "0'"
            )
        ).map(String.init)
        try #require(names.count > 300)
        let demangler = Demangler()
        for (name, expected) in zip(names, try filter("'\(tool)/swift-demangle' --no-sugar", names)) {
            #expect(demangler.demangle(name) == expected)
        }
    }

    @Test func whatIsNotMangledStays() {
        let demangler = Demangler()
        for name in [
            "main", "", "_", "_Z", "_ZN", "$s", "_R", "_ZN1", "operator", "caf\u{E9}", "_start", "_ZGVcN8v_acosf",
        ] {
            #expect(demangler.demangle(name) == name)
        }
        #expect(demangler.demangle("_ZN3app4growEi@plt") == "app::grow(int)@plt")
        #expect(demangler.demangle("_ZN3app4growEi.cold") == "app::grow(int) [clone .cold]")
        #expect(demangler.demangle("_ZN3app4growEi.part.0") == "app::grow(int) [clone .part.0]")
    }

    /// Each parameter's type is the one before it, twice: 400 bytes for more text than there is memory.
    private func doubling(_ levels: Int) -> String {
        let digits = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        func reference(_ number: Int) -> String {
            if number == 0 { return "S_" }
            var rest = number - 1, text = ""
            repeat {
                text = String(digits[rest % 36]) + text
                rest /= 36
            } while rest > 0
            return "S\(text)_"
        }
        var name = "_Z1f1bIiiE" // substitutions: b, b<int, int>
        for level in 1 ... levels { name += "S_I\(reference(level))\(reference(level))E" }
        return name
    }

    @Test func namesThatWouldTakeForEver() throws {
        let demangler = Demangler()
        let short = doubling(3)
        #expect(demangler.demangle(short) == String(try #require(filter("c++filt -i", [short]).first)))
        let hostile = doubling(34)
        #expect(hostile.utf8.count < 420)
        let clock = ContinuousClock()
        let duration = clock.measure {
            for number in 0 ..< 50 {
                #expect(demangler.demangle(hostile + String(repeating: "i", count: number)).hasPrefix("_Z"))
            }
        }
        #expect(demangler.refused == 50)
        #expect(duration < .seconds(60)) // three are tried, a second each; each by itself would take hours
        // Honest names go on.
        #expect(demangler.demangle("_ZN3app4growEi") == "app::grow(int)")
        let deep = "_Z1f" + String(repeating: "P", count: 20_000) + "i"
        #expect(demangler.demangle(deep) == deep || demangler.demangle(deep).hasPrefix("f(int"))
        #expect(demangler.demangle("_Z" + String(repeating: "9", count: 100_000)).hasPrefix("_Z9"))
    }

    /// Many references, and still a name that somebody wrote: the helper process reads it.
    @Test func namesWithManyReferences() throws {
        let name = doubling(8)
        #expect(!Demangler.Scheme.itanium.isHarmless(name + "S_S_S_S_S_S_S_S_"))
        let long = name + "S_S_S_S_S_S_S_S_"
        let demangler = Demangler()
        #expect(demangler.demangle(long) == String(try #require(filter("c++filt -i", [long]).first)))
        #expect(demangler.refused == 0)
    }

    @Test func randomNamesHaveAnAnswer() {
        var random = SeededGenerator(seed: 21)
        let demangler = Demangler()
        let starts = ["_ZN", "_Z1f", "$s4main", "_RNv", "_RINvC1a", "$s1a1bV", "_ZN4core3fmt"]
        let pieces = [
            "S_", "S0_", "T_", "I", "E", "N", "3foo", "A", "Aa", "A9a", "B_", "B2_", "Dp", "sp", "J", "L", "17h", "v",
            "i", "y", "F", "V", "X", "K", "C", "c", "_", "0", "G", "x", "m",
        ]
        for _ in 0 ..< 3000 {
            var name = starts.randomElement(using: &random) ?? ""
            for _ in 0 ..< Int.random(in: 0 ... 40, using: &random) {
                name += pieces.randomElement(using: &random) ?? ""
            }
            #expect(!demangler.demangle(name).isEmpty)
        }
    }
}
