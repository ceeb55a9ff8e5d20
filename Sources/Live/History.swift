// What each stack held at several moments of the last minute and at the baseline, for growth and for a row's curve.
//
// Memory: 8 bytes a stack and moment, so 13 MB of 100,000 stacks.

/// Live bytes of stacks over time. A stack that is newer than a moment held nothing then.
package struct History {
    /// The number of moments kept, and the seconds between them.
    package static let moments = 16
    package static let spacing = 4.0

    private var columns: [(seconds: Double, bytes: [UInt64])] = []
    private var baseline: [UInt64] = []
    package private(set) var baselineSeconds = 0.0

    package init() {}

    /// Adds a look, taken at `seconds` of any monotonic clock.
    package mutating func add(_ stacks: [LiveHeap.Counts], at seconds: Double) {
        if columns.isEmpty { setBaseline(stacks, at: seconds) }
        if let last = columns.last, seconds - last.seconds < Self.spacing { return }
        if columns.count == Self.moments { columns.removeFirst() }
        columns.append((seconds, stacks.map(\.bytes)))
    }

    /// Makes this look the baseline of growth.
    package mutating func setBaseline(_ stacks: [LiveHeap.Counts], at seconds: Double) {
        baseline = stacks.map(\.bytes)
        baselineSeconds = seconds
    }

    package func atBaseline(_ stack: Int) -> UInt64 { stack < baseline.count ? baseline[stack] : 0 }

    /// What the stack held a minute ago, or at the first look.
    package func aMinuteAgo(_ stack: Int) -> UInt64 {
        guard let bytes = columns.first?.bytes, stack < bytes.count else { return 0 }
        return bytes[stack]
    }

    /// The time that `aMinuteAgo` refers to.
    package var minuteBegan: Double { columns.first?.seconds ?? 0 }

    /// What each of `groups` held at each kept moment, the oldest first. `group` gives the group of each stack number;
    /// stacks of other groups are left out.
    ///
    /// - Complexity: O(stacks · moments)
    package func curves(of groups: [Int: Int], group: [Int]) -> [[UInt64]] {
        var curves = [[UInt64]](repeating: [], count: groups.count)
        for column in columns {
            var sums = [UInt64](repeating: 0, count: groups.count)
            for (stack, bytes) in column.bytes.enumerated() where bytes > 0 && stack < group.count {
                if let place = groups[group[stack]] { sums[place] &+= bytes }
            }
            for place in sums.indices { curves[place].append(sums[place]) }
        }
        return curves
    }
}
