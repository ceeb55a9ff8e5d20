// One compilation unit's functions, inlined calls and lines; see DwarfFile.swift. Strings go from libdw's
// memory to the answer as bytes.

import CSymbols
import Glibc

final class DwarfUnit {
    private let library: symbols_libdw
    private var die: Dwarf_Die
    /// Where the entries are: for split DWARF, in a separate file.
    private var root: Dwarf_Die
    private let isSplit: Bool
    private var functions: (table: RangeTable, dies: [Dwarf_Die])?
    /// The same, including functions inside types and inside other functions. Read when the others don't contain an
    /// address.
    private var innerFunctions: (table: RangeTable, dies: [Dwarf_Die])?
    private var files: (pointer: OpaquePointer, count: Int)?
    private var hasLines: Bool?
    private lazy var directory: [UInt8] = {
        var attribute = Dwarf_Attribute()
        guard library.dwarf_attr(&die, UInt32(DW_AT_comp_dir), &attribute) != nil else { return [] }
        return bytes(library.dwarf_formstring(&attribute))
    }()

    init(_ library: symbols_libdw, die: Dwarf_Die, split: Dwarf_Die?) {
        self.library = library
        self.die = die
        root = split ?? die
        isSplit = split != nil
    }

    /// The missing file with this unit's functions and inlined calls, by the name given to the compiler. nil: nothing
    /// is missing. If it is missing, only the unit's lines are known.
    lazy var missingFile: [UInt8]? = {
        guard !isSplit else { return nil }
        for code in [DW_AT_dwo_name, DW_AT_GNU_dwo_name] {
            var attribute = Dwarf_Attribute()
            guard library.dwarf_attr(&die, UInt32(code), &attribute) != nil else { continue }
            let name = bytes(library.dwarf_formstring(&attribute))
            if !name.isEmpty { return absolute(name) }
        }
        return nil
    }()

    /// The source file's name, as it was given to the compiler.
    lazy var name: [UInt8] = bytes(library.dwarf_diename(&root))

    private func bytes(_ text: UnsafePointer<CChar>?) -> [UInt8] {
        guard let text else { return [] }
        return Array(UnsafeRawBufferPointer(start: text, count: min(strlen(text), 1 << 16)))
    }

    private func absolute(_ path: [UInt8]) -> [UInt8] {
        path.isEmpty || path.first == UInt8(ascii: "/") || directory.isEmpty
            ? path : directory + [UInt8(ascii: "/")] + path
    }

    /// Writes the calls at an address: their number, then function, file and line of each, innermost first.
    func putCalls(at address: UInt64, to wire: inout WireWriter) {
        var chain = calls(at: address)
        let place = line(at: address)
        guard !chain.isEmpty else {
            // Assembly has lines and no functions.
            guard place.line != 0 || !place.file.isEmpty else { return wire.put(0) }
            wire.put(1)
            wire.put([])
            wire.put(place.file)
            return wire.put(place.line)
        }
        wire.put(chain.count)
        var (file, line) = place
        for index in chain.indices {
            wire.put(functionName(&chain[index]))
            wire.put(file)
            wire.put(line)
            // The place where this one was inlined is its caller's place.
            file = sourceFile(number(&chain[index], DW_AT_call_file))
            line = number(&chain[index], DW_AT_call_line) ?? 0
        }
    }

    // MARK: Functions

    private static let mostInlined = 1000

    /// The functions inlined at an address, innermost first, and last the function itself.
    private func calls(at address: UInt64) -> [Dwarf_Die] {
        guard let function = function(at: address) else { return [] }
        var chain = [function]
        var current = function, child = Dwarf_Die()
        while chain.count < Self.mostInlined, library.dwarf_child(&current, &child) == 0 {
            var found = false
            repeat {
                let tag = library.dwarf_tag(&child)
                let isScope =
                    tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block || tag == DW_TAG_try_block
                    || tag == DW_TAG_catch_block
                guard isScope, library.dwarf_haspc(&child, address) > 0 else { continue }
                if tag == DW_TAG_inlined_subroutine { chain.append(child) }
                current = child
                found = true
            } while !found && next(&child)
            if !found { break }
        }
        return chain.reversed()
    }

