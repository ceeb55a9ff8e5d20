// A running program is read at one moment: totals, rows, sizes and what filters leave are sums over the same blocks,
// while it allocates and frees as fast as it can.

import Glibc
import Reduce
import Report
import TestSupport
import Testing
import Text

@testable import HeapImage

@Suite struct MomentTests {
    @Test func allNumbersOfAReportAreOfOneMoment() throws {
        let scratch = try Scratch()
        try scratch.write(
            "churn.c",
            """
            #include <fcntl.h>
            #include <stdlib.h>
            #include <unistd.h>
            int main(void) {
                static void *blocks[20000];
                unsigned random = 1;
                for (long i = 0;; i++) {
                    random = random * 1664525 + 1013904223;
                    void **block = &blocks[(random >> 8) % 20000];
                    free(*block);
                    *block = malloc(16 + (random >> 20) % 3000);
                    if (i == 100000) close(open("grown", O_CREAT | O_WRONLY, 0600));
                }
            }
            """)
        try scratch.prepare("cc -O1 -g -o churn churn.c")
        let running = try scratch.start(
            ["./churn"], variables: ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path])
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        #expect(eventually { access(scratch.file("grown"), F_OK) == 0 })
        let path = try #require(scratch.names.first { $0.hasSuffix(".heap") }).description
        for _ in 0 ..< 5 {
            let reduction = Reduction()
            try reduction.add(HeapImage(path: scratch.file(path)))
            let input = try #require(reduction.inputs.first)
            #expect(
                input.kind == "image" && input.state == "running" && input.passedOver.isEmpty && !input.damaged,
                "\(input.damages)")
            let totals = reduction.totals
            #expect(totals.liveBlocks > 10_000)
            // Another pass over the blocks, and one for each class of sizes.
            var (bytes, blocks) = (UInt64(0), UInt64(0))
            reduction.forEachLiveBlock { (block: LiveBlock, _: Row) in
                bytes += block.bytes
                blocks += 1
            }
            #expect(bytes == totals.liveBytes && blocks == totals.liveBlocks)
            let names = FrameNames(reduction)
            let sizes = RowSelection(reduction, names: names, by: .size).rows
            #expect(sizes.reduce(0) { $0 + $1.bytes } == totals.liveBytes)
            // What is old and what is new are all there is.
            var (old, new) = (BlockFilter(), BlockFilter())
            (old.olderThan, new.newerThan) = (0.05, 0.05)
            let parts = [old, new].map { RowSelection(reduction, names: names, blocks: $0).passing }
            #expect(
                parts[0].blocks + parts[1].blocks == totals.liveBlocks
                    && parts[0].bytes + parts[1].bytes == totals.liveBytes)
            let distributions = reduction.distributions(of: reduction.rows).all
            #expect(distributions.sizes.reduce(0) { $0 + $1.bytes } == totals.liveBytes)
            usleep(20_000)
        }
    }

    @Test func withoutAPlaceForACopyItIsSaid() throws {
        let scratch = try Scratch()
        let running = try scratch.start(
            ["sleep", "60"], variables: ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path])
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        #expect(eventually { scratch.names.contains { $0.hasSuffix(".heap") } })
        let path = scratch.file(try #require(scratch.names.first { $0.hasSuffix(".heap") }))
        let outcome = try scratch.run([Built.products + "/heapsum", path], variables: ["TMPDIR": "/nowhere"])
        #expect(
            outcome.exitStatus == 0
                && outcome.messages.contains(
                    "numbers of a running program are of different moments: /nowhere: no temporary file can be made "
                        + "here"
                ), "\(outcome)")
    }
}
