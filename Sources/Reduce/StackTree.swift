// The tree of all stacks of all inputs. Each (parent, frame) is in it once.
//
// A frame is a module of this reduction and an offset, so that equal stacks of different processes are one. Invariant:
// parents are older than children. The hash only says where to look: whole frames are compared.

/// One frame of a stack: `module` is an index into the reduction's modules.
package struct Frame: Hashable {
    package var module: UInt32
    package var offset: UInt64

    package init(module: UInt32, offset: UInt64) {
        self.module = module
        self.offset = offset
    }
}

/// Values of `Frame.module` that don't stand for a file.
package enum SpecialModule {
    /// No module was at the address: the offset is an absolute address.
    package static let none: UInt32 = 0
    /// The root frame of a thread's stack; the offset is the thread's number.
    package static let thread: UInt32 = 1
    /// Frames are missing here.
    package static let cut: UInt32 = 2
    /// A log named the frame; the offset is its number among the reduction's named frames.
    package static let named: UInt32 = 3
    /// What the program said the thread works for (heapsum_tag): the outermost frame; the offset is the tag's number
    /// among the reduction's tags.
    package static let tag: UInt32 = 4
    static let count = 5
}

extension Frame {
    /// Whether the frame is a place in code: not a thread, a tag, or a cut.
    package var isCode: Bool {
        module != SpecialModule.cut && module != SpecialModule.thread && module != SpecialModule.tag
    }
}

/// Interned stacks. Node 0 is the empty stack.
package struct StackTree {
    private(set) var parents: [UInt32] = [0]
    private(set) var frames: [Frame] = [Frame(module: 0, offset: 0)]
    // Open addressing; the size is a power of two, at most half full. 0 is a free place, because nobody looks for node
    // 0.
    private var table = [UInt32](repeating: 0, count: 1 << 10)

    package init() {}

    package var count: Int { frames.count }

    /// Whether any stack names its thread.
    package var hasThreads: Bool { frames.contains { $0.module == SpecialModule.thread } }

    /// Whether any stack has a tag.
    package var hasTags: Bool { frames.contains { $0.module == SpecialModule.tag } }

    /// The node of `frame` called from `parent`.
    ///
    /// - Complexity: O(1) on average.
    package mutating func intern(parent: UInt32, frame: Frame) -> UInt32 {
        let mask = table.count - 1
        var place = Self.hash(parent, frame) & mask
        while true {
            let node = table[place]
            if node == 0 { break }
            if parents[Int(node)] == parent && frames[Int(node)] == frame { return node }
            place = (place &+ 1) & mask
        }
        let node = UInt32(truncatingIfNeeded: frames.count)
        parents.append(parent)
        frames.append(frame)
        table[place] = node
        if frames.count * 2 > table.count { grow() }
        return node
    }

    private mutating func grow() {
        let size = table.count * 2
        table = [UInt32](repeating: 0, count: size)
        for node in 1 ..< frames.count {
            var place = Self.hash(parents[node], frames[node]) & (size - 1)
            while table[place] != 0 { place = (place &+ 1) & (size - 1) }
            table[place] = UInt32(truncatingIfNeeded: node)
        }
    }

    private static func hash(_ parent: UInt32, _ frame: Frame) -> Int {
        var value = frame.offset &* 0x9E37_79B9_7F4A_7C15
        value ^= (UInt64(parent) << 32 | UInt64(frame.module)) &* 0xC2B2_AE3D_27D4_EB4F
        value = (value ^ value >> 29) &* 0xBF58_476D_1CE4_E5B9
        return Int(truncatingIfNeeded: (value ^ value >> 32) & 0x7FFF_FFFF_FFFF_FFFF)
    }

    /// The frames of the stack that ends at `node`, innermost first.
    ///
    /// - Complexity: O(depth)
    package func frames(of node: UInt32) -> [Frame] {
        var result: [Frame] = []
        forEachFrame(of: node) { result.append($0) }
        return result
    }

    /// Passes the frames of the stack that ends at `node` to `body`, innermost first.
    package func forEachFrame(of node: UInt32, _ body: (Frame) -> Void) {
        var next = Int(node)
        while next > 0 && next < frames.count {
            body(frames[next])
            next = Int(parents[next])
        }
    }
}
