// The skeleton of one ELF file of any class and byte order: its header, section headers and build-id. Each number is
// only the file's claim: counts are checked against the file's size before memory is allocated for them, ranges when
// they are read. Source: the System V gABI, chapters "ELF Header", "Sections" and "Note Section".

/// How the file's records are laid out.
struct ELFLayout: Sendable {
    var isWide: Bool
    var isSwapped: Bool

    // Callers check once for each record that it lies within the span. These functions check again, and would trap.
    @inline(__always) func u8(_ span: RawSpan, _ offset: Int) -> UInt8 {
        span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt8.self)
    }
    @inline(__always) func u16(_ span: RawSpan, _ offset: Int) -> UInt16 {
        let value = span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self)
        return isSwapped ? value.byteSwapped : value
    }
    @inline(__always) func u32(_ span: RawSpan, _ offset: Int) -> UInt32 {
        let value = span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)
        return isSwapped ? value.byteSwapped : value
    }
    @inline(__always) func u64(_ span: RawSpan, _ offset: Int) -> UInt64 {
        let value = span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
        return isSwapped ? value.byteSwapped : value
    }
    /// A field as wide as an address: at `wide` in 64-bit records, at `narrow` in 32-bit ones.
    @inline(__always) func word(_ span: RawSpan, wide: Int, narrow: Int) -> UInt64 {
        isWide ? u64(span, wide) : UInt64(u32(span, narrow))
    }
}

struct ELFSection: Sendable {
    var nameOffset: UInt32
    var type: UInt32
    var flags: UInt64
    var address: UInt64
    var offset: UInt64
    var byteCount: UInt64
    var link: UInt32
    var info: UInt32
    var alignment: UInt64
    var entryByteCount: UInt64

    var isCode: Bool { flags & ELF.SHF_EXECINSTR != 0 }
    var isCompressed: Bool { flags & ELF.SHF_COMPRESSED != 0 }

    /// The first address after the section; saturates if the header is wrong.
    var endAddress: UInt64 {
        let (end, overflow) = address.addingReportingOverflow(byteCount)
        return overflow ? .max : end
    }
}

/// The gABI's constants that are needed here, under the gABI's names.
enum ELF {
    static let ET_REL: UInt16 = 1
    static let EM_ARM: UInt16 = 40, EM_X86_64: UInt16 = 62, EM_AARCH64: UInt16 = 183, EM_RISCV: UInt16 = 243
    static let SHT_NULL: UInt32 = 0, SHT_SYMTAB: UInt32 = 2, SHT_STRTAB: UInt32 = 3, SHT_RELA: UInt32 = 4
    static let SHT_NOTE: UInt32 = 7, SHT_NOBITS: UInt32 = 8, SHT_REL: UInt32 = 9, SHT_DYNSYM: UInt32 = 11
    static let SHT_GROUP: UInt32 = 17, SHT_SYMTAB_SHNDX: UInt32 = 18
    static let SHF_WRITE: UInt64 = 1, SHF_ALLOC: UInt64 = 2, SHF_EXECINSTR: UInt64 = 4, SHF_COMPRESSED: UInt64 = 0x800
    static let ELFCOMPRESS_ZLIB: UInt32 = 1, ELFCOMPRESS_ZSTD: UInt32 = 2
    static let SHN_UNDEF: UInt32 = 0, SHN_LORESERVE: UInt32 = 0xFF00, SHN_ABS: UInt32 = 0xFFF1
    static let SHN_COMMON: UInt32 = 0xFFF2, SHN_XINDEX: UInt32 = 0xFFFF
    static let PT_NOTE: UInt32 = 4, PN_XNUM: UInt32 = 0xFFFF
    static let NT_GNU_BUILD_ID: UInt32 = 3
}

final class ELFFile {
    let reader: FileReader
    let layout: ELFLayout
    let machine: UInt16
    let type: UInt16
    let sections: [ELFSection]
    private let sectionTableOffset: UInt64
    private let sectionNamesIndex: UInt32
    private let segmentTableOffset: UInt64
    private let segmentCount: UInt32
    private var knownNames: [String]?

    var path: String { reader.path }

    convenience init(path: String) throws(SymbolsError) {
        try self.init(FileReader(path: path))
    }

