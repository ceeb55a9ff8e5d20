// Reads DWARF with elfutils' libdw. It runs only in the helper process, where a hostile file can harm nothing else.
// This file and DwarfUnit.swift are the only ones that touch libdw's memory.
//
// The compilation unit of an address, and the function in the unit, are found by the same range table as symbols. The
// units' ranges come from the units themselves, because libdw's own search needs .debug_aranges, which not every
// compiler writes. A unit's functions and lines are read when an address in it is first asked for.

import CSymbols
import Glibc
import Text

/// The files asked for so far, each opened once.
final class DwarfFiles {
    private var library: symbols_libdw?
    private var files: [String: DwarfFile] = [:]

    func answer(_ bytes: [UInt8]) -> [UInt8] {
        if bytes.isEmpty { return [] }
        guard let question = DwarfQuestion(bytes) else {
            return failed(DwarfAnswer.badFile, "the question makes no sense")
        }
        if library == nil {
            var functions = symbols_libdw()
            if let error = symbols_load_libdw(&functions) {
                return failed(
                    DwarfAnswer.noLibrary,
                    "none are shown: elfutils' libdw (Debian's package libdw1) can't be loaded: "
                        + "\(String(cString: error))"
                )
            }
            _ = functions.elf_version(UInt32(EV_CURRENT))
            library = functions
        }
        guard let library else { return [] }
        var file = files[question.path]
        if file == nil {
            do throws(SymbolsError) {
                file = try DwarfFile(
                    library, path: question.path, buildID: question.buildID,
                    shared: question.shared.isEmpty ? nil : question.shared)
            } catch {
                return failed(DwarfAnswer.badFile, error.whatAlone)
            }
            files[question.path] = file
        }
        guard let file else { return [] }
        var wire = WireWriter()
        let missing = file.missingFiles(at: question.addresses)
        for address in question.addresses {
            switch question.kind {
            case .calls: file.putCalls(at: address, to: &wire)
            case .units: wire.put(file.unitName(at: address))
            }
        }
        wire.put(missing.count)
        for name in missing { wire.put(name) }
        return [DwarfAnswer.good] + wire.bytes
    }

    private func failed(_ kind: UInt8, _ text: String) -> [UInt8] { [kind] + Array(text.utf8) }
}

extension SymbolsError {
    /// The text without the file's name, which the asking side knows.
    fileprivate var whatAlone: String {
        let text = description
        return text.hasPrefix(file + ": ") ? String(text.dropFirst(file.utf8.count + 2)) : text
    }
}

/// One file's DWARF. It stays open until the process ends.
final class DwarfFile {
    private let library: symbols_libdw
    private let dwarf: OpaquePointer
    private var units: [DwarfUnit] = []
    private let table: RangeTable
    private var image: FileBytes?
    private var sharedImage: FileBytes?

    init(
        _ library: symbols_libdw, path: String, buildID: [UInt8], shared: String? = nil
    ) throws(SymbolsError) {
        self.library = library
        let file = try ELFFile(path: path)
        if let found = try file.readBuildID(), !buildID.isEmpty, found != buildID {
            throw SymbolsError(file: path, reason: .buildIDDiffers(expected: buildID, found: found))
        }
        (dwarf, image) = try Self.open(library, file)
        // The shared part is given to libdw before it reads the first unit.
        if let shared = try shared.map({ path throws(SymbolsError) in try ELFFile(path: path) }) {
            let (other, bytes) = try Self.open(library, shared)
            library.dwarf_setalt(dwarf, other)
            sharedImage = bytes
        }
        (units, table) = Self.findUnits(library, dwarf)
    }

    private static func open(
        _ library: symbols_libdw, _ file: ELFFile
    ) throws(SymbolsError) -> (OpaquePointer, FileBytes?) {
        var elf: OpaquePointer?
        let image = try DecompressedImage.make(of: file)
        if let image {
            elf = image.withMutablePointer { library.elf_memory($0, image.count) }
        } else {
            let descriptor = file.path.withPath { Glibc.open($0, O_RDONLY | O_CLOEXEC) }
            if descriptor >= 0 { elf = library.elf_begin(descriptor, ELF_C_READ_MMAP_PRIVATE, nil) }
        }
        func why(_ message: UnsafePointer<CChar>?) -> SymbolsError {
            SymbolsError(
                file: file.path,
                reason: .unsupported(message.map { "libdw says: \(String(cString: $0))" } ?? "libdw can't read it"))
        }
        guard let elf else { throw why(library.elf_errmsg(-1)) }
        guard let dwarf = library.dwarf_begin_elf(elf, DWARF_C_READ, nil) else { throw why(library.dwarf_errmsg(-1)) }
        return (dwarf, image)
    }

