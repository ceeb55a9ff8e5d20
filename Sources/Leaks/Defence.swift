// The defence of blocks that seem lost: finds pointers to them that are not plain aligned words. It searches roots and
// reachable blocks for pointers at addresses that are not multiples of 8 (packed structures), with tag bits in their
// upper 16 bits, and mangled as glibc does for setjmp and atexit. One of the files with raw pointers.

import HeapImage

/// Disguised pointers.
struct Defence {
    let scan: Scan
    let states: UnsafeMutablePointer<UInt8>

    /// The seemingly lost blocks that a disguised pointer leads to.
    ///
    /// - Complexity: O(bytes of roots and reachable blocks); O(1) if no block seems lost.
    func savedBlocks() -> [UInt32] {
        let table = scan.table
        var low = UInt64.max, high: UInt64 = 0
        for block in 0 ..< table.count where states[block] >= Verdict.definite.rawValue {
            low = min(low, table.start(block))
            high = max(high, table.end(block))
        }
        guard low < high else { return [] }
        let guardValue = ThreadLayout.pointerGuard(scan.snapshot)
        var saved: Set<UInt32> = []
        let span = high - low
        func consider(_ value: UInt64) {
            guard table.mayPoint(value), let hit = table.hit(value), states[Int(hit.block)] >= Verdict.definite.rawValue
            else { return }
            saved.insert(hit.block)
        }
        // Without a guard, no mangled pointer is looked for.
        let key = guardValue ?? 0, mangledSpan = guardValue == nil ? 0 : span
        let rotation = ThreadLayout.mangledBits
        let straddling = StraddlingPointers(low: low)
        func look(_ words: UnsafePointer<UInt64>, _ count: Int) {
            guard count > 0 else { return }
            var word = words[0], zeros = StraddlingPointers.zeroBytes(word)
            for index in 0 ..< count {
                let plain = word & 0xFFFF_FFFF_FFFF
                if plain != word && plain &- low < span { consider(plain) }
                let bare = (word &>> rotation | word &<< (64 &- rotation)) ^ key
                if bare &- low < mangledSpan && word != 0 { consider(bare) }
                guard index &+ 1 < count else { return }
                let next = words[index &+ 1], nextZeros = StraddlingPointers.zeroBytes(next)
                var ends = straddling.ends(zeros, nextZeros)
                while ends != 0 {
                    let shift = UInt64(truncatingIfNeeded: ends.trailingZeroBitCount &+ 1)
                    let value = word &>> shift | next &<< (64 &- shift)
                    if value &- low < span && word != 0 { consider(value) }
                    ends &= ends &- 1
                }
                (word, zeros) = (next, nextZeros)
            }
        }
        for root in scan.roots.roots where !root.range.isEmpty {
            for run in scan.snapshot.memory.resident(root.range, isShared: root.isShared) {
                let part = run.clamped(to: root.range)
                scan.forEachWindow(wholeWords(part)) { _, words, count in look(words, count) }
            }
        }
        for word in scan.roots.words { withUnsafePointer(to: word.value) { look($0, 1) } }
        // Adjacent blocks are read together and searched one by one.
        var number = 0
        while number < table.count {
            guard states[number] == Verdict.reachable.rawValue || states[number] == Verdict.possible.rawValue else {
                number += 1
                continue
            }
            let first = number
            var end = table.end(number)
            number += 1
            while number < table.count, states[number] <= Verdict.possible.rawValue, table.start(number) <= end &+ 256,
                table.end(number) - table.start(first) < 1 << 20
            {
                end = table.end(number)
                number += 1
            }
            let range = wholeWords(table.start(first) ..< end)
            let parts =
                range.isEmpty
                ? []
                : range.count < 1 << 20
                    ? [range]
                    : scan.snapshot.memory.resident(
                        range.lowerBound & ~4095 ..< (range.upperBound + 4095) & ~4095, isShared: false
                    ).map { $0.clamped(to: range) }
            for part in parts { scan.forEachWindow(part) { _, words, count in look(words, count) } }
        }
        return saved.sorted()
    }
}

/// Where an address may lie across two words. The upper two bytes of an address are zero. So most words are passed
/// over after some operations on all of their bytes at once.
package struct StraddlingPointers {
    /// All ones if the third byte from above is never zero either.
    private let third: UInt64

    /// - Parameter low: the lowest address that is looked for.
    package init(low: UInt64) { third = low >> 40 == 0 ? 0 : .max }

    /// The highest bit of each byte that is zero.
    @inline(__always) package static func zeroBytes(_ word: UInt64) -> UInt64 {
        let sevens: UInt64 = 0x7F7F_7F7F_7F7F_7F7F
        return ~((word & sevens &+ sevens) | word | sevens)
    }

    /// The highest bit of each byte of the next word at which an address may end that begins in this one. If the bit's
    /// number is n, the address begins n + 1 bits after this word.
    ///
    /// - Parameters: the zero bytes of this word and of the next one.
    @inline(__always) package func ends(_ zeros: UInt64, _ nextZeros: UInt64) -> UInt64 {
        let before = nextZeros << 8 | zeros >> 56, beforeThat = nextZeros << 16 | zeros >> 48
        return nextZeros & before & ~(beforeThat & third) & 0x0080_8080_8080_8080
    }
}
