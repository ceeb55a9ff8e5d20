// The blocks of output: each has a heading and rows.

extension MonitorReader {
    // MARK: Headings

    mutating func heading(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        func at(_ index: Int, _ text: StaticString) -> Bool {
            index < words.count && text.withUTF8Buffer { words[index].elementsEqual($0) }
        }
        func has(_ text: StaticString) -> Bool {
            words.contains { word in text.withUTF8Buffer { word.elementsEqual($0) } }
        }
        // vmstat's two lines: Linux's, and the BSDs'.
        if at(0, "procs") || Watch.has(words[0], prefix: "procs-") || Watch.has(words[0], prefix: "--procs")
            || Watch.has(words[0], prefix: "-procs")
        {
            return true
        }
        if at(0, "r"), at(1, "b"), has("free") || has("fre"), has("us") || has("id") {
            endStatus()
            // The heading is repeated after a screen of rows.
            if case .vmstat = block {} else { isFirstOfVmstat = true }
            block = .vmstat(words.map { String(decoding: $0, as: UTF8.self) })
            return true
        }
        if let heading = ProcessHeading(words) {
            begin(heading)
            return true
        }
        if at(0, "Cache"), at(1, "Num"), at(2, "Total"), at(3, "Size") {
            beginAgain(.slab)
            block = .slabCaches
            return true
        }
        if at(0, "slabinfo"), at(1, "-") {
            beginAgain(.slab)
            block = .none
            return true
        }
        if at(0, "#"), at(1, "name"), words.count > 2, Watch.has(words[2], prefix: "<active_objs") { return true }
        if at(0, "ITEM"), at(1, "SIZE"), has("USED") {
            beginAgain(.slab)
            block = .zones
            return true
        }
        if at(0, "Type"), at(1, "InUse"), at(2, "MemUse") {
            beginAgain(.slab)
            block = .types
            return true
        }
        if at(0, "OBJS"), at(1, "ACTIVE"), has("NAME") {
            beginAgain(.slab)
            block = .slabtop
            return true
        }
        if at(0, "total"), at(1, "used"), at(2, "free") {
            beginAgain(.system, key: "meminfo.MemTotal")
            block = .free(words.map { String(decoding: $0, as: UTF8.self) })
            return true
        }
        return false
    }

    /// Rows that lost their heading by grep or tail: of free, and of vmstat if the shares of time add up to 100.
    mutating func withoutHeading(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        if words[0].elementsEqual("Mem:".utf8) || words[0].elementsEqual("Swap:".utf8) {
            let isMem = words[0].elementsEqual("Mem:".utf8)
            guard words.count == (isMem ? 7 : 4) else { return false }
            if isMem { beginAgain(.system, key: "meminfo.MemTotal") }
            return free(["total", "used", "free", "shared", "buff/cache", "available"], words)
        }
        guard words.count == 17 || words.count == 18, let shares = Optional(words[12...].compactMap { number($0) }),
            shares.count == words.count - 12, (97 ... 103).contains(shares.reduce(0) { $0 + min($1, 1000) })
        else { return false }
        isFirstOfVmstat = true
        return vmstat(
            [
                "r", "b", "swpd", "free", "buff", "cache", "si", "so", "bi", "bo", "in", "cs", "us", "sy", "id", "wa",
                "st",
            ] + (words.count == 18 ? ["gu"] : []), words, line)
    }

    // MARK: vmstat

