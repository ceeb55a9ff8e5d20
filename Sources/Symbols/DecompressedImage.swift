// An ELF file in memory with the decompressed debug sections of another one, for sections that libelf can't decompress
// itself. (It can decompress zlib; zstd only if it was built with it, and Debian 12's was not.)

enum DecompressedImage {
    /// The image, or nil if no debug section of the file needs it.
    ///
    /// - Throws: `.damaged`, `.unsupported`, `.tooLarge`, as decompression does.
    static func make(of file: ELFFile) throws(SymbolsError) -> FileBytes? {
        let names = try file.sectionNames()
        let wanted = names.indices.filter { names[$0].hasPrefix(".debug_") && file.sections[$0].type != ELF.SHT_NOBITS }
        var needsIt = false
        for index in wanted where file.sections[index].isCompressed && file.sections[index].byteCount >= 4 {
            let head = try file.reader.read(names[index], at: file.sections[index].offset, count: 4)
            needsIt = needsIt || head.withSpan { file.layout.u32($0, 0) } == ELF.ELFCOMPRESS_ZSTD
        }
        guard needsIt else { return nil }
        guard file.layout.isWide, !file.layout.isSwapped else {
            throw SymbolsError(
                file: file.path,
                reason: .unsupported("its DWARF is compressed with zstd, which is read of this machine's kind alone"))
        }
        var bytes = [UInt8](repeating: 0, count: 64)
        var table: [UInt8] = []
        func put(_ value: UInt64, _ count: Int, to bytes: inout [UInt8]) {
            for shift in 0 ..< count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(shift * 8))) }
        }
        // In an honest file sections don't overlap, so all of them together shrink to a hundredth at most.
        var total: UInt64 = 0
        func contents(_ index: Int) throws(SymbolsError) -> FileBytes {
            let part = try file.contents(ofSection: index, names[index])
            total += UInt64(part.count)
            guard total <= 8 << 30 else { throw SymbolsError(file: file.path, reason: .tooLarge(total)) }
            return part
        }
        let all = Set(wanted)
        let sectionNames = names.indices.first { names[$0] == ".shstrtab" }
        for index in names.indices {
            let section = file.sections[index]
            let isKept = all.contains(index) || index == sectionNames
            var (offset, count) = (UInt64(bytes.count), UInt64(0))
            if isKept {
                let part = try contents(index)
                count = UInt64(part.count)
                part.withSpan { span in
                    for position in 0 ..< span.byteCount { bytes.append(byte(span, position)) }
                }
                while bytes.count % 8 != 0 { bytes.append(0) }
            } else {
                offset = 0
            }
            put(UInt64(section.nameOffset), 4, to: &table)
            put(UInt64(index == 0 || isKept ? section.type : ELF.SHT_NOBITS), 4, to: &table)
            put(section.flags & ~ELF.SHF_COMPRESSED, 8, to: &table)
            put(section.address, 8, to: &table)
            put(offset, 8, to: &table)
            put(isKept ? count : index == 0 ? 0 : section.byteCount, 8, to: &table)
            put(0, 8, to: &table) // link and info: of what is kept none has any
            put(1, 8, to: &table)
            put(all.contains(index) ? section.entryByteCount : 0, 8, to: &table)
        }
        guard let sectionNames, names.count < ELF.SHN_LORESERVE else {
            throw file.reader.damaged("sections without names", at: file.headerOffset(ofSection: 0))
        }
        var header: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        put(UInt64(file.type), 2, to: &header)
        put(UInt64(file.machine), 2, to: &header)
        put(1, 4, to: &header)
        put(0, 8, to: &header)
        put(0, 8, to: &header)
        put(UInt64(bytes.count), 8, to: &header)
        put(0, 4, to: &header)
        for value in [64, 56, 0, 64, names.count, sectionNames] { put(UInt64(value), 2, to: &header) }
        bytes.replaceSubrange(0 ..< 64, with: header)
        bytes += table
        guard let image = bytes.withUnsafeBytes({ FileBytes(copying: $0) }) else {
            throw SymbolsError(file: file.path, reason: .tooLarge(UInt64(bytes.count)))
        }
        return image
    }
}
