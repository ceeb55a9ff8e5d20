// A loaded module in the process's memory: its segments and dynamic symbols. They are read from memory, because the
// file may have been replaced. Every read is bounded, because the program may have damaged its memory.

/// A loaded ELF file.
struct LoadedModule {
    let path: String
    let bias: UInt64
    /// The writable parts with .bss, to the byte.
    let variables: [Range<UInt64>]
    /// The same, rounded to whole pages.
    var data: [Range<UInt64>] {
        variables.map { span($0.lowerBound & ~4095, ($0.upperBound &+ 4095) & ~4095) }
    }
    /// Bytes of a thread's own copy of its variables; 0: it has none.
    let threadLocalBytes: UInt64
    private let symbolTable: UInt64
    private let stringTable: UInt64

    /// The module whose file is mapped from its start at `base`; nil if there is no ELF header.
    init?(path: String, base: UInt64, memory: any ProcessMemory) {
        guard let header = memory.words(base, count: 8), header[0] & 0xFF_FFFF_FFFF == 0x02_464C_457F else {
            return nil
        }
        // e_phoff, e_phentsize and e_phnum.
        let offset = header[4], count = Int(header[7] & 0xFFFF)
        guard count > 0, count <= 256, offset < 1 << 20, let raw = memory.words(base &+ offset, count: count * 7) else {
            return nil
        }
        var low = UInt64.max, writable: [(UInt64, UInt64)] = [], dynamic: UInt64?, local: UInt64 = 0
        for index in 0 ..< count {
            let entry = Array(raw[index * 7 ..< index * 7 + 7])
            let (type, flags, address, bytes) = (entry[0] & 0xFFFF_FFFF, entry[0] >> 32, entry[2], entry[5])
            if type == 1 {
                low = min(low, address & ~4095)
                if flags & 2 != 0 { writable.append((address, bytes)) }
            }
            if type == 2 { dynamic = address }
            if type == 7, bytes <= 1 << 24 { local = bytes }
        }
        guard low != .max else { return nil }
        self.path = path
        threadLocalBytes = local
        bias = base &- low
        let start = bias
        variables = writable.compactMap { address, bytes in
            let from = start &+ address, (end, overflow) = from.addingReportingOverflow(bytes)
            return overflow || bytes > 1 << 40 ? nil : from ..< end
        }
        var (symbols, strings): (UInt64, UInt64) = (0, 0)
        if let dynamic, let entries = Self.words(bias &+ dynamic, atMost: 512, memory) {
            for index in stride(from: 0, to: entries.count - 1, by: 2) {
                if entries[index] == 0 { break }
                // glibc writes absolute addresses here; other loaders keep the file's.
                let value = entries[index + 1] < bias ? entries[index + 1] &+ bias : entries[index + 1]
                if entries[index] == 6 { symbols = value }
                if entries[index] == 5 { strings = value }
            }
        }
        (symbolTable, stringTable) = (symbols, strings)
    }

    private static func words(_ address: UInt64, atMost count: Int, _ memory: any ProcessMemory) -> [UInt64]? {
        // The table may end near the end of its mapping.
        for size in [count, count / 4, count / 16] {
            if let words = memory.words(address, count: size) { return words }
        }
        return nil
    }

    /// The addresses of the wanted dynamic symbols, by name.
    ///
    /// - Complexity: O(symbols). The symbol table is assumed to end where the strings begin; all linkers place it so.
    func symbols(_ wanted: Set<String>, memory: any ProcessMemory) -> [String: UInt64] {
        guard symbolTable > 0, stringTable > symbolTable, stringTable - symbolTable < 16 << 20,
            let table = memory.words(symbolTable, count: Int(stringTable - symbolTable) / 24 * 3)
        else { return [:] }
        var strings = [UInt8]()
        for size in [1 << 20, 1 << 17, 1 << 14] where strings.isEmpty {
            strings = memory.bytes(stringTable, count: size) ?? []
        }
        let firsts = Set(wanted.compactMap(\.utf8.first))
        var found: [String: UInt64] = [:]
        for index in stride(from: 0, to: table.count - 2, by: 3) where table[index + 1] != 0 {
            let name = Int(table[index] & 0xFFFF_FFFF)
            guard name < strings.count else { continue }
            let text = strings[name...].prefix(80).prefix { $0 != 0 }
            // The cheap test first.
            guard let first = text.first, firsts.contains(first) else { continue }
            let symbol = String(decoding: text, as: UTF8.self)
            if wanted.contains(symbol) { found[symbol] = bias &+ table[index + 1] }
        }
        return found
    }
}

extension Snapshot {
    /// The modules whose file's base name is wanted.
    func modules(_ isWanted: (String) -> Bool) -> [LoadedModule] {
        var seen: Set<String> = []
        return mappings.compactMap { mapping in
            guard mapping.isFile, mapping.fileOffset == 0, isWanted(mapping.baseName),
                seen.insert(mapping.path).inserted
            else { return nil }
            return LoadedModule(path: mapping.path, base: mapping.range.lowerBound, memory: memory)
        }
    }
}
