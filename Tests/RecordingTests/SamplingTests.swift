// Sampled recordings: estimates held against what the program itself counted, over many seeds of the recorder's
// generators, which make each run the same on any machine; and the program's behaviour against a plain run's.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

/// What a function of Tests/Programs/mix.c says that it holds and has allocated.
private struct Truth {
    var function: String
    var bytes, blocks, allocatedBytes, allocatedBlocks: Double

    static func of(_ output: String) throws -> [Truth] {
        try output.split(separator: "\n").map { line in
            let words = line.split(separator: " "), numbers = words.dropFirst().compactMap { Double($0) }
            guard numbers.count == 4 else { throw Failure("mix says \(line)") }
            return Truth(
                function: String(words[0]), bytes: numbers[0], blocks: numbers[1], allocatedBytes: numbers[2],
                allocatedBlocks: numbers[3])
        }
    }
}

/// What an image says of a function, with the variance of what is live.
private struct Estimate {
    var bytes = 0.0, blocks = 0.0, allocatedBytes = 0.0, allocatedBlocks = 0.0, freedBlocks = 0.0, temporary = 0.0
    var variance = Variance()

    init(_ reduced: Reduced, _ function: String) {
        for row in reduced.reduction.rows where reduced.functions(row).first == function {
            bytes += Double(row.bytes)
            blocks += Double(row.blocks)
            allocatedBytes += Double(row.history?.allocatedBytes ?? 0)
            allocatedBlocks += Double(row.history?.allocatedBlocks ?? 0)
            freedBlocks += Double(row.history?.freedBlocks ?? 0)
            temporary += Double(row.history?.temporaryBlocks ?? 0)
            if let more = row.variance { variance += more }
        }
    }
}

@Suite struct SamplingTests {
    private func record(
        _ arguments: [String] = [], interval: Int, seed: Int, allocator: String? = nil
    ) throws -> (truths: [Truth], image: HeapImage, reduced: Reduced) {
        var variables: [String: String?] = ["HEAPSUM_SAMPLE": "\(interval)", "HEAPSUM_SAMPLE_SEED": "\(seed)"]
        if let allocator { variables["LD_PRELOAD"] = "\(Built.interposer):\(allocator)" }
        let recording = try Scratch().recordProgram("mix", arguments, variables: variables)
        guard recording.outcome.exitStatus == 0 else { throw Failure("mix ended with \(recording.outcome)") }
        let image = try recording.image(of: "mix")
        return (try Truth.of(recording.outcome.output), image, try Reduced(image))
    }