    init(_ file: FileReader) throws(SymbolsError) {
        reader = file
        let path = file.path
        guard reader.byteCount >= 16 else { throw SymbolsError(file: path, reason: .notELF) }
        if try reader.read("magic", at: 0, count: 8).withSpan({ $0.unsafeLoadUnaligned(as: UInt64.self).littleEndian })
            == 0x0A3E_6863_7261_3C21
        {
            throw SymbolsError(
                file: path,
                reason: .unsupported("an archive, not an ELF file; its members, taken out by ar x, can be read"))
        }
        let identity = try reader.read("ELF identification", at: 0, count: 16)
        let (magic, fileClass, byteOrder) = identity.withSpan { span in
            let native = ELFLayout(isWide: true, isSwapped: false)
            return (native.u32(span, 0), native.u8(span, 4), native.u8(span, 5))
        }
        guard UInt32(littleEndian: magic) == 0x464C_457F else { throw SymbolsError(file: path, reason: .notELF) }
        guard fileClass == 1 || fileClass == 2 else { throw reader.damaged("ELF class \(fileClass)", at: 4) }
        guard byteOrder == 1 || byteOrder == 2 else { throw reader.damaged("ELF byte order \(byteOrder)", at: 5) }
        let layout = ELFLayout(isWide: fileClass == 2, isSwapped: (byteOrder == 2) == (UInt16(littleEndian: 1) == 1))
        self.layout = layout

        let header = try reader.read("ELF header", at: 0, count: layout.isWide ? 64 : 52)
        let fields = header.withSpan { span in
            let tail = layout.isWide ? 52 : 40 // e_ehsize: from here on both classes have the same fields
            return (
                type: layout.u16(span, 16), machine: layout.u16(span, 18),
                segments: layout.word(span, wide: 32, narrow: 28), sections: layout.word(span, wide: 40, narrow: 32),
                segmentBytes: layout.u16(span, tail + 2), segmentCount: UInt32(layout.u16(span, tail + 4)),
                sectionBytes: layout.u16(span, tail + 6), sectionCount: UInt64(layout.u16(span, tail + 8)),
                namesIndex: UInt32(layout.u16(span, tail + 10))
            )
        }
        type = fields.type
        machine = fields.machine
        sectionTableOffset = fields.sections

        var sections: [ELFSection] = []
        var namesIndex = fields.namesIndex
        var segmentCount = fields.segmentCount
        if fields.sections != 0 {
            let recordBytes: UInt64 = layout.isWide ? 64 : 40
            guard UInt64(fields.sectionBytes) == recordBytes else {
                throw reader.damaged("section headers of \(fields.sectionBytes) bytes", at: layout.isWide ? 58 : 46)
            }
            // If there are more sections, names or segments than 16 bits can count, the first header has the numbers.
            let first = try Self.readSections(reader, layout, at: fields.sections, count: 1)
            var count = fields.sectionCount
            if let first = first.first {
                if count == 0 { count = first.byteCount }
                if namesIndex == ELF.SHN_XINDEX { namesIndex = first.link }
                if segmentCount == ELF.PN_XNUM { segmentCount = first.info }
            }
            guard count <= (reader.byteCount - min(fields.sections, reader.byteCount)) / recordBytes else {
                throw reader.damaged(
                    "\(count) section headers reach past the file's end (\(reader.byteCount))", at: fields.sections)
            }
            sections = try Self.readSections(reader, layout, at: fields.sections, count: count)
        }
        self.sections = sections
        sectionNamesIndex = namesIndex
        segmentTableOffset = fields.segments
        self.segmentCount = segmentCount
        if segmentCount != 0, fields.segmentBytes != (layout.isWide ? 56 : 32) {
            throw reader.damaged("program headers of \(fields.segmentBytes) bytes", at: layout.isWide ? 54 : 42)
        }
    }

    private static func readSections(
        _ reader: FileReader, _ layout: ELFLayout, at offset: UInt64, count: UInt64
    ) throws(SymbolsError) -> [ELFSection] {
        let recordBytes = layout.isWide ? 64 : 40
        let bytes = try reader.read("section header table", at: offset, count: count * UInt64(recordBytes))
        return bytes.withSpan { span in
            (0 ..< Int(count)).map { index in
                let record = span.extracting(index * recordBytes ..< (index + 1) * recordBytes)
                return ELFSection(
                    nameOffset: layout.u32(record, 0), type: layout.u32(record, 4),
                    flags: layout.word(record, wide: 8, narrow: 8), address: layout.word(record, wide: 16, narrow: 12),
                    offset: layout.word(record, wide: 24, narrow: 16),
                    byteCount: layout.word(record, wide: 32, narrow: 20),
                    link: layout.u32(record, layout.isWide ? 40 : 24),
                    info: layout.u32(record, layout.isWide ? 44 : 28),
                    alignment: layout.word(record, wide: 48, narrow: 32),
                    entryByteCount: layout.word(record, wide: 56, narrow: 36))
            }
        }
    }

    /// The file offset of a section's header, for messages.
    func headerOffset(ofSection index: Int) -> UInt64 {
        sectionTableOffset &+ UInt64(index) &* (layout.isWide ? 64 : 40)
    }

