// The text of a log in memory, and the scanner that all formats share: lines, words, numbers.
//
// Invariant: nothing here reads outside of [0, count), whatever the text contains; every given place is checked. Lines
// are found by memchr(3) and text by memmem(3), because these use the machine's vector instructions. Hexadecimal digits
// are read eight at a time, as one word. One of the files with raw pointers.

import CLogs
import Glibc

/// Bytes of a log, owned by somebody else while a chunk is processed.
package struct LogText {
    private let base: UnsafeRawPointer
    package let count: Int

    /// The text in `bytes`, which must stay valid while this is used.
    package init(_ bytes: UnsafeRawBufferPointer) {
        // An empty buffer may have no address; nothing is read from it.
        base = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        count = bytes.baseAddress == nil ? 0 : bytes.count
    }

    /// The byte at `place`; 0 outside of the text.
    @inline(__always)
    package subscript(_ place: Int) -> UInt8 {
        UInt(bitPattern: place) < UInt(bitPattern: count) ? base.load(fromByteOffset: place, as: UInt8.self) : 0
    }

    /// The end of the line that contains `place`: its newline, or the text's end.
    @inline(__always)
    package func lineEnd(from place: Int) -> Int {
        guard place >= 0 && place < count else { return count }
        guard let found = memchr(base + place, 0x0A, count &- place) else { return count }
        return UnsafeRawPointer(found) - base
    }

    /// Calls `body` with each line of [start, end) until it returns false. True if it never did.
    @inline(__always)
    func lines(_ start: Int, _ end: Int, _ body: (_ start: Int, _ end: Int) -> Bool) -> Bool {
        var place = start
        while place < end {
            let lineEnd = min(lineEnd(from: place), end)
            guard body(place, lineEnd) else { return false }
            place = lineEnd + 1
        }
        return true
    }

    /// The start of the line that contains `place`.
    package func lineStart(before place: Int) -> Int {
        guard place > 0 else { return 0 }
        guard let found = memrchr(base, 0x0A, min(place, count)) else { return 0 }
        return UnsafeRawPointer(found) - base + 1
    }

    /// True if the text at `place` begins with `prefix`.
    @inline(__always)
    package func has(_ prefix: StaticString, at place: Int) -> Bool {
        let length = prefix.utf8CodeUnitCount
        guard place >= 0 && place <= count &- length else { return false }
        return memcmp(base + place, prefix.utf8Start, length) == 0
    }

    /// The first place of `needle` in [from, end).
    package func find(_ needle: StaticString, from: Int, to end: Int? = nil) -> Int? {
        let end = min(end ?? count, count)
        guard from >= 0 && from < end,
            let found = memmem(base + from, end - from, needle.utf8Start, needle.utf8CodeUnitCount)
        else { return nil }
        return UnsafeRawPointer(found) - base
    }

    /// The first place of `byte` in [from, end).
    package func find(byte: UInt8, from: Int, to end: Int) -> Int? {
        guard from >= 0 && from < min(end, count), let found = memchr(base + from, Int32(byte), min(end, count) - from)
        else { return nil }
        return UnsafeRawPointer(found) - base
    }

    /// A copy of [start, end).
    package func bytes(_ start: Int, _ end: Int) -> [UInt8] {
        guard start >= 0 && start < end && end <= count else { return [] }
        return Array(UnsafeRawBufferPointer(start: base + start, count: end - start))
    }

    /// [start, end) itself.
    @inline(__always)
    func raw(_ start: Int, _ end: Int) -> UnsafeRawBufferPointer {
        let start = max(0, min(start, count)), end = max(start, min(end, count))
        return UnsafeRawBufferPointer(start: base + start, count: end - start)
    }
}

// MARK: - Words

extension LogText {
    /// The first place from `place` on that is not a blank or tab, at most `end`.
    @inline(__always)
    package func skipBlanks(_ place: Int, _ end: Int) -> Int {
        var place = place
        while place < end && (self[place] == 0x20 || self[place] == 0x09) { place &+= 1 }
        return place
    }

