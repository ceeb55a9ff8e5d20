// Moments that the program named through heapsum.h. They lie after the header, in the same page.

import CHeapImage

/// A moment that the program named.
package struct Mark: Equatable, Sendable {
    /// From 1, in the order in which they were set.
    package var number: UInt64
    /// The program's name for it, cut to 39 bytes.
    package var name: String
    /// Since the recording's start.
    package var nanoseconds: UInt64
    /// Blocks allocated after it have this tick or a later one.
    package var tick: UInt32
    package var threadID: UInt32
}

extension HeapImage {
    package var hasMarks: Bool { hasFlag(HEAP_FLAG_MARKS) }

    /// The marks that are kept (the newest 48), oldest first.
    ///
    /// - Complexity: O(1)
    package func marks() -> [Mark] {
        let raw = rawMarks()
        var marks: [Mark] = []
        for place in stride(
            from: 0, to: raw.count - raw.count % MemoryLayout<heap_mark>.size, by: MemoryLayout<heap_mark>.size)
        {
            let mark = raw.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place, as: heap_mark.self) }
            // Half written, or not the entry's own number.
            guard mark.number > 0,
                (mark.number - 1) % UInt64(HEAP_MARK_COUNT) == UInt64(place / MemoryLayout<heap_mark>.size)
            else { continue }
            let name = withUnsafeBytes(of: mark.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            marks.append(
                Mark(
                    number: mark.number, name: name, nanoseconds: mark.time_ns,
                    tick: mark.tick & UInt32(HEAP_SLOT_TICK_MASK), threadID: mark.tid))
        }
        return marks.sorted { $0.number < $1.number }
    }

    /// The newest mark with this name. If several have the name, `NAME#2` is the second that is kept.
    package func mark(named name: String) -> Mark? {
        let marks = marks()
        if let newest = marks.last(where: { $0.name == name }) { return newest }
        guard let hash = name.lastIndex(of: "#"), let number = Int(name[name.index(after: hash)...]), number > 0 else {
            return nil
        }
        let same = marks.filter { $0.name == name[..<hash] }
        return number <= same.count ? same[number - 1] : nil
    }

    /// The marks' bytes as they are in the file; none if the image has no marks or was cut off there.
    func rawMarks() -> [UInt8] {
        guard hasMarks else { return [] }
        var bytes = [UInt8](repeating: 0, count: Int(HEAP_MARK_COUNT) * MemoryLayout<heap_mark>.size)
        let count = bytes.withUnsafeMutableBytes { buffer in
            (try? source.read(into: buffer, at: UInt64(HEAP_MARKS_OFFSET))) ?? 0
        }
        return Array(bytes.prefix(max(0, min(count, bytes.count))))
    }
}
