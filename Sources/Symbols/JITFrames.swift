// What the frames of an image outside of all modules are: code that the program's JIT compilers made. A frame is an
// address, and all that was ever called through it; so it has a name only if one function alone can have been there
// while it was in use. When that was, is known from the image: from the times of live blocks where no block of the
// frame's stacks was freed, and otherwise from the order in which the stack tree grew.

import CHeapImage
import HeapImage

/// The answers for an image's frames.
package struct JITFrames {
    /// By `heap_node.frame`. A frame without an answer is in no code that is known.
    package private(set) var answers: [UInt64: JITAnswer] = [:]
    /// All frames outside of all modules, in order.
    package private(set) var frames: [UInt64] = []

    /// Whether an image has frames outside of all modules.
    ///
    /// - Complexity: O(nodes)
    package static func exist(in image: HeapImage) -> Bool {
        image.nodes().frames.dropFirst().contains { heap_frame_module($0) == HEAP_MODULE_NONE }
    }

    /// - Throws: `InputError` if the image can't be read any more.
    /// - Complexity: O(nodes) questions; if the code's times are known, also O(blocks).
    package init(_ image: HeapImage, _ code: JITCode) throws {
        let nodes = image.nodes()
        frames = Set(nodes.frames.dropFirst().filter { heap_frame_module($0) == HEAP_MODULE_NONE }).sorted()
        guard !frames.isEmpty else { return }
        let times = code.knowsTimes ? try Self.times(image, nodes, code) : [:]
        for frame in frames {
            let address = heap_frame_offset(frame)
            // Less one byte, because a return address may be the first byte of the next function.
            if address > 0 { answers[frame] = code.answer(at: address - 1, during: times[frame]) }
        }
    }

    /// For the image's section of names. A frame that several functions may mean is there without a name, so that
    /// nobody looks it up again; one that nothing is known of is not there.
    package var stored: [StoredFrame] {
        frames.compactMap { frame in
            switch answers[frame] {
            case .named(let name): StoredFrame(frame: frame, names: [StoredName(name)])
            case .several: StoredFrame(frame: frame, names: [StoredName(isReused: true)])
            case nil: nil
            }
        }
    }

    // When each frame was in use, by CLOCK_MONOTONIC.
    private static func times(
        _ image: HeapImage, _ nodes: NodeTree, _ code: JITCode
    ) throws -> [UInt64: ClosedRange<UInt64>] {
        let census = try image.census()
        let start = image.header.started_monotonic_ns
        func moment(_ nanoseconds: UInt64) -> UInt64 { start &+ min(nanoseconds, UInt64.max - start) }
        func moment(ofTick tick: UInt32) -> UInt64 {
            let (value, overflow) = heap_tick_milliseconds(tick).multipliedReportingOverflow(by: 1_000_000)
            return moment(overflow ? .max : value)
        }
        // A node is not older than any node with a lower number, nor than the code at its own address.
        var made = [UInt64](repeating: 0, count: nodes.count)
        var newest: UInt64 = 0
        for node in made.indices.dropFirst() {
            let frame = nodes.frames[node]
            if heap_frame_module(frame) == HEAP_MODULE_NONE, heap_frame_offset(frame) > 0,
                let first = code.earliest(at: heap_frame_offset(frame) - 1)
            {
                newest = max(newest, first)
            }
            made[node] = newest
        }
        let end = moment(census.momentNanoseconds)
        var first = [UInt64](repeating: .max, count: nodes.count), last = [UInt64](repeating: 0, count: nodes.count)
        for counts in census.stacks where Int(counts.node) < nodes.count && counts.node > 0 {
            if counts.liveBlocks == 0 && counts.allocatedBlocks == 0 && counts.freedBlocks == 0 { continue }
            let node = Int(counts.node)
            let isExact = !image.isSampled && counts.liveBlocks > 0 && counts.liveBlocks == counts.allocatedBlocks
            first[node] = min(first[node], isExact ? moment(ofTick: counts.oldestTick) : made[node])
            last[node] = max(last[node], isExact ? moment(ofTick: counts.newestTick &+ 1) : max(end, made[node]))
        }
        var times: [UInt64: ClosedRange<UInt64>] = [:]
        // Children have higher numbers than their parents.
        for node in made.indices.dropFirst().reversed() where first[node] <= last[node] {
            let parent = Int(nodes.parents[node]), frame = nodes.frames[node]
            first[parent] = min(first[parent], first[node])
            last[parent] = max(last[parent], last[node])
            guard heap_frame_module(frame) == HEAP_MODULE_NONE else { continue }
            let known = times[frame] ?? first[node] ... last[node]
            times[frame] = min(known.lowerBound, first[node]) ... max(known.upperBound, last[node])
        }
        return times
    }
}

extension StoredName {
    package init(_ name: JITName) {
        self.init(
            function: name.function, symbol: name.function, file: name.file, line: name.line,
            symbolOffset: name.offset.map { $0 &+ 1 },
            inlined: name.line == nil ? nil : false)
    }
}
