// The roots: the memory from which a program can reach its blocks. These are registers, stacks, data, thread-local
// storage, its own mappings, and pointers that it has given to the kernel. Some memory holds addresses but is no root:
// the data of the allocator and of the recorder, stacks below their stack pointer, and stacks of ended threads.

import CLeaks
import HeapImage

/// A kind of root.
package enum RootKind: String, Sendable {
    case data, stack, register, thread, mapping, shared, kernel, loader, program
}

/// One root: a range of memory, or single words.
package struct Root {
    package var kind: RootKind
    /// The name to show: a module's path, a thread's number, a mapping's address.
    package var name: String
    /// Empty for words that are not in memory.
    package var range: Range<UInt64>
    /// It may be the allocator's memory or the program's: blocks to which only it points are possibly lost.
    package var isWeak = false
    package var threadID: pid_t?
    /// A shared mapping: all its pages count, because any process may have written them.
    package var isShared = false
    /// A heap of glibc's: its known blocks are no roots, but the memory between them is: it may be unknown blocks.
    var isHeap = false
}

/// A word that is not in memory, with its root.
struct RootWord {
    var value: UInt64
    var root: Int
    var place: String
}

/// All roots of a snapshot.
struct Roots {
    var roots: [Root] = []
    var words: [RootWord] = []
    /// Pointers that keep a block reachable wherever in the block they point.
    var starts: [RootWord] = []

    init(_ snapshot: Snapshot) {
        let glibc = GlibcState(snapshot)
        var excluded = snapshot.scratch
        if snapshot.isGlibc {
            if let arena = glibc.mainArena { excluded.append(arena) }
            let heaps = AllocatorSpans(snapshot, top: glibc.top).ranges
            excluded += heaps + snapshot.walkedHeaps
            if snapshot.hasUnbooked { addHeaps(heaps, snapshot) }
        }
        let ownAllocator = snapshot.allocator.split(separator: "/").last.map(String.init) ?? ""
        // musl's malloc has pointers to its groups of blocks, and none to a block: its library stays a root for what
        // else it holds.
        let isOwnLibrary = !snapshot.isGlibc && ownAllocator.contains(".so") && !MuslThread.isLibc(ownAllocator)
        for module in snapshot.modules({ $0.hasPrefix("libheapsum") || (isOwnLibrary && $0 == ownAllocator) }) {
            excluded += module.data
        }

        let hints = Hints(snapshot)
        excluded += hints.memory
        addThreads(snapshot, glibc, &excluded)
        let variables = variableRanges(snapshot)
        excluded += blockRanges(snapshot).flatMap { subtract(variables, from: $0) }
        let holes = merged(excluded)
        // The end of a module's data (.bss) is anonymous memory for the kernel.
        let data = merged(snapshot.dataModules().map(\.range))
        for mapping in snapshot.mappings {
            if mapping.isKernels || snapshot.imageInodes.contains(mapping.inode) && mapping.isShared { continue }
            if snapshot.isGlibc && mapping.path == "[heap]" { continue }
            let isForeign = !snapshot.isGlibc && holdsBlocks(mapping, snapshot)
            let rests = subtract(holes, from: mapping.range)
            let parts = isForeign ? rests.flatMap { split($0, at: variables) } : rests.map { ($0, false) }
            for (range, isOfVariables) in parts {
                let isData = !mapping.isShared && subtract(data, from: range).isEmpty
                roots.append(
                    Root(
                        kind: isData ? .data : kind(of: mapping), name: mapping.path, range: range,
                        isWeak: isForeign && !isOfVariables, isShared: mapping.isShared))
            }
        }
        addKernelWords(snapshot)
        addHints(hints, snapshot)
    }

    private func kind(of mapping: AddressMapping) -> RootKind {
        if mapping.isShared { return .shared }
        if mapping.path == "[stack]" { return .stack }
        return mapping.isFile ? .data : .mapping
    }

    // MARK: Threads

