// Names for the stubs through which a module calls other modules (the PLT). They have no symbols: each jumps through a
// slot, and the slot's relocation names the called symbol. So a stub is recognized by its instructions, which works for
// all the layouts of the various linkers. x86-64 and AArch64.

struct ELFStubs {
    struct Stub {
        var start: UInt64
        var byteCount: UInt64
        /// Offset of the called symbol's name in the names of .dynsym.
        var name: UInt32
    }

    private(set) var stubs: [Stub] = []

    private static let R_X86_64_GLOB_DAT: UInt64 = 6, R_X86_64_JUMP_SLOT: UInt64 = 7
    private static let R_AARCH64_GLOB_DAT: UInt64 = 1025, R_AARCH64_JUMP_SLOT: UInt64 = 1026

    /// Finds the stubs of a file; none on other machines, and none in a separate debug file, which has no code.
    ///
    /// - Parameter symbols: the file's .dynsym.
    /// - Throws: `.damaged` if relocations or stubs are out of range.
    /// - Complexity: O(r) in the number of relocations.
    init(_ file: ELFFile, symbols: ELFSymbolTable) throws(SymbolsError) {
        let isAArch64 = file.machine == ELF.EM_AARCH64
        guard isAArch64 || file.machine == ELF.EM_X86_64, file.layout.isWide, !file.layout.isSwapped else { return }
        let names = try file.sectionNames()
        let places = names.indices.filter {
            names[$0].hasPrefix(".plt") && file.sections[$0].isCode && file.sections[$0].type != ELF.SHT_NOBITS
        }
        guard !places.isEmpty else { return }
        let slots = try Self.slots(file, symbols)
        // In an honest file sections don't overlap, so together they are not larger than the file.
        var budget = file.reader.byteCount
        for index in places {
            let section = file.sections[index]
            guard section.byteCount <= budget else {
                throw file.reader.damaged("stubs overlap", at: file.headerOffset(ofSection: index))
            }
            budget -= section.byteCount
            let code = try file.contents(ofSection: index, "stubs of \(names[index])")
            let step = section.entryByteCount == 8 ? 8 : 16
            code.withSpan { span in
                if isAArch64 {
                    addAArch64(span, at: section.address, slots, file.layout)
                    return
                }
                for position in stride(from: 0, to: span.byteCount - step + 1, by: step) {
                    let entry = span.extracting(position ..< position + step)
                    let address = section.address &+ UInt64(position)
                    guard let slot = Self.slot(of: entry, at: address, file.layout), let name = slots[slot] else {
                        continue
                    }
                    stubs.append(Stub(start: address, byteCount: UInt64(step), name: name))
                }
            }
        }
    }

    /// The slot that a stub jumps through: `jmp *disp32(%rip)`, maybe after an endbr64 and a bnd prefix.
    private static func slot(of entry: RawSpan, at address: UInt64, _ layout: ELFLayout) -> UInt64? {
        for position in 0 ... 5 where position + 6 <= entry.byteCount {
            guard layout.u8(entry, position) == 0xFF, layout.u8(entry, position + 1) == 0x25 else { continue }
            let displacement = Int64(Int32(bitPattern: layout.u32(entry, position + 2)))
            return address &+ UInt64(position + 6) &+ UInt64(bitPattern: displacement)
        }
        return nil
    }

    /// Adds the stubs of a section of AArch64's instructions, of four bytes each: `adrp x16`, `ldr x17, [x16, …]`,
    /// `add`, maybe an `autia1716`, `br x17`; maybe with a `bti c` before and a `nop` behind.
    private mutating func addAArch64(
        _ span: RawSpan, at address: UInt64, _ slots: [UInt64: UInt32], _ layout: ELFLayout
    ) {
        let branch: UInt32 = 0xD61F_0220, landing: UInt32 = 0xD503_245F, nothing: UInt32 = 0xD503_201F
        let count = span.byteCount / 4
        func word(_ index: Int) -> UInt32 { index < count ? layout.u32(span, index * 4) : 0 }
        var index = 0
        while index + 1 < count {
            defer { index += 1 }
            let (page, load) = (word(index), word(index + 1))
            guard page & 0x9F00_001F == 0x9000_0010, load & 0xFFC0_03FF == 0xF940_0211 else { continue }
            // 21 bits with a sign, in two parts, count pages from this one's.
            let pages = Int64(Int32(bitPattern: (page >> 5 & 0x7FFFF) << 13 | (page >> 29 & 3) << 11) >> 11)
            let here = (address &+ UInt64(index * 4)) & ~0xFFF
            let slot = here &+ UInt64(bitPattern: pages << 12) &+ UInt64(load >> 10 & 0xFFF) * 8
            guard let name = slots[slot], let last = (index + 2 ... index + 4).first(where: { word($0) == branch })
            else { continue }
            let first = index > 0 && word(index - 1) == landing ? index - 1 : index
            let end = word(last + 1) == nothing ? last + 2 : last + 1
            stubs.append(
                Stub(start: address &+ UInt64(first * 4), byteCount: UInt64(end - first) * 4, name: name))
            index = last
        }
    }

    /// The address of each slot that holds a symbol's address, and the symbol's name.
    private static func slots(_ file: ELFFile, _ symbols: ELFSymbolTable) throws(SymbolsError) -> [UInt64: UInt32] {
        var slots: [UInt64: UInt32] = [:]
        let types =
            file.machine == ELF.EM_AARCH64
            ? R_AARCH64_GLOB_DAT ... R_AARCH64_JUMP_SLOT : R_X86_64_GLOB_DAT ... R_X86_64_JUMP_SLOT
        var budget = file.reader.byteCount
        for (index, section) in file.sections.enumerated()
        where section.type == ELF.SHT_RELA && section.link == symbols.sectionIndex {
            guard section.byteCount <= budget else {
                throw file.reader.damaged("relocations overlap", at: file.headerOffset(ofSection: index))
            }
            budget -= section.byteCount
            let records = try file.contents(ofSection: index, "relocations")
            let layout = file.layout
            try records.withSpan { span throws(SymbolsError) in
                for position in stride(from: 0, to: span.byteCount - 23, by: 24) {
                    let info = layout.u64(span, position + 8)
                    let type = info & 0xFFFF_FFFF
                    guard types.contains(type), info >> 32 != 0 else { continue }
                    guard let name = symbols.nameOffset(ofSymbol: info >> 32) else {
                        throw file.reader.damaged(
                            "a relocation for symbol \(info >> 32) of \(symbols.count)",
                            at: records.offset + UInt64(position))
                    }
                    slots[layout.u64(span, position)] = name
                }
            }
        }
        return slots
    }
}
