// Names that images store for their frames, by the reduction's frames. If two images name the same frame, the first
// counts: it is the same place in the same file.

import HeapImage

/// Where the names of frames can be read.
struct StoredFrameTable {
    private var sources: [StoredNames] = []
    private var places: [Frame: (source: Int, entries: Range<Int>)] = [:]
    private struct Recording: Hashable { var process: HeapImage.Identity, started: UInt64 }
    private var recordings: [Recording: Int] = [:]
    /// By absolute address: the recording whose stacks have it; nil if they are several. A process may have several, of
    /// one program after the other.
    private var owners: [UInt64: Int?] = [:]

    /// Adds an image's names. `frame` converts a frame of the image to the reduction's.
    mutating func add(_ names: StoredNames, frame: (UInt64) -> Frame) {
        for (raw, entries) in names.frames {
            let frame = frame(raw)
            guard frame.isCode, places[frame] == nil else { continue }
            places[frame] = (sources.count, entries)
        }
        sources.append(names)
    }

    /// Notes whose stacks have these frames of an image (`heap_node.frame`), as far as they are of no module.
    mutating func add(_ frames: ArraySlice<UInt64>, of image: HeapImage) {
        var own: Int?
        for raw in frames where raw >> 48 == 0 && raw > 0 {
            let recording = Recording(process: image.identity, started: image.header.started_monotonic_ns)
            let number = own ?? recordings[recording] ?? recordings.count
            if own == nil { recordings[recording] = number }
            own = number
            if let known = owners[raw] {
                if known != number { owners[raw] = .some(nil) }
            } else {
                owners[raw] = number
            }
        }
    }

    /// Whether the stacks of one recording alone have an absolute address.
    func hasOneOwner(_ address: UInt64) -> Bool { (owners[address] ?? nil) != nil }

    func names(of frame: Frame) -> [StoredName]? {
        places[frame].map { sources[$0.source].names($0.entries) }
    }
}

extension Reduction {
    /// The stored names of a frame, innermost first; nil if no image has any. An absolute address means something in
    /// one process only, and there until another program takes its place. So it has none if the stacks of several
    /// recordings have it, or a log's may be another process's.
    package func storedNames(of frame: Frame) -> [StoredName]? {
        if frame.module == SpecialModule.none {
            guard
                inputs.allSatisfy({ $0.image != nil })
                    ? storedFrames.hasOneOwner(frame.offset) : Set(inputs.map(\.processID)).count == 1
            else { return nil }
        }
        return storedFrames.names(of: frame)
    }

    /// The frames of an input's nodes, each once, in the order of their numbers in the image: the image's form and the
    /// reduction's.
    ///
    /// - Complexity: O(nodes)
    package func frames(ofInput input: Int) -> [(raw: UInt64, frame: Frame)] {
        guard inputs.indices.contains(input), let image = inputs[input].image, let numbers = numbersOfInputs[input]
        else { return [] }
        return Set(image.nodes().frames.dropFirst()).sorted().map { ($0, frame($0, numbers)) }
    }
}
