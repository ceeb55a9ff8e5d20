// Reads the output of `atop -P ALL` and `atop -P MEM,PRM,…`: a label, six words common to all lines, and numbers by
// position, as in atop's manual page. Counters are per interval and are added up from the first sample on, which has
// them since the machine's start.

struct AtopReader {
    private struct Known { var ticks: Int64, name: String }

    var file: ImportedFile
    private let emit: (ImportedMoment) -> Void
    private var moment = ImportedMoment()
    private var places: [Int64: Int] = [:]
    private var ticks: [Int64: Known] = [:]
    private var sums: [String: Int64] = [:]
    private var lineNumber = 0

    init(path: String, emit: @escaping (ImportedMoment) -> Void) {
        file = ImportedFile(path: path)
        self.emit = emit
    }

    /// Whether a file's first lines are atop's.
    static func isAtop(_ line: ArraySlice<UInt8>) -> Bool {
        let words = words(line, most: 8)
        if words.count == 1, words[0].elementsEqual("RESET".utf8) || words[0].elementsEqual("SEP".utf8) { return true }
        guard words.count > 6, words[0].count == 3, let epoch = number(words[2]),
            (946_684_801 ..< 7_258_118_400).contains(epoch), words[3].count == 10,
            words[3].filter({ $0 == UInt8(ascii: "/") }).count == 2
        else { return false }
        return ImportTimes.clock(words[4]) != nil && number(words[5]) != nil
    }

    mutating func read(line: ArraySlice<UInt8>) {
        lineNumber += 1
        let words = words(line)
        guard let label = words.first.map({ String(decoding: $0, as: UTF8.self) }) else { return }
        switch label {
        case "RESET": return
        case "SEP":
            push()
            return
        default: break
        }
        guard Self.isAtop(line), let epoch = number(words[2]) else {
            return file.addUnread(lineNumber, "not a line of atop -P", line)
        }
        if moment.wall != epoch * 1000 {
            push()
            moment.wall = epoch * 1000
        }
        let values = Array(words.dropFirst(6))
        func value(_ index: Int) -> Int64? { index < values.count ? number(values[index]) : nil }
        func set(_ name: String, _ value: Int64?) { if let value { moment.system[name] = value } }
        switch label {
        case "MEM":
            guard let page = value(0), page > 0, page % 1024 == 0 else {
                return file.addUnread(lineNumber, "MEM without a page's size", line)
            }
            if page & (page - 1) == 0 { moment.pageBytes = page }
            func pages(_ index: Int) -> Int64? {
                value(index).map { $0.multipliedReportingOverflow(by: page / 1024).partialValue }
            }
            for (name, index) in [
                ("MemTotal", 1), ("MemFree", 2), ("Cached", 3), ("Buffers", 4), ("Slab", 5), ("Dirty", 6),
                ("SReclaimable", 7), ("Shmem", 9), ("PageTables", 20),
            ] { set("meminfo.\(name)", pages(index)) }
            if let slab = pages(5), let reclaimable = pages(7) {
                set("meminfo.SUnreclaim", max(0, slab &- reclaimable))
            }
            if let size = value(12), let count = value(13) {
                set("meminfo.Hugetlb", count.multipliedReportingOverflow(by: size / 1024).partialValue)
            }
            set("sockstat.TCP.mem", value(18))
            set("sockstat.UDP.mem", value(19))
        case "SWP":
            guard let page = value(0), page > 0 else {
                return file.addUnread(lineNumber, "SWP without a page's size", line)
            }
            for (name, index) in [("SwapTotal", 1), ("SwapFree", 2), ("SwapCached", 3)] {
                set(
                    "meminfo.\(name)", value(index).map { $0.multipliedReportingOverflow(by: page / 1024).partialValue }
                )
            }
        case "PAG":
            add("vmstat.pswpin", value(4))
            add("vmstat.pswpout", value(5))
            add("vmstat.allocstall", value(2))
        case "CPL":
            for (name, index) in [("1", 1), ("5", 2), ("15", 3)] where index < values.count {
                set("load.\(name)", decimal(values[index]).map { Int64(min($0, 1e9) * 100) })
            }
        case "CPU":
            set("processors.count", value(1))
            for (name, index) in [
                ("system", 2), ("user", 3), ("nice", 4), ("idle", 5), ("iowait", 6), ("irq", 7), ("softirq", 8),
                ("steal", 9),
            ] { add("cpu.\(name)", value(index)) }
        case "PSI":
            for (name, index) in [
                ("cpu.some", 4), ("memory.some", 8), ("memory.full", 12), ("io.some", 16), ("io.full", 20),
            ] { add("pressure.\(name).microseconds", value(index)) }
        case "PRG", "PRC", "PRM": process(label, line, words)
        // Disks, networks, nodes, single processors: nothing about memory.
        default: break
        }
    }

    mutating func finish() { push() }

    private mutating func add(_ name: String, _ value: Int64?) {
        guard let value else { return }
        sums[name] = (sums[name] ?? 0).addingReportingOverflow(value).partialValue
        moment.system[name] = sums[name]
    }