    /// The end of the word at `place`: the next blank, tab, or `end`.
    @inline(__always)
    package func wordEnd(_ place: Int, _ end: Int) -> Int {
        var place = place
        while place < end && self[place] != 0x20 && self[place] != 0x09 { place &+= 1 }
        return place
    }

    /// `end` moved back over blanks, tabs and carriage returns, not before `start`.
    @inline(__always)
    package func trimmedEnd(_ start: Int, _ end: Int) -> Int {
        var end = end
        while end > start, case let byte = self[end &- 1], byte == 0x20 || byte == 0x09 || byte == 0x0D { end &-= 1 }
        return end
    }
}

// MARK: - Numbers

extension LogText {
    /// Reads `0x` and hexadecimal digits at `place`, and moves it past them; nil if there are none, or more than 64
    /// bits.
    @inline(__always)
    package func prefixedHexadecimal(_ place: inout Int, _ end: Int) -> UInt64? {
        guard self[place] == 0x30, self[place &+ 1] | 0x20 == 0x78, place &+ 2 < end else { return nil }
        var after = place &+ 2
        guard let value = hexadecimal(&after, end) else { return nil }
        place = after
        return value
    }

    /// Reads hexadecimal digits at `place` and moves it past them; nil if there are none, or more than 64 bits.
    @inline(__always)
    package func hexadecimal(_ place: inout Int, _ end: Int) -> UInt64? {
        let end = min(end, count)
        guard place >= 0 && place < end else { return nil }
        var value: UInt64 = 0, next = place
        if next &+ 8 <= end, let eight = Self.eightDigits(base.loadUnaligned(fromByteOffset: next, as: UInt64.self)) {
            value = eight
            next &+= 8
        }
        while next < end, let digit = Self.digit(self[next]) {
            guard value >> 60 == 0 else { return nil }
            value = value << 4 | digit
            next &+= 1
        }
        guard next > place else { return nil }
        place = next
        return value
    }

    /// Reads decimal digits at `place` and moves it past them; nil if there are none, or more than 64 bits.
    @inline(__always)
    package func decimal(_ place: inout Int, _ end: Int) -> UInt64? {
        var value: UInt64 = 0, next = place
        while next < end, case let digit = self[next] &- 0x30, digit < 10 {
            let (product, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
            if over || carry { return nil }
            value = sum
            next &+= 1
        }
        guard next > place else { return nil }
        place = next
        return value
    }

    /// Reads a number at `place`: hexadecimal after `0x`, else decimal.
    @inline(__always)
    package func number(_ place: inout Int, _ end: Int) -> UInt64? {
        self[place] == 0x30 && self[place &+ 1] | 0x20 == 0x78 ? prefixedHexadecimal(&place, end) : decimal(&place, end)
    }

    @inline(__always)
    private static func digit(_ byte: UInt8) -> UInt64? {
        let number = byte &- 0x30
        if number < 10 { return UInt64(number) }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? UInt64(letter) + 10 : nil
    }

    /// The value of eight hexadecimal digits, the first in the word's lowest byte; nil if one is not a digit. Each step
    /// handles all eight bytes of the word at once, and no carry leaves a byte.
    @inline(__always)
    private static func eightDigits(_ word: UInt64) -> UInt64? {
        let ones: UInt64 = 0x0101_0101_0101_0101, high = ones << 7
        if word & high != 0 { return nil }
        /// Sets the high bit of each byte of `value` that is at least `low`. All bytes must be below 0x80.
        func atLeast(_ value: UInt64, _ low: UInt64) -> UInt64 { (value &+ ones &* (0x80 &- low)) & high }
        let lower = word | ones &* 0x20
        let digits = atLeast(word, 0x30) & ~atLeast(word, 0x3A)
        let letters = atLeast(lower, 0x61) & ~atLeast(lower, 0x67) & atLeast(word, 0x40)
        if digits | letters != high { return nil }
        // The low four bits of a letter are 1 for a, so 9 is added.
        var nibbles = (word & (ones &* 0x0F)) &+ (letters >> 7) &* 9
        nibbles = (nibbles << 4 | nibbles >> 8) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles << 8 | nibbles >> 16) & 0x0000_FFFF_0000_FFFF
        return (nibbles << 16 | nibbles >> 32) & 0xFFFF_FFFF
    }
}
