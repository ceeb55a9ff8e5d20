// Names that an image stores for its frames: all of them (`heapsum pack --with-symbols`), from the modules' files on
// the machine where the image was packed; or only those of JIT compilers' code, whose files are soon gone.
//
// Invariant: names take no more memory than they take in the image, whatever its entries claim. Strings are read on
// demand, once each, and their sum is bounded by section STRINGS.

import CHeapImage
import Text

/// One function at a frame.
package struct StoredName: Equatable {
    /// Demangled; nil: the frame was looked up and has no name.
    package var function: String?
    /// Mangled, as the linker sees it.
    package var symbol: String?
    package var file: String?
    package var line: Int?
    /// From the symbol's start to the return address; nil if the name is not from a symbol.
    package var symbolOffset: UInt64?
    /// nil if the source isn't known.
    package var inlined: Bool?
    /// It has no name, because a JIT compiler put several functions there.
    package var isReused = false

    package init(
        function: String? = nil, symbol: String? = nil, file: String? = nil, line: Int? = nil,
        symbolOffset: UInt64? = nil, inlined: Bool? = nil, isReused: Bool = false
    ) {
        self.function = function
        self.symbol = symbol
        self.file = file
        self.line = line
        self.symbolOffset = symbolOffset
        self.inlined = inlined
        self.isReused = isReused
    }
}

/// A frame of an image (`heap_node.frame`) and its functions, innermost first.
package struct StoredFrame {
    package var frame: UInt64
    package var names: [StoredName]

    package init(frame: UInt64, names: [StoredName]) {
        self.frame = frame
        self.names = names
    }
}

/// The names in one image.
package final class StoredNames {
    /// Longer names are cut. Compilers make names of a few kilobytes.
    package static let longestName = 1 << 16
    /// More inlined functions at one place than real code has.
    static let mostInlined = 1024

    private let image: HeapImage
    private var entries: [heap_name] = []
    private var texts: [UInt64: String] = [:]
    private var unreadBytes: Int

    /// Where each frame's entries are. If a frame is there twice, the first counts.
    package private(set) var frames: [(frame: UInt64, entries: Range<Int>)] = []

    fileprivate init(_ image: HeapImage) {
        self.image = image
        unreadBytes = image.sections[SectionName.strings.rawValue].readableEntries
        entries.reserveCapacity(image.sections[SectionName.names.rawValue].readableEntries)
        image.forEachEntry(of: .names, as: heap_name.self) { [self] index, entry in
            entries.append(entry)
            if let last = frames.last, last.frame == entry.frame {
                frames[frames.count - 1].entries = last.entries.lowerBound ..< index + 1
            } else {
                frames.append((entry.frame, index ..< index + 1))
            }
        }
    }

    /// The functions in a range of entries, innermost first.
    ///
    /// - Complexity: O(1) for each function whose strings were read before; else one read for each string.
    package func names(_ range: Range<Int>) -> [StoredName] {
        if range.count > Self.mostInlined {
            image.note(
                "a frame with more than \(Self.mostInlined) functions", at: image.place(of: .names, range.lowerBound))
        }
        // The last entry is the function itself.
        return entries[range.clamped(to: entries.indices)].suffix(Self.mostInlined).map { entry in
            StoredName(
                function: text(entry.function), symbol: text(entry.symbol), file: text(entry.file),
                line: entry.line == 0 ? nil : Int(entry.line),
                symbolOffset: entry.symbol_offset == HEAP_NAME_NO_SYMBOL ? nil : entry.symbol_offset,
                inlined: entry.flags & HEAP_NAME_SOURCE.rawValue == 0
                    ? nil : entry.flags & HEAP_NAME_INLINED.rawValue != 0,
                isReused: entry.flags & HEAP_NAME_REUSED.rawValue != 0)
        }
    }

    private func text(_ string: heap_string) -> String? {
        if string.offset == 0 { return nil }
        let key = UInt64(string.offset) << 32 | UInt64(string.length)
        if let text = texts[key] { return text }
        let bytes = min(Int(string.length), Self.longestName)
        guard bytes <= unreadBytes else {
            image.note(
                "names that overlap", at: image.sections[SectionName.strings.rawValue].offset &+ UInt64(string.offset))
            return nil
        }
        unreadBytes -= bytes
        let text = image.text(string, limit: Self.longestName)
        texts[key] = text
        return text
    }
}

extension HeapImage {
    /// The names that the image stores; nil if it has none.
    ///
    /// - Complexity: O(names)
    package func storedNames() -> StoredNames? { hasNames ? StoredNames(self) : nil }
}

// MARK: - Writing

/// Names that are being written to an image: entries of NAMES, and strings that are appended to the existing ones.
struct NameSection {
    private(set) var entries: [heap_name] = []
    private(set) var strings: [UInt8] = []
    /// Names left out because STRINGS is full.
    private(set) var leftOut = 0
    private let firstOffset: UInt64
    private var places: [String: heap_string] = [:]

    /// For an image whose strings take `firstOffset` bytes.
    init(_ frames: [StoredFrame], firstOffset: UInt64) {
        self.firstOffset = firstOffset
        for frame in frames {
            for name in frame.names {
                var flags: UInt32 = 0
                if let inlined = name.inlined {
                    flags = HEAP_NAME_SOURCE.rawValue | (inlined ? HEAP_NAME_INLINED.rawValue : 0)
                }
                if name.isReused { flags |= HEAP_NAME_REUSED.rawValue }
                entries.append(
                    heap_name(
                        frame: frame.frame, symbol_offset: name.symbolOffset ?? HEAP_NAME_NO_SYMBOL,
                        function: place(name.function),
                        symbol: place(name.symbol), file: place(name.file), line: UInt32(clamping: name.line ?? 0),
                        flags: flags))
            }
        }
    }

    private mutating func place(_ text: String?) -> heap_string {
        guard let text else { return heap_string() }
        if let place = places[text] { return place }
        let bytes = Array(text.pathBytes.prefix(StoredNames.longestName))
        guard let offset = UInt32(exactly: firstOffset + UInt64(strings.count)),
            UInt64(offset) + UInt64(bytes.count) <= UInt64(UInt32.max)
        else {
            leftOut += 1
            return heap_string()
        }
        strings += bytes
        let place = heap_string(offset: offset, length: UInt32(bytes.count))
        places[text] = place
        return place
    }
}