    mutating func vmstat(_ columns: [String], _ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        var dated: FoundTime?, values = words
        // -t puts the time at the end.
        if words.count >= columns.count, words.count > 16,
            let time = ImportTimes.find(line[words[words.count - 2].startIndex...])
        {
            dated = time
            values = Array(words.dropLast(2))
        }
        let names = columns.filter { !$0.allSatisfy { $0.isUppercase } || $0.isEmpty }
        guard values.count >= names.count - (dated == nil ? 0 : 1),
            values.allSatisfy({ number($0) != nil || scaled($0) != nil })
        else { return false }
        if let dated {
            let kept = block
            begin(dated)
            block = kept
        } else {
            beginAgain(.system, key: "meminfo.MemFree")
        }
        var known: [String: Int64] = [:]
        for (name, word) in zip(names, values) where known[name] == nil { known[name] = number(word) ?? scaled(word) }
        // Values of /proc/meminfo for the same moment are exact and stay.
        for (column, name) in [
            ("MemFree", "free"), ("MemFree", "fre"), ("Buffers", "buff"), ("Cached", "cache"), ("SwapUsed", "swpd"),
            ("Active", "active"), ("Inactive", "inact"),
        ] {
            if let value = known[name] {
                setIfUnknown(
                    "meminfo.\(column)", value.multipliedReportingOverflow(by: options.unitKilobytes).partialValue)
            }
        }
        for (column, name) in [("vmstat.avm", "avm"), ("load.running", "r"), ("load.blocked", "b")] {
            if let value = known[name] { moment.system[column] = value }
        }
        defer { isFirstOfVmstat = false }
        if isFirstOfVmstat { return true }
        for (column, name) in [
            ("rate.swapIn", "si"), ("rate.swapOut", "so"), ("rate.pageIn", "pi"), ("rate.pageOut", "po"),
        ] { if let value = known[name] { moment.system[column] = value } }
        for (name, column) in [("us", "user"), ("sy", "system"), ("id", "idle"), ("wa", "iowait"), ("st", "steal")] {
            // The BSDs have another column sy, for calls; the last one is the share of time.
            if let place = names.lastIndex(of: name), place < values.count, let value = number(values[place]),
                value <= 100
            {
                moment.system["cpuPercent.\(column)"] = value
            }
        }
        return true
    }

    // MARK: Slab caches

    /// vmstat -m: name, active, all, size of one, to a slab.
    mutating func slabCache(_ words: [ArraySlice<UInt8>]) -> Bool {
        guard words.count == 5, let active = number(words[1]), let objects = number(words[2]),
            let size = number(words[3]), number(words[4]) != nil
        else { return false }
        add(
            ImportedSlab(
                name: text(words[0]), active: active, objects: objects, objectBytes: size,
                bytes: objects.multipliedReportingOverflow(by: size).partialValue))
        return true
    }

    /// buf free cache:        424,      0,     16,     86,    4012
    mutating func zone(_ line: ArraySlice<UInt8>) -> Bool {
        guard let colon = line.lastIndex(of: UInt8(ascii: ":")) else { return false }
        let numbers = line[(colon + 1)...].split { $0 == UInt8(ascii: ",") || $0 == 0x20 || $0 == 0x09 }.map {
            number($0)
        }
        guard numbers.count >= 5, let size = numbers[0], let used = numbers[2], let free = numbers[3] else {
            return false
        }
        let objects = max(0, used.addingReportingOverflow(free).partialValue)
        let name = text(line[..<colon].drop { $0 == 0x20 })
        add(
            ImportedSlab(
                name: name, isBSD: true, active: used, objects: objects, objectBytes: size,
                bytes: objects.multipliedReportingOverflow(by: size).partialValue))
        return true
    }

    /// atkbddev     2     1K       -        2  32: the name may have several words.
    mutating func type(_ words: [ArraySlice<UInt8>]) -> Bool {
        for place in words.indices.dropFirst()
        where place + 1 < words.count && words[place + 1].last == UInt8(ascii: "K") {
            guard let inUse = number(words[place]), let kilobytes = number(words[place + 1].dropLast()) else {
                continue
            }
            let name = words[..<place].map { text($0) }.joined(separator: " ")
            add(
                ImportedSlab(
                    name: name, isBSD: true, active: inUse, objects: inUse, objectBytes: 0,
                    bytes: kilobytes.multipliedReportingOverflow(by: 1024).partialValue))
            return true
        }
        return false
    }

