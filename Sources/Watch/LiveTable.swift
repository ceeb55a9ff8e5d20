// The current state as a table with a given number of lines: first the machine's memory, then the processes that grew
// the most since the table began, and those that have the most.

import Text

package struct LiveTable {
    private var first: [String: Int64] = [:]
    private var before: [String: Int64] = [:]
    private var latest: Sample?
    private var picture: MemoryPicture?
    private var firstUnexplained: Int64?
    private var beganAt: Int64 = 0
    package private(set) var samples = 0

    package init() {}

    package mutating func add(_ sample: Sample) {
        if samples == 0 { beganAt = sample.bootMilliseconds }
        samples += 1
        if let latest { before = Self.memory(latest) }
        for (id, bytes) in Self.memory(sample) where first[id] == nil { first[id] = bytes }
        if let system = sample.entities.first(where: { $0.kind == .system }) {
            let entity = DecodedEntity(kind: .system, id: "", name: "", detail: "", values: system.values)
            picture = MemoryColumns(sample.systemColumns).picture(entity, pageBytes: 4096)
            if firstUnexplained == nil { firstUnexplained = picture?.unexplained }
        }
        latest = sample
    }

    private static func value(_ entity: EntitySample, _ column: ProcessColumn) -> Int64 {
        column.rawValue < entity.values.count ? max(entity.values[column.rawValue], 0) : 0
    }

    private static func memory(_ sample: Sample) -> [String: Int64] {
        Dictionary(
            sample.entities.filter { $0.kind == .process }.map {
                ($0.id, value($0, .anonymous) &+ value($0, .swap) &+ value($0, .shared))
            }, uniquingKeysWith: { first, _ in first })
    }

    /// The words of its command, the first without its directory; the kernel's name if there are none.
    private static func commandLine(_ entity: EntitySample) -> String {
        let words = entity.detail.split(separator: "\0").map(String.init)
        guard let first = words.first else { return entity.name }
        return ([first.split(separator: "/").last.map(String.init) ?? first] + words.dropFirst()).joined(separator: " ")
    }

    package func lines(style: Style, rows: Int) -> [String] {
        guard let latest else { return [] }
        var lines: [String] = []
        if let picture {
            func mega(_ bytes: Int64) -> String { signed(bytes >> 20) + " MB" }
            let kernel = MemoryClass.allCases.filter { !$0.isOfApplications }.reduce(0) { $0 + picture[$1] }
            lines.append(
                style.bold("memory")
                    + " \(mega(picture.total))   free \(mega(picture.free))   anonymous \(mega(picture[.anonymous]))   "
                    + "shared \(mega(picture[.shared]))   "
                    + "files \(mega(picture[.file]))   kernel \(mega(kernel))   unexplained "
                    + "\(mega(picture.unexplained))"
            )
        }
        let seconds = Double(latest.bootMilliseconds - beganAt) / 1000
        let processes = latest.entities.filter { $0.kind == .process }
        lines.append(
            "\(separated(UInt64(processes.count))) processes, by growth since \(shortDuration(seconds)) ago, in KB")
        lines.append("")
        // A narrow terminal gets only the columns that identify and accuse. The name is the most important.
        let isNarrow = (style.width ?? 200) < 130
        lines.append(
            style.dim(
                isNarrow
                    ? "    PID      growth       /hour    resident threads   open  name"
                    : "      PID        growth         /hour      resident     anonymous        shared          swap  "
                        + "threads     open    waiting  name"
            ))
        let memory = Self.memory(latest)
        func growth(_ entity: EntitySample) -> Int64 { (memory[entity.id] ?? 0) &- (first[entity.id] ?? 0) }
        let sorted = processes.sorted {
            (growth($0), Self.value($0, .resident)) > (growth($1), Self.value($1, .resident))
        }
        let room = max(0, rows - lines.count - 1)
        for entity in sorted.prefix(room) {
            func cell(_ value: Int64, _ width: Int) -> String { leftPadded(signed(value), width) }
            let grown = growth(entity)
            let perHour = seconds > 0 ? Double(grown) / seconds * 3600 : 0
            let pid = entity.id.prefix { $0 != ":" }
            let name = "  " + printable(Self.commandLine(entity))
            var line: String
            if isNarrow {
                line =
                    leftPadded(String(pid), 7) + cell(grown, 12) + cell(Int64(perHour), 12)
                    + cell(Self.value(entity, .resident), 12)
                line += cell(Self.value(entity, .threads), 8) + cell(Self.value(entity, .descriptors), 7) + name
            } else {
                line =
                    leftPadded(String(pid), 9) + cell(grown, 14) + cell(Int64(perHour), 14)
                    + cell(Self.value(entity, .resident), 14) + cell(Self.value(entity, .anonymous), 14)
                line +=
                    cell(Self.value(entity, .shared), 14) + cell(Self.value(entity, .swap), 14)
                    + cell(Self.value(entity, .threads), 9) + cell(Self.value(entity, .descriptors), 9)
                line += cell((Self.value(entity, .receiveQueue) &+ Self.value(entity, .sendQueue)) / 1024, 11) + name
            }
            if let width = style.width, line.count > width { line = String(line.prefix(width)) }
            lines.append(grown > 0 && (before[entity.id] ?? 0) < (memory[entity.id] ?? 0) ? style.warning(line) : line)
        }
        if sorted.count > room { lines.append(style.dim("and \(separated(UInt64(sorted.count - room))) more")) }
        return lines
    }
}

/// Identifies a start of the machine.
package func bootID(root: String) -> String { ProcText(root: root).word("/proc/sys/kernel/random/boot_id") ?? "" }
