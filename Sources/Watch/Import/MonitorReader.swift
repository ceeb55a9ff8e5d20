// Reads the output of people's cron jobs and scripts: dates, each followed by the output of ps, top, vmstat, free,
// uptime, slabtop or cat of a file in /proc. The blocks may come in any order. Each is recognized by its heading or by
// the form of its lines, so a plain `vmstat 60` or a loop of ps is also such a file.
//
// Invariant: each line is used, is part of a heading, or is counted as not read, with its number.

/// The kinds of blocks that have rows.
enum MonitorBlock {
    case none
    case vmstat([String])
    case processes(ProcessHeading)
    case slabCaches
    /// vmstat -z and vmstat -m of the BSDs.
    case zones, types
    case slabtop
    case free([String])
    case status
    /// Names and numbers, as in /proc/vmstat.
    case counters
}

struct MonitorReader {
    let options: ImportOptions
    var file: ImportedFile
    var moment = ImportedMoment()
    var block = MonitorBlock.none
    /// The process whose status is being read.
    var status: ImportedProcess?
    /// The next row of vmstat has means since the machine's start, except for memory.
    var isFirstOfVmstat = true
    /// The heading's word for the kernel's file that follows: memory, io, cpu.
    var resource: String?
    var lineNumber = 0
    private let emit: (ImportedMoment) -> Void
    /// Rows without a date belong to this one.
    private var lastDate: FoundTime?
    /// The last heading of ps, which also applies to later rows.
    private var lastHeading: ProcessHeading?
    private var places: [Int64: Int] = [:]

    /// - Parameter emit: called with each complete moment.
    init(path: String, options: ImportOptions, emit: @escaping (ImportedMoment) -> Void) {
        (self.options, self.emit) = (options, emit)
        lastHeading = options.columns.flatMap { ProcessHeading(columns: $0) }
        file = ImportedFile(path: path)
    }

    // MARK: Lines

