// When the live blocks of a function were allocated, by eighths of the recording. One image is enough to tell what
// piles up from what comes and goes: of a full cache or a queue only young blocks live, of what was read at the start
// only old ones, and of what nobody frees as many of each age.

import HeapImage
import Reduce

/// The live blocks of one function by the time of their allocation.
struct Births {
    static let parts = 8
    /// Records of the image; in a sampled one they are fewer than the blocks they stand for.
    private(set) var records = [Int](repeating: 0, count: parts)
    private var units = [UInt64](repeating: 0, count: parts)

    mutating func add(_ part: Int, _ weight: BlockWeight) {
        records[part] += 1
        units[part] &+= weight.units
    }

    /// Blocks allocated in each eighth that still live.
    var blocks: [UInt64] { units.map(BlockWeight.rounded) }

    /// Whether blocks of all ages live: six of the eighths have a quarter of the mean or more. Two may have fewer,
    /// because a program may stand still, and a queue's oldest blocks have been taken.
    var pileUp: Bool {
        let sum = records.reduce(0, +)
        return sum >= Self.fewest && records.count { $0 * Self.parts * 4 >= sum } >= Self.parts - 2
    }

    private static let fewest = 16
    /// A shorter recording tells nothing: all that it saw is its program's start.
    static let leastNanoseconds: UInt64 = 500_000_000

    /// The births of all groups of rows.
    ///
    /// - Parameter groups: the group of each of the reduction's rows.
    /// - Complexity: O(blocks), reading the image again.
    static func read(_ reduction: Reduction, groups: [Int], count: Int) -> [Births] {
        var births = [Births](repeating: Births(), count: count)
        guard let input = reduction.inputs.first, let moment = input.census?.momentNanoseconds,
            moment >= leastNanoseconds
        else { return births }
        let seconds = Double(moment) / 1e9
        reduction.forEachLiveBlock { (_, row: Int, age: Double, weight: BlockWeight) in
            let part = Int(max(0, (seconds - age) / seconds) * Double(parts))
            births[groups[row]].add(min(part, parts - 1), weight)
        }
        return births
    }
}
