// All symbols that an ELF file defines, which gensyms lists. The sizes are the same as in look-ups, so a listing that
// is read back names the same addresses. It holds numbers and string tables; names are made when they are printed.

/// One defined symbol.
package struct ListedSymbol: Sendable {
    /// ELF virtual address; in an object file the offset in the section.
    package var address: UInt64
    /// Its size in bytes; for code without a size, the size in look-ups.
    package var byteCount: UInt64
    /// nm's letter for its type, ASCII.
    package var type: UInt8
    /// Index in `SymbolListing.sources` of its source file, if known.
    package var source: Int?
    fileprivate var table: UInt8
    fileprivate var name: UInt32
}

/// The symbols that an ELF file defines.
package struct SymbolListing: Sendable {
    package let path: String
    package let buildID: [UInt8]?
    /// In the order of the file's tables.
    package private(set) var symbols: [ListedSymbol] = []
    /// Source files in the order of linking. A name may occur more than once, for different files with that name.
    package private(set) var sources: [String] = []
    /// What could not be used to find where code without a size ends.
    package private(set) var problems: [SymbolsError] = []
    private var tables: [StringTable] = []

    /// Reads .symtab, and from .dynsym the symbols at addresses for which .symtab has none.
    ///
    /// Only local symbols have a source: they follow the name of their file in .symtab, but exported ones are at its
    /// end.
    /// - Throws: as `ModuleSymbols.init`.
    /// - Complexity: O(n log n)
    package init(path: String) throws(SymbolsError) {
        let file = try ELFFile(path: path)
        self.path = path
        buildID = try file.readBuildID()
        let sectionNames = try file.sectionNames()
        var builder = NamedRangesBuilder()
        var isUnsizedCode: [Bool] = []
        var (symbols, sources, tables): ([ListedSymbol], [String], [StringTable]) = ([], [], [])
        for type in [ELF.SHT_SYMTAB, ELF.SHT_DYNSYM] {
            guard let symbolTable = try ELFSymbolTable(file, type: type) else { continue }
            try builder.add(symbolTable, of: file)
            let known = type == ELF.SHT_DYNSYM ? Set(symbols.map(\.address)) : []
            let tableNumber = UInt8(tables.count)
            var source: Int?
            try symbolTable.forEach { (_, symbol) throws(SymbolsError) in
                if symbol.kind == ELFSymbol.Kind.file {
                    let name = symbolTable.strings.string(at: symbol.name, limit: 4096, cutsVersion: false)
                    // The linker puts its own local symbols after a file without a name.
                    source = name.isEmpty ? nil : sources.count
                    if !name.isEmpty { sources.append(name) }
                    return
                }
                guard symbolTable.strings.firstByte(at: symbol.name) != 0, !known.contains(symbol.value),
                    let letter = symbol.typeLetter(in: file, sectionNames: sectionNames)
                else { return }
                symbols.append(
                    ListedSymbol(
                        address: symbol.value, byteCount: symbol.byteCount, type: letter,
                        source: symbol.binding == ELFSymbol.Binding.local ? source : nil, table: tableNumber,
                        name: symbol.name))
                isUnsizedCode.append(symbol.byteCount == 0 && symbol.codeRange(in: file) != nil)
            }
            tables.append(symbolTable.strings)
        }
        // In an object file each section begins at 0, so ranges of several sections would overlap.
        if file.type != ELF.ET_REL {
            if let problem = builder.endUnsized(by: file) { problems.append(problem) }
            let ranges = builder.finish()
            for index in symbols.indices where isUnsizedCode[index] {
                symbols[index].byteCount = ranges.byteCount(from: symbols[index].address)
            }
        }
        (self.symbols, self.sources, self.tables) = (symbols, sources, tables)
    }

    /// Appends the symbol's name as in the file, without version.
    package func appendName(of symbol: ListedSymbol, to bytes: inout [UInt8]) {
        tables[Int(symbol.table)].append(at: symbol.name, to: &bytes)
    }

    /// Reads source files from DWARF, if the file or its separate debug file has any: for all code, not only for local
    /// symbols. Symbols that DWARF doesn't know keep the source from .symtab.
    ///
    /// - Returns: what could not be used.
    package mutating func addSources(search: SymbolSearch = SymbolSearch(), lines: DebugLines) -> [SymbolsError] {
        let module: ModuleSymbols
        do throws(SymbolsError) {
            module = try ModuleSymbols(path: path, expectedBuildID: nil, search: search)
        } catch {
            return [error]
        }
        guard let file = module.debugInfoPath else { return module.problems }
        let code = symbols.indices.filter { "tTwWi".utf8.contains(symbols[$0].type) }
        let before = lines.notes.count
        let units = lines.units(
            in: file, buildID: module.buildID, shared: module.sharedInfoPath, at: code.map { symbols[$0].address })
        // .symtab has the file's base name; DWARF has the path that was given to the compiler. If all code of a file
        // belongs to one unit with the same base name, the file is that unit, and so is its data.
        var numbers: [String: Int] = [:]
        var renamed: [Int: Int] = [:]
        for (index, unit) in zip(code, units) {
            guard let unit else { continue }
            let number = numbers[unit] ?? sources.count
            if number == sources.count {
                sources.append(unit)
                numbers[unit] = number
            }
            if let old = symbols[index].source, unit == sources[old] || unit.hasSuffix("/" + sources[old]) {
                renamed[old] = number
            }
            symbols[index].source = number
        }
        for index in symbols.indices {
            if let old = symbols[index].source, let new = renamed[old] { symbols[index].source = new }
        }
        return module.problems + lines.notes.dropFirst(before)
    }

    package enum Order: String, CaseIterable, Sendable { case address, name, size }

    /// Sorts ascending. Equal symbols keep the order of the file's tables.
    package mutating func sort(by order: Order) {
        switch order {
        case .address: symbols.sort { $0.address < $1.address }
        case .size: symbols.sort { ($0.byteCount, $0.address) < ($1.byteCount, $1.address) }
        case .name:
            let tables = tables
            symbols.sort { a, b in
                let (left, right) = (tables[Int(a.table)], tables[Int(b.table)])
                if left.isName(at: a.name, below: right, at: b.name) { return true }
                if right.isName(at: b.name, below: left, at: a.name) { return false }
                return a.address < b.address
            }
        }
    }
}
