// Levels, vendors' letters, colours, numbers of lines, the fields of /dev/kmsg, and those of the journal's and of
// dmesg's JSON.

extension KernelMessage {
    // MARK: Levels and colours

    /// `<6>`, or RFC 5424's `<6>1 `.
    mutating func takeLevel(_ text: LogText) -> Bool {
        var place = start + 1
        guard text.decimal(&place, min(end, start + 5)) != nil, text[place] == UInt8(ascii: ">") else { return false }
        start = place + 1
        if text[start] == UInt8(ascii: "1") && text[start + 1] == 0x20 { start += 2 }
        hasPrefix = true
        return true
    }

    /// MediaTek's `(1)[1573:kworker/1:2]`, Qualcomm's `(CPU:1-pid:1573:kworker)`.
    mutating func takeParenthesis(_ text: LogText) -> Bool {
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
    mutating func takeVendorLetter(_ text: LogText) -> Bool {
        guard hasPrefix, text[start + 1] == UInt8(ascii: "["),
            [UInt8](arrayLiteral: 0x45, 0x57, 0x4E, 0x49, 0x44, 0x41, 0x43).contains(text[start]),
            text[start - 1] == 0x5D || text[start - 1] == 0x20
        else { return false }
        start += 1
        return true
    }

    /// A terminal's colour: ESC [ … m.
    mutating func takeColour(_ text: LogText) -> Bool {
        guard let close = Self.colourEnd(text, start, end) else { return false }
        start = close
        return true
    }

    static func colourEnd(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        guard text[start] == 0x1B, text[start + 1] == 0x5B else { return nil }
        var place = start + 2
        while place < min(end, start + 20), text[place] &- 0x30 < 12 { place += 1 }
        return text[place] == UInt8(ascii: "m") || text[place] == UInt8(ascii: "K") ? place + 1 : nil
    }

    /// The start of the colour sequence at the end of [start, end).
    static func colourStart(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        guard end > start, text[end - 1] == UInt8(ascii: "m") || text[end - 1] == UInt8(ascii: "K") else { return nil }
        var place = end - 2
        while place > max(start, end - 20), text[place] != 0x1B { place -= 1 }
        return colourEnd(text, place, end) == end ? place : nil
    }

    // MARK: Numbers

    /// `6,1234,12000001,-;` of /dev/kmsg, maybe with `caller=T123`.
    mutating func takeKmsg(_ text: LogText) -> Bool {
        var place = start
        guard text.decimal(&place, end) != nil, text[place] == 0x2C else { return false }
        place += 1
        guard text.decimal(&place, end) != nil, text[place] == 0x2C else { return false }
        place += 1
        guard let micros = text.decimal(&place, end), text[place] == 0x2C,
            let close = text.find(byte: 0x3B, from: place, to: min(end, place + 80))
        else { return false }
        time = Double(micros) / 1e6
        if let word = text.find("caller=", from: place, to: close),
            let who = Self.callerForm(text, word + 7, text.find(byte: 0x2C, from: word, to: close) ?? close)
        {
            caller = who
        }
        start = close + 1
        hasPrefix = true
        return true
    }

    /// The number of a line: `12:`, `12<tab>`, or `12 [` before printk's time.
    mutating func takeNumber(_ text: LogText) -> Bool {
        var place = start
        guard text.decimal(&place, min(end, start + 9)) != nil else { return false }
        let next = text[place]
        if next == 0x09 || (next == 0x3A && !(text[place + 1] &- 0x30 < 10)) {
            start = place + 1
            return true
        }
        let after = text.skipBlanks(place, end)
        guard next == 0x20, text[after] == 0x5B, text[after + 1] == 0x20 || text[after + 1] &- 0x30 < 10,
            text.find(byte: 0x2E, from: after, to: min(end, after + 16)) != nil
        else { return false }
        start = after
        return true
    }

    // MARK: Fields of the journal and of dmesg --json

    /// `MESSAGE=` of journalctl -o verbose and export, `"MESSAGE":"…"` of -o json, `"msg": "…"` of dmesg --json.
    mutating func takeField(_ text: LogText) -> Bool {
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
}
