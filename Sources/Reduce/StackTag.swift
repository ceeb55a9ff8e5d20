// Tags: what a program said that its threads work for (heapsum_tag). Equal texts of any number of images are one tag.

import CHeapImage
import HeapImage

/// A tag of a stack.
package enum StackTag: Hashable, Sendable {
    /// The text, as bytes: usually UTF-8.
    case text([UInt8])
    /// Beyond the number of tags, or bytes of them, that a process keeps.
    case more
    /// The image is damaged there.
    case unreadable

    /// For people and programs: the text, or what is known of it.
    package var description: String {
        switch self {
        case .text(let bytes): String(decoding: bytes, as: UTF8.self)
        case .more: "more tags than are kept"
        case .unreadable: "a tag that can't be read"
        }
    }
}

/// The tags of a reduction, each once, numbered in the order of their appearance.
struct TagTable {
    private var tags: [StackTag] = []
    private var numbers: [StackTag: UInt64] = [:]

    mutating func number(of tag: StackTag) -> UInt64 {
        if let number = numbers[tag] { return number }
        let number = UInt64(tags.count)
        numbers[tag] = number
        tags.append(tag)
        return number
    }

    subscript(number: UInt64) -> StackTag? { number < UInt64(tags.count) ? tags[Int(number)] : nil }
}

/// The reduction's numbers of an image's modules, tags and Python functions.
package struct ImageNumbers {
    /// By the number in the image.
    var modules: [UInt32] = []
    /// By the frame in the image.
    var tags: [UInt64: Frame] = [:]
    var python: [UInt64: Frame] = [:]
}

extension Reduction {
    /// What was allocated under tags beyond the limits; nil if there were none. Of inputs without a history it is what
    /// is live.
    ///
    /// - Complexity: O(nodes); if there are tags, O(rows * depth).
    package var tagsBeyondLimit: (blocks: UInt64, bytes: UInt64)? { allocated(under: .more) }

    /// What was allocated in threads whose OpenTelemetry context could not be read; nil if there was nothing.
    ///
    /// - Complexity: as above.
    package var contextsUnread: (blocks: UInt64, bytes: UInt64)? {
        allocated(under: .text(Array(HEAP_TAG_UNREAD.utf8)))
    }

    private func allocated(under wanted: StackTag) -> (blocks: UInt64, bytes: UInt64)? {
        guard tree.hasTags else { return nil }
        var sum: (blocks: UInt64, bytes: UInt64) = (0, 0), isAny = false
        for row in rows where tag(of: row) == wanted {
            isAny = true
            sum.blocks &+= row.history?.allocatedBlocks ?? row.blocks
            sum.bytes &+= row.history?.allocatedBytes ?? row.bytes
        }
        return isAny ? sum : nil
    }

    /// Reads the tags among an image's frames.
    ///
    /// - Complexity: O(frames); at most `HEAP_TAGS_MOST` texts are read.
    func tags(_ frames: ArraySlice<UInt64>, of image: HeapImage) -> [UInt64: Frame] {
        var result: [UInt64: Frame] = [:]
        for raw in frames where heap_frame_module(raw) == HEAP_MODULE_TAG && result[raw] == nil {
            if heap_tag_string(raw).length == 0 {
                result[raw] = tag(.more)
            } else if result.count <= Int(HEAP_TAGS_MOST) {
                result[raw] = tag(image.tag(raw).map(StackTag.text) ?? .unreadable)
            } else {
                result[raw] = tag(.unreadable)
            }
        }
        return result
    }
}
