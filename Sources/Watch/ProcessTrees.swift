// Sums over process trees: a service that keeps starting workers grows, although none of its processes does. A tree's
// root is the outermost watched ancestor, except for the first process, which is everybody's ancestor.

import Trend

struct ProcessTrees {
    struct Growing { var root: Int, count: Int, track: Track, trend: Trend }

    /// By the root's number: memory and number of processes.
    private var tracks: [Int: Track] = [:]
    private var lastHere: [Int] = []
    private var lastParents: [Int64] = []
    /// The root of each process in the sample, in order.
    private var roots: [Int] = []
    private var members: [Int: [Int]] = [:]

    mutating func add(at time: Double, _ tracked: [Tracked], _ here: [Int]) {
        let here = here.filter { tracked[$0].kind == .process }
        let parents = here.map { tracked[$0].parent }
        if here != lastHere || parents != lastParents {
            roots = Self.roots(tracked, here)
            (lastHere, lastParents) = (here, parents)
            members = [:]
            for (tag, root) in zip(here, roots) { members[root, default: []].append(tag) }
        }
        for (root, tags) in members where tags.count > 1 || tracks[root] != nil {
            let bytes = tags.reduce(0) { $0 + tracked[$1].track.last[0] }
            tracks[root, default: Track(metrics: 2)].add(at: time, [bytes, Double(tags.count)])
        }
    }

    private static func roots(_ tracked: [Tracked], _ here: [Int]) -> [Int] {
        let byPID = Dictionary(
            here.compactMap { tag in tracked[tag].pid.map { ($0, tag) } }, uniquingKeysWith: { first, _ in first })
        return here.map { tag in
            var root = tag
            // At most as many steps as processes, because parents in a hostile recording may form a circle.
            for _ in here.indices {
                guard tracked[root].parent > 1, let above = byPID[tracked[root].parent], above != root else { break }
                root = above
            }
            return root
        }
    }

    mutating func finish() { for root in tracks.keys { tracks[root]?.finish() } }

    /// Trees that grow and have no accused process.
    func growing(tests: Int, accused: Set<Int>, _ tracked: [Tracked]) -> [Growing] {
        tracks.compactMap { root, track in
            let tags = members[root] ?? []
            guard tags.count > 1, track.last[1] > track.first[1], !tags.contains(where: accused.contains),
                let trend = Growth.find(
                    track.times, track.values[0], floor: max(8 * Metrics.megabyte, 0.05 * track.first[0]),
                    tests: tests + tracks.count),
                Growth.find(track.times, track.values[1], floor: 2, tests: tests + tracks.count) != nil
            else { return nil }
            return Growing(root: root, count: tags.count, track: track, trend: trend)
        }.sorted { $0.root < $1.root }
    }
}
