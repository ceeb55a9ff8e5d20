// Allocators that are not glibc's: linked dynamically they are recorded, whichever function a block came from; one that
// is part of the program is not seen, and that is said.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct AllocatorTests {
    private func build(_ flags: String, into scratch: Scratch) throws {
        try scratch.prepare(
            "c++ -std=c++17 -O1 -g -fomit-frame-pointer -fno-builtin-malloc "
                + "'\(Built.root)/Tests/Programs/allocators.cc' -o allocators -pthread \(flags)"
        )
    }

    static let makers = [
        "malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "new", "array", "nothrow", "aligned_new",
    ]

    /// How an allocator is linked, and a part of its file's name.
    @Test(arguments: [
        ("", "libc.so"), ("-Wl,--no-as-needed -ljemalloc", "libjemalloc.so"),
        ("-Wl,--no-as-needed -ltcmalloc_minimal", "libtcmalloc_minimal.so"),
        ("-Wl,--no-as-needed -lmimalloc", "libmimalloc.so"),
    ])
    func aDynamicAllocatorIsRecorded(flags: String, name: String) throws {
        let scratch = try Scratch()
        try build(flags, into: scratch)
        let plain = try scratch.run(["./allocators"])
        let recording = Recording(
            scratch: scratch, outcome: try scratch.run(["./allocators"], variables: scratch.recordingVariables()))
        #expect(plain.output == "900 blocks stand, 900\n" && recording.outcome == plain, "\(recording.outcome)")
        let image = try recording.image(of: "allocators")
        #expect(image.allocator.contains(name))
        let reduced = try Reduced(image)
        for maker in Self.makers {
            // The made and kept ones, and as many that were given back; realloc's make three events each.
            let sizes: [String: UInt64] = ["aligned_alloc": 128, "aligned_new": 64]
            let rows = reduced.reduction.rows.filter {
                reduced.functions($0).contains { $0.contains("make_\(maker)") && $0.hasSuffix("make_\(maker)v") }
            }
            let blocks = rows.reduce(0) { $0 + $1.blocks }, bytes = rows.reduce(0) { $0 + $1.bytes }
            #expect(blocks == 100 && bytes == 100 * (sizes[maker] ?? 72), "\(maker): \(blocks) blocks, \(bytes) bytes")
        }
        let losses = image.losses
        #expect(losses.lost_allocations == 0 && losses.healed_slots == 0 && losses.lost_stacks == 0)
        // jemalloc's operator delete[], and the nothrow delete, jump to free, which is seen once more and must pass.
        #expect(losses.unmatched_frees == 0, "\(losses.unmatched_frees)")
        #expect(reduced.totals.history.map { $0.allocatedBlocks - $0.freedBlocks } == reduced.totals.liveBlocks)
    }

    /// What an allocator has beside malloc's family is recorded in a program that has it, and is nowhere else.
    @Test(arguments: [("-Wl,--no-as-needed -ljemalloc", 4), ("-DTCMALLOC -Wl,--no-as-needed -ltcmalloc_minimal", 16)])
    func anAllocatorsOwnFunctionsAreRecorded(flags: String, kinds: Int) throws {
        let scratch = try Scratch()
        try scratch.prepare(
            "c++ -std=c++17 -O1 -g -fomit-frame-pointer -fno-builtin-malloc "
                + "'\(Built.root)/Tests/Programs/allocator_names.cc' -o names \(flags)"
        )
        let plain = try scratch.run(["./names"])
        #expect(plain.exitStatus == 0)
        let resized = try #require(plain.output.split(separator: " ").last.flatMap { UInt64($0.dropLast()) })
        let outcome = try scratch.record(["./names"], options: ["--quiet", "-o", "."], library: Built.interposer)
        #expect(outcome == plain, "\(outcome)")
        let image = try Recording(scratch: scratch, outcome: outcome).image(of: "names")
        let reduced = try Reduced(image)
        var found: [String: Holding] = [:]
        for row in reduced.reduction.rows where row.blocks > 0 {
            guard let maker = reduced.functions(row).first(where: { $0.contains("make_") || $0.contains("resize") })
            else { continue }
            found[maker, default: Holding()].bytes += row.bytes
            found[maker, default: Holding()].blocks += row.blocks
        }
        let sizes = found.filter { !$0.key.contains("resize") }
        #expect(
            sizes.count == kinds
                && sizes.allSatisfy { $0.value.bytes == $0.value.blocks * 72 && (10 ... 11).contains($0.value.blocks) },
            "\(found)")
        #expect(
            found.first { $0.key.contains("resize") }?.value
                == (resized == 0 ? nil : Holding(bytes: resized, blocks: 3)))
        let losses = image.losses
        #expect(
            losses.unmatched_frees == 0 && losses.lost_allocations == 0 && losses.healed_slots == 0
                && losses.lost_stacks == 0)
        // By libunwind, whose stacks begin in our own frames.
        let other = try Scratch()
        let slow = try other.record(
            ["\(scratch.path)/names"], options: ["--quiet", "-o", ".", "--unwind", "libunwind"],
            library: Built.interposer)
        #expect(slow == plain)
        let rows = { (image: HeapImage) in
            try Reduced(image).reduction.rows.filter { $0.blocks > 0 }.map { [$0.bytes, $0.blocks] }.sorted {
                $0.lexicographicallyPrecedes($1)
            }
        }
        #expect(try rows(Recording(scratch: other, outcome: slow).image(of: "names")) == rows(image))
    }

    /// Programs find out by weak symbols whether an allocator is there: in a child without it, it is not.
    @Test(arguments: [
        ("-Wl,--no-as-needed -ljemalloc", "jemalloc"), ("-DTCMALLOC -Wl,--no-as-needed -ltcmalloc_minimal", "tcmalloc"),
    ])
    func anAllocatorsOwnFunctionsAreNotInherited(flags: String, name: String) throws {
        let scratch = try Scratch()
        try scratch.prepare("c++ -std=c++17 -O1 -g '\(Built.root)/Tests/Programs/allocator_names.cc' -o names \(flags)")
        try scratch.write(
            "weak.c",
            """
            #include <stdio.h>
            #include <stdlib.h>
            extern void *mallocx(size_t, int) __attribute__((weak));
            extern void *tc_malloc(size_t) __attribute__((weak));
            int main(void) { printf("%d %d %s\\n", mallocx != NULL, tc_malloc != NULL, getenv("LD_PRELOAD")); \
            return 0; }
            """)
        try scratch.prepare("cc -O0 -fPIE -o weak weak.c")
        let weak = "\(scratch.path)/weak"
        #expect(
            try scratch.record([weak], options: ["--quiet", "-o", "."], library: Built.interposer).output
                == "0 0 \(Built.interposer)\n")
        let child = try scratch.record(["./names", weak], options: ["--quiet", "-o", "."], library: Built.interposer)
        #expect(child.output.split(separator: "\n").last == "0 0 \(Built.interposer)", "\(child.output)")
        // Where the allocator itself is inherited its library goes with it.
        let path = String(
            decoding: try scratch.shell("ldd ./names | awk '/\(name)/ { print $3 }'").output.utf8.dropLast(),
            as: UTF8.self)
        let own = "\(Built.interposer.dropLast("libheapsum.so".count))libheapsum-\(name).so"
        let both = try scratch.record(
            [weak], options: ["--quiet", "-o", "."], library: Built.interposer, variables: ["LD_PRELOAD": path])
        #expect(both.output == "\(name == "jemalloc" ? "1 0" : "0 1") \(Built.interposer):\(own):\(path)\n")
    }

    /// A free that went past us leaves a block booked. Where the next block at its place is in another map, its own
    /// free must find it, and not the older one.
    @Test(arguments: ["", "-DWITHOUT_USABLE_SIZE"]) func aFreeTakesTheNewestBlockAtItsPlace(flags: String) throws {
        let scratch = try Scratch()
        try scratch.prepare("cc -O1 -g -shared -fPIC \(flags) '\(Built.root)/Tests/Programs/bump.c' -o libbump.so")
        try scratch.prepare(
            "cc -O1 -g -fno-builtin-malloc '\(Built.root)/Tests/Programs/forgets.c' -o forgets ./libbump.so "
                + "-Wl,-rpath,'$ORIGIN'")
        let plain = try scratch.run(["./forgets"])
        // Until it is noticed such a block is booked in one map and the next one in another: the checks would call that
        // broken.
        let variables = scratch.recordingVariables(["HEAPSUM_CHECK": nil])
        let recording = Recording(scratch: scratch, outcome: try scratch.run(["./forgets"], variables: variables))
        #expect(plain.output == "25\n" && recording.outcome == plain, "\(recording.outcome)")
        let image = try recording.image(of: "forgets"), reduced = try Reduced(image)
        var live: [String: UInt64] = [:]
        for row in reduced.reduction.rows where row.blocks > 0 {
            live[reduced.functions(row).first ?? "", default: 0] += row.blocks
        }
        #expect(live["second"] == nil, "\(live)")
        #expect(image.losses.unmatched_frees == 0 && image.losses.healed_slots > 0)
        #expect(reduced.totals.history.map { $0.allocatedBlocks - $0.freedBlocks } == reduced.totals.liveBlocks)
    }

    @Test(arguments: [
        "-DOWN_MALLOC", "-l:libjemalloc.a -ldl", "-Wl,--whole-archive -l:libtcmalloc_minimal.a -Wl,--no-whole-archive",
    ])
    func anAllocatorInTheProgramIsSaid(flags: String) throws {
        let scratch = try Scratch()
        try build(flags, into: scratch)
        let plain = try scratch.run(["./allocators"])
        let recorded = try scratch.record(["./allocators"], options: [], library: Built.interposer)
        #expect(recorded.output == plain.output && recorded.exitStatus == plain.exitStatus && plain.exitStatus == 0)
        #expect(
            recorded.messages.contains(
                "made no allocation that could be seen: not recorded, as it has a malloc of its own (./allocators "
                    + "defines it)"
            ), "\(recorded.messages)")
    }
}