    @Test func estimatesAreUnbiasedAndTheirIntervalsHoldTheTruth() throws {
        let seeds = 50
        var sums: [String: (estimates: [Double], truths: [Double])] = [:]
        var held = 0, intervals = 0
        for seed in 1 ... seeds {
            // The sizes are from far below the interval to far above it.
            let (truths, image, reduced) = try record(interval: 512, seed: seed)
            #expect(image.sampleInterval == 512 && !image.damaged)
            // The recorder's weights and the reader's are the same numbers: nothing is left to be settled.
            #expect(try image.census().settledBlocks == 0)
            for truth in truths {
                let estimate = Estimate(reduced, truth.function)
                let numbers = [
                    estimate.bytes, estimate.blocks, estimate.allocatedBytes, estimate.allocatedBlocks,
                ]
                let expected = [truth.bytes, truth.blocks, truth.allocatedBytes, truth.allocatedBlocks]
                var sum = sums[truth.function] ?? (numbers.map { _ in 0 }, expected)
                for index in numbers.indices { sum.estimates[index] += numbers[index] / Double(seeds) }
                sums[truth.function] = sum
                // What is freed at once, or grows at once, is temporary; of the rest the very last block alone.
                let isTemporary = ["passing", "grown"].contains(truth.function)
                #expect(
                    isTemporary ? estimate.temporary == estimate.freedBlocks : estimate.temporary < 4,
                    "\(truth.function): \(estimate)")
                if truth.bytes == 0 {
                    #expect(estimate.bytes == 0 && estimate.blocks == 0, "\(truth.function) holds nothing")
                    continue
                }
                intervals += 2
                if abs(estimate.bytes - truth.bytes) <= 1.96 * estimate.variance.errorBytes { held += 1 }
                if abs(estimate.blocks - truth.blocks) <= 1.96 * estimate.variance.errorBlocks { held += 1 }
            }
        }
        #expect(sums.count == 7 && intervals == seeds * 5 * 2)
        // Of each function within 2 %, of all together within 1 %.
        for (function, sum) in sums {
            for (estimate, truth) in zip(sum.estimates, sum.truths) where truth > 0 {
                #expect(abs(estimate / truth - 1) < 0.02, "\(function): \(estimate) for \(truth)")
            }
        }
        for index in 0 ..< 4 {
            let estimate = sums.values.reduce(0) { $0 + $1.estimates[index] }
            let truth = sums.values.reduce(0) { $0 + $1.truths[index] }
            #expect(abs(estimate / truth - 1) < 0.01, "\(estimate) for \(truth)")
        }
        let share = Double(held) / Double(intervals)
        #expect(share > 0.9 && share < 0.99, "\(share) of the 95 % intervals hold the truth")
    }

    /// Their functions call each other through the hooks, and each block is drawn once all the same.
    @Test(arguments: ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"]) func otherAllocators(name: String) throws {
        let seeds = 8.0
        var bytes = 0.0, variance = 0.0, allocated = 0.0, truth: [Truth] = []
        for seed in 1 ... Int(seeds) {
            let (truths, image, reduced) = try record(interval: 512, seed: seed, allocator: name)
            #expect(image.allocator.contains(name.prefix(9)) && !image.damaged, "\(image.allocator)")
            #expect(try image.census().settledBlocks == 0)
            truth = truths
            for estimate in truths.map({ Estimate(reduced, $0.function) }) {
                bytes += estimate.bytes / seeds
                variance += estimate.variance.bytes / (seeds * seeds)
                allocated += estimate.allocatedBlocks / seeds
            }
        }
        let error = bytes - truth.reduce(0) { $0 + $1.bytes }
        #expect(abs(error) < 4 * variance.squareRoot(), "\(error) off, where \(variance.squareRoot()) is expected")
        // A second draw for each call, or none in some, would be far from this.
        let calls = truth.reduce(0) { $0 + $1.allocatedBlocks }
        #expect(abs(allocated / calls - 1) < 0.05, "\(allocated) for \(calls)")
    }

    @Test func threadsDrawByThemselves() throws {
        for seed in 1 ... 3 {
            let (truths, image, reduced) = try record(["4"], interval: 16384, seed: seed)
            #expect(try image.census().settledBlocks == 0)
            let bytes = truths.reduce(0) { $0 + $1.bytes }
            let estimates = truths.map { Estimate(reduced, $0.function) }
            let variance = estimates.reduce(0) { $0 + $1.variance.bytes }
            let error = abs(estimates.reduce(0) { $0 + $1.bytes } - bytes)
            #expect(error < 4 * variance.squareRoot(), "\(error) off, where \(variance.squareRoot()) is expected")
            #expect(variance.squareRoot() < bytes / 30)
        }
    }

    @Test func copiesSayTheSame() throws {
        let (_, image, _) = try record(interval: 4096, seed: 7)
        let census = try image.census(), scratch = try Scratch()
        try image.pack(to: scratch.file("copy.heap"))
        let copy = try HeapImage(path: scratch.file("copy.heap"))
        try copy.pack(to: scratch.file("second.heap"))
        for again in [copy, try HeapImage(path: scratch.file("second.heap"))] {
            let other = try again.census()
            #expect(again.sampleInterval == 4096 && other.stacks == census.stacks)
            #expect(other.liveBytes == census.liveBytes && other.liveBlocks == census.liveBlocks)
            #expect(other.variance == census.variance && other.peak == census.peak)
            #expect(again.lifetimes(other) == image.lifetimes(census))
            #expect(again.timeline() == image.timeline())
        }
        let peak = Double(census.peak.bytes), live = Double(census.liveBytes)
        #expect(peak >= live && peak < live * 1.2, "\(peak) at the peak, \(live) at the end")
    }

    /// With one byte in one every block of the sizes that the program asks for is drawn: the same test as of an exact
    /// recording, by way of the sampled one's paths.
    @Test func eachFunctionDrawsAndBooksAsItShould() throws {
        for variables in [["HEAPSUM_SAMPLE": "1"], ["HEAPSUM_SAMPLE": "1", "HEAPSUM_UNWIND": "libunwind"]] {
            let recording = try Scratch().recordProgram("functions", variables: variables)
            let image = try recording.image(of: "functions"), reduced = try Reduced(image)
            let lines = recording.outcome.output.split(separator: "\n").map {
                $0.split(separator: " ").map(String.init)
            }
            #expect(lines.count > 20 && image.sampleInterval == 1)
            for line in lines {
                let name = line[0], frees = try interposedNames("DELETE").contains(name) || name.contains("free")
                let holding = reduced.holding(frees ? "give_\(name)" : "leak_\(name)", anywhere: true)
                #expect(holding.blocks == UInt64(line[1]) && holding.bytes == UInt64(line[2]), "\(name): \(holding)")
                if frees { #expect(holding.allocatedBlocks == 2 && holding.freedBlocks == 1, "\(name): \(holding)") }
            }
            #expect(image.losses.unmatched_frees == 0 && image.losses.healed_slots == 0)
        }
    }

    /// A free that is passed by unseen leaves a block live, or heals a slot, whatever share of the blocks is drawn. The
    /// blocks are in parts of the heap that are 1 GB apart, so their pages share the bytes that count drawn blocks.
    @Test(
        arguments: [1, 64, 1024, 32768, 524288],
        ["", "libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"])
    func noFreeOfADrawnBlockIsMissed(interval: Int, allocator: String) throws {
        var variables = ["HEAPSUM_SAMPLE": "\(interval)"]
        if !allocator.isEmpty { variables["LD_PRELOAD"] = "\(Built.interposer):\(allocator)" }
        // The checks take the general way through the hooks; without them it is the common one, and mixed stacks' one.
        for more in [["HEAPSUM_CHECK": "1"], ["HEAPSUM_SAMPLE_SEED": "1"], ["HEAPSUM_PYTHON": "1"]] {
            let recording = try Scratch().recordProgram("exchange", variables: variables.merging(more) { $1 })
            let image = try recording.image(of: "exchange"), reduced = try Reduced(image)
            let drawn = reduced.holding("give").allocatedBlocks
            #expect(drawn > 0 && reduced.holding("give").blocks == 0 && reduced.holding("move").blocks == 0)
            #expect(allocator.isEmpty || image.allocator.contains(allocator.prefix(9)))
            #expect(image.losses.unmatched_frees == 0 && image.losses.healed_slots == 0)
        }
        guard interval == 1 else { return }
        let recording = try Scratch().recordProgram("exchange", ["keep"], variables: variables)
        let reduced = try Reduced(recording.image(of: "exchange"))
        let given = reduced.holding("give"), moved = reduced.holding("move")
        #expect(recording.outcome.output == "\(given.blocks + moved.blocks) \(given.bytes + moved.bytes)\n")
    }

    @Test(arguments: [
        ["/usr/bin/python3", "-c", "import json; print(json.dumps([str(i) * 40 for i in range(20000)])[-99:])"],
        ["/usr/bin/perl", "-e", "my %h; $h{$_} = $_ x 10 for 1..50000; print scalar keys %h; exit 5"],
        ["/bin/bash", "-c", "for i in 1 2 3; do echo $i | cat | sort; done; exit 3"],
        ["/usr/bin/sqlite3", ":memory:", "create table t(a); insert into t values (1), (2); select sum(a) from t;"],
    ]) func programsBehaveAsWithoutIt(command: [String]) throws {
        let plain = try Scratch(), recorded = try Scratch()
        let expected = try plain.run(command)
        for interval in ["1", "4096", "524288"] {
            let outcome = try recorded.run(
                command, variables: recorded.recordingVariables(["PYTHONMALLOC": "malloc", "HEAPSUM_SAMPLE": interval]))
            #expect(outcome == expected, "\(interval)")
        }
    }

    @Test func otherAllocatorsAreSampledInsideOfTheirOutermostCall() throws {
        // One whose calloc calls malloc by name, through the recorder: drawn once for all that.
        let scratch = try Scratch()
        try scratch.write(
            "nested.c",
            """
            #define _GNU_SOURCE
            #include <dlfcn.h>
            #include <stddef.h>
            #include <string.h>
            extern void *__libc_malloc(size_t), __libc_free(void *), *__libc_realloc(void *, size_t);
            extern void *__libc_memalign(size_t, size_t);
            void *malloc(size_t n) { return __libc_malloc(n); }
            void free(void *p) { __libc_free(p); }
            void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
            void *calloc(size_t n, size_t m) { void *p = malloc(n * m); return p ? memset(p, 0, n * m) : p; }
            void *memalign(size_t a, size_t n) { return __libc_memalign(a, n); }
            """)
        try scratch.write(
            "zeroed.c",
            """
            #include <stdlib.h>
            static void *volatile keep;
            __attribute__((noinline)) void leave(void) { for (int i = 0; i < 40000; i++) keep = calloc(1, 100); }
            int main(void) { leave(); return 0; }
            """)
        #expect(try scratch.shell("cc -shared -fPIC -o nested.so nested.c && cc -o zeroed zeroed.c").exitStatus == 0)
        let outcome = try scratch.run(
            ["\(scratch.path)/zeroed"],
            variables: scratch.recordingVariables([
                "LD_PRELOAD": "\(Built.interposer):\(scratch.path)/nested.so", "HEAPSUM_SAMPLE": "4096",
                "HEAPSUM_SAMPLE_SEED": "3",
            ]))
        #expect(outcome.exitStatus == 0)
        let recording = Recording(scratch: scratch, outcome: outcome)
        let held = try Reduced(try recording.image(of: "zeroed")).holding("leave", anywhere: true)
        // 970 draws: 3 % is a standard error.
        #expect(held.blocks > 34_000 && held.blocks < 46_000, "\(held)")
    }

    @Test func whatMakesNoSenseIsSaidAndAllIsRecorded() throws {
        for value in ["", "12K", "-1", "1073741825"] {
            let scratch = try Scratch()
            let recording = try scratch.recordProgram(
                "steady", variables: ["HEAPSUM_SAMPLE": value, "HEAPSUM_MESSAGES": "\(scratch.path)/messages"])
            #expect(try contents("\(scratch.path)/messages").contains("HEAPSUM_SAMPLE is not a number"))
            #expect(try !recording.image(of: "steady").isSampled)
        }
    }
}
