// Demangles names with existing libraries: the C++ runtime's __cxa_demangle, the Swift runtime's swift_demangle, and
// libiberty's rust_demangle for Rust's legacy and v0 names. Names that none of them knows are shown unchanged.
//
// A mangled name can refer back to its own parts. So 400 bytes can stand for more text than there is memory, and the
// libraries would write all of it. Therefore this process demangles only names with so few references that their text
// can't be long. A helper process demangles the others, within a limited time.

import CSymbols
import Glibc

package final class Demangler {
    private var known: [String: String] = [:]
    private var helper: Helper?
    private var failures = 0
    /// Names shown unchanged because demangling them took too long or too much memory.
    package private(set) var refused = 0

    /// Names of real templates reach a few tens of kilobytes. Nobody could read longer ones.
    private static let longestName = 1 << 15
    private static let longestText = 1 << 16
    private static let timeoutMilliseconds = 1000
    /// After this many failures the file counts as hostile, and only its harmless names are demangled.
    private static let mostFailures = 3

    package init() {}

    /// The demangled name; the name itself if it isn't mangled or can't be demangled.
    ///
    /// A linker's `@plt`, and a compiler's suffixes (`.cold`, `.part.0`), stay.
    /// - Complexity: O(1) for a name that was demangled before.
    package func demangle(_ name: String) -> String {
        guard let scheme = Scheme(of: name) else { return name }
        if let known = known[name] { return known }
        var bare = name, suffix = ""
        if bare.hasSuffix("@plt") {
            bare.removeLast(4)
            suffix = "@plt"
        }
        var text: String?
        if bare.utf8.count <= Self.longestName {
            text = scheme.isHarmless(bare) ? scheme.demangle(bare) : askHelper(bare)
        }
        let result = text.map { $0 + suffix } ?? name
        known[name] = result
        return result
    }

    private func askHelper(_ name: String) -> String? {
        guard failures < Self.mostFailures else {
            refused += 1
            return nil
        }
        let helper =
            helper
            ?? Helper(memoryByteCount: 512 << 20) { question in
                let name = String(decoding: question, as: UTF8.self)
                if name.isEmpty {
                    _ = Scheme.itanium.demangle("_ZN1a1bEv")
                    _ = Scheme.swift.demangle("$s1a1byyF")
                    _ = Scheme.rust.demangle("_RNvC1a1b")
                    return []
                }
                return Scheme(of: name)?.demangle(name).map { Array($0.utf8) } ?? []
            }
        self.helper = helper
        do throws(HelperError) {
            let answer = try helper.ask(Array(name.utf8), timeoutMilliseconds: Self.timeoutMilliseconds)
            return answer.isEmpty || answer.count > Self.longestText ? nil : String(decoding: answer, as: UTF8.self)
        } catch {
            failures += 1
            refused += 1
            return nil
        }
    }

    /// The ways of mangling.
    enum Scheme {
        case itanium, rust, swift

        init?(of name: String) {
            let bytes = name.utf8
            guard let first = bytes.first,
                first == UInt8(ascii: "_") || first == UInt8(ascii: "$") || first == UInt8(ascii: "@")
            else { return nil }
            if bytes.starts(with: "_R".utf8) {
                self = .rust
            } else if bytes.starts(with: "_Z".utf8) {
                self = Self.isLegacyRust(bytes) ? .rust : .itanium
            } else if ["$s", "$S", "$e", "_$s", "_$S", "_$e", "_T0", "@__swiftmacro_"].contains(where: {
                bytes.starts(with: $0.utf8)
            }) {
                self = .swift
            } else {
                return nil
            }
        }

        /// Rust's names before v0 are C++ names of nested namespaces that end in "17h", sixteen digits and "E".
        private static func isLegacyRust(_ bytes: String.UTF8View) -> Bool {
            guard bytes.starts(with: "_ZN".utf8) else { return false }
            // The last one: the compiler may have appended ".llvm.123".
            var end = bytes.endIndex
            if let dot = bytes.firstRange(of: ".llvm.".utf8) { end = dot.lowerBound }
            let tail = bytes[..<end].suffix(20)
            return tail.count == 20 && tail.starts(with: "17h".utf8) && tail.last == UInt8(ascii: "E")
                && tail.dropFirst(3).dropLast().allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) }
        }

        /// Whether the name is so short, with so few references to itself, that its text is at most a few megabytes.
        ///
        /// References multiply: n of them, three per level, repeat what they refer to at most 3^(n/3) times. Bytes that
        /// may be references count as references. C++'s pack expansions repeat a pattern for each member of a pack.
        func isHarmless(_ name: String) -> Bool {
            guard name.utf8.count <= 512 else { return false }
            var references = 0
            var last: UInt8 = 0, isRun = false
            for byte in name.utf8 {
                switch self {
                case .itanium:
                    let isIndex =
                        byte == UInt8(ascii: "_") || (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5A)
                    if isIndex && (last == UInt8(ascii: "S") || last == UInt8(ascii: "T")) { references += 1 }
                    if byte == UInt8(ascii: "p") && (last == UInt8(ascii: "D") || last == UInt8(ascii: "s")) {
                        references += 8
                    }
                case .rust: if byte == UInt8(ascii: "B") { references += 1 }
                case .swift:
                    // The letters after an A are substitutions, up to an upper-case one; a digit repeats them.
                    if isRun {
                        references += byte >= 0x30 && byte <= 0x39 ? 100 : 1
                        isRun = byte >= 0x61 && byte <= 0x7A
                    } else {
                        isRun = byte == UInt8(ascii: "A")
                    }
                }
                last = byte
            }
            return references <= 18
        }

        func demangle(_ name: String) -> String? {
            let text: UnsafeMutablePointer<CChar>?
            switch self {
            case .itanium:
                var status: CInt = 0
                text = __cxa_demangle(name, nil, nil, &status)
            case .rust: text = rust_demangle(name, CInt(SYMBOLS_RUST_OPTIONS))
            case .swift: text = swift_demangle(name, name.utf8.count, nil, nil, 0)
            }
            guard let text else { return nil }
            defer { free(text) }
            return String(cString: text)
        }
    }
}
