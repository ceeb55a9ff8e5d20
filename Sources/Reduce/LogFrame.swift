// Frames as logs have them: an absolute address, a name that the log itself gives, or both.
//
// Invariant: a frame without a name is (SpecialModule.none, address), as an image's is where no module
// was; a frame with one is (SpecialModule.named, its number in the reduction), each once. So a row's
// frame is module:offset of an image, or an address with or without a name, and nothing else.

/// One frame of a log, with what the log says of it.
package struct LogFrame: Hashable {
    /// nil where the log has none that means anything.
    package var address: UInt64?
    /// The function, as the log writes it; empty: the log has no name for the address.
    package var name: [UInt8]
    /// From the function's start to the return address, where the log says so.
    package var symbolOffset: UInt64?
    /// The module that the log names: a kernel module as a rule.
    package var module: [UInt8]
    /// Source file and line, where the log has them.
    package var file: [UInt8]
    package var line: UInt32?

    /// Of a frame without a name: the address in the module's own file, where the log tells it; symbols are looked up by it.
    package var moduleOffset: UInt64?

    package init(
        address: UInt64? = nil, name: [UInt8] = [], symbolOffset: UInt64? = nil, module: [UInt8] = [], file: [UInt8] = [],
        line: UInt32? = nil
    ) {
        self.address = address
        self.name = name
        self.symbolOffset = symbolOffset
        self.module = module
        self.file = file
        self.line = line
    }

    /// Stands where frames are missing: the report's own text for them, or a log that was cut off.
    package static let cut = LogFrame(address: 0, name: Array(cutText.utf8))
    /// What reports, and the records that are made of an image, write for missing frames.
    package static let cutText = "… frames missing …"
    /// What they write before a thread's number, where it is the root of a stack.
    package static let threadText = "thread "
}

/// The frames with names, each once.
struct LogFrameTable {
    private(set) var frames: [LogFrame] = []
    private var numbers: [LogFrame: UInt64] = [:]

    mutating func number(of frame: LogFrame) -> UInt64 {
        if let number = numbers[frame] { return number }
        let number = UInt64(frames.count)
        frames.append(frame)
        numbers[frame] = number
        return number
    }
}

extension LogFrame {
    /// The number of the thread that the frame stands for, where it is one that records name.
    var thread: UInt64? {
        let prefix = Array(Self.threadText.utf8)
        guard let address, name.starts(with: prefix), name.count > prefix.count,
              UInt64(String(decoding: name[prefix.count...], as: UTF8.self)) == address else { return nil }
        return address
    }
}
