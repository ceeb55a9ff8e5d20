// A reduction: the records of any number of inputs, folded into one row for each unique stack.
//
// Invariant: the totals are the sums over everything that was added, before any filter. Bytes are requested bytes.
// Memory grows with the unique stacks, never with the blocks.

import HeapImage
import Proc
import Text

/// Records reduced by unique stack.
package final class Reduction {
    package private(set) var modules: [ReducedModule] = []
    package internal(set) var tree = StackTree()
    package internal(set) var rows: [Row] = []
    package internal(set) var inputs: [Input] = []
    package internal(set) var totals = Totals()
    private var rowOfNode: [UInt32] = []
    private var moduleNumbers: [ModuleKey: UInt32] = [:]
    private var namedFrames = LogFrameTable()
    private var tags = TagTable()
    /// For each input that is an image: the row of each of its stacks, plus one; 0 if there is none.
    var rowsOfStacks: [Int: [UInt32]] = [:]
    /// For each input that is an image: the reduction's number of each of its modules and tags.
    var numbersOfInputs: [Int: ImageNumbers] = [:]
    var storedFrames = StoredFrameTable()
    /// For each input whose process runs: its pages, once they were asked for.
    var pagesOfInputs: [Int: ResidentPages] = [:]
    /// The root directories of those inputs' processes that still run and see other files than this tool. /proc is
    /// asked once, when the inputs are there.
    ///
    /// - Complexity: that of `ProcessRoots.init`, if an input is of this boot.
    package private(set) lazy var rootsOfRunningProcesses: [String] = {
        guard let boot = Presence.currentBootID() else { return [] }
        let here = inputs.compactMap(\.image?.identity).filter { $0.bootID == boot }
        guard !here.isEmpty else { return [] }
        let roots = ProcessRoots()
        return here.compactMap { roots.root(of: $0.processID, startTime: $0.startTime) }
    }()
    /// What the programs map themselves.
    package internal(set) var mappedRows: [MappedRow] = []
    package internal(set) var mappedTotals = MappedTotals()
    var rowOfMapping: [UInt64: Int] = [:]
    /// Each mapping with its input and row.
    var mappedPlaces: [(input: Int, range: Range<UInt64>, row: Int)] = []

    private struct ModuleKey: Hashable { var path: [UInt8], buildID: [UInt8], identity: ReducedModule.FileIdentity }

    package init() {
        for _ in 0 ..< SpecialModule.count {
            modules.append(ReducedModule(path: [], buildID: [], bias: nil, isFile: false))
        }
    }

    /// The number of the module with this path and build-id, or identity.
    package func module(
        path: [UInt8], buildID: [UInt8], identity: ReducedModule.FileIdentity = ReducedModule.FileIdentity(),
        bias: UInt64?, extent: Range<UInt64> = 0 ..< 0
    ) -> UInt32 {
        let key = ModuleKey(path: path, buildID: buildID, identity: identity)
        if let number = moduleNumbers[key] {
            if modules[Int(number)].bias != bias { modules[Int(number)].bias = nil }
            if modules[Int(number)].extent.isEmpty { modules[Int(number)].extent = extent }
            return number
        }
        let number = UInt32(modules.count)
        modules.append(
            ReducedModule(path: path, buildID: buildID, identity: identity, bias: bias, extent: extent, isFile: true))
        moduleNumbers[key] = number
        return number
    }

    /// The frames of a row, innermost first.
    package func frames(of row: Row) -> [Frame] { tree.frames(of: row.node) }

    /// A log's frame, in the form that rows have.
    package func frame(_ frame: LogFrame) -> Frame {
        if frame == .cut { return Frame(module: SpecialModule.cut, offset: 0) }
        if let tag = frame.tag { return self.tag(tag) }
        if let thread = frame.thread { return Frame(module: SpecialModule.thread, offset: thread) }
        if let address = frame.address, frame.name.isEmpty && frame.module.isEmpty && frame.file.isEmpty {
            return Frame(module: SpecialModule.none, offset: address)
        }
        if let offset = frame.moduleOffset, frame.name.isEmpty, frame.module.first == 0x2F {
            return Frame(module: module(path: frame.module, buildID: [], bias: nil), offset: offset)
        }
        return Frame(module: SpecialModule.named, offset: namedFrames.number(of: frame))
    }

    /// The frame of a tag.
    package func tag(_ tag: StackTag) -> Frame { Frame(module: SpecialModule.tag, offset: tags.number(of: tag)) }

    /// The tag of a row's stack; nil if it has none.
    ///
    /// - Complexity: O(depth)
    package func tag(of row: Row) -> StackTag? {
        var root: Frame?
        tree.forEachFrame(of: row.node) { root = $0 }
        return root.flatMap(tag(of:))
    }

    /// The tag that a frame stands for; nil for any other frame.
    package func tag(of frame: Frame) -> StackTag? { frame.module == SpecialModule.tag ? tags[frame.offset] : nil }

    /// What a log says about a frame; nil for a frame of an image, and for an address without a name.
    package func logFrame(_ frame: Frame) -> LogFrame? {
        guard frame.module == SpecialModule.named, frame.offset < UInt64(namedFrames.frames.count) else { return nil }
        return namedFrames.frames[Int(frame.offset)]
    }

    /// The absolute address of a frame, if it is known.
    package func address(of frame: Frame) -> UInt64? {
        if frame.module == SpecialModule.none { return frame.offset }
        if frame.module == SpecialModule.named { return logFrame(frame)?.address }
        return modules[Int(frame.module)].bias.map { $0 &+ frame.offset }
    }

    func row(of node: UInt32) -> Int {
        let node = Int(node)
        if node >= rowOfNode.count {
            rowOfNode.append(contentsOf: repeatElement(0, count: max(tree.count, node + 1) - rowOfNode.count))
        }
        if rowOfNode[node] == 0 {
            rows.append(Row(node: UInt32(node)))
            rowOfNode[node] = UInt32(rows.count)
        }
        return Int(rowOfNode[node]) - 1
    }

    /// The node of a stack that no input has: it has this one frame.
    package func node(of frame: Frame) -> UInt32 { tree.intern(parent: 0, frame: frame) }

    /// Whether any input is a sampled image.
    package var isSampled: Bool { inputs.contains { $0.image?.isSampled ?? false } }
}

