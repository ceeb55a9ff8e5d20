// Interior pointers that count like a pointer to the block's start: Valgrind's four heuristics, which know the block
// layouts of C++ compilers and libraries. Each checks the block's own bytes.

extension Scan {
    /// Whether an interior pointer counts like a pointer to the block's start.
    func isExplained(_ value: UInt64, in block: Int) -> Bool {
        let start = table.start(block), bytes = table.bytes(block)
        guard value > start, value &- start < max(bytes, 9), value & 7 == 0,
            let head = snapshot.memory.words(start, count: min(3, Int(clamping: bytes / 8)))
        else { return false }
        let offset = value &- start
        // std::string of the old ABI: length, capacity, reference count, then the text, to which all pointers point.
        if offset == 24, head.count == 3, head[0] <= head[1], bytes >= 25, head[1] == bytes &- 25 { return true }
        if offset == 8, let first = head.first {
            // Of sqlite and others: the size of the rest, then the rest. An array of no objects of a class with a
            // destructor is the same: a count of 0, and its address is that of the block's end.
            if first == bytes &- 8 { return true }
            // new T[n] of a class with a destructor: n, then the objects.
            if first > 0, bytes > 8, first <= bytes, (bytes &- 8) % first == 0 { return true }
        }
        // A pointer to a class's second base: both bases begin with a pointer to a vtable.
        if let first = head.first, isTableOfFunctions(first), let second = snapshot.memory.word(value),
            isTableOfFunctions(second)
        {
            return true
        }
        return false
    }

    // A vtable lies in a module's constant data, and its first entry points to code.
    private func isTableOfFunctions(_ address: UInt64) -> Bool {
        guard address & 7 == 0, address > 4096, let mapping = snapshot.mapping(at: address), mapping.isFile,
            !mapping.isExecutable, !mapping.isShared,
            let function = snapshot.memory.word(address), let code = snapshot.mapping(at: function)
        else { return false }
        return code.isExecutable && code.isFile
    }
}
