// Reading the images of a reduction again: their live blocks, their snapshots and their lifetimes, each with the row of
// its stack.

import HeapImage

extension Reduction {
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
}
