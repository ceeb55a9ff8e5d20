// make-image: an image of so many live blocks and stacks, for the benchmarks of reading and reducing.
// Equal arguments make equal images.

import ArgumentParser
import CHeapImage
import TestSupport

@main
struct MakeImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make-image",
        abstract: "Makes a heap image for benchmarks.",
        discussion: "EXAMPLE\n  make-image --blocks 10000000 --stacks 20000 --sparse big.heap")

    @Argument(help: "The image to write; no file is overwritten.")
    var path: String

    @Option(help: "Live blocks.")
    var blocks = 10_000_000

    @Option(help: "Unique stacks.")
    var stacks = 20_000

    @Option(help: "Frames of each stack.")
    var depth = 24

    @Option(help: "Seed of the random sizes.")
    var seed: UInt64 = 1

    @Flag(help: "As a program writes it, with the live map in pieces; without it a packed image.")
    var sparse = false

    func validate() throws {
        guard blocks >= 0, stacks > 0, stacks < 1 << 25, depth > 0, depth < 1000 else {
            throw ValidationError("Blocks, stacks and depth must be in a range that an image can have.")
        }
    }

    func run() throws {
        var random = SeededGenerator(seed: seed)
        var builder = ImageBuilder(kind: sparse ? HEAP_KIND_RUNNING : HEAP_KIND_PACKED)
        let program = builder.addModule("/usr/bin/benchmark", buildID: [0xBE, 0x4C, 1])
        let library = builder.addModule("/usr/lib/libbenchmark.so", buildID: [0xBE, 0x4C, 2])
        // A tree as programs have it: the outer frames are shared, and each level has a few ways inward.
        for index in 0 ..< stacks {
            var rest = index
            var frames: [UInt64] = []
            for level in 0 ..< depth {
                let way = level < depth - 8 ? 0 : rest % 4
                if level >= depth - 8 { rest /= 4 }
                if level == depth - 1 { frames.append(heap_frame_make(library, UInt64(0x1000 + index * 4))) }
                frames.append(
                    heap_frame_make(level % 3 == 0 ? library : program, UInt64(0x10000 + level * 256 + way * 16)))
            }
            _ = builder.addStack(frames.reversed())
        }
        _ = builder.addThread(tid: 4242)
        var address: UInt64 = 0x5555_5555_0010
        for index in 0 ..< blocks {
            // Mostly small, as heaps are; one of a hundred is large.
            let bytes =
                index % 100 == 0
                ? UInt64.random(in: 512 ..< 20_000, using: &random) : UInt64.random(in: 1 ..< 200, using: &random)
            builder.addBlock(
                address: address, bytes: bytes, stack: UInt32.random(in: 2 ..< UInt32(stacks + 2), using: &random),
                tick: UInt32(index & 0xFFFF))
            address += max(32, (bytes + 8 + 15) & ~15)
        }
        try builder.write(to: path)
    }
}