    private mutating func addThreads(_ snapshot: Snapshot, _ glibc: GlibcState, _ excluded: inout [Range<UInt64>]) {
        let living = Set(snapshot.threads.map(\.threadID))
        let descriptors =
            (snapshot.threads.map { glibc.descriptor(of: $0.threadPointer) } + glibc.threads + glibc.cached).sorted()
        // A stack begins where its mapping does, or after another thread's descriptor if no guard page lies between
        // them.
        func bottom(_ mapping: AddressMapping, below address: UInt64) -> UInt64 {
            var (low, high) = (0, descriptors.count)
            while low < high {
                let middle = (low + high) / 2
                if descriptors[middle] < address { low = middle + 1 } else { high = middle }
            }
            guard low > 0, mapping.range.contains(descriptors[low - 1]) else { return mapping.range.lowerBound }
            // The other thread's variables lie between, and nothing says where they end: all of that memory counts.
            if ThreadLayout.isStorageAbove { return address }
            return min(address, descriptors[low - 1] &+ max(glibc.descriptorBytes, 2560))
        }
        let isMusl = snapshot.isMusl
        let mostBytes = isMusl ? snapshot.modules { _ in true }.map(\.threadLocalBytes).max() ?? 0 : 0
        for thread in snapshot.threads {
            let registers = add(
                Root(kind: .register, name: "\(thread.threadID)", range: 0 ..< 0, threadID: thread.threadID))
            for (number, value) in thread.registers.enumerated() where value != 0 && !thread.hasDeadFrames {
                words.append(
                    RootWord(value: value, root: registers, place: String(cString: leaks_register_name(number))))
            }
            for value in thread.vectors where !thread.hasDeadFrames && !Self.isInCallOfLibc(thread, snapshot) {
                words.append(RootWord(value: value, root: registers, place: "a vector register"))
            }
            let musls = isMusl ? MuslThread(thread, snapshot, mostBytes: mostBytes) : nil
            for range in musls?.storage ?? [] {
                for part in outsideOfBlocks(range, snapshot) { addData(of: thread, part) }
            }
            if !isMusl { addVectorOfTLS(at: thread.threadPointer, snapshot, name: "\(thread.threadID)") }
            guard !thread.registers.isEmpty else { continue }
            guard let mapping = snapshot.mapping(at: thread.stackPointer) else { continue }
            let descriptor = glibc.descriptor(of: thread.threadPointer)
            let isOwn =
                mapping.path == "[stack]" || mapping.range.contains(descriptor) && descriptor > thread.stackPointer
            // A leaf function may use some bytes below its stack pointer, but not while it is in a system call.
            var low =
                thread.isInSystemCall ? thread.stackPointer : thread.stackPointer &- ThreadLayout.redZoneBytes
            if thread.hasDeadFrames {
                // Above all frames lie the program's arguments and environment, or the thread's control block.
                let base = mapping.path == "[stack]" ? stackEnd(snapshot) : descriptor
                if let base, base >= low, mapping.range.contains(base) { low = base }
            }
            if isOwn, mapping.range.contains(low) {
                let own = musls?.memory
                excluded.append(span(own?.lowerBound ?? bottom(mapping, below: low & ~7), low & ~7))
                // Up to the thread's control block, or the mapping's end.
                let end =
                    mapping.range.contains(descriptor) && descriptor > low ? descriptor : mapping.range.upperBound
                excluded.append(span(low & ~7, end))
                roots.append(
                    Root(
                        kind: .stack, name: "\(thread.threadID)", range: span(low & ~7, end), threadID: thread.threadID)
                )
                // The kernel joins this mapping with one of malloc's beside it.
                if let own {
                    excluded.append(span(end, own.upperBound))
                    addData(of: thread, span(end, own.upperBound))
                }
            } else if let block = snapshot.blocks.block(at: thread.stackPointer) {
                // The stack is a block (of a coroutine): its part in use is a root, whatever holds the block.
                roots.append(
                    Root(
                        kind: .stack, name: "\(thread.threadID)", range: span(low & ~7, snapshot.blocks.end(block)),
                        threadID: thread.threadID))
                starts.append(
                    RootWord(value: snapshot.blocks.start(block), root: registers, place: ThreadLayout.stackPointerName)
                )
            }
        }
        guard glibc.descriptorBytes > 0 else { return }
        for descriptor in glibc.threads {
            let threadID =
                snapshot.memory.word(descriptor &+ glibc.threadIDOffset).map {
                    pid_t(truncatingIfNeeded: $0 & 0xFFFF_FFFF)
                } ?? 0
            if living.contains(threadID) { continue }
            addVectorOfTLS(at: glibc.threadPointer(of: descriptor), snapshot, name: "an ended thread")
            // It has ended but is not joined yet: only its result on the stack matters.
            let end = descriptor &+ glibc.descriptorBytes
            if let mapping = snapshot.mapping(at: descriptor), descriptor < end {
                excluded.append(span(bottom(mapping, below: descriptor), min(end, mapping.range.upperBound)))
            }
            roots.append(Root(kind: .thread, name: "an ended thread, not joined", range: span(descriptor, end)))
        }
        for descriptor in glibc.cached {
            addVectorOfTLS(at: glibc.threadPointer(of: descriptor), snapshot, name: "a stack kept for a new thread")
            if let mapping = snapshot.mapping(at: descriptor) {
                excluded.append(
                    span(
                        bottom(mapping, below: descriptor),
                        min(descriptor &+ glibc.descriptorBytes, mapping.range.upperBound)))
            }
        }
    }

