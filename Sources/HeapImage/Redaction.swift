// A copy without what an image says of the machine and its user: the program's arguments, directories, the directory
// for dumps. Files keep the last part of their paths, and build-ids stay, so that a reader can still get names.
//
// Invariant: the copy's section STRINGS is made new and has only what is placed here. Nothing of the source's is copied
// as a whole, also not what no entry refers to any more.

import CHeapImage
import Text

/// The strings of a redacted copy, and the entries that refer to them.
struct RedactedStrings {
    private(set) var bytes = [UInt8](repeating: 0, count: 8)
    private var places: [[UInt8]: heap_string] = [:]
    private let image: HeapImage
    /// Overlapping strings could be read again and again, so no more bytes are read than STRINGS has.
    private var unreadBytes: Int
    private var read: [UInt64: [UInt8]] = [:]

    init(_ image: HeapImage) {
        self.image = image
        unreadBytes = image.sections[SectionName.strings.rawValue].readableEntries
    }

    private mutating func text(_ string: heap_string, limit: Int) -> [UInt8] {
        let key = UInt64(string.offset) << 32 | UInt64(string.length), bytes = min(Int(string.length), limit)
        if let known = read[key] { return known }
        guard string.offset != 0, bytes <= unreadBytes else { return [] }
        unreadBytes -= bytes
        let text = image.string(string, limit: limit)
        read[key] = text
        return text
    }

    /// Where a text is; nowhere if it is empty or finds no space.
    private mutating func place(_ text: [UInt8]) -> heap_string {
        if text.isEmpty { return heap_string() }
        if let known = places[text] { return known }
        guard UInt64(bytes.count) + UInt64(text.count) <= UInt64(UInt32.max) else { return heap_string() }
        let place = heap_string(offset: UInt32(bytes.count), length: UInt32(text.count))
        bytes += text
        places[text] = place
        return place
    }

    private mutating func lastPart(of string: heap_string) -> heap_string {
        place(Redaction.lastPart(text(string, limit: 4096)))
    }

    /// Changes the header's strings. The name of an image is that of its file, and has the program's name.
    mutating func redact(_ header: inout heap_header) {
        header.program = lastPart(of: header.program)
        header.allocator = lastPart(of: header.allocator)
        header.name = lastPart(of: header.name)
        header.arguments = heap_string()
        header.output = heap_string()
    }

    /// All modules, with the last parts of their paths.
    mutating func modules() -> [heap_module] {
        var modules: [heap_module] = []
        image.forEachEntry(of: .modules, as: heap_module.self) { _, entry in modules.append(entry) }
        for index in modules.indices {
            let isReady = modules[index].flags & HEAP_MODULE_READY.rawValue != 0
            modules[index].path = isReady ? lastPart(of: modules[index].path) : heap_string()
        }
        return modules
    }

    /// The frames of tags and of Python's functions in the copy, by those of the source.
    mutating func frames() -> [UInt64: UInt64] { tags().merging(python()) { one, _ in one } }

    /// Python's functions, with the last parts of their files' paths.
    private mutating func python() -> [UInt64: UInt64] {
        var frames: Set<UInt64> = []
        image.forEachEntry(of: .nodes, as: heap_node.self) { _, node in
            if heap_frame_module(node.frame) == HEAP_MODULE_PYTHON { frames.insert(node.frame) }
        }
        var records: [UInt32: UInt32] = [0: 0], result: [UInt64: UInt64] = [:]
        for frame in frames.sorted() {
            let number = heap_python_record(frame)
            if records[number] == nil { records[number] = placePython(frame) }
            result[frame] = heap_python_frame(records[number] ?? 0, heap_python_line(frame))
        }
        return result
    }

    /// Where the copy's record of a frame's function is; 0 if it can't be read or finds no space.
    private mutating func placePython(_ frame: UInt64) -> UInt32 {
        guard var record = image.pythonRecord(frame, { text($0, limit: $1) }) else { return 0 }
        record.file = lastPart(of: record.file)
        record.name = place(
            Redaction.withoutDirectories(text(record.name, limit: Int(HEAP_PYTHON_NAME_BYTES))))
        return place(withUnsafeBytes(of: record) { Array($0) }).offset
    }

