// Lost blocks among very many held ones: all of them are found, and nobody else is accused.

import TestSupport
import Testing

@Suite struct PlantedTests {
    @Test func plantedBlocksAreFoundExactly() throws {
        let rows = try Watched([try leaksProgram("planted"), "300000", "1000"]).rows()
        #expect(rows.sum("definite") == [2000, 1000 * 136 + 1000 * 152])
        #expect(rows.sum("indirect") == [1000, 1000 * 168])
        #expect(rows.sum("possible") == [0, 0])
        let leaders = rows.filter { $0.verdict == "definite" }
        #expect(leaders.map(\.draggedBlocks).sorted() == [0, 1000] && leaders.map(\.draggedBytes).sorted() == [0, 168_000], "\(leaders)")
        #expect(leaders.allSatisfy { $0.stack.contains("lose_") })
    }
}
