// The parts of glibc's state that matter for holders: its threads and the stacks that it keeps for new ones, found by
// the symbols for debuggers (libthread_db); and its main arena, which a stripped library does not name, and which is
// found by its structure.

/// glibc's state in a process.
struct GlibcState {
    /// Thread descriptors (struct pthread) on stacks in use, and on stacks that are kept for new threads.
    var threads: [UInt64] = []
    var cached: [UInt64] = []
    var descriptorBytes: UInt64 = 0
    var threadIDOffset: UInt64 = 0
    /// The main arena. It points to chunks, but holds no block alive.
    var mainArena: Range<UInt64>?
    /// The main arena's top chunk, the last of its heap.
    var top: UInt64?

    private static let names: Set<String> = [
        "_thread_db_rtld_global__dl_stack_used", "_thread_db_rtld_global__dl_stack_user", "__nptl_rtld_global",
        "_thread_db_pthread_list",
        "_thread_db_pthread_tid", "_thread_db_sizeof_pthread",
    ]

    /// Whether a file's name is that of glibc's libc.
    static func isLibc(_ baseName: String) -> Bool { baseName == "libc.so.6" || baseName.hasPrefix("libc-2.") }

    init(_ snapshot: Snapshot) {
        guard let libc = snapshot.modules(Self.isLibc).first else {
            self.init()
            return
        }
        self.init(libc, snapshot.memory)
    }

    private init() {}

    init(_ libc: LoadedModule, _ memory: any ProcessMemory) {
        for range in libc.data where mainArena == nil { mainArena = Self.findArena(range, memory) }
        // After the lock, the flags and ten fast bins.
        top = mainArena.flatMap { memory.word($0.lowerBound &+ 96) }
        let found = libc.symbols(Self.names, memory: memory)
        // A descriptor for debuggers: size in bits, count, offset; 32 bits each.
        func offset(_ name: String) -> UInt64? {
            found[name].flatMap { memory.bytes($0 &+ 8, count: 4) }.map {
                UInt64($0[0]) | UInt64($0[1]) << 8 | UInt64($0[2]) << 16
            }
        }
        guard let used = offset("_thread_db_rtld_global__dl_stack_used"),
            let user = offset("_thread_db_rtld_global__dl_stack_user"),
            let list = offset("_thread_db_pthread_list"), let threadID = offset("_thread_db_pthread_tid"),
            let size = found["_thread_db_sizeof_pthread"].flatMap({ memory.bytes($0, count: 4) }),
            let pointer = found["__nptl_rtld_global"],
            let global = memory.word(pointer)
        else { return }
        descriptorBytes = UInt64(size[0]) | UInt64(size[1]) << 8
        threadIDOffset = threadID
        threads = Self.walk(global &+ used, list, memory) + Self.walk(global &+ user, list, memory)
        // The third list should follow the second; `walk` checks that a list is there.
        cached = Self.walk(global &+ user &+ 16, list, memory)
    }

    /// The descriptors on a list whose head is in the loader's data; none if the list is not circular.
    private static func walk(_ head: UInt64, _ offset: UInt64, _ memory: any ProcessMemory) -> [UInt64] {
        var result: [UInt64] = []
        guard var next = memory.word(head) else { return [] }
        var previous = head
        while next != head {
            guard result.count < 1 << 17, let links = memory.words(next, count: 2), links[1] == previous else {
                return []
            }
            result.append(next &- offset)
            (previous, next) = (next, links[0])
        }
        return result
    }

    /// Finds the arena by its 127 consecutive bins of two words each. An empty bin's words point 16 bytes before the
    /// bin.
    static func findArena(_ range: Range<UInt64>, _ memory: any ProcessMemory) -> Range<UInt64>? {
        guard range.count < 1 << 22, let words = memory.words(range.lowerBound, count: range.count / 8) else {
            return nil
        }
        func isEmptyBin(_ index: Int) -> Bool {
            let own = range.lowerBound &+ UInt64(index) * 8 &- 16
            return words[index] == own && words[index + 1] == own
        }
        func isBin(_ index: Int) -> Bool {
            guard index >= 0, index + 1 < words.count else { return false }
            if isEmptyBin(index) { return true }
            // A bin in use: its first chunk points back to the bin.
            guard words[index] > 1 << 16, words[index] & 15 == 0 else { return false }
            return memory.word(words[index] &+ 24) == range.lowerBound &+ UInt64(index) * 8 &- 16
        }
        var index = 2
        while index + 1 < words.count {
            guard isEmptyBin(index) else {
                index += 1
                continue
            }
            var (first, last) = (index, index)
            while isBin(first - 2) { first -= 2 }
            while isBin(last + 2) { last += 2 }
            if (last - first) / 2 + 1 >= 100 {
                // Before the bins: lock, flags, ten fast bins, top and last remainder. After them: a bitmap and five
                // words.
                let bins = range.lowerBound &+ UInt64(first) * 8
                return bins &- 112 ..< bins &+ 254 * 8 &+ 16 &+ 40
            }
            index = last + 2
        }
        return nil
    }
}
