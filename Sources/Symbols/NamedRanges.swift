// Ranges of addresses with names, from any source: ELF symbol tables, listings, JIT maps. It owns the range table and
// the names that the table refers to by number. Strings are made only for answers.
//
// If a range has several names, one wins, the same in every run: first an exported name before a local one, then the
// one with the fewest leading underscores (`read`, not `__read`), then a strong one before a weak one, then the shorter
// (`free`, not `cfree`), then the one that sorts first.

import Text

/// The function that contains an address.
package struct SymbolName: Equatable, Sendable {
    /// Mangled, as in the file; without a symbol version.
    package var name: String
    /// The address less the symbol's start, in bytes.
    package var offset: UInt64

    package init(name: String, offset: UInt64) {
        self.name = name
        self.offset = offset
    }
}

/// Named ranges of addresses, for look-ups.
struct NamedRanges: Sendable {
    fileprivate var table: RangeTable
    fileprivate var sources: [NameSource]

    /// The name of the range that contains an address, or nil.
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

/// The strings in which a range table's name numbers are offsets.
struct NameSource: Sendable {
    var strings: StringTable
    var suffix: StaticString = ""
    /// Whether a name ends before the @ of a symbol's version. A JIT's names may contain anything.
    var cutsVersion = true

    func name(_ number: UInt32) -> String { strings.string(at: number, suffix: suffix, cutsVersion: cutsVersion) }
}

struct NamedRangesBuilder {
    enum Rank: UInt8 { case strong, weak, local }

    private var entries: [RangeTable.Entry] = []
    private var sources: [NameSource] = []

    /// Adds the code symbols of an ELF symbol table, or those of data.
    ///
    /// - Parameter hasLocals: whether this table, or one that was added, has the local functions. If not, nothing says
    ///   where a symbol without a size ends: a function without a name may follow. Then it names its first address
    ///   alone.
    mutating func add(
        _ symbols: ELFSymbolTable, of file: ELFFile, isData: Bool = false, hasLocals: Bool = true
    ) throws(SymbolsError) {
        let source = UInt8(sources.count)
        let strings = symbols.strings
        // On these machines, assemblers mark code and data with labels like $x, which are not names.
        let marksCode = [ELF.EM_ARM, ELF.EM_AARCH64, ELF.EM_RISCV].contains(file.machine)
        var found: [RangeTable.Entry] = []
        try symbols.forEach { (_, symbol) throws(SymbolsError) in
            guard let range = isData ? symbol.dataRange(in: file) : symbol.codeRange(in: file) else { return }
            let first = strings.firstByte(at: symbol.name)
            if first == 0 || (first == UInt8(ascii: "$") && marksCode && symbol.kind == ELFSymbol.Kind.none) { return }
            found.append(
                RangeTable.Entry(
                    start: range.start, end: range.isSized || hasLocals ? range.end : range.start + 1,
                    name: symbol.name, source: source,
                    rank: (symbol.binding == ELFSymbol.Binding.local
                        ? Rank.local
                        : symbol.binding == ELFSymbol.Binding.weak ? .weak : .strong).rawValue,
                    isSized: range.isSized))
        }
        entries.append(contentsOf: found)
        sources.append(NameSource(strings: strings))
    }

    /// Adds the symbols of a module's .gnu_debugdata: an xz file that holds an ELF file with a .symtab and little else.
    /// False if it has none.
    mutating func addDebugData(of module: ELFFile) throws(SymbolsError) -> Bool {
        let what = ".gnu_debugdata"
        guard let index = try module.section(named: what) else { return false }
        let bytes = try Decompression.xz(try module.contents(ofSection: index, what), what, of: module.reader)
        let inner = try ELFFile(FileReader(name: "\(module.path)'s \(what)", bytes: bytes))
        guard let symbols = try ELFSymbolTable(inner, type: ELF.SHT_SYMTAB) else { return false }
        try add(symbols, of: inner)
        return true
    }

    /// Adds the stubs, each with the name of the function it calls and `@plt`.
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

    /// Adds ranges of any source. `make` gets the source's number and returns the ranges.
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
