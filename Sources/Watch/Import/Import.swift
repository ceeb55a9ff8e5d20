// Makes a recording from data that others gathered: logs of ps and vmstat, the files of monitoring scripts, sar's and
// atop's data as text. Each file is read once, into a recording's payloads. Then all payloads are ordered by time.
//
// Invariant: memory holds only the changes from moment to moment, not the moments themselves.

import Glibc
import Proc
import SystemPackage
import Text

package enum ImportFormat: String, CaseIterable, Sendable { case auto, text, atop, sadf }

/// The unit of free and vmstat.
package enum ImportUnit: String, CaseIterable, Sendable {
    case bytes = "b", kilobytes = "k", megabytes = "m", gigabytes = "g"
}

package struct ImportOptions: Sendable {
    package var format = ImportFormat.auto
    /// The time between two moments, if the file has no dates.
    package var intervalMilliseconds: Int64?
    /// The first moment's time, if the file has no dates; milliseconds since 1970.
    package var start: Int64?
    package var unit: ImportUnit?
    package var host = ""
    /// The columns of ps, for rows without a heading.
    package var columns: String?
    /// The size of a page of the machine that the files are from, if the user gave it.
    package var givenPageBytes: Int64?
    var pageBytes: Int64 { givenPageBytes ?? 4096 }

    package init() {}

    /// Whether the columns can be used: they have a PID, a command, and memory or time.
    package static func areColumns(_ text: String) -> Bool { ProcessHeading(columns: text) != nil }

    var unitKilobytes: Int64 {
        switch unit {
        case .megabytes: 1024
        case .gigabytes: 1_048_576
        default: 1
        }
    }
}

/// What was read from the files.
package struct ImportResult: Sendable {
    package struct File: Sendable {
        package var path: String
        package var moments: Int
        package var unreadCount: Int
        /// The first unreadable lines, with place and reason.
        package var unread: [String]
        package var notes: [String]
    }
    package var files: [File] = []
    package var samples = 0
    package var from: Int64 = 0
    package var to: Int64 = 0
}

/// The moments of one file whose times go forward, as payloads of a recording.
private struct Stream {
    var times: [Int64?] = []
    var seconds: [Int?] = []
    var payloads: [[UInt8]] = []
}

