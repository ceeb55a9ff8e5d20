// heapsum pages: what the allocator's resident memory is made of, and which blocks pin it.

import ArgumentParser
import Glibc
import HeapImage
import Launch
import Reduce
import Report
import Symbols
import Text

struct PagesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum pages",
        abstract: "Tells what malloc's resident memory is made of, and which stacks pin it.",
        discussion: """
            When a process is large and its live blocks are few, malloc keeps the rest: it can give back only whole \
            pages, and a page stays as long as one live block lies on it. This command reads the process's page table, \
            malloc's own headers, and the live blocks, while the program runs. Nothing is stopped or changed.

            WORDS
              live        bytes of blocks that the program has not freed, on pages in memory
              pinned      free bytes on the same pages: nothing can give them back
              trim        malloc_trim(0), a call in the program: gives back free pages between blocks
              top         the free end of an arena; malloc_trim lowers that of the main arena alone
              pins        of a stack: its part of the pinned bytes; a page's are divided by bytes
              alone on    of a stack: bytes of pages that could go if its blocks were gone

            EXAMPLES
              heapsum pages 4711                        the process 4711
              heapsum pages /dev/shm/server.4711.heap   the same, by its image
              heapsum pages --top 3 --frames 5 4711
              heapsum pages --format html -o pages.html 4711   a map of the address space, for a browser
              heapsum pages --format json 4711 | jq .pages.trimmableBytes
              heapsum pages out/server.4711.heap        a program that has ended: how full the pages of its blocks \
            were; which were in memory is not known any more

            Exit status: 0 done, 2 the process or image can't be surveyed, 64 wrong arguments.
            """)

    @Argument(
        help: ArgumentHelp("A recorded process's ID, its image, or a dump.", valueName: "pid-or-image"),
        completion: .file())
    var program: String

    @OptionGroup
    var limits: RowLimits

    @Option(help: "What to print: table, json, or html: heapsum's page, with a map of the pages.")
    var format: PagesFormat = .table

    @OptionGroup
    var output: OutputOptions

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    enum PagesFormat: String, CaseIterable, ExpressibleByArgument { case table, json, html }

    func run() throws {
        let symbolizer = try symbols.symbolizer()
        do {
            let named = NamedProgram(program)
            if let note = named.note { say(note) }
            let image = try named.image(patience: 1_000_000_000)
            let process = named.processID ?? NamedProgram.process(of: image)
            let taken = try TakenSurvey(
                image, process: process, symbolizer: symbolizer, cells: format == .html ? TakenSurvey.cells : nil)
            let report = taken.report, reduction = report.reduction
            try output.write(inputs: [program] + symbols.files + reduction.moduleFiles) { out in
                let isTable = format == .table
                let rows = limits.rows(inTable: isTable), frames = limits.frames(inTable: isTable)
                if format == .html { return try writePage(report, to: out) }
                guard isTable else {
                    return try report.writeJSON(taken.memory, rowLimit: rows, frameLimit: frames, to: out)
                }
                var table = PagesTable(style: output.style)
                (table.rowLimit, table.frameLimit) = (rows, frames)
                try table.write(report, taken.memory, to: out)
            }
            for damage in reduction.inputs[0].damages { say("damaged: \(damage)") }
        } catch  where error is LaunchError || error is InputError {
            say("\(error)")
            throw ExitCode.badInput
        }
    }

    private func writePage(_ report: PagesReport, to out: TextOutput) throws {
        let selection = RowSelection(
            report.reduction, names: report.names, by: .stack, sort: .bytes, top: limits.rows(inTable: false),
            minBytes: 0, filter: try FrameFilter(include: [], exclude: []), blocks: BlockFilter(), suppressions: nil,
            withFreed: true)
        report.names.prepare(selection.rows)
        var machine = MachineReport(
            report.reduction, selection, names: report.names, frameLimit: limits.frames(inTable: false))
        machine.survey = report.survey
        try machine.write(.html, to: out)
    }
}
