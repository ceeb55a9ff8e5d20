// The names of one ELF file's code. It owns the range table and the string tables that the table's
// numbers point into; the file itself is closed when init returns. A further source (a separate debug
// file, .gnu_debugdata) is one more call of `add` before the table is made.
//
// Of several names for the same range one wins, the same in every run: an exported one before a local
// one, then the one with the fewest underscores in front (`read`, not `__read`), then a strong one before
// a weak one, then the shorter (`free`, not `cfree`), then the one that sorts first.

/// The function that an address is in.
package struct SymbolName: Equatable, Sendable {
    /// As the file has it, mangled; without a symbol version.
    package var name: String
    /// The address less the symbol's start, in bytes.
    package var offset: UInt64

    package init(name: String, offset: UInt64) {
        self.name = name
        self.offset = offset
    }
}

/// The symbols of one ELF file, for looking up addresses.
package final class ModuleSymbols: Sendable {
    /// The file's GNU build-id, nil where it has none.
    package let buildID: [UInt8]?

    private let table: RangeTable
    private let sources: [NameSource]

    /// Opens and indexes the file.
    ///
    /// - Parameter expectedBuildID: what was recorded of the module that ran, nil where that is not known.
    /// - Throws: `.buildIDDiffers` where both build-ids are known and differ; `.cannotOpen`, `.notELF`,
    ///   `.damaged`, … . A file without symbols is none of these: it names nothing.
    /// - Complexity: O(n log n) in the number of symbols; reads the symbol and string tables alone.
    package init(path: String, expectedBuildID: [UInt8]?) throws(SymbolsError) {
        let file = try ELFFile(path: path)
        buildID = try file.readBuildID()
        if let expectedBuildID, let buildID, expectedBuildID != buildID {
            throw SymbolsError(file: path, reason: .buildIDDiffers(expected: expectedBuildID, found: buildID))
        }
        var builder = ModuleSymbolsBuilder()
        // An object file isn't linked: its symbols have no addresses yet, so it names nothing.
        for type in file.type == ELF.ET_REL ? [] : [ELF.SHT_SYMTAB, ELF.SHT_DYNSYM] {
            guard let symbols = try ELFSymbolTable(file, type: type) else { continue }
            try builder.add(symbols, of: file)
            if type == ELF.SHT_DYNSYM { builder.add(try ELFStubs(file, symbols: symbols), strings: symbols.strings) }
        }
        (table, sources) = builder.finish()
    }

    /// The function that holds an ELF virtual address (the module's own, load bias taken off), or nil.
    ///
    /// A return address belongs to the call before it: the caller has gone one byte back.
    /// - Complexity: O(log n), and the name's length.
    package func name(at address: UInt64) -> SymbolName? {
        guard let match = table.match(at: address) else { return nil }
        let name = sources[Int(match.source)].name(match.name)
        return name.isEmpty ? nil : SymbolName(name: name, offset: address - match.start)
    }

    /// How many bytes from `start` on belong to a symbol that begins there; see `RangeTable.byteCount`.
    func byteCount(from start: UInt64) -> UInt64 { table.byteCount(from: start) }
}

/// What a range table's number of a name means.
struct NameSource: Sendable {
    var strings: StringTable
    var suffix: StaticString = ""

    func name(_ number: UInt32) -> String { strings.string(at: number, suffix: suffix) }
}

struct ModuleSymbolsBuilder {
    private enum Rank: UInt8 { case strong, weak, local }

    private var entries: [RangeTable.Entry] = []
    private var sources: [NameSource] = []

    /// Adds the code symbols of an ELF symbol table.
    mutating func add(_ symbols: ELFSymbolTable, of file: ELFFile) throws(SymbolsError) {
        let source = UInt8(sources.count)
        let strings = symbols.strings
        // Assemblers of these mark code and data with labels like $x, which name nothing.
        let marksCode = [ELF.EM_ARM, ELF.EM_AARCH64, ELF.EM_RISCV].contains(file.machine)
        var found: [RangeTable.Entry] = []
        try symbols.forEach { (_, symbol) throws(SymbolsError) in
            guard let range = symbol.codeRange(in: file) else { return }
            let first = strings.firstByte(at: symbol.name)
            if first == 0 || (first == UInt8(ascii: "$") && marksCode && symbol.kind == ELFSymbol.Kind.none) { return }
            found.append(RangeTable.Entry(
                start: range.start, end: range.end, name: symbol.name, source: source,
                rank: (symbol.binding == ELFSymbol.Binding.local ? Rank.local
                    : symbol.binding == ELFSymbol.Binding.weak ? .weak : .strong).rawValue,
                isSized: range.isSized))
        }
        entries.append(contentsOf: found)
        sources.append(NameSource(strings: strings))
    }

    /// Adds the stubs, each named as what it calls, with `@plt` behind it.
    mutating func add(_ stubs: ELFStubs, strings: StringTable) {
        let source = UInt8(sources.count)
        for stub in stubs.stubs {
            entries.append(RangeTable.Entry(
                start: stub.start, end: stub.start &+ stub.byteCount, name: stub.name, source: source,
                rank: Rank.local.rawValue, isSized: true))
        }
        sources.append(NameSource(strings: strings, suffix: "@plt"))
    }

    consuming func finish() -> (RangeTable, [NameSource]) {
        let sources = sources
        let table = RangeTable(entries) { a, b in
            let isLocal = (a.rank == Rank.local.rawValue, b.rank == Rank.local.rawValue)
            if isLocal.0 != isLocal.1 { return isLocal.1 }
            let (left, right) = (sources[Int(a.source)].strings, sources[Int(b.source)].strings)
            let underscores = (left.underscores(at: a.name), right.underscores(at: b.name))
            if underscores.0 != underscores.1 { return underscores.0 < underscores.1 }
            if a.rank != b.rank { return a.rank < b.rank }
            let lengths = (left.length(at: a.name), right.length(at: b.name))
            if lengths.0 != lengths.1 { return lengths.0 < lengths.1 }
            return left.isName(at: a.name, below: right, at: b.name)
        }
        return (table, sources)
    }
}
