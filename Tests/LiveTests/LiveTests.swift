// heaptop beside a program that does what it is told: what the table says is what the program holds, in a real terminal
// (tmux: keys sent, screen read) as well as in a pipe.

import Glibc
import HeapImage
import Screen
import TestSupport
import Testing
import Text

@testable import Live

/// Tests/Programs/told.c, recorded.
private final class Told {
    let scratch: Scratch
    let running: Running
    let pid: pid_t
    private var answers = 0

    init() throws {
        scratch = try Scratch()
        try scratch.prepare("mkfifo input")
        running = try scratch.start(
            [Built.heaprun, "--quiet", "-o", "images", try Built.program("told")],
            variables: ["HEAPSUM_LIBRARY": Built.interposer], input: scratch.file("input"))
        pid = try running.child()
        try tell("churn 1")
    }

    /// Waits until the program has done it.
    func tell(_ line: String) throws {
        let input = open(scratch.file("input"), O_WRONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(input) }
        _ = (line + "\n").withCString { write(input, $0, strlen($0)) }
        answers += 1
        let wanted = answers
        guard try eventually({ try contents(running.outputPath).split(separator: "\n").count >= wanted }) else {
            throw Failure("the program did not: \(line)")
        }
    }

    func end() throws -> Outcome {
        let input = open(scratch.file("input"), O_WRONLY | O_NONBLOCK | O_CLOEXEC)
        _ = write(input, "end\n", 4)
        close(input)
        return try running.wait()
    }
}

@Suite struct LiveTests {
    static let heaptop = Built.products + "/heaptop"

    @Test func whatIsShownIsWhatIsHeld() throws {
        let told = try Told()
        try told.tell("keep 300")
        let heap = try LiveHeap("\(told.pid)", symbolizer: .init())
        var rows = LiveRows(heap)
        rows.grouping = .function
        try rows.look(at: 100)
        rows.order(by: .live)
        let first = try #require(rows.rows.first)
        #expect(rows.label(first) == "keep_a_block")
        #expect(first.counts.bytes == 300_000 && first.counts.blocks == 300 && first.growth == 0)
        // The same blocks, by the image's live map.
        #expect(heap.totals.bytes == (try heap.image.census().liveBytes))

        try told.tell("keep 50")
        try told.tell("churn 1000")
        try rows.look(at: 110)
        rows.order(by: .growth)
        #expect(rows.rows.first?.growth == 50_000 && rows.rows.first?.minute == 50_000)
        #expect(rows.rows.first?.byteRate == 5_000 && rows.rows.first?.callRate == 5)
        rows.order(by: .rate)
        let churn = try #require(rows.rows.first)
        #expect(rows.label(churn) == "churn" && churn.counts.blocks == 0 && churn.byteRate == 50_000)

        rows.setBaseline()
        try told.tell("drop")
        try rows.look(at: 180)
        rows.order(by: .growth)
        #expect(rows.rows.last?.growth == -350_000 && rows.rows.last?.counts.blocks == 0)
        #expect(rows.byteRate == 0)
        rows.grouping = .module
        rows.order(by: .live)
        #expect(rows.rows.map(rows.label).contains { $0.hasSuffix("/told") })

        let outcome = try told.end()
        #expect(outcome.exitStatus == 3)
        try rows.look(at: 190)
        #expect(!heap.isRunning)
    }

    @Test(arguments: [80, 200]) func keysLeadThroughIt(width: Int) throws {
        let told = try Told()
        try told.tell("keep 200")
        let terminal = try TerminalSession(
            told.scratch, width: width, height: 24, [Self.heaptop, "--interval", "200ms", "\(told.pid)"])
        #expect(try terminal.shows("keep_a_block"))
        let screen = try terminal.screen
        #expect(screen[0].contains("told (PID \(told.pid))"), "\(screen)")
        #expect(screen.contains { $0.contains("200 kB") && $0.contains("keep_a_block") }, "\(screen)")
        #expect(screen.contains { $0.hasPrefix("q quit") })
        #expect(screen.allSatisfy { $0.count <= width })

        try told.tell("keep 100")
        #expect(try terminal.shows { $0.contains { $0.contains("300 kB") && $0.contains("+100 kB") } })
        try terminal.send("g")
        #expect(try terminal.shows("growth counts from now on"))
        try terminal.send("s")
        #expect(try terminal.shows(">BLOCKS"))
        try terminal.send("b")
        #expect(try terminal.shows("FUNCTION"))
        try terminal.send("Enter")
        #expect(try terminal.shows("told.c:"), "the stack has source lines")
        #expect(try terminal.shows("main"))
        try terminal.send("Escape")
        #expect(try terminal.shows(">BLOCKS"))
        try terminal.send("/ nothing_of_that_name Enter")
        #expect(try terminal.shows("no live block has a matching frame"))
        try terminal.send(
            "/ BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace")
        try terminal.send("BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace '(' Enter")
        #expect(try terminal.shows("is not a regular expression"))
        try terminal.send(
            "/ BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace")
        try terminal.send("BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace BSpace Enter")
        #expect(try terminal.shows("keep_a_block"))
        try terminal.send("h")
        #expect(try terminal.shows("GROWTH counts from now on"))
        try terminal.send("h d")
        #expect(try terminal.shows("dumped: "))
        #expect(told.scratch.names.contains("images"))
        try terminal.tmux("resize-window -x 60 -y 10")
        #expect(try terminal.shows { $0.count <= 11 && $0.contains { $0.contains("keep_a_block") } })

        #expect(try told.end().exitStatus == 3)
        #expect(try terminal.shows("; its last state"))
        try terminal.send("q")
        #expect(try terminal.shows("left with 0"))
    }