    mutating func read(line raw: ArraySlice<UInt8>) {
        lineNumber += 1
        var line = raw
        while let last = line.last, last == 0x0D || last == 0x20 || last == 0x09 { line = line.dropLast() }
        let words = words(line)
        guard !words.isEmpty else {
            if case .free = block { block = .none }
            return
        }
        if heading(words, line) { return }
        // A date before data on the same line, and lines with only a date.
        if words[0].first.map({ (0x30 ... 0x39).contains($0) || $0 == UInt8(ascii: "[") || $0 == UInt8(ascii: "@") })
            ?? false, !isRow(words), let time = ImportTimes.atStart(line), isDate(time, words, line)
        {
            begin(time)
            let rest = line[time.range.upperBound...].drop {
                $0 == UInt8(ascii: "]") || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ",") || $0 == 0x20
                    || $0 == 0x09
            }
            if !rest.isEmpty { data(Watch.words(rest), rest) }
            return
        }
        data(words, line)
    }

    mutating func finish() {
        endStatus()
        push()
    }

    private mutating func data(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) {
        if row(words, line) || single(words, line) { return }
        if let time = ImportTimes.find(line), isDate(time, words, line) {
            begin(time)
            return
        }
        if withoutHeading(words, line) { return }
        if let lastHeading, let process = lastHeading.process(words, line) {
            add(process)
            block = .processes(lastHeading)
            return
        }
        if isDecoration(words, line) { return }
        file.addUnread(lineNumber, Self.reason(words), line)
    }

    /// Why a line isn't known, with the way out if there is one.
    private static func reason(_ words: [ArraySlice<UInt8>]) -> String {
        if words.count > 3, words[0].elementsEqual("Linux".utf8),
            words.contains(where: { $0.first == UInt8(ascii: "_") && $0.last == UInt8(ascii: "_") })
        {
            return "sar's text; sadf -j FILE -- -r ALL -S -W -q ALL -u prints what can be read"
        }
        if words.count > 1, words.count(where: { number($0) != nil }) >= 2 {
            return "numbers without a heading; --columns 'PID RSS COMMAND' names those of ps"
        }
        return "not known"
    }

    /// Whether a time that was found is a date. A number of seconds with more on its line may as well be a counter. It
    /// is a date if a process's row follows on its line, or if it follows the last date within a year, and that was
    /// such a number, too.
    private func isDate(_ time: FoundTime, _ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        guard time.isSeconds, words.count > 1 else { return true }
        if isCounter(words) { return false }
        guard let last = lastDate else { return true }
        if last.isSeconds, (last.wall ... last.wall + 366 * 86_400_000).contains(time.wall) { return true }
        let rest = Array(words.dropFirst())
        return lastHeading?.process(rest, line[rest[0].startIndex...]) != nil
            || ProcessHeading.withoutHeading(rest, line[rest[0].startIndex...]) != nil
    }

    /// Whether the line is a row of the last heading's block.
    private func isRow(_ words: [ArraySlice<UInt8>]) -> Bool {
        switch block {
        case .vmstat(let columns): words.count >= columns.count - 1 && number(words[0]) != nil && words.count > 6
        case .processes(let heading): heading.isRow(words)
        case .slabtop: words.count >= 8 && number(words[0]) != nil && words[0].count < 10
        default: false
        }
    }

    private mutating func row(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        switch block {
        case .none, .status, .counters: break
        case .vmstat(let columns): if vmstat(columns, words, line) { return true }
        case .processes(let heading):
            if let process = heading.process(words, line) {
                add(process)
                return true
            }
        case .slabCaches: if slabCache(words) { return true }
        case .zones: if zone(line) { return true }
        case .types: if type(words) { return true }
        case .slabtop: if slabtopRow(words) { return true }
        case .free(let columns): if free(columns, words) { return true }
        }
        if let process = ProcessHeading.withoutHeading(words, line) {
            beginAgain(.process)
            add(process)
            return true
        }
        return false
    }

    // MARK: Moments

    mutating func begin(_ time: FoundTime) {
        if let zone = time.zone {
            file.note("\(file.path): times in \(zone) are taken for this machine's zone (TZ sets another)")
        }
        lastDate = time
        endStatus()
        block = .none
        if moment.wall == time.wall { return }
        push()
        moment.wall = time.wall
    }

    /// Begins a new moment if the current one already has this kind of data and no date separates them.
    mutating func setIfUnknown(_ name: String, _ value: Int64) {
        if moment.system[name] == nil { moment.system[name] = value }
    }

    mutating func beginAgain(_ kind: EntityKind, key: String? = nil) {
        guard moment.wall == nil else { return }
        let isThere =
            switch kind {
            case .process: !moment.processes.isEmpty
            case .slab: !moment.slabs.isEmpty
            default: key.map { moment.system[$0] != nil } ?? !moment.system.isEmpty
            }
        if isThere { push() }
    }

    mutating func push() {
        places = [:]
        defer { moment = ImportedMoment() }
        if moment.isEmpty { return }
        file.moments += 1
        moment.pageBytes = pageBytesByFreeMemory
        emit(moment)
    }

    /// The size of a page, where the moment has free memory both in kilobytes and in pages.
    private var pageBytesByFreeMemory: Int64? {
        guard let kilobytes = moment.system["meminfo.MemFree"], let pages = moment.system["vmstat.nr_free_pages"],
            pages >= 1000
        else { return nil }
        // The two were read one after the other, and memory was taken or freed in between.
        let bytes = Double(kilobytes) * 1024 / Double(pages)
        return [4096, 16384, 65536].first { abs(bytes / Double($0) - 1) < 0.25 }
    }

    mutating func add(_ process: ImportedProcess) {
        // A process may be in both top's and ps's block; their data is combined.
        if let place = places[process.pid], place < moment.processes.count {
            for (column, value) in process.values { moment.processes[place].values[column] = value }
            if moment.processes[place].words.utf8.count < process.words.utf8.count {
                (moment.processes[place].name, moment.processes[place].words) = (process.name, process.words)
            }
            if moment.processes[place].start == nil { moment.processes[place].start = process.start }
            return
        }
        guard moment.processes.count < 1 << 20 else {
            return file.addUnread(lineNumber, "more than a million processes in one moment", [])
        }
        places[process.pid] = moment.processes.count
        moment.processes.append(process)
    }

    mutating func endStatus() {
        if let status, status.pid > 0 {
            add(status)
        } else if status != nil {
            file.addUnread(lineNumber, "a status without a Pid", [])
        }
        status = nil
        if case .status = block { block = .none }
    }

    mutating func begin(_ heading: ProcessHeading) {
        endStatus()
        beginAgain(.process)
        block = .processes(heading)
        lastHeading = heading
    }

    /// Lines of stars, dashes and similar signs, names of commands and files, and other headings.
    private mutating func isDecoration(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> Bool {
        // ==> /proc/pressure/io <==; # cat /proc/meminfo; --- ps aux ---
        for name in ["memory", "io", "cpu"] where String(decoding: line, as: UTF8.self).contains("pressure/\(name)") {
            resource = name
        }
        let isSign = words.allSatisfy {
            $0.allSatisfy {
                !((0x30 ... 0x39).contains($0) || (0x41 ... 0x5A).contains($0) || (0x61 ... 0x7A).contains($0))
            }
        }
        let isHeading =
            line.first { $0 != 0x20 && $0 != 0x09 }.map { "=#-*>$+".utf8.contains($0) } ?? true
            || line.last.map { ":=-*#".utf8.contains($0) } ?? false
        if isSign || isHeading {
            block = .none
            return true
        }
        return false
    }
}
