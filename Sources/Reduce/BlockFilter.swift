// Which blocks of the rows count: by age, by thread, by verdict, or those that were live at the peak. Rows are made
// again from the blocks that pass; the totals don't change.
//
// Invariant: what passes and what is left out sum up to the original rows. What can't be decided is left out and
// counted separately.

import HeapImage

/// The moment of a process that is shown.
package enum Moment: String, CaseIterable, Sendable {
    /// The image's own moment.
    case end
    /// The process's peak.
    case peak
}

/// Which live blocks count.
package struct BlockFilter: Equatable, Sendable {
    /// Ages at the image's moment, in seconds: at least this; below this.
    package var olderThan: Double?
    package var newerThan: Double?
    /// The thread that allocated them, if threads are recorded.
    package var thread: UInt64?
    package var moment = Moment.end
    /// Names of marks: blocks allocated after the first, or before the second. In an image without the mark no block
    /// passes.
    package var since: String?
    package var until: String?
    /// The verdicts that pass; nil: all. Rows without a verdict don't pass.
    package var verdicts: Set<Verdict>?

    package init() {}

    package var isOfAges: Bool { olderThan != nil || newerThan != nil || isOfMarks }
    package var isOfMarks: Bool { since != nil || until != nil }

    /// The ticks that pass in one image.
    func ticks(of image: HeapImage) -> Range<UInt32> {
        var range: Range<UInt32> = 0 ..< .max
        if let since { range = (image.mark(named: since)?.tick ?? .max) ..< .max }
        if let until, let end = image.mark(named: until)?.tick {
            range = range.lowerBound ..< max(range.lowerBound, end)
        } else if until != nil {
            range = 0 ..< 0
        }
        return range
    }

    package func passes(ageSeconds: Double) -> Bool {
        ageSeconds >= olderThan ?? -1 && ageSeconds < newerThan ?? .infinity
    }
}

/// Rows made from the blocks that pass.
package struct FilteredRows {
    package var rows: [Row] = []
    /// Stacks of which nothing passes; and the bytes of all stacks that don't pass.
    package var filtered = 0
    package var filteredBytes: UInt64 = 0
    /// Stacks whose blocks can't be decided: in logs only the ages of the oldest and newest block are known, or none,
    /// and there is no peak. They are among the filtered.
    package var undecided = 0
    package var undecidedBytes: UInt64 = 0
}

extension Reduction {
    /// The rows, made from the blocks that pass. At the peak, bytes and blocks are what the stack held then.
    ///
    /// - Complexity: O(rows); with ages O(blocks), reading the images again.
    package func rows(_ filter: BlockFilter) -> FilteredRows {
        var result = FilteredRows()
        let aged = filter.isOfAges ? partByAge(filter) : []
        for (index, row) in rows.enumerated() {
            if let thread = filter.thread, threadFrame(of: row)?.offset != thread {
                result.leaveOut(row, of: filter.moment)
                continue
            }
            switch filter.moment {
            case .peak:
                guard let history = row.history else {
                    result.undecided += 1
                    result.undecidedBytes &+= row.bytes
                    result.leaveOut(row, of: .end)
                    continue
                }
                if history.peakBlocks == 0 && history.peakBytes == 0 { continue }
                var then = row
                then.bytes = history.peakBytes
                then.blocks = history.peakBlocks
                then.oldestSeconds = nil
                then.newestSeconds = nil
                then.variance = nil // which blocks were live then isn't known
                then.residentBytes = nil
                result.rows.append(then)
            case .end where filter.isOfAges && row.blocks > 0:
                if let rest = aged[index].undecided {
                    result.undecided += 1
                    result.undecidedBytes &+= rest
                }
                if aged[index].row.blocks > 0 { result.rows.append(aged[index].row) } else { result.filtered += 1 }
                result.filteredBytes &+= row.bytes &- min(row.bytes, aged[index].row.bytes)
            case .end where filter.verdicts != nil && row.blocks > 0:
                guard let verdicts = filter.verdicts, let part = row.part(verdicts) else {
                    result.leaveOut(row, of: .end)
                    continue
                }
                result.rows.append(part)
                result.filteredBytes &+= row.bytes &- min(row.bytes, part.bytes)
            case .end: if !filter.isOfAges { result.rows.append(row) }
            }
        }
        return result
    }

    /// The frame that names a row's thread: the outermost, or the next one inside of a tag.
    package func threadFrame(of row: Row) -> Frame? {
        var thread: Frame?
        tree.forEachFrame(of: row.node) { if $0.module == SpecialModule.thread { thread = $0 } }
        return thread
    }

    /// For each row, the part that passes and the bytes that can't be decided.
    private func partByAge(_ filter: BlockFilter) -> [(row: Row, undecided: UInt64?)] {
        var parts = rows.map { row in
            var part = row
            (part.bytes, part.blocks, part.oldestSeconds, part.newestSeconds) = (0, 0, nil, nil)
            (part.variance, part.residentBytes) = (nil, nil)
            return (row: part, undecided: UInt64?.none)
        }
        var seen = [BlockWeight](repeating: BlockWeight(), count: rows.count), passed = seen
        forEachLiveBlock(askedOf: filter) {
            (block: LiveBlock, row: Int, ageSeconds: Double, passes: Bool, weight: BlockWeight) in
            seen[row] += weight
            guard passes else { return }
            passed[row] += weight
            parts[row].row.addAges(oldest: ageSeconds, newest: ageSeconds)
        }
        for index in parts.indices {
            (parts[index].row.bytes, parts[index].row.blocks) = (passed[index].bytes, passed[index].blocks)
            if passed[index].units > 0 && rows[index].variance != nil {
                parts[index].row.variance = passed[index].variance
            }
            parts[index].row.setResidence(passed[index], isKnown: rows[index].residentBytes != nil)
        }
        guard inputs.contains(where: { $0.image == nil }) else { return parts }
        // The remaining blocks are from logs.
        for (index, row) in rows.enumerated() where row.blocks > seen[index].blocks {
            let bytes = row.bytes &- min(row.bytes, seen[index].bytes)
            guard !filter.isOfMarks, let oldest = row.oldestSeconds, let newest = row.newestSeconds,
                filter.passes(ageSeconds: oldest) == filter.passes(ageSeconds: newest),
                // The oldest block is too old and the newest too new: blocks between may pass.
                filter.passes(ageSeconds: oldest) || newest >= filter.newerThan ?? .infinity
                    || oldest < filter.olderThan ?? -1
            else {
                parts[index].undecided = bytes
                continue
            }
            guard filter.passes(ageSeconds: oldest) else { continue }
            parts[index].row.bytes &+= bytes
            parts[index].row.blocks &+= row.blocks - seen[index].blocks
            parts[index].row.addAges(oldest: oldest, newest: newest)
        }
        return parts
    }
}

extension FilteredRows {
    fileprivate mutating func leaveOut(_ row: Row, of moment: Moment) {
        let bytes = moment == .peak ? row.history?.peakBytes ?? 0 : row.bytes
        if moment == .end ? row.blocks > 0 : bytes > 0 { filtered += 1 }
        filteredBytes &+= bytes
    }
}
