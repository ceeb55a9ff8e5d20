// What somebody else's log says of one moment, before it becomes a sample: the machine's counters, processes, and slab
// caches, as far as the log has them. Readers fill it, each for its own format; Import puts moments in order and writes
// them.

/// A process as a log shows it. Kilobytes and clock ticks (a hundredth of a second); nil is not known.
struct ImportedProcess {
    var pid: Int64
    /// When it started, in whatever unit the log has; nil where it doesn't say.
    var start: Int64?
    var name = ""
    /// Its words, each ended by NUL.
    var words = ""
    var values: [ProcessColumn: Int64] = [:]

    init(pid: Int64) { self.pid = pid }

    /// Takes a command as ps and top print it: words with spaces between.
    mutating func setCommand(_ text: ArraySlice<UInt8>) {
        // ps f draws a tree before it.
        let parts = Watch.words(text).drop { $0.elementsEqual("|".utf8) || $0.elementsEqual("\\_".utf8) }.map {
            String(decoding: $0.prefix(4096), as: UTF8.self)
        }
        words = parts.prefix(200).map { $0 + "\0" }.joined()
        name = Self.programName(parts.first ?? "?")
    }

    /// A path's last part; a kernel thread, a login shell and a daemon that tells its state have signs of their own.
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
    /// Milliseconds since 1970; nil where nothing in the log says when it was.
    var wall: Int64?
    /// Of the day, where the log has no more: seconds.
    var secondOfDay: Int?
    var system: [String: Int64] = [:]
    var processes: [ImportedProcess] = []
    var slabs: [ImportedSlab] = []

    var isEmpty: Bool { system.isEmpty && processes.isEmpty && slabs.isEmpty }

    /// What it has: two moments that have different things may be parts of one.
    var kinds: Set<EntityKind> {
        var kinds: Set<EntityKind> = []
        if !system.isEmpty { kinds.insert(.system) }
        if !processes.isEmpty { kinds.insert(.process) }
        if !slabs.isEmpty { kinds.insert(.slab) }
        return kinds
    }
}

/// A line that no reader knows, or that doesn't hold what it should.
struct UnreadLine {
    var path: String
    var line: Int
    var reason: String
    var text: String
}

/// What a file gave: its moments, and what in it could not be read.
struct ImportedFile {
    /// More lines than these are counted, and not kept.
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