    /// Whether a thread is in a system call that a function of libc made. Functions keep no vector register for their
    /// callers, and libc's system calls have nothing in one: what is there is left over.
    private static func isInCallOfLibc(_ thread: ThreadState, _ snapshot: Snapshot) -> Bool {
        let number = ThreadLayout.instructionPointer
        guard thread.isInSystemCall, thread.registers.count > number,
            let code = snapshot.mapping(at: thread.registers[number]), code.isFile
        else { return false }
        return GlibcState.isLibc(code.baseName) || MuslThread.isLibc(code.baseName)
    }

    /// Where the main thread's first frame began; the dynamic loader stores it.
    private func stackEnd(_ snapshot: Snapshot) -> UInt64? {
        guard let loader = snapshot.modules({ $0.hasPrefix("ld-linux") || $0.hasPrefix("ld-2.") }).first,
            let place = loader.symbols(["__libc_stack_end"], memory: snapshot.memory)["__libc_stack_end"]
        else { return nil }
        return snapshot.memory.word(place)
    }

    private mutating func addData(of thread: ThreadState, _ range: Range<UInt64>) {
        roots.append(
            Root(kind: .thread, name: "thread \(thread.threadID)", range: range, threadID: thread.threadID))
    }

    private func outsideOfBlocks(_ range: Range<UInt64>, _ snapshot: Snapshot) -> [Range<UInt64>] {
        let table = snapshot.blocks
        var number = table.firstBlock(from: range.lowerBound), blocks: [Range<UInt64>] = []
        if let first = table.block(at: range.lowerBound) { blocks.append(table.start(first) ..< table.end(first)) }
        while number < table.count, table.start(number) < range.upperBound {
            blocks.append(table.start(number) ..< table.end(number))
            number += 1
        }
        return subtract(merged(blocks), from: range)
    }

    /// Adds a thread's vector of TLS blocks (dtv). The thread points to its second entry.
    private mutating func addVectorOfTLS(at threadPointer: UInt64, _ snapshot: Snapshot, name: String) {
        guard threadPointer != 0, let vector = snapshot.memory.word(threadPointer &+ ThreadLayout.vectorOffset),
            vector > 16
        else { return }
        let root = add(Root(kind: .thread, name: name, range: 0 ..< 0))
        starts.append(RootWord(value: vector &- 16, root: root, place: "the vector of thread-local storage"))
    }

    // MARK: The rest

    private mutating func addKernelWords(_ snapshot: Snapshot) {
        let root = add(Root(kind: .kernel, name: "", range: 0 ..< 0))
        for word in snapshot.kernelWords { words.append(RootWord(value: word.value, root: root, place: word.place)) }
    }

    /// Blocks that are not in the image lie somewhere in the heaps, together with freed memory: that memory is a weak
    /// root, unless a walk has found all blocks there.
    private mutating func addHeaps(_ heaps: [Range<UInt64>], _ snapshot: Snapshot) {
        let all = heaps + snapshot.mappings.filter { $0.path == "[heap]" }.map(\.range)
        for range in merged(all).flatMap({ subtract(snapshot.walkedHeaps, from: $0) }) {
            roots.append(
                Root(
                    kind: .program, name: "heap memory that is not in the image", range: range, isWeak: true,
                    isHeap: true))
        }
    }

    private mutating func addHints(_ hints: Hints, _ snapshot: Snapshot) {
        let root = add(Root(kind: .program, name: "", range: 0 ..< 0))
        for block in hints.ignored {
            words.append(RootWord(value: block, root: root, place: "blocks that the program says are no leaks"))
        }
        for range in merged(hints.roots) {
            // Unmapped parts can't be read, and hold nothing.
            for mapping in snapshot.mappings
            where mapping.range.overlaps(range) && !mapping.isKernels
                && !snapshot.imageInodes.contains(mapping.inode)
            {
                roots.append(
                    Root(
                        kind: .program, name: "memory that the program named a root",
                        range: mapping.range.clamped(to: range), isShared: mapping.isShared))
            }
        }
        if hints.lost > 0 {
            snapshot.notes.append(
                "\(hints.lost) of the program's hints (blocks to ignore, memory to search) were lost: no room was left")
        }
    }

