// The processes: from stat, status, the beginning of maps, and the descriptors' links. A process is one entity from its
// start to its end; a reused PID is another one. Processes that this user can't read are reported once, as a number.

import Glibc
import Proc
import SystemPackage

struct KnownProcess {
    var name: String
    var words: String
    var descriptorLimit: Int64
    var isSeen = true
}

/// A process given by its PID, or its successor.
struct Followed {
    var pid: Int64
    var id: String?
    var name = ""
    var words = ""
}

/// One process's stat, parsed.
struct ProcessFields {
    var pid: Int64
    var name: String
    var state: Int64
    /// Fields from the fourth on: their numbers in proc(5), less four.
    var fields: [Int64]

    var parent: Int64 { fields[0] }
    var startTicks: Int64 { fields[18] }
    var id: String { "\(pid):\(startTicks)" }
    /// Whether its first thread has ended.
    var isZombie: Bool { state == Int64(UInt8(ascii: "Z")) }

    init?(_ pid: Int64, _ text: [UInt8]) {
        guard let (name, words) = statFields(text), words.count > 22, let state = words[0].first else { return nil }
        self.pid = pid
        self.name = String(decoding: name, as: UTF8.self)
        self.state = Int64(state)
        // Some fields may be negative (priorities), but none that is used here.
        fields = words.dropFirst().map { number($0) ?? Sample.unknown }
        guard fields[18] >= 0, fields[0] >= 0 else { return nil }
    }
}

extension Gatherer {
    func gatherProcesses(_ sockets: inout WaitingSockets) -> [EntitySample] {
        let stats: [ProcessFields]
        do {
            stats = try files.names(in: "/proc").compactMap { name in
                guard let pid = Int64(name), pid > 0, let text = try? files.read("/proc/\(pid)/stat") else {
                    return nil
                }
                return ProcessFields(pid, text)
            }.sorted { $0.pid < $1.pid }
        } catch {
            miss("/proc", error)
            return []
        }
        set("processes.count", Int64(stats.count))
        set("processes.threads", stats.reduce(0) { $0 &+ max($1.fields[16], 0) })
        set("processes.zombies", Int64(stats.count { $0.isZombie && livingThread(of: $0) == nil }))
        for (name, states) in [
            ("running", "R"), ("sleeping", "SI"), ("uninterruptible", "D"), ("stopped", "Tt"), ("zombie", "Z"),
        ] {
            set("tasks.\(name)", Int64(stats.count { stat in states.utf8.contains { Int64($0) == stat.state } }))
        }
        set("tasks.total", Int64(stats.count))
        for id in known.keys { known[id]?.isSeen = false }
        var hidden: Int64 = 0
        let samples = chosen(stats).compactMap { process(of: $0, &sockets, &hidden) }
        known = known.filter { $0.value.isSeen }
        set("processes.watched", Int64(samples.count))
        set("processes.withHiddenDescriptors", hidden)
        if hidden > 0 {
            miss(
                "descriptors of other users' processes",
                "not readable by this user; root may (\(hidden) processes at the first sample)")
        }
        return samples
    }

    // MARK: Selection

    private func chosen(_ stats: [ProcessFields]) -> [ProcessFields] {
        let selection = options.selection
        if selection.isAll { return stats }
        var pids: Set<Int64> = []
        for index in followed.indices { if let pid = follow(index, stats) { pids.insert(pid) } }
        for stat in stats where !selection.names.isEmpty {
            let program =
                commandWords(of: stat).split(separator: "\0").first.map { String($0.split(separator: "/").last ?? "") }
                ?? ""
            if selection.names.contains(where: { fnmatch($0, stat.name, 0) == 0 || fnmatch($0, program, 0) == 0 }) {
                pids.insert(stat.pid)
            }
        }
        if selection.withChildren {
            // A child's PID may be lower than its parent's, so this repeats until no process is added.
            var before = -1
            while pids.count != before {
                before = pids.count
                for stat in stats where pids.contains(stat.parent) { pids.insert(stat.pid) }
            }
        }
        return stats.filter { pids.contains($0.pid) }
    }

    /// The current PID of a process given by PID: its own, or, if it is gone, that of a later process with the same
    /// name and arguments: a restarted service.
    private func follow(_ index: Int, _ stats: [ProcessFields]) -> Int64? {
        let was = followed[index]
        if let stat = stats.first(where: { $0.pid == was.pid }), was.id == nil || stat.id == was.id {
            followed[index] = Followed(pid: stat.pid, id: stat.id, name: stat.name, words: commandWords(of: stat))
            return stat.pid
        }
        guard let id = was.id else {
            miss("process \(was.pid)", "not there")
            return nil
        }
        let start = id.split(separator: ":").last.flatMap { Int64($0) } ?? 0
        guard
            let heir = stats.first(where: { stat in
                stat.startTicks > start && stat.name == was.name && commandWords(of: stat) == was.words
                    && !followed.contains { $0.id == stat.id }
            })
        else { return nil }
        followed[index] = Followed(pid: heir.pid, id: heir.id, name: heir.name, words: commandWords(of: heir))
        return heir.pid
    }