    @Test func leaksAreAskedForOnTheWay() throws {
        let told = try Told()
        try told.tell("keep 20")
        let terminal = try TerminalSession(
            told.scratch, width: 100, height: 30, [Self.heaptop, "\(told.pid)"], variables: "LC_ALL=C.UTF-8 PAGER=cat")
        #expect(try terminal.shows("keep_a_block"))
        try terminal.send("l")
        #expect(try terminal.shows("keep_a_block"))
        try terminal.send("q")
        #expect(
            try terminal.shows {
                $0.contains { $0.contains("reachable") } && $0.contains { $0.contains("left with 0") }
            })
        #expect(try told.end().exitStatus == 3)
    }

    @Test func aTerminalWithoutColoursOrUTF8HasLettersAlone() throws {
        let told = try Told()
        try told.tell("keep 20")
        let terminal = try TerminalSession(
            told.scratch, width: 80, height: 24, [Self.heaptop, "\(told.pid)"],
            variables: "LC_ALL=C TERM=vt100 NO_COLOR=1")
        #expect(try terminal.shows("keep_a_block < main"))
        #expect(try terminal.screen.allSatisfy { $0.allSatisfy(\.isASCII) })
        #expect(try told.end().exitStatus == 3)
    }

    @Test func aPipeGetsOneTable() throws {
        let told = try Told()
        try told.tell("keep 5000")
        let once = try told.scratch.run(
            [Self.heaptop, "--once", "--interval", "100ms", "--by", "function", "--sort", "blocks", "\(told.pid)"])
        #expect(once.exitStatus == 0 && once.messages.isEmpty, "\(once)")
        #expect(once.output.contains("5.0 MB    5.0 k"), "\(once)")
        #expect(!once.output.contains("\u{1B}") && !once.output.contains("q quit"))
        let list = try told.scratch.run([Self.heaptop])
        #expect(
            list.output.split(separator: "\n").contains { $0.contains("\(told.pid) ") && $0.hasSuffix("  told") },
            "\(list)")
        #expect(try told.end().exitStatus == 3)

        let gone = try told.scratch.run([Self.heaptop, "\(told.pid)"])
        #expect(gone.exitStatus == 2 && gone.messages.contains("no such process"), "\(gone)")
        let unrecorded = try told.scratch.run([Self.heaptop, "\(getpid())"])
        #expect(unrecorded.exitStatus == 2 && unrecorded.messages.contains("start it by heaprun"), "\(unrecorded)")
        let image = try #require(try told.scratch.shell("ls images/*.heap").output.split(separator: "\n").first)
        let after = try told.scratch.run([Self.heaptop, String(image)])
        #expect(after.exitStatus == 0 && after.output.contains("5.0 MB"), "\(after)")
        let none = try told.scratch.run([Self.heaptop, "/etc/hostname"])
        #expect(none.exitStatus == 2 && none.messages.contains("/etc/hostname"), "\(none)")
    }

    @Test func aHundredThousandStacksAreCounted() throws {
        let told = try Told()
        try told.tell("wide 100000")
        let heap = try LiveHeap("\(told.pid)", symbolizer: .init())
        var screen = TopScreen(LiveRows(heap))
        for second in 0 ..< 3 { try screen.look(at: Double(second) * 5) }
        #expect(screen.rows.rows.count >= 100_000)
        #expect(heap.totals.blocks >= 100_000)
        let lines = screen.lines(ScreenSize(width: 80, height: 24))
        #expect(lines.count == 24 && lines.allSatisfy { $0.text.count <= 80 })
        _ = screen.press(.character("b"))
        #expect(screen.rows.rows.first?.counts.blocks == 100_000)
        _ = screen.press(.end)
        _ = screen.press(.character("b"))
        _ = screen.press(.character("b"))
        for key in [Key.end, .pageUp, .up, .home, .pageDown, .click(8), .wheelDown, .enter, .down, .escape] {
            _ = screen.press(key)
            for (width, height) in [(20, 4), (80, 24), (250, 80)] {
                let lines = screen.lines(ScreenSize(width: width, height: height, isUTF8: key == .up))
                #expect(lines.count == height && lines.allSatisfy { $0.text.count <= width })
            }
        }
        #expect(try told.end().exitStatus == 3)
    }

    @Test func curvesAndSizesAreShort() {
        #expect(spark([0, 1, 2, 4], width: 6, isUTF8: true) == "  ▁▂▄█")
        #expect(spark([0, 0], width: 3, isUTF8: true) == "   ")
        #expect(spark([1, 8], width: 2, isUTF8: false) == "_#")
        #expect([0, 1500, -2_000_000].map(signedSize) == ["0", "+1.5 kB", "-2.0 MB"])
        #expect([0, 999, 12_345, 4_500_000].map(shortCount) == ["0", "999", "12.3 k", "4.5 M"])
    }
}
