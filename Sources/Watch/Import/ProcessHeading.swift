// Rows of processes, printed by ps and top with any columns: the heading names them. The last column is the command and
// takes the rest of the line.

struct ProcessHeading: Equatable {
    private enum Column: Equatable {
        case pid, parent, resident, virtual, swap, threads, time, elapsed, started, state, command, other
        /// The start as ps -o lstart prints it: five words.
        case longStart
    }

    private var columns: [Column]
    private var isTop: Bool

    /// - Returns: nil if this is not a heading of processes, which has a PID, a command, and memory or a time.
    init?(_ words: [ArraySlice<UInt8>]) {
        guard words.count >= 3, words.count <= 64 else { return nil }
        var columns: [Column] = []
        for word in words {
            let column: Column =
                switch String(decoding: word, as: UTF8.self).uppercased() {
                case "PID", "TGID": columns.contains(.pid) ? .other : .pid
                case "PPID": .parent
                case "RSS", "RSZ", "RSSIZE", "RES": .resident
                case "VSZ", "VSIZE", "VIRT": .virtual
                case "SWAP": .swap
                case "NLWP", "THCNT", "NTH", "#TH": .threads
                case "TIME", "TIME+", "CPUTIME": .time
                case "ELAPSED": .elapsed
                case "STARTED": .started
                case "STAT", "S", "STATE": .state
                case "COMMAND", "CMD", "ARGS", "COMM", "UCMD": .command
                default: .other
                }
            columns.append(column)
        }
        // A heading is in capitals, unlike the words of a sentence.
        guard columns.contains(.pid), columns.contains(.command),
            columns.contains(.resident) || columns.contains(.virtual) || columns.contains(.time),
            words.allSatisfy({ $0.allSatisfy { !(0x61 ... 0x7A).contains($0) } })
        else { return nil }
        self.columns = columns
        isTop = words.contains { $0.elementsEqual("TIME+".utf8) } || words.contains { $0.elementsEqual("RES".utf8) }
    }

    /// From an option: names of ps columns, separated by blanks or commas.
    init?(columns text: String) {
        let names = Array(
            text.utf8.map { $0 == UInt8(ascii: ",") ? 0x20 : (0x61 ... 0x7A).contains($0) ? $0 & ~0x20 : $0 })
        self.init(Watch.words(names[...]))
    }

    private init(columns: [Column]) { (self.columns, isTop) = (columns, false) }

    /// USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND: ps aux without its heading, through grep.
    private static let auxiliary = ProcessHeading(columns: [
        .other, .pid, .other, .other, .virtual, .resident, .other, .state, .other, .time, .command,
    ])

