// heapsum diff: what grew between moments.

import ArgumentParser
import Glibc
import HeapImage
import Logs
import Reduce
import Report
import Symbols
import Text

enum DiffFormat: String, CaseIterable, ExpressibleByArgument {
    case table, json, csv, folded, html, markdown
}

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum diff",
        abstract: "Says what grew between two or more moments, how fast, and whether it goes on.",
        usage: """
            heapsum diff [<options>] <old> <new> [<newer> ...]
            heapsum diff [<options>] <image>         from the snapshots that one image keeps
            heapsum diff [<options>] <directory>     all images and dumps of one process, by time
            """,
        discussion: """
            Each argument is a moment: an image, a dump, a log, one set of a log (LOG@2), or a directory, in which \
            the newest image of each process counts. Stacks of all processes are matched by modules, build-ids and \
            offsets. What grew the most comes first.

            With five or more moments, each row gets a verdict: steady growth (by a Mann-Kendall test at 95 %), step, \
            saw-tooth, warm-up, daily, shrinking, flat, or irregular. The rate is the Theil-Sen slope. With fewer \
            moments the rate is the difference over the time, and there is no verdict. A recorded program keeps a \
            snapshot of each stack at 8, 16, 32 seconds and so on: the image of one hour has ten moments in it.

            EXAMPLES
              heapdump 4711; sleep 600; heapdump 4711; heapsum diff app.4711.1.heap app.4711.2.heap
              heapsum diff out/                   all dumps of the process that out/ holds
              heapsum diff app.4711.heap          its own snapshots
              heapsum diff --across-builds --format html old-build/ new-build/ -o growth.html
              heapsum diff --by function monday.heap tuesday.heap wednesday.heap thursday.heap friday.heap
              heapsum diff malloc.log@1 malloc.log@5
              heapsum diff --format json old.heap new.heap | jq '.rows[] | select(.growthBytes > 1000000)'
              heapsum diff --format folded old.heap new.heap | flamegraph.pl > growth.svg

            Exit status: 0 done, 2 a moment could not be used at all, 64 wrong arguments.
            """)

    @Argument(help: ArgumentHelp("The moments, oldest first.", valueName: "moment"), completion: .file())
    var moments: [String]

    @OptionGroup(title: "Rows")
    var selection: SelectionOptions

    @Flag(help: "Match stacks by their functions' names: the moments are of different builds of a program.")
    var acrossBuilds = false

    @Option(
        help: """
            What to print; folded has the bytes before and after, html is a page for a browser, markdown the summary \
            of a build.
            """)
    var format: DiffFormat = .table

    @OptionGroup
    var output: OutputOptions

    @OptionGroup(title: "Reading")
    var reading: ReadingOptions

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    func validate() throws {
        if moments.isEmpty { throw ValidationError("Name the moments to compare: heapsum diff OLD NEW.") }
        if selection.sort != .bytes && selection.sort != .blocks {
            throw ValidationError("A diff is ordered by what grew: --sort bytes or --sort blocks.")
        }
        if format == .html && selection.by != .stack {
            throw ValidationError("--by doesn't go with --format html: the page's graphs are made of stacks.")
        }
        if selection.by == .size {
            throw ValidationError(
                "--by size takes the blocks of one moment; for a diff use stack, function, module, file, line, tag or "
                    + "thread."
            )
        }
        if selection.blocks != BlockFilter() {
            throw ValidationError(
                "--older-than, --newer-than, --thread and --at choose among the blocks of one moment; a diff takes all "
                    + "of each."
            )
        }
    }

    func run() throws {
        let filter = try selection.filter()
        let suppressions = try selection.suppressionRules()
        let symbolizer = try symbols.symbolizer()
        let (growth, status) = try MomentReader(reading: reading).read(moments)
        if let found = growth.differentPrograms { warn(found) }
        let names = FrameNames(growth.reduction, symbolizer: symbolizer)
        let isTable = format == .table || format == .markdown
        let rows = GrowthSelection(
            growth, names: names, by: selection.by, byBlocks: selection.sort == .blocks,
            top: format == .markdown ? nil : selection.limits.rows(inTable: isTable), acrossBuilds: acrossBuilds,
            minBytes: selection.minBytes.bytes, filter: filter, suppressions: suppressions)
        let frameLimit = selection.limits.frames(inTable: format == .table)
        names.prepare(rows.rows.map { Row(node: $0.row.node) })
        try output.write(
            inputs: inputFiles(moments) + selection.suppressions + symbols.files + growth.reduction.moduleFiles
        ) { out in
            switch format {
            case .table:
                try GrowthTable(style: output.style, frameLimit: frameLimit, byBlocks: selection.sort == .blocks).write(
                    growth, rows, names: names, to: out)
            case .json: try rows.writeJSON(growth, frameLimit: frameLimit, names: names, to: out)
            case .csv: try rows.writeCSV(growth, frameLimit: frameLimit, names: names, to: out)
            case .html: try rows.writePage(growth, frameLimit: frameLimit, names: names, to: out)
            case .markdown:
                try rows.writeMarkdown(
                    growth, top: selection.limits.rows(inTable: true), frameLimit: frameLimit, names: names, to: out)
            case .folded: try rows.writeFolded(growth, frameLimit: frameLimit, names: names, to: out)
            }
        }
        if format != .table { for line in Table.warnings(growth.reduction, names) { sayShown(line) } }
        if let status { throw status }
    }

    /// Two programs have few stacks in common, so most of what their diff shows is not growth.
    private func warn(_ found: DifferentPrograms) {
        func text(_ programs: [String]) -> String {
            programs.prefix(3).joined(separator: ", ") + (programs.count > 3 ? " and \(programs.count - 3) more" : "")
        }
        say(
            "\(found.labels.first) is of \(text(found.programs.first)), \(found.labels.other) of "
                + "\(text(found.programs.other)): different programs. The diff shows how they differ, not what grew.")
    }
}
