// The stack tree and the timeline. A parent's number must be lower than its child's. That is checked once when the tree
// is read, so no later walk can run in a circle.

import CHeapImage

/// The stack tree: entry i of both arrays is node i, and every parent's number is lower than its child's.
package struct NodeTree {
    package fileprivate(set) var frames: [UInt64]
    package fileprivate(set) var parents: [UInt32]

    package var count: Int { frames.count }

    /// The parent of an existing node; 0 for outermost frames and for the root.
    func parent(of node: Int) -> Int { Int(parents[node]) }

    /// The frames of the stack that ends at `node`, innermost first; empty for node 0 and for a number out of range.
    ///
    /// - Complexity: O(depth)
    package func frames(from node: UInt32) -> [UInt64] {
        var result: [UInt64] = []
        var next = Int(node)
        while next > 0 && next < frames.count {
            result.append(frames[next])
            next = Int(parents[next])
        }
        return result
    }
}

/// One point of the timeline.
package struct TimelineSample: Equatable {
    /// Since the recording's start.
    package var nanoseconds: UInt64
    package var liveBytes: UInt64
    package var liveBlocks: UInt64
    /// nil: not measured.
    package var rssBytes: UInt64?
}

/// What a stack held at one moment.
package struct Level: Equatable {
    package var bytes: UInt64 = 0
    package var blocks: UInt64 = 0

    package init(bytes: UInt64 = 0, blocks: UInt64 = 0) {
        self.bytes = bytes
        self.blocks = blocks
    }

    /// A copied level is a signed difference: one thread may fold a free before another folds the allocation. A copy
    /// made in between is below zero, and means that nothing was held.
    init(copied: heap_level) {
        bytes = Int64(bitPattern: copied.bytes) < 0 ? 0 : copied.bytes
        blocks = Int64(bitPattern: copied.blocks) < 0 ? 0 : copied.blocks
    }
}

extension HeapImage {
    /// The stack tree, checked.
    ///
    /// - Complexity: O(nodes), 12 bytes of memory each.
    package func nodes() -> NodeTree {
        var tree = NodeTree(frames: [], parents: [])
        let count = sections[SectionName.nodes.rawValue].readableEntries
        tree.frames.reserveCapacity(count)
        tree.parents.reserveCapacity(count)
        forEachEntry(of: .nodes, as: heap_node.self) { index, node in
            var parent = node.parent
            // Entry 0 is the root, whose fields mean nothing.
            if parent >= UInt32(clamping: index) && index > 0 {
                note("a node's parent is not older than itself", at: place(of: .nodes, index))
                parent = 0
            }
            tree.frames.append(node.frame)
            tree.parents.append(index == 0 ? 0 : parent)
        }
        return tree
    }

    /// The timeline, by time. A sample whose time is not above the previous one's is left out: a halving of the
    /// resolution was interrupted there.
    package func timeline() -> [TimelineSample] {
        var samples: [TimelineSample] = []
        forEachEntry(of: .timeline, as: heap_sample.self) { index, sample in
            guard index < Int(HEAP_TIMELINE_SAMPLES) else { return }
            if let last = samples.last, sample.time_ns <= last.nanoseconds { return }
            samples.append(
                TimelineSample(
                    nanoseconds: sample.time_ns, liveBytes: sample.live_bytes,
                    liveBlocks: wholeBlocks(sample.live_blocks),
                    rssBytes: sample.rss_bytes == 0 ? nil : sample.rss_bytes))
        }
        return samples
    }

    /// How many snapshots were taken; snapshot i at 8 s << i.
    package var snapshotCount: Int { Int(min(header.snapshots, UInt32(HEAP_SNAPSHOT_COUNT))) }

    /// When snapshot `number` is due: nanoseconds since the recording's start.
    package static func snapshotNanoseconds(_ number: Int) -> UInt64 {
        UInt64(HEAP_SNAPSHOT_FIRST_SECONDS) * 1_000_000_000 << UInt64(max(0, min(number, Int(HEAP_SNAPSHOT_COUNT))))
    }

    /// What each stack held at snapshot `number`, indexed by stack.
    ///
    /// - Complexity: O(stacks)
    package func snapshot(_ number: Int) -> [Level] {
        guard number >= 0 && number < snapshotCount else { return [] }
        var levels: [Level] = []
        forEachStack { _, stack in levels.append(wholeBlocks(stack.level(number))) }
        return levels
    }
}
