// heapsum leaks: which live blocks of a running program are lost, and who holds the others.

import ArgumentParser
import Glibc
import HeapImage
import Launch
import Leaks
import Proc
import Reduce
import Report
import Symbols
import Text

struct LeaksCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum leaks",
        abstract: "Tells which live blocks of a running program are lost, and who holds the others.",
        discussion: """
            The program must be recorded by heaprun. It is stopped for a moment, some tens of milliseconds per \
            gigabyte, and goes on unchanged; a snapshot of its memory is searched for pointers to its blocks \
            afterwards.

            VERDICTS, in Valgrind's words
              definite   nothing leads to the block: it is lost
              indirect   only lost blocks lead to it
              possible   only pointers into its inside lead to it, or what they were in could not be read
              reachable  the program can still free it; --holders tells who keeps it

            EXAMPLES
              heapsum leaks 4711                        what is lost, by stack
              heapsum leaks out/server.4711.heap        the same, by the program's image
              heapdump --leaks 4711                     a dump with the verdict in it, for later
              heapsum leaks out/server.4711.1.heap      what such a dump says
              heapsum leaks --holders 4711              who holds the rest: the cache that nobody empties
              heapsum leaks --why 0x55d0c0a2b2a0 4711   the path from a root to one block
              heapsum leaks --show-block 0x55d0c0a2b2a0 4711
              heapsum leaks --core core.4711 out/server.4711.heap
              heapsum leaks --verdict definite --format json 4711 | jq '.rows[0]'
              heapsum leaks --format hprof -o server.hprof 4711     for Eclipse MAT's dominator tree

            A process may be traced by its own user or root, unless it forbids that. In a container heapsum needs \
            CAP_SYS_PTRACE.
            Exit status: 0 done, 2 there is no verdict, 64 wrong arguments.
            """)

    @Argument(
        help: ArgumentHelp(
            "The program's process ID, its image, or a dump with a verdict.", valueName: "pid-or-image"),
        completion: .file())
    var program: String

    @Option(
        help: ArgumentHelp(
            "Read the process's memory from this core file (the kernel's, gcore's, coredumpctl's); IMAGE is the same "
                + "process's.",
            valueName: "file"), completion: .file())
    var core: String?

    @Option(
        help: ArgumentHelp(
            "Show rows of these verdicts: definite, indirect, possible, reachable, all; separated by commas.",
            valueName: "list"))
    var verdict: String = Self.usualVerdicts

    private static let usualVerdicts = "definite,indirect,possible"

    @Flag(help: "Show who holds the reachable blocks: a tree from the roots, each with what would be freed with it.")
    var holders = false

    @Option(
        help: ArgumentHelp(
            "Show the path from a root to the block that contains this address (repeatable).", valueName: "address"))
    var why: [Address] = []

    @Option(
        help: ArgumentHelp(
            "Show the first bytes of the block that contains this address, and what it points to (repeatable).",
            valueName: "address"))
    var showBlock: [Address] = []

    @OptionGroup
    var limits: RowLimits

    @Option(
        help: ArgumentHelp(
            "Leave out the stacks that this file lists, in LeakSanitizer's or Valgrind's syntax (repeatable).",
            valueName: "file"),
        completion: .file())
    var suppressions: [String] = []

    @Option(
        help: ArgumentHelp(
            "What to print: table, json, csv; or hprof: all blocks with their pointers, as a Java heap dump for "
                + "Eclipse MAT.", valueName: "format"))
    var format: LeakFormat = .table

    @Flag(help: "Show no progress, on a terminal either.")
    var noProgress = false

    @OptionGroup
    var output: OutputOptions

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    enum LeakFormat: String, CaseIterable, ExpressibleByArgument { case table, json, csv, hprof }

    func validate() throws {
        _ = try shown()
        if holders && format == .csv {
            throw ValidationError("The holders are a tree: --holders goes with the table and with JSON.")
        }
        if format != .table && !(why.isEmpty && showBlock.isEmpty) {
            throw ValidationError("--why and --show-block go with the table.")
        }
        if format == .hprof {
            let isChosen = verdict != Self.usualVerdicts || limits.top != nil || limits.frames != nil
            if isChosen || holders || !suppressions.isEmpty {
                throw ValidationError(
                    "hprof has all blocks, and what holds them: --verdict, --top, --frames, --holders and "
                        + "--suppressions don't go with it.")
            }
        }
    }

    private func shown() throws -> Set<Verdict> {
        if verdict == "all" { return Set(Verdict.shown) }
        var result: Set<Verdict> = []
        for word in verdict.split(separator: ",") {
            guard let found = Verdict(text: String(word)) else {
                throw ValidationError(
                    "\(printable(String(word))) is no verdict: definite, indirect, possible, reachable, or all.")
            }
            result.insert(found)
        }
        if result.isEmpty {
            throw ValidationError("--verdict takes at least one of definite, indirect, possible, reachable.")
        }
        return result
    }

    func run() throws {
        let shown = try shown(), symbolizer = try symbols.symbolizer()
        let rules = suppressions.isEmpty ? nil : try SelectionOptions.read(suppressions, into: Suppressions())
        func known(_ told: LeakSummary) -> LeakSummary { rules.map { told.without($0) } ?? told }
        do {
            let named = NamedProgram(program)
            if let note = named.note { say(note) }
            if core == nil, named.processID == nil {
                let image = try named.image()
                if image.hasVerdict { return try tellStored(image, shown, symbolizer, known) }
            }
            // The program is let go before a reader of the output that is slow, unless the output needs its memory.
            let found = try onOwnThread { () throws -> (report: LeakReport, tree: HolderTree?)? in
                let (image, snapshot) = try take(named)
                defer { snapshot.finish() }
                let progress = Progress(
                    name: "searching \(image.programName)", storedBytes: nil, isWanted: !noProgress)
                let report = try judge(
                    snapshot, image, symbolizer: symbolizer
                ) { progress.update($0.scannedBytes, $0.passedBytes, of: $0.totalBytes) }
                progress.end()
                guard format == .hprof || !(why.isEmpty && showBlock.isEmpty) else {
                    return (report, holders ? HolderTree(report) : nil)
                }
                try writeWithMemory(report)
                return nil
            }
            guard let (report, tree) = found else { return }
            let told = known(report.summary)
            try output.write(inputs: suppressions + symbols.files + report.reduction.moduleFiles) { out in
                try write(told, tree, shown, to: out)
            }
            if format != .table { for line in LeakTable.warnings(told) { say(line) } }
        } catch let error as LeaksError {
            say(error.message)
            throw ExitCode.badInput
        } catch  where error is LaunchError || error is InputError {
            say("\(error)")
            throw ExitCode.badInput
        }
    }

    /// Shows the verdict that a dump stores. Its program's memory is gone, so single blocks can't be examined.
    private func tellStored(
        _ image: HeapImage, _ shown: Set<Verdict>, _ symbolizer: Symbolizer, _ known: (LeakSummary) -> LeakSummary
    ) throws {
        guard why.isEmpty && showBlock.isEmpty else {
            throw LeaksError(
                "\(image.file): a dump has the verdict, but not the program's memory: --why and --show-block need a "
                    + "running program, or a core file (--core FILE)")
        }
        guard format != .hprof else {
            throw LeaksError(
                "\(image.file): a dump has the verdict, but not the pointers between blocks: --format hprof needs a "
                    + "running program, or a core file (--core FILE)")
        }
        let reduction = Reduction()
        try reduction.add(image)
        let names = FrameNames(reduction, symbolizer: symbolizer)
        guard let told = LeakSummary(reduction, input: 0, names: names).map(known) else {
            throw LeaksError("\(image.file): its verdict can't be read")
        }
        let tree = holders ? HolderTree(reduction, input: 0, names: names)?.pruned(leastShare: 0.01) : nil
        try output.write(inputs: [program] + suppressions + symbols.files + reduction.moduleFiles) {
            try write(told, tree, shown, to: $0)
        }
        for damage in image.damages { say("\(damage)") }
        if format != .table { for line in LeakTable.warnings(told) { say(line) } }
    }

    private func table(_ shown: Set<Verdict>) -> LeakTable {
        var table = LeakTable(style: output.style)
        (table.frameLimit, table.rowLimit, table.shown) = (frameLimit, rowLimit, shown)
        return table
    }

    private var rowLimit: Int? { limits.rows(inTable: format == .table) }
    private var frameLimit: Int? { limits.frames(inTable: format == .table) }

    private func write(
        _ told: LeakSummary, _ tree: HolderTree?, _ shown: Set<Verdict>, to out: TextOutput
    ) throws {
        switch format {
        case .hprof: break
        case .json:
            try told.writeJSON(shown: shown, rowLimit: rowLimit, frameLimit: frameLimit, holders: tree, to: out)
        case .csv: try told.writeCSV(shown: shown, rowLimit: rowLimit, frameLimit: frameLimit, to: out)
        case .table:
            let table = table(shown)
            guard let tree else { return try table.write(told, to: out) }
            try table.writeHead(told, to: out)
            try table.writeHolders(tree, to: out)
            for line in LeakTable.warnings(told) { try out.write(line + "\n") }
        }
    }

    /// Writes what takes the program's memory: pointers between blocks, and single blocks.
    private func writeWithMemory(_ report: LeakReport) throws {
        var notes: [String] = []
        try output.write(inputs: suppressions + symbols.files + report.reduction.moduleFiles) { out in
            guard format == .hprof else { return try writeBlocks(report, to: out) }
            var dump = HprofDump(report)
            notes = try dump.write(to: out)
        }
        for note in notes { say("Note: \(note).") }
        if format != .table { for line in LeakTable.warnings(report.summary) { say(line) } }
    }

    /// Writes the output of --why and --show-block.
    private func writeBlocks(_ report: LeakReport, to out: TextOutput) throws {
        let table = table(Set(Verdict.shown))
        for (address, isPath) in why.map({ ($0, true) }) + showBlock.map({ ($0, false) }) {
            guard let block = report.verdict.table.block(at: address.value) else {
                try out.write("\(hexadecimal(address.value)): no live block holds this address\n")
                continue
            }
            if isPath {
                try table.writeWhy(block, report, to: out)
            } else {
                try table.writeBlock(block, report, to: out)
            }
        }
        for line in LeakTable.warnings(report.summary) { try out.write(line + "\n") }
    }

    private func take(_ named: NamedProgram) throws -> (HeapImage, Snapshot) {
        if let core {
            let image = try HeapImage(path: program)
            return (image, try Snapshot.read(core: core, image: image))
        }
        let (image, pid) = try find(named)
        return (image, try Snapshot.take(of: pid, image: image))
    }

    /// The image that the argument names, and its process, which must exist.
    private func find(_ named: NamedProgram) throws -> (HeapImage, pid_t) {
        let image = try named.image(patience: 1_000_000_000)
        guard let pid = named.processID ?? NamedProgram.process(of: image) else {
            throw LeaksError(
                "\(image.file): its program does not run any more, or this is a dump without a verdict: the memory "
                    + "that it needs is gone. Take it while the program runs: heapsum leaks PID, or heapdump --leaks "
                    + "PID "
                    + "for a dump with it; at the program's end: heaprun --leaks; or with a core file: --core FILE")
        }
        return (image, pid)
    }
}

/// An address, with or without 0x.
struct Address: ExpressibleByArgument {
    var value: UInt64

    init?(argument: String) {
        let digits = argument.hasPrefix("0x") || argument.hasPrefix("0X") ? String(argument.dropFirst(2)) : argument
        guard let value = UInt64(digits, radix: 16) else { return nil }
        self.value = value
    }
}
