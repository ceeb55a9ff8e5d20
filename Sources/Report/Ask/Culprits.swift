// The function to which a stack's blocks belong for somebody who looks for a fault: the innermost one of the program
// itself. Allocators, C++'s containers and the C library only pass a block on, so they are skipped, as is a library
// like them that a thread or a table of its own is made in, and the program's own wrappers. If no frame is the
// program's, the one that allocated stands in.

import HeapImage
import Reduce
import Symbols

/// Names the culprits of one reduction's stacks.
struct Culprits {
    let names: FrameNames
    /// The base names of files that only pass blocks on, besides the runtime libraries.
    private let allocators: Set<String>
    /// The program's functions that only pass blocks on.
    var wrappers: Set<FunctionName> = []

    /// - Parameters:
    ///   - allocators: paths of the allocators that the inputs' programs used.
    ///   - wrappers: as another reduction of the same program told them: a function has to be the same in all.
    init(names: FrameNames, allocators: [String] = [], wrappers: Set<FunctionName> = []) {
        (self.names, self.wrappers) = (names, wrappers)
        let programs = Set(names.reduction.inputs.compactMap { $0.program.map(ImageNames.baseName) })
        // A program may have an allocator of its own, and is none of the libraries then.
        self.allocators = Set(allocators.map(ImageNames.baseName)).subtracting(programs)
    }

    /// The culprit of each stack; nil for an empty one. `isOwn`: it is the program's, or one of its libraries'.
    ///
    /// - Complexity: a look-up of a few frames' sources for each stack, many at once.
    func find(_ nodes: [UInt32]) -> [(frame: NamedFrame, isOwn: Bool)?] {
        let stacks = nodes.map(code(of:))
        var found = [(frame: NamedFrame, isOwn: Bool)?](repeating: nil, count: nodes.count)
        walk(stacks) { index, entries in
            guard let own = entries.first(where: isOwn) else { return false }
            found[index] = (own, true)
            return true
        }
        for index in stacks.indices where found[index] == nil { found[index] = standIn(stacks[index]) }
        return found
    }

    /// The places in code of a stack, innermost first.
    func code(of node: UInt32) -> [Frame] { names.reduction.code(of: Row(node: node)) }

    /// Goes through stacks from the inside, a frame of each at a time: so the sources of many frames are looked up at
    /// once, and those further out not at all once a stack is done.
    ///
    /// - Parameter isDone: gets a stack's place and the functions of its next frame, innermost first.
    func walk(_ stacks: [[Frame]], isDone: (Int, [NamedFrame]) -> Bool) {
        var open = Array(stacks.indices), depth = 0
        while !open.isEmpty {
            open.removeAll { stacks[$0].count <= depth }
            var seen: Set<Frame> = []
            names.prepare(frames: open.map { stacks[$0][depth] }.filter { seen.insert($0).inserted })
            open.removeAll { isDone($0, names.expanded(stacks[$0][depth])) }
            depth += 1
        }
    }

    /// Whether a frame can be the culprit.
    func isOwn(_ frame: NamedFrame) -> Bool {
        if let module = frame.moduleName.map(ImageNames.baseName),
            RuntimeLibraries.contains(file: module) || allocators.contains(module)
        {
            return false
        }
        return !frame.isStartup && !names.standsBetween(frame)
            && (wrappers.isEmpty || !wrappers.contains(FunctionName(frame)))
    }

    /// The wrappers between a stack's culprit and the allocator, outermost first.
    func wrappers(inside culprit: NamedFrame, in node: UInt32, most: Int) -> [String] {
        var inside: [String] = []
        for entry in names.reduction.frames(of: Row(node: node)).lazy.flatMap({ names.expanded($0) }) {
            if FunctionName(entry) == FunctionName(culprit) { break }
            if wrappers.contains(FunctionName(entry)) { inside.append(entry.function ?? entry.text) }
        }
        return Array(inside.reversed().prefix(most))
    }

    private func standIn(_ frames: [Frame]) -> (frame: NamedFrame, isOwn: Bool)? {
        let entries = frames.flatMap(names.expanded)
        return (entries.first { !names.standsBetween($0) } ?? entries.first).map { ($0, false) }
    }

    /// The functions that called a stack's culprit, innermost first, until main; without those that pass blocks on.
    func callers(of culprit: NamedFrame, in node: UInt32, most: Int) -> [String] {
        // Functions inlined into one share its frame, so the frame tells only where no function is known.
        func isCulprit(_ entry: NamedFrame) -> Bool {
            guard let function = culprit.function else { return entry.frame == culprit.frame }
            return entry.function == function && entry.moduleName == culprit.moduleName
        }
        var callers: [String] = [], isPast = false
        for entry in names.reduction.frames(of: Row(node: node)).lazy.flatMap({ names.expanded($0) }) {
            if isPast {
                if entry.isStartup || callers.count >= most { break }
                if isOwn(entry) { callers.append(entry.function ?? entry.text) }
            }
            if isCulprit(entry) { isPast = true }
            if entry.function == "main" { break }
        }
        return callers
    }
}