    private func function(at address: UInt64) -> Dwarf_Die? {
        if functions == nil { functions = readFunctions(inner: false) }
        if let functions, let match = functions.table.match(at: address) { return functions.dies[Int(match.name)] }
        if innerFunctions == nil { innerFunctions = readFunctions(inner: true) }
        guard let innerFunctions, let match = innerFunctions.table.match(at: address) else { return nil }
        return innerFunctions.dies[Int(match.name)]
    }

    private func readFunctions(inner: Bool) -> (RangeTable, [Dwarf_Die]) {
        var dies: [Dwarf_Die] = []
        var entries: [RangeTable.Entry] = []
        var parents = [root]
        while var parent = parents.popLast() {
            var child = Dwarf_Die()
            guard library.dwarf_child(&parent, &child) == 0 else { continue }
            repeat {
                switch Int(library.dwarf_tag(&child)) {
                case Int(DW_TAG_subprogram):
                    let before = entries.count
                    forEachRange(library, &child) { start, end in
                        entries.append(
                            RangeTable.Entry(
                                start: start, end: end, name: UInt32(dies.count), source: 0, rank: 0, isSized: true))
                    }
                    if entries.count > before { dies.append(child) }
                    if inner { parents.append(child) }
                case Int(DW_TAG_namespace), Int(DW_TAG_module): parents.append(child)
                case Int(DW_TAG_structure_type), Int(DW_TAG_class_type), Int(DW_TAG_union_type),
                    Int(DW_TAG_enumeration_type),
                    Int(DW_TAG_lexical_block):
                    if inner { parents.append(child) }
                default: break
                }
            } while next(&child)
        }
        return (RangeTable(entries) { $0.name < $1.name }, dies)
    }

    /// Moves on to the entry's next sibling. False if there is none.
    private func next(_ die: inout Dwarf_Die) -> Bool {
        var from = die
        return library.dwarf_siblingof(&from, &die) == 0
    }

    /// The linkage name, which says most; else the plain name.
    private func functionName(_ die: inout Dwarf_Die) -> [UInt8] {
        for kind in [DW_AT_linkage_name, DW_AT_MIPS_linkage_name] {
            var attribute = Dwarf_Attribute()
            if library.dwarf_attr_integrate(&die, UInt32(kind), &attribute) != nil {
                let name = bytes(library.dwarf_formstring(&attribute))
                if !name.isEmpty { return name }
            }
        }
        return bytes(library.dwarf_diename(&die))
    }

    private func number(_ die: inout Dwarf_Die, _ kind: Int) -> Int? {
        var attribute = Dwarf_Attribute()
        var value: UInt64 = 0
        guard library.dwarf_attr(&die, UInt32(kind), &attribute) != nil,
            library.dwarf_formudata(&attribute, &value) == 0
        else { return nil }
        return Int(clamping: value)
    }

    // MARK: Lines

    private func line(at address: UInt64) -> (file: [UInt8], line: Int) {
        if hasLines == nil {
            var lines: OpaquePointer?
            var count = 0
            hasLines = library.dwarf_getsrclines(&die, &lines, &count) == 0 && count > 0
        }
        guard hasLines == true, let row = library.dwarf_getsrc_die(&die, address) else { return ([], 0) }
        var number: CInt = 0
        guard library.dwarf_lineno(row, &number) == 0 else { return ([], 0) }
        return (absolute(bytes(library.dwarf_linesrc(row, nil, nil))), max(0, Int(number)))
    }

    private func sourceFile(_ number: Int?) -> [UInt8] {
        guard let number else { return [] }
        if files == nil {
            var pointer: OpaquePointer?
            var count = 0
            guard library.dwarf_getsrcfiles(&die, &pointer, &count) == 0, let pointer else { return [] }
            files = (pointer, count)
        }
        guard let files, number < files.count else { return [] }
        return absolute(bytes(library.dwarf_filesrc(files.pointer, number, nil, nil)))
    }
}
