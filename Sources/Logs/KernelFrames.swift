// The frames of the kernel's backtraces.
//
// Reads the forms of x86, arm64, arm and powerpc, with and without addresses, and with the files and lines that
// scripts/decode_stacktrace.sh adds. An address that the kernel hashed (%p since 4.15) means nothing and is left out.

import Reduce

/// A frame of a kernel's backtrace, from one line.
struct KernelFrame {
    var frame: LogFrame
    /// The stack contains this address, but it may not be a caller.
    var isUnreliable = false
    /// arm: its caller, on the same line.
    var caller: LogFrame?

    /// The frame in [start, end), without surrounding blanks; nil for other lines.
    init?(_ text: LogText, _ start: Int, _ end: Int) {
        // printk's lines have at most a kilobyte. A longer line is not a frame, and the limit bounds the work for it.
        guard end - start <= 2048 else { return nil }
        var place = start
        var address = Self.bracketed(text, &place, end)
        // powerpc has the stack pointer first.
        if address.found, address.isBare, !address.hasMark {
            var next = text.skipBlanks(place, end)
            let second = Self.bracketed(text, &next, end)
            guard second.found else { return nil }
            (address, place) = (second, next)
        }
        place = text.skipBlanks(place, end)
        if text[place] == 0x3F && text[place + 1] == 0x20 {
            isUnreliable = true
            place = text.skipBlanks(place + 1, end)
        }
        if let from = text.find(" from ", from: place, to: end) {
            var after = from + 6
            let outer = Self.bracketed(text, &after, end)
            after = text.skipBlanks(after, end)
            guard let inner = Self.symbol(text, place, text.trimmedEnd(place, from), address.value, mayBeBare: true),
                let caller = Self.symbol(text, after, end, outer.value, mayBeBare: outer.found)
            else { return nil }
            (frame, self.caller) = (inner, caller)
            return
        }
        var end = end
        for suffix: StaticString in ["(unreliable)", "(P)", "(L)", "(F)", "(U)", "(K)", "(PF)", "(PL)"]
        where text.has(suffix, at: end - suffix.utf8CodeUnitCount) {
            if suffix.utf8CodeUnitCount == 12 { isUnreliable = true }
            end = text.trimmedEnd(place, end - suffix.utf8CodeUnitCount)
        }
        guard let frame = Self.symbol(text, place, end, address.value, mayBeBare: address.found) else { return nil }
        self.frame = frame
    }

    /// `[<ffffffff81234567>]`, or `[c0000001fa0cfb40]` without the angles.
    private static func bracketed(
        _ text: LogText, _ place: inout Int, _ end: Int
    ) -> (found: Bool, isBare: Bool, hasMark: Bool, value: UInt64?) {
        guard text[place] == 0x5B, let close = text.find(byte: 0x5D, from: place, to: min(end, place + 40)) else {
            return (false, false, false, nil)
        }
        let isAngled = text[place + 1] == 0x3C
        var digits = place + (isAngled ? 2 : 1)
        // Kernels before 2.6.30 print page_owner's addresses as [0xc0141234].
        let hasMark = text[digits] == 0x30 && text[digits + 1] | 0x20 == 0x78
        if hasMark { digits += 2 }
        let first = digits
        let value = text.hexadecimal(&digits, close)
        // (____ptrval____) before the kernel has random numbers; a hash has 32 bits, printed in 16 digits.
        guard isAngled || (value != nil && digits == close && digits - first >= 8) else {
            return (false, false, false, nil)
        }
        place = close + 1
        let isHash = digits - first == 16 && (value ?? 0) >> 32 == 0
        return (true, !isAngled, hasMark, isHash || value == 0 || digits == first ? nil : value)
    }

