// make-log: a log of so many bytes and stacks, in the form of AIX's debug malloc, for the benchmarks of
// reducing. Equal arguments make equal logs.

import ArgumentParser
import Glibc
import TestSupport

@main
struct MakeLog: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make-log",
        abstract: "Makes an AIX allocation log for benchmarks.",
        discussion: "EXAMPLE\n  make-log --bytes 2000000000 --stacks 20000 big.log")

    @Argument(help: "The log to write.")
    var path: String

    @Option(help: "Bytes of the log, to the nearest record.")
    var bytes = 2_000_000_000

    @Option(help: "Unique stacks.")
    var stacks = 20_000

    @Option(help: "Frames of each stack.")
    var depth = 12

    @Option(help: "Seed of the random numbers.")
    var seed: UInt64 = 1

    @Flag(help: "With the lines that log:extended adds.")
    var extended = false

    func validate() throws {
        guard bytes >= 0, stacks > 0, depth > 0, depth < 1000 else { throw ValidationError("Bytes, stacks and depth must be numbers that a log can have.") }
    }

    func run() throws {
        var random = SeededGenerator(seed: seed)
        // A tree as programs have it: the outer frames are shared, and the inner ones tell stacks apart.
        let tracebacks = (0 ..< stacks).map { index -> [UInt8] in
            var rest = index, text = "Allocation traceback:\n"
            for level in 0 ..< depth {
                let way = level == 0 ? 0 : level == 1 ? index : rest % 4
                if level > 1 { rest /= 4 }
                let address = 0x1000_0000 + level * 0x10_0000 + way * 0x24
                text += "0x" + String(address, radix: 16, uppercase: true) + " " + (level == 0 ? "malloc" : "function_\(level)_\(way)") + "\n"
            }
            return Array((text + "\n").utf8)
        }
        guard let file = fopen(path, "we") else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
        var buffer = Array("Current allocation report:\n\n".utf8)
        var written = 0, number = 0, address = 0x3000_0010
        while written + buffer.count < bytes {
            number += 1
            // Mostly small, as heaps are; one of a hundred is large.
            let size = number % 100 == 0 ? Int.random(in: 512 ..< 20_000, using: &random) : Int.random(in: 1 ..< 200, using: &random)
            buffer += Array("Allocation #\(number): 0x\(String(address, radix: 16, uppercase: true))\nAllocation size: 0x\(String(size, radix: 16, uppercase: true))\nAllocated from heap: 0\n".utf8)
            if extended { buffer += Array("Process ID: 4711\nThread ID: 0x1\nClock time: \(1_700_000_000 + number)\nSequence number: \(number)\n".utf8) }
            buffer += tracebacks[Int.random(in: 0 ..< stacks, using: &random)]
            address += (size + 31) & ~15
            if buffer.count > 1 << 20 {
                written += fwrite(buffer, 1, buffer.count, file)
                buffer.removeAll(keepingCapacity: true)
            }
        }
        fwrite(buffer, 1, buffer.count, file)
        guard fclose(file) == 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
    }
}
