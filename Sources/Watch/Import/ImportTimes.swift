// Times in people's logs: date(1)'s usual forms, ISO 8601, seconds since 1970, and times of day. A zone other than UTC
// or an offset is taken for this machine's, because names of zones are ambiguous.

import Glibc

/// A time found in a line.
struct FoundTime {
    /// Milliseconds since 1970.
    var wall: Int64
    /// Its range in the line.
    var range: Range<Int>
    /// The name of a zone for which this machine's was used.
    var zone: String?
    /// Only a number, of seconds since 1970: a counter may look like it.
    var isSeconds = false
}

enum ImportTimes {
    private static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    private static let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

    /// The first date with a time of day in a line, within its first twelve words.
    static func find(_ line: ArraySlice<UInt8>) -> FoundTime? {
        let words = words(line, most: 20)
        for place in 0 ..< min(words.count, 12) {
            if let found = date(words, at: place) { return found }
        }
        return nil
    }

    /// Whether a line begins with a date: its first word is one, or a part of one.
    static func atStart(_ line: ArraySlice<UInt8>) -> FoundTime? { date(words(line, most: 8), at: 0) }

    private static func date(_ words: [ArraySlice<UInt8>], at place: Int) -> FoundTime? {
        guard place < words.count, words[place].count <= 64 else { return nil }
        return iso(words, place) ?? named(words, place) ?? (place == 0 ? epoch(words) : nil)
    }

    // 2026-11-28 13:46:40, 2026/11/28T13:46:40.123+01:00, 20261128-134640, [2026-11-28 13:46:40]
    private static func iso(_ words: [ArraySlice<UInt8>], _ place: Int) -> FoundTime? {
        var text = trimmed(words[place]), end = text.endIndex
        let start = text.startIndex
        func digits(_ count: Int) -> Int? {
            guard text.count >= count, let value = number(text.prefix(count)) else { return nil }
            text = text.dropFirst(count)
            return Int(value)
        }
        func skip(_ set: StaticString) -> Bool {
            guard let first = text.first, set.withUTF8Buffer({ $0.contains(first) }) else { return false }
            text = text.dropFirst()
            return true
        }
        guard let year = digits(4), (1971 ... 2200).contains(year) else { return nil }
        let isDashed = skip("-/.")
        guard let month = digits(2), (1 ... 12).contains(month), !isDashed || skip("-/."), let day = digits(2),
            (1 ... 31).contains(day)
        else { return nil }
        if text.isEmpty {
            guard place + 1 < words.count else { return nil }
            text = trimmed(words[place + 1])
            end = text.endIndex
        } else if !skip("T_-t:") {
            return nil
        }
        guard let hour = digits(2), hour < 24 else { return nil }
        let isColoned = skip(":")
        guard let minute = digits(2), minute < 60 else { return nil }
        var second = 0, milli = 0
        if isColoned ? skip(":") : text.first.map({ (0x30 ... 0x39).contains($0) }) ?? false {
            guard let value = digits(2), value <= 60 else { return nil }
            second = value
        }
        if skip(".,") {
            let fraction = text.prefix { (0x30 ... 0x39).contains($0) }
            milli = Int(number((fraction + [0x30, 0x30, 0x30]).prefix(3)) ?? 0)
            text = text.dropFirst(fraction.count)
        }
        var offset: Int?
        if let own = zoneOffset(text) {
            offset = own
        } else if !text.isEmpty {
            return nil
        } else if let after = words.dropFirst(place + 1).first(where: { $0.startIndex >= end }), after.count >= 3,
            let own = zoneOffset(after)
        {
            (offset, end) = (own, after.endIndex)
        }
        guard let wall = wall(year, month, day, hour, minute, second, offset) else { return nil }
        return FoundTime(wall: wall + Int64(milli), range: start ..< max(end, text.endIndex))
    }