    /// The decompressed bytes of a section; empty for a section without bytes in the file (like all code in a separate
    /// debug file).
    func contents(ofSection index: Int, _ what: String) throws(SymbolsError) -> FileBytes {
        guard sections.indices.contains(index) else {
            throw reader.damaged("\(what) names section \(index) of \(sections.count)", at: sectionTableOffset)
        }
        let section = sections[index]
        guard section.type != ELF.SHT_NOBITS else { return try reader.read(what, at: 0, count: 0) }
        let bytes = try reader.read(what, at: section.offset, count: section.byteCount)
        return section.isCompressed ? try Decompression.section(bytes, what, of: reader, layout: layout) : bytes
    }

    /// The number of the first section with this name, if any.
    func section(named wanted: String) throws(SymbolsError) -> Int? {
        try sectionNames().firstIndex(of: wanted)
    }

    /// The names of all sections, in order. Empty if the file has no table of names.
    ///
    /// - Throws: `.damaged` if the table or a name's offset is out of range.
    func sectionNames() throws(SymbolsError) -> [String] {
        if let knownNames { return knownNames }
        let names = try readSectionNames()
        knownNames = names
        return names
    }

    private func readSectionNames() throws(SymbolsError) -> [String] {
        guard sectionNamesIndex != 0, !sections.isEmpty else { return sections.map { _ in "" } }
        let table = StringTable(bytes: try contents(ofSection: Int(sectionNamesIndex), "section names"))
        var names: [String] = []
        names.reserveCapacity(sections.count)
        for (index, section) in sections.enumerated() {
            guard section.nameOffset < table.count else {
                throw reader.damaged(
                    "section name at \(section.nameOffset) of \(table.count)", at: headerOffset(ofSection: index))
            }
            // Real names are short. The limit bounds the cost of many sections that share one very long name.
            names.append(table.string(at: section.nameOffset, limit: 256))
        }
        return names
    }

    /// The program headers' note segments: offset, size, alignment.
    private func noteSegments() throws(SymbolsError) -> [(UInt64, UInt64, UInt64)] {
        guard segmentCount != 0 else { return [] }
        let recordBytes = layout.isWide ? 56 : 32
        let table = try reader.read(
            "program header table", at: segmentTableOffset, count: UInt64(segmentCount) * UInt64(recordBytes))
        let layout = layout
        return table.withSpan { span in
            var found: [(UInt64, UInt64, UInt64)] = []
            for index in 0 ..< Int(segmentCount) {
                let record = span.extracting(index * recordBytes ..< (index + 1) * recordBytes)
                guard layout.u32(record, 0) == ELF.PT_NOTE else { continue }
                found.append(
                    (
                        layout.word(record, wide: 8, narrow: 4), layout.word(record, wide: 32, narrow: 16),
                        layout.word(record, wide: 48, narrow: 28)
                    ))
            }
            return found
        }
    }

    /// The GNU build-id, or nil if the file has none.
    ///
    /// Note sections come first, because the program headers of a separate debug file still have the stripped file's
    /// offsets.
    /// - Throws: `.damaged` if notes are cut off or out of range.
    func readBuildID() throws(SymbolsError) -> [UInt8]? {
        var areas = sections.filter { $0.type == ELF.SHT_NOTE }.map { ($0.offset, $0.byteCount, $0.alignment) }
        if areas.isEmpty { areas = try noteSegments() }
        // A build-id's note is 36 bytes long. The budget keeps overlapping areas of a hostile file from being read many
        // times.
        var budget = reader.byteCount
        for (offset, byteCount, alignment) in areas {
            guard byteCount <= budget else { throw reader.damaged("notes overlap", at: offset) }
            budget -= byteCount
            let notes = try reader.read("notes", at: offset, count: byteCount)
            if let found = try buildID(in: notes, alignment: alignment == 8 ? 8 : 4) { return found }
        }
        return nil
    }

    private func buildID(in notes: FileBytes, alignment: Int) throws(SymbolsError) -> [UInt8]? {
        let (layout, reader) = (layout, reader)
        return try notes.withSpan { span throws(SymbolsError) in
            var position = 0
            while span.byteCount - position >= 12 {
                let nameBytes = Int(layout.u32(span, position)), valueBytes = Int(layout.u32(span, position + 4))
                let kind = layout.u32(span, position + 8)
                let value = (position + 12 + nameBytes + alignment - 1) / alignment * alignment
                guard value <= span.byteCount, valueBytes <= span.byteCount - value else {
                    throw reader.damaged(
                        "a note of \(nameBytes) + \(valueBytes) bytes reaches past its section",
                        at: notes.offset + UInt64(position))
                }
                if kind == ELF.NT_GNU_BUILD_ID, nameBytes == 4,
                    UInt32(
                        littleEndian: span.unsafeLoadUnaligned(
                            fromByteOffset: position + 12, as: UInt32.self)) == 0x0055_4E47, valueBytes > 0
                {
                    return (value ..< value + valueBytes).map { layout.u8(span, $0) }
                }
                position = min(span.byteCount, (value + valueBytes + alignment - 1) / alignment * alignment)
            }
            return nil
        }
    }
}
