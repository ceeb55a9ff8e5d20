// A recorded process as of one instant: registers of all threads, mappings, live blocks, and its memory, which can be
// read at leisure since it is a clone's. The program stands still for as long as the kernel needs to copy its page
// tables.
//
// Invariant: blocks, registers and memory are of one moment, in which no thread ran; what could not be had is a
// shortfall.

import CHeapImage
import CLeaks
import Glibc
import HeapImage
import Proc
import Text

/// A thread as it stood.
package struct ThreadState {
    package var threadID: pid_t
    /// Empty where the thread could not be stopped.
    var registers: [UInt64]
    /// Words of the vector registers.
    var vectors: [UInt64]
    var stackPointer: UInt64
    var threadPointer: UInt64
    var isInSystemCall: Bool
    /// It will never run again, nor return: what only its frames and registers hold is lost.
    var hasDeadFrames = false
}

/// A pointer that the kernel keeps for the program.
struct KernelWord: Hashable {
    var value: UInt64
    /// As people know it: "epoll 5, descriptor 7".
    var place: String
}

/// A process as of one instant.
package final class Snapshot {
    package let processID: pid_t
    package let threads: [ThreadState]
    package let mappings: [AddressMapping]
    package let memory: any ProcessMemory
    package let blocks: BlockTable
    var kernelWords: [KernelWord]
    /// The recorder's own memory in the process.
    let scratch: [Range<UInt64>]
    /// The image's mappings.
    let imageInodes: Set<UInt64>
    let isGlibc: Bool
    /// There are blocks that the image doesn't have.
    let hasUnbooked: Bool
    let allocator: String
    /// What is missing.
    package var shortfalls: [Shortfall]
    /// What a reader should know, without a bearing on the verdict.
    package var notes: [String]
    /// How long the program stood still, and how many bytes were copied meanwhile.
    package private(set) var pauseNanoseconds: UInt64
    package let copiedBytes: Int
    private var stop: OpaquePointer?
    private var clone: pid_t
    private let systemCall: UInt64

    init(
        processID: pid_t, threads: [ThreadState], mappings: [AddressMapping], memory: any ProcessMemory,
        blocks: BlockTable, kernelWords: [KernelWord],
        scratch: [Range<UInt64>], imageInodes: Set<UInt64>, isGlibc: Bool, allocator: String, shortfalls: [Shortfall],
        notes: [String],
        pauseNanoseconds: UInt64, copiedBytes: Int, stop: OpaquePointer?, clone: pid_t, systemCall: UInt64,
        hasUnbooked: Bool
    ) {
        (self.processID, self.threads, self.mappings, self.memory, self.blocks) = (
            processID, threads, mappings, memory, blocks
        )
        (self.kernelWords, self.scratch, self.imageInodes, self.isGlibc, self.allocator) = (
            kernelWords, scratch, imageInodes, isGlibc, allocator
        )
        (self.shortfalls, self.notes, self.pauseNanoseconds, self.copiedBytes) = (
            shortfalls, notes, pauseNanoseconds, copiedBytes
        )
        (self.stop, self.clone, self.systemCall, self.hasUnbooked) = (stop, clone, systemCall, hasUnbooked)
    }

    /// Gives back what the snapshot holds: the clone, or the program itself where it was read in place. Call it on the
    /// thread that took it.
    package func finish() {
        if let stop { pauseNanoseconds = leaks_go_on(stop) }
        stop = nil
        if clone > 0, Self.end(clone: clone, of: processID, systemCall) < 0, kill(processID, 0) == 0 {
            notes.append(
                "the snapshot's process \(clone) could not be waited for in the program: it stays there as a zombie "
                    + "until the program ends"
            )
        }
        clone = 0
    }

    static func end(clone: pid_t, of processID: pid_t, _ systemCall: UInt64) -> CInt {
        let inner = statusLine("NSpid:", of: clone)?.last.flatMap { pid_t($0) } ?? clone
        return leaks_end_clone(processID, clone, inner, systemCall)
    }

    deinit { finish() }
}
