// heapwatch's table in a real terminal (tmux: keys sent, screen read) and in a pipe.

import TestSupport
import Testing

@Suite struct LiveTableTests {
    static let heapwatch = Built.products + "/heapwatch"

    @Test(arguments: [80, 200]) func keysScrollTheTable(width: Int) throws {
        let scratch = try Scratch()
        let terminal = try TerminalSession(scratch, width: width, height: 10, [Self.heapwatch, "--interval", "200ms"])
        #expect(try terminal.shows("by growth since"))
        #expect(try terminal.shows("0 above, "))
        #expect(try terminal.shows(width < 130 ? "/hour    resident threads" : "anonymous        shared"))
        try terminal.send("Down")
        #expect(try terminal.shows("1 above, "))
        try terminal.send("End")
        #expect(try terminal.shows(", 0 more below"))
        try terminal.send("Home")
        #expect(try terminal.shows("0 above, "))
        // Fewer columns and lines than before.
        try terminal.tmux("resize-window -x 60 -y 8")
        #expect(
            try terminal.shows { lines in
                lines.contains { $0.hasPrefix("0 above, ") } && lines.allSatisfy { $0.count <= 60 }
            })
        try terminal.send("q")
        #expect(try terminal.shows("left with 0"))
    }

    @Test func aSignalGivesTheTerminalBack() throws {
        let scratch = try Scratch()
        let terminal = try TerminalSession(scratch, width: 100, height: 20, [Self.heapwatch, "--interval", "1h"])
        #expect(try terminal.shows("by growth since"))
        try terminal.send("C-c")
        #expect(try terminal.shows("left with 0"))
    }

    @Test func aPipeGetsTheTableOnce() throws {
        let outcome = try Scratch().run([Self.heapwatch, "--interval", "200ms"])
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.first?.hasPrefix("memory ") == true && lines.count { $0.contains("by growth since") } == 1)
        #expect(!outcome.output.contains("\u{1B}"))
    }
}
