// Blocks that a running program's image does not have, found in malloc's arenas while the program runs. The walk
// believes an arena only where everything in it fits together, so a change meanwhile is noticed: the walk begins again,
// and after some attempts says what it could not tell.

import Glibc
import HeapImage

/// What malloc has in use beyond an image's blocks.
package struct EarlierInRunning {
    /// In order of address. Their bytes are what malloc gave; their stack is `BlockTable.earlierStack`.
    package fileprivate(set) var blocks: [LiveBlock] = []
    /// Addresses of blocks of the image that malloc has as free: freed meanwhile, or where the recorder does not see
    /// it.
    package fileprivate(set) var gone: Set<UInt64> = []
    /// What is not known, for people.
    package fileprivate(set) var gaps: [String] = []
    /// The program as the last walk read it; nil if there was none.
    package fileprivate(set) var program: RunningProgram?
    package fileprivate(set) var heaps: GlibcHeaps?

    private static let mostAttempts = 5

    /// Walks the arenas.
    ///
    /// - Parameters:
    ///   - thread: a living thread of the process.
    ///   - blocks: the image's, in order of address.
    /// - Complexity: O(chunks of malloc) for each attempt; 24 bytes of memory for each block that is found, and 16 for
    ///   each of the image.
    package init(thread: pid_t, blocks known: [LiveBlock]) {
        let table = BlockTable(granule: 16, keepsTicks: false) { $0(known.span) }
        for attempt in 1 ... Self.mostAttempts {
            guard let program = RunningProgram(thread: thread), let libc = program.libc,
                let heaps = GlibcHeaps(program)
            else {
                gaps = ["malloc's arenas were not found"]
                return
            }
            let glibc = GlibcState(libc, program.memory)
            let found = EarlierBlocks(
                heaps, blocks: table, threadPointers: glibc.threadPointers, mappings: program.mappings,
                memory: program.memory)
            if found.gaps.isEmpty || attempt == Self.mostAttempts {
                (self.program, self.heaps, gaps) = (program, heaps, found.gaps)
                blocks = found.blocks.sorted { $0.address < $1.address }
                gone = Set(found.gone.map { table.start($0) })
                return
            }
            usleep(2000)
        }
    }

    /// Leaves out blocks that turned out to be the image's own.
    package mutating func remove(_ addresses: Set<UInt64>) {
        blocks.removeAll { addresses.contains($0.address) }
    }
}