    /// 1269879 1117107  87%    0.10K  32561       39    130244K buffer_head
    mutating func slabtopRow(_ words: [ArraySlice<UInt8>]) -> Bool {
        guard words.count == 8, let objects = number(words[0]), let active = number(words[1]),
            words[2].last == UInt8(ascii: "%"), let size = decimal(words[3].dropLast()),
            let kilobytes = number(words[6].dropLast())
        else { return false }
        add(
            ImportedSlab(
                name: text(words[7]), active: active, objects: objects, objectBytes: whole(size * 1024),
                bytes: kilobytes.multipliedReportingOverflow(by: 1024).partialValue))
        return true
    }

    /// A line of /proc/slabinfo.
    func slabinfoLine(_ words: [ArraySlice<UInt8>]) -> ImportedSlab? {
        guard words.count >= 15, words[6].elementsEqual(":".utf8), words[7].elementsEqual("tunables".utf8),
            let active = number(words[1]), let objects = number(words[2]), let size = number(words[3]),
            let pages = number(words[5]), let slabs = number(words[14])
        else { return nil }
        let bytes = pages.multipliedReportingOverflow(by: slabs).partialValue.multipliedReportingOverflow(
            by: options.pageBytes
        )
        .partialValue
        return ImportedSlab(name: text(words[0]), active: active, objects: objects, objectBytes: size, bytes: bytes)
    }

    mutating func add(_ slab: ImportedSlab) {
        guard moment.slabs.count < 1 << 16 else {
            return file.addUnread(lineNumber, "more than 65,536 caches in one moment", [])
        }
        moment.slabs.append(slab)
    }

    // MARK: free

    mutating func free(_ columns: [String], _ words: [ArraySlice<UInt8>]) -> Bool {
        guard let name = words.first else { return false }
        if name.elementsEqual("-/+".utf8) { return true }
        guard name.last == UInt8(ascii: ":") else { return false }
        guard name.elementsEqual("Mem:".utf8) || name.elementsEqual("Swap:".utf8) else {
            return Watch.has(name, prefix: "Low") || Watch.has(name, prefix: "High") || Watch.has(name, prefix: "Total")
                || Watch.has(name, prefix: "Comm")
        }
        var known: [String: Int64] = [:]
        for (column, word) in zip(columns, words.dropFirst()) {
            guard let value = amount(word) else { return false }
            known[column] = value
        }
        func put(_ field: String, _ column: String) {
            if let value = known[column] { setIfUnknown("meminfo.\(field)", value) }
        }
        if name.elementsEqual("Swap:".utf8) {
            put("SwapTotal", "total")
            put("SwapFree", "free")
            return true
        }
        if let total = known["total"], total < 128 << 10, options.unit == nil,
            words[1].last.map({ (0x30 ... 0x39).contains($0) }) ?? false
        {
            file.note(
                "\(file.path):\(lineNumber): free's total of \(total) is taken for kilobytes; --unit m where it was "
                    + "free -m"
            )
        }
        put("MemTotal", "total")
        put("MemFree", "free")
        put("Shmem", "shared")
        put("MemAvailable", "available")
        put("Buffers", "buffers")
        put("Cached", "cached")
        put("Cached", "cache")
        // One column for both; it counts as the cache.
        put("Cached", "buff/cache")
        return true
    }

    /// Kilobytes, from free's output: a number in its unit, or a number with a unit (-h).
    private func amount(_ word: ArraySlice<UInt8>) -> Int64? {
        if let value = number(word) {
            return options.unit == .bytes
                ? value / 1024 : value.multipliedReportingOverflow(by: options.unitKilobytes).partialValue
        }
        var text = word
        if text.last == UInt8(ascii: "B") { text = text.dropLast() }
        if text.last == UInt8(ascii: "i") { text = text.dropLast() }
        if let value = decimal(text) { return whole(value / 1024) }
        return scaled(text)
    }

    func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes.prefix(256), as: UTF8.self) }
}
