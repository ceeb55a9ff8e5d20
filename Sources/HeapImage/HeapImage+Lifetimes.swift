// How long freed blocks lived, for each stack.

import CHeapImage

/// The classes in which lifetimes are counted, from short to long.
package enum LifetimeClass {
    package static let count = Int(HEAP_LIFETIME_COUNT)

    /// The first millisecond after the class; nil for the last class, which has no end.
    package static func end(_ number: Int) -> UInt64? {
        number >= 0 && number < count - 1 ? UInt64(HEAP_LIFETIME_FIRST_MILLISECONDS) << UInt64(2 * number) : nil
    }
}

extension HeapImage {
    /// Freed blocks by class of lifetime: `LifetimeClass.count` numbers for each stack, in the order of the census's
    /// stacks.
    ///
    /// - Complexity: O(stacks)
    package func lifetimes(_ census: Census) -> [UInt64] {
        let count = LifetimeClass.count
        var lifetimes = [UInt64](repeating: 0, count: census.stacks.count * count)
        forEachStack { number, stack in
            guard number < census.stacks.count else { return }
            for lifetime in 1 ..< count {
                lifetimes[number * count + lifetime] = wholeBlocks(stack.blocks(ofLifetime: lifetime))
            }
        }
        for free in census.replayedFrees {
            let lifetime = Int(heap_lifetime_of_milliseconds(free.milliseconds))
            guard lifetime > 0, Int(free.stack) < census.stacks.count else { continue }
            lifetimes[Int(free.stack) * count + lifetime] &+= wholeBlocks(free.blocks)
        }
        // The shortest class has no counter: it is the rest.
        for number in census.stacks.indices {
            let others = lifetimes[number * count + 1 ..< (number + 1) * count].reduce(0) { $0 &+ $1 }
            let freed = census.stacks[number].freedBlocks
            lifetimes[number * count] = freed >= others ? freed - others : 0
        }
        return lifetimes
    }
}
