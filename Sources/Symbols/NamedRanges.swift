// Ranges of addresses with their names, from whatever source: ELF symbol tables, listings, JIT maps. It
// owns the range table and the names that the table's numbers point to. A String is made for an answer
// alone.
//
// Of several names for the same range one wins, the same in every run: an exported one before a local
// one, then the one with the fewest underscores in front (`read`, not `__read`), then a strong one before
// a weak one, then the shorter (`free`, not `cfree`), then the one that sorts first.

import Text

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

/// Named ranges of addresses, for looking up.
struct NamedRanges: Sendable {
    fileprivate var table: RangeTable
    fileprivate var sources: [NameSource]

    /// The name that holds an address, or nil.
    ///
    /// - Complexity: O(log n), and the name's length.
    func name(at address: UInt64) -> SymbolName? {
        guard let match = table.match(at: address) else { return nil }
        let name = sources[Int(match.source)].name(match.name)
        return name.isEmpty ? nil : SymbolName(name: name, offset: address - match.start)
    }

    /// How many bytes from `start` on belong to a symbol that begins there; see `RangeTable.byteCount`.
    func byteCount(from start: UInt64) -> UInt64 { table.byteCount(from: start) }
}

/// What a range table's number of a name means: an offset in these strings.
struct NameSource: Sendable {
    var strings: StringTable
    var suffix: StaticString = ""
    /// Whether a name ends before the @ of a symbol's version. A JIT's names may hold anything.
    var cutsVersion = true

    func name(_ number: UInt32) -> String { strings.string(at: number, suffix: suffix, cutsVersion: cutsVersion) }
}

struct NamedRangesBuilder {
    enum Rank: UInt8 { case strong, weak, local }

    private var entries: [RangeTable.Entry] = []
    private var sources: [NameSource] = []

    /// Adds the code symbols of an ELF symbol table, or those of data.
    mutating func add(_ symbols: ELFSymbolTable, of file: ELFFile, isData: Bool = false) throws(SymbolsError) {
        let source = UInt8(sources.count)
        let strings = symbols.strings
        // Assemblers of these mark code and data with labels like $x, which name nothing.
        let marksCode = [ELF.EM_ARM, ELF.EM_AARCH64, ELF.EM_RISCV].contains(file.machine)
        var found: [RangeTable.Entry] = []
        try symbols.forEach { (_, symbol) throws(SymbolsError) in
            guard let range = isData ? symbol.dataRange(in: file) : symbol.codeRange(in: file) else { return }
            let first = strings.firstByte(at: symbol.name)
            if first == 0 || (first == UInt8(ascii: "$") && marksCode && symbol.kind == ELFSymbol.Kind.none) { return }
            found.append(
                RangeTable.Entry(
                    start: range.start, end: range.end, name: symbol.name, source: source,
                    rank: (symbol.binding == ELFSymbol.Binding.local
                        ? Rank.local
                        : symbol.binding == ELFSymbol.Binding.weak ? .weak : .strong).rawValue,
                    isSized: range.isSized))
        }
        entries.append(contentsOf: found)
        sources.append(NameSource(strings: strings))
    }

    /// Adds the symbols of a module's .gnu_debugdata: an xz file that holds an ELF file with a .symtab and little else.
    mutating func addDebugData(of module: ELFFile) throws(SymbolsError) {
        let what = ".gnu_debugdata"
        guard let index = try module.section(named: what) else { return }
        let bytes = try Decompression.xz(try module.contents(ofSection: index, what), what, of: module.reader)
        let inner = try ELFFile(FileReader(name: "\(module.path)'s \(what)", bytes: bytes))
        if let symbols = try ELFSymbolTable(inner, type: ELF.SHT_SYMTAB) { try add(symbols, of: inner) }
    }

    /// Adds the stubs, each named as what it calls, with `@plt` behind it.
    mutating func add(_ stubs: ELFStubs, strings: StringTable) {
        let source = UInt8(sources.count)
        for stub in stubs.stubs {
            entries.append(
                RangeTable.Entry(
                    start: stub.start, end: stub.start &+ stub.byteCount, name: stub.name, source: source,
                    rank: Rank.local.rawValue, isSized: true))
        }
        sources.append(NameSource(strings: strings, suffix: "@plt"))
    }

    /// Adds ranges of any source; `make` answers them when it is told the number that the source has.
    mutating func add(_ source: NameSource, _ make: (UInt8) -> [RangeTable.Entry]) {
        entries.append(contentsOf: make(UInt8(sources.count)))
        sources.append(source)
    }

    /// - Complexity: O(n log n), as `RangeTable.init`.
    consuming func finish() -> NamedRanges {
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
        return NamedRanges(table: table, sources: sources)
    }
}