    private mutating func add(_ root: Root) -> Int {
        roots.append(root)
        return roots.count - 1
    }

    /// The ranges of blocks, which are no roots wherever they lie. Blocks outside glibc's own spans lie in mappings
    /// that are searched. Memory between blocks that are close together belongs to the allocator.
    private func blockRanges(_ snapshot: Snapshot) -> [Range<UInt64>] {
        let table = snapshot.blocks
        // glibc's least chunk takes 32 bytes, and 8 before each block: a gap of 32 bytes is padding and a header.
        let slack: UInt64 = snapshot.isGlibc ? 32 : 1 << 16
        var ranges: [Range<UInt64>] = []
        for number in 0 ..< table.count {
            let (start, end) = (table.start(number), table.end(number))
            if let last = ranges.last, start <= last.upperBound &+ slack {
                ranges[ranges.count - 1] = last.lowerBound ..< max(last.upperBound, end)
            } else {
                ranges.append(start ..< end)
            }
        }
        return ranges
    }

    /// The variables of modules. No block lies among them, but perhaps beside them on the same page: musl gives malloc
    /// the rest of these pages. If one does lie among them (of an allocator with memory of its own there), a module's
    /// variables are left out.
    private func variableRanges(_ snapshot: Snapshot) -> [Range<UInt64>] {
        merged(
            snapshot.modules { _ in true }.flatMap(\.variables).filter { range in
                let first = snapshot.blocks.firstBlock(from: range.lowerBound)
                return first >= snapshot.blocks.count || snapshot.blocks.start(first) >= range.upperBound
            })
    }

    private func holdsBlocks(_ mapping: AddressMapping, _ snapshot: Snapshot) -> Bool {
        let first = snapshot.blocks.firstBlock(from: mapping.range.lowerBound)
        return first < snapshot.blocks.count && snapshot.blocks.start(first) < mapping.range.upperBound
    }
}

extension Snapshot {
    /// The mapping that holds an address.
    func mapping(at address: UInt64) -> AddressMapping? {
        var (low, high) = (0, mappings.count)
        while low < high {
            let middle = (low + high) / 2
            if mappings[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low < mappings.count && mappings[low].range.contains(address) ? mappings[low] : nil
    }
}

/// The addresses from `start` to `end`; empty if a damaged file gives an end before the start.
func span(_ start: UInt64, _ end: UInt64) -> Range<UInt64> { start <= end ? start ..< end : start ..< start }

/// The whole words of a range.
func wholeWords(_ range: Range<UInt64>) -> Range<UInt64> { span((range.lowerBound &+ 7) & ~7, range.upperBound & ~7) }

/// The ranges sorted, with touching and overlapping ones joined.
func merged(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
    var result: [Range<UInt64>] = []
    for range in ranges.filter({ !$0.isEmpty }).sorted(by: { $0.lowerBound < $1.lowerBound }) {
        if let last = result.last, range.lowerBound <= last.upperBound {
            result[result.count - 1] = last.lowerBound ..< max(last.upperBound, range.upperBound)
        } else {
            result.append(range)
        }
    }
    return result
}

/// A range in order, split at the bounds of other ranges, which are sorted; and whether a part lies in one of them.
private func split(_ range: Range<UInt64>, at ranges: [Range<UInt64>]) -> [(Range<UInt64>, Bool)] {
    let inside = ranges.map { $0.clamped(to: range) }.filter { !$0.isEmpty }
    return subtract(ranges, from: range).map { ($0, false) } + inside.map { ($0, true) }
}

/// The parts of a range that remain without the holes, which are sorted.
func subtract(_ holes: [Range<UInt64>], from range: Range<UInt64>) -> [Range<UInt64>] {
    var (low, high) = (0, holes.count)
    while low < high {
        let middle = (low + high) / 2
        if holes[middle].upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
    }
    var result: [Range<UInt64>] = [], start = range.lowerBound
    while low < holes.count, holes[low].lowerBound < range.upperBound {
        if holes[low].lowerBound > start { result.append(start ..< holes[low].lowerBound) }
        start = max(start, holes[low].upperBound)
        low += 1
    }
    if start < range.upperBound { result.append(start ..< range.upperBound) }
    return result
}
