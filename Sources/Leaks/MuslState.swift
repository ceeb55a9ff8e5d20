// The parts of musl's state that matter for holders: its library, and its threads' memory. A thread's descriptor says
// where that is; each number in it is checked, because the program may have damaged it.

/// A thread of musl.
struct MuslThread {
    /// The thread's mapping without its guard pages: the stack, above it thread-local storage and the descriptor. nil
    /// for the first thread, whose stack is the kernel's.
    private(set) var memory: Range<UInt64>?
    /// Thread-local storage outside of that.
    private(set) var storage: [Range<UInt64>] = []

    /// Bytes of the descriptor (struct pthread), and a little more.
    private static let descriptorBytes: UInt64 = 256

    /// Whether a file's name is that of musl's libc, which is its loader, too. (A libc.so of glibc is a text for the
    /// linker, and never mapped.)
    static func isLibc(_ baseName: String) -> Bool {
        baseName == "libc.so" || baseName.hasPrefix("ld-musl-") || baseName.hasPrefix("libc.musl-")
    }

    /// Reads the descriptor, to which the thread pointer points. nil if there is none.
    ///
    /// - Parameter mostBytes: of a module's thread-local storage.
    init?(_ thread: ThreadState, _ snapshot: Snapshot, mostBytes: UInt64) {
        let descriptor = thread.threadPointer
        // The descriptor's own address, then that of the vector of modules' storage, and its count.
        guard let own = snapshot.mapping(at: descriptor),
            let words = snapshot.memory.words(descriptor, count: 14), words[0] == descriptor,
            let count = snapshot.memory.word(words[1]), count < 1 << 16,
            let vector = snapshot.memory.words(words[1], count: Int(count) + 1)
        else { return nil }
        // From the tenth word on: the mapping and its bytes, the stack's end and its bytes, the guard's bytes.
        let start = words[9] &+ words[13], (end, overflow) = words[9].addingReportingOverflow(words[10])
        if !overflow, words[9] & 4095 == 0, end & 4095 == 0, words[9] <= start, own.range.lowerBound <= start,
            start < thread.stackPointer, thread.stackPointer < words[11], words[11] <= descriptor, descriptor < end,
            end <= own.range.upperBound
        {
            memory = start ..< end
        }
        let first = ([words[1]] + vector.dropFirst()).filter { own.range.lowerBound <= $0 && $0 < descriptor }
        let isFirstThread = memory == nil
        if isFirstThread, let low = first.filter({ descriptor - $0 <= 1 << 24 }).min() {
            storage.append(low ..< min(descriptor &+ Self.descriptorBytes, own.range.upperBound))
        }
        // Of modules that were loaded later. Which module's a piece is, is not known.
        for piece in vector.dropFirst() where !storage.contains(where: { $0.contains(piece) }) {
            guard let mapping = snapshot.mapping(at: piece), memory.map({ !$0.contains(piece) }) ?? true else {
                continue
            }
            storage.append(piece ..< min(piece &+ mostBytes, mapping.range.upperBound))
        }
    }
}

extension Snapshot {
    /// Whether the program's C library is musl. A static program has no library that would say so.
    var isMusl: Bool {
        if isGlibc { return false }
        let files = mappings.filter(\.isFile).map(\.baseName)
        return files.contains(where: MuslThread.isLibc)
            || !files.contains { GlibcState.isLibc($0) || $0.hasPrefix("ld-linux") }
    }
}
