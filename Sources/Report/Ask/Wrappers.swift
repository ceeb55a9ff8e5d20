// Allocation wrappers of a program or a library: zmalloc, xmalloc, Perl_safesysmalloc. Most of a module's blocks come
// through them, so they say nothing about a fault; the function that called them does.
//
// A wrapper is told by its callers: many functions call it, for blocks of many sizes, and they are much of all that
// allocates in its module. A function that fills a cache or a list has blocks of its own kind, so their sizes are
// alike. Below a wrapper may be functions through which nearly all of its module goes and which only one or two
// others call (sqlite3MemMalloc, mallocWithAlarm): they belong to it. And a module that has a wrapper for malloc has
// one for calloc and realloc too, which fewer functions call: so another one that calls the allocator itself is also a
// wrapper if it has some callers.

import HeapImage
import Reduce

/// A function, known across images and reductions.
struct FunctionName: Hashable {
    var function: String
    var module: String?

    init(_ frame: NamedFrame) { (function, module) = (frame.function ?? frame.text, frame.moduleName) }
}

/// Finds the wrappers among the functions of a reduction's stacks.
struct Wrappers {
    /// At least so many functions call a wrapper, for blocks of so many powers of two.
    private static let fewestCallers = 8, fewestSizes = 4
    /// They are at least this part of all functions that call those which allocate in its module.
    private static let leastPart = 10
    /// A function that belongs to a wrapper has at most so many callers, and this part of its module's stacks.
    private static let mostCallersBelow = 2, leastShareBelow = 0.8
    /// Beside a wrapper, another function that calls the allocator itself needs no more than these.
    private static let fewestCallersBeside = 3, fewestSizesBeside = 2
    /// Wrappers call wrappers, but not for ever: recursion must not make all of a program one.
    private static let mostRounds = 6
    private static let mostFunctions = 12

    /// A stack's own functions by their numbers, innermost first; and the size of its blocks as a power of two.
    private struct Chain {
        var functions: [Int]
        var size: Int
    }

    private var names = Numbering<FunctionName>()
    private var chains: [Chain] = []

    /// - Complexity: O(stacks), and a look-up of the sources of the inner frames.
    static func find(_ culprits: Culprits) -> Set<FunctionName> {
        let wrappers = Wrappers(culprits)
        return Set(wrappers.find().map { wrappers.names.values[$0] })
    }

    private init(_ culprits: Culprits) {
        var stacks: [[Frame]] = []
        for row in culprits.names.reduction.rows {
            let (blocks, bytes) =
                row.history.map { ($0.allocatedBlocks, $0.allocatedBytes) } ?? (row.blocks, row.bytes)
            guard blocks > 0 else { continue }
            let size = bytes / blocks
            stacks.append(culprits.code(of: row.node))
            chains.append(Chain(functions: [], size: UInt64.bitWidth - size.leadingZeroBitCount))
        }
        var known: [Frame: [Int]] = [:]
        culprits.walk(stacks) { index, entries in
            guard let frame = entries.first?.frame else { return false }
            let functions =
                known[frame] ?? entries.filter(culprits.isOwn).map { names.number(of: FunctionName($0)) }
            known[frame] = functions
            for function in functions where function != chains[index].functions.last {
                chains[index].functions.append(function)
            }
            return chains[index].functions.count >= Self.mostFunctions
        }
    }

    /// What the stacks say about one function that is the innermost which is no wrapper.
    private struct Use {
        var callers: Set<Int> = []
        var sizes: Set<Int> = []
        var stacks = 0
        /// Whether it calls the allocator itself.
        var isInnermost = true
        /// What is inside of it, if that is only assumed to be a part of a wrapper.
        var assumed: Set<Int> = []
    }

    private func find() -> Set<Int> {
        var wrappers: Set<Int> = [], assumed: Set<Int> = [], modules: Set<String?> = []
        for _ in 0 ..< Self.mostRounds {
            var uses: [Int: Use] = [:]
            for chain in chains {
                let functions = chain.functions
                guard
                    let place = functions.firstIndex(where: { !wrappers.contains($0) && !assumed.contains($0) }),
                    let caller = functions[place...].first(where: { $0 != functions[place] })
                else { continue }
                var use = uses[functions[place]] ?? Use()
                use.callers.insert(caller)
                use.sizes.insert(chain.size)
                use.stacks += 1
                use.isInnermost = use.isInnermost && place == 0
                use.assumed.formUnion(functions[..<place].filter(assumed.contains))
                uses[functions[place]] = use
            }
            var ofModule: [String?: (callers: Int, stacks: Int)] = [:]
            for (function, use) in uses {
                let sum = ofModule[names.values[function].module] ?? (0, 0)
                ofModule[names.values[function].module] = (sum.callers + use.callers.count, sum.stacks + use.stacks)
            }
            var foundMore = false
            let haveOne = modules
            for (function, use) in uses {
                let module = names.values[function].module
                guard let all = ofModule[module] else { continue }
                let isBeside =
                    use.isInnermost && haveOne.contains(module) && use.callers.count >= Self.fewestCallersBeside
                    && use.sizes.count >= Self.fewestSizesBeside
                if isBeside
                    || use.callers.count >= Self.fewestCallers && use.sizes.count >= Self.fewestSizes
                        && use.callers.count * Self.leastPart >= all.callers
                {
                    wrappers.insert(function)
                    wrappers.formUnion(use.assumed)
                    modules.insert(module)
                    foundMore = true
                } else if use.callers.count <= Self.mostCallersBelow,
                    Double(use.stacks) >= Double(all.stacks) * Self.leastShareBelow, use.sizes.count >= Self.fewestSizes
                {
                    assumed.insert(function)
                    foundMore = true
                }
            }
            if !foundMore { break }
        }
        return wrappers
    }
}
