// The command without a name: reduce what is named and print one report.

import ArgumentParser
import Common
import Glibc
import HeapImage
import Logs
import Reduce
import Report
import Symbols

struct ReduceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum",
        abstract: "Says who allocated what a program never freed.",
        usage: """
            heapsum [<options>] <file-or-directory> ...
            heapsum info <file-or-directory> ...
                                             how a program stands: counts, losses, modules, timeline
            heapsum pack <file> ... [-o DIR] dense copies of images, fit to be kept and sent
            """,
        discussion: """
            Reads the images and dumps that heaprun and heapdump leave, and the logs of other tools: AIX's \
            debug malloc, and the kernel's SLUB traces, kmemleak, page_owner and allocinfo. Adds up the live \
            blocks by their call stack, and shows the largest first. Of several images of one process, and of \
            several sets of one log, the newest counts; what is left out is said.

            EXAMPLES
              heapsum app.4711.heap               the stacks that hold the most bytes
              heapsum --top 5 --frames 0 out/     five, with all frames, of a directory
              heapsum --sort blocks out/          by how many blocks they hold
              heapsum --sort peak-bytes a.heap    what held the memory at its peak
              heapsum --include 'parse_.*' --exclude '/libssl' app.4711.heap
              heapsum --format json app.4711.heap | jq '.rows[0]'
              heapsum --format folded app.4711.heap | flamegraph.pl > heap.svg
              heapsum --format records -o live.log app.4711.heap
              heapsum malloc.log@2                the second set of an AIX log
              zstdcat malloc.log.zst | heapsum -  or heapsum malloc.log.zst
              heapsum --input slub dmesg.txt
              heapsum --sysroot /srv/target --debug-dir ./debug app.4711.heap
              gensyms ./app > app.syms; heapsum --symbols app.syms app.4711.heap

            A regular expression is searched for in each frame's function name and module path.
            Exit status: 0 done, 2 nothing of an input could be used, 64 wrong arguments.
            """,
        version: "heapsum \(version)")

    @Argument(help: ArgumentHelp("Images, dumps, directories of them, or logs, LOG@2 for one set of a log; - is standard input.", valueName: "file-or-directory"), completion: .file())
    var files: [String]

    @Option(help: "What the stacks are ordered by, the largest first.")
    var sort: SortKey = .bytes

    // Taken whatever they begin with: of -1 the number is wrong, and not missing.
    @Option(parsing: .unconditional, help: ArgumentHelp("Show this many stacks (default: 20 in a table, else all; 0: all).", valueName: "n"))
    var top: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Show this many frames of each stack (default: 20 in a table, else all; 0: all).", valueName: "n"))
    var frames: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Leave out stacks that hold less: a number of bytes, or 64K, 10M, 1G.", valueName: "bytes"))
    var minBytes = ByteCount(value: 0)

    @Option(help: ArgumentHelp("Keep only stacks with a frame that matches (repeatable).", valueName: "regex"))
    var include: [String] = []

    @Option(help: ArgumentHelp("Leave out stacks with a frame that matches (repeatable).", valueName: "regex"))
    var exclude: [String] = []

    @Option(help: "What to print; records are in the form of an AIX debug malloc log.")
    var format: Format = .table

    @Option(name: [.short, .long], help: ArgumentHelp("Write to a file instead of standard output (-).", valueName: "file"), completion: .file())
    var output = "-"

    @Option(parsing: .unconditional, help: "Which of several images of one process, or sets of one log, counts: a number from 1 (the oldest), last, or all (summed).")
    var set: SetChoice = .last

    @Option(help: "What the files are, where that is not to be seen of them.")
    var input: InputKind = .auto

    @Flag(help: "No progress bar, not even on a terminal.")
    var noProgress = false
    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    @Option(help: "When to use colours; auto honours NO_COLOR.")
    var color: ColorChoice = .auto

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name the images to reduce.") }
        if let top, top < 0 { throw ValidationError("--top takes a number from 0 on.") }
        if let frames, frames < 0 { throw ValidationError("--frames takes a number from 0 on.") }
    }

    func run() throws {
        let filter: FrameFilter
        do throws(PatternError) {
            filter = try FrameFilter(include: include, exclude: exclude)
        } catch {
            throw ValidationError("\(error)")
        }
        let symbolizer = try symbols.symbolizer()
        var status: ExitCode?
        let inputs = Inputs(paths: files, kind: input, set: set)
        for failure in inputs.failures {
            say(failure)
            status = .badInput
        }
        if format == .records, let log = inputs.logs.first {
            throw ValidationError("Records are written of images; \(log.stream.name) is a log of records.")
        }
        let selection = InputSelection(images: inputs.images, choice: set)
        let reduction = Reduction()
        for image in selection.chosen {
            do {
                try reduction.add(image)
            } catch {
                say("\(error)")
                status = .badInput
            }
        }
        for log in inputs.logs where !add(log, to: reduction) { status = .badInput }
        for (file, because) in selection.leftOut { say("left out: \(file): \(because)") }
        for input in reduction.inputs {
            for damage in input.damages { say("damaged: \(damage)") }
            for note in input.passedOver { say("\(note)") }
        }
        guard !reduction.inputs.isEmpty else { throw ExitCode.badInput }
        do {
            try report(reduction, filter, symbolizer)
        } catch let error as OutputError {
            say("\(error)")
            throw ExitCode.badInput
        }
        if let status { throw status }
    }

    /// Reads a log into the reduction; false where nothing of it can be used.
    private func add(_ log: NamedLog, to reduction: Reduction) -> Bool {
        let progress = Progress(name: log.stream.name, storedBytes: log.stream.storedBytes, isWanted: !noProgress)
        defer { progress.end() }
        do throws(LogError) {
            let summary = try reduction.add(log.stream, kind: log.kind, set: log.set, progress: progress.update)
            progress.end()
            if let leftOut = summary.leftOut { say("left out: \(log.stream.name): \(leftOut)") }
            return true
        } catch {
            progress.end()
            say("\(error)")
            return false
        }
    }

    private func report(_ reduction: Reduction, _ filter: FrameFilter, _ symbolizer: Symbolizer) throws {
        let names = FrameNames(reduction, symbolizer: symbolizer)
        let isTable = format == .table
        let selection = RowSelection(
            reduction, names: names, sort: sort, top: limit(top, inTable: isTable), minBytes: minBytes.value, filter: filter)
        // Records have one line an address, whatever was inlined there.
        if format != .records { names.prepare(selection.rows) }
        let frameLimit = limit(frames, inTable: isTable)
        let out = try TextOutput(path: output)
        switch format {
        case .table:
            let style = output == "-" ? Style(descriptor: STDOUT_FILENO, color: color) : Style(colors: color == .always)
            try Table(style: style, frameLimit: frameLimit, sort: sort).write(reduction, selection, names: names, to: out)
        case .json: try JSONReport(frameLimit: frameLimit).write(reduction, selection, names: names, to: out)
        case .csv: try writeCSV(reduction, selection, frameLimit: frameLimit, names: names, to: out)
        case .folded: try writeFolded(reduction, selection, frameLimit: frameLimit, names: names, to: out)
        case .records: try writeRecords(reduction, selection, frameLimit: frameLimit, names: names, to: out)
        }
        try out.finish()
        // In a table these stand at the end; what reads the other formats can't be told in them.
        if !isTable { for line in Table.warnings(reduction, names) { say(line) } }
    }

    private func limit(_ value: Int?, inTable: Bool) -> Int? {
        guard let value else { return inTable ? 20 : nil }
        return value == 0 ? nil : value
    }
}
