// A message of the kernel, and its prefix: everything that printk, dmesg, journalctl, syslog daemons, /dev/kmsg, logcat
// and vendors' kernels write before it on its line, and what mails and pagers add. Only this file and its extensions
// (+Brackets, +Marks, +Stamps, by the form of the parts) know prefixes. Each kernel format reads its lines through
// here.
//
// A prefix is a sequence of parts in any order: a quote, a number, a colour, a level, a date, a host with "kernel:",
// brackets. Parts are removed until none is left. No part looks like a frame, a record's first words, or a backtrace's
// stack pointer, so a line without a prefix stays unchanged.

/// A message of the kernel without its prefix.
struct KernelMessage {
    var start: Int
    var end: Int
    /// Seconds since the boot, as printk prints them; nil if the prefix has no such time.
    var time: Double?
    /// The task or processor that printed it; 0 if the prefix doesn't say.
    var caller: UInt64 = 0
    /// True if the line has a prefix that its log puts before each message. A quote or a number doesn't count.
    var hasPrefix = false

    /// At most this many parts of one prefix are removed; it bounds hostile lines.
    private static let mostParts = 16

    /// The message in the line [start, end).
    init(_ text: LogText, _ start: Int, _ end: Int) {
        self.end = text.trimmedEnd(start, end)
        self.start = text.skipBlanks(start, self.end)
        var parts = 0
        while parts < Self.mostParts, self.start < self.end, takePart(text) {
            parts += 1
            self.start = text.skipBlanks(self.start, self.end)
        }
        while let cut = Self.colourStart(text, self.start, self.end) { self.end = text.trimmedEnd(self.start, cut) }
    }

    static func task(_ number: UInt64) -> UInt64 { number &+ 1 }
    static func processor(_ number: UInt64) -> UInt64 { 1 << 63 | (number &+ 1) }

    /// Removes one part of the prefix. False if the rest does not begin with one.
    private mutating func takePart(_ text: LogText) -> Bool {
        switch text[start] {
        case UInt8(ascii: "["): return takeBracket(text)
        case UInt8(ascii: "<"): return takeLevel(text)
        case UInt8(ascii: "("): return takeParenthesis(text)
        case UInt8(ascii: ">"), UInt8(ascii: "|"):
            start += 1
            return true
        case 0x1B: return takeColour(text)
        case 0x0D, 0x1E:
            start += 1
            return true
        case UInt8(ascii: "{"), UInt8(ascii: "\""), UInt8(ascii: "M"):
            return takeField(text) || takeDated(text) || takeHost(text)
        case UInt8(ascii: "0") ... UInt8(ascii: "9"):
            return takeKmsg(text) || takeNumber(text) || takeDated(text) || takeHost(text)
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "!"):
            // MediaTek marks lines printed with interrupts off, for example: -(1)[…].
            guard hasPrefix, text[start + 1] == UInt8(ascii: "(") else { return false }
            start += 1
            return true
        case UInt8(ascii: "d"):
            // Server-sent events.
            guard text.has("data: {", at: start) else { return takeFacility(text) || takeDated(text) || takeHost(text) }
            start += 6
            return true
        default:
            return takeVendorLetter(text) || takeLogcat(text) || takeFacility(text) || takeDated(text) || takeHost(text)
        }
    }
}
