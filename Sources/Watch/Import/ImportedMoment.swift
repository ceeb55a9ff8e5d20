// One moment of somebody else's log, before it becomes a sample: the machine's counters, processes and slab caches, as
// far as the log has them. Each format's reader fills it; Import orders moments and writes them.

/// A process in a log. In kilobytes and clock ticks (hundredths of a second); nil: not known.
struct ImportedProcess {
    var pid: Int64
    /// Its start time, in the log's unit; nil if not known.
    var start: Int64?
    var name = ""
    /// Its arguments, each ended by NUL.
    var words = ""
    var values: [ProcessColumn: Int64] = [:]

    init(pid: Int64) { self.pid = pid }

    /// Sets the command from the output of ps or top: words with spaces between.
    mutating func setCommand(_ text: ArraySlice<UInt8>) {
        // ps f draws a tree before it.
        let parts = Watch.words(text).drop { $0.elementsEqual("|".utf8) || $0.elementsEqual("\\_".utf8) }.map {
            String(decoding: $0.prefix(4096), as: UTF8.self)
        }
        words = parts.prefix(200).map { $0 + "\0" }.joined()
        name = Self.programName(parts.first ?? "?")
    }

    /// A path's last part. Kernel threads, login shells and daemons that show their state have special forms.
    static func programName(_ word: String) -> String {
        if word.hasPrefix("[") { return word }
        let last = word.split(separator: "/").last.map(String.init) ?? word
        var name = last.hasSuffix(":") ? String(last.dropLast()) : last
        if name.hasPrefix("-"), name.count > 1 { name.removeFirst() }
        return name.isEmpty ? word : name
    }
}

struct ImportedSlab {
    var name: String
    /// A zone or a type of malloc(9), as vmstat of the BSDs prints them.
    var isBSD = false
    /// The detail of such an entity.
    static let bsdMark = "bsd"
    var active: Int64
    var objects: Int64
    var objectBytes: Int64
    var bytes: Int64
}

struct ImportedMoment {
    /// Milliseconds since 1970; nil if the log doesn't say.
    var wall: Int64?
    /// Seconds since midnight, if the log has no date.
    var secondOfDay: Int?
    var system: [String: Int64] = [:]
    var processes: [ImportedProcess] = []
    var slabs: [ImportedSlab] = []
    /// The size of a page as the log says it; nil if it doesn't.
    var pageBytes: Int64?

    var isEmpty: Bool { system.isEmpty && processes.isEmpty && slabs.isEmpty }

    /// The kinds of data it has: two moments with different kinds may be parts of one.
    var kinds: Set<EntityKind> {
        var kinds: Set<EntityKind> = []
        if !system.isEmpty { kinds.insert(.system) }
        if !processes.isEmpty { kinds.insert(.process) }
        if !slabs.isEmpty { kinds.insert(.slab) }
        return kinds
    }
}

/// A line that no reader knows, or that lacks expected data.
struct UnreadLine {
    var path: String
    var line: Int
    var reason: String
    var text: String
}

/// A file's moments, and the lines that could not be read.
struct ImportedFile {
    /// Further lines are counted, but not kept.
    static let mostUnread = 200

    var path: String
    var moments = 0
    var unreadCount = 0
    var unread: [UnreadLine] = []
    var notes: [String] = []

    init(path: String) { self.path = path }

    mutating func addUnread(_ line: Int, _ reason: String, _ text: ArraySlice<UInt8>) {
        unreadCount += 1
        guard unread.count < Self.mostUnread else { return }
        unread.append(
            UnreadLine(path: path, line: line, reason: reason, text: String(decoding: text.prefix(120), as: UTF8.self)))
    }

    mutating func note(_ text: String) { if notes.count < 100, !notes.contains(text) { notes.append(text) } }
}
