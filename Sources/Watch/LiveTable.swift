// The current state as a table: first the machine's memory, then the processes that grew the most since the table
// began, and those that have the most. Keys scroll it.

import Screen
import Text

package struct LiveTable {
    private var first: [String: Int64] = [:]
    private var before: [String: Int64] = [:]
    private var latest: Sample?
    private var picture: MemoryPicture?
    private var firstUnexplained: Int64?
    private var beganAt: Int64 = 0
    /// The number of processes above the first that is shown.
    private var top = 0
    package private(set) var samples = 0

    private let pageBytes: Int64

    /// - Parameter pageBytes: the size of a page of the machine that the samples are of.
    package init(pageBytes: Int64) { self.pageBytes = pageBytes }

    package mutating func add(_ sample: Sample) {
        if samples == 0 { beganAt = sample.bootMilliseconds }
        samples += 1
        if let latest { before = Self.memory(latest) }
        for (id, bytes) in Self.memory(sample) where first[id] == nil { first[id] = bytes }
        if let system = sample.entities.first(where: { $0.kind == .system }) {
            let entity = DecodedEntity(kind: .system, id: "", name: "", detail: "", values: system.values)
            picture = MemoryColumns(sample.systemColumns).picture(entity, pageBytes: pageBytes)
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

    /// What a key does.
    ///
    /// - Returns: whether the table is to be left.
    package mutating func press(_ key: Key, _ size: ScreenSize) -> Bool {
        let page = max(1, size.height - Self.linesBeforeProcesses - 2), last = max(0, processCount - page)
        switch key {
        case .character("q"), .character("Q"), .interrupt, .escape: return true
        case .up, .character("k"): top -= 1
        case .down, .character("j"): top += 1
        case .wheelUp: top -= 3
        case .wheelDown: top += 3
        case .pageUp: top -= page
        case .pageDown, .character(" "): top += page
        case .home, .character("g"): top = 0
        case .end, .character("G"): top = last
        default: break
        }
        top = min(max(top, 0), last)
        return false
    }

    private var processCount: Int { latest?.entities.count { $0.kind == .process } ?? 0 }

    /// The head's lines: memory, what is shown, the columns' names.
    private static let linesBeforeProcesses = 4

    /// The table, as many lines as the screen has at most.
    package func lines(_ size: ScreenSize) -> [ScreenLine] {
        guard let latest else { return [] }
        var lines = [ScreenLine()]
        if let picture {
            func mega(_ bytes: Int64) -> String { signed(bytes >> 20) + " MB" }
            let kernel = MemoryClass.allCases.filter { !$0.isOfApplications }.reduce(0) { $0 + picture[$1] }
            lines[0].append("memory", .bold)
            lines[0].append(" \(mega(picture.total))   free \(mega(picture.free))   ")
            lines[0].append("anonymous \(mega(picture[.anonymous]))   shared \(mega(picture[.shared]))   ")
            lines[0].append("files \(mega(picture[.file]))   kernel \(mega(kernel))   ")
            lines[0].append("unexplained \(mega(picture.unexplained))")
        }
        let seconds = Double(latest.bootMilliseconds - beganAt) / 1000
        let processes = latest.entities.filter { $0.kind == .process }
        lines.append(
            ScreenLine(
                "\(counted(UInt64(processes.count), "process")) by growth since \(shortDuration(seconds)) ago, in KB"))
        lines.append(ScreenLine())
        // A narrow terminal gets only the columns that identify and accuse. The name is the most important.
        let isNarrow = size.width < 130
        lines.append(
            ScreenLine(
                isNarrow
                    ? "    PID      growth       /hour    resident threads   open  name"
                    : "      PID        growth         /hour      resident     anonymous        shared          swap  "
                        + "threads     open    waiting  name", .dim))
        let memory = Self.memory(latest)
        func growth(_ entity: EntitySample) -> Int64 { (memory[entity.id] ?? 0) &- (first[entity.id] ?? 0) }
        let sorted = processes.sorted {
            (growth($0), Self.value($0, .resident)) > (growth($1), Self.value($1, .resident))
        }
        let shown = sorted.dropFirst(top).prefix(max(0, size.height - lines.count - 1))
        for entity in shown {
            let grown = growth(entity), perHour = seconds > 0 ? Double(grown) / seconds * 3600 : 0
            let isGrowing = grown > 0 && (before[entity.id] ?? 0) < (memory[entity.id] ?? 0)
            let line = isNarrow ? narrow(entity, grown, perHour) : wide(entity, grown, perHour)
            lines.append(ScreenLine(line, isGrowing ? .warning : .plain))
        }
        let left = sorted.count - top - shown.count
        if top > 0 || left > 0 {
            lines.append(
                ScreenLine("\(separated(UInt64(top))) above, \(separated(UInt64(max(0, left)))) more below", .dim))
        }
        return lines.map { $0.cut(to: size.width) }
    }

    private func wide(_ entity: EntitySample, _ grown: Int64, _ perHour: Double) -> String {
        cell(entity, 9, grown, 14, perHour) + cell(entity, .resident, 14) + cell(entity, .anonymous, 14)
            + cell(entity, .shared, 14) + cell(entity, .swap, 14) + cell(entity, .threads, 9)
            + cell(entity, .descriptors, 9)
            + cell((Self.value(entity, .receiveQueue) &+ Self.value(entity, .sendQueue)) / 1024, 11) + name(entity)
    }

    private func narrow(_ entity: EntitySample, _ grown: Int64, _ perHour: Double) -> String {
        cell(entity, 7, grown, 12, perHour) + cell(entity, .resident, 12) + cell(entity, .threads, 8)
            + cell(entity, .descriptors, 7) + name(entity)
    }

    /// The PID, the growth and the growth an hour.
    private func cell(
        _ entity: EntitySample, _ pidWidth: Int, _ grown: Int64, _ width: Int, _ perHour: Double
    ) -> String {
        leftPadded(String(entity.id.prefix { $0 != ":" }), pidWidth) + cell(grown, width)
            + cell(Int64(max(-9e15, min(9e15, perHour))), width)
    }

    private func cell(_ entity: EntitySample, _ column: ProcessColumn, _ width: Int) -> String {
        cell(Self.value(entity, column), width)
    }

    private func cell(_ value: Int64, _ width: Int) -> String { leftPadded(signed(value), width) }

    private func name(_ entity: EntitySample) -> String { "  " + printable(Self.commandLine(entity)) }
}

/// Identifies a start of the machine.
package func bootID(root: String) -> String { ProcText(root: root).word("/proc/sys/kernel/random/boot_id") ?? "" }
