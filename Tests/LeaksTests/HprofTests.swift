// A verdict as a Java heap dump: read by VisualVM's library and by a reader of its own (Oracles/hprof.py), and held
// against what heapsum says about blocks, holders and losses.

import Glibc
import TestSupport
import Testing

@Suite struct HprofTests {
    private static let oracles = "\(Built.root)/Tests/LeaksTests/Oracles"

    /// Writes the dump of a program that waits, and has it read; returns what the readers print.
    private func read(_ watched: Watched) throws -> Outcome {
        let heapsum = "'\(Built.products)/heapsum'"
        return try watched.scratch.shell(
            """
            set -e
            \(heapsum) leaks --format hprof -o heap.hprof \(watched.pid)
            \(heapsum) leaks --verdict all --holders --format json \(watched.pid) >leaks.json
            \(heapsum) --format records \(watched.pid) >records
            java -cp '\(Built.heapReader)' '\(Self.oracles)/HeapReader.java' heap.hprof >objects
            '\(Built.readers)' '\(Self.oracles)/hprof.py' heap.hprof leaks.json records objects
            """)
    }

    @Test func aCachesHolderKeepsWhatItHolds() throws {
        let outcome = try read(try Watched([try leaksProgram("cache")]))
        #expect(outcome.exitStatus == 0 && outcome.output.hasPrefix("1563 blocks, "), "\(outcome)")
        #expect(outcome.messages.contains("bytes more than the blocks' 589,072."), "\(outcome)")
    }

    /// Trees and cycles, kept and lost; some of the lost ones point to what is kept.
    @Test(arguments: ["graphs", "cases"]) func lostOnesKeepWhatTheyDragAlong(program: String) throws {
        let outcome = try read(try Watched([try leaksProgram(program)]))
        #expect(outcome.exitStatus == 0, "\(outcome)")
        if program == "graphs" { #expect(!outcome.output.contains(" 0 drag others"), "\(outcome)") }
    }

    /// A block of several parts: the first pointers are in the first one, and all are the block's. Its zeros take no
    /// space.
    @Test func aLargeBlockIsWhole() throws {
        let scratch = try Scratch()
        try scratch.write(
            "huge.c",
            """
            #include <stdlib.h>
            #include <unistd.h>
            void **kept;
            int main(void) {
                kept = calloc(1, (150 << 20) + 3);
                kept[0] = malloc(1000);
                kept[(150 << 17) - 1] = malloc(500);
                return write(1, "ready\\n", 6) == 6 ? pause() : 1;
            }
            """)
        try scratch.prepare("cc -O1 -g -o huge huge.c")
        let watched = try Watched([scratch.file("huge")])
        let outcome = try read(watched)
        #expect(outcome.exitStatus == 0 && outcome.output.hasPrefix("3 blocks, "), "\(outcome)")
        var status = stat()
        #expect(stat(watched.scratch.file("heap.hprof"), &status) == 0)
        #expect(status.st_size > 300 << 20 && status.st_blocks * 512 < 8 << 20, "\(status.st_size)")
    }

    @Test func whatDoesNotGoTogetherIsRefused() throws {
        let watched = try Watched([try leaksProgram("cache")])
        for options in [
            ["--holders"], ["--verdict", "definite"], ["--top", "3"], ["--frames", "3"], ["--why", "0x10"],
            ["--suppressions", "none"],
        ] {
            let outcome = try watched.leaks(["--format", "hprof", "-o", "heap.hprof"] + options)
            #expect(outcome.exitStatus == 64 && access(watched.scratch.file("heap.hprof"), F_OK) != 0, "\(outcome)")
        }
        // A dump has no pointers.
        try watched.scratch.prepare("'\(Built.heapdump)' --leaks \(watched.pid)")
        let dump = "images/cache.\(watched.pid).1.heap"
        let stored = try watched.scratch.run([
            "\(Built.products)/heapsum", "leaks", "--format", "hprof", "-o", "heap.hprof", dump,
        ])
        #expect(stored.exitStatus == 2 && stored.messages.contains("not the pointers"), "\(stored)")
        // The same heap gives the same bytes, but for the time in the head.
        let two = try watched.scratch.shell(
            "for i in 1 2; do '\(Built.products)/heapsum' leaks --format hprof \(watched.pid) | "
                + "tail -c +32 | cksum; done | uniq | wc -l")
        #expect(two.output == "1\n", "\(two)")
    }
}