/// Makes one recording from one machine's files.
package final class Import {
    private let options: ImportOptions
    private var columns: [String] = []
    private var index: [String: Int] = [:]
    private var streams: [Stream] = []
    private var encoder = SampleEncoder()
    private var current = Stream()
    private var lastTime: Int64?
    private var goesBack: (from: Int64, to: Int64)?
    /// In how many of a file's moments its pages have which size, where a moment says it.
    private var pageSizes: [Int64: Int] = [:]

    /// More names than any kernel's files have. Each moment has a number for each name.
    private static let mostColumns = 4000
    private var leftOut = 0

    package init(_ options: ImportOptions) { self.options = options }

    /// Reads files and writes a recording.
    ///
    /// - Parameter directory: must not have a recording yet.
    /// - Throws: if a file can't be read at all, has no times and none were given, or the recording can't be written.
    package func run(_ paths: [String], into directory: String) throws(WatchError) -> ImportResult {
        if let names = try? segmentNames(in: directory), !names.isEmpty {
            throw WatchError("\(directory): holds a recording already; give a directory of its own (-o)")
        }
        var result = ImportResult()
        for path in paths {
            let file = try read(path)
            result.files.append(
                ImportResult.File(
                    path: path, moments: file.moments, unreadCount: file.unreadCount,
                    unread: file.unread.map {
                        "\($0.path):\($0.line): \($0.reason)" + ($0.text.isEmpty ? "" : ": \($0.text)")
                    }, notes: file.notes))
        }
        if streams.allSatisfy({ $0.payloads.isEmpty }) {
            let first = result.files.lazy.compactMap(\.unread.first).first
            throw WatchError(
                "nothing in \(paths.count == 1 ? paths[0] : "\(paths.count) files") could be read as samples"
                    + (first.map { "; the first line that wasn't: \($0)" } ?? ""))
        }
        try write(into: directory, &result)
        return result
    }

    // MARK: Reading

    /// Reads a file, and writes nothing.
    /// - Returns: how many moments it holds, and how many lines could not be read.
    package func parse(_ path: String) throws(WatchError) -> (moments: Int, unread: Int) {
        let file = try read(path)
        return (file.moments, file.unreadCount)
    }

    private func read(_ path: String) throws(WatchError) -> ImportedFile {
        (encoder, current, lastTime, goesBack) = (SampleEncoder(), Stream(), nil, nil)
        let before = streams.count
        let text = ProcText(root: "")
        let source = path == "-" ? "/dev/stdin" : path
        var file: ImportedFile
        if options.format == .sadf {
            file = try readSadf(path, source)
        } else {
            file = try readLines(path, source, text)
        }
        endStream()
        try checkPageSize(path, &file)
        if let goesBack {
            file.note(
                "\(path): its times go back, from \(isoTime(goesBack.from)) to \(isoTime(goesBack.to)): a clock that "
                    + "was set, or files put together; moments are put in the order of their times"
            )
        }
        try giveTimes(streams[before...].indices, &file)
        if leftOut > 0 {
            file.note(
                "\(path): more than \(Self.mostColumns) names of numbers; \(leftOut) numbers under further names are "
                    + "left out"
            )
        }
        leftOut = 0
        return file
    }

    /// Compares the size of pages that the moments of a file show with the one that was assumed. Some may show another
    /// because free memory changes while a script reads it twice, or because a container's numbers are beside the
    /// machine's: that is noted.
    ///
    /// - Throws: if most of the moments show another, and the user gave none: what counts pages would be wrong.
    private func checkPageSize(_ path: String, _ file: inout ImportedFile) throws(WatchError) {
        let others = pageSizes.filter { $0.key != options.pageBytes }, asAssumed = pageSizes[options.pageBytes] ?? 0
        pageSizes = [:]
        guard let (found, count) = others.max(by: { ($0.value, $0.key) < ($1.value, $1.key) }) else { return }
        let said = "pages of \(found >> 10) KB", assumed = "\(options.pageBytes >> 10) KB"
        if options.givenPageBytes == nil && count > asAssumed {
            throw WatchError(
                "\(path): its kernel has \(said), and not \(assumed): give --page-size \(found >> 10)K, and import "
                    + "machines with different pages apart")
        }
        file.note(
            "\(path): \(count) of the \(count + asAssumed) moments that show it have \(said): all are read with "
                + "\(assumed), so what counts pages may be wrong there")
    }

    private func readLines(_ path: String, _ source: String, _ text: ProcText) throws(WatchError) -> ImportedFile {
        var atop = AtopReader(path: path) { self.add($0) },
            monitor = MonitorReader(path: path, options: options) { self.add($0) }
        var kind = options.format, isJSON = false
        do {
            try text.forEachLine(source) { line in
                if kind == .auto, line.contains(where: { $0 > 0x20 }) {
                    isJSON = SadfReader.isSadf(line)
                    kind = isJSON ? .sadf : AtopReader.isAtop(line) ? .atop : .text
                }
                if isJSON { return }
                if kind == .atop { atop.read(line: line) } else { monitor.read(line: line) }
            }
        } catch { throw WatchError("\(path): \(error)") }
        if isJSON {
            guard path != "-" else { throw WatchError("-: JSON is read from a file: give its name") }
            return try readSadf(path, source)
        }
        atop.finish()
        monitor.finish()
        return kind == .atop ? atop.file : monitor.file
    }

    private func readSadf(_ path: String, _ source: String) throws(WatchError) -> ImportedFile {
        var reader = SadfReader(path: path) { self.add($0) }
        let bytes: [UInt8]
        do { bytes = try contents(source) } catch { throw WatchError("\(path): \(error)") }
        guard bytes.count <= 256 << 20 else {
            throw WatchError("\(path): above 256 MB; sadf -j -s and -e print a part of a day")
        }
        try reader.read(bytes)
        return reader.file
    }

    private func add(_ moment: ImportedMoment) {
        if let pageBytes = moment.pageBytes { pageSizes[pageBytes, default: 0] += 1 }
        if let wall = moment.wall, let last = lastTime, wall < last {
            if goesBack == nil { goesBack = (last, wall) }
            endStream()
        }
        if let wall = moment.wall { lastTime = wall }
        for name in moment.system.keys.sorted() where index[name] == nil {
            guard columns.count < Self.mostColumns else {
                leftOut += 1
                continue
            }
            index[name] = columns.count
            columns.append(name)
        }
        var entities: [EntitySample] = []
        if !moment.system.isEmpty {
            var values = [Int64](repeating: Sample.unknown, count: columns.count)
            for (name, value) in moment.system {
                if let place = index[name] { values[place] = max(value, Sample.unknown) }
            }
            entities.append(EntitySample(kind: .system, id: "", name: "system", values: values))
        }
        for process in moment.processes {
            var values = [Int64](repeating: Sample.unknown, count: ProcessColumn.allCases.count)
            for (column, value) in process.values { values[column.rawValue] = max(value, Sample.unknown) }
            entities.append(
                EntitySample(
                    kind: .process, id: "\(process.pid):\(process.start ?? -1)", name: process.name,
                    detail: process.words, values: values))
        }
        for slab in moment.slabs {
            let pages =
                max(0, slab.bytes.addingReportingOverflow(options.pageBytes - 1).partialValue) / options.pageBytes
            entities.append(
                EntitySample(
                    kind: .slab, id: slab.name, name: slab.name, detail: slab.isBSD ? ImportedSlab.bsdMark : "",
                    values: [slab.active, slab.objects, slab.objectBytes, pages, Sample.unknown]))
        }
        let sample = Sample(bootMilliseconds: 0, systemColumns: columns, entities: entities)
        current.payloads.append(encoder.encode(sample, isKey: current.payloads.isEmpty))
        current.times.append(moment.wall)
        current.seconds.append(moment.secondOfDay)
    }

    private func endStream() {
        if !current.payloads.isEmpty { streams.append(current) }
        (current, encoder, lastTime) = (Stream(), SampleEncoder(), nil)
    }

    // MARK: Times

    /// Sets times for a file without dates: from its times of day, or from the given interval.
    private func giveTimes(_ range: Range<Int>, _ file: inout ImportedFile) throws(WatchError) {
        for number in range {
            let count = streams[number].times.count, known = streams[number].times.count { $0 != nil }
            if known == count { continue }
            if known > 0 {
                // The decoder must see all of them. Those without a time are skipped there.
                file.note("\(file.path): \(counted(count - known)) before the first date, of an unknown time: left out")
                continue
            }
            let seconds = streams[number].seconds.compactMap { $0 }
            if seconds.count == count {
                // A time of day below the previous one belongs to the next day.
                var days: [Int64] = [0]
                for (before, now) in zip(seconds, seconds.dropFirst()) {
                    days.append(days[days.count - 1] + (now < before ? 1 : 0))
                }
                let midnight: Int64
                if let start = options.start {
                    midnight = start - start % 86_400_000
                } else if let end = Self.modified(file.path) {
                    midnight = end - end % 86_400_000 - (days.last ?? 0) * 86_400_000
                    file.note(
                        "\(file.path): has times of day and no dates; the last is taken for the day that the file was "
                            + "written, \(isoTime(end).prefix(10)) (--start gives the first's)"
                    )
                } else {
                    throw WatchError("\(file.path): has times of day and no dates: give --start, the first's date")
                }
                streams[number].times = zip(seconds, days).map { midnight + $1 * 86_400_000 + Int64($0) * 1000 }
                continue
            }
            guard let interval = options.intervalMilliseconds else {
                throw WatchError(
                    "\(file.path): no date and no time stands in it: give --interval, the time between two samples, "
                        + "and --start, the first's"
                )
            }
            let start: Int64
            if let given = options.start {
                start = given
            } else if let end = Self.modified(file.path) {
                start = end - Int64(count - 1) * interval
                file.note(
                    "\(file.path): has no dates; the last sample is taken for the time that the file was written, "
                        + "\(isoTime(end)) (--start gives the first's)"
                )
            } else {
                throw WatchError("\(file.path): no date stands in it: give --start, the first sample's")
            }
            streams[number].times = (0 ..< count).map { start + Int64($0) * interval }
        }
    }

    private static func modified(_ path: String) -> Int64? {
        var about = stat()
        guard path.withPath({ stat($0, &about) }) == 0, about.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int64(about.st_mtim.tv_sec) * 1000
    }

    private func counted(_ count: Int) -> String { count == 1 ? "one moment" : "\(count) moments" }

    // MARK: Writing

    private struct Cursor {
        var stream: Stream
        var place = -1
        var decoder = SampleDecoder()
        var tolerance: Int64

        init(_ stream: Stream) {
            self.stream = stream
            let times = stream.times.compactMap { $0 }
            let gaps = zip(times.dropFirst(), times).map { $0 - $1 }.sorted()
            tolerance = (gaps.isEmpty ? 2000 : gaps[gaps.count / 2]) / 2
        }

        var time: Int64? { place < stream.times.count ? stream.times[place] : nil }

        /// Advances to the next moment with a time.
        mutating func advance() {
            repeat {
                place += 1
                guard place < stream.payloads.count else { return }
                try? decoder.apply(stream.payloads[place][...], isKey: place == 0)
                stream.payloads[place] = []
            } while stream.times[place] == nil
        }
    }

    private func write(into directory: String, _ result: inout ImportResult) throws(WatchError) {
        var cursors = streams.map { Cursor($0) }
        streams = []
        for number in cursors.indices { cursors[number].advance() }
        var identities = ProcessIdentities(), writer: SampleWriter?, first: Int64 = 0
        while let next = cursors.indices.filter({ cursors[$0].time != nil }).min(by: {
            (cursors[$0].time ?? 0) < (cursors[$1].time ?? 0)
        }), let time = cursors[next].time {
            var sample = cursors[next].decoder.sample()
            let tolerance = cursors[next].tolerance
            cursors[next].advance()
            // Adds other kinds of data for the same moment from other files.
            for other in cursors.indices where other != next {
                guard let at = cursors[other].time, at - time <= min(tolerance, cursors[other].tolerance) else {
                    continue
                }
                let more = cursors[other].decoder.sample()
                guard Set(more.entities.map(\.kind)).isDisjoint(with: Set(sample.entities.map(\.kind))) else {
                    continue
                }
                sample.entities += more.entities
                if more.systemColumns.count > sample.systemColumns.count { sample.systemColumns = more.systemColumns }
                cursors[other].advance()
            }
            if writer == nil {
                var head = SegmentHead()
                (head.host, head.bootID, head.wallMilliseconds, head.processors) = (options.host, "imported", time, 0)
                head.pageBytes = options.pageBytes
                writer = try SampleWriter(directory: directory, head: head, keptBytes: .max)
                (first, result.from) = (time, time)
            }
            sample.bootMilliseconds = time - first
            sample.systemColumns = columns
            identities.resolve(&sample)
            try writer?.append(sample)
            result.samples += 1
            result.to = max(result.to, time)
        }
        for file in result.files {
            var text = "imported from \(file.path): \(counted(file.moments))"
            if file.unreadCount > 0 {
                text +=
                    ", \(file.unreadCount) lines not read" + (file.unread.first.map { "; the first is \($0)" } ?? "")
            }
            writer?.note(text)
            for note in file.notes { writer?.note("imported: " + note) }
        }
        writer?.finish()
        for note in writer?.takeNotes() ?? [] { throw WatchError(note) }
    }
}

/// Distinguishes processes if a log has no start times: a PID with another name, or with less processor time than
/// before, is another process.
private struct ProcessIdentities {
    private struct Known { var name: String, ticks: Int64, generation: Int }
    private var known: [String: Known] = [:]

    mutating func resolve(_ sample: inout Sample) {
        for place in sample.entities.indices
        where sample.entities[place].kind == .process && sample.entities[place].id.hasSuffix(":-1") {
            let pid = String(sample.entities[place].id.prefix { $0 != ":" }),
                ticks = sample.entities[place].values[ProcessColumn.userTicks.rawValue]
            var now = known[pid] ?? Known(name: sample.entities[place].name, ticks: ticks, generation: 0)
            if now.name != sample.entities[place].name || ticks != Sample.unknown && ticks < now.ticks {
                now.generation += 1
            }
            (now.name, now.ticks) = (sample.entities[place].name, ticks)
            known[pid] = now
            sample.entities[place].id = "\(pid):g\(now.generation)"
        }
    }
}
