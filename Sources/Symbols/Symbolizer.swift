// Everything that gives addresses names, with its options: modules' files, listings from the user, DWARF,
// demanglers. Each module's files are opened once, when the module is asked for. All modules share one helper process
// for DWARF and one for names.

import Text

/// Names for the addresses of one module. A listing from the user comes first, then the module's files. But a listing
/// that has only dynamic symbols comes after a whole symbol table.
package final class NamedModule {
    package let symbols: ModuleSymbols?
    private let path: String
    private let lists: [SymbolList]
    private let lines: DebugLines?

    fileprivate init(symbols: ModuleSymbols?, path: String, lists: [SymbolList], lines: DebugLines?) {
        (self.symbols, self.path, self.lists, self.lines) = (symbols, path, lists, lines)
    }

    /// The function that contains an ELF virtual address, with its mangled name; or nil.
    package func name(at address: UInt64) -> SymbolName? {
        let hasWholeTable = symbols?.hasWholeTable == true
        func listed(_ isWanted: (SymbolList) -> Bool) -> SymbolName? {
            for list in lists where isWanted(list) {
                if let name = list.name(at: address, inModule: path) { return name }
            }
            return nil
        }
        return listed { !hasWholeTable || $0.hasLocalFunctions(ofModule: path) } ?? symbols?.name(at: address)
            ?? listed { hasWholeTable && !$0.hasLocalFunctions(ofModule: path) }
    }

    /// The calls at each address; see `DebugLines.calls`. None if there is no DWARF or lines are not wanted.
    package func calls(at addresses: [UInt64]) -> [[SourceCall]] {
        guard let lines, let symbols, let file = symbols.debugInfoPath else {
            return Array(repeating: [], count: addresses.count)
        }
        return lines.calls(in: file, buildID: symbols.buildID, shared: symbols.sharedInfoPath, at: addresses)
    }
}

package final class Symbolizer {
    /// Where names are looked for.
    package private(set) var search: SymbolSearch
    private let lists: [SymbolList]
    private let lines: DebugLines?
    private let demangler = Demangler()

    /// - Parameters:
    ///   - lists: the listings of `--symbols`; they come before the modules' own files.
    ///   - hasLines: whether DWARF is read for source lines and inlined calls.
    package init(search: SymbolSearch = SymbolSearch(), lists: [SymbolList] = [], hasLines: Bool = true) {
        self.search = search
        self.lists = lists
        lines = hasLines ? DebugLines() : nil
    }

    /// Looks for modules in these root directories, too, if they are not at their paths; see `SymbolSearch.roots`.
    package func look(inRoots roots: [String]) {
        for root in roots where !search.roots.contains(root) { search.roots.append(root) }
    }

    /// Opens a module's sources of names.
    ///
    /// - Throws: as `ModuleSymbols.init`, unless a listing belongs to the module.
    package func module(path: String, buildID: [UInt8]?, file: ExpectedFile? = nil) throws(SymbolsError) -> NamedModule
    {
        let own = lists.filter { $0.isOf(module: path) }
        var symbols: ModuleSymbols?
        do throws(SymbolsError) {
            symbols = try ModuleSymbols(path: path, expectedBuildID: buildID, expectedFile: file, search: search)
        } catch {
            if own.isEmpty { throw error }
        }
        return NamedModule(symbols: symbols, path: path, lists: own, lines: lines)
    }

    /// Fetches the debug files that these modules lack from the servers, all at once. Without servers nothing happens,
    /// and a module whose files were not fetched in advance has its turn when it is opened.
    ///
    /// - Complexity: opens each module's files here; then at most the time that the servers may take.
    package func fetch(_ modules: [(path: String, buildID: [UInt8]?, file: ExpectedFile?)]) {
        guard let servers = search.servers else { return }
        var local = search
        local.servers = nil
        var wanted: [WantedDebugFile] = []
        for module in modules {
            guard let id = module.buildID, id.count >= 2, !SymbolSearch.isVDSO(module.path) else { continue }
            let symbols = try? ModuleSymbols(
                path: module.path, expectedBuildID: id, expectedFile: module.file, search: local)
            if let symbols, symbols.hasWholeTable, symbols.debugInfoPath != nil || !hasLines { continue }
            let name = module.path.split(separator: "/").last.map(String.init) ?? module.path
            wanted.append(WantedDebugFile(buildID: id, module: name))
        }
        servers.fetch(wanted)
    }

    /// Whether source lines and inlined calls are wanted.
    package var hasLines: Bool { lines != nil }

    /// Whether a listing from the user belongs to this module.
    package func hasListing(of path: String) -> Bool { lists.contains { $0.isOf(module: path) } }

    /// The name of an address outside of all modules, from the listings.
    package func name(ofAbsolute address: UInt64) -> SymbolName? {
        for list in lists { if let name = list.name(at: address) { return name } }
        return nil
    }

    /// A demangled name; see `Demangler.demangle`.
    package func demangle(_ name: String) -> String { demangler.demangle(name) }

    /// The problems with listings, DWARF and names so far.
    package var notes: [String] {
        var notes =
            lists.flatMap(\.notes).map { "\($0)" } + (lines?.notes ?? []).map { "\($0)" }
            + (search.servers?.notes ?? [])
        if demangler.refused > 0 {
            notes.append(
                "\(demangler.refused) mangled name\(demangler.refused == 1 ? " is" : "s are") shown as they are: to "
                    + "read them would take too long"
            )
        }
        return notes
    }
}

extension SymbolsError {
    /// If the file is another build than the one that ran: what is needed instead. nil for other errors.
    package var wantedFile: String? {
        if case .fileDiffers = reason {
            return "the file as it was, under a --sysroot with its date kept, or its listing by --symbols"
        }
        guard case .buildIDDiffers(let expected, _) = reason, let place = SymbolSearch.place(ofBuildID: expected) else {
            return nil
        }
        return
            "the file with build-id \(hexadecimal(expected)), or its debug file as \(place) in /usr/lib/debug or "
            + "--debug-dir"
    }
}