    // Sat Nov 28 13:46:40 UTC 2026; Sat Nov 28 13:46:40 2026; Sat 28 Nov 2026 01:46:40 PM CET; Nov 28 2026 13:46:40
    private static func named(_ words: [ArraySlice<UInt8>], _ place: Int) -> FoundTime? {
        var at = place
        func lower(_ word: ArraySlice<UInt8>) -> String {
            String(decoding: word.map { (0x41 ... 0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
        }
        let first = trimmed(words[at])
        let start = first.startIndex
        let isWeekday = first.count >= 3 && days.contains { lower(first).hasPrefix($0) }
        if isWeekday { at += 1 }
        var month: Int?, day: Int?, year: Int?, time: (Int, Int, Int)?, isAfternoon: Bool?, offset: Int?, zone: String?,
            end = start
        var seen = 0
        while at < words.count, seen < 7 {
            let word = trimmed(words[at])
            let text = lower(word)
            if month == nil, word.count >= 3,
                let found = months.firstIndex(where: {
                    text == $0 || text.hasPrefix($0) && text.utf8.allSatisfy { (0x61 ... 0x7A).contains($0) }
                })
            {
                month = found + 1
            } else if day == nil, word.count <= 2, let value = number(word), (1 ... 31).contains(value) {
                day = Int(value)
            } else if year == nil, word.count == 4, let value = number(word), (1971 ... 2200).contains(value) {
                year = Int(value)
            } else if time == nil, let found = clock(word) {
                time = found
            } else if time != nil, isAfternoon == nil, text == "am" || text == "pm" {
                isAfternoon = text == "pm"
            } else if time != nil, offset == nil, zone == nil, let own = zoneOffset(word) {
                offset = own
            } else if time != nil, zone == nil, offset == nil, year == nil || at == words.count - 1 || isWeekday,
                (2 ... 5).contains(word.count), word.allSatisfy({ (0x41 ... 0x5A).contains($0) })
            {
                zone = String(decoding: word, as: UTF8.self)
            } else {
                break
            }
            end = words[at].endIndex
            at += 1
            seen += 1
        }
        guard let month, let day, let year, var time else { return nil }
        if isAfternoon == true, time.0 < 12 { time.0 += 12 }
        if isAfternoon == false, time.0 == 12 { time.0 = 0 }
        guard let wall = wall(year, month, day, time.0, time.1, time.2, offset) else { return nil }
        return FoundTime(wall: wall, range: start ..< end, zone: zone)
    }

    // 1795873768 or 1795873768.123, alone on the line or at its start.
    private static func epoch(_ words: [ArraySlice<UInt8>]) -> FoundTime? {
        let word = words[0].first == UInt8(ascii: "@") ? words[0].dropFirst() : words[0]
        let whole = word.prefix { $0 != UInt8(ascii: ".") }
        guard whole.count == 10, let seconds = number(whole), (946_684_800 ... 7_258_118_400).contains(seconds) else {
            return nil
        }
        var milli: Int64 = 0
        if whole.count < word.count {
            let fraction = word.dropFirst(whole.count + 1)
            guard !fraction.isEmpty, fraction.allSatisfy({ (0x30 ... 0x39).contains($0) }) else { return nil }
            milli = number((fraction + [0x30, 0x30, 0x30]).prefix(3)) ?? 0
        }
        return FoundTime(
            wall: seconds * 1000 + milli, range: words[0].startIndex ..< words[0].endIndex, isSeconds: true)
    }

    /// 13:46, 13:46:40, 1:46:40PM.
    static func clock(_ word: ArraySlice<UInt8>) -> (Int, Int, Int)? {
        var word = word, add: Int?
        if word.count > 2, word.last.map({ $0 | 0x20 }) == UInt8(ascii: "m"),
            let letter = word.dropLast().last.map({ $0 | 0x20 }), letter == 0x61 || letter == 0x70
        {
            add = letter == 0x70 ? 12 : 0
            word = word.dropLast(2)
        }
        let parts = word.prefix { $0 != UInt8(ascii: ".") }.split(
            separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard (2 ... 3).contains(parts.count), parts.allSatisfy({ (1 ... 2).contains($0.count) }) else { return nil }
        let numbers = parts.compactMap { number($0) }.map { Int($0) }
        guard numbers.count == parts.count, numbers[0] < 24, numbers[1] < 60, numbers.count < 3 || numbers[2] <= 60
        else { return nil }
        let hour = add.map { numbers[0] % 12 + $0 } ?? numbers[0]
        return (hour, numbers[1], numbers.count > 2 ? numbers[2] : 0)
    }

    /// Seconds east of Greenwich: UTC, GMT, Z, +0100, +01:00, -05.
    private static func zoneOffset(_ word: ArraySlice<UInt8>) -> Int? {
        if word.elementsEqual("UTC".utf8) || word.elementsEqual("GMT".utf8) || word.elementsEqual("Z".utf8) { return 0 }
        guard let sign = word.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") else { return nil }
        let digits = word.dropFirst().filter { $0 != UInt8(ascii: ":") }
        guard digits.count == 4 || digits.count == 2, let value = number(digits[...]) else { return nil }
        let seconds = digits.count == 4 ? Int(value) / 100 * 3600 + Int(value) % 100 * 60 : Int(value) * 3600
        guard seconds <= 15 * 3600 else { return nil }
        return sign == UInt8(ascii: "-") ? -seconds : seconds
    }

    /// - Parameter offset: seconds east of Greenwich; nil is this machine's zone.
    static func wall(
        _ year: Int, _ month: Int, _ day: Int, _ hour: Int, _ minute: Int, _ second: Int, _ offset: Int?
    ) -> Int64? {
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (Int32(year - 1900), Int32(month - 1), Int32(day))
        (parts.tm_hour, parts.tm_min, parts.tm_sec, parts.tm_isdst) = (Int32(hour), Int32(minute), Int32(second), -1)
        let seconds = offset == nil ? mktime(&parts) : timegm(&parts)
        guard seconds > 0 else { return nil }
        return (Int64(seconds) - Int64(offset ?? 0)) * 1000
    }

    /// A date, or a date and a time, from an option.
    static func option(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        if let found = find(bytes[...]), found.range.upperBound == bytes.count { return found.wall }
        let day = Array((text + " 00:00:00").utf8)
        return find(day[...])?.wall
    }

    // Removes brackets, quotes, stars and similar signs around a date.
    private static func trimmed(_ word: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        func isPart(_ byte: UInt8) -> Bool {
            (0x30 ... 0x39).contains(byte) || (0x41 ... 0x5A).contains(byte) || (0x61 ... 0x7A).contains(byte)
        }
        var word = word
        while let first = word.first, !isPart(first), first != UInt8(ascii: "+"),
            first != UInt8(ascii: "-") || word.count > 6
        { word = word.dropFirst() }
        while let last = word.last, !isPart(last) { word = word.dropLast() }
        return word
    }
}

/// A date, or a date and a time, typed by the user; milliseconds since 1970.
package func importTime(_ text: String) -> Int64? { ImportTimes.option(text) }
