// Bracketed parts before a kernel's message: printk's time, dates of dmesg, and the printing task or processor, in the
// forms of the kernel itself and of vendors' kernels.

extension KernelMessage {
    /// `[ 12.345678]`, `[12.3 < 0.000010>]`, `[ +0.000004]`, `[Jan26 15:04]`, `[ T123]`, `[3: worker: 1573]`,
    /// `[1573:kworker/1:2]`, `[name:slub&]` and similar ones: any bracket that is neither an address nor a gap.
    mutating func takeBracket(_ text: LogText) -> Bool {
        guard let close = text.find(byte: 0x5D, from: start, to: min(end, start + 80)) else { return false }
        let first = text.skipBlanks(start + 1, close)
        if first == close { return false }
        if text[first] == UInt8(ascii: "<") {
            // dmesg --time-format delta: [<    0.000010>]; an address has no point.
            guard text[close - 1] == UInt8(ascii: ">"), let point = text.find(byte: 0x2E, from: first, to: close),
                text[point - 1] &- 0x30 < 10
            else { return false }
            start = close + 1
            hasPrefix = true
            return true
        }
        if text.has("...", at: first) { return false }
        // A stack pointer or an address: eight or more digits and nothing else.
        var digits = first
        if text[digits] == UInt8(ascii: "0") && text[digits + 1] | 0x20 == UInt8(ascii: "x") { digits += 2 }
        let number = digits
        if text.hexadecimal(&digits, close) != nil, digits == close, digits - number >= 8 { return false }
        let word = text[first]
        // Before its time a line has only dates. After the time, a bracket may belong to the message: [drm], [inline].
        guard
            hasPrefix || word == UInt8(ascii: "+") || word &- 0x30 < 10 || Self.callerForm(text, first, close) != nil
                || Self.hasClock(text, first, close)
        else {
            return false
        }
        if !takeTime(text, first, close) {
            if let who = Self.callerForm(text, first, close) {
                caller = who
            } else if !Self.isPrefixBracket(text, first, close) {
                return false
            }
        }
        start = close + 1
        hasPrefix = true
        return true
    }

    /// `12.345678`, `12.345678s`, `12.345678@0`, `12.345678,0`, `12.345678 <  0.000010>`: sets the time.
    mutating func takeTime(_ text: LogText, _ first: Int, _ close: Int) -> Bool {
        var place = first
        guard let seconds = text.decimal(&place, close), text[place] == 0x2E else { return false }
        let fractionStart = place + 1
        var fraction = fractionStart
        guard let digits = text.decimal(&fraction, close), fraction - fractionStart <= 9 else { return false }
        let rest = text[fraction]
        guard
            fraction == close || rest == 0x40 || rest == 0x2C || rest == 0x73 || rest == 0x20 || rest == 0x3C
                || rest == 0x2F
        else { return false }
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

    /// The printing task or processor, in the forms of CONFIG_PRINTK_CALLER, Samsung, MediaTek and HiSilicon; nil if
    /// the bracket has none.
    static func callerForm(_ text: LogText, _ first: Int, _ close: Int) -> UInt64? {
        var place = first
        let letter = text[first]
        if letter == UInt8(ascii: "T") || letter | 0x20 == UInt8(ascii: "c") {
            place = first + 1
            if let number = text.decimal(&place, close), place == close {
                return letter == UInt8(ascii: "T") ? task(number) : processor(number)
            }
        }
        // HiSilicon: pid:1573,cpu3,kworker/3:1.
        if text.has("pid:", at: first) {
            place = first + 4
            guard let pid = text.decimal(&place, close), text.has(",cpu", at: place) else { return nil }
            place += 4
            return pid > 0 ? task(pid) : text.decimal(&place, close).map(processor)
        }
        guard let number = text.decimal(&place, close), text[place] == 0x3A else { return nil }
        // Samsung: 3: worker: 1573. A name may contain anything, so the task's number is searched from the end.
        var last = close
        while last > place + 1, text[last - 1] &- 0x30 < 10 { last -= 1 }
        let blank = text[last - 1] == 0x20 || text[last - 1] == 0x3A
        if text[place + 1] == 0x20 || text[place + 1] == 0x3A
            || (blank && text.find(byte: 0x20, from: place, to: close) != nil), last < close, blank
        {
            var digits = last
            if let pid = text.decimal(&digits, close) { return pid > 0 ? task(pid) : processor(number) }
        }
        // MediaTek: 1573:kworker/1:2. A time of day has digits only.
        var after = place + 1
        if text.decimal(&after, close) != nil, after == close || text[after] == 0x3A || text[after] == 0x20 {
            return nil
        }
        return number > 0 ? task(number) : nil
    }

    /// Other brackets at the beginning of a message: `+0.000004`, dates, `name:slub&`.
    static func isPrefixBracket(_ text: LogText, _ first: Int, _ close: Int) -> Bool {
        if text[first] == UInt8(ascii: "+") || hasClock(text, first, close) || text.has("name:", at: first) {
            return true
        }
        // Unknown times: [ < 0.000000>].
        return text[first] &- 0x30 < 10 && text.find(byte: 0x2E, from: first, to: close) != nil
    }

    /// True if `15:04` is in [first, close).
    static func hasClock(_ text: LogText, _ first: Int, _ close: Int) -> Bool {
        var place = first
        while let colon = text.find(byte: 0x3A, from: place, to: close) {
            if colon > first, text[colon - 1] &- 0x30 < 10, text[colon + 1] &- 0x30 < 10, text[colon + 2] &- 0x30 < 10 {
                return true
            }
            place = colon + 1
        }
        return false
    }
}
