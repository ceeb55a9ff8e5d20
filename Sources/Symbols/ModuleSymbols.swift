// The names of one module's code, from its own file and its separate debug file. The files are closed when init
// returns.
//
// Sources, in order: .symtab, the separate debug file's .symtab (by build-id, then by .gnu_debuglink, then from a
// server), .gnu_debugdata, .dynsym. If a module has its own .symtab, the next two add nothing.

import Text

/// The symbols of one module, for looking up addresses.
package final class ModuleSymbols: Sendable {
    /// The module's GNU build-id; nil if it has none.
    package let buildID: [UInt8]?
    /// The file with the module's DWARF; nil if there is none.
    package let debugInfoPath: String?
    /// The file with the part of that DWARF that it shares with others; nil if it shares nothing.
    package let sharedInfoPath: String?
    /// Whether one of its files has a whole symbol table (the module's own or a debug file's), not just the dynamic
    /// symbols.
    package let hasWholeTable: Bool
    /// Existing files, or parts of files, that could not be used.
    package let problems: [SymbolsError]

    private let ranges: NamedRanges

    /// Finds, opens and indexes a module's files.
    ///
    /// - Parameters:
    ///   - path: the module's path in the program; "[vdso]" or similar for the kernel's code.
    ///   - expectedBuildID: the recorded build-id of the module that ran; nil if it had none or it is not known.
    ///   - expectedFile: its recorded file, if it had no build-id; nil: any file is accepted.
    /// - Throws: `.buildIDDiffers` if the file has another build-id and no other file has the wanted one;
    ///   `.fileDiffers`; `.cannotOpen`, `.notELF`, `.damaged`, … . A file without symbols is no error: it just has no
    ///   names.
    /// - Complexity: O(n log n) in the number of symbols; reads only the symbol and string tables; a file that a
    ///   .gnu_debuglink names is read completely, for its CRC.
    package init(
        path: String, expectedBuildID: [UInt8]?, expectedFile: ExpectedFile? = nil,
        search: SymbolSearch = SymbolSearch()
    ) throws(SymbolsError) {
        var notes: [SymbolsError] = []
        let module = try Self.openModule(path, expectedBuildID, expectedFile, search, &notes)
        var builder = NamedRangesBuilder()
        var hasOwnTable = false, withDebugInfo: String?, shared: String?
        func takeDebugInfo(_ file: ELFFile) throws(SymbolsError) {
            withDebugInfo = file.path
            shared = try search.sharedFile(of: file, module: path, notes: &notes)?.path
        }
        var id = expectedBuildID
        // An object file isn't linked: its symbols have no addresses yet, so it names nothing.
        if let module, module.type != ELF.ET_REL {
            id = try module.readBuildID() ?? expectedBuildID
            if let symbols = try ELFSymbolTable(module, type: ELF.SHT_SYMTAB) {
                try builder.add(symbols, of: module)
                hasOwnTable = symbols.count > 1
            }
            if module.hasDebugInfo {
                do throws(SymbolsError) { try takeDebugInfo(module) } catch { notes.append(error) }
            }
        }
        if !hasOwnTable || withDebugInfo == nil, module?.type != ELF.ET_REL {
            // Problems of a further file are noted; the module's own names are still used.
            do throws(SymbolsError) {
                var debug: ELFFile?
                if let id { debug = search.debugFile(ofBuildID: id, notes: &notes) }
                if debug == nil, let module {
                    debug = try search.debugFile(linkedFrom: module, buildID: id, notes: &notes)
                }
                if debug == nil, let id { debug = search.servedDebugFile(ofBuildID: id, module: path, notes: &notes) }
                if let debug {
                    if withDebugInfo == nil, debug.hasDebugInfo { try takeDebugInfo(debug) }
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
            throw notes.isEmpty
                ? SymbolsError(file: path, reason: .cannotOpen(.noSuchFileOrDirectory)) : notes.removeFirst()
        }
        if let problem = builder.endUnsized(by: module) { notes.append(problem) }
        buildID = id
        hasWholeTable = hasOwnTable
        debugInfoPath = withDebugInfo
        sharedInfoPath = shared
        problems = notes
        ranges = builder.finish()
    }

    /// The module's own file, if it is the one that ran; else nil, with the reason in the notes.
    private static func openModule(
        _ path: String, _ expected: [UInt8]?, _ expectedFile: ExpectedFile?, _ search: SymbolSearch,
        _ notes: inout [SymbolsError]
    ) throws(SymbolsError) -> ELFFile? {
        var others: [SymbolsError] = []
        defer { notes += others }
        do throws(SymbolsError) {
            if SymbolSearch.isVDSO(path) { return try search.vdso(buildID: expected, notes: &others) }
            let file = try search.first(of: path) { place throws(SymbolsError) in
                let file = try ELFFile(path: place)
                let found = try file.readBuildID()
                if let expected, expected != found {
                    throw SymbolsError(file: place, reason: .buildIDDiffers(expected: expected, found: found ?? []))
                }
                if expected == nil, let how = expectedFile?.difference(from: file.reader, buildID: found) {
                    throw SymbolsError(file: place, reason: .fileDiffers(how))
                }
                return file
            }
            if expected == nil, let expectedFile, expectedFile.byteCount == nil {
                notes.append(SymbolsError(file: file.path, reason: .unchecked))
            }
            return file
        } catch {
            guard let expected else { throw error }
            // If the right file is found elsewhere, the wrong one does not matter.
            if let kept = search.moduleFile(ofBuildID: expected, notes: &others) { return kept }
            notes.append(error)
            return nil
        }
    }

    /// The function that contains an ELF virtual address (without the load bias), or nil.
    ///
    /// A return address belongs to the call before it: callers must subtract one byte.
    /// - Complexity: O(log n), and the name's length.
    package func name(at address: UInt64) -> SymbolName? {
        ranges.name(at: address)
    }

    /// How many bytes from `start` on belong to a symbol that begins there; see `RangeTable.byteCount`.
    func byteCount(from start: UInt64) -> UInt64 { ranges.byteCount(from: start) }
}

extension ELFFile {
    /// Whether it has its own DWARF, not just the empty sections of a stripped file.
    var hasDebugInfo: Bool {
        guard let names = try? sectionNames() else { return false }
        return names.indices.contains { index in
            (names[index] == ".debug_info" || names[index] == ".zdebug_info") && sections[index].type != ELF.SHT_NOBITS
                && sections[index].byteCount > 0
        }
    }
}
