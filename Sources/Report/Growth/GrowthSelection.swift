// Which rows of several moments are shown, and in what order: largest growth first. Rows that never changed are counted
// and left out, whatever they hold, because they made no difference.

import Reduce
import Trend

/// A row with the result over its moments.
package struct RankedGrowth {
    package var row: GrowthRow
    /// The trend of its bytes.
    package var trend: Trend
    /// nil if the moments' times are not known, or a test says that there is no trend.
    package var bytesAnHour: Double?
}

/// Rows to show, and sums of the others.
package struct GrowthSelection {
    package var rows: [RankedGrowth] = []
    package var grouping: Grouping
    /// Stacks are known by their functions' names.
    package var acrossBuilds: Bool
    package var total: RankedGrowth
    /// Rows that pass and changed, but are below the top; and their growth and shrinkage.
    package var below = 0
    package var belowGrown: UInt64 = 0
    package var belowShrunk: UInt64 = 0
    package var unchanged = 0
    package var unchangedBytes: UInt64 = 0
    package var filtered = 0
    /// All rows that grow steadily, shown or not.
    package var steady = 0

    /// Selects from several moments.
    ///
    /// - Parameters:
    ///   - byBlocks: ranked by growth of blocks, else of bytes.
    ///   - acrossBuilds: stacks with the same functions are one, whatever their modules and offsets are.
    ///   - minBytes: rows that grew or shrank by less are filtered out.
    /// - Complexity: O(n log n) in rows, and O(m²) in moments for each row that changed.
    package init(
        _ growth: Growth, names: FrameNames, by grouping: Grouping = .stack, byBlocks: Bool = false, top: Int? = nil,
        acrossBuilds: Bool = false, minBytes: UInt64 = 0,
        filter: FrameFilter? = nil, suppressions: Suppressions? = nil
    ) {
        self.grouping = grouping
        self.acrossBuilds = acrossBuilds
        let seconds = growth.seconds
        func ranked(_ row: GrowthRow) -> RankedGrowth {
            let values = row.bytes.map { Double($0) }
            let trend = seconds.map { Trend(times: $0, values: values) } ?? Trend(values: values)
            return RankedGrowth(
                row: row, trend: trend, bytesAnHour: seconds.flatMap { Self.bytesAnHour(row, trend, $0) })
        }
        total = ranked(growth.total)

        // A stack that held nothing at any moment allocated and freed only in between.
        var candidates = growth.rows.filter { row in row.blocks.contains { $0 > 0 } || row.bytes.contains { $0 > 0 } }
        if let filter, !filter.isEmpty {
            let passes = filter.passes(candidates.map(\.node), of: growth.reduction, names: names)
            filtered = passes.count { !$0 }
            candidates = zip(candidates, passes).filter(\.1).map(\.0)
        }
        if let suppressions {
            let kept = Set(
                suppressions.sift(candidates.map { Row(node: $0.node) }, of: growth.reduction, names: names).0.map(
                    \.node))
            filtered += candidates.count { !kept.contains($0.node) }
            candidates.removeAll { !kept.contains($0.node) }
        }
        if grouping != .stack {
            candidates = names.grouped(candidates, by: grouping)
        } else if acrossBuilds {
            candidates = names.acrossBuilds(candidates)
        }
        for row in candidates where !row.hasChanged {
            unchanged += 1
            unchangedBytes &+= row.bytes.last ?? 0
        }
        candidates.removeAll { row in
            guard row.hasChanged else { return true }
            let isSmall = row.growthBytes.magnitude < minBytes
            if isSmall { filtered += 1 }
            return isSmall
        }
        let all = candidates.map(ranked).enumerated().sorted { left, right in
            let (a, b) = (left.element.row, right.element.row)
            let keyA = byBlocks ? (a.growthBlocks, a.growthBytes) : (a.growthBytes, a.growthBlocks)
            let keyB = byBlocks ? (b.growthBlocks, b.growthBytes) : (b.growthBytes, b.growthBlocks)
            return keyA != keyB ? keyA > keyB : left.offset < right.offset
        }.map(\.element)
        steady = all.count { $0.trend.shape == .steadyGrowth }
        let count = min(top ?? .max, all.count)
        rows = Array(all[..<count])
        below = all.count - count
        for rest in all[count...] {
            if rest.row.growthBytes >= 0 {
                belowGrown &+= rest.row.growthBytes.magnitude
            } else {
                belowShrunk &+= rest.row.growthBytes.magnitude
            }
        }
    }

    /// From the slope if there are enough moments, else from the ends; nil if a test says that it may be chance.
    private static func bytesAnHour(_ row: GrowthRow, _ trend: Trend, _ seconds: [Double]) -> Double? {
        if trend.count >= Trend.fewest { return trend.pValue < Trend.significance ? trend.slopePerSecond * 3600 : nil }
        guard let last = seconds.last, last > 0 else { return 0 }
        return Double(row.growthBytes) / last * 3600
    }
}

extension FrameNames {
    /// The rows of several moments, folded by `grouping`, each moment separately.
    ///
    /// - Complexity: as `grouped(_:by:of:)`, once for each moment.
    func grouped(_ rows: [GrowthRow], by grouping: Grouping) -> [GrowthRow] {
        let moments = rows.first?.bytes.count ?? 0
        var folded: [GrowthRow] = []
        var places: [String: Int] = [:]
        for moment in 0 ..< moments {
            let stood = rows.map { row in
                var one = Row(node: row.node)
                one.bytes = row.bytes[moment]
                one.blocks = row.blocks[moment]
                one.history = nil
                return one
            }
            for group in grouped(stood, by: grouping) {
                let text = group.key?.text ?? ""
                let place = places[text] ?? folded.count
                if place == folded.count {
                    places[text] = place
                    let none = [UInt64](repeating: 0, count: moments)
                    folded.append(GrowthRow(node: group.node, key: group.key, bytes: none, blocks: none))
                }
                folded[place].bytes[moment] &+= group.bytes
                folded[place].blocks[moment] &+= group.blocks
            }
        }
        return folded
    }
}
