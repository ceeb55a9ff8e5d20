// The letter that nm prints for a symbol's type. It tells the kind of the symbol's section, in upper case if the symbol
// is exported. Weak, unique and indirect symbols have their own letters. nm(1) lists the letters; the kinds of sections
// were found by comparison with nm's output.

extension ELFSymbol {
    /// nm's letter, or nil for symbols that nm leaves out (sections, files, undefined symbols).
    ///
    /// - Parameter names: the names of the file's sections.
    func typeLetter(in file: ELFFile, sectionNames names: [String]) -> UInt8? {
        guard kind != Kind.section, kind != Kind.file else { return nil }
        guard isReserved || section != ELF.SHN_UNDEF, !(isReserved && section == ELF.SHN_COMMON) else { return nil }
        if kind == Kind.indirectFunction { return UInt8(ascii: "i") }
        if binding == Binding.weak {
            return kind == Kind.object || kind == Kind.common ? UInt8(ascii: "V") : UInt8(ascii: "W")
        }
        if binding == Binding.unique { return UInt8(ascii: "u") }
        guard binding == Binding.local || binding == Binding.global else { return UInt8(ascii: "?") }
        let letter = isReserved ? UInt8(ascii: "a") : file.sections[Int(section)].typeLetter(named: names[Int(section)])
        let isLetter = letter != UInt8(ascii: "?")
        return binding == Binding.global && isLetter ? letter - 32 : letter
    }
}

extension ELFSection {
    fileprivate func typeLetter(named name: String) -> UInt8 {
        // Symbols in the file's own tables count as absolute for nm.
        switch type {
        case ELF.SHT_NULL, ELF.SHT_SYMTAB, ELF.SHT_STRTAB, ELF.SHT_SYMTAB_SHNDX: return UInt8(ascii: "a")
        default: break
        }
        let isAllocated = flags & ELF.SHF_ALLOC != 0, isWritable = flags & ELF.SHF_WRITE != 0
        if isCode { return UInt8(ascii: "t") }
        if type == ELF.SHT_NOBITS { return UInt8(ascii: "b") }
        if isAllocated { return isWritable ? UInt8(ascii: "d") : UInt8(ascii: "r") }
        let debugging = [
            ".debug", ".zdebug", ".line", ".stab", ".gdb_index", ".gnu.debuglto_.debug_", ".gnu.linkonce.wi.",
        ]
        if debugging.contains(where: { name.hasPrefix($0) }) { return UInt8(ascii: "N") }
        return isWritable ? UInt8(ascii: "?") : UInt8(ascii: "n")
    }
}
