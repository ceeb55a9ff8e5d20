// What programs map themselves, reduced by stack and kind. These rows are apart from the blocks' rows: a mapping is
// address space, of which the program may use nothing, and a pool's blocks lie in mappings.
//
// Invariant: the rows' bytes and those of the allocators' own mappings add up to all mappings of the inputs.

import HeapImage
import Proc

/// What programs have mapped with one stack, of one kind.
package struct MappedRow {
    package var node: UInt32
    package var kind: ProgramMapping.Kind
    package var bytes: UInt64 = 0
    package var mappings: UInt64 = 0
    /// Of the bytes, those that were mapped without access, as address space for later.
    package var reservedBytes: UInt64 = 0
    /// Of the bytes, those in memory; nil if pages were not looked up.
    package var residentBytes: UInt64?
    package var oldestSeconds: Double?
    package var newestSeconds: Double?
    /// The largest of them.
    package var largest: Range<UInt64> = 0 ..< 0
}

/// The sums over all inputs.
package struct MappedTotals: Equatable {
    package var bytes: UInt64 = 0
    package var mappings: UInt64 = 0
    package var reservedBytes: UInt64 = 0
    /// The allocators' own, which are in no row: their blocks are counted.
    package var allocatorBytes: UInt64 = 0
    package var allocatorMappings: UInt64 = 0
    /// Of mappings.
    package var residentBytes: UInt64?
    /// Blocks of the programs' pools, which lie in mappings or in malloc's memory.
    package var poolBytes: UInt64 = 0
    package var poolBlocks: UInt64 = 0

    package init() {}
}

extension Reduction {
    /// Whether any input has the program's mappings.
    package var hasMappings: Bool { inputs.contains { $0.image?.hasMappings ?? false } }

    /// Adds the newest input's mappings.
    ///
    /// - Parameter nodes: of the image's stacks, by their numbers.
    /// - Complexity: O(mappings)
    func addMappings(_ image: HeapImage, momentNanoseconds: UInt64, nodes: (UInt32) -> UInt32) {
        guard image.hasMappings else { return }
        let moment = Double(momentNanoseconds) / 1e9
        for mapping in image.mappingsAndPools() {
            guard mapping.kind != .allocator else {
                mappedTotals.allocatorBytes &+= mapping.bytes
                mappedTotals.allocatorMappings &+= 1
                continue
            }
            let index = mappedRow(of: nodes(mapping.stack), mapping.kind)
            let age = max(0, moment - Double(milliseconds(ofTick: mapping.tick)) / 1000)
            mappedRows[index].bytes &+= mapping.bytes
            mappedRows[index].mappings &+= 1
            if mapping.isReserved { mappedRows[index].reservedBytes &+= mapping.bytes }
            mappedRows[index].oldestSeconds = max(mappedRows[index].oldestSeconds ?? age, age)
            mappedRows[index].newestSeconds = min(mappedRows[index].newestSeconds ?? age, age)
            let largest = mappedRows[index].largest
            if mapping.bytes > largest.upperBound - largest.lowerBound { mappedRows[index].largest = mapping.range }
            if mapping.isPools {
                mappedTotals.poolBytes &+= mapping.bytes
                mappedTotals.poolBlocks &+= 1
            } else {
                mappedTotals.bytes &+= mapping.bytes
                mappedTotals.mappings &+= 1
                if mapping.isReserved { mappedTotals.reservedBytes &+= mapping.bytes }
            }
            mappedPlaces.append((inputs.count - 1, mapping.range, index))
        }
    }

    private func mappedRow(of node: UInt32, _ kind: ProgramMapping.Kind) -> Int {
        let key = UInt64(node) << 8 | UInt64(kind.rawValue)
        if let known = rowOfMapping[key] { return known }
        rowOfMapping[key] = mappedRows.count
        mappedRows.append(MappedRow(node: node, kind: kind))
        return mappedRows.count - 1
    }

    /// Gives the rows of mappings their resident bytes, from the pages of the inputs that have any.
    ///
    /// - Complexity: O(pages) of the mappings
    func lookUpMappedResidence() {
        guard !mappedPlaces.isEmpty else { return }
        var sums = [UInt64](repeating: 0, count: mappedRows.count), isKnown = mappedRows.map { _ in true }
        var all: UInt64 = 0
        for (input, range, row) in mappedPlaces {
            // The pages that an image stores are those of blocks.
            guard inputs[input].image?.hasPages != true, let pages = pagesOfInputs[input],
                let bytes = range.isEmpty ? 0 : pages.bytes(of: range)
            else {
                isKnown[row] = false
                continue
            }
            sums[row] &+= bytes
            if mappedRows[row].kind != .pool { all &+= bytes }
        }
        for row in mappedRows.indices { mappedRows[row].residentBytes = isKnown[row] ? sums[row] : nil }
        mappedTotals.residentBytes = isKnown.allSatisfy { $0 } ? all : nil
    }

    /// The rows of mappings as rows of blocks, one for each kind, with the kind as their key.
    package func mappedRowsByKind() -> [Row] {
        let rows = mappedRows.map { mapped -> Row in
            var row = Row(node: mapped.node)
            (row.bytes, row.blocks, row.history) = (mapped.bytes, mapped.mappings, nil)
            (row.oldestSeconds, row.newestSeconds) = (mapped.oldestSeconds, mapped.newestSeconds)
            row.residentBytes = mapped.residentBytes
            return row
        }
        var next = 0
        return grouped(rows) { _ in
            next += 1
            let kind = mappedRows[next - 1].kind
            return RowKey((kind == .pool ? "" : "mapped: ") + kind.name)
        }
    }
}
