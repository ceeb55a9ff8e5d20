// Reads symbol listings in text form: the output of gensyms and nm, /proc/kallsyms, System.map. Each line has an
// address, a type letter and a name; the formats differ in where the size is, if there is one. The format is recognized
// by the lines, never by the file's name. Other lines are counted, and the first one is reported.
//
// A listing names addresses of one module, or absolute addresses (the kernel's, or those of a program without modules).
// The module is known from a heading ("File: PATH" of gensyms, "PATH:" of nm), from the user's argument, or from the
// listing's file name: server.syms belongs to server.

import Glibc
import Text

/// The symbols of a text listing.
package struct SymbolList: Sendable {
    package let path: String
    /// The number of lines that are not symbols, and where the first one is; empty if there are none.
    package private(set) var notes: [SymbolsError] = []
    /// How many symbols it has.
    package private(set) var symbolCount = 0

    private struct Section: Sendable {
        /// False if no function in it is local: then it has only dynamic symbols (nm -D), and a name also covers all
        /// the local functions after it.
        var hasLocalFunctions: Bool
        /// The module, from a heading or from the caller; nil if not known.
        var module: String?
        var ranges: NamedRanges
    }
    private var sections: [Section] = []

    private static let largest = 1 << 31

    /// Reads a listing, also from a pipe.
    ///
    /// - Parameter argument: a path, or `MODULE=PATH`, where MODULE is a path or a base name.
    /// - Throws: `.cannotOpen`; `.damaged` if no line is a symbol; `.unsupported` if all addresses are hidden.
    /// - Complexity: O(n log n); memory of about twice the file's size.
    package init(_ argument: String) throws(SymbolsError) {
        let (module, path) = Self.parts(of: argument)
        try self.init(path: path, module: module)
    }

    /// The listing's file, and the module of MODULE=FILE. If a file with the whole name exists, the argument is that
    /// file.
    package static func parts(of argument: String) -> (module: String?, path: String) {
        guard argument.withPath({ access($0, F_OK) }) != 0, let equals = argument.firstIndex(of: "="),
            equals != argument.startIndex
        else {
            return (nil, argument)
        }
        return (String(argument[..<equals]), String(argument[argument.index(after: equals)...]))
    }

    package init(path: String, module: String?) throws(SymbolsError) {
        self.path = path
        let bytes: FileBytes
        do throws(SymbolsError) {
            bytes = try FileReader.readWhole(path, limit: Self.largest, orPipe: true)
        } catch {
            throw error.reason == .notELF
                ? SymbolsError(file: path, reason: .unsupported("not a file to read a listing from")) : error
        }
        let lines = bytes.withSpan { SymbolLines($0) }
        guard lines.count > 0 else {
            throw SymbolsError(file: path, offset: 0, reason: .damaged("no line is a symbol (address, type, name)"))
        }
        guard lines.hasAddresses else {
            throw SymbolsError(
                file: path,
                reason: .unsupported("all addresses are 0: the kernel hides them from users; read it as root"))
        }
        symbolCount = lines.count
        if lines.unreadableCount > 0 {
            notes.append(
                SymbolsError(
                    file: path, offset: UInt64(lines.firstUnreadable),
                    reason: .damaged(
                        "\(lines.unreadableCount) line\(lines.unreadableCount == 1 ? " is" : "s are") no symbols, the "
                            + "first of them here"
                    )))
        }
        guard let names = lines.names.withUnsafeBytes({ FileBytes(copying: $0) }) else {
            throw SymbolsError(file: path, reason: .tooLarge(UInt64(lines.names.count)))
        }
        for section in lines.sections {
            var builder = NamedRangesBuilder()
            builder.add(NameSource(strings: StringTable(bytes: names))) { source in
                section.entries.map { entry in
                    var entry = entry
                    entry.source = source
                    return entry
                }
            }
            sections.append(
                Section(
                    hasLocalFunctions: section.hasLocalFunctions, module: module ?? section.module,
                    ranges: builder.finish()))
        }
    }

    /// The name of an address of a module, or nil if this listing doesn't belong to that module.
    package func name(at address: UInt64, inModule path: String) -> SymbolName? {
        for section in sections where isOf(section, path) {
            if let name = section.ranges.name(at: address) { return name }
        }
        return nil
    }

    /// Whether the listing has local functions of the module. If not, it may have the module's dynamic symbols only.
    func hasLocalFunctions(ofModule path: String) -> Bool {
        sections.contains { isOf($0, path) && $0.hasLocalFunctions }
    }

    /// Whether any of the listing's symbols are the module's.
    package func isOf(module path: String) -> Bool { sections.contains { isOf($0, path) } }

    private func isOf(_ section: Section, _ path: String) -> Bool {
        let name = baseName(path)
        guard let module = section.module else {
            let own = baseName(self.path)
            return own == name || own.hasPrefix(name + ".") && !own.dropFirst(name.count + 1).contains(".")
        }
        // A heading with a full path applies to that file, and to others only if no other heading fits them better.
        if module == path { return true }
        guard baseName(module) == name else { return false }
        return !module.contains("/") || !sections.contains { $0.module == path }
    }

    /// The name of an absolute address, if the whole listing belongs to one module.
    package func name(at address: UInt64) -> SymbolName? {
        sections.count == 1 ? sections[0].ranges.name(at: address) : nil
    }
}

