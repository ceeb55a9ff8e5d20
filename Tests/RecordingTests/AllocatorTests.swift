// Allocators that are not glibc's: linked dynamically they are recorded, whichever function a block came from; one that is part of the program is not
// seen, and that is said.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct AllocatorTests {
    private func build(_ flags: String, into scratch: Scratch) throws {
        try scratch.prepare("c++ -std=c++17 -O1 -g -fomit-frame-pointer -fno-builtin-malloc '\(Built.root)/Tests/Programs/allocators.cc' -o allocators -pthread \(flags)")
    }

    static let makers = ["malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "new", "array", "nothrow", "aligned_new"]

    /// How an allocator is linked, and a part of its file's name.
    @Test(arguments: [
        ("", "libc.so"), ("-Wl,--no-as-needed -ljemalloc", "libjemalloc.so"), ("-Wl,--no-as-needed -ltcmalloc_minimal", "libtcmalloc_minimal.so"),
        ("-Wl,--no-as-needed -lmimalloc", "libmimalloc.so"),
    ])
    func aDynamicAllocatorIsRecorded(flags: String, name: String) throws {
        let scratch = try Scratch()
        try build(flags, into: scratch)
        let plain = try scratch.run(["./allocators"])
        let recording = Recording(scratch: scratch, outcome: try scratch.run(["./allocators"], variables: scratch.recordingVariables()))
        #expect(plain.output == "900 blocks stand, 900\n" && recording.outcome == plain, "\(recording.outcome)")
        let image = try recording.image(of: "allocators")
        #expect(image.allocator.contains(name))
        let reduced = try Reduced(image)
        for maker in Self.makers {
            // The made and kept ones, and as many that were given back; realloc's make three events each.
            let sizes: [String: UInt64] = ["aligned_alloc": 128, "aligned_new": 64]
            let rows = reduced.reduction.rows.filter { reduced.functions($0).contains { $0.contains("make_\(maker)") && $0.hasSuffix("make_\(maker)v") } }
            let blocks = rows.reduce(0) { $0 + $1.blocks }, bytes = rows.reduce(0) { $0 + $1.bytes }
            #expect(blocks == 100 && bytes == 100 * (sizes[maker] ?? 72), "\(maker): \(blocks) blocks, \(bytes) bytes")
        }
        let losses = image.losses
        #expect(losses.lost_allocations == 0 && losses.healed_slots == 0 && losses.lost_stacks == 0)
        // jemalloc's operator delete[], and the nothrow delete, jump to free, which is seen once more and must pass.
        #expect(losses.unmatched_frees == 0, "\(losses.unmatched_frees)")
        #expect(reduced.totals.history.map { $0.allocatedBlocks - $0.freedBlocks } == reduced.totals.liveBlocks)
    }

    @Test(arguments: ["-DOWN_MALLOC", "-l:libjemalloc.a -ldl", "-Wl,--whole-archive -l:libtcmalloc_minimal.a -Wl,--no-whole-archive"])
    func anAllocatorInTheProgramIsSaid(flags: String) throws {
        let scratch = try Scratch()
        try build(flags, into: scratch)
        let plain = try scratch.run(["./allocators"])
        let recorded = try scratch.record(["./allocators"], options: [], library: Built.interposer)
        #expect(recorded.output == plain.output && recorded.exitStatus == plain.exitStatus && plain.exitStatus == 0)
        #expect(recorded.messages.contains("made no allocation that could be seen: it makes none, or has a malloc of its own linked into it"), "\(recorded.messages)")
    }
}
