// The names of one module's code, from all of its files: its own and the separate debug file. It owns the
// range table and the string tables that the table's numbers point into; the files are closed when init
// returns.
//
// Sources, in order: .symtab, the separate debug file's .symtab (by build-id, then by .gnu_debuglink),
// .gnu_debugdata, .dynsym. Where a module's own .symtab is there, the next two have nothing to add.
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

/// The symbols of one module, for looking up addresses.
package final class ModuleSymbols: Sendable {
    /// The module's GNU build-id, nil where it has none.
    package let buildID: [UInt8]?
    /// The file with the module's DWARF, nil where none has any.
    package let debugInfoPath: String?
    /// Files that were there, or parts of them, and could not be used.
    package let notes: [SymbolsError]

    private let table: RangeTable
    private let sources: [NameSource]

    /// Finds, opens and indexes a module's files.
    ///
    /// - Parameters:
    ///   - path: the module's path as the program had it; "[vdso]" or the like for the kernel's own code.
    ///   - expectedBuildID: what was recorded of the module that ran, nil where that is not known.
    /// - Throws: `.buildIDDiffers` where both build-ids are known and differ, and no other file has the one that is
    ///   wanted; `.cannotOpen`, `.notELF`, `.damaged`, … . A file without symbols is none of these: it names nothing.
    /// - Complexity: O(n log n) in the number of symbols; reads the symbol and string tables alone, and a file that a
    ///   .gnu_debuglink names whole, for its CRC.
    package init(path: String, expectedBuildID: [UInt8]?, search: SymbolSearch = SymbolSearch()) throws(SymbolsError) {
        var notes: [SymbolsError] = []
        let module = try Self.openModule(path, expectedBuildID, search, &notes)
        var builder = ModuleSymbolsBuilder()
        var hasOwnTable = false, withDebugInfo: String?
        var id = expectedBuildID
        // An object file isn't linked: its symbols have no addresses yet, so it names nothing.
        if let module, module.type != ELF.ET_REL {
            id = try module.readBuildID() ?? expectedBuildID
            if let symbols = try ELFSymbolTable(module, type: ELF.SHT_SYMTAB) {
                try builder.add(symbols, of: module)
                hasOwnTable = symbols.count > 1
            }
            if module.hasDebugInfo { withDebugInfo = module.path }
        }
        if !hasOwnTable || withDebugInfo == nil, module?.type != ELF.ET_REL {
            // What is wrong with a further file is told, and takes nothing from what the module itself says.
            do throws(SymbolsError) {
                var debug: ELFFile?
                if let id { debug = search.debugFile(ofBuildID: id, notes: &notes) }
                if debug == nil, let module { debug = try search.debugFile(linkedFrom: module, buildID: id, notes: &notes) }
                if let debug {
                    if withDebugInfo == nil, debug.hasDebugInfo { withDebugInfo = debug.path }
                    if !hasOwnTable, let symbols = try ELFSymbolTable(debug, type: ELF.SHT_SYMTAB) {
                        var more = builder
                        try more.add(symbols, of: debug)
                        builder = more
                        hasOwnTable = symbols.count > 1
                    }
                }
            } catch {
                notes.append(error)
            }
        }
        if let module, module.type != ELF.ET_REL {
            if !hasOwnTable {
                do throws(SymbolsError) { try builder.addDebugData(of: module) } catch { notes.append(error) }
            }
            if let symbols = try ELFSymbolTable(module, type: ELF.SHT_DYNSYM) {
                try builder.add(symbols, of: module)
                builder.add(try ELFStubs(module, symbols: symbols), strings: symbols.strings)
            }
        }
        if module == nil, !hasOwnTable, withDebugInfo == nil {
            // There was a reason, or there would be a module.
            throw notes.isEmpty ? SymbolsError(file: path, reason: .cannotOpen(.noSuchFileOrDirectory)) : notes.removeFirst()
        }
        buildID = id
        debugInfoPath = withDebugInfo
        self.notes = notes
        (table, sources) = builder.finish()
    }

    /// The module's own file, where it is the one that ran; nil where it isn't, with the reason in the notes.
    private static func openModule(
        _ path: String, _ expected: [UInt8]?, _ search: SymbolSearch, _ notes: inout [SymbolsError]
    ) throws(SymbolsError) -> ELFFile? {
        var others: [SymbolsError] = []
        defer { notes += others }
        do throws(SymbolsError) {
            if SymbolSearch.isVDSO(path) { return try search.vdso(buildID: expected, notes: &others) }
            let file = try ELFFile(path: search.path(of: path))
            let found = try file.readBuildID()
            if let expected, let found, expected != found {
                throw SymbolsError(file: file.path, reason: .buildIDDiffers(expected: expected, found: found))
            }
            return file
        } catch {
            guard let expected else { throw error }
            // Where the right file lies elsewhere, that another one has its place now is no loss.
            if let kept = search.moduleFile(ofBuildID: expected, notes: &others) { return kept }
            notes.append(error)
            return nil
        }
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

extension ELFFile {
    /// Whether it has DWARF of its own, and not only the empty sections of a stripped file.
    var hasDebugInfo: Bool {
        guard let names = try? sectionNames() else { return false }
        return names.indices.contains { index in
            (names[index] == ".debug_info" || names[index] == ".zdebug_info") && sections[index].type != ELF.SHT_NOBITS
                && sections[index].byteCount > 0
        }
    }
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
