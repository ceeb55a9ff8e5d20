// Rows by another key than their stacks: all rows with the same key become one.
//
// Invariant: each block of the original rows counts in exactly one grouped row, so the sums stay the same. A grouped
// row has a stack of one frame, which has the key's name: so code that shows rows and frames can show groups without
// knowing about them.

import HeapImage
import Text

/// What a grouped row stands for. Two keys are equal if their texts are.
package struct RowKey: Equatable, Sendable {
    /// For programs; it means the same in every input and run.
    package var text: String
    /// For people.
    package var label: String
    /// Known only if it is the same for all blocks of the row.
    package var module: String?
    package var function: String?
    package var file: String?
    package var line: Int?

    package init(
        _ text: String, label: String? = nil, module: String? = nil, function: String? = nil, file: String? = nil,
        line: Int? = nil
    ) {
        self.text = text
        self.label = label ?? text
        self.module = module
        self.function = function
        self.file = file
        self.line = line
    }

    /// Drops values that the other key has different ones for.
    mutating func narrow(to other: RowKey) {
        if module != other.module { module = nil }
        if function != other.function { function = nil }
        if file != other.file { file = nil }
        if line != other.line { line = nil }
    }
}

extension Reduction {
    /// Folds rows by the keys that `key` returns, in the order of the keys' first appearance.
    ///
    /// - Complexity: O(rows)
    package func grouped(_ rows: [Row], by key: (Row) -> RowKey) -> [Row] {
        var groups = RowGroups(self)
        for row in rows { groups.add(row, key(row)) }
        return groups.rows
    }

    /// Folds the live blocks of rows by their requested size. Sizes have no history.
    ///
    /// - Parameter blocks: which blocks count, by age and marks.
    /// - Complexity: O(blocks), reading the images again.
    package func groupedBySize(_ rows: [Row], of blocks: BlockFilter = BlockFilter()) -> [Row] {
        var isWanted = [Bool](repeating: false, count: tree.count)
        for row in rows where Int(row.node) < isWanted.count { isWanted[Int(row.node)] = true }
        let wanted = self.rows.map { isWanted[Int($0.node)] }
        var places: [UInt64: Int] = [:]
        var sizes: [(size: UInt64, row: Row, weight: BlockWeight)] = []
        var seen = [BlockWeight](repeating: BlockWeight(), count: self.rows.count)
        let isSampled = self.isSampled
        forEachLiveBlock(askedOf: blocks) {
            (block: LiveBlock, row: Int, ageSeconds: Double, passes: Bool, weight: BlockWeight) in
            guard wanted[row] else { return }
            seen[row] += weight
            guard passes else { return }
            let size = SizeClass.of(block.bytes)
            let place = places[size] ?? sizes.count
            if place == sizes.count {
                places[size] = place
                sizes.append((size, Row(node: 0), BlockWeight()))
            }
            sizes[place].weight += weight
            sizes[place].row.addAges(oldest: ageSeconds, newest: ageSeconds)
        }
        var groups = RowGroups(self)
        for (size, row, weight) in sizes {
            var row = row
            (row.bytes, row.blocks, row.history) = (weight.bytes, weight.blocks, nil)
            if isSampled { row.variance = weight.variance }
            row.setResidence(weight, isKnown: knowsResidence)
            groups.add(row, SizeClass.key(size))
        }
        // A log has only a sum for each stack: it gives the size of one block, but not of several. If all inputs are
        // images, the only blocks left are those that a running program has freed since it was counted.
        guard inputs.contains(where: { $0.image == nil }) else { return groups.rows }
        let placeOfNode = Dictionary(
            self.rows.enumerated().map { ($1.node, $0) }, uniquingKeysWith: { first, _ in first })
        for row in rows {
            guard let place = placeOfNode[row.node], row.blocks > seen[place].blocks else { continue }
            var rest = Row(node: row.node)
            rest.bytes = row.bytes >= seen[place].bytes ? row.bytes - seen[place].bytes : 0
            rest.blocks = row.blocks - seen[place].blocks
            rest.history = nil
            rest.oldestSeconds = row.oldestSeconds
            rest.newestSeconds = row.newestSeconds
            groups.add(rest, rest.blocks == 1 ? SizeClass.key(SizeClass.of(rest.bytes)) : SizeClass.notKnown)
        }
        return groups.rows
    }
}

/// Sizes as keys: each size has its own key up to the usual size of structures; above that, powers of two.
package enum SizeClass {
    /// The largest size that has a key of its own.
    package static let exactLimit: UInt64 = 4096
    static let notKnown = RowKey("not known", label: "not known (a log's blocks are sums)")

    /// The largest size of the class.
    static func of(_ bytes: UInt64) -> UInt64 {
        if bytes <= exactLimit { return bytes }
        let bits = UInt64.bitWidth - (bytes - 1).leadingZeroBitCount
        return bits == UInt64.bitWidth ? .max : 1 << UInt64(bits)
    }

    static func key(_ largest: UInt64) -> RowKey {
        if largest <= exactLimit {
            return RowKey("\(largest)", label: largest == 1 ? "1 byte" : "\(separated(largest)) bytes")
        }
        let smallest = largest == .max ? 1 << 63 + 1 : largest / 2 + 1
        return RowKey("\(smallest)-\(largest)", label: "\(separated(smallest)) to \(separated(largest)) bytes")
    }
}

/// The groups while they are made.
private struct RowGroups {
    private let reduction: Reduction
    private(set) var rows: [Row] = []
    private var placeOfText: [String: Int] = [:]

    init(_ reduction: Reduction) { self.reduction = reduction }

    mutating func add(_ row: Row, _ key: RowKey) {
        guard let place = placeOfText[key.text] else {
            placeOfText[key.text] = rows.count
            var group = row
            group.key = key
            group.node = reduction.node(of: reduction.frame(LogFrame(name: Array(key.text.utf8))))
            rows.append(group)
            return
        }
        rows[place].bytes &+= row.bytes
        rows[place].add(verdictOf: row)
        rows[place].blocks &+= row.blocks
        rows[place].add(row.variance)
        rows[place].residentBytes = rows[place].residentBytes.flatMap { sum in row.residentBytes.map { sum &+ $0 } }
        rows[place].blocksOfUnknownSize &+= row.blocksOfUnknownSize
        rows[place].key?.narrow(to: key)
        if let more = row.history { rows[place].history?.add(more) } else { rows[place].history = nil }
        if let oldest = row.oldestSeconds, let newest = row.newestSeconds {
            rows[place].addAges(oldest: oldest, newest: newest)
        }
    }
}

extension Row.History {
    package mutating func add(_ other: Row.History) {
        allocatedBytes &+= other.allocatedBytes
        allocatedBlocks &+= other.allocatedBlocks
        freedBytes &+= other.freedBytes
        freedBlocks &+= other.freedBlocks
        peakBytes &+= other.peakBytes
        peakBlocks &+= other.peakBlocks
        temporaryBlocks &+= other.temporaryBlocks
    }
}
