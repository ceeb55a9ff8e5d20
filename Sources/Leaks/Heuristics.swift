// Pointers into a block's inside that keep it as one to its start would: Valgrind's four heuristics, which explain what
// C++ compilers and libraries make of blocks. Each looks at the block's own bytes.

extension Scan {
    /// Whether a pointer into a block's inside stands for one to its start.
    func isExplained(_ value: UInt64, in block: Int) -> Bool {
        let start = table.start(block), bytes = table.bytes(block)
        guard value > start, value &- start < bytes, value & 7 == 0,
            let head = snapshot.memory.words(start, count: min(3, Int(clamping: bytes / 8)))
        else { return false }
        let offset = value &- start
        // std::string of the old ABI: length, capacity, reference count, and then the text that everybody points to.
        if offset == 24, head.count == 3, head[0] <= head[1], bytes >= 25, head[1] == bytes &- 25 { return true }
        if offset == 8, let first = head.first {
            // sqlite's and others': the size of the rest, and then the rest.
            if first == bytes &- 8 { return true }
            // new T[n] of a class with a destructor: n, and then the objects.
            if first > 0, bytes > 8, first <= bytes, (bytes &- 8) % first == 0 { return true }
        }
        // The second base of a class: both parts begin with a pointer to a table of functions.
        if let first = head.first, isTableOfFunctions(first), let second = snapshot.memory.word(value),
            isTableOfFunctions(second)
        {
            return true
        }
        return false
    }

    // In a module's constant data, and its first entry leads into code.
    private func isTableOfFunctions(_ address: UInt64) -> Bool {
        guard address & 7 == 0, address > 4096, let mapping = snapshot.mapping(at: address), mapping.isFile,
            !mapping.isExecutable, !mapping.isShared,
            let function = snapshot.memory.word(address), let code = snapshot.mapping(at: function)
        else { return false }
        return code.isExecutable && code.isFile
    }
}
