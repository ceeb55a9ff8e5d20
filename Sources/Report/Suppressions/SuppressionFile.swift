// Files of suppressions: LeakSanitizer's lines and Valgrind's blocks, which may be mixed in one file.
//
//     # a comment                       {
//     leak:PATTERN                         a name
//                                          Memcheck:Leak
//                                          match-leak-kinds: reachable
//                                          fun:malloc
//                                          ...
//                                       }
//
// Invariant: an invalid line is an error with its number and is never skipped: a suppression that silently does nothing
// makes a build fail for no visible reason.

import Glibc
import Symbols
import Text

/// A file of suppressions that can't be used.
package struct SuppressionError: Error, CustomStringConvertible {
    package var file: String
    /// From 1; nil: the whole file.
    package var line: Int?
    package var what: String
    package var description: String { "\(file)\(line.map { ":\($0)" } ?? ""): \(what)" }
}

extension Suppressions {
    /// Reads more rules from a file; `-` is standard input.
    package mutating func read(file path: String) throws(SuppressionError) {
        let descriptor = path == "-" ? dup(STDIN_FILENO) : path.withPath { open($0, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw SuppressionError(file: path, what: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw SuppressionError(file: path, what: String(cString: strerror(errno))) }
            if count == 0 { break }
            bytes += chunk[..<count]
            guard bytes.count <= 16 << 20 else {
                throw SuppressionError(file: path, what: "longer than 16 MB: no file of suppressions")
            }
        }
        try read(bytes, name: path)
    }

    /// Reads more rules from text. `name` is for messages.
    package mutating func read(_ text: [UInt8], name: String) throws(SuppressionError) {
        var lines = Lines(text, name)
        let demangler = Demangler()
        while let line = try lines.next() {
            if line == "{" {
                try readBlock(&lines, demangler)
            } else if line.hasPrefix("leak:") {
                let pattern = String(line.dropFirst(5))
                guard pattern.contains(where: { !"^*$".contains($0) }) else {
                    throw lines.error("leak: with a pattern that matches everything")
                }
                rules.append(SuppressionRule(name: line, place: lines.place, body: .anyFrame(SearchPattern(pattern))))
            } else if let colon = line.firstIndex(of: ":"),
                [
                    "race", "thread", "mutex", "signal", "deadlock", "called_from_lib",
                    "race_top", "interceptor_name", "interceptor_via_fun", "interceptor_via_lib", "odr_violation",
                    "vptr_check",
                ].contains(String(line[..<colon]))
            {
                // The sanitizers share their files; rules for other sanitizers are skipped.
                others += 1
            } else {
                throw lines.error("'\(line)' is neither leak:PATTERN nor the { of a block")
            }
        }
    }

    private mutating func readBlock(_ lines: inout Lines, _ demangler: Demangler) throws(SuppressionError) {
        let place = lines.place, began = lines.number
        func inside(_ line: String?) throws(SuppressionError) -> String {
            guard let line else {
                throw SuppressionError(file: lines.name, line: began, what: "the block that begins here has no end")
            }
            return line
        }
        let name = try inside(lines.next())
        if name == "}" { throw lines.error("a block without a name and a kind") }
        let kind = try inside(lines.next())
        guard let colon = kind.firstIndex(of: ":") else {
            throw lines.error("'\(kind)' is not a kind of suppression: Memcheck:Leak is expected")
        }
        let isOurs =
            kind[..<colon].split(separator: ",").contains("Memcheck") && kind[kind.index(after: colon)...] == "Leak"
        var patterns: [SuppressionRule.FramePattern] = []
        var mostBlocks: UInt64?
        var isNever = false, isFirst = true, unknown = 0
        while true {
            let line = try inside(lines.next())
            if line == "}" { break }
            guard isOurs else { continue }
            defer { isFirst = false }
            if line != "obj:*" { unknown = 0 }
            if isFirst && line.hasPrefix("match-leak-kinds:") {
                let kinds = line.dropFirst(17).split(whereSeparator: { $0 == "," || $0 == " " || $0 == "\t" })
                for kind in kinds
                where !["definite", "indirect", "possible", "reachable", "all", "none"].contains(kind) {
                    throw lines.error("'\(kind)' is not a kind of leak")
                }
                if kinds.isEmpty { throw lines.error("match-leak-kinds: without a kind") }
                isNever = kinds == ["none"]
            } else if place == nil, line.hasPrefix("most-blocks:") {
                mostBlocks = UInt64(line.dropFirst(12))
            } else if line == "..." {
                patterns.append(.any)
            } else if line.hasPrefix("fun:") {
                // Names here have no symbol version.
                let name = String(line.dropFirst(4).prefix { $0 != "@" })
                let isWhole = !name.utf8.contains { $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") }
                // Names in a log are usually demangled, and can't be mangled again.
                patterns.append(
                    .function(
                        WildcardPattern(name),
                        demangled: isWhole && name.hasPrefix("_") ? demangler.demangle(name) : nil))
            } else if line == "obj:*" {
                // Frames that Valgrind doesn't know. It also writes them for what it reads past a stack's end.
                unknown += 1
                patterns.append(.module(WildcardPattern("*")))
            } else if line.hasPrefix("obj:") {
                patterns.append(.module(WildcardPattern(String(line.dropFirst(4)))))
            } else if line.hasPrefix("src:") {
                let parts = line.dropFirst(4).split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                let number = parts.count > 1 ? Int(parts[1]) : nil
                guard parts.count == 1 || number != nil else {
                    throw lines.error("'\(line)': a line number is expected after the file")
                }
                patterns.append(.source(WildcardPattern(String(parts[0])), line: number))
            } else {
                throw lines.error("'\(line)' is neither fun:, obj:, src: nor ...")
            }
        }
        guard isOurs else {
            others += 1
            return
        }
        if unknown < patterns.count { patterns.removeLast(unknown) }
        guard patterns.contains(where: { if case .any = $0 { false } else { true } }) else {
            throw lines.error("a block without a frame")
        }
        // A rule that matches no kind of leak never applies.
        if isNever {
            others += 1
            return
        }
        rules.append(SuppressionRule(name: name, place: place, mostBlocks: mostBlocks, body: .frames(patterns)))
    }
}

/// The lines of a file, without empty lines and comments.
private struct Lines {
    private var rest: ArraySlice<UInt8>
    let name: String
    private(set) var number = 0

    init(_ text: [UInt8], _ name: String) {
        rest = text[...]
        self.name = name
    }

    /// nil for built-in rules.
    var place: String? { name.isEmpty ? nil : "\(name):\(number)" }

    func error(_ what: String) -> SuppressionError {
        SuppressionError(file: name, line: number, what: what.utf8.count > 300 ? String(what.prefix(200)) + "…" : what)
    }

    mutating func next() throws(SuppressionError) -> String? {
        while !rest.isEmpty {
            number += 1
            let line = rest.prefix { $0 != 0x0A }
            rest = rest.dropFirst(line.count + 1)
            let text = trimmed(line)
            if text.isEmpty || text.first == UInt8(ascii: "#") { continue }
            guard text.count <= suppressionTextLimit else { throw error("a line of \(text.count) bytes") }
            return String(decoding: text, as: UTF8.self)
        }
        return nil
    }

    private func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0D }
        var line = line.drop(while: isSpace)
        while let last = line.last, isSpace(last) { line = line.dropLast() }
        return line
    }
}