    /// `name+0x12/0x40 [module]`, maybe with file and line; or an address; or a bare name after an address.
    private static func symbol(
        _ text: LogText, _ start: Int, _ end: Int, _ address: UInt64?, mayBeBare: Bool
    ) -> LogFrame? {
        var start = start, end = end
        if text[start] == 0x28 && end > start && text[end - 1] == 0x29 { (start, end) = (start + 1, end - 1) }
        guard start < end else { return nil }
        var frame = LogFrame(address: address)
        let wordEnd = text.wordEnd(start, end)
        var place = start
        if let bare = text.prefixedHexadecimal(&place, wordEnd), place == wordEnd {
            // 0xffffffffffffffff ends the stacks of older kernels.
            frame.address = address ?? bare
            return frame
        }
        var nameEnd = wordEnd
        if let plus = text.find("+0x", from: start, to: wordEnd) {
            place = plus + 1
            guard let offset = text.prefixedHexadecimal(&place, wordEnd), place == wordEnd || text[place] == 0x2F else {
                return nil
            }
            frame.symbolOffset = offset
            nameEnd = plus
        } else if let (offset, plus) = decimalOffset(text, start, wordEnd, address != nil) {
            // page_owner's first kernels.
            frame.symbolOffset = offset
            nameEnd = plus
        } else if !mayBeBare {
            return nil
        }
        guard nameEnd > start, text[start] > 0x20, text[start] != 0x5B else { return nil }
        frame.name = text.bytes(start, nameEnd)
        place = text.skipBlanks(wordEnd, end)
        while place < end {
            let next = text.wordEnd(place, end)
            if text[place] == 0x5B {
                // [module], or [module build-id]; [inline] is not a module.
                let inner = text.wordEnd(place + 1, end)
                let close = text.find(byte: 0x5D, from: place, to: end) ?? end
                let module = text.bytes(place + 1, min(inner, close))
                if module != Array("inline".utf8) { frame.module = module }
                place = text.skipBlanks(close + 1, end)
                continue
            }
            if let colon = text.find(byte: 0x3A, from: place, to: next) {
                var digits = colon + 1
                if let line = text.decimal(&digits, next) {
                    frame.file = text.bytes(place, colon)
                    frame.line = UInt32(clamping: line)
                }
            }
            place = text.skipBlanks(next, end)
        }
        return frame
    }
}

extension KernelFrame {
    /// `name+478` after an address, or `name+478/2816`: the offset, and the place of the plus.
    private static func decimalOffset(
        _ text: LogText, _ start: Int, _ end: Int, _ hasAddress: Bool
    ) -> (offset: UInt64, plus: Int)? {
        guard let plus = text.find(byte: 0x2B, from: start, to: end), plus > start else { return nil }
        var place = plus + 1
        guard let offset = text.decimal(&place, end) else { return nil }
        if place == end { return hasAddress ? (offset, plus) : nil }
        guard text[place] == 0x2F else { return nil }
        place += 1
        return text.decimal(&place, end) != nil && place == end ? (offset, plus) : nil
    }
}

/// Collects the frames of one backtrace.
struct KernelStack {
    private var reliable: [UInt32] = []
    private var all: [UInt32] = []
    private var lastCaller: UInt32?
    private(set) var isCut = false
    /// The outermost frame of the last line; nil if it may not be a caller.
    private(set) var lastReliable: UInt32?
    var isEmpty: Bool { all.isEmpty }

    /// Takes the frame in [start, end). False if there is none.
    mutating func take(_ text: LogText, _ start: Int, _ end: Int, _ tally: Tally) -> Bool {
        // A line seen before is not parsed again if it is one plain frame.
        let raw = text.raw(start, end)
        let hash = tally.lines.hash(raw)
        if let known = tally.lines.find(raw, hash: hash) {
            add(known, isReliable: true, tally)
            return true
        }
        if text.has("[...]", at: start) {
            isCut = true
            lastReliable = nil
            return true
        }
        guard let read = KernelFrame(text, start, end) else { return false }
        let number = tally.number(of: read.frame)
        if let caller = read.caller {
            // arm prints each frame twice: as the function called, and as the caller.
            if lastCaller == nil { add(number, isReliable: true, tally) }
            let outer = tally.number(of: caller)
            add(outer, isReliable: true, tally)
            lastCaller = outer
            return true
        }
        if !read.isUnreliable { tally.lines.keep(raw, hash: hash, number: number) }
        add(number, isReliable: !read.isUnreliable, tally)
        return true
    }

    private mutating func add(_ frame: UInt32, isReliable: Bool, _ tally: Tally) {
        guard all.count < mostFrames else {
            isCut = true
            return
        }
        all.append(frame)
        lastReliable = isReliable ? frame : nil
        if isReliable { reliable.append(frame) }
    }

    /// The frames, innermost first: the reliable ones, or all if none is reliable.
    func frames(_ tally: Tally) -> [UInt32] {
        (reliable.isEmpty ? all : reliable) + (isCut ? [tally.number(of: .cut)] : [])
    }

    mutating func clear() {
        reliable.removeAll(keepingCapacity: true)
        all.removeAll(keepingCapacity: true)
        lastCaller = nil
        lastReliable = nil
        isCut = false
    }
}
