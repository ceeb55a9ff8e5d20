// A reduction: the records of any number of inputs, folded into one row for each unique stack.
//
// Invariant: the totals are the sums over everything that was added, before any filter. Bytes are requested bytes.
// Memory grows with the unique stacks, never with the blocks.

import HeapImage
import Proc
import Text

/// One loaded file that frames refer to. Files are the same if path and build-id are equal; without a build-id, if
/// path, size and date are.
package struct ReducedModule {
    package var path: [UInt8]
    package var buildID: [UInt8]
    package var identity = FileIdentity()
    /// Load address less the file's own, if all inputs agree on it.
    package var bias: UInt64?
    /// The range of its own addresses, without a bias, that it covers; empty if not known.
    package var extent: Range<UInt64> = 0 ..< 0
    /// False for the special modules, and for an incomplete entry.
    package var isFile: Bool

    package var baseName: String {
        path.split(separator: UInt8(ascii: "/")).last.map { pathText($0) } ?? ""
    }

    /// The absolute addresses that it covers; its own, from 0, if it has no single load address.
    package var addresses: Range<UInt64> {
        guard let bias else { return 0 ..< extent.upperBound }
        let start = extent.lowerBound &+ bias, end = extent.upperBound &+ bias
        return start <= end ? start ..< end : 0 ..< 0
    }
}

extension ReducedModule {
    /// Distinguishes a file without a build-id from another build at the same path. Device and inode are not part of
    /// it, because a copy has other ones.
    package struct FileIdentity: Hashable {
        /// nil if not known.
        package var byteCount: UInt64?
        package var modifiedNanoseconds: UInt64?
        /// Its path had no file any more, or another one.
        package var isReplaced = false
        /// The module that ran had no build-id. False if not known: logs don't say.
        package var hasNoBuildID = false

        package init() {}

        /// Empty for a module with a build-id, which is enough.
        package init(_ module: Module) {
            guard module.buildID.isEmpty else { return }
            (byteCount, modifiedNanoseconds) = (module.file?.byteCount, module.file?.modifiedNanoseconds)
            isReplaced = module.isReplaced
            hasNoBuildID = true
        }
    }
}

/// What one unique stack holds.
package struct Row {
    package var node: UInt32
    package var bytes: UInt64 = 0
    package var blocks: UInt64 = 0
    /// How many of the blocks have no known size; `bytes` is without them.
    package var blocksOfUnknownSize: UInt64 = 0
    /// nil if an input has no history, as a log that has live blocks only.
    package var history: History? = History()
    /// Ages at the dump, in seconds; nil if no live block has a known time.
    package var oldestSeconds: Double?
    package var newestSeconds: Double?
    /// What the row stands for if rows are not stacks; see `Reduction.grouped`.
    package var key: RowKey?
    /// nil if an input with some of its blocks has no verdict.
    package var verdict: RowVerdict?
    /// Of the bytes and blocks, where any of them are estimates of a sampled image; nil: they are exact, or it isn't
    /// known.
    package var variance: Variance?
    /// Of the bytes, those on pages that were in memory when a running program's were looked up; nil if they are not
    /// known of all blocks. See `Reduction.lookUpResidence`.
    package var residentBytes: UInt64?

    /// What was allocated and freed over time.
    package struct History: Equatable {
        package var allocatedBytes: UInt64 = 0
        package var allocatedBlocks: UInt64 = 0
        package var freedBytes: UInt64 = 0
        package var freedBlocks: UInt64 = 0
        /// Held at the process's peak.
        package var peakBytes: UInt64 = 0
        package var peakBlocks: UInt64 = 0
        package var temporaryBlocks: UInt64 = 0

        package init() {}
    }

    package init(node: UInt32) { self.node = node }

    mutating func add(_ more: Variance?) {
        guard let more else { return }
        var sum = variance ?? Variance()
        sum += more
        variance = sum
    }

    mutating func addAges(oldest: Double, newest: Double) {
        oldestSeconds = max(oldestSeconds ?? oldest, oldest)
        newestSeconds = min(newestSeconds ?? newest, newest)
    }
}

