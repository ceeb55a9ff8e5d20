// heapsum without a command: reduces the named files, and prints one report.

import ArgumentParser
import Commands
import Glibc
import HeapImage
import Logs
import Reduce
import Report
import Symbols
import Text

struct ReduceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum",
        abstract: "Says who allocated what a program never freed.",
        usage: """
            heapsum [<options>] <file-or-directory> ...
            heapsum diff <old> <new> [<newer> ...]
                                             what grew between moments, how fast, and whether it goes on
            heapsum ask <image> | <directory> | <pid> ...
                                             what stands out, with the evidence and the next command, as short JSON
            heapsum check <file-or-directory> ...
                                             for builds: fails if more is live than allowed
            heapsum info <file-or-directory> ...
                                             a program's state: counts, losses, modules, timeline
            heapsum leaks <pid-or-image>     which blocks of a running program are lost, and who holds the others
            heapsum mcp                      serves these answers to agents, by the Model Context Protocol
            heapsum pages <pid-or-image>     what malloc's resident memory is made of, and who pins it
            heapsum pack <file> ... [-o DIR] dense copies of images, to keep or send
            heapsum push <url> <image-or-pid> ...
                                             sends profiles to an OpenTelemetry collector
            heapsum table <file-or-directory> ... -o DIR
                                             images as tables, for DuckDB, Spark and others
            """,
        discussion: """
            Reads the images and dumps that heaprun and heapdump write, and the logs of other tools: AIX's debug \
            malloc, and the kernel's SLUB traces, kmemleak, page_owner and allocinfo. Adds up the live blocks by \
            their call stack, and shows the largest first. If there are several images of one process, or several \
            sets in one log, the newest counts, and the others are reported as left out.

            EXAMPLES
              heapsum app.4711.heap               the stacks that hold the most bytes
              heapsum --top 5 --frames 0 out/     five, with all frames, of a directory
              heapsum --sort blocks out/          by how many blocks they hold
              heapsum --by function out/          by allocating function; also module, file, thread, tag, size …
              heapsum --tree out/                 the calls that led there, as a tree; --inverted from the inside
              heapsum --histograms total out/     distributions of sizes and lifetimes; rows: of each stack, too
              heapsum --sort peak-bytes a.heap    what held the memory at its peak
              heapsum --sort resident 4711        of the recorded process 4711: what is in memory
              heapsum --include 'parse_.*' --exclude '/libssl' app.4711.heap
              heapsum --format json app.4711.heap | jq '.rows[0]'
              heapsum --format folded app.4711.heap | flamegraph.pl > heap.svg
              heapsum --format pprof -o heap.pb.gz app.4711.heap; pprof -http=: heap.pb.gz
              heapsum --format callgrind -o heap.out app.4711.heap; callgrind_annotate --inclusive=yes heap.out
              heapsum --format massif app.4711.heap > massif.out; ms_print massif.out
              heapsum --format records -o live.log app.4711.heap
              heapsum malloc.log@2                the second set of an AIX log
              zstdcat malloc.log.zst | heapsum -  or heapsum malloc.log.zst
              heapsum --input slub dmesg.txt
              heapsum --sysroot /srv/target --debug-dir ./debug app.4711.heap
              gensyms ./app > app.syms; heapsum --symbols app.syms app.4711.heap

            A regular expression is searched for in each frame's function name and module path.
            Exit status: 0 done, 2 an input could not be used at all, 64 wrong arguments.
            """,
        version: "heapsum \(version)")

    @Argument(
        help: ArgumentHelp(
            "Images, dumps, directories of them, recorded processes by their PID, or logs, LOG@2 for one set of a log; "
                + "- is standard input.",
            valueName: "file-or-directory"), completion: .file())
    var files: [String]

    @OptionGroup(title: "Rows")
    var selection: SelectionOptions

    @Flag(help: "Show the calls as a tree, from the outermost inward. Then --top limits calls, and --frames levels.")
    var tree = false

    @Flag(help: "Show the calls as a tree, from the allocating function outward.")
    var inverted = false

    @Option(
        help: ArgumentHelp(
            "Show the distributions of live blocks' sizes and freed blocks' lifetimes: total, or rows, also for each "
                + "stack."))
    var histograms: Histograms?

    @Option(
        help: ArgumentHelp(
            "What to print. html is a self-contained page for a browser. For other tools: pprof, otlp (OpenTelemetry), "
                + "speedscope, massif (ms_print), callgrind (KCachegrind), heaptrack (heaptrack_gui), firefox (Firefox "
                + "Profiler), perfetto, folded (flame graphs); records are in the form of an AIX debug malloc log.",
            valueName: "format"))
    var format: Format = .table

    @OptionGroup
    var output: OutputOptions

    @OptionGroup(title: "Reading")
    var reading: ReadingOptions

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name the images to reduce.") }
        if isTree {
            if format != .table {
                throw ValidationError(
                    "--tree and --inverted go with the table; --format folded and --format json have whole stacks.")
            }
            if selection.by != .stack {
                throw ValidationError("A tree is made of stacks: --by doesn't go with --tree and --inverted.")
            }
            if selection.sort != .bytes && selection.sort != .blocks {
                throw ValidationError(
                    "A tree's calls are ordered by bytes or by blocks: --sort bytes or --sort blocks.")
            }
        }
        if histograms != nil {
            if format != .table && format != .machine(.json) {
                throw ValidationError("Histograms are shown in the table and in JSON.")
            }
            if isTree { throw ValidationError("A tree has no place for histograms: --histograms goes with the table.") }
            if selection.by != .stack {
                throw ValidationError("Histograms are of stacks' blocks: --by doesn't go with --histograms.")
            }
            if selection.at == .peak {
                throw ValidationError(
                    "The sizes of blocks at the peak are not recorded: --at peak doesn't go with --histograms.")
            }
        }
        if let machine = format.machine, let why = machine.needsStacks, selection.by != .stack {
            throw ValidationError("--by doesn't go with --format \(machine.rawValue): \(why).")
        }
        if let machine = format.machine, [.records, .firefox].contains(machine), selection.at == .peak {
            throw ValidationError(
                "The blocks of the peak are not recorded one by one: --at peak doesn't go with --format "
                    + "\(machine.rawValue).")
        }
        if format == .machine(.massif) && (selection.at == .peak || selection.blocks.isOfAges) {
            throw ValidationError(
                "massif's format shows all moments that are known: --at, --older-than and --newer-than don't go "
                    + "with it."
            )
        }
    }

    func run() throws {
        let filter = try selection.filter()
        let symbolizer = try symbols.symbolizer()
        let suppressions = try selection.suppressionRules()
        let inputs = Inputs(paths: files, kind: reading.input, set: reading.set)
        if format == .machine(.records), let log = inputs.logs.first {
            throw ValidationError("Records are made from images; \(log.stream.name) is a log.")
        }
        let (reduction, status) = try reading.reduce(inputs)
        if selection.sort == .resident {
            let failures = reduction.lookUpResidence()
            for failure in failures { say("\(failure)") }
            if !reduction.knowsResidence { throw ExitCode.badInput }
        }
        do {
            try report(reduction, filter, suppressions, symbolizer)
        } catch let error as FormatError {
            throw ValidationError("\(error)")
        }
        if let status { throw status }
    }

    private func report(
        _ reduction: Reduction, _ filter: FrameFilter, _ suppressions: Suppressions?, _ symbolizer: Symbolizer
    ) throws {
        let names = FrameNames(reduction, symbolizer: symbolizer)
        if isTree { return try reportTree(reduction, names, filter, suppressions) }
        let isTable = format == .table
        let withFreed = format.machine?.showsHistory ?? false
        let rows = try selection.rows(
            of: reduction, names: names, filter: filter, inTable: isTable, suppressions: suppressions,
            withFreed: withFreed, withMappings: true)
        // Records have one line for each address, without inlined functions.
        if format != .machine(.records) { names.prepare(rows.rows) }
        let frameLimit = selection.limits.frames(inTable: isTable)
        var machine = MachineReport(reduction, rows, names: names, frameLimit: frameLimit, quantity: selection.sort.sum)
        if format == .machine(.html), selection.by == .stack, selection.blocks == BlockFilter() {
            machine.survey = TakenSurvey.forPage(of: reduction)
        }
        if let format = format.machine { try machine.require(format) }
        try output.write(inputs: inputs(of: reduction)) { out in
            switch format {
            case .table:
                var table = Table(style: output.style, frameLimit: frameLimit, sort: selection.sort)
                if let top = selection.limits.top { table.mappedLimit = top == 0 ? nil : Int(top) }
                table.distributions = try distributions(reduction, rows, names, filter, suppressions)
                try table.write(reduction, rows, names: names, to: out)
            case .machine(.json) where histograms != nil:
                var report = JSONReport(frameLimit: frameLimit)
                report.distributions = try distributions(reduction, rows, names, filter, suppressions)
                try report.write(reduction, rows, names: names, to: out)
            case .machine(let format):
                try machine.write(format, to: out)
            }
        }
        // A table has these at its end; the other formats have no place for them, so they go to stderr.
        if !isTable { for line in Table.notes(reduction, rows) + Table.warnings(reduction, names) { sayShown(line) } }
    }

    /// For all stacks that pass, including those that hold nothing now: their blocks were freed, and have lifetimes.
    private func distributions(
        _ reduction: Reduction, _ shown: RowSelection, _ names: FrameNames, _ filter: FrameFilter,
        _ suppressions: Suppressions?
    ) throws -> (all: Distributions, rows: [UInt32: Distributions])? {
        guard let histograms else { return nil }
        var all = selection
        all.limits.top = 0
        let rows = try all.rows(
            of: reduction, names: names, filter: filter, inTable: false, suppressions: suppressions, withFreed: true)
        return reduction.distributions(
            of: rows.rows, single: histograms == .rows ? shown.rows : [], blocks: selection.blocks)
    }

    private var isTree: Bool { tree || inverted }

    private func inputs(of reduction: Reduction) -> [String] {
        inputFiles(files) + selection.suppressions + symbols.files + reduction.moduleFiles
    }

    private func reportTree(
        _ reduction: Reduction, _ names: FrameNames, _ filter: FrameFilter, _ suppressions: Suppressions?
    ) throws {
        // The limits apply to the tree's calls, which are made of all stacks.
        var all = selection
        all.limits.top = 0
        all.minBytes = ByteCount(bytes: 0)
        let rows = try all.rows(of: reduction, names: names, filter: filter, inTable: true, suppressions: suppressions)
        names.prepare(rows.rows)
        var limits = CallTreeLimits()
        limits.leastBytes = selection.minBytes.bytes
        limits.most = selection.limits.rows(inTable: false)
        limits.depth = selection.limits.frames(inTable: false)
        // An explicit limit is kept.
        if selection.limits.top != nil || selection.minBytes.bytes > 0 { limits.leastShare = 0 }
        try output.write(inputs: inputs(of: reduction)) { out in
            try CallTreeTable(
                table: Table(style: output.style), direction: inverted ? .inverted : .topDown, limits: limits,
                byBlocks: selection.sort == .blocks
            )
            .write(reduction, rows, names: names, to: out)
        }
    }
}
