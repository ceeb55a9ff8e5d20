// make-log: a log of so many bytes, stacks, frames and sets, in the form of AIX's debug malloc or of a kernel's, for
// the benchmarks of reducing. Equal arguments make equal logs.

import ArgumentParser
import Glibc
import TestSupport

@main
struct MakeLog: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make-log",
        abstract: "Makes an allocation log for benchmarks.",
        discussion: "EXAMPLE\n  make-log --bytes 1000000000 --frames 240000 --named 50 --sets 3 big.log")

    @Argument(help: "The log to write.")
    var path: String

    @Option(help: "Bytes of the log, to the nearest record.")
    var bytes = 2_000_000_000

    @Option(help: "Unique stacks.")
    var stacks = 20_000

    @Option(help: "Frames of each stack.")
    var depth = 12

    @Option(help: "Distinct frames of all stacks together; 0 for a tree whose outer frames are shared.")
    var frames = 0

    @Option(help: "Of a hundred distinct frames so many have a name.")
    var named = 100

    @Option(help: "Sets of about equal size; of the form aix alone.")
    var sets = 1

    @Option(help: "The log's form: \(Form.allCases.map(\.rawValue).joined(separator: ", ")).")
    var form = Form.aix

    @Option(help: "What stands before each line: \(Prefix.allCases.map(\.rawValue).joined(separator: ", ")).")
    var prefix = Prefix.none

    @Option(help: "Seed of the random numbers.")
    var seed: UInt64 = 1

    @Flag(help: "With the lines that log:extended adds.")
    var extended = false

    @Flag(help: "Lines end in carriage return and newline.")
    var crlf = false

    func validate() throws {
        guard bytes >= 0, stacks > 0, depth > 0, depth < 1000, frames >= 0, frames <= 4_000_000, sets > 0,
            0 ... 100 ~= named
        else {
            throw ValidationError("Bytes, stacks, depth, frames, sets and named must be numbers that a log can have.")
        }
    }

    func run() throws {
        var random = SeededGenerator(seed: seed)
        let shape = StackShape(stacks: stacks, depth: depth, frames: frames, namedPercent: named)
        let ending = crlf ? "\r\n" : "\n"
        // A prefix changes with each record; without one a stack is the same text each time.
        let tracebacks = (0 ..< stacks).map { form.traceback(shape.frames(of: $0)) }
        let texts = prefix == .none ? tracebacks.map { Array($0.map { $0 + ending }.joined().utf8) } : []
        guard let file = fopen(path, "we") else {
            throw ValidationError("\(path): \(String(cString: strerror(errno)))")
        }
        var buffer: [UInt8] = []
        var written = 0, number = 0, address = 0x3000_0010, set = 0
        while written + buffer.count < bytes {
            if (written + buffer.count) / max(1, bytes / sets) >= set, set < sets {
                buffer += Array(form.heading.replacing("\n", with: ending).utf8)
                set += 1
            }
            number += 1
            // Mostly small, as heaps are; one of a hundred is large.
            let size =
                number % 100 == 0
                ? Int.random(in: 512 ..< 20_000, using: &random) : Int.random(in: 1 ..< 200, using: &random)
            let before = prefix.text(at: number)
            for line in form.head(number: number, address: address, size: size, isExtended: extended) {
                buffer += Array((before + line + ending).utf8)
            }
            let stack = Int.random(in: 0 ..< stacks, using: &random)
            if texts.isEmpty {
                for line in tracebacks[stack] { buffer += Array((before + line + ending).utf8) }
            } else {
                buffer += texts[stack]
            }
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