// MARK: - Adding

extension Reduction {
    /// Begins an input, whose records are then added by `add(frames:bytes:blocks:)`. Returns its number.
    package func begin(_ input: Input) -> Int {
        inputs.append(input)
        return inputs.count - 1
    }

    /// Changes an input.
    package func update(input: Int, _ change: (inout Input) -> Void) {
        if inputs.indices.contains(input) { change(&inputs[input]) }
    }

    /// Adds live blocks of one stack, from a source that knows live blocks only.
    ///
    /// - Parameters:
    ///   - frames: innermost first, modules from `module(path:buildID:bias:)`, a log's from `frame(_:)`.
    ///   - ageSeconds: of the oldest block; `newestSeconds` of the newest, if it is another.
    /// - Complexity: O(frames)
    package func add(
        frames: some BidirectionalCollection<Frame>, bytes: UInt64, blocks: UInt64 = 1, blocksOfUnknownSize: UInt64 = 0,
        input: Int, ageSeconds: Double? = nil, newestSeconds: Double? = nil
    ) {
        var node: UInt32 = 0
        for frame in frames.reversed() { node = tree.intern(parent: node, frame: frame) }
        let index = row(of: node)
        if rows[index].blocks == 0 && blocks > 0 { totals.uniqueStacks += 1 }
        rows[index].bytes &+= bytes
        rows[index].blocks &+= blocks
        rows[index].blocksOfUnknownSize &+= blocksOfUnknownSize
        totals.blocksOfUnknownSize &+= blocksOfUnknownSize
        rows[index].history = nil
        rows[index].verdict = nil
        if let ageSeconds { rows[index].addAges(oldest: ageSeconds, newest: newestSeconds ?? ageSeconds) }
        totals.liveBytes &+= bytes
        totals.liveBlocks &+= blocks
        totals.history = nil
        update(input: input) {
            $0.bytes &+= bytes
            $0.blocks &+= blocks
        }
    }
}
