// Adding images: their modules and nodes become those of the reduction, and their stacks are folded into its rows.
//
// Invariant: a row has a verdict only if all inputs with some of its blocks have one.

import HeapImage
import Text

extension Reduction {
    /// Adds an image: counts it and folds its stacks in. `path` is its name. For a running program, everything that is
    /// asked later (ages, sizes, filters, lifetimes, snapshots) is about the moment at which it was added. Whoever only
    /// wants its stacks can spare the copy that this takes: with `onlyStacks` the sums are of different moments.
    /// `alsoBlocks` gets each batch of live blocks as they are counted.
    ///
    /// - Throws: `InputError` if a running image can't be read to its end.
    /// - Complexity: O(blocks + nodes) time, O(nodes) memory.
    package func add(
        _ original: HeapImage, path: String? = nil, onlyStacks: Bool = false,
        alsoBlocks: ((Span<LiveBlock>) -> Void)? = nil
    ) throws {
        var image = original
        var moments: Damage?
        do { if !onlyStacks { image = try original.atOneMoment() } } catch let error as FileError {
            moments = Damage(
                file: original.file, offset: 0, what: "numbers of a running program are of different moments: \(error)")
        }
        let census = try image.census(alsoBlocks: alsoBlocks)
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
        numbersOfInputs[inputs.count] = numbers
        // After everything was read, because damage is found while reading.
        input.damages = image === original ? image.damages : original.damages + image.damages
        if let moments { input.passedOver.append(moments) }
        inputs.append(input)
        addVerdicts(census, heldBefore)
        addMappings(image, momentNanoseconds: census.momentNanoseconds) { stack in
            let number = Int(stack) < census.stacks.count ? Int(census.stacks[Int(stack)].node) : 0
            return number < interned.count ? interned[number] : 0
        }

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
    /// - Returns: the reduction's number of each of its modules, and of the tags and Python functions of the nodes that
    ///   are new.
    /// - Complexity: O(nodes)
    @discardableResult
    package func intern(nodesOf image: HeapImage, into interned: inout [UInt32]) -> ImageNumbers {
        let nodes = image.nodes()
        var numbers = ImageNumbers()
        numbers.modules = image.modules().map { module in
            module.isKnown
                ? self.module(
                    path: module.path, buildID: module.buildID, identity: ReducedModule.FileIdentity(module),
                    bias: module.moved ? nil : module.bias,
                    extent: module.extent)
                : SpecialModule.none
        }
        if interned.isEmpty { interned.append(0) }
        let first = interned.count
        numbers.tags = tags(nodes.frames.dropFirst(interned.count), of: image)
        numbers.python = python(nodes.frames.dropFirst(interned.count), of: image)
        // Parents are older, so one pass in order meets each parent before its children.
        for node in interned.count ..< max(nodes.count, interned.count) {
            let parent = interned[Int(nodes.parents[node])]
            interned.append(tree.intern(parent: parent, frame: frame(nodes.frames[node], numbers)))
        }
        storedFrames.add(nodes.frames.dropFirst(first), of: image)
        if let names = image.storedNames() { storedFrames.add(names) { frame($0, numbers) } }
        return numbers
    }

    func frame(_ raw: UInt64, _ numbers: ImageNumbers) -> Frame {
        let module = UInt32(truncatingIfNeeded: raw >> 48), offset = raw & 0xFFFF_FFFF_FFFF
        switch module {
        case 0: return Frame(module: SpecialModule.none, offset: offset)
        case RawModule.python: return numbers.python[raw] ?? self.frame(.morePython)
        case RawModule.tag: return numbers.tags[raw] ?? tag(.unreadable)
        case RawModule.thread: return Frame(module: SpecialModule.thread, offset: offset)
        case RawModule.cut:
            return Frame(module: SpecialModule.cut, offset: offset < UInt64(LogFrame.cutTexts.count) ? offset : 0)
        default:
            return Frame(
                module: Int(module) < numbers.modules.count ? numbers.modules[Int(module)] : SpecialModule.none,
                offset: offset)
        }
    }

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
}

/// Module numbers in an image's frames that stand for no file.
private enum RawModule {
    static let python: UInt32 = 0xFFFC
    static let tag: UInt32 = 0xFFFD
    static let thread: UInt32 = 0xFFFE
    static let cut: UInt32 = 0xFFFF
}
