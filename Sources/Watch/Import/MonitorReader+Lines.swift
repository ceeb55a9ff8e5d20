// Lines that need no heading: the first lines of uptime and top, and the contents of /proc's files.

extension MonitorReader {
    mutating func single(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        if case .status = block, statusLine(words) { return true }
        if uptime(words, line) || topHead(words, line) || named(words, line) || loadavg(words) { return true }
        if let slab = slabinfoLine(words) {
            add(slab)
            return true
        }
        return counters(words, line)
    }

    // MARK: uptime and top

    ///  13:49:30 up  4:02,  2 users,  load average: 13.82, 7.45, 4.49;   top - 13:49:30 up 5 days, …
    private mutating func uptime(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        guard
            let load = words.lastIndex(where: {
                $0.elementsEqual("average:".utf8) || $0.elementsEqual("averages:".utf8)
            }), load >= 3, words[load - 1].elementsEqual("load".utf8)
        else { return false }
        let averages = words[(load + 1)...].map { word in
            decimal(word.last == UInt8(ascii: ",") ? word.dropLast() : word)
        }
        guard averages.count >= 3, let one = averages[0], let five = averages[1], let fifteen = averages[2] else {
            return false
        }
        endStatus()
        // If there is no date, uptime begins a moment, which top's first lines and ps continue.
        beginAgain(.system, key: "load.1")
        block = .none
        for (name, value) in [("1", one), ("5", five), ("15", fifteen)] where value < 1e9 {
            moment.system["load.\(name)"] = Int64((value * 100).rounded())
        }
        guard let up = words.firstIndex(where: { $0.elementsEqual("up".utf8) }), up > 0, up < load else { return true }
        if let clock = ImportTimes.clock(words[up - 1]), moment.wall == nil {
            moment.secondOfDay = clock.0 * 3600 + clock.1 * 60 + clock.2
        }
        if let seconds = upSeconds(words[(up + 1) ..< load]) { moment.system["uptime.seconds"] = seconds }
        return true
    }

    /// 4:02, ; 5 days, 3:02, ; 12 min, ; 1 day, 2 hrs, ; 45 secs
    private func upSeconds(_ words: ArraySlice<ArraySlice<UInt8>>) -> Int64? {
        var seconds: Int64 = 0, found = false, before: Int64?
        for word in words {
            let plain = word.last == UInt8(ascii: ",") ? word.dropLast() : word
            if let value = number(plain) {
                before = value
                continue
            }
            let colon = plain.split(separator: UInt8(ascii: ":"))
            if colon.count == 2, let hours = number(colon[0]), let minutes = number(colon[1]) {
                seconds += min(hours, 1 << 20) * 3600 + min(minutes, 60) * 60
                found = true
            } else if let value = before {
                let unit: Int64
                switch true {
                case Watch.has(plain, prefix: "day"): unit = 86_400
                case Watch.has(plain, prefix: "h"): unit = 3600
                case Watch.has(plain, prefix: "min"): unit = 60
                case Watch.has(plain, prefix: "sec"): unit = 1
                // The number of users: the time has ended.
                default: return found ? seconds : nil
                }
                seconds += min(value, 1 << 20) * unit
                found = true
            }
            before = nil
        }
        return found ? seconds : nil
    }