private func baseName(_ path: String) -> Substring {
    path.lastIndex(of: "/").map { path[path.index(after: $0)...] } ?? path[...]
}

/// The contents of a listing's lines.
private struct SymbolLines {
    struct Section {
        var module: String?
        var entries: [RangeTable.Entry] = []
        var hasLocalFunctions = false
    }

    var sections: [Section] = []
    /// The symbols' names, each ended by a NUL; offset 0 is the empty one.
    var names: [UInt8] = [0]
    var count = 0
    var hasAddresses = false
    var unreadableCount = 0
    var firstUnreadable = 0
    /// gensyms prints sizes after the name, in each line.
    private var sizesAreLast = true

    init(_ span: RawSpan) {
        forEachLine(span) { line, fields in
            if let symbol = Self.symbol(span, fields) {
                let last = fields[fields.count - 1]
                if symbol.sizeField != nil || symbol.nameField == fields.count - 1 || number(span, last) == nil {
                    sizesAreLast = false
                }
            }
        }
        forEachLine(span) { line, fields in
            if let symbol = Self.symbol(span, fields) {
                add(symbol, span, fields)
            } else if let module = Self.heading(span, line, fields) {
                sections.append(Section(module: module))
            } else if !Self.isWithoutAddress(span, line, fields) {
                if unreadableCount == 0 { firstUnreadable = line.lowerBound }
                unreadableCount += 1
            }
        }
        sections.removeAll { $0.entries.isEmpty }
    }

    private struct Symbol {
        var address: UInt64, letter: UInt8
        var sizeField: Int?, nameField: Int
    }

    /// address, letter, name; or address, size, letter, name, as nm -S prints.
    private static func symbol(_ span: RawSpan, _ fields: [Range<Int>]) -> Symbol? {
        guard fields.count >= 3, let address = number(span, fields[0]) else { return nil }
        if fields[1].count == 1, isLetter(byte(span, fields[1].lowerBound)) {
            return Symbol(address: address, letter: byte(span, fields[1].lowerBound), sizeField: nil, nameField: 2)
        }
        if fields.count >= 4, number(span, fields[1]) != nil, fields[2].count == 1,
            isLetter(byte(span, fields[2].lowerBound))
        {
            return Symbol(address: address, letter: byte(span, fields[2].lowerBound), sizeField: 1, nameField: 3)
        }
        return nil
    }

    /// "File: PATH" or "PATH:". "Src: PATH" and other lines without an address stay in the same module.
    private static func heading(_ span: RawSpan, _ line: Range<Int>, _ fields: [Range<Int>]) -> String? {
        guard let first = fields.first else { return nil }
        let rest = text(span, first.lowerBound ..< line.upperBound)
        if rest.hasPrefix("File: ") { return String(rest.dropFirst(6)) }
        return rest.hasSuffix(":") && !rest.hasPrefix("Src: ") ? String(rest.dropLast()) : nil
    }

    /// An empty line, a source's heading, or nm's line of a symbol that the file doesn't define.
    private static func isWithoutAddress(_ span: RawSpan, _ line: Range<Int>, _ fields: [Range<Int>]) -> Bool {
        guard let first = fields.first else { return true }
        if text(span, first).hasPrefix("Src:") { return true }
        return fields.count >= 2 && first.count == 1 && first.lowerBound > line.lowerBound
            && isLetter(byte(span, first.lowerBound))
    }

