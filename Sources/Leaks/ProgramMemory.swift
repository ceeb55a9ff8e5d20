// Words of a running process's memory, as the walk over malloc's chunks reads them: mostly two words of one header, or
// many headers that follow each other closely. So a piece of a page is read at once and kept. Only pages that hold a
// header are read: the program wrote them, so reading makes none present. One of the files with raw pointers.

/// Reads a process's words through a small window. The process runs on: two readings are of two moments.
package struct ProgramMemory {
    private let memory: any ProcessMemory
    private var window: [UInt64] = []
    private var start: UInt64 = 0
    private var last: UInt64 = 0
    package private(set) var readings = 0

    package init(_ memory: any ProcessMemory) { self.memory = memory }

    /// The word at a multiple of 8; nil if it can't be read.
    package mutating func word(_ address: UInt64) -> UInt64? {
        guard address & 7 == 0 else { return nil }
        if address >= start, address - start < UInt64(window.count) * 8 { return window[Int((address - start) / 8)] }
        // Close to the last one: the next ones will be, too. No reading goes beyond the page.
        let isNear = address > last && address - last < 1024
        last = address
        let room = 4096 - address & 4095
        let wanted = Int(min(room, isNear ? 4096 : 32)) / 8
        readings += 1
        window = memory.words(address, count: wanted) ?? []
        start = address
        return window.first
    }
}
