// Dates, hosts and tags that syslog daemons, journalctl, logcat and dmesg -x put before a kernel's message.

extension KernelMessage {
    /// A date and a time of day, in any order and language of digits: `Jan 26 15:04:11`,
    /// `2024-01-26T15:04:11,493181+08:00`,
    /// `Fri 2024-01-26 15:04:11 CST`, `01-26 15:04:11.493`, `1706252651.493181`.
    mutating func takeDated(_ text: LogText) -> Bool {
        var place = start, hasTime = false, words = 0
        while words < 6, place < end {
            let wordEnd = text.wordEnd(place, end)
            if wordEnd - place > 40 { break }
            if Self.isClock(text, place, wordEnd) {
                hasTime = true
            } else if Self.isUnixTime(text, place, wordEnd), words == 0 {
                hasTime = true
            } else if hasTime
                ? !(Self.isZone(text, place, wordEnd) || Self.isYear(text, place, wordEnd))
                : !Self.isDateWord(text, place, wordEnd)
            {
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

    /// `15:04`, `15:04:11.493`, `2024-01-26T15:04:11Z`, maybe with a colon after it.
    static func isClock(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        guard text[start] &- 0x30 < 10, hasClock(text, start, end) else { return false }
        return (start ..< end).allSatisfy { place in
            let byte = text[place]
            return byte &- 0x2B < 16 || byte == UInt8(ascii: "T") || byte == UInt8(ascii: "Z")
        }
    }

    /// Seconds since 1970 with a fraction: nine or more digits, or followed by a host and "kernel:".
    static func isUnixTime(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        var place = start
        guard text.decimal(&place, end) != nil, text[place] == 0x2E else { return false }
        let whole = place - start
        place += 1
        let fraction = place
        return text.decimal(&place, end) != nil && (place == end || (text[place] == 0x3A && place + 1 == end))
            && (whole >= 9 || place - fraction >= 6)
    }

    static func isYear(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        var place = start
        guard let year = text.decimal(&place, end) else { return false }
        return place == end && end - start == 4 && year >= 1970 && year < 2200
    }

    /// A part of a date before its clock: a weekday, a month, a day, a year, `2024-01-26`, `26/01/2024`.
    static func isDateWord(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        let names: [StaticString] = [
            "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
            "Sep", "Oct", "Nov", "Dec",
        ]
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
    static func isZone(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        if text[start] == 0x2B && end - start >= 5 && end - start <= 6 { return true }
        let zones: [StaticString] = [
            "UTC", "GMT", "CET", "CEST", "EET", "EEST", "MSK", "BST", "IST", "JST", "KST", "CST", "EST", "EDT", "CDT",
            "MST", "MDT", "PST", "PDT", "AM", "PM",
        ]
        return zones.contains { $0.utf8CodeUnitCount == end - start && text.has($0, at: start) }
    }

    /// logcat's user, process and thread between the date and the level: `0     0 I kernel  : `.
    mutating func takeIDs(_ text: LogText) {
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

    static func isLogcatLevel(_ byte: UInt8) -> Bool {
        byte == 0x56 || byte == 0x44 || byte == 0x49 || byte == 0x57 || byte == 0x45 || byte == 0x46
    }

    /// `I kernel  : `, `I/kernel  (    0): `, `I/kernel: `.
    mutating func takeLogcat(_ text: LogText) -> Bool {
        guard Self.isLogcatLevel(text[start]), text[start + 1] == 0x20 || text[start + 1] == 0x2F else { return false }
        guard text.has("kernel", at: start + 2), let tag = Self.tagEnd(text, start + 2, end) else { return false }
        start = tag
        hasPrefix = true
        return true
    }

    /// dmesg -x: `kern  :info  : `; OpenWrt and busybox: `kern.info kernel: `.
    mutating func takeFacility(_ text: LogText) -> Bool {
        let facilities: [StaticString] = ["kern", "user", "daemon", "syslog", "auth", "local", "mail", "cron"]
        guard let facility = facilities.first(where: { text.has($0, at: start) }) else { return false }
        var place = start + facility.utf8CodeUnitCount
        if text[place] &- 0x30 < 8 { place += 1 }
        let levels: [StaticString] = [
            "emerg", "alert", "crit", "err", "error", "warn", "warning", "notice", "info", "debug",
        ]
        let isDotted = text[place] == 0x2E
        if !isDotted {
            place = text.skipBlanks(place, end)
            guard text[place] == 0x3A else { return false }
        }
        place += 1
        let word = place
        while place < end, text[place] &- 0x61 < 26 { place += 1 }
        guard levels.contains(where: { $0.utf8CodeUnitCount == place - word && text.has($0, at: word) }) else {
            return false
        }
        place = text.skipBlanks(place, end)
        if !isDotted {
            guard text[place] == 0x3A else { return false }
            place += 1
        }
        start = text.skipBlanks(place, end)
        hasPrefix = true
        return true
    }

    /// At most two words (a host, a facility or a source) and `kernel:`, `kernel[0]:` or RFC 5424's `kernel - - -`.
    mutating func takeHost(_ text: LogText) -> Bool {
        var place = start
        for _ in 0 ..< 4 {
            let wordEnd = text.wordEnd(place, end)
            guard place < wordEnd, wordEnd - place <= 255 else { return false }
            if text.has("kernel", at: place), let tag = Self.tagEnd(text, place, end) {
                start = tag
                hasPrefix = true
                return true
            }
            // syslog-ng writes no blank between its source and the host.
            if let at = text.find("kernel:", from: place, to: wordEnd), at > place, at + 7 == wordEnd,
                text[at - 1] == 0x2F
            {
                start = wordEnd
                hasPrefix = true
                return true
            }
            place = text.skipBlanks(wordEnd, end)
        }
        return false
    }

    /// The end of the tag that begins with "kernel" at `start`; nil if it is a word of the message.
    static func tagEnd(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        var place = start + 6
        if text[place] == 0x5B, let close = text.find(byte: 0x5D, from: place, to: min(end, place + 12)) {
            place = close + 1
        }
        if text[text.skipBlanks(place, end)] == 0x28,
            let close = text.find(byte: 0x29, from: place, to: min(end, place + 16))
        {
            place = close + 1
        }
        if let data = structuredData(text, place, end) { return data }
        place = text.skipBlanks(place, end)
        return text[place] == 0x3A ? place + 1 : nil
    }

    /// Skips RFC 5424's process, message and structured data: ` - - - `, ` 0 - - `, ` - - [meta sequenceId="1"] `, and
    /// ` - - ` without data.
    private static func structuredData(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        guard text[start] == 0x20 else { return nil }
        var place = start + 1
        if text[place] == 0x2D { place += 1 } else if text.decimal(&place, end) == nil { return nil }
        guard text.has(" - ", at: place) else { return nil }
        place += 3
        if text.has("- ", at: place) { return place + 2 }
        while text[place] == 0x5B, let equals = text.find("=\"", from: place, to: end),
            text.find(byte: 0x20, from: place, to: equals) != nil || text[place + 1] | 0x20 &- 0x61 < 26,
            let close = text.find("\"]", from: equals + 1, to: end), text.find("] ", from: place, to: equals) == nil
        { place = close + 2 }
        return place
    }
}
