// Texts seen before, each with a number: tracebacks and their single lines.
//
// Invariant: a text is found only if all of its bytes are equal; the hash only says where to look. The hash has a new
// seed in each run, so that no file can be made whose texts all collide. All tables of a run share the seed, so that
// one table's texts can be looked up in another. Texts never move: memory consists of slabs up to a limit. After that
// nothing new is kept, and the caller parses such texts each time. One of the files with raw pointers.

import CLogs
import Glibc

/// Texts with a number each, compared as a whole.
final class TextTable {
    /// The place of a text, in units of 8 bytes; no text is at 0.
    typealias Place = UInt32

    // A slot is a tag of the hash and the entry's place; 0 is free. An entry is the text's length, its number, and its
    // bytes.
    private var slots: UnsafeMutablePointer<UInt64>
    private var mask: Int
    private var slabs: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var slabCount = 0
    private var slabCapacity = 32
    private let mostSlabs: Int
    private var used = 8
    private(set) var count = 0

    /// The size of a huge page. Look-ups go to random places, and with small pages most of them would also miss the
    /// processor's TLB.
    private static let slabBytes = 2 << 20
    private static let unitsOfSlab = slabBytes / 8
    private static let longestText = 1 << 20
    private static let seed: (UInt64, UInt64) = {
        var random = SystemRandomNumberGenerator()
        return (random.next(), random.next())
    }()
    private let seed = TextTable.seed

    /// A table that keeps at most `limitBytes` of texts, and no more than a `Place` can address.
    init(limitBytes: Int = 64 << 20) {
        mostSlabs = max(1, min(limitBytes, 1 << 35) / Self.slabBytes)
        slabs = .allocate(capacity: slabCapacity)
        mask = (1 << 12) - 1
        slots = .allocate(capacity: mask + 1)
        slots.initialize(repeating: 0, count: mask + 1)
    }

    deinit {
        slots.deallocate()
        for slab in 0 ..< slabCount { slabs[slab].deallocate() }
        slabs.deallocate()
    }

    @inline(__always)
    private func entry(_ place: Place) -> UnsafeMutableRawPointer {
        slabs[Int(place) / Self.unitsOfSlab] + (Int(place) % Self.unitsOfSlab) * 8
    }

    /// The text at a place that `keep` returned.
    func text(at place: Place) -> UnsafeRawBufferPointer {
        let entry = UnsafeRawPointer(entry(place))
        return UnsafeRawBufferPointer(start: entry + 8, count: Int(entry.load(as: UInt32.self)))
    }

    /// The number of `text`, if it was kept. Its hash is returned for `keep`.
    ///
    /// - Complexity: O(length), one pass to hash and one to compare.
    @inline(__always)
    func find(_ text: UnsafeRawBufferPointer, hash: UInt64) -> UInt32? {
        var place = Int(truncatingIfNeeded: hash) & mask
        while true {
            let slot = slots[place]
            if slot == 0 { return nil }
            if slot >> 32 == hash >> 32 {
                let entry = UnsafeRawPointer(entry(Place(truncatingIfNeeded: slot)))
                if Int(entry.load(as: UInt32.self)) == text.count,
                    text.count == 0
                        || memcmp(entry + 8, text.baseAddress.unsafelyUnwrapped, text.count) == 0
                {
                    return entry.load(fromByteOffset: 4, as: UInt32.self)
                }
            }
            place = (place &+ 1) & mask
        }
    }

    /// Prefetches the slot for a text with this hash.
    @inline(__always)
    func prefetchSlot(_ hash: UInt64) { heap_logs_prefetch(slots + (Int(truncatingIfNeeded: hash) & mask)) }

    /// Prefetches the text that a text with this hash will be compared with. Its slot must be fetched first.
    @inline(__always)
    func prefetchText(_ hash: UInt64) {
        let slot = slots[Int(truncatingIfNeeded: hash) & mask]
        if slot == 0 { return }
        let entry = UnsafeRawPointer(entry(Place(truncatingIfNeeded: slot)))
        for line in 0 ..< 6 { heap_logs_prefetch(entry + line * 64) }
    }

    /// Keeps `text`, which `find` did not find, with its number. Returns its place; nil if there is no more room.
    @discardableResult
    func keep(_ text: UnsafeRawBufferPointer, hash: UInt64, number: UInt32) -> Place? {
        let needed = (text.count + 8 + 7) & ~7
        guard text.count < Self.longestText, let offset = room(for: needed) else { return nil }
        let place = Place(offset / 8), entry = entry(place)
        entry.storeBytes(of: UInt32(text.count), as: UInt32.self)
        entry.storeBytes(of: number, toByteOffset: 4, as: UInt32.self)
        if let base = text.baseAddress { (entry + 8).copyMemory(from: base, byteCount: text.count) }
        put((hash & ~0xFFFF_FFFF) | UInt64(place), at: Int(truncatingIfNeeded: hash))
        used = offset + needed
        count += 1
        if count * 2 > mask { growSlots() }
        return place
    }

    /// Room for `byteCount` bytes in one slab; nil beyond the limit.
    private func room(for byteCount: Int) -> Int? {
        var offset = used
        if offset / Self.slabBytes != (offset + byteCount - 1) / Self.slabBytes {
            offset = (offset / Self.slabBytes + 1) * Self.slabBytes
        }
        let slab = offset / Self.slabBytes
        if slab >= mostSlabs { return nil }
        while slabCount <= slab {
            if slabCount == slabCapacity { growSlabs() }
            let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.slabBytes, alignment: Self.slabBytes)
            // Not for the first slab, which may stay nearly empty.
            if slabCount > 0 { madvise(memory, Self.slabBytes, HEAP_LOGS_HUGE_PAGES) }
            slabs[slabCount] = memory
            slabCount += 1
        }
        return offset
    }

    private func growSlabs() {
        let larger = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: slabCapacity * 2)
        larger.initialize(from: slabs, count: slabCount)
        slabs.deallocate()
        slabs = larger
        slabCapacity *= 2
    }

    private func put(_ slot: UInt64, at hash: Int) {
        var place = hash & mask
        while slots[place] != 0 { place = (place &+ 1) & mask }
        slots[place] = slot
    }

    private func growSlots() {
        let old = slots, oldCount = mask + 1
        mask = oldCount * 2 - 1
        slots = .allocate(capacity: mask + 1)
        slots.initialize(repeating: 0, count: mask + 1)
        for index in 0 ..< oldCount where old[index] != 0 {
            put(old[index], at: Int(truncatingIfNeeded: hash(text(at: Place(truncatingIfNeeded: old[index])))))
        }
        old.deallocate()
    }

    /// A hash of `text`: 16 bytes per step, with a full multiplication and a fold, in two independent lanes.
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
        // The last 32 bytes, which may overlap earlier ones, instead of single bytes. A short text is copied to words
        // first.
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
