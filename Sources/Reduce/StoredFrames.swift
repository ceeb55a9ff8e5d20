// Names that images bring for their frames, by the frames of a reduction. Of two images that name one frame the
// first counts: it is the same place of the same file.

import HeapImage

/// Where the names of frames are to be read.
struct StoredFrameTable {
    private var sources: [StoredNames] = []
    private var places: [Frame: (source: Int, entries: Range<Int>)] = [:]

    /// Adds what an image brings; `frame` is a frame of the image as the reduction has it.
    mutating func add(_ names: StoredNames, frame: (UInt64) -> Frame) {
        for (raw, entries) in names.frames {
            let frame = frame(raw)
            guard frame.module != SpecialModule.cut && frame.module != SpecialModule.thread, places[frame] == nil else {
                continue
            }
            places[frame] = (sources.count, entries)
        }
        sources.append(names)
    }

    func names(of frame: Frame) -> [StoredName]? {
        places[frame].map { sources[$0.source].names($0.entries) }
    }
}

extension Reduction {
    /// What an image says of a frame's names, the innermost first; nil where none does. An absolute address means
    /// something in one process alone.
    package func storedNames(of frame: Frame) -> [StoredName]? {
        if frame.module == SpecialModule.none, Set(inputs.map(\.processID)).count != 1 { return nil }
        return storedFrames.names(of: frame)
    }

    /// The frames of an input's nodes, each once: as the image has them, by number, and as the reduction has them.
    ///
    /// - Complexity: O(nodes)
    package func frames(ofInput input: Int) -> [(raw: UInt64, frame: Frame)] {
        guard inputs.indices.contains(input), let image = inputs[input].image, let numbers = modulesOfInputs[input]
        else { return [] }
        return Set(image.nodes().frames.dropFirst()).sorted().map { ($0, frame($0, numbers)) }
    }
}
