// Texts that were seen before, each with a number: tracebacks, and their single lines.
//
// Invariant: a text is found only where all of its bytes are equal; the hash says where to look, and no
// more. The hash is seeded anew in each run, so that no file can be made whose texts all collide.
// Memory ends at a limit: past it nothing new is kept, and the caller reads such texts each time. One of
// the files with raw pointers.

import CLogs
import Glibc

/// Texts, compared whole, with a number each.
final class TextTable {
    // A slot is a tag of the hash and the entry's place in the arena, in units of 8 bytes; 0 is free, as
    // no entry lies at 0. An entry is the text's length, its number, and its bytes.
    private var slots: UnsafeMutablePointer<UInt64>
    private var mask: Int
    private var arena: UnsafeMutableRawPointer
    private var capacity: Int
    private var used = 8
    private let limit: Int
    private(set) var count = 0
    private let seed: (UInt64, UInt64)

    /// A table that keeps at most `limitBytes` of texts.
    init(limitBytes: Int = 64 << 20) {
        limit = limitBytes
        capacity = 1 << 16
        arena = .allocate(byteCount: capacity, alignment: 8)
        mask = (1 << 12) - 1
        slots = .allocate(capacity: mask + 1)
        slots.initialize(repeating: 0, count: mask + 1)
        var random = SystemRandomNumberGenerator()
        seed = (random.next(), random.next())
    }

    deinit {
        slots.deallocate()
        arena.deallocate()
    }

    /// The number of `text`, where it was kept; its hash is handed back for `keep`.
    ///
    /// - Complexity: O(length), one pass to hash and one to compare.
    @inline(__always)
    func find(_ text: UnsafeRawBufferPointer, hash: UInt64) -> UInt32? {
        var place = Int(truncatingIfNeeded: hash) & mask
        while true {
            let slot = slots[place]
            if slot == 0 { return nil }
            if slot >> 32 == hash >> 32 {
                let entry = UnsafeRawPointer(arena) + Int(slot & 0xFFFF_FFFF) * 8
                if Int(entry.load(as: UInt32.self)) == text.count, text.count == 0
                    || memcmp(entry + 8, text.baseAddress.unsafelyUnwrapped, text.count) == 0 {
                    return entry.load(fromByteOffset: 4, as: UInt32.self)
                }
            }
            place = (place &+ 1) & mask
        }
    }

    /// Asks for the slot that a text with this hash is looked for in.
    @inline(__always)
    func prefetchSlot(_ hash: UInt64) { heap_logs_prefetch(slots + (Int(truncatingIfNeeded: hash) & mask)) }

    /// Asks for the text that a text with this hash will be compared with, once its slot is there.
    @inline(__always)
    func prefetchText(_ hash: UInt64) {
        let entry = UnsafeRawPointer(arena) + Int(slots[Int(truncatingIfNeeded: hash) & mask] & 0xFFFF_FFFF) * 8
        for line in 0 ..< 6 { heap_logs_prefetch(entry + line * 64) }
    }

    /// Keeps `text`, which `find` did not find, with its number; false where there is no more room.
    @discardableResult
    func keep(_ text: UnsafeRawBufferPointer, hash: UInt64, number: UInt32) -> Bool {
        let needed = (text.count + 8 + 7) & ~7
        guard text.count < 1 << 20, used + needed <= limit else { return false }
        if used + needed > capacity { growArena(to: used + needed) }
        let entry = arena + used
        entry.storeBytes(of: UInt32(text.count), as: UInt32.self)
        entry.storeBytes(of: number, toByteOffset: 4, as: UInt32.self)
        if let base = text.baseAddress { (entry + 8).copyMemory(from: base, byteCount: text.count) }
        put((hash & ~0xFFFF_FFFF) | UInt64(used / 8), at: Int(truncatingIfNeeded: hash))
        used += needed
        count += 1
        if count * 2 > mask { growSlots() }
        return true
    }

    private func put(_ slot: UInt64, at hash: Int) {
        var place = hash & mask
        while slots[place] != 0 { place = (place &+ 1) & mask }
        slots[place] = slot
    }

    private func growArena(to needed: Int) {
        while capacity < needed { capacity *= 2 }
        // In huge pages where it may be: a text is looked up anywhere in the arena, and with small ones most
        // look-ups miss the processor's own table of pages too.
        let hugePage = 2 << 20
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: capacity >= hugePage ? hugePage : 8)
        if capacity >= hugePage { madvise(larger, capacity, HEAP_LOGS_HUGE_PAGES) }
        larger.copyMemory(from: arena, byteCount: used)
        arena.deallocate()
        arena = larger
    }

    private func growSlots() {
        let old = slots, oldCount = mask + 1
        mask = oldCount * 2 - 1
        slots = .allocate(capacity: mask + 1)
        slots.initialize(repeating: 0, count: mask + 1)
        for index in 0 ..< oldCount where old[index] != 0 {
            let entry = UnsafeRawPointer(arena) + Int(old[index] & 0xFFFF_FFFF) * 8
            let text = UnsafeRawBufferPointer(start: entry + 8, count: Int(entry.load(as: UInt32.self)))
            put(old[index], at: Int(truncatingIfNeeded: hash(text)))
        }
        old.deallocate()
    }

    /// A hash of `text`: 16 bytes a step, multiplied in full and folded, in two lanes that don't wait for
    /// each other.
    @inline(__always)
    func hash(_ text: UnsafeRawBufferPointer) -> UInt64 {
        guard let base = text.baseAddress else { return seed.0 }
        func word(_ place: Int) -> UInt64 { base.loadUnaligned(fromByteOffset: place, as: UInt64.self) }
        let count = text.count
        var first = seed.0 ^ UInt64(count), second = seed.1
        var place = 0
        while place &+ 32 <= count {
            first = Self.fold(word(place) ^ seed.1, word(place &+ 8) ^ first)
            second = Self.fold(word(place &+ 16) ^ seed.0, word(place &+ 24) ^ second)
            place &+= 32
        }
        // The last 32 bytes again, in part, rather than byte by byte; a short text in a word of its own.
        if count >= 32 {
            first = Self.fold(word(count &- 32) ^ seed.1, word(count &- 24) ^ first)
            second = Self.fold(word(count &- 16) ^ seed.0, word(count &- 8) ^ second)
        } else {
            while place &+ 8 <= count {
                first = Self.fold(word(place) ^ seed.1, first)
                place &+= 8
            }
            var rest: UInt64 = 0
            while place < count {
                rest = rest << 8 | UInt64(text[place])
                place &+= 1
            }
            second = Self.fold(rest ^ seed.0, second)
        }
        return Self.fold(first ^ 0x9E37_79B9_7F4A_7C15, second ^ 0xC2B2_AE3D_27D4_EB4F)
    }

    @inline(__always)
    private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}