    private mutating func add(_ symbol: Symbol, _ span: RawSpan, _ fields: [Range<Int>]) {
        if sections.isEmpty { sections.append(Section()) }
        count += 1
        hasAddresses = hasAddresses || symbol.address != 0
        var size: UInt64 = 0
        var nameEnd = fields[fields.count - 1].upperBound
        if let field = symbol.sizeField {
            size = number(span, fields[field]) ?? 0
        } else if sizesAreLast {
            size = number(span, fields[fields.count - 1]) ?? 0
            nameEnd = fields[fields.count - 2].upperBound
        } else if fields.count == symbol.nameField + 2,
            byte(span, fields[fields.count - 1].lowerBound) == UInt8(ascii: "[")
        {
            nameEnd = fields[symbol.nameField].upperBound // the kernel module's name, in brackets
        }
        // Only code gets a name. Other symbols just end the code before them.
        let isCode = "tTwWi".utf8.contains(symbol.letter)
        if symbol.letter == UInt8(ascii: "t"), Self.isMark(text(span, fields[symbol.nameField])) { return }
        if symbol.letter == UInt8(ascii: "t") { sections[sections.count - 1].hasLocalFunctions = true }
        if !isCode && size > 0 { return }
        var name: UInt32 = 0
        if isCode {
            name = UInt32(names.count)
            for position in fields[symbol.nameField].lowerBound ..< nameEnd { names.append(byte(span, position)) }
            names.append(0)
        }
        let reach = size > 0 ? size : Self.furthest
        let (end, overflow) = symbol.address.addingReportingOverflow(reach)
        sections[sections.count - 1].entries.append(
            RangeTable.Entry(
                start: symbol.address, end: overflow ? .max : end, name: name, source: 0,
                rank: (symbol.letter == UInt8(ascii: "t")
                    ? NamedRangesBuilder.Rank.local
                    : symbol.letter | 0x20 == UInt8(ascii: "w") ? .weak : .strong).rawValue,
                isSized: size > 0))
    }

    /// Whether a local symbol only marks code or data, as assemblers do for Arm and RISC-V: $x, $d.1, $xrv64gc. It is
    /// no function, and begins wherever data lies between. Swift's names also begin with a dollar.
    private static func isMark(_ name: String) -> Bool {
        guard name.utf8.first == UInt8(ascii: "$") else { return false }
        let kind = name.dropFirst().prefix { $0 != "." }
        return ["a", "d", "t", "x"].contains(kind) || kind.hasPrefix("xrv")
    }

    /// A symbol without a size ends at the next one, but after this many bytes at the latest: for the last one, and
    /// before a hole.
    private static let furthest: UInt64 = 1 << 20
}

// MARK: Lines and fields, as bytes

func forEachLine(_ span: RawSpan, _ body: (Range<Int>, [Range<Int>]) -> Void) {
    var fields: [Range<Int>] = []
    var start = 0
    while start < span.byteCount {
        fields.removeAll(keepingCapacity: true)
        var position = start, field = start
        while true {
            let next = position < span.byteCount ? byte(span, position) : 0x0A
            if next == 0x0A || next == 0x20 || next == 0x09 || next == 0x0D {
                // A line of blanks must not become a field for each blank.
                if position > field { fields.append(field ..< position) }
                field = position + 1
                if next == 0x0A { break }
            }
            position += 1
        }
        body(start ..< position, fields)
        start = position + 1
    }
}

@inline(__always) func byte(_ span: RawSpan, _ position: Int) -> UInt8 {
    span.unsafeLoadUnaligned(fromByteOffset: position, as: UInt8.self)
}

func text(_ span: RawSpan, _ range: Range<Int>) -> String {
    String(decoding: range.prefix(1 << 16).map { byte(span, $0) }, as: UTF8.self)
}

private func isLetter(_ byte: UInt8) -> Bool {
    (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "-")
}

/// A hexadecimal number of at most 64 bits, with or without 0x.
func number(_ span: RawSpan, _ range: Range<Int>) -> UInt64? {
    var position = range.lowerBound
    if range.count > 2, byte(span, position) == UInt8(ascii: "0"), byte(span, position + 1) | 0x20 == UInt8(ascii: "x")
    {
        position += 2
    }
    guard range.upperBound - position <= 16, position < range.upperBound else { return nil }
    var value: UInt64 = 0
    while position < range.upperBound {
        let digit = byte(span, position)
        switch digit {
        case 0x30 ... 0x39: value = value << 4 | UInt64(digit - 0x30)
        case 0x61 ... 0x66: value = value << 4 | UInt64(digit - 0x57)
        case 0x41 ... 0x46: value = value << 4 | UInt64(digit - 0x37)
        default: return nil
        }
        position += 1
    }
    return value
}