    private func commandWords(of stat: ProcessFields) -> String {
        if let known = known[stat.id], known.name == stat.name { return known.words }
        let text = (try? files.read("\(place(of: stat))/cmdline")) ?? []
        return String(decoding: text.prefix(4096), as: UTF8.self)
    }

    /// The directory with a process's memory and files. If its first thread has ended, that of another thread.
    private func place(of stat: ProcessFields) -> String {
        livingThread(of: stat).map { "/proc/\(stat.pid)/task/\($0.pid)" } ?? "/proc/\(stat.pid)"
    }

    private func livingThread(of stat: ProcessFields) -> ProcessFields? {
        // The first thread stays until all others have ended, and is counted with them.
        guard stat.isZombie, stat.fields[16] > 1 else { return nil }
        return ((try? files.names(in: "/proc/\(stat.pid)/task")) ?? []).lazy.compactMap { [files] name in
            guard let thread = Int64(name), let text = try? files.read("/proc/\(stat.pid)/task/\(thread)/stat") else {
                return nil
            }
            return ProcessFields(thread, text)
        }.first { !$0.isZombie }
    }

    // MARK: Fields

    private func process(
        of stat: ProcessFields, _ sockets: inout WaitingSockets, _ hidden: inout Int64
    ) -> EntitySample? {
        var values = [Int64](repeating: Sample.unknown, count: ProcessColumn.allCases.count)
        func put(_ column: ProcessColumn, _ value: Int64?) {
            values[column.rawValue] = max(value ?? Sample.unknown, Sample.unknown)
        }
        let living = livingThread(of: stat),
            place = living.map { "/proc/\(stat.pid)/task/\($0.pid)" } ?? "/proc/\(stat.pid)"
        put(.state, living?.state ?? stat.state)
        put(.parent, stat.parent)
        put(.minorFaults, stat.fields[6])
        put(.majorFaults, stat.fields[8])
        put(.userTicks, stat.fields[10])
        put(.systemTicks, stat.fields[11])
        put(.threads, stat.fields[16])
        var hasMemory = false
        guard let status = try? files.read("\(place)/status") else { return nil }
        for line in status.split(separator: UInt8(ascii: "\n")) {
            let column: ProcessColumn
            switch true {
            case has(line, prefix: "VmSize:"):
                column = .virtual
                hasMemory = true
            case has(line, prefix: "VmRSS:"): column = .resident
            case has(line, prefix: "RssAnon:"): column = .anonymous
            case has(line, prefix: "RssFile:"): column = .file
            case has(line, prefix: "RssShmem:"): column = .shared
            case has(line, prefix: "VmData:"): column = .data
            case has(line, prefix: "VmPTE:"): column = .pageTables
            case has(line, prefix: "VmSwap:"): column = .swap
            default: continue
            }
            let parts = Watch.words(line, most: 2)
            put(column, parts.count > 1 ? number(parts[1]) : nil)
        }
        let isZombie = stat.isZombie && living == nil
        // A kernel thread has no memory of its own, so it is left out even if it was named.
        if !hasMemory && !isZombie { return nil }

        let id = stat.id
        if known[id] == nil || known[id]?.name != stat.name {
            known[id] = KnownProcess(
                name: stat.name, words: commandWords(of: stat), descriptorLimit: descriptorLimit(place))
        }
        known[id]?.isSeen = true
        put(.descriptorLimit, known[id]?.descriptorLimit)
        if !isZombie {
            let holder = "\(stat.pid) \(stat.name)", mapped = mapped(place, holder)
            put(.heap, mapped?.heap)
            put(.isRecorded, mapped.map { $0.isRecorded ? 1 : 0 })
            if mapped?.isRecorded == true { put(.image, imageKilobytes(place)) }
            if options.proportional { put(.proportional, proportional(place)) }
            if !descriptors(place, holder, &values, &sockets) { hidden += 1 }
        }
        return EntitySample(kind: .process, id: id, name: stat.name, detail: known[id]?.words ?? "", values: values)
    }

    private func descriptorLimit(_ place: String) -> Int64 {
        var limit = Sample.unknown
        try? files.forEachLine("\(place)/limits") { line in
            if has(line, prefix: "Max open files") {
                limit = words(line).dropFirst(3).first.flatMap { number($0) } ?? Sample.unknown
            }
        }
        return limit
    }

