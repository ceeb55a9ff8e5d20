// The code that JIT compilers made in one process, as one file tells it: ranges of addresses with names, and for each
// when it was there, if the file says so. Memory is used again, so one address may have held several functions. A
// question names a time, and the answer is a name only if nothing else can have been there within it: a wrong name is
// worse than none.

import Text

/// What a file says of an address.
package enum JITAnswer: Equatable, Sendable {
    case named(JITName)
    /// Several functions were there in the time that was asked for.
    case several
}

/// A function that a JIT compiler made.
package struct JITName: Equatable, Sendable {
    package var function: String
    /// From the function's start to the address; nil if the function was there more than once, at different starts.
    package var offset: UInt64?
    package var file: String?
    /// From 1.
    package var line: Int?
}

/// A piece of code. Times are of CLOCK_MONOTONIC, in nanoseconds.
struct JITEntry: Sendable {
    var start: UInt64
    var end: UInt64
    /// When it was made; 0: not known.
    var from: UInt64 = 0
    /// When it was moved away; `.max`: never, as far as is known.
    var until: UInt64 = .max
    /// Where its name begins in the names.
    var name: UInt32
    /// Its lines, in order of address.
    var lines: Range<UInt32> = 0 ..< 0
}

/// From an address in a function on, the code is of this line.
struct JITLine: Sendable {
    /// From the function's start.
    var offset: UInt32
    /// From 1.
    var line: UInt32
    /// Where the file's name begins in the names.
    var file: UInt32
}

/// The code of one file while it is read.
struct JITIndexBuilder {
    /// More than any program makes. They bound the memory that a hostile file takes.
    static let mostEntries = 1 << 21, mostNameBytes = 1 << 27, mostLines = 1 << 22

    private(set) var entries: [JITEntry] = []
    private(set) var lines: [JITLine] = []
    /// Names, each with a NUL behind it. Offset 0 is the empty name.
    private(set) var names: [UInt8] = [0]

    /// Adds a name's bytes, up to the first NUL. nil if there is no more room.
    mutating func add(name: some Sequence<UInt8>) -> UInt32? {
        let start = names.count
        for byte in name.prefix(StringTable.nameLimit) {
            if byte == 0 { break }
            names.append(byte)
        }
        names.append(0)
        return names.count <= Self.mostNameBytes ? UInt32(start) : nil
    }

    /// Adds code; false if there is no more room.
    mutating func add(_ entry: JITEntry) -> Bool {
        guard entries.count < Self.mostEntries else { return false }
        entries.append(entry)
        return true
    }

    /// Adds lines; an empty range if there is no more room.
    mutating func add(lines new: [JITLine]) -> Range<UInt32> {
        guard lines.count + new.count <= Self.mostLines else { return 0 ..< 0 }
        lines += new
        return UInt32(lines.count - new.count) ..< UInt32(lines.count)
    }

    mutating func change(_ entry: Int, _ body: (inout JITEntry) -> Void) { body(&entries[entry]) }
    mutating func forgetLines() { lines = [] }

    /// Moves all lines towards their functions' starts, as V8's must be. V8 has the function's file in its name. A line
    /// of another file is an inlined function's, and would be wrong beside this one's name.
    mutating func shiftLines(by byteCount: UInt32) {
        var done: Set<UInt32> = [] // code that has moved has the lines that it had
        for entry in entries where !entry.lines.isEmpty && done.insert(entry.lines.lowerBound).inserted {
            var (last, isOwn) = (UInt32(0), false)
            let own = Self.fileInV8Name(bytes(of: entry.name))
            for index in Int(entry.lines.lowerBound) ..< Int(entry.lines.upperBound) {
                if lines[index].file != last {
                    last = lines[index].file
                    isOwn = bytes(of: last).elementsEqual(own)
                }
                if !isOwn { lines[index].file = 0 }
                lines[index].offset -= min(lines[index].offset, byteCount)
            }
        }
    }

    private func bytes(of name: UInt32) -> ArraySlice<UInt8> { names[Int(name)...].prefix { $0 != 0 } }

    // Of "JS:*function /srv/app.js:12:3": what stands between the first space and the numbers.
    private static func fileInV8Name(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var file = name.drop { $0 != UInt8(ascii: " ") }.dropFirst()
        for _ in 0 ..< 2 {
            let withoutDigits = file.reversed().drop { (0x30 ... 0x39).contains($0) }
            guard withoutDigits.count < file.count, withoutDigits.first == UInt8(ascii: ":") else { break }
            file = file.prefix(withoutDigits.count - 1)
        }
        return file
    }

    /// - Parameter knowsTimes: the entries' times are of the clock that questions use.
    consuming func finish(knowsTimes: Bool) -> JITIndex {
        JITIndex(entries: entries, lines: lines, names: names, knowsTimes: knowsTimes)
    }
}

/// The code of one file, for look-ups.
struct JITIndex: Sendable {
    private let entries: [JITEntry]
    private let lines: [JITLine]
    private let names: [UInt8]
    let knowsTimes: Bool
    /// A binary tree over the entries, in order of their starts: node i has the greatest end below nodes 2i and 2i + 1.
    private let ends: [UInt64]
    private let leaves: Int

