// The names of one module's data: which global variable an address lies in. Kept apart from the names of code: few
// callers need them, and a look-up of code must never find data beside it.

/// The data symbols of one module.
package struct DataSymbols: Sendable {
    private let ranges: NamedRanges

    /// Reads the first that exists: the module's own symbol table, its debug file's, its dynamic symbols.
    ///
    /// - Parameter buildID: of the module that runs; nil if not known.
    /// - Throws: as `ModuleSymbols.init`, for example `.buildIDDiffers`.
    package init(path: String, buildID: [UInt8]?, search: SymbolSearch = SymbolSearch()) throws(SymbolsError) {
        let (file, found) = try search.first(of: path) { place throws(SymbolsError) in
            let file = try ELFFile(path: place)
            let found = try file.readBuildID()
            if let buildID, buildID != found {
                throw SymbolsError(file: place, reason: .buildIDDiffers(expected: buildID, found: found ?? []))
            }
            return (file, found)
        }
        var builder = NamedRangesBuilder(), isWhole = false, notes: [SymbolsError] = []
        if let symbols = try ELFSymbolTable(file, type: ELF.SHT_SYMTAB), symbols.count > 1 {
            try builder.add(symbols, of: file, isData: true)
            isWhole = true
        }
        if !isWhole, let found,
            let debug = search.debugFile(ofBuildID: found, notes: &notes)
                ?? search.servedDebugFile(ofBuildID: found, module: path, notes: &notes),
            let symbols = try ELFSymbolTable(debug, type: ELF.SHT_SYMTAB)
        {
            try builder.add(symbols, of: debug, isData: true)
            isWhole = true
        }
        if !isWhole, let symbols = try ELFSymbolTable(file, type: ELF.SHT_DYNSYM) {
            try builder.add(symbols, of: file, isData: true)
        }
        ranges = builder.finish()
    }

    /// The variable that holds an ELF virtual address, or nil.
    ///
    /// - Complexity: O(log n), and the name's length.
    package func name(at address: UInt64) -> SymbolName? { ranges.name(at: address) }
}

extension ELFSymbol {
    /// The addresses of a variable; nil for other symbols, and for a variable without a size.
    func dataRange(in file: ELFFile) -> (start: UInt64, end: UInt64, isSized: Bool)? {
        guard !isReserved, section != ELF.SHN_UNDEF, name != 0, kind == Kind.object, byteCount > 0 else { return nil }
        let place = file.sections[Int(section)]
        guard value >= place.address, value < place.endAddress else { return nil }
        return (value, value + min(byteCount, place.endAddress - value), true)
    }
}
