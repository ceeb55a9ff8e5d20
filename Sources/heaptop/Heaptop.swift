// heaptop: the heap of a running program as a table that is updated.

import ArgumentParser
import Commands
import Glibc
import Launch
import Live
import Proc
import Report
import Screen
import Symbols
import SystemPackage
import Text

/// heaptop as a whole; it ends the process.
package func runHeaptop() -> Never { runTool(Heaptop.self) }

extension LiveSort: ExpressibleByArgument {}
extension LiveGrouping: ExpressibleByArgument {}

struct Heaptop: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heaptop",
        abstract: "Shows what a running program holds, and what grows, as it happens.",
        discussion: """
            The program was started by heaprun. Nothing is stopped and no signal is sent: each look reads the image's \
            counters. Without a program, the recorded processes of this machine are listed.

            KEYS
              arrows, Page Up, Page Down, mouse wheel   choose a row
              Enter   the whole stack of the row        s   order by live, blocks, growth, minute, rate
              /       only stacks that match            b   a row is a stack, a function, a module
              g       growth counts from now on         d   write a dump
              l       ask heapsum leaks                 q   quit; h has more

            EXAMPLES
              heaptop                       who is recorded here, and how it grows
              heaptop 4711                  what it holds, renewed each second
              heaptop --sort growth --by function 4711
              heaptop --once --interval 10s 4711 | head -20
              heaptop out/server.4711.heap  the same, by its image

            Exit status: 0 done, 2 the process is not recorded, or not ours to read, 64 wrong arguments.
            """,
        version: "heaptop \(version)")

    @Argument(
        help: ArgumentHelp("The program's process ID, or its image.", valueName: "pid-or-image"), completion: .file())
    var program: String?

    @Option(help: "What the rows are ordered by: live, blocks, growth, minute, rate.")
    var sort = LiveSort.live

    @Option(help: "What a row is: stack, function, module, tag.")
    var by = LiveGrouping.stack

    @Option(help: ArgumentHelp("How often the table is renewed.", valueName: "time"))
    var interval = Duration(seconds: 1)

    @Flag(help: "Print one table, after one interval, and end; for scripts.")
    var once = false

    @Option(
        help: ArgumentHelp(
            "Look for separate debug files here before /usr/lib/debug, in the same layout (repeatable).",
            valueName: "dir"), completion: .directory)
    var debugDir: [String] = []

    func validate() throws {
        guard (0.1 ... 3600).contains(interval.seconds) else {
            throw ValidationError("--interval: from 100ms to an hour.")
        }
    }

    func run() throws {
        expectClosedReaders()
        do {
            guard let program else {
                let (processes, closed) = recordedProcesses()
                return try write(listing(processes, closed: closed))
            }
            let symbolizer = Symbolizer(search: SymbolSearch(debugDirectories: debugDir, sysroot: ""))
            let heap = try LiveHeap(program, symbolizer: symbolizer)
            if let note = heap.note { say("heaptop: \(note)") }
            var rows = LiveRows(heap)
            rows.grouping = by
            try rows.look(at: monotonicSeconds())
            if once || isatty(STDOUT_FILENO) == 0 || isatty(STDIN_FILENO) == 0 {
                try printOnce(rows)
            } else {
                try show(TopScreen(rows, sort: sort))
            }
        } catch let error as InputError {
            say("heaptop: \(error)")
            throw ExitCode(2)
        } catch let error as LaunchError {
            say("heaptop: \(error.message)")
            throw ExitCode(error.exitStatus)
        } catch let error as OutputError {
            if !error.isClosedReader { say("heaptop: \(error)") }
            throw ExitCode(unwritableStatus)
        }
    }

    private func write(_ lines: [ScreenLine]) throws(OutputError) {
        let style = Style(descriptor: STDOUT_FILENO, color: .auto)
        let out = TextOutput(descriptor: STDOUT_FILENO, name: "standard output")
        for line in lines { try out.write(line.withoutTrailingSpaces.styled(style) + "\n") }
        try out.finish()
    }

    /// Looks twice, because rates need two looks; then prints one table.
    private func printOnce(_ rows: LiveRows) throws {
        var screen = TopScreen(rows, sort: sort)
        if rows.heap.isRunning {
            pause(interval.seconds)
            try screen.look(at: monotonicSeconds())
        }
        let width = Style(descriptor: STDOUT_FILENO, color: .auto).width ?? 200
        let count = min(screen.rows.rows.count, 200)
        // A table in a pipe needs no help on keys.
        try write(screen.lines(ScreenSize(width: width, height: count + 6)).dropLast().map { $0 })
    }

    private func show(_ first: TopScreen) throws {
        var screen = first
        let terminal = try Terminal()
        defer { terminal.end() }
        var next = monotonicSeconds() + interval.seconds
        while true {
            terminal.draw(screen.lines(terminal.size))
            let now = monotonicSeconds()
            if now >= next {
                try screen.look(at: now)
                // If a look takes long, still wait half an interval before the next.
                next = max(next + interval.seconds, monotonicSeconds() + interval.seconds / 2)
                continue
            }
            guard let key = terminal.key(milliseconds: Int((next - now) * 1000) + 1), let request = screen.press(key)
            else { continue }
            switch request {
            case .quit: return
            case .dump: screen.message = dump(screen.rows.heap)
            case .leaks: screen.message = leaks(screen.rows.heap, terminal)
            }
        }
    }

    private func dump(_ heap: LiveHeap) -> String {
        guard let pid = heap.processID, heap.isRunning else { return "the program has ended: there is nothing to dump" }
        do throws(LaunchError) {
            let dump = try takeDump(of: pid, deadline: 0)
            return (["dumped: \(dump.path.text)"] + dump.notes).joined(separator: "; ")
        } catch { return error.message }
    }

    /// Gives the terminal to `heapsum leaks` and a pager, and takes it back.
    private func leaks(_ heap: LiveHeap, _ terminal: Terminal) -> String? {
        guard let pid = heap.processID, heap.isRunning else {
            return "the program has ended: heapsum leaks --core reads a core file"
        }
        terminal.end()
        defer { terminal.resume() }
        let heapsum = sibling("heapsum")
        let pager = environmentText("PAGER") ?? "less"
        let command = "\(shellWord(heapsum)) leaks \(pid) 2>&1 | \(pager == "less" ? "less -R" : pager)"
        // The pager's exit status does not matter.
        do throws(Errno) { _ = try runChild(["sh", "-c", command]) } catch { return "sh: \(error)" }
        return nil
    }
}

private func monotonicSeconds() -> Double { Double(monotonicNanoseconds()) / 1e9 }

private func pause(_ seconds: Double) {
    let until = monotonicSeconds() + seconds
    while case let left = until - monotonicSeconds(), left > 0 { usleep(UInt32(min(left, 0.9) * 1e6)) }
}

/// Another of heapsum's tools, installed beside this one.
private func sibling(_ name: String) -> String {
    guard let own = FilePath("/proc/self/exe").real else { return name }
    let beside = own.removingLastComponent().appending(name)
    return beside.isAccessible(X_OK) ? beside.text : name
}
