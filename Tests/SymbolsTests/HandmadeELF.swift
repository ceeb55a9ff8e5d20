// An ELF file made by hand, of either class and byte order, whose every number a test can falsify. The
// truth of the honest ones is checked with readelf.

struct HandmadeELF {
    struct Symbol {
        var name: String
        var value: UInt64
        var byteCount: UInt64
        var info: UInt8 = 0x12 // global function
        var section: UInt16 = 1
    }

    var isWide = true
    var isBigEndian = false
    var symbols: [Symbol] = [
        Symbol(name: "alpha", value: 0x1000, byteCount: 0x20), Symbol(name: "beta", value: 0x1020, byteCount: 0),
    ]
    /// Lies: called with the field's name and true value before it is written ("e_shoff", "3.sh_size", "1.st_name").
    var lie: (String, UInt64) -> UInt64 = { $1 }

    static let text = 1, symtab = 2, strtab = 3, shstrtab = 4, note = 5

    private final class Writer {
        var bytes: [UInt8] = []
        let isBigEndian: Bool
        init(isBigEndian: Bool) { self.isBigEndian = isBigEndian }
        func put(_ value: UInt64, _ count: Int) {
            let little = (0 ..< count).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
            bytes += isBigEndian ? little.reversed() : little
        }
    }

    /// Where things are in the honest file.
    struct Places { var sectionTable = 0, symtab = 0, strtab = 0, note = 0 }

    func bytes(_ places: inout Places) -> [UInt8] {
        let headerBytes = isWide ? 64 : 52
        let word = isWide ? 8 : 4

        var strings: [UInt8] = [0]
        let table = Writer(isBigEndian: isBigEndian)
        table.bytes = [UInt8](repeating: 0, count: isWide ? 24 : 16)
        for (index, symbol) in symbols.enumerated() {
            let name = lie("\(index + 1).st_name", UInt64(strings.count))
            strings += Array(symbol.name.utf8) + [0]
            let section = lie("\(index + 1).st_shndx", UInt64(symbol.section))
            table.put(name, 4)
            if isWide {
                table.put(UInt64(symbol.info), 1)
                table.put(0, 1)
                table.put(section, 2)
                table.put(symbol.value, 8)
                table.put(symbol.byteCount, 8)
            } else {
                table.put(symbol.value, 4)
                table.put(symbol.byteCount, 4)
                table.put(UInt64(symbol.info), 1)
                table.put(0, 1)
                table.put(section, 2)
            }
        }
        let sectionNames: [UInt8] = Array("\0.text\0.symtab\0.strtab\0.shstrtab\0.note.gnu.build-id\0".utf8)
        let note = Writer(isBigEndian: isBigEndian)
        note.put(lie("n_namesz", 4), 4)
        note.put(lie("n_descsz", 8), 4)
        note.put(3, 4)
        note.bytes += Array("GNU\0".utf8) + [1, 2, 3, 4, 5, 6, 7, 8]

        var offset = headerBytes
        func place(_ count: Int) -> Int {
            defer { offset += count }
            return offset
        }
        places.symtab = place(table.bytes.count)
        places.strtab = place(strings.count)
        let shstrtab = place(sectionNames.count)
        offset = (offset + 7) / 8 * 8
        places.note = place(note.bytes.count)
        places.sectionTable = offset

        let out = Writer(isBigEndian: isBigEndian)
        out.bytes = [0x7F, 0x45, 0x4C, 0x46, isWide ? 2 : 1, isBigEndian ? 2 : 1, 1] + [UInt8](repeating: 0, count: 9)
        // A machine that exists in all four kinds: MIPS.
        out.put(3, 2)
        out.put(8, 2)
        out.put(1, 4)
        out.put(0, word)
        out.put(lie("e_phoff", 0), word)
        out.put(lie("e_shoff", UInt64(places.sectionTable)), word)
        out.put(0, 4)
        out.put(UInt64(headerBytes), 2)
        out.put(isWide ? 56 : 32, 2)
        out.put(lie("e_phnum", 0), 2)
        out.put(lie("e_shentsize", isWide ? 64 : 40), 2)
        out.put(lie("e_shnum", 6), 2)
        out.put(lie("e_shstrndx", 4), 2)
        out.bytes += table.bytes + strings + sectionNames
        out.bytes += [UInt8](repeating: 0, count: places.note - out.bytes.count) + note.bytes

        func section(
            _ index: Int, name: UInt64, type: UInt64, flags: UInt64, address: UInt64, at offset: Int, count: Int,
            link: UInt64, info: UInt64, entry: UInt64
        ) {
            func field(_ name: String, _ value: UInt64) -> UInt64 { lie("\(index).\(name)", value) }
            out.put(field("sh_name", name), 4)
            out.put(field("sh_type", type), 4)
            out.put(flags, word)
            out.put(field("sh_addr", address), word)
            out.put(field("sh_offset", UInt64(offset)), word)
            out.put(field("sh_size", UInt64(count)), word)
            out.put(field("sh_link", link), 4)
            out.put(field("sh_info", info), 4)
            out.put(4, word)
            out.put(field("sh_entsize", entry), word)
        }
        section(0, name: 0, type: 0, flags: 0, address: 0, at: 0, count: 0, link: 0, info: 0, entry: 0)
        // Its bytes are of no matter to symbols: NOBITS, as in a separate debug file.
        section(1, name: 1, type: 8, flags: 6, address: 0x1000, at: 0, count: 0x100, link: 0, info: 0, entry: 0)
        section(
            2, name: 7, type: 2, flags: 0, address: 0, at: places.symtab, count: table.bytes.count, link: 3, info: 1,
            entry: isWide ? 24 : 16)
        section(
            3, name: 15, type: 3, flags: 0, address: 0, at: places.strtab, count: strings.count, link: 0, info: 0,
            entry: 0)
        section(
            4, name: 23, type: 3, flags: 0, address: 0, at: shstrtab, count: sectionNames.count, link: 0, info: 0,
            entry: 0)
        section(
            5, name: 33, type: 7, flags: 2, address: 0, at: places.note, count: note.bytes.count, link: 0, info: 0,
            entry: 0)
        return out.bytes
    }
}
