// Leaks that are in public trackers, in Debian's own programs: docs/leaks.md names them. Valgrind says how much each
// loses on this machine.

import Glibc
import TestSupport
import Testing

@Suite struct KnownLeakTests {
    struct Leak: Sendable, CustomTestStringConvertible {
        var name: String
        var file: String
        var script: String
        var interpreter: [String]
        /// A function that is in the stacks of the leaked blocks, and in no others.
        var function: String
        var testDescription: String { name }
    }

    static let leaks = [
        Leak(
            name: "CPython's load_extension, gh-154109", file: "extension.py",
            script: """
                import sqlite3
                connection = sqlite3.connect(":memory:")
                connection.enable_load_extension(True)
                for _ in range(500):
                    try: connection.load_extension("nothing")
                    except sqlite3.Error: pass
                """, interpreter: ["env", "PYTHONMALLOC=malloc", "/usr/bin/python3"], function: "sqlite3_load_extension"
        ),
        Leak(
            name: "Ruby's grapheme_clusters, bug 20150", file: "clusters.rb",
            script: """
                text = "hello world".encode(Encoding::UTF_32LE)
                500.times { text.grapheme_clusters }
                """, interpreter: ["/usr/bin/ruby"], function: "onig_compile_ruby"),
    ]

    @Test(arguments: leaks) func whatIsLostIsWhatValgrindSays(leak: Leak) throws {
        let scratch = try Scratch()
        try scratch.write(leak.file, leak.script)
        let valgrind = try scratch.run(
            [
                "valgrind", "--trace-children=yes", "--leak-check=full", "--num-callers=40", "--run-cxx-freeres=no",
                "--show-leak-kinds=definite,indirect,possible",
            ] + leak.interpreter + [leak.file])
        // Records of lost blocks, each with its stack; the last words of its head are "loss record N of M".
        var records: [(bytes: Int, blocks: Int)] = [], record = (bytes: 0, blocks: 0), isLost = false
        for line in valgrind.messages.split(separator: "\n") {
            let words = line.split(separator: " ").map { $0.filter { $0 != "," && $0 != "(" } }
            if line.contains("in loss record") {
                isLost =
                    line.contains("definitely lost") || line.contains("indirectly lost")
                    || line.contains("possibly lost")
                let at = words.firstIndex(of: "blocks") ?? 0
                guard at > 2, let blocks = Int(words[at - 1]) else { continue }
                // "N bytes in" or "N (D direct, I indirect) bytes in": what is indirect has a record of its own.
                record = ((words.firstIndex(of: "direct").flatMap { Int(words[$0 - 1]) } ?? Int(words[1]) ?? 0), blocks)
            } else if isLost && line.contains(": \(leak.function) ") {
                records.append(record)
                isLost = false
            }
        }
        // The leak's blocks have one size; others are lost by the same function, too.
        let most = try #require(records.max { $0.bytes < $1.bytes }, "\(valgrind.messages.suffix(3000))")
        let size = most.bytes / most.blocks
        func blocks(_ records: [(bytes: Int, blocks: Int)]) -> Int {
            records.reduce(0) { $0 + ($1.bytes == $1.blocks * size ? $1.blocks : 0) }
        }
        _ = try scratch.record(
            leak.interpreter + [leak.file], options: ["--quiet", "-o", "images", "--leaks"], library: Built.interposer)
        let image = try #require(try scratch.shell("ls -S images/*.heap | head -1").output.split(separator: "\n").first)
        let told = try scratch.run(
            [
                Built.products + "/heapsum", "leaks", "--verdict", "definite,indirect,possible", "--format", "csv",
                String(image),
            ])
        var found: [(bytes: Int, blocks: Int)] = []
        for line in told.output.split(whereSeparator: \.isNewline) where line.contains(leak.function) {
            let cells = line.split(separator: ",", maxSplits: 3).map(String.init)
            found.append((Int(cells[1]) ?? 0, Int(cells[2]) ?? 0))
        }
        // Words that the last calls left on the stack may hold a block or two.
        #expect(
            blocks(records) >= 498 && abs(blocks(found) - blocks(records)) <= 2,
            "\(found) and by Valgrind \(records)")
    }
}