    /// A row of ps aux, recognized by its form.
    static func withoutHeading(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> ImportedProcess? {
        guard words.count >= 11, number(words[1]) != nil, decimal(words[2]) != nil,
            words[2].contains(UInt8(ascii: ".")), decimal(words[3]) != nil, words[3].contains(UInt8(ascii: ".")),
            number(words[4]) != nil, number(words[5]) != nil,
            words[7].first.map({ "RSDTtZXIWLP".utf8.contains($0) }) ?? false, words[9].contains(UInt8(ascii: ":"))
        else { return nil }
        return auxiliary.process(words, line)
    }

    func isRow(_ words: [ArraySlice<UInt8>]) -> Bool {
        guard let pid = columns.firstIndex(of: .pid), pid < words.count, number(words[pid]) != nil else { return false }
        return words.count >= columns.count - 1
    }

    /// - Returns: nil for other lines.
    func process(_ words: [ArraySlice<UInt8>], _ line: ArraySlice<UInt8>) -> ImportedProcess? {
        var place = 0, process = ImportedProcess(pid: -1)
        for (index, column) in columns.enumerated() {
            guard place < words.count else {
                // A zombie may have no command at all.
                if column == .command, index == columns.count - 1, process.pid > 0 { break }
                return nil
            }
            let word = words[place]
            place += 1
            func kilobytes() -> Int64? { isTop ? scaled(word) : number(word) }
            switch column {
            case .pid:
                guard let pid = number(word), pid >= 0, pid < 1 << 40 else { return nil }
                process.pid = pid
            case .parent:
                guard let value = number(word) else { return nil }
                process.values[.parent] = value
            case .resident, .virtual, .swap:
                guard let value = kilobytes() else {
                    if word.elementsEqual("-".utf8) { continue }
                    return nil
                }
                process.values[column == .resident ? .resident : column == .virtual ? .virtual : .swap] = value
            case .threads:
                guard let value = number(word) else { return nil }
                process.values[.threads] = value
            case .time:
                guard let ticks = cpuTicks(word) else { return nil }
                process.values[.userTicks] = ticks
            case .state:
                guard let letter = word.first, (0x41 ... 0x5A).contains(letter) || letter == UInt8(ascii: "t") else {
                    return nil
                }
                process.values[.state] = Int64(letter)
            case .started, .longStart:
                // A weekday: five words, as lstart prints them.
                if word.count == 3, place + 4 <= words.count,
                    let time = ImportTimes.find(line[word.startIndex ..< words[place + 3].endIndex])
                {
                    process.start = time.wall / 1000
                    place += 4
                }
            case .command:
                if index == columns.count - 1 {
                    process.setCommand(line[word.startIndex...])
                } else {
                    process.name = ImportedProcess.programName(String(decoding: word, as: UTF8.self))
                    if process.words.isEmpty { process.words = String(decoding: word, as: UTF8.self) + "\0" }
                }
            case .elapsed, .other: break
            }
        }
        return process.pid >= 0 && place <= words.count ? process : nil
    }
}

/// Rounds a number from a log, and limits it to 0 … 9e15.
func whole(_ value: Double) -> Int64 { value.isFinite ? Int64(max(0, min(value, 9e15)).rounded()) : 0 }

/// Kilobytes as top has them: 302608, 15.6g, 1024m.
func scaled(_ word: ArraySlice<UInt8>) -> Int64? {
    if let plain = number(word) { return plain }
    guard let unit = word.last.map({ $0 | 0x20 }), let place = "kmgtp".utf8.firstIndex(of: unit),
        let value = decimal(word.dropLast())
    else { return nil }
    let power = "kmgtp".utf8.distance(from: "kmgtp".utf8.startIndex, to: place)
    let kilobytes = (0 ..< power).reduce(value) { sum, _ in sum * 1024 }
    return kilobytes < 9e15 ? Int64(kilobytes) : nil
}

/// A number with or without a fraction. A comma counts as a point, because some languages use it.
func decimal(_ word: ArraySlice<UInt8>) -> Double? {
    guard !word.isEmpty, word.count < 24,
        word.allSatisfy({ (0x30 ... 0x39).contains($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: ",") }),
        let first = word.first, (0x30 ... 0x39).contains(first)
    else { return nil }
    return Double(String(decoding: word.map { $0 == UInt8(ascii: ",") ? UInt8(ascii: ".") : $0 }, as: UTF8.self))
}

/// Hundredths of a second of processor time: 0:05, 0:05.37, 12:03:45, 3-12:03:45.
func cpuTicks(_ word: ArraySlice<UInt8>) -> Int64? {
    var days: Int64 = 0, rest = word
    if let dash = word.firstIndex(of: UInt8(ascii: "-")) {
        guard let value = number(word[..<dash]), value < 1 << 20 else { return nil }
        days = value
        rest = word[(dash + 1)...]
    }
    let parts = rest.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    guard (2 ... 3).contains(parts.count), let seconds = decimal(parts[parts.count - 1]), seconds < 1e9 else {
        return nil
    }
    var whole = days * 86_400
    for (part, unit) in zip(parts.dropLast(), parts.count == 3 ? [3600, 60] as [Int64] : [60]) {
        guard let value = number(part), value < 1 << 30 else { return nil }
        whole += value * unit
    }
    return whole * 100 + Int64(seconds * 100)
}
