// Names that images store for their frames, by the reduction's frames. If two images name the same frame, the first
// counts: it is the same place in the same file.

import HeapImage

/// Where the names of frames can be read.
struct StoredFrameTable {
    private var sources: [StoredNames] = []
    private var places: [Frame: (source: Int, entries: Range<Int>)] = [:]

    /// Adds an image's names. `frame` converts a frame of the image to the reduction's.
    mutating func add(_ names: StoredNames, frame: (UInt64) -> Frame) {
        for (raw, entries) in names.frames {
            let frame = frame(raw)
            guard frame.isCode, places[frame] == nil else { continue }
            places[frame] = (sources.count, entries)
        }
        sources.append(names)
    }

    func names(of frame: Frame) -> [StoredName]? {
        places[frame].map { sources[$0.source].names($0.entries) }
    }
}

extension Reduction {
    /// The stored names of a frame, innermost first; nil if no image has any. nil for an absolute address, too: it
    /// means something in one process only.
    package func storedNames(of frame: Frame) -> [StoredName]? {
        if frame.module == SpecialModule.none, Set(inputs.map(\.processID)).count != 1 { return nil }
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