    /// A tag that has only a path becomes "…".
    private mutating func tags() -> [UInt64: UInt64] {
        var frames: Set<UInt64> = []
        image.forEachEntry(of: .nodes, as: heap_node.self) { _, node in
            let isTag = heap_frame_module(node.frame) == HEAP_MODULE_TAG
            if isTag, heap_tag_string(node.frame).length > 0 { frames.insert(node.frame) }
        }
        var tags: [UInt64: UInt64] = [:]
        for frame in frames.sorted() {
            let said = Redaction.withoutDirectories(text(heap_tag_string(frame), limit: Int(HEAP_TAG_BYTES)))
            tags[frame] = heap_tag_frame(place(said.isEmpty ? Array("…".utf8) : said))
        }
        return tags
    }

    /// The stored verdict, without paths in its texts.
    mutating func verdicts() -> [heap_verdict] {
        var entries: [heap_verdict] = []
        image.forEachEntry(of: .verdicts, as: heap_verdict.self) { _, entry in entries.append(entry) }
        for index in entries.indices {
            let said = text(entries[index].text, limit: HeapImage.longestVerdictText)
            entries[index].text = place(Redaction.withoutDirectories(said))
        }
        return entries
    }
}

enum Redaction {
    /// A path's last part.
    static func lastPart(_ path: [UInt8]) -> [UInt8] {
        path.split(separator: UInt8(ascii: "/")).last.map { Array($0) } ?? []
    }

    /// A text without what reaches from the start of its first absolute path to the last slash. Names of functions may
    /// have paths in them, such as those of interpreters.
    ///
    /// - Parameter isCut: the text may end within a directory's name; then nothing is left from the path's start on.
    static func withoutDirectories(_ text: [UInt8], isCut: Bool = false) -> [UInt8] {
        let slash = UInt8(ascii: "/")
        guard let last = text.lastIndex(of: slash) else { return text }
        let before = Array(" \t:([{<\"'=,;|".utf8), after = Array(" =)".utf8)
        let start = text[...last].indices.first { index in
            text[index] == slash && (index == 0 || before.contains(text[index - 1]))
                && (index + 1 == text.count || !after.contains(text[index + 1]))
        }
        guard let start else { return text }
        return Array(text[..<start] + (isCut ? [] : text[(last + 1)...]))
    }

    static func withoutDirectories(_ text: String?) -> String? {
        guard let text else { return nil }
        return text.utf8.contains(UInt8(ascii: "/")) ? pathText(withoutDirectories(text.pathBytes)) : text
    }

    static func redacted(_ frames: [StoredFrame]) -> [StoredFrame] {
        frames.map { frame in
            var frame = frame
            for index in frame.names.indices {
                let file = frame.names[index].file
                frame.names[index].file = file.map { pathText(lastPart($0.pathBytes)) }
                frame.names[index].function = withoutDirectories(frame.names[index].function)
                frame.names[index].symbol = withoutDirectories(frame.names[index].symbol)
            }
            return frame
        }
    }

    static func redacted(_ verdict: VerdictToStore) -> VerdictToStore {
        var verdict = verdict
        for index in verdict.known.holders.indices {
            verdict.known.holders[index].name = withoutDirectories(verdict.known.holders[index].name) ?? ""
        }
        verdict.known.notRead = verdict.known.notRead.map { withoutDirectories($0) ?? "" }
        verdict.known.notes = verdict.known.notes.map { withoutDirectories($0) ?? "" }
        return verdict
    }

    /// The marks' names without paths, in their places.
    static func redacted(marks: [UInt8]) -> [UInt8] {
        var marks = marks
        let size = MemoryLayout<heap_mark>.size, count = Int(HEAP_MARK_NAME_BYTES)
        for place in stride(from: 0, to: marks.count - marks.count % size, by: size) {
            let name = place + size - count ..< place + size
            let whole = Array(marks[name].prefix { $0 != 0 })
            let text = withoutDirectories(whole, isCut: whole.count >= count - 1)
            marks.replaceSubrange(name, with: text + [UInt8](repeating: 0, count: count - text.count))
        }
        return marks
    }
}

extension HeapImage {
    /// The stored names, without paths; nil if there are none.
    func redactedNames() -> [StoredFrame]? {
        guard let stored = storedNames() else { return nil }
        return Redaction.redacted(
            stored.frames.map { StoredFrame(frame: $0.frame, names: stored.names($0.entries)) })
    }
}
