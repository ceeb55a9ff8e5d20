// What malloc has of the kernel against what the program has of malloc: by numbers made up, and by the program that
// only looks like a leak.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct AllocatorReportTests {
    private func report(allocatorKB: UInt32, blocks: Int, bytes: UInt64, sample: heap_sample? = nil) throws -> String {
        var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
        builder.header.residence = heap_residence(
            measured_ns: 90_000_000_000, allocator_kb: allocatorKB, anonymous_kb: 0, stacks_kb: 0, files_kb: 0,
            shared_kb: 0, image_kb: 0, swapped_kb: 0, reserved: 0)
        builder.header.ended_ns = 100_000_000_000
        if let sample { builder.timeline.append(sample) }
        let stack = builder.addStack([heap_frame_make(HEAP_MODULE_NONE, 0x1000)])
        for number in 0 ..< blocks {
            builder.addBlock(address: UInt64(number + 1) << 24, bytes: bytes, stack: stack, tick: 1)
        }
        let image = try HeapImage(MemorySource(builder.bytes(), name: "a.heap"), presence: .gone)
        let out = TextOutput()
        try AllocatorReport(style: Style()).write(image, image.census(), to: out)
        return out.text
    }

    @Test func whatIsRetainedIsNotLeaked() throws {
        #expect(
            try report(allocatorKB: 30_000, blocks: 10, bytes: 1000) == """

                Allocator, after 90 s
                        30,720,000  resident: the part of malloc's memory that was touched
                            10,000  held by the program then, in 10 blocks, as it requested them
                               160  headers and rounding, about
                        30,709,840  free, 99.9%: kept by malloc for later, or in gaps between blocks
                  Retained or fragmented by the allocator, not leaked: more of malloc's memory is free than held.
                  malloc_trim(0) gives back whole free pages, 30,709,840 bytes at the most; \
                MALLOC_ARENA_MAX=2 and
                  MALLOC_TRIM_THRESHOLD_=131072 in the environment keep less. What it was for: heapsum --at peak a.heap

                """)
        // The moment of the measure counts, not that of the image: then the blocks were held.
        let held = heap_sample(time_ns: 89_000_000_000, live_bytes: 29_000_000, live_blocks: 40_000, rss_bytes: 0)
        let then = try report(allocatorKB: 30_000, blocks: 10, bytes: 1000, sample: held)
        #expect(
            then.contains("29,000,000  held by the program then, in 40,000 blocks") && !then.contains("not leaked"),
            "\(then)")
    }

    @Test func whatWasNeverTouchedCostsNothing() throws {
        let text = try report(allocatorKB: 100, blocks: 3, bytes: 1 << 20)
        #expect(
            text.contains("3,043,328  requested and never touched, or swapped out: takes no memory")
                && !text.contains("free"), "\(text)")
        #expect(try report(allocatorKB: 0, blocks: 1, bytes: 1) == "")
    }

    @Test func aHeapThatWasDrainedIsToldFromALeak() throws {
        // 40 MB in small blocks, all freed but the last, which keeps the allocator from giving the heap's end back.
        let scratch = try Scratch()
        try scratch.write(
            "drained.c",
            """
            #include <fcntl.h>
            #include <stdlib.h>
            #include <string.h>
            #include <unistd.h>
            int main(void) {
                static char *blocks[40000];
                for (int i = 0; i < 40000; i++) memset(blocks[i] = malloc(1000), 1, 1000);
                for (int i = 0; i < 39999; i++) free(blocks[i]);
                close(open("drained", O_CREAT | O_WRONLY, 0600));
                for (;;) pause();
            }
            """)
        try scratch.prepare("cc -g -o drained-program drained.c")
        let running = try scratch.start(
            [Built.heaprun, "--quiet", "-o", "out", "./drained-program"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer], directory: scratch.path)
        let pid = try running.child()
        #expect(eventually { access("\(scratch.path)/drained", F_OK) == 0 })
        let dump = try scratch.run([Built.heapdump, "\(pid)"])
        kill(pid, SIGKILL)
        _ = try running.wait()
        let path = String(dump.output.split(separator: "\n").first ?? "")
        let info = try scratch.run([Built.products + "/heapsum", "info", path], directory: scratch.path)
        #expect(
            info.exitStatus == 0 && info.output.contains("Retained or fragmented by the allocator, not leaked"),
            "\(dump) \(info)")
        #expect(info.output.contains("1,000  held by the program then, in 1 block,"), "\(info.output)")
    }
}
