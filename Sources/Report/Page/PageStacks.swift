// The stacks of a page as columns of numbers: rows, the tree in which they end, and the names of its frames.
//
// A frame in many stacks is named once, and a part that stacks share is stored once, so the page of a large program is
// as small as its tree. Parents come before their children.

import Page
import Reduce
import Text

/// Gathers the stacks that a page shows.
struct PageStacks {
    private struct Entry: Hashable { var name: Int, place: Int, module: Int, symbolOffset: Int, isInlined: Bool }
    private struct Child: Hashable { var parent: Int, entry: Int }

    private let names: FrameNames
    private let frameLimit: Int?
    /// Frames are one if their functions' names are equal: of two builds, where lines and offsets differ.
    private let byName: Bool
    private var entries: [Entry] = []
    private var numberOfEntry: [Entry: Int] = [:]
    private var entriesOfFrame: [Frame: [Int]] = [:]
    private var modules: [Int] = [0]
    private var numberOfModule: [String: Int] = [:]
    private var parents: [Int] = [0]
    private var entryOfNode: [Int] = [0]
    private var numberOfChild: [Child: Int] = [:]
    private(set) var nodeOfRow: [Int] = []

    init(names: FrameNames, frameLimit: Int?, byName: Bool = false, in data: inout PageData) {
        self.names = names
        self.frameLimit = frameLimit
        self.byName = byName
        _ = data.number(of: "")
        entries.append(
            Entry(name: data.number(of: "(no frames)"), place: 0, module: 0, symbolOffset: -1, isInlined: false))
    }

    /// Adds the stack of one more row.
    ///
    /// - Complexity: O(frames)
    mutating func add(_ node: UInt32, in data: inout PageData) {
        var frames: [Int] = []
        // A recursion up to the limit shows its innermost frames, as in the other formats.
        for frame in names.reduction.tree.frames(of: node) {
            if let frameLimit, frames.count >= frameLimit { break }
            frames += numbers(of: frame, in: &data)
        }
        if let frameLimit, frames.count > frameLimit { frames.removeLast(frames.count - frameLimit) }
        var place = 0
        for entry in frames.isEmpty ? [0] : frames.reversed() {
            let child = Child(parent: place, entry: entry)
            if let known = numberOfChild[child] {
                place = known
            } else {
                parents.append(place)
                entryOfNode.append(entry)
                place = parents.count - 1
                numberOfChild[child] = place
            }
        }
        nodeOfRow.append(place)
    }

    private mutating func numbers(of frame: Frame, in data: inout PageData) -> [Int] {
        if let known = entriesOfFrame[frame] { return known }
        let found = names.expanded(frame).map { number(of: $0, in: &data) }
        entriesOfFrame[frame] = found
        return found
    }

    private mutating func number(of frame: NamedFrame, in data: inout PageData) -> Int {
        var frame = frame
        if byName, frame.function != nil {
            (frame.file, frame.line, frame.symbolOffset, frame.inlined) = (nil, nil, nil, nil)
            frame.modulePath = frame.moduleName
        }
        let entry = Entry(
            name: data.number(of: frame.functionText), place: data.number(of: frame.file == nil ? "" : frame.place),
            module: frame.modulePath.map { module($0, in: &data) } ?? 0,
            symbolOffset: frame.line == nil && frame.function != nil
                ? frame.symbolOffset.map { Int(clamping: $0) } ?? -1 : -1,
            isInlined: frame.inlined ?? false)
        if let known = numberOfEntry[entry] { return known }
        entries.append(entry)
        numberOfEntry[entry] = entries.count - 1
        return entries.count - 1
    }

    private mutating func module(_ path: String, in data: inout PageData) -> Int {
        if let known = numberOfModule[path] { return known }
        modules.append(data.number(of: printable(path)))
        numberOfModule[path] = modules.count - 1
        return modules.count - 1
    }

    func write(to data: inout PageData) {
        data.column("modules", of: modules)
        data.object("frames") { data in
            data.column("name", of: entries.map(\.name))
            data.column("place", of: entries.map(\.place))
            data.column("module", of: entries.map(\.module))
            data.column("symbolOffset", of: entries.map(\.symbolOffset))
            data.column("isInlined", of: entries.map { $0.isInlined ? 1 : 0 })
        }
        data.object("nodes") { data in
            data.column("parent", of: parents)
            data.column("frame", of: entryOfNode)
        }
    }
}