/// One file that was reduced.
package struct Input {
    package var path: String
    /// "image", "dump", or the kind of log.
    package var kind: String
    package var program: String?
    package var processID: UInt32?
    package var state: String
    package var sets = 1
    /// Records that could not be used: the input was cut off, or they make no sense.
    package var recordsLost: UInt64 = 0
    package var damages: [Damage] = []
    /// What was skipped because it is not about allocations: lines of other programs in a log.
    package var passedOver: [Damage] = []
    /// Which set of a log this is, and of how many, as text.
    package var detail: String?
    /// What was live when it was taken.
    package var bytes: UInt64 = 0
    package var blocks: UInt64 = 0
    package var peakBytes: UInt64?
    package var image: HeapImage?
    package var census: Census?
    /// The verdict, if the image stores one.
    package var verdict: StoredVerdict?

    /// Whether its frames may be the kernel's.
    package var isOfKernel = false

    package var damaged: Bool { !damages.isEmpty }

    package init(path: String, kind: String, state: String = "unknown") {
        self.path = path
        self.kind = kind
        self.state = state
    }
}

/// The sums over all rows.
package struct Totals: Equatable {
    package var liveBytes: UInt64 = 0
    package var liveBlocks: UInt64 = 0
    /// How many of the live blocks have no known size; `liveBytes` is without them.
    package var blocksOfUnknownSize: UInt64 = 0
    package var history: Row.History? = Row.History()
    /// The sum of the processes' peaks, which may have been at different times.
    package var peakBytes: UInt64?
    /// Stacks that hold live blocks.
    package var uniqueStacks = 0
    package var lostEvents: UInt64 = 0
    /// nil where an input does not tell: of a sampled image a free of a block that was not drawn is no riddle.
    package var unmatchedFrees: UInt64?
    /// Of the live bytes and blocks, where any of them are estimates of a sampled image.
    package var variance: Variance?

    package init() {}
}

