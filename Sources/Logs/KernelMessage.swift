// A message of the kernel, and all that stands before it on its line: what printk, dmesg, journalctl, syslog daemons,
// /dev/kmsg, logcat and vendors' kernels put there, and what people's mails and pagers add. This and its extensions
// (+Brackets, +Marks, +Stamps: one a file, by what the parts look like) are the one place that knows prefixes; each
// kernel format reads its lines through here.
//
// A prefix is a sequence of parts, each with a form of its own, and they come in any order: a quote, a number, a
// colour, a level, a date, a host with "kernel:", brackets. Parts are taken off until none is left. No part looks like
// a frame, a record's first words, or a backtrace's stack pointer, so a line without a prefix stays as it is.

/// A message of the kernel without what stands before it.
struct KernelMessage {
    var start: Int
    var end: Int
    /// Seconds since the boot, as printk prints them; nil where the prefix has no such time.
    var time: Double?
    /// Who printed it, a task or a processor, where the prefix says so: 0 where it doesn't.
    var caller: UInt64 = 0
    /// True where the line has a prefix that its log puts before each message; a quote or a number is none.
    var hasPrefix = false

    /// Most parts of one prefix; a hostile line must come to an end.
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

    /// Takes one part of the prefix off; false where what is left begins with none.
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
            // MediaTek marks lines that were printed with interrupts off, and such: -(1)[…].
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