    /// Tasks:, %Cpu(s):, MiB Mem :, KiB Swap:, and the same of older versions: Mem:  24684092k total, …
    private mutating func topHead(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        func pairs(_ from: Int) -> [(String, ArraySlice<UInt8>)] {
            var pairs: [(String, ArraySlice<UInt8>)] = []
            for place in stride(from: from, to: words.count - 1, by: 2) {
                pairs.append(
                    (
                        text(
                            words[place + 1].last.map { ",.".utf8.contains($0) } ?? false
                                ? words[place + 1].dropLast() : words[place + 1]), words[place]
                    ))
            }
            return pairs
        }
        if words[0].elementsEqual("Tasks:".utf8) || words[0].elementsEqual("Threads:".utf8) && words.count > 4 {
            for (name, value) in pairs(1) {
                let column = [
                    "total": "tasks.total", "running": "tasks.running", "sleeping": "tasks.sleeping",
                    "stopped": "tasks.stopped", "zombie": "tasks.zombie",
                ][name]
                if let column, let count = number(value) { moment.system[column] = count }
            }
            return true
        }
        if Watch.has(words[0], prefix: "%Cpu") || Watch.has(words[0], prefix: "Cpu(s):") {
            // %Cpu(s):100.0 us,  0.0 sy, …; older: Cpu(s):  3.1%us,  0.7%sy, …
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return false }
            for part in line[(colon + 1)...].split(separator: UInt8(ascii: ",")) {
                let pair = part.split { $0 == 0x20 || $0 == UInt8(ascii: "%") }
                guard pair.count == 2, let value = decimal(pair[0]) else { continue }
                let column = [
                    "us": "user", "sy": "system", "ni": "nice", "id": "idle", "wa": "iowait", "st": "steal",
                    "hi": "irq", "si": "softirq",
                ][text(pair[1])]
                if let column { moment.system["cpuPercent.\(column)"] = whole(min(value, 100)) }
            }
            return true
        }
        let isNew =
            words.count > 3 && (words[1].elementsEqual("Mem".utf8) || words[1].elementsEqual("Swap:".utf8))
            && words[0].count == 3 && words[0].dropFirst().elementsEqual("iB".utf8)
        let isOld =
            words.count > 3 && (words[0].elementsEqual("Mem:".utf8) || words[0].elementsEqual("Swap:".utf8))
            && words[2].elementsEqual("total,".utf8)
        guard isNew || isOld else { return false }
        let powers: [String: Double] = ["K": 1, "M": 1024, "G": 1_048_576, "T": 1_073_741_824]
        let power = isNew ? powers[text(words[0].prefix(1))] ?? 1 : 1
        func kilobytes(_ word: ArraySlice<UInt8>) -> Int64? {
            let plain = word.last == UInt8(ascii: "+") ? word.dropLast() : word
            guard isNew else { return scaled(plain) }
            return decimal(plain).map { whole($0 * power) }
        }
        let isSwap = isNew ? words[1].elementsEqual("Swap:".utf8) : words[0].elementsEqual("Swap:".utf8)
        for (name, word) in pairs(isNew ? isSwap ? 2 : 3 : 1) {
            // top rounds, so exact values stay.
            let column: String? =
                switch (isSwap, name) {
                case (false, "total"): "MemTotal"
                case (false, "free"): "MemFree"
                case (false, "buffers"): "Buffers"
                case (false, "buff/cache"), (true, "cached"): "Cached"
                case (true, "total"): "SwapTotal"
                case (true, "free"): "SwapFree"
                case (true, "avail"): "MemAvailable"
                default: nil
                }
            if let column, let value = kilobytes(word) { setIfUnknown("meminfo.\(column)", value) }
        }
        return true
    }

    // MARK: /proc

    private static let vmstatPrefixes = [
        "nr_", "pg", "psw", "numa_", "allocstall", "oom_kill", "thp_", "compact_", "workingset_", "unevictable_",
        "slabs_scanned", "kswapd_", "zone_reclaim", "drop_", "balloon_", "htlb_", "swap_", "pageoutrun", "direct_",
    ]

    /// A name with a colon and a number: /proc/meminfo, a process's status, sockstat.
    private mutating func named(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        guard words.count >= 2, words[0].last == UInt8(ascii: ":") else {
            if words.count == 2, let value = number(words[1]),
                words[0].first.map({ (0x61 ... 0x7A).contains($0) }) ?? false
            {
                let name = text(words[0])
                if case .counters = block {
                } else {
                    guard Self.vmstatPrefixes.contains(where: { name.hasPrefix($0) }) else { return false }
                }
                endStatus()
                block = .counters
                if name == "nr_free_pages" { beginAgain(.system, key: "vmstat.nr_free_pages") }
                set("vmstat.\(name)", value)
                return true
            }
            return false
        }
        let name = words[0].dropLast()
        if name.elementsEqual("Name".utf8), words.count == 2 {
            endStatus()
            var named = ImportedProcess(pid: -1)
            named.name = text(words[1])
            status = named
            block = .status
            return true
        }
        if ["TCP", "UDP", "TCP6", "UDP6", "UDPLITE", "RAW", "FRAG", "sockets"].contains(where: {
            name.elementsEqual($0.utf8)
        }), words.count >= 3, words.count % 2 == 1 {
            for place in stride(from: 1, to: words.count - 1, by: 2) {
                if let value = number(words[place + 1]) { set("sockstat.\(text(name)).\(text(words[place]))", value) }
            }
            return true
        }
        let isKilobytes = words.count == 3 && words[2].elementsEqual("kB".utf8)
        guard isKilobytes || words.count == 2 && Watch.has(name, prefix: "HugePages_"), let value = number(words[1]),
            name.allSatisfy({
                $0 == UInt8(ascii: "(") || $0 == UInt8(ascii: ")") || $0 == UInt8(ascii: "_")
                    || (0x30 ... 0x39).contains($0) || (0x41 ... 0x5A).contains($0) || (0x61 ... 0x7A).contains($0)
            })
        else { return false }
        // Without a process, such a value would be taken for the machine's.
        guard !Watch.has(name, prefix: "Vm") || Watch.has(name, prefix: "Vmalloc"), !Watch.has(name, prefix: "Rss")
        else { return false }
        if name.elementsEqual("MemTotal".utf8) { beginAgain(.system, key: "meminfo.MemTotal") }
        set("meminfo.\(text(name))", value)
        return true
    }

    private mutating func statusLine(_ words: [ArraySlice<UInt8>]) -> Bool {
        guard words[0].last == UInt8(ascii: ":") else { return false }
        if words.count == 1 { return true }
        let column: ProcessColumn
        switch text(words[0].dropLast()) {
        case "Pid":
            guard let pid = number(words[1]) else { return false }
            status?.pid = pid
            return true
        case "State":
            status?.values[.state] = words[1].first.map { Int64($0) }
            return true
        case "PPid": column = .parent
        case "VmSize": column = .virtual
        case "VmRSS": column = .resident
        case "RssAnon": column = .anonymous
        case "RssFile": column = .file
        case "RssShmem": column = .shared
        case "VmData": column = .data
        case "VmPTE": column = .pageTables
        case "VmSwap": column = .swap
        case "Threads": column = .threads
        // The next process or the machine begins.
        case "Name", "MemTotal": return false
        default: return true
        }
        guard let value = number(words[1]) else { return false }
        status?.values[column] = value
        return true
    }

    /// 13.82 7.45 4.49 9/115 12345
    private mutating func loadavg(_ words: [ArraySlice<UInt8>]) -> Bool {
        guard words.count == 5, let one = decimal(words[0]), let five = decimal(words[1]),
            let fifteen = decimal(words[2]), number(words[4]) != nil
        else { return false }
        let tasks = words[3].split(separator: UInt8(ascii: "/"))
        guard tasks.count == 2, let running = number(tasks[0]), number(tasks[1]) != nil, one < 1e9, five < 1e9,
            fifteen < 1e9
        else { return false }
        beginAgain(.system, key: "load.1")
        for (name, value) in [("1", one), ("5", five), ("15", fifteen)] {
            set("load.\(name)", Int64((value * 100).rounded()))
        }
        set("load.running", running)
        return true
    }

    /// Pressure, /proc/stat's line of all processors, buddyinfo, vmstat -s.
    private mutating func counters(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        if let kind = words.first, kind.elementsEqual("some".utf8) || kind.elementsEqual("full".utf8), words.count == 5,
            Watch.has(words[4], prefix: "total=")
        {
            guard let resource, let total = number(words[4].dropFirst(6)) else { return false }
            set("pressure.\(resource).\(text(kind)).microseconds", total)
            return true
        }
        if words[0].elementsEqual("cpu".utf8), words.count >= 8, words.dropFirst().allSatisfy({ number($0) != nil }) {
            for (name, word) in zip(
                ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"], words.dropFirst())
            { set("cpu.\(name)", number(word) ?? 0) }
            return true
        }
        if words.count > 4, words[0].elementsEqual("Node".utf8), words[2].elementsEqual("zone".utf8) {
            let zone = text(words[1].prefix { $0 != UInt8(ascii: ",") }) + "." + text(words[3])
            for (order, word) in words.dropFirst(4).enumerated().prefix(32) {
                if let value = number(word) { set("buddy.\(zone).\(order)", value) }
            }
            return true
        }
        // 24684092 K total memory
        if words.count >= 3, words[1].elementsEqual("K".utf8), let value = number(words[0]) {
            let name: String? =
                switch words[2...].map({ text($0) }).joined(separator: " ") {
                case "total memory": "MemTotal"
                case "free memory": "MemFree"
                case "buffer memory": "Buffers"
                case "swap cache": "Cached"
                case "total swap": "SwapTotal"
                case "free swap": "SwapFree"
                default: nil
                }
            if name == "MemTotal" { beginAgain(.system, key: "meminfo.MemTotal") }
            if let name { setIfUnknown("meminfo.\(name)", value) }
            return name != nil
                || words[2...].contains {
                    $0.elementsEqual("memory".utf8) || $0.elementsEqual("swap".utf8) || $0.elementsEqual("paged".utf8)
                }
        }
        if words.count >= 2, let value = number(words[0]) {
            guard let name = counterName(words) else { return false }
            if !name.isEmpty { set(name, value) }
            return true
        }
        return slabtopHead(words)
    }

    /// The counters of vmstat -s, and the names that they have here; empty: the counter is not kept.
    private static let counters = [
        "pages swapped in": "vmstat.pswpin", "pages swapped out": "vmstat.pswpout",
        "non-nice user cpu ticks": "cpu.user", "nice user cpu ticks": "cpu.nice", "system cpu ticks": "cpu.system",
        "idle cpu ticks": "cpu.idle", "IO-wait cpu ticks": "cpu.iowait", "IRQ cpu ticks": "cpu.irq",
        "softirq cpu ticks": "cpu.softirq", "stolen cpu ticks": "cpu.steal", "guest cpu ticks": "",
        "non-nice guest cpu ticks": "", "nice guest cpu ticks": "", "pages paged in": "", "pages paged out": "",
        "interrupts": "", "CPU context switches": "", "boot time": "", "forks": "", "K paged in": "", "K paged out": "",
    ]

    /// Whether the line is one of vmstat -s. Its first number may have the ten digits of a date in seconds: context
    /// switches after some days, the kilobytes of a terabyte, the time of the machine's start.
    func isCounter(_ words: [ArraySlice<UInt8>]) -> Bool {
        guard (2 ... 6).contains(words.count), number(words[0]) != nil else { return false }
        return words[1].elementsEqual("K".utf8) || counterName(words) != nil
    }

    private func counterName(_ words: [ArraySlice<UInt8>]) -> String? {
        Self.counters[words.dropFirst().map { text($0) }.joined(separator: " ")]
    }

    /// The five lines above slabtop's table.
    private func slabtopHead(_ words: [ArraySlice<UInt8>]) -> Bool {
        words.count > 6
            && (words[0].elementsEqual("Active".utf8) && words[1].elementsEqual("/".utf8)
                || words[0].elementsEqual("Minimum".utf8) && words[1].elementsEqual("/".utf8))
    }

    private mutating func set(_ name: String, _ value: Int64) {
        guard moment.system.count < 5000 || moment.system[name] != nil else { return }
        moment.system[name] = value
    }
}