    // The heap is among the first mappings, after the program's own, and most programs' libraries are in the first 64
    // KB of text.
    private func mapped(_ place: String, _ holder: String) -> (heap: Int64, isRecorded: Bool)? {
        guard let text = try? files.read("\(place)/maps") else { return nil }
        var heap: Int64 = 0, isRecorded = false
        for line in text.split(separator: UInt8(ascii: "\n")) {
            hold(mapping: line, in: place, by: holder)
            if line.suffix(14).elementsEqual("/libheapsum.so".utf8) { isRecorded = true }
            guard line.suffix(6).elementsEqual("[heap]".utf8) else { continue }
            let range = line.prefix { $0 != 0x20 }.split(separator: UInt8(ascii: "-"))
            if range.count == 2, let start = hexadecimalNumber(range[0]), let end = hexadecimalNumber(range[1]),
                start <= end
            {
                heap = (end - start) / 1024
            }
        }
        return (heap, isRecorded)
    }

    /// How much of a recorded process's resident memory is heapsum's image, by the mapping of its file.
    private func imageKilobytes(_ place: String) -> Int64? {
        var parser = SmapsParser()
        do { try files.forEachLine("\(place)/smaps") { parser.add(line: $0) } } catch { return nil }
        let image = parser.mappings.filter {
            $0.permissions.elementsEqual("rw-s".utf8) && Self.isImageName(Array($0.mapping.path.utf8)[...])
        }
        return image.reduce(0) { $0 &+ Int64(clamping: $1.residentBytes >> 10) }
    }

    /// `PROGRAM.PID.heap`, deleted or not, or the memfd used instead.
    static func isImageName(_ name: ArraySlice<UInt8>) -> Bool {
        let text = String(decoding: name, as: UTF8.self).replacing(" (deleted)", with: "")
        return text.hasSuffix(".heap") || text.hasPrefix("/memfd:heapsum")
    }

    private func proportional(_ place: String) -> Int64? {
        guard let text = try? files.read("\(place)/smaps_rollup") else {
            miss("proportional set sizes (/proc/PID/smaps_rollup)", "not there, or not readable by this user")
            return nil
        }
        for line in text.split(separator: UInt8(ascii: "\n")) where has(line, prefix: "Pss:") {
            let parts = words(line)
            return parts.count > 1 ? number(parts[1]) : nil
        }
        return nil
    }

    /// - Returns: whether they could be read.
    private func descriptors(
        _ place: String, _ holder: String, _ values: inout [Int64], _ sockets: inout WaitingSockets
    ) -> Bool {
        guard let names = try? files.names(in: "\(place)/fd") else { return false }
        if let namespace = files.link("\(place)/ns/net"), sockets.namespaces.insert(Array(namespace)).inserted,
            options.root.isEmpty
        {
            readSockets("\(place)/net", into: &sockets)
        }
        var counts = [Int64](repeating: 0, count: values.count), total: Int64 = 0, memfds: Set<UInt64> = [],
            memfdBytes: Int64 = 0
        for name in names {
            // A descriptor that was closed meanwhile does not count.
            guard let link = files.link("\(place)/fd/\(name)") else { continue }
            total += 1
            // A duplicated descriptor is the same memory.
            if let memory = hold(link, through: "\(place)/fd/\(name)", by: holder), memfds.insert(memory.inode).inserted
            {
                memfdBytes &+= memory.bytes
            }
            var column = ProcessColumn.files
            if has(link, prefix: "socket:[") {
                column = .sockets
                if let inode = number(link.dropFirst(8).dropLast()), let queues = sockets.take(inode) {
                    counts[ProcessColumn.receiveQueue.rawValue] &+= queues.receive
                    counts[ProcessColumn.sendQueue.rawValue] &+= queues.send
                    counts[ProcessColumn.undrainedSockets.rawValue] += 1
                }
            } else if has(link, prefix: "pipe:[") {
                column = .pipes
            } else if has(link, prefix: "anon_inode:") {
                let kind = String(
                    decoding: link.dropFirst(11).filter { $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "]") },
                    as: UTF8.self)
                switch kind {
                case "eventfd": column = .events
                case "eventpoll": column = .polls
                case "timerfd": column = .timers
                case "inotify", "fanotify": column = .watches
                default: column = .otherDescriptors
                }
            } else if has(link, prefix: "/memfd:") {
                column = .memoryFiles
            } else if link.first != UInt8(ascii: "/") {
                column = .otherDescriptors
            }
            counts[column.rawValue] += 1
        }
        for column in ProcessColumn.descriptors.rawValue ... ProcessColumn.otherDescriptors.rawValue {
            values[column] = counts[column]
        }
        values[ProcessColumn.descriptors.rawValue] = total
        values[ProcessColumn.memoryFileKilobytes.rawValue] = memfdBytes / 1024
        for column in [ProcessColumn.receiveQueue, .sendQueue, .undrainedSockets] {
            values[column.rawValue] = max(counts[column.rawValue], 0)
        }
        return true
    }
}
