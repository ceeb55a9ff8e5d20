// A recorded program at a moment of its own choosing ("ready" on its standard output), and what heapsum leaks says of
// it then.

import Glibc
import TestSupport
import Testing

/// A row of the report.
struct VerdictRow: Equatable {
    var verdict: String
    var bytes: Int
    var blocks: Int
    var draggedBytes: Int
    var draggedBlocks: Int
    var example: String
    var stack: String
}

/// A program that runs under heaprun until it is told to end, or this value goes.
final class Watched {
    let scratch: Scratch
    let running: Running
    let pid: pid_t
    private var isOver = false

    init(
        _ arguments: [String], options: [String] = ["--quiet", "-o", "images"], variables: [String: String?] = [:]
    ) throws {
        scratch = try Scratch()
        running = try scratch.startRecorded(
            arguments, options: options, library: Built.interposer, variables: variables)
        pid = try running.child()
        let path = running.outputPath
        let isReady = try eventually(seconds: 60) { try contents(path).split(separator: "\n").contains("ready") }
        guard isReady else { throw Failure("\(arguments) never was ready: \(try contents(running.messagesPath))") }
    }

    deinit { if !isOver { _ = try? end() } }

    /// Lines of standard output before "ready".
    func lines() throws -> [String] {
        try contents(running.outputPath).split(separator: "\n").map(String.init).filter { $0 != "ready" }
    }

    func leaks(_ options: [String] = []) throws -> Outcome {
        try scratch.run([Built.products + "/heapsum", "leaks"] + options + [String(pid)])
    }

    /// The rows of all verdicts.
    func rows() throws -> [VerdictRow] {
        let outcome = try leaks(["--verdict", "all", "--format", "csv"])
        try #require(outcome.exitStatus == 0, "\(outcome)")
        return outcome.output.split(whereSeparator: \.isNewline).dropFirst().compactMap { line in
            let cells = line.split(separator: ",", maxSplits: 6, omittingEmptySubsequences: false).map(String.init)
            guard cells.count == 7, let bytes = Int(cells[1]), let blocks = Int(cells[2]), let more = Int(cells[3]),
                let moreBlocks = Int(cells[4])
            else { return nil }
            return VerdictRow(
                verdict: cells[0], bytes: bytes, blocks: blocks, draggedBytes: more, draggedBlocks: moreBlocks,
                example: cells[5], stack: cells[6])
        }
    }

    func end() throws -> Outcome {
        isOver = true
        kill(pid, SIGKILL)
        return try running.wait()
    }
}

extension [VerdictRow] {
    /// Blocks and bytes of one verdict.
    func sum(_ verdict: String) -> [Int] {
        filter { $0.verdict == verdict }.reduce([0, 0]) { [$0[0] + $1.blocks, $0[1] + $1.bytes] }
    }
}

/// Programs of Tests/Programs/leaks.
func leaksProgram(_ name: String) throws -> String { try Built.program("leaks/\(name)") }