    private static func findUnits(_ library: symbols_libdw, _ dwarf: OpaquePointer) -> ([DwarfUnit], RangeTable) {
        var units: [DwarfUnit] = []
        var entries: [RangeTable.Entry] = []
        var withoutRanges: [UInt64: UInt32] = [:]
        var unit: OpaquePointer?
        var (version, type): (UInt16, UInt8) = (0, 0)
        var (die, split) = (Dwarf_Die(), Dwarf_Die())
        while library.dwarf_get_units(dwarf, unit, &unit, &version, &type, &die, &split) == 0 {
            guard library.dwarf_tag(&die) == DW_TAG_compile_unit || library.dwarf_tag(&die) == DW_TAG_skeleton_unit
            else { continue }
            let number = UInt32(units.count)
            let before = entries.count
            forEachRange(library, &die) { start, end in
                // Functions that the linker removed leave ranges at 0.
                if start != 0 {
                    entries.append(
                        RangeTable.Entry(start: start, end: end, name: number, source: 0, rank: 0, isSized: true))
                }
            }
            if entries.count == before { withoutRanges[library.dwarf_dieoffset(&die)] = number }
            units.append(DwarfUnit(library, die: die, split: split.addr == nil ? nil : split))
        }
        if !withoutRanges.isEmpty { addSeparateRanges(library, dwarf, withoutRanges, &entries) }
        return (units, RangeTable(entries) { $0.name < $1.name })
    }

    /// .debug_aranges, for units that don't state their ranges.
    private static func addSeparateRanges(
        _ library: symbols_libdw, _ dwarf: OpaquePointer, _ wanted: [UInt64: UInt32],
        _ entries: inout [RangeTable.Entry]
    ) {
        var ranges: OpaquePointer?
        var count = 0
        guard library.dwarf_getaranges(dwarf, &ranges, &count) == 0, let ranges else { return }
        for index in 0 ..< count {
            guard let range = library.dwarf_onearange(ranges, index) else { continue }
            var (start, byteCount, offset): (UInt64, UInt64, UInt64) = (0, 0, 0)
            guard library.dwarf_getarangeinfo(range, &start, &byteCount, &offset) == 0, let unit = wanted[offset] else {
                continue
            }
            let (end, overflow) = start.addingReportingOverflow(byteCount)
            entries.append(
                RangeTable.Entry(
                    start: start, end: overflow ? .max : end, name: unit, source: 0, rank: 0, isSized: true))
        }
    }

    private func unit(at address: UInt64) -> DwarfUnit? { table.match(at: address).map { units[Int($0.name)] } }

    /// The missing files, each once, that hold the functions of these addresses' units.
    func missingFiles(at addresses: [UInt64]) -> [[UInt8]] {
        var names: [[UInt8]] = [], seen: Set<[UInt8]> = []
        for address in addresses {
            if let name = unit(at: address)?.missingFile, seen.insert(name).inserted { names.append(name) }
        }
        return names
    }

    func unitName(at address: UInt64) -> [UInt8] { unit(at: address)?.name ?? [] }

    func putCalls(at address: UInt64, to wire: inout WireWriter) {
        guard let unit = unit(at: address) else { return wire.put(0) }
        unit.putCalls(at: address, to: &wire)
    }
}

/// Calls `body` with each range of addresses of an entry.
func forEachRange(_ library: symbols_libdw, _ die: inout Dwarf_Die, _ body: (UInt64, UInt64) -> Void) {
    var (base, start, end): (UInt64, UInt64, UInt64) = (0, 0, 0)
    var position = 0
    while true {
        let next = library.dwarf_ranges(&die, position, &base, &start, &end)
        guard next > position else { return }
        position = next
        if start < end { body(start, end) }
    }
}
