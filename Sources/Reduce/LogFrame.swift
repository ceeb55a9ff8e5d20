// Frames of logs, and Python's of images: an absolute address, a name from the log, or both.
//
// Invariant: a frame without a name is (SpecialModule.none, address), like an image's frame outside of all modules. A
// frame with a name is (SpecialModule.named, its number in the reduction), and each name has one number. So a row's
// frame is either module:offset of an image, or an address with or without a name.

/// One frame of a log.
package struct LogFrame: Hashable {
    /// nil if the log has no meaningful address.
    package var address: UInt64?
    /// The function's name in the log; empty if it has none.
    package var name: [UInt8]
    /// From the function's start to the return address, if the log says so.
    package var symbolOffset: UInt64?
    /// The module that the log names: usually a kernel module.
    package var module: [UInt8]
    /// Source file and line, if the log has them.
    package var file: [UInt8]
    package var line: UInt32?

    /// For a frame without a name: the address in the module's own file, if the log has it. Symbols are looked up by
    /// it.
    package var moduleOffset: UInt64?

    package init(
        address: UInt64? = nil, name: [UInt8] = [], symbolOffset: UInt64? = nil, module: [UInt8] = [],
        file: [UInt8] = [],
        line: UInt32? = nil
    ) {
        self.address = address
        self.name = name
        self.symbolOffset = symbolOffset
        self.module = module
        self.file = file
        self.line = line
    }

    /// Stands for missing frames: the report's text for them, or a log that was cut off.
    package static let cut = LogFrame(address: 0, name: Array(cutText.utf8))
    /// The text for missing frames in reports and in records that are made from an image.
    package static let cutText = "… frames missing …"
    /// The same for each reason (`heap_cut`): the depth limit or the unwinder; the limit of stacks; the row into which
    /// packing put several stacks.
    package static let cutTexts = [
        cutText, "… frames missing (new stacks beyond --max-stacks) …",
        "… stacks that came and went, and held nothing (packed into one row) …",
    ]

    /// The frame that stands for missing ones. An unknown reason counts as the first.
    package static func cut(_ reason: UInt64) -> LogFrame {
        LogFrame(address: 0, name: Array(cutText(reason).utf8))
    }
    package static func cutText(_ reason: UInt64) -> String {
        reason < UInt64(cutTexts.count) ? cutTexts[Int(reason)] : cutText
    }

    /// Why frames are missing; nil for a frame.
    package var cutReason: UInt64? {
        guard address == 0, module.isEmpty, name.starts(with: "… ".utf8) else { return nil }
        return (0 ..< UInt64(Self.cutTexts.count)).first { Self.cut($0) == self }
    }
    /// The text before a thread's number, if a thread is the root of a stack.
    package static let threadText = "thread "
    /// The text before a tag.
    package static let tagText = "tag "
}

extension LogFrame {
    package func hash(into hasher: inout Hasher) {
        hasher.combine(address)
        hasher.combine(symbolOffset)
        // Arrays hash themselves byte by byte, which would take most of the time for a log with many frames.
        name.withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(name.count)
        module.withUnsafeBytes { hasher.combine(bytes: $0) }
        file.withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(line)
    }
}

/// The frames with names, each once, numbered in the order of their appearance.
package struct LogFrameTable {
    package private(set) var frames: [LogFrame] = []
    // Half of a frame's hash, and its number plus one, so that the frames themselves are stored only once. The size is
    // a power of two, at most half full; 0 is free.
    private var slots = [UInt64](repeating: 0, count: 1 << 8)

    package init() {}

    /// - Complexity: O(1) on average.
    package mutating func number(of frame: LogFrame) -> UInt64 {
        let hash = UInt64(truncatingIfNeeded: frame.hashValue)
        var place = Int(hash & UInt64(slots.count - 1))
        while slots[place] != 0 {
            let number = slots[place] & 0xFFFF_FFFF
            if slots[place] >> 32 == hash >> 32, frames[Int(number) - 1] == frame { return number - 1 }
            place = (place + 1) & (slots.count - 1)
        }
        frames.append(frame)
        slots[place] = (hash & ~0xFFFF_FFFF) | UInt64(frames.count)
        if frames.count * 2 > slots.count { grow() }
        return UInt64(frames.count - 1)
    }

    /// Changes each frame. Numbers stay. If two frames become equal, later look-ups find the first one's number.
    package mutating func rename(_ body: (inout LogFrame) -> Void) {
        let old = frames
        self = LogFrameTable()
        for var frame in old {
            body(&frame)
            let known = frames.count
            if number(of: frame) < UInt64(known) { frames.append(frame) }
        }
    }

    private mutating func grow() {
        let old = slots
        slots = [UInt64](repeating: 0, count: old.count * 2)
        for slot in old where slot != 0 {
            var place = frames[Int(slot & 0xFFFF_FFFF) - 1].hashValue & (slots.count - 1)
            while slots[place] != 0 { place = (place + 1) & (slots.count - 1) }
            slots[place] = slot
        }
    }
}

extension LogFrame {
    private static let threadPrefix = Array(threadText.utf8)
    private static let tagPrefix = Array(tagText.utf8)

    /// The tag, if the frame stands for one: its address is 0.
    var tag: StackTag? {
        guard address == 0, module.isEmpty, file.isEmpty, name.starts(with: Self.tagPrefix) else { return nil }
        let text = Array(name.dropFirst(Self.tagPrefix.count))
        return [StackTag.more, .unreadable].first { Array($0.description.utf8) == text } ?? .text(text)
    }

    /// The thread's number, if the frame stands for a thread.
    var thread: UInt64? {
        let prefix = Self.threadPrefix
        guard let address, name.first == prefix.first, name.starts(with: prefix), name.count > prefix.count,
            UInt64(String(decoding: name[prefix.count...], as: UTF8.self)) == address
        else { return nil }
        return address
    }
}