    private mutating func push() {
        defer { (moment, places) = (ImportedMoment(), [:]) }
        if moment.isEmpty { return }
        // Sums of ended processes are dropped.
        if !places.isEmpty { ticks = ticks.filter { places[$0.key] != nil } }
        moment.processes.removeAll {
            $0.values[.resident] == nil && $0.values[.userTicks] == nil && $0.values[.threads] == nil
        }
        file.moments += 1
        emit(moment)
    }

    // PID (name) state 100 … : the name ends at the parenthesis that a single letter and a number follow.
    private mutating func process(_ label: String, _ line: ArraySlice<UInt8>, _ words: [ArraySlice<UInt8>]) {
        guard words.count > 9, let pid = number(words[6]) else {
            return file.addUnread(lineNumber, "a process without a PID", line)
        }
        var nameEnd = 7
        if words[7].first == UInt8(ascii: "(") {
            func endsName(_ place: Int) -> Bool {
                guard place + 2 < words.count, words[place].last == UInt8(ascii: ")"), words[place + 1].count == 1,
                    let letter = words[place + 1].first
                else { return false }
                return ((0x41 ... 0x5A).contains(letter & ~0x20) || letter == UInt8(ascii: "-"))
                    && number(words[place + 2]) != nil
            }
            guard let end = (7 ..< words.count).first(where: endsName) else {
                return file.addUnread(lineNumber, "a process's name that doesn't end", line)
            }
            nameEnd = end
        }
        var name = line[words[7].startIndex ..< words[nameEnd].endIndex]
        if name.first == UInt8(ascii: "(") { name = name.dropFirst().dropLast() }
        let values = Array(words[(nameEnd + 1)...])
        func value(_ index: Int) -> Int64? { index < values.count ? number(values[index]) : nil }
        // A thread's line; the process has its own line.
        if label == "PRC", values.count > 11, values[11].elementsEqual("n".utf8) { return }
        if label == "PRM", values.count > 14, values[14].elementsEqual("n".utf8) { return }
        var process = ImportedProcess(pid: pid)
        process.name = String(decoding: name.prefix(256), as: UTF8.self)
        process.values[.state] = values.first?.first.map { Int64($0) }
        switch label {
        case "PRG":
            guard let threads = value(4), let start = value(6) else {
                return file.addUnread(lineNumber, "PRG with too few fields", line)
            }
            // After the command line come the parent, three counts of threads, users and groups, and y for a process.
            guard values.count > 18, let command = commandEnd(values, line) else {
                return file.addUnread(lineNumber, "PRG without a parent", line)
            }
            if command.isThread { return }
            process.start = start
            process.values[.threads] = threads
            process.values[.parent] = command.parent
            var text = line[values[7].startIndex ..< values[command.index].endIndex]
            if text.first == UInt8(ascii: "(") { text = text.dropFirst().dropLast() }
            process.words = Watch.words(text).prefix(200).map {
                String(decoding: $0.prefix(4096), as: UTF8.self) + "\0"
            }.joined()
        case "PRC":
            guard let hertz = value(1), hertz > 0, let user = value(2), let system = value(3) else {
                return file.addUnread(lineNumber, "PRC with too few fields", line)
            }
            let sum = (ticks[pid]?.name == process.name ? ticks[pid]?.ticks ?? 0 : 0).addingReportingOverflow(
                user.addingReportingOverflow(system).partialValue
            ).partialValue
            ticks[pid] = Known(ticks: sum, name: process.name)
            process.values[.userTicks] = whole(Double(sum) * 100 / Double(hertz))
        default:
            guard let virtual = value(2), let resident = value(3) else {
                return file.addUnread(lineNumber, "PRM with too few fields", line)
            }
            process.values[.virtual] = virtual
            process.values[.resident] = resident
            process.values[.swap] = value(12)
        }
        guard let place = places[pid] else {
            places[pid] = moment.processes.count
            moment.processes.append(process)
            return
        }
        for (column, value) in process.values { moment.processes[place].values[column] = value }
        if let start = process.start { moment.processes[place].start = start }
        if !process.words.isEmpty { moment.processes[place].words = process.words }
    }

    /// Where the command line ends: at the last word that a parent follows and, eleven words later, y or n.
    private func commandEnd(
        _ values: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>
    ) -> (index: Int, parent: Int64, isThread: Bool)? {
        for index in stride(from: values.count - 13, through: 7, by: -1) {
            guard let parent = number(values[index + 1]), let letter = values[index + 12].first,
                values[index + 12].count == 1, letter == UInt8(ascii: "y") || letter == UInt8(ascii: "n"),
                values[index].last == UInt8(ascii: ")") || values[7].first != UInt8(ascii: "("),
                (2 ... 11).allSatisfy({ number(values[index + $0]) != nil })
            else { continue }
            return (index, parent, letter == UInt8(ascii: "n"))
        }
        return nil
    }
}
