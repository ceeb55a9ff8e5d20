// Names for the stubs through which a module calls other modules (the PLT). They have no symbols: each jumps through a
// slot, and the slot's relocation names the called symbol. So a stub is recognized by its jump instruction, which works
// for all the layouts of the various linkers. x86-64 only.

struct ELFStubs {
    struct Stub {
        var start: UInt64
        var byteCount: UInt64
        /// Offset of the called symbol's name in the names of .dynsym.
        var name: UInt32
    }

    private(set) var stubs: [Stub] = []

    private static let R_X86_64_GLOB_DAT: UInt64 = 6, R_X86_64_JUMP_SLOT: UInt64 = 7

    /// Finds the stubs of a file; none on other machines, and none in a separate debug file, which has no code.
    ///
    /// - Parameter symbols: the file's .dynsym.
    /// - Throws: `.damaged` if relocations or stubs are out of range.
    /// - Complexity: O(r) in the number of relocations.
    init(_ file: ELFFile, symbols: ELFSymbolTable) throws(SymbolsError) {
        guard file.machine == ELF.EM_X86_64, file.layout.isWide, !file.layout.isSwapped else { return }
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

    /// The address of each slot that holds a symbol's address, and the symbol's name.
    private static func slots(_ file: ELFFile, _ symbols: ELFSymbolTable) throws(SymbolsError) -> [UInt64: UInt32] {
        var slots: [UInt64: UInt32] = [:]
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
                    guard type == R_X86_64_GLOB_DAT || type == R_X86_64_JUMP_SLOT, info >> 32 != 0 else { continue }
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
