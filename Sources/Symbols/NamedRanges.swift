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
    /// Which entries are code of ELF files without a size, and where the section of each begins. `endUnsized` decides
    /// where they end.
    private var unsized: [(entry: Int, section: UInt64)] = []
    /// Whether a table that was added has the local functions of the program's own files. If none has, a function
    /// without a name may follow any symbol.
    private var hasLocals = false

    /// Adds the code symbols of an ELF symbol table, or those of data.
    ///
    /// - Parameter isMadeOfWhole: whether the table was made of a whole one for its functions alone, without the names
    ///   of source files.
    mutating func add(
        _ symbols: ELFSymbolTable, of file: ELFFile, isData: Bool = false, isMadeOfWhole: Bool = false
    ) throws(SymbolsError) {
        let source = UInt8(sources.count)
        let strings = symbols.strings
        // On these machines, assemblers mark code and data with labels like $x, which are not names.
        let marksCode = [ELF.EM_ARM, ELF.EM_AARCH64, ELF.EM_RISCV].contains(file.machine)
        var found: [RangeTable.Entry] = [], foundUnsized: [(Int, UInt64)] = []
        var foundLocals = hasLocals
        // Local symbols follow the name of their file. The last ones, which follow an empty name or none, the linker
        // made local, because they are hidden or by a version script: it keeps these also where it discards the others
        // (ld -x). An empty name before others is of a file that link-time optimization made. The files that begin and
        // end a program have local functions of their own, whatever is kept of the program's.
        var group = isMadeOfWhole ? FileOfLocals.program : .unnamed, groupHasCode = false
        try symbols.forEach { (_, symbol) throws(SymbolsError) in
            if !foundLocals, symbol.kind == ELFSymbol.Kind.file {
                foundLocals = groupHasCode && group == .unnamed
                group = FileOfLocals(strings.string(at: symbol.name, limit: 4096, cutsVersion: false))
                groupHasCode = false
                return
            }
            guard let range = isData ? symbol.dataRange(in: file) : symbol.codeRange(in: file) else { return }
            let first = strings.firstByte(at: symbol.name)
            if first == 0 || (first == UInt8(ascii: "$") && marksCode && symbol.kind == ELFSymbol.Kind.none) { return }
            let isLocal = symbol.binding == ELFSymbol.Binding.local
            if !foundLocals, isLocal {
                groupHasCode = true
                foundLocals = group == .program
            }
            if !range.isSized {
                foundUnsized.append((entries.count + found.count, file.sections[Int(symbol.section)].address))
            }
            found.append(
                RangeTable.Entry(
                    start: range.start, end: range.end, name: symbol.name, source: source,
                    rank: (isLocal ? Rank.local : symbol.binding == ELFSymbol.Binding.weak ? .weak : .strong).rawValue,
                    isSized: range.isSized))
        }
        entries.append(contentsOf: found)
        unsized.append(contentsOf: foundUnsized)
        hasLocals = foundLocals
        sources.append(NameSource(strings: strings))
    }

    /// The file whose local symbols follow its name: the program's, or one of those that begin and end each program
    /// (crtstuff.c, Scrt1.o, crti.o and the like).
    private enum FileOfLocals {
        case program, startOrEnd, unnamed

        init(_ file: String) {
            guard let name = file.utf8.split(separator: UInt8(ascii: "/")).last else {
                self = .unnamed
                return
            }
            self = name.starts(with: "crt".utf8) || name.dropFirst().starts(with: "crt".utf8) ? .startOrEnd : .program
        }
    }

    /// Adds the symbols of a module's .gnu_debugdata, if it has one: an xz file that holds an ELF file with a .symtab
    /// and little else.
    mutating func addDebugData(of module: ELFFile) throws(SymbolsError) {
        let what = ".gnu_debugdata"
        guard let index = try module.section(named: what) else { return }
        let bytes = try Decompression.xz(try module.contents(ofSection: index, what), what, of: module.reader)
        let inner = try ELFFile(FileReader(name: "\(module.path)'s \(what)", bytes: bytes))
        guard let symbols = try ELFSymbolTable(inner, type: ELF.SHT_SYMTAB) else { return }
        try add(symbols, of: inner, isMadeOfWhole: true)
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

    /// Decides where the code symbols without a size end; to be called once, after all tables were added.
    ///
    /// A symbol ends at the next one, which `RangeTable` sees to, and where an entry of the module's .eh_frame begins
    /// behind it: if no symbol is there, it is a function without a name, or maybe a further part of the same one. If
    /// the local functions are known, that is all. If they are not, functions without a name may follow, and only
    /// .eh_frame can tell that code is still the symbol's: it ends with the entry that begins at it. A label inside an
    /// entry is one of the function that begins there, and ends with it too; if that one has no name, the label may
    /// have been the end of it or not, so it names its first address alone. So does a symbol outside all entries.
    ///
    /// - Parameter module: the module's own file; nil if only a debug file is known.
    /// - Returns: why .eh_frame could not be used, if there is one. Names are then as if there were none.
    /// - Complexity: O((n + e) log n) for n symbols and e entries; reads .eh_frame only if there are such symbols.
    mutating func endUnsized(by module: ELFFile?) -> SymbolsError? {
        guard !unsized.isEmpty else { return nil }
        unsized.sort { entries[$0.entry].start < entries[$1.entry].start }
        var starts: [UInt64] = [], sections: [UInt64] = []
        for (entry, section) in unsized where entries[entry].start != starts.last {
            starts.append(entries[entry].start)
            sections.append(section)
        }
        var problem: SymbolsError?, frames: [FrameBounds]?
        if let module {
            do throws(SymbolsError) {
                let hasLocals = hasLocals
                frames = try FrameBounds.around(starts, in: module) { !hasLocals && $1 >= sections[$0] }
            } catch { problem = error }
        }
        let bounds = frames ?? starts.map { _ in FrameBounds() }
        var named: Set<UInt64> = []
        if !hasLocals {
            let inside = Set(zip(starts, bounds).filter { $0 > $1.start && $0 < $1.end }.map(\.1.start))
            if let lowest = inside.min(), let highest = inside.max() {
                // Most symbols are elsewhere; comparing is cheaper than hashing.
                for entry in entries
                where entry.start >= lowest && entry.start <= highest && inside.contains(entry.start) {
                    named.insert(entry.start)
                }
            }
        }
        var number = 0
        for (index, _) in unsized {
            let start = entries[index].start
            if starts[number] != start { number += 1 }
            let frame = bounds[number]
            var end = frame.next
            if !hasLocals {
                let isKnown = start < frame.end && (start == frame.start || named.contains(frame.start))
                end = isKnown ? min(end, frame.end) : start + 1
            }
            entries[index].end = min(entries[index].end, end)
        }
        return problem
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
