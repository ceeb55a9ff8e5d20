// Several moments of one heap, or of several heaps, side by side: what each unique stack held at each.
//
// All moments are added to one reduction, so that equal stacks of two processes or two runs are one row. A moment holds
// what its inputs added to the rows. Invariant: the sums over a moment's rows are the sums over its inputs.

import HeapImage

/// A moment at which one or more inputs were taken.
package struct GrowthMoment {
    /// Its name: the file as the user named it.
    package var label: String
    /// Of its newest input, since 1970; nil if not known.
    package var unixSeconds: Double?
    package var bytes: UInt64 = 0
    package var blocks: UInt64 = 0
    /// Its inputs, by their number in the reduction.
    package var inputs: Range<Int> = 0 ..< 0
}

/// What one stack held at each moment.
package struct GrowthRow {
    package var node: UInt32
    package var key: RowKey?
    /// One for each moment.
    package var bytes: [UInt64]
    package var blocks: [UInt64]

    package init(node: UInt32, key: RowKey? = nil, bytes: [UInt64], blocks: [UInt64]) {
        self.node = node
        self.key = key
        self.bytes = bytes
        self.blocks = blocks
    }

    package var growthBytes: Int64 { Self.growth(bytes) }
    package var growthBlocks: Int64 { Self.growth(blocks) }
    package var hasChanged: Bool { bytes.contains { $0 != bytes.first } || blocks.contains { $0 != blocks.first } }

    private static func growth(_ values: [UInt64]) -> Int64 { Int64(from: values.first ?? 0, to: values.last ?? 0) }
}

extension Int64 {
    /// The increase. A damaged image may claim sums of any size, so the difference is clamped.
    package init(from before: UInt64, to now: UInt64) {
        self = now >= before ? Int64(clamping: now - before) : -Int64(clamping: before - now)
    }
}

/// Two moments whose images are of different programs: each moment's name and its programs.
package struct DifferentPrograms {
    package var labels: (first: String, other: String)
    package var programs: (first: [String], other: [String])
}

/// Moments, and a row for each stack that held anything at one of them.
package final class Growth {
    package let reduction = Reduction()
    package private(set) var moments: [GrowthMoment] = []
    package private(set) var rows: [GrowthRow] = []

    package init() {}

    /// Adds the next moment in time: everything that `add` adds to the reduction.
    ///
    /// - Complexity: what `add` takes, and O(rows)
    package func addMoment(_ label: String, _ add: (Reduction) throws -> Void) rethrows {
        let before = reduction.rows.map { (bytes: $0.bytes, blocks: $0.blocks) }
        let firstInput = reduction.inputs.count
        try add(reduction)
        var moment = GrowthMoment(label: label, inputs: firstInput ..< reduction.inputs.count)
        for input in reduction.inputs[firstInput...] {
            guard let image = input.image, let census = input.census else { continue }
            let seconds = Double(image.header.started_realtime_ns) / 1e9 + Double(census.momentNanoseconds) / 1e9
            moment.unixSeconds = max(moment.unixSeconds ?? seconds, seconds)
        }
        let values = reduction.rows.enumerated().map { index, row in
            index < before.count
                ? (row.bytes &- before[index].bytes, row.blocks &- before[index].blocks) : (row.bytes, row.blocks)
        }
        append(moment, values)
    }

    /// Adds an image's snapshots (at 8 s, then each time at twice the age) and its last state, each as a moment.
    ///
    /// - Throws: `InputError` if a running image can't be read to its end.
    /// - Complexity: O(blocks + stacks * snapshots)
    package func addSnapshots(of image: HeapImage, path: String? = nil) throws {
        let label = path ?? image.file
        let started = Double(image.header.started_realtime_ns) / 1e9
        try reduction.add(image, path: path)
        let input = reduction.inputs.count - 1, now = reduction.inputs[input].census?.momentNanoseconds ?? 0
        for number in 0 ..< image.snapshotCount {
            let age = HeapImage.snapshotNanoseconds(number)
            guard age < now else { break }
            let levels = reduction.snapshot(number, ofInput: input)
            append(
                GrowthMoment(label: "\(label), \(age / 1_000_000_000) s old", unixSeconds: started + Double(age) / 1e9),
                reduction.rows.map { (levels[$0.node]?.bytes ?? 0, levels[$0.node]?.blocks ?? 0) })
        }
        append(
            GrowthMoment(label: label, unixSeconds: started + Double(now) / 1e9, inputs: 0 ..< reduction.inputs.count),
            reduction.rows.map { ($0.bytes, $0.blocks) })
    }

    private func append(_ moment: GrowthMoment, _ values: [(bytes: UInt64, blocks: UInt64)]) {
        var moment = moment
        for row in reduction.rows.dropFirst(rows.count) {
            rows.append(
                GrowthRow(
                    node: row.node, bytes: Array(repeating: 0, count: moments.count),
                    blocks: Array(repeating: 0, count: moments.count)))
        }
        for index in rows.indices {
            let (bytes, blocks) = index < values.count ? values[index] : (0, 0)
            rows[index].bytes.append(bytes)
            rows[index].blocks.append(blocks)
            moment.bytes &+= bytes
            moment.blocks &+= blocks
        }
        moments.append(moment)
    }

    /// Seconds since the first moment, one for each, if all are known and in order. Otherwise nil: then the order is
    /// used as time.
    package var seconds: [Double]? {
        let times = moments.compactMap(\.unixSeconds)
        guard times.count == moments.count, let first = times.first,
            zip(times, times.dropFirst()).allSatisfy({ $0 < $1 })
        else { return nil }
        return times.map { $0 - first }
    }

    /// The first moment with a program and the next one that shares no program with it; nil if all share one. Programs
    /// are compared by the base names of their files, since a new build may lie elsewhere. Logs name no program.
    package var differentPrograms: DifferentPrograms? {
        let known = moments.compactMap { moment in
            let paths = reduction.inputs[moment.inputs].compactMap(\.program)
            return paths.isEmpty ? nil : (label: moment.label, programs: Set(paths.map(ImageNames.baseName)))
        }
        guard let first = known.first, let other = known.first(where: { $0.programs.isDisjoint(with: first.programs) })
        else { return nil }
        return DifferentPrograms(
            labels: (first.label, other.label), programs: (first.programs.sorted(), other.programs.sorted()))
    }

    /// All rows taken together.
    package var total: GrowthRow { GrowthRow(node: 0, bytes: moments.map(\.bytes), blocks: moments.map(\.blocks)) }
}
