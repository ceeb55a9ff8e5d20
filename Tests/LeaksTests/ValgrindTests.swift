// The same program under Valgrind, which looks at its end, and under heapsum, which looks while it waits: the numbers
// are the same.

import Glibc
import TestSupport
import Testing

@Suite struct ValgrindTests {
    /// Blocks and bytes by Valgrind's summary.
    private func summary(_ arguments: [String]) throws -> [String: [Int]] {
        let scratch = try Scratch()
        let outcome = try scratch.run(
            ["valgrind", "--leak-check=full", "--show-leak-kinds=all", "--run-cxx-freeres=no", "--run-libc-freeres=no"]
                + arguments)
        var result: [String: [Int]] = [:]
        for line in outcome.messages.split(separator: "\n") {
            for (title, verdict) in [
                ("definitely lost:", "definite"), ("indirectly lost:", "indirect"), ("possibly lost:", "possible"),
                ("still reachable:", "reachable"),
            ] {
                guard let range = line.firstRange(of: title) else { continue }
                let numbers = line[range.upperBound...].split(separator: " ").compactMap {
                    Int($0.filter { $0 != "," })
                }
                if numbers.count == 2, line.contains("bytes in") && line.hasSuffix("blocks") {
                    result[verdict] = [numbers[1], numbers[0]]
                }
            }
        }
        try #require(result.count == 4, "\(outcome.messages)")
        return result
    }

    // cases: who is held by what. graphs: a tree, cycles with and without tails. inside: C++'s pointers to blocks'
    // insides.
    @Test(arguments: ["cases", "graphs", "inside"]) func theNumbersAreValgrinds(name: String) throws {
        let program = try leaksProgram(name)
        let expected = try summary([program, "end"])
        let rows = try Watched([program]).rows()
        for verdict in ["definite", "indirect", "possible", "reachable"] {
            #expect(rows.sum(verdict) == expected[verdict], "\(verdict) of \(name)")
        }
        #expect(expected["definite"] != [0, 0])
    }
}