    /// A function is called soon before its compiler has told of it, or soon after its memory was given to another one.
    private static let slackNanoseconds: UInt64 = 100_000_000
    /// At an address where more pieces of code were, nothing is known.
    private static let mostAtOneAddress = 4096

    /// - Complexity: O(n log n)
    fileprivate init(entries: [JITEntry], lines: [JITLine], names: [UInt8], knowsTimes: Bool) {
        // Entries of one start stay in the order of the file.
        let order = entries.indices.filter { entries[$0].end > entries[$0].start }
            .sorted { (entries[$0].start, $0) < (entries[$1].start, $1) }
        self.entries = order.map { entries[$0] }
        (self.lines, self.names, self.knowsTimes) = (lines, names, knowsTimes)
        var leaves = 1
        while leaves < order.count { leaves *= 2 }
        var ends = [UInt64](repeating: 0, count: 2 * leaves)
        for (index, entry) in self.entries.enumerated() { ends[leaves + index] = entry.end }
        for node in stride(from: leaves - 1, to: 0, by: -1) { ends[node] = max(ends[2 * node], ends[2 * node + 1]) }
        (self.ends, self.leaves) = (ends, leaves)
    }

    var isEmpty: Bool { entries.isEmpty }

    /// What was at an address at any time in `moments`; nil if nothing is known of it.
    ///
    /// - Parameter moments: of CLOCK_MONOTONIC, in nanoseconds; nil: all times.
    /// - Complexity: O(k log n) for k pieces of code that were there
    func answer(at address: UInt64, during moments: ClosedRange<UInt64>?) -> JITAnswer? {
        guard var found = entries(at: address) else { return .several }
        if let moments, knowsTimes { found = Self.present(found, moments) }
        guard let newest = found.last else { return nil }
        if found.contains(where: { !areEqual($0.name, newest.name) }) { return .several }
        let isOne = found.allSatisfy { $0.start == newest.start }
        var name = JITName(function: text(newest.name), offset: isOne ? address - newest.start : nil)
        guard !name.function.isEmpty else { return nil }
        let places = found.map { line(of: $0, at: address) }
        // One source position, or none: another version of the function may have others.
        if let place = places.last.flatMap({ $0 }),
            places.allSatisfy({ $0.map { $0.line == place.line && areEqual($0.file, place.file) } ?? false })
        {
            let file = text(place.file)
            name.file = file.isEmpty ? nil : file
            name.line = file.isEmpty || place.line == 0 ? nil : Int(place.line)
        }
        return .named(name)
    }

    /// When the first code at an address was made; nil if nothing is known of it.
    func earliest(at address: UInt64) -> UInt64? {
        guard knowsTimes else { return nil }
        return entries(at: address)?.map(\.from).min().map { $0 - min($0, Self.slackNanoseconds) }
    }

    // Those that were there at a time in `moments`, by time. One ends where the next one at this address begins.
    private static func present(_ found: [JITEntry], _ moments: ClosedRange<UInt64>) -> [JITEntry] {
        let byTime = found.indices.sorted { (found[$0].from, $0) < (found[$1].from, $1) }.map { found[$0] }
        return byTime.indices.compactMap { index in
            let entry = byTime[index]
            let next = index + 1 < byTime.count ? byTime[index + 1].from : .max
            let until = min(entry.until, next).addingReportingOverflow(slackNanoseconds)
            let isPresent =
                entry.from - min(entry.from, slackNanoseconds) <= moments.upperBound
                && (until.overflow || until.partialValue >= moments.lowerBound)
            return isPresent ? entry : nil
        }
    }

    /// All entries that contain an address, by start; nil if they are too many.
    private func entries(at address: UInt64) -> [JITEntry]? {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].start <= address { low = middle + 1 } else { high = middle }
        }
        // Entries from here on begin behind the address.
        let first = low
        var found: [JITEntry] = []
        var waiting: [(node: Int, first: Int, count: Int)] = [(1, 0, leaves)]
        while let (node, start, count) = waiting.popLast() {
            if start >= first || ends[node] <= address { continue }
            if count == 1 {
                guard found.count < Self.mostAtOneAddress else { return nil }
                found.append(entries[start])
            } else {
                waiting.append((2 * node + 1, start + count / 2, count / 2))
                waiting.append((2 * node, start, count / 2))
            }
        }
        return found
    }

    private func line(of entry: JITEntry, at address: UInt64) -> JITLine? {
        var (low, high) = (Int(entry.lines.lowerBound), Int(entry.lines.upperBound))
        guard high <= lines.count else { return nil }
        let first = low, offset = address - entry.start
        while low < high {
            let middle = (low + high) / 2
            if UInt64(lines[middle].offset) <= offset { low = middle + 1 } else { high = middle }
        }
        return low > first ? lines[low - 1] : nil
    }

    private func text(_ name: UInt32) -> String {
        pathText(names[Int(name)...].prefix { $0 != 0 })
    }

    private func areEqual(_ a: UInt32, _ b: UInt32) -> Bool {
        a == b || names[Int(a)...].prefix { $0 != 0 }.elementsEqual(names[Int(b)...].prefix { $0 != 0 })
    }
}
