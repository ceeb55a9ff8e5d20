// A message of the kernel, and all that stands before it on its line: what printk, dmesg, journalctl, syslog daemons,
// /dev/kmsg, logcat and vendors' kernels put there, and what people's mails and pagers add. This is the one place that
// knows prefixes; each kernel format reads its lines through here.
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

    private static func task(_ number: UInt64) -> UInt64 { number &+ 1 }
    private static func processor(_ number: UInt64) -> UInt64 { 1 << 63 | (number &+ 1) }

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
        case 0x0D:
            start += 1
            return true
        case UInt8(ascii: "{"), UInt8(ascii: "\""), UInt8(ascii: "M"): return takeField(text) || takeDated(text) || takeHost(text)
        case UInt8(ascii: "0") ... UInt8(ascii: "9"): return takeKmsg(text) || takeNumber(text) || takeDated(text) || takeHost(text)
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
        default: return takeVendorLetter(text) || takeLogcat(text) || takeFacility(text) || takeDated(text) || takeHost(text)
        }
    }

    // MARK: Brackets

    /// `[   12.345678]`, `[12.3 <    0.000010>]`, `[  +0.000004]`, `[Jan26 15:04]`, `[   T123]`, `[3:  worker: 1573]`,
    /// `[1573:kworker/1:2]`, `[name:slub&]` and their kin: any bracket that is neither an address nor a gap.
    private mutating func takeBracket(_ text: LogText) -> Bool {
        guard let close = text.find(byte: 0x5D, from: start, to: min(end, start + 80)) else { return false }
        let first = text.skipBlanks(start + 1, close)
        if first == close { return false }
        if text[first] == UInt8(ascii: "<") {
            // dmesg --time-format delta: [<    0.000010>]; an address has no point.
            guard text[close - 1] == UInt8(ascii: ">"), let point = text.find(byte: 0x2E, from: first, to: close), text[point - 1] &- 0x30 < 10 else { return false }
            start = close + 1
            hasPrefix = true
            return true
        }
        if text.has("...", at: first) { return false }
        // A stack pointer or an address: eight digits or more and nothing else.
        var digits = first
        if text[digits] == UInt8(ascii: "0") && text[digits + 1] | 0x20 == UInt8(ascii: "x") { digits += 2 }
        let number = digits
        if text.hexadecimal(&digits, close) != nil, digits == close, digits - number >= 8 { return false }
        let word = text[first]
        // Before its time a line has only dates; after that a bracket may be the message's own: [drm], [inline].
        guard hasPrefix || word == UInt8(ascii: "+") || word &- 0x30 < 10 || Self.callerForm(text, first, close) != nil || Self.hasClock(text, first, close) else {
            return false
        }
        if !takeTime(text, first, close) {
            if let who = Self.callerForm(text, first, close) { caller = who } else if !Self.isPrefixBracket(text, first, close) { return false }
        }
        start = close + 1
        hasPrefix = true
        return true
    }

    /// `12.345678`, `12.345678s`, `12.345678@0`, `12.345678,0`, `12.345678 <  0.000010>`: sets the time.
    private mutating func takeTime(_ text: LogText, _ first: Int, _ close: Int) -> Bool {
        var place = first
        guard let seconds = text.decimal(&place, close), text[place] == 0x2E else { return false }
        let fractionStart = place + 1
        var fraction = fractionStart
        guard let digits = text.decimal(&fraction, close), fraction - fractionStart <= 9 else { return false }
        let rest = text[fraction]
        guard fraction == close || rest == 0x40 || rest == 0x2C || rest == 0x73 || rest == 0x20 || rest == 0x3C || rest == 0x2F else { return false }
        var scale = 1.0
        for _ in fractionStart ..< fraction { scale *= 10 }
        time = Double(seconds) + Double(digits) / scale
        // Some kernels add the processor: [12.345678@0].
        if rest == 0x40 {
            var number = fraction + 1
            if let cpu = text.decimal(&number, close), number == close { caller = Self.processor(cpu) }
        }
        return true
    }

    /// Who printed, in the forms of CONFIG_PRINTK_CALLER, Samsung, MediaTek and HiSilicon; nil where the bracket doesn't say.
    private static func callerForm(_ text: LogText, _ first: Int, _ close: Int) -> UInt64? {
        var place = first
        let letter = text[first]
        if letter == UInt8(ascii: "T") || letter | 0x20 == UInt8(ascii: "c") {
            place = first + 1
            if let number = text.decimal(&place, close), place == close { return letter == UInt8(ascii: "T") ? task(number) : processor(number) }
        }
        // HiSilicon: pid:1573,cpu3,kworker/3:1.
        if text.has("pid:", at: first) {
            place = first + 4
            guard let pid = text.decimal(&place, close), text.has(",cpu", at: place) else { return nil }
            place += 4
            return pid > 0 ? task(pid) : text.decimal(&place, close).map(processor)
        }
        guard let number = text.decimal(&place, close), text[place] == 0x3A else { return nil }
        // Samsung: 3:    worker: 1573. A name may hold anything, so the task's number is looked for from behind.
        var last = close
        while last > place + 1, text[last - 1] &- 0x30 < 10 { last -= 1 }
        let blank = text[last - 1] == 0x20 || text[last - 1] == 0x3A
        if text[place + 1] == 0x20 || text[place + 1] == 0x3A || (blank && text.find(byte: 0x20, from: place, to: close) != nil), last < close, blank {
            var digits = last
            if let pid = text.decimal(&digits, close) { return pid > 0 ? task(pid) : processor(number) }
        }
        // MediaTek: 1573:kworker/1:2. A clock has digits alone.
        var after = place + 1
        if text.decimal(&after, close) != nil, after == close || text[after] == 0x3A || text[after] == 0x20 { return nil }
        return number > 0 ? task(number) : nil
    }

    /// What else printk's users put in brackets at the beginning of a message: `+0.000004`, dates, `name:slub&`.
    private static func isPrefixBracket(_ text: LogText, _ first: Int, _ close: Int) -> Bool {
        if text[first] == UInt8(ascii: "+") || hasClock(text, first, close) || text.has("name:", at: first) { return true }
        // Times of which nothing is known: [    <    0.000000>].
        return text[first] &- 0x30 < 10 && text.find(byte: 0x2E, from: first, to: close) != nil
    }

    /// True where `15:04` stands in [first, close).
    private static func hasClock(_ text: LogText, _ first: Int, _ close: Int) -> Bool {
        var place = first
        while let colon = text.find(byte: 0x3A, from: place, to: close) {
            if colon > first, text[colon - 1] &- 0x30 < 10, text[colon + 1] &- 0x30 < 10, text[colon + 2] &- 0x30 < 10 { return true }
            place = colon + 1
        }
        return false
    }

    // MARK: Levels and marks

    /// `<6>`, or RFC 5424's `<6>1 `.
    private mutating func takeLevel(_ text: LogText) -> Bool {
        var place = start + 1
        guard text.decimal(&place, min(end, start + 5)) != nil, text[place] == UInt8(ascii: ">") else { return false }
        start = place + 1
        if text[start] == UInt8(ascii: "1") && text[start + 1] == 0x20 { start += 2 }
        hasPrefix = true
        return true
    }

    /// MediaTek's `(1)[1573:kworker/1:2]`, Qualcomm's `(CPU:1-pid:1573:kworker)`.
    private mutating func takeParenthesis(_ text: LogText) -> Bool {
        guard hasPrefix, let close = text.find(byte: 0x29, from: start, to: min(end, start + 48)) else { return false }
        var place = start + 1
        if let cpu = text.decimal(&place, close), place == close {
            if caller == 0 { caller = Self.processor(cpu) }
        } else if text.has("CPU:", at: start + 1) {
            place = start + 5
            guard let cpu = text.decimal(&place, close) else { return false }
            caller = Self.processor(cpu)
            if let word = text.find("pid:", from: place, to: close) {
                place = word + 4
                if let pid = text.decimal(&place, close), pid > 0 { caller = Self.task(pid) }
            }
        } else {
            return false
        }
        start = close + 1
        return true
    }

    /// The level that Samsung's newer kernels put between the time and who prints: `[12.3]I[3:    worker: 1573] `.
    private mutating func takeVendorLetter(_ text: LogText) -> Bool {
        guard hasPrefix, text[start + 1] == UInt8(ascii: "["), [UInt8](arrayLiteral: 0x45, 0x57, 0x4E, 0x49, 0x44, 0x41, 0x43).contains(text[start]),
              text[start - 1] == 0x5D || text[start - 1] == 0x20 else { return false }
        start += 1
        return true
    }

    /// A terminal's colour: ESC [ … m.
    private mutating func takeColour(_ text: LogText) -> Bool {
        guard let close = Self.colourEnd(text, start, end) else { return false }
        start = close
        return true
    }

    private static func colourEnd(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        guard text[start] == 0x1B, text[start + 1] == 0x5B else { return nil }
        var place = start + 2
        while place < min(end, start + 20), text[place] &- 0x30 < 12 { place += 1 }
        return text[place] == UInt8(ascii: "m") || text[place] == UInt8(ascii: "K") ? place + 1 : nil
    }

    /// Where the colour begins that [start, end) ends with.
    private static func colourStart(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        guard end > start, text[end - 1] == UInt8(ascii: "m") || text[end - 1] == UInt8(ascii: "K") else { return nil }
        var place = end - 2
        while place > max(start, end - 20), text[place] != 0x1B { place -= 1 }
        return colourEnd(text, place, end) == end ? place : nil
    }

    // MARK: Numbers

    /// `6,1234,12000001,-;` of /dev/kmsg, with `caller=T123` perhaps.
    private mutating func takeKmsg(_ text: LogText) -> Bool {
        var place = start
        guard text.decimal(&place, end) != nil, text[place] == 0x2C else { return false }
        place += 1
        guard text.decimal(&place, end) != nil, text[place] == 0x2C else { return false }
        place += 1
        guard let micros = text.decimal(&place, end), text[place] == 0x2C,
              let close = text.find(byte: 0x3B, from: place, to: min(end, place + 80)) else { return false }
        time = Double(micros) / 1e6
        if let word = text.find("caller=", from: place, to: close), let who = Self.callerForm(text, word + 7, text.find(byte: 0x2C, from: word, to: close) ?? close) {
            caller = who
        }
        start = close + 1
        hasPrefix = true
        return true
    }

    /// The number of a line: `12:`, `12<tab>`, or `12 [` before printk's time.
    private mutating func takeNumber(_ text: LogText) -> Bool {
        var place = start
        guard text.decimal(&place, min(end, start + 9)) != nil else { return false }
        let next = text[place]
        if next == 0x09 || (next == 0x3A && !(text[place + 1] &- 0x30 < 10)) {
            start = place + 1
            return true
        }
        let after = text.skipBlanks(place, end)
        guard next == 0x20, text[after] == 0x5B, text[after + 1] == 0x20 || text[after + 1] &- 0x30 < 10,
              text.find(byte: 0x2E, from: after, to: min(end, after + 16)) != nil else { return false }
        start = after
        return true
    }

    // MARK: Fields of the journal and of dmesg --json

    /// `MESSAGE=` of journalctl -o verbose and export, `"MESSAGE":"…"` of -o json, `"msg": "…"` of dmesg --json.
    private mutating func takeField(_ text: LogText) -> Bool {
        if text.has("MESSAGE=", at: start) {
            start += 8
            hasPrefix = true
            return true
        }
        guard text[start] == UInt8(ascii: "{") || text[start] == UInt8(ascii: "\"") else { return false }
        var key = text.find("\"MESSAGE\"", from: start, to: end).map { $0 + 9 }
        if key == nil { key = text.find("\"msg\"", from: start, to: end).map { $0 + 5 } }
        guard let key else { return false }
        var place = text.skipBlanks(key, end)
        guard text[place] == 0x3A else { return false }
        place = text.skipBlanks(place + 1, end)
        guard text[place] == UInt8(ascii: "\"") else { return false }
        let first = place + 1
        var last = first
        while last < end, text[last] != UInt8(ascii: "\"") { last += text[last] == UInt8(ascii: "\\") ? 2 : 1 }
        (start, end) = (first, min(last, end))
        hasPrefix = true
        return true
    }

    // MARK: Dates, hosts and tags

    /// A date and a time of day, in any order and language of digits: `Jan 26 15:04:11`, `2024-01-26T15:04:11,493181+08:00`,
    /// `Fri 2024-01-26 15:04:11 CST`, `01-26 15:04:11.493`, `1706252651.493181`.
    private mutating func takeDated(_ text: LogText) -> Bool {
        var place = start, hasTime = false, words = 0
        while words < 6, place < end {
            let wordEnd = text.wordEnd(place, end)
            if wordEnd - place > 40 { break }
            if Self.isClock(text, place, wordEnd) {
                hasTime = true
            } else if Self.isUnixTime(text, place, wordEnd), words == 0 {
                hasTime = true
            } else if hasTime ? !(Self.isZone(text, place, wordEnd) || Self.isYear(text, place, wordEnd)) : !Self.isDateWord(text, place, wordEnd) {
                break
            }
            words += 1
            place = text.skipBlanks(wordEnd, end)
        }
        guard hasTime else { return false }
        start = place
        hasPrefix = true
        takeIDs(text)
        if !takeLogcat(text) { _ = takeHost(text) }
        return true
    }

    /// `15:04`, `15:04:11.493`, `2024-01-26T15:04:11Z`, with a colon after it perhaps.
    private static func isClock(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        guard text[start] &- 0x30 < 10, hasClock(text, start, end) else { return false }
        return (start ..< end).allSatisfy { place in
            let byte = text[place]
            return byte &- 0x2B < 16 || byte == UInt8(ascii: "T") || byte == UInt8(ascii: "Z")
        }
    }

    /// Seconds since 1970 with a fraction: nine digits or more, or a stamp with a host and "kernel:" after it.
    private static func isUnixTime(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        var place = start
        guard text.decimal(&place, end) != nil, text[place] == 0x2E else { return false }
        let whole = place - start
        place += 1
        let fraction = place
        return text.decimal(&place, end) != nil && (place == end || (text[place] == 0x3A && place + 1 == end)) && (whole >= 9 || place - fraction >= 6)
    }

    private static func isYear(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        var place = start
        guard let year = text.decimal(&place, end) else { return false }
        return place == end && end - start == 4 && year >= 1970 && year < 2200
    }

    /// A part of a date before its clock: a weekday, a month, a day, a year, `2024-01-26`, `26/01/2024`.
    private static func isDateWord(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        let names: [StaticString] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let length = text[end - 1] == 0x2C ? end - start - 1 : end - start
        if length == 3, names.contains(where: { text.has($0, at: start) }) { return true }
        if length > 10 || length < 1 { return false }
        var digits = 0
        for place in start ..< start + length {
            if text[place] &- 0x30 < 10 { digits += 1 } else if !(text[place] &- 0x2D < 3) { return false }
        }
        return digits > 0 && (digits <= 4 || digits == 8 || length > digits)
    }

    /// `UTC`, `CST`, `PM`, `+0800`.
    private static func isZone(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        if text[start] == 0x2B && end - start >= 5 && end - start <= 6 { return true }
        let zones: [StaticString] = ["UTC", "GMT", "CET", "CEST", "EET", "EEST", "MSK", "BST", "IST", "JST", "KST", "CST", "EST", "EDT", "CDT", "MST", "MDT", "PST", "PDT", "AM", "PM"]
        return zones.contains { $0.utf8CodeUnitCount == end - start && text.has($0, at: start) }
    }

    /// logcat's user, process and thread between the date and the level: `0     0 I kernel  : `.
    private mutating func takeIDs(_ text: LogText) {
        var place = start
        if text.has("root ", at: place) || text.has("logd ", at: place) { place = text.skipBlanks(place + 5, end) }
        var count = 0
        while count < 3 {
            var next = place
            guard text.decimal(&next, end) != nil, text[next] == 0x20 else { break }
            place = text.skipBlanks(next, end)
            count += 1
        }
        if count > 0, Self.isLogcatLevel(text[place]), text[place + 1] == 0x20 { start = place }
    }

    private static func isLogcatLevel(_ byte: UInt8) -> Bool {
        byte == 0x56 || byte == 0x44 || byte == 0x49 || byte == 0x57 || byte == 0x45 || byte == 0x46
    }

    /// `I kernel  : `, `I/kernel  (    0): `, `I/kernel: `.
    private mutating func takeLogcat(_ text: LogText) -> Bool {
        guard Self.isLogcatLevel(text[start]), text[start + 1] == 0x20 || text[start + 1] == 0x2F else { return false }
        guard text.has("kernel", at: start + 2), let tag = Self.tagEnd(text, start + 2, end) else { return false }
        start = tag
        hasPrefix = true
        return true
    }

    /// dmesg -x: `kern  :info  : `; OpenWrt and busybox: `kern.info kernel: `.
    private mutating func takeFacility(_ text: LogText) -> Bool {
        let facilities: [StaticString] = ["kern", "user", "daemon", "syslog", "auth", "local", "mail", "cron"]
        guard let facility = facilities.first(where: { text.has($0, at: start) }) else { return false }
        var place = start + facility.utf8CodeUnitCount
        if text[place] &- 0x30 < 8 { place += 1 }
        let levels: [StaticString] = ["emerg", "alert", "crit", "err", "error", "warn", "warning", "notice", "info", "debug"]
        let isDotted = text[place] == 0x2E
        if !isDotted {
            place = text.skipBlanks(place, end)
            guard text[place] == 0x3A else { return false }
        }
        place += 1
        let word = place
        while place < end, text[place] &- 0x61 < 26 { place += 1 }
        guard levels.contains(where: { $0.utf8CodeUnitCount == place - word && text.has($0, at: word) }) else { return false }
        place = text.skipBlanks(place, end)
        if !isDotted {
            guard text[place] == 0x3A else { return false }
            place += 1
        }
        start = text.skipBlanks(place, end)
        hasPrefix = true
        return true
    }

    /// A host, a facility or a source, two words at most, and `kernel:`, `kernel[0]:` or RFC 5424's `kernel - - -`.
    private mutating func takeHost(_ text: LogText) -> Bool {
        var place = start
        for _ in 0 ..< 4 {
            let wordEnd = text.wordEnd(place, end)
            guard place < wordEnd, wordEnd - place <= 255 else { return false }
            if text.has("kernel", at: place), let tag = Self.tagEnd(text, place, end) {
                start = tag
                hasPrefix = true
                return true
            }
            // What syslog-ng puts between its source and the host has no blank.
            if let at = text.find("kernel:", from: place, to: wordEnd), at > place, at + 7 == wordEnd, text[at - 1] == 0x2F {
                start = wordEnd
                hasPrefix = true
                return true
            }
            place = text.skipBlanks(wordEnd, end)
        }
        return false
    }

    /// The end of the tag that begins with "kernel" at `start`; nil where it is a word of the message.
    private static func tagEnd(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        var place = start + 6
        if text[place] == 0x5B, let close = text.find(byte: 0x5D, from: place, to: min(end, place + 12)) { place = close + 1 }
        if text[text.skipBlanks(place, end)] == 0x28, let close = text.find(byte: 0x29, from: place, to: min(end, place + 16)) { place = close + 1 }
        if text.has(" - - - ", at: place) { return place + 7 }
        if text.has(" - - ", at: place) { return place + 5 }
        place = text.skipBlanks(place, end)
        return text[place] == 0x3A ? place + 1 : nil
    }
}
