// Lost blocks among very many held ones: all of them are found, and nobody else is accused.

import Glibc
import TestSupport
import Testing

@Suite struct PlantedTests {
    @Test func plantedBlocksAreFoundExactly() throws {
        let rows = try Watched([try leaksProgram("planted"), "300000", "1000"]).rows()
        #expect(rows.sum("definite") == [2000, 1000 * 136 + 1000 * 152])
        #expect(rows.sum("indirect") == [1000, 1000 * 168])
        #expect(rows.sum("possible") == [0, 0])
        let leaders = rows.filter { $0.verdict == "definite" }
        #expect(
            leaders.map(\.draggedBlocks).sorted() == [0, 1000] && leaders.map(\.draggedBytes).sorted() == [0, 168_000],
            "\(leaders)")
        #expect(leaders.allSatisfy { $0.stack.contains("lose_") })
    }

    // Of another allocator's memory it isn't known what its own books are: some of the lost may be called possible.
    // None may be missed, and nobody else accused.
    @Test(arguments: ["jemalloc", "tcmalloc", "mimalloc"]) func plantedBlocksOfOtherAllocatorsAreFound(
        name: String
    ) throws {
        let program = "\(Built.root)/.build/test-programs/leaks/planted-\(name)"
        _ = try leaksProgram("planted")
        try #require(
            system(
                "c++ -std=c++17 -O1 -g -fomit-frame-pointer -o '\(program)' "
                    + "'\(Built.root)/Tests/Programs/leaks/planted.cc' -l\(name)"
            ) == 0)
        let rows = try Watched([program, "100000", "1000"]).rows()
        let lost = rows.filter { $0.verdict != "reachable" && $0.stack.contains("lose_") }
        #expect(lost.reduce(0) { $0 + $1.blocks } == 3000, "\(lost)")
        #expect(rows.sum("possible")[0] <= 3000 / 8)
        #expect(rows.sum("definite")[0] + rows.sum("indirect")[0] + rows.sum("possible")[0] == 3000)
    }
}