/// Records reduced by unique stack.
package final class Reduction {
    package private(set) var modules: [ReducedModule] = []
    package private(set) var tree = StackTree()
    package internal(set) var rows: [Row] = []
    package private(set) var inputs: [Input] = []
    package private(set) var totals = Totals()
    private var rowOfNode: [UInt32] = []
    private var moduleNumbers: [ModuleKey: UInt32] = [:]
    private var namedFrames = LogFrameTable()
    /// For each input that is an image: the row of each of its stacks, plus one; 0 if there is none.
    private var rowsOfStacks: [Int: [UInt32]] = [:]
    /// For each input that is an image: the reduction's number of each of its modules.
    private(set) var modulesOfInputs: [Int: [UInt32]] = [:]
    private(set) var storedFrames = StoredFrameTable()
    /// For each input whose process runs: its pages, once they were asked for.
    var pagesOfInputs: [Int: ResidentPages] = [:]

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
        if let thread = frame.thread { return Frame(module: SpecialModule.thread, offset: thread) }
        if let address = frame.address, frame.name.isEmpty && frame.module.isEmpty && frame.file.isEmpty {
            return Frame(module: SpecialModule.none, offset: address)
        }
        if let offset = frame.moduleOffset, frame.name.isEmpty, frame.module.first == 0x2F {
            return Frame(module: module(path: frame.module, buildID: [], bias: nil), offset: offset)
        }
        return Frame(module: SpecialModule.named, offset: namedFrames.number(of: frame))
    }

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

    private func row(of node: UInt32) -> Int {
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

    /// Adds an image: counts it and folds its stacks in. `path` is its name. For a running program, everything that is
    /// asked later (ages, sizes, filters, lifetimes, snapshots) is about the moment at which it was added.
    ///
    /// - Throws: `InputError` where a running image can't be read to its end.
    /// - Complexity: O(blocks + nodes) time, O(nodes) memory.
    package func add(_ original: HeapImage, path: String? = nil) throws {
        var image = original
        var moments: Damage?
        do { image = try original.atOneMoment() } catch let error as FileError {
            moments = Damage(
                file: original.file, offset: 0, what: "numbers of a running program are of different moments: \(error)")
        }
        let census = try image.census()
        var interned: [UInt32] = []
        let numbers = intern(nodesOf: image, into: &interned)

        var input = Input(
            path: path ?? image.file, kind: original.kind == .dump ? "dump" : "image",
            state: "\(original.effectiveState)")
        input.program = image.program.isEmpty ? nil : image.program
        input.processID = image.header.pid
        input.bytes = census.liveBytes
        input.blocks = census.liveBlocks
        input.peakBytes = census.peak.bytes
        input.recordsLost = census.lostRecords
        input.image = image
        input.census = census
        input.verdict = image.storedVerdict()
        let heldBefore = rows.map { $0.blocks > 0 }
        rowsOfStacks[inputs.count] = fold(census, interned, isSampled: image.isSampled)
        modulesOfInputs[inputs.count] = numbers
        // After everything was read, because damage is found while reading.
        input.damages = image === original ? image.damages : original.damages + image.damages
        if let moments { input.passedOver.append(moments) }
        inputs.append(input)
        addVerdicts(census, heldBefore)

        totals.liveBytes &+= census.liveBytes
        totals.liveBlocks &+= census.liveBlocks
        totals.peakBytes = (totals.peakBytes ?? 0) &+ census.peak.bytes
        totals.lostEvents &+= image.lostEvents
        if image.isSampled {
            var sum = totals.variance ?? Variance()
            sum += census.variance
            totals.variance = sum
        }
        let tells = inputs.dropLast().allSatisfy { $0.image == nil } || totals.unmatchedFrees != nil
        totals.unmatchedFrees =
            image.isSampled || !tells ? nil : (totals.unmatchedFrees ?? 0) &+ image.losses.unmatched_frees
    }

    /// Adds the modules and nodes of an image, and the names that it stores. `interned` maps the image's nodes to this
    /// tree's; it may hold nodes of an earlier call and is extended.
    ///
    /// - Returns: the reduction's number of each of its modules.
    /// - Complexity: O(nodes)
    @discardableResult
    package func intern(nodesOf image: HeapImage, into interned: inout [UInt32]) -> [UInt32] {
        let nodes = image.nodes()
        let numbers = image.modules().map { module in
            module.isKnown
                ? self.module(
                    path: module.path, buildID: module.buildID, identity: ReducedModule.FileIdentity(module),
                    bias: module.moved ? nil : module.bias,
                    extent: module.extent)
                : SpecialModule.none
        }
        if interned.isEmpty { interned.append(0) }
        // Parents are older, so one pass in order meets each parent before its children.
        for node in interned.count ..< max(nodes.count, interned.count) {
            let parent = interned[Int(nodes.parents[node])]
            interned.append(tree.intern(parent: parent, frame: frame(nodes.frames[node], numbers)))
        }
        if let names = image.storedNames() { storedFrames.add(names) { frame($0, numbers) } }
        return numbers
    }

    func frame(_ raw: UInt64, _ numbers: [UInt32]) -> Frame {
        let module = UInt32(truncatingIfNeeded: raw >> 48), offset = raw & 0xFFFF_FFFF_FFFF
        switch module {
        case 0: return Frame(module: SpecialModule.none, offset: offset)
        case RawModule.thread: return Frame(module: SpecialModule.thread, offset: offset)
        case RawModule.cut:
            return Frame(module: SpecialModule.cut, offset: offset < UInt64(LogFrame.cutTexts.count) ? offset : 0)
        default:
            return Frame(
                module: Int(module) < numbers.count ? numbers[Int(module)] : SpecialModule.none, offset: offset)
        }
    }

    /// Whether any input is a sampled image.
    package var isSampled: Bool { inputs.contains { $0.image?.isSampled ?? false } }

    private func fold(_ census: Census, _ interned: [UInt32], isSampled: Bool) -> [UInt32] {
        var rowOfStack = [UInt32](repeating: 0, count: census.stacks.count)
        let moment = Double(census.momentNanoseconds) / 1e9
        for (number, counts) in census.stacks.enumerated().dropFirst() {
            if counts.liveBlocks == 0 && counts.allocatedBlocks == 0 && counts.freedBlocks == 0 { continue }
            let node = Int(counts.node) < interned.count ? interned[Int(counts.node)] : 0
            let index = row(of: node)
            rowOfStack[number] = UInt32(index + 1)
            if rows[index].blocks == 0 && counts.liveBlocks > 0 { totals.uniqueStacks += 1 }
            rows[index].bytes &+= counts.liveBytes
            rows[index].blocks &+= counts.liveBlocks
            rows[index].history?.add(counts)
            if isSampled && counts.liveBlocks > 0 { rows[index].add(counts.variance) }
            totals.history?.add(counts)
            if counts.liveBlocks > 0 {
                rows[index].addAges(
                    oldest: max(0, moment - Double(milliseconds(ofTick: counts.oldestTick)) / 1000),
                    newest: max(0, moment - Double(milliseconds(ofTick: counts.newestTick)) / 1000))
            }
        }
        return rowOfStack
    }

    /// Adds the newest input's verdicts to its rows.
    private func addVerdicts(_ census: Census, _ heldBefore: [Bool]) {
        let input = inputs.count - 1
        guard inputs[input].verdict != nil || hasVerdicts, let rowOfStack = rowsOfStacks[input] else { return }
        let said = verdicts(ofInput: input)
        var isDone = [Bool](repeating: false, count: rows.count)
        for (stack, row) in rowOfStack.enumerated() where row > 0 && census.stacks[stack].liveBlocks > 0 {
            let index = Int(row) - 1
            if isDone[index] { continue }
            isDone[index] = true
            let held = index < heldBefore.count && heldBefore[index]
            guard let own = said[rows[index].node], !held || rows[index].verdict != nil else {
                rows[index].verdict = nil
                continue
            }
            if rows[index].verdict == nil { rows[index].verdict = own } else { rows[index].verdict?.add(own) }
        }
    }

    /// The nodes of an input's stacks, indexed by the image's numbers; 0 for a stack under which nothing was booked.
    package func nodes(ofStacksOf input: Int) -> [UInt32] {
        (rowsOfStacks[input] ?? []).map { $0 == 0 ? 0 : rows[Int($0) - 1].node }
    }

    /// Passes every live block of the inputs that are images to `body`, with its row, in the order of reading.
    ///
    /// - Complexity: O(blocks), reading the images again.
    package func forEachLiveBlock<Failure: Error>(_ body: (LiveBlock, Row) throws(Failure) -> Void) throws(Failure) {
        try forEachLiveBlock(passing: BlockFilter()) { (block, row, _, _) throws(Failure) in
            try body(block, rows[row])
        }
    }

    /// The same for the blocks that pass, with the row's place in `rows`, the block's age at its image's moment, and
    /// what it stands for: in a sampled image for more than itself.
    package func forEachLiveBlock<Failure: Error>(
        passing filter: BlockFilter = BlockFilter(),
        _ body: (LiveBlock, _ row: Int, _ ageSeconds: Double, BlockWeight) throws(Failure) -> Void
    ) throws(Failure) {
        try forEachLiveBlock(askedOf: filter) { (block, row, age, passes, weight) throws(Failure) in
            if passes { try body(block, row, age, weight) }
        }
    }

    /// The same for all blocks, with whether each passes by the filter's ages and marks. Threads belong to stacks and
    /// are not checked here.
    func forEachLiveBlock<Failure: Error>(
        askedOf filter: BlockFilter,
        _ body: (LiveBlock, _ row: Int, _ ageSeconds: Double, _ passes: Bool, BlockWeight) throws(Failure) -> Void
    ) throws(Failure) {
        for (index, input) in inputs.enumerated() {
            guard let image = input.image, let rowOfStack = rowsOfStacks[index] else { continue }
            let moment = Double(input.census?.momentNanoseconds ?? 0) / 1e9
            let ticks = filter.ticks(of: image), isSampled = image.isSampled, pages = pagesOfInputs[index]
            try image.forEachBlock { (batch) throws(Failure) in
                for position in batch.indices {
                    let block = batch[position]
                    var stack = Int(block.stack)
                    if stack >= rowOfStack.count || rowOfStack[stack] == 0 { stack = 1 }
                    guard stack < rowOfStack.count, rowOfStack[stack] > 0 else { continue }
                    let age = max(0, moment - Double(milliseconds(ofTick: block.tick)) / 1000)
                    var weight = isSampled ? image.weight(block.bytes) : BlockWeight(whole: block.bytes)
                    if let pages { weight.residentBytes = Self.residentBytes(of: block, weight, pages) }
                    try body(
                        block, Int(rowOfStack[stack]) - 1, age,
                        filter.passes(ageSeconds: age) && ticks.contains(block.tick), weight)
                }
            }
        }
    }

    /// What stacks held at snapshot `number` of an input, by their rows' nodes.
    ///
    /// - Complexity: O(stacks), reading the image again.
    package func snapshot(_ number: Int, ofInput input: Int) -> [UInt32: Level] {
        guard inputs.indices.contains(input), let image = inputs[input].image, let rowOfStack = rowsOfStacks[input]
        else { return [:] }
        var levels: [UInt32: Level] = [:]
        for (stack, level) in image.snapshot(number).enumerated()
        where stack < rowOfStack.count && rowOfStack[stack] > 0 && level != Level() {
            let node = rows[Int(rowOfStack[stack]) - 1].node
            levels[node, default: Level()].bytes &+= level.bytes
            levels[node, default: Level()].blocks &+= level.blocks
        }
        return levels
    }

    /// Passes the freed blocks of the inputs that are images to `body`, by the row's place in `rows` and the class of
    /// lifetime.
    func forEachLifetime(_ body: (_ row: Int, _ lifetime: Int, _ blocks: UInt64) -> Void) {
        for (index, input) in inputs.enumerated() {
            guard let image = input.image, let census = input.census, let rowOfStack = rowsOfStacks[index] else {
                continue
            }
            let lifetimes = image.lifetimes(census)
            for (place, blocks) in lifetimes.enumerated() where blocks > 0 {
                let stack = place / LifetimeClass.count
                if stack < rowOfStack.count, rowOfStack[stack] > 0 {
                    body(Int(rowOfStack[stack]) - 1, place % LifetimeClass.count, blocks)
                }
            }
        }
    }

    /// The node of a stack that no input has: it has this one frame.
    func node(of frame: Frame) -> UInt32 { tree.intern(parent: 0, frame: frame) }
}

/// Module numbers in an image's frames that stand for no file.
private enum RawModule {
    static let thread: UInt32 = 0xFFFE
    static let cut: UInt32 = 0xFFFF
}

extension Row.History {
    package mutating func add(_ counts: StackCounts) {
        allocatedBytes &+= counts.allocatedBytes
        allocatedBlocks &+= counts.allocatedBlocks
        freedBytes &+= counts.freedBytes
        freedBlocks &+= counts.freedBlocks
        peakBytes &+= counts.peak.bytes
        peakBlocks &+= counts.peak.blocks
        temporaryBlocks &+= counts.temporaryBlocks
    }
}
