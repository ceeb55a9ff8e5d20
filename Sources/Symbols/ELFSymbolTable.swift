// The records of one ELF symbol table (.symtab or .dynsym) and the string table that goes with it. Only records whose
// name's offset and section are in range are returned, so callers need no checks. Order and numbers are the file's.

struct ELFSymbol: Sendable {
    enum Kind {
        static let none: UInt8 = 0, object: UInt8 = 1, function: UInt8 = 2, section: UInt8 = 3, file: UInt8 = 4
        static let common: UInt8 = 5, threadLocal: UInt8 = 6, indirectFunction: UInt8 = 10
    }
    enum Binding {
        static let local: UInt8 = 0, global: UInt8 = 1, weak: UInt8 = 2, unique: UInt8 = 10
    }

    var name: UInt32
    var kind: UInt8
    var binding: UInt8
    /// A section's index, or a reserved number (widened if the file uses the 32-bit form).
    var section: UInt32
    /// Whether `section` is a reserved number (SHN_ABS, …) and not an index.
    var isReserved: Bool
    var value: UInt64
    var byteCount: UInt64
}

struct ELFSymbolTable {
    let strings: StringTable
    let count: Int
    /// The table's own number among the file's sections.
    let sectionIndex: Int
    private let records: FileBytes
    private let extendedSections: FileBytes?
    private let file: ELFFile

    /// The file's table of this type (SHT_SYMTAB or SHT_DYNSYM), or nil if it has none.
    ///
    /// - Throws: `.damaged` if the table or its strings are out of range.
    init?(_ file: ELFFile, type: UInt32) throws(SymbolsError) {
        guard let index = file.sections.firstIndex(where: { $0.type == type }) else { return nil }
        let section = file.sections[index]
        let what = type == ELF.SHT_SYMTAB ? ".symtab" : ".dynsym"
        let recordBytes: UInt64 = file.layout.isWide ? 24 : 16
        guard section.entryByteCount == recordBytes else {
            throw file.reader.damaged(
                "\(what) has records of \(section.entryByteCount) bytes", at: file.headerOffset(ofSection: index))
        }
        guard Int(section.link) < file.sections.count, file.sections[Int(section.link)].type == ELF.SHT_STRTAB else {
            throw file.reader.damaged(
                "\(what) takes its names from section \(section.link), which is no string table",
                at: file.headerOffset(ofSection: index))
        }
        self.file = file
        sectionIndex = index
        // Everything that refers to symbols has 32-bit numbers.
        guard section.byteCount / recordBytes < UInt64(UInt32.max) else {
            throw file.reader.damaged(
                "\(what) has \(section.byteCount / recordBytes) symbols", at: file.headerOffset(ofSection: index))
        }
        records = try file.contents(ofSection: index, what)
        strings = StringTable(bytes: try file.contents(ofSection: Int(section.link), "names of \(what)"))
        count = records.count / Int(recordBytes)
        if let extended = file.sections.firstIndex(where: { $0.type == ELF.SHT_SYMTAB_SHNDX && Int($0.link) == index })
        {
            extendedSections = try file.contents(ofSection: extended, "section numbers of \(what)")
        } else {
            extendedSections = nil
        }
    }

    /// Calls `body` with each symbol and its number, in the file's order, without the empty one at 0.
    ///
    /// - Throws: `.damaged` at the record whose name or section is out of range.
    func forEach(_ body: (Int, ELFSymbol) throws(SymbolsError) -> Void) throws(SymbolsError) {
        let layout = file.layout
        let recordBytes = layout.isWide ? 24 : 16
        let (nameBytes, sectionCount) = (strings.count, UInt32(file.sections.count))
        try records.withSpan { span throws(SymbolsError) in
            for index in stride(from: 1, to: count, by: 1) {
                let record = span.extracting(index * recordBytes ..< (index + 1) * recordBytes)
                let info = layout.u8(record, layout.isWide ? 4 : 12)
                var symbol = ELFSymbol(
                    name: layout.u32(record, 0), kind: info & 15, binding: info >> 4,
                    section: UInt32(layout.u16(record, layout.isWide ? 6 : 14)), isReserved: false,
                    value: layout.word(record, wide: 8, narrow: 4), byteCount: layout.word(record, wide: 16, narrow: 8))
                if symbol.section == ELF.SHN_XINDEX, let extendedSections {
                    symbol.section = try extendedSections.withSpan { numbers throws(SymbolsError) in
                        guard index < numbers.byteCount / 4 else {
                            throw file.reader.damaged(
                                "symbol \(index) has no section number", at: extendedSections.offset)
                        }
                        return layout.u32(numbers, index * 4)
                    }
                } else {
                    symbol.isReserved = symbol.section >= ELF.SHN_LORESERVE
                }
                guard symbol.name == 0 || Int(symbol.name) < nameBytes else {
                    throw damaged("symbol \(index) has its name at \(symbol.name) of \(nameBytes)", index)
                }
                guard symbol.isReserved || symbol.section < sectionCount else {
                    throw damaged("symbol \(index) is in section \(symbol.section) of \(sectionCount)", index)
                }
                try body(index, symbol)
            }
        }
    }

    /// The offset of a symbol's name in `strings`, or nil if there is no such symbol or name.
    func nameOffset(ofSymbol number: UInt64) -> UInt32? {
        guard number < UInt64(count) else { return nil }
        let name = records.withSpan { file.layout.u32($0, Int(number) * (file.layout.isWide ? 24 : 16)) }
        return Int(name) < strings.count ? name : nil
    }

    private func damaged(_ what: String, _ index: Int) -> SymbolsError {
        file.reader.damaged(what, at: records.offset + UInt64(index) * (file.layout.isWide ? 24 : 16))
    }
}

extension ELFSymbol {
    /// The range of code that the symbol names, or nil if it doesn't name code.
    ///
    /// Includes functions, indirect functions, and untyped labels in code sections. A size never reaches past the
    /// section's end. If `isSized` is false, `end` is only a limit.
    func codeRange(in file: ELFFile) -> (start: UInt64, end: UInt64, isSized: Bool)? {
        guard !isReserved, section != ELF.SHN_UNDEF, name != 0 else { return nil }
        let place = file.sections[Int(section)]
        switch kind {
        case Kind.function, Kind.indirectFunction: break
        case Kind.none where place.isCode: break
        default: return nil
        }
        var start = value
        if file.machine == ELF.EM_ARM, kind == Kind.function { start &= ~1 } // bit 0 says Thumb
        // In an object file, values are offsets from the section's start, and are printed so.
        let (low, high) = file.type == ELF.ET_REL ? (0, place.byteCount) : (place.address, place.endAddress)
        guard start >= low, start < high else { return nil }
        guard byteCount != 0 else { return (start, high, false) }
        return (start, start + min(byteCount, high - start), true)
    }
}
