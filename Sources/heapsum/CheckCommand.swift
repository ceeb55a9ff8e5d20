// heapsum check: for build pipelines; fails if more is live than allowed.

import ArgumentParser
import Commands
import Glibc
import HeapImage
import Reduce
import Report
import Symbols
import Text

enum CheckFormat: String, CaseIterable, ExpressibleByArgument {
    case table, json, junit, sarif, github
}

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum check",
        abstract: "Fails if more is live than allowed: for builds.",
        usage: "heapsum check [<options>] <file-or-directory> ...",
        discussion: """
            Without a limit nothing may be live: one block that no suppression matches is a failure. With --baseline \
            and no limit, live bytes may not grow. Blocks that the C and C++ runtimes allocate once and keep, such as \
            stdout's buffer, are suppressed by default; --show-suppressed lists what was suppressed. With --leaks or \
            --max-definite alone they are not suppressed, because they are reachable.

            EXAMPLES
              heaprun -o heap -- ./tests && heapsum check heap
              heaprun --leaks -o heap -- ./tests; heapsum check --leaks heap       nothing may be lost
              heapsum check --max-definite 0 --max-bytes 1M heap
              heapsum check --max-bytes 64K --suppressions known.supp heap
              heapsum check --max-blocks 100 --older-than 10m app.4711.heap
              heapsum --format json -o before.json old/
              heapsum check --baseline before.json --max-growth-bytes 1M new/
              heapsum check --format junit -o heapsum.xml heap
              heapsum check --format sarif -o heapsum.sarif heap
              heapsum check --format github heap      annotations, in a step of GitHub Actions

            A file of suppressions has LeakSanitizer's lines (leak:PATTERN), Valgrind's blocks, or both.
            Exit status: 0 within all limits, 1 a limit is exceeded, 2 an input can't be used, 64 wrong arguments.
            """)

    @Argument(
        help: ArgumentHelp(
            "Images, dumps, directories of them, or logs; - is standard input.", valueName: "file-or-directory"),
        completion: .file())
    var files: [String]

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Allow this many live bytes: a number, or 64K, 10M, 1G.", valueName: "bytes"))
    var maxBytes: ByteCount?

    @Option(parsing: .unconditional, help: ArgumentHelp("Allow this many live blocks.", valueName: "n"))
    var maxBlocks: UInt64?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Allow this many stacks (or what --by names) with live blocks.", valueName: "n"))
    var maxStacks: UInt64?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Allow live bytes to have grown by this much since --baseline.", valueName: "bytes"))
    var maxGrowthBytes: ByteCount?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Allow this many definitely lost bytes, in images with a verdict (heaprun --leaks).",
            valueName: "bytes"))
    var maxDefinite: ByteCount?

    @Flag(help: "Count only lost blocks, definite and indirect: the same as --verdict definite,indirect.")
    var leaks = false

    @Option(
        help: ArgumentHelp(
            "The earlier state: an image, a dump, a log, a directory, or the output of heapsum --format json.",
            valueName: "file"), completion: .file())
    var baseline: String?

    @Flag(help: "Also count blocks that the C and C++ runtimes allocate once and keep.")
    var noBuiltinSuppressions = false

    @Option(
        help: ArgumentHelp("The project's directory: source files in reports are relative to it.", valueName: "dir"),
        completion: .directory)
    var sourceRoot = "."

    @OptionGroup(title: "Rows")
    var selection: SelectionOptions

    @Option(help: "What to print.")
    var format: CheckFormat = .table

    @OptionGroup
    var output: OutputOptions

    @OptionGroup(title: "Reading")
    var reading: ReadingOptions

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name the images to check.") }
        if leaks && selection.verdict != nil {
            throw ValidationError("--leaks means --verdict definite,indirect: give one of the two.")
        }
        if maxDefinite != nil, let verdicts = selection.verdict?.verdicts, !verdicts.contains(.definite) {
            throw ValidationError("--max-definite counts what --verdict leaves out.")
        }
        if maxDefinite != nil, selection.by == .size {
            throw ValidationError("A verdict is kept by stack: --max-definite doesn't go with --by size.")
        }
        if maxGrowthBytes != nil && baseline == nil {
            throw ValidationError("--max-growth-bytes needs a --baseline to have grown since.")
        }
        if selection.sort.isOfHistory || selection.sort == .resident {
            throw ValidationError("A check looks at live blocks: --sort bytes, blocks or age.")
        }
    }

    func run() throws {
        var command = self
        if leaks { command.selection.verdict = VerdictList(argument: "definite,indirect") }
        try command.check()
    }

    /// Whether only lost blocks count.
    private var isOfLost: Bool {
        let lost = Set(Verdict.lost)
        return selection.verdict.map { $0.verdicts.isSubset(of: lost) } ?? false
            || maxDefinite != nil
                && [maxBytes?.bytes, maxBlocks, maxStacks, maxGrowthBytes?.bytes] == [nil, nil, nil, nil]
    }

    /// Each image must have a verdict. An incomplete verdict, which calls nothing definite, is reported by the
    /// warnings.
    private func requireVerdicts(_ reduction: Reduction) throws {
        guard maxDefinite != nil || selection.verdict != nil else { return }
        let without = reduction.inputs.filter { $0.verdict == nil }
        for input in without {
            say("\(input.path): it has no verdict: heaprun --leaks and heapdump --leaks make images with one")
        }
        if !without.isEmpty { throw ExitCode.badInput }
    }

    private func check() throws {
        let filter = try selection.filter()
        let symbolizer = try symbols.symbolizer()
        let rules = try SelectionOptions.read(selection.suppressions, into: Suppressions())
        let suppressions = noBuiltinSuppressions || isOfLost ? rules : rules.following(with: .builtin())
        let (reduction, status) = try reading.reduce(files)
        try requireVerdicts(reduction)
        if reduction.totals.blocksOfUnknownSize > 0, maxBytes != nil || maxGrowthBytes != nil {
            say(
                "the sizes of \(reduction.totals.blocksOfUnknownSize) blocks are not known, so a limit of bytes can't "
                    + "be held against them: --cache says it, or limit --max-blocks"
            )
            throw ExitCode.badInput
        }
        let before = try baseline.map { try read(baseline: $0, filter, suppressions, symbolizer) }
        let names = FrameNames(reduction, symbolizer: symbolizer)
        let check = Check(
            try rows(of: reduction, names, filter, suppressions), limits: limits, baseline: before, names: names)
        names.prepare(check.blamed.map(\.row))
        let inputs =
            inputFiles(files + (baseline.map { [$0] } ?? [])) + selection.suppressions + symbols.files
            + reduction.moduleFiles
        try output.write(inputs: inputs) { try write(check, reduction, names, to: $0) }
        if format != .table {
            for verdict in check.failures { say("check failed: \(check.sentence(verdict))") }
        }
        // If what was read exceeds a limit, the rest does not matter. If not, the rest is missing.
        if !check.passed { throw ExitCode.limitPassed }
        if let status { throw status }
    }

    private var limits: [(quantity: CheckedQuantity, most: UInt64)] {
        let given: [(CheckedQuantity, UInt64?)] = [
            (.bytes, maxBytes?.bytes), (.blocks, maxBlocks), (.stacks, maxStacks),
            (.growthBytes, maxGrowthBytes?.bytes), (.definite, maxDefinite?.bytes),
        ]
        return given.compactMap { quantity, most in most.map { (quantity, $0) } }
    }

    private func rows(
        of reduction: Reduction, _ names: FrameNames, _ filter: FrameFilter, _ suppressions: Suppressions
    ) throws -> RowSelection {
        // All rows: a limit applies to everything that counts, shown or not.
        var all = selection
        all.limits.top = 0
        return try all.rows(of: reduction, names: names, filter: filter, inTable: false, suppressions: suppressions)
    }

    private func read(
        baseline path: String, _ filter: FrameFilter, _ suppressions: Suppressions, _ symbolizer: Symbolizer
    ) throws -> Baseline {
        let reduction: Reduction
        let text = try reportBytes(path)
        if let bytes = text {
            let report: ReportedRows
            do throws(ReportedRowsError) { report = try ReportedRows(bytes, path: path) } catch {
                say("\(error)")
                throw ExitCode.badInput
            }
            if report.isGrouped {
                say(
                    "\(path): a report made with --by: its stacks, which suppressions are of, are not in it; make it "
                        + "without"
                )
                throw ExitCode.badInput
            }
            if report.missing > 0 {
                say(
                    "\(path): \(report.missing) of its stacks are not in it (--top, or filters, when it was made): "
                        + "growth is counted from what is there"
                )
            }
            reduction = report.reduction
        } else {
            let (read, status) = try reading.reduce([path])
            if let status { throw status }
            reduction = read
        }
        let names = FrameNames(reduction, symbolizer: symbolizer)
        return Baseline(
            path: path, isReport: text != nil, try rows(of: reduction, names, filter, suppressions).rows, names: names)
    }

    /// The bytes of a file that begins like JSON; nil for other files.
    private func reportBytes(_ path: String) throws -> [UInt8]? {
        var kind = stat()
        guard path.withPath({ stat($0, &kind) }) == 0, kind.st_mode & S_IFMT == S_IFREG else { return nil }
        let descriptor = path.withPath { open($0, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { break }
            bytes += chunk[..<count]
            if bytes.count == count, !ReportedRows.isReport(bytes) { return nil }
            if bytes.count > 1 << 30 {
                say("\(path): a report of more than 1 GB")
                throw ExitCode.badInput
            }
        }
        return ReportedRows.isReport(bytes) ? bytes : nil
    }

    private func write(_ check: Check, _ reduction: Reduction, _ names: FrameNames, to out: TextOutput) throws {
        let tree = SourceTree(sourceRoot)
        func top(_ usual: Int?) -> Int? { selection.limits.top.map { $0 == 0 ? nil : $0 } ?? usual }
        switch format {
        case .table:
            var text = CheckText(
                style: output.style, frameLimit: selection.limits.frames(inTable: true), top: top(10))
            text.next = next(check, names)
            try text.write(check, reduction, names: names, to: out)
        case .json:
            var report = JSONReport(frameLimit: selection.limits.frames(inTable: false))
            report.check = check
            var shown = check.selection
            if let limit = top(nil) { shown.rows = Array(shown.rows.prefix(limit)) }
            try report.write(reduction, shown, names: names, to: out)
        case .junit:
            try JUnitReport(frameLimit: selection.limits.frames(inTable: true), top: top(20)).write(
                check, reduction, names: names, to: out)
        case .sarif: try SARIFReport(tree: tree, top: top(nil)).write(check, reduction, names: names, to: out)
        case .github: try GitHubCommands(tree: tree, top: top(8)).write(check, reduction, names: names, to: out)
        }
    }

    private func next(_ check: Check, _ names: FrameNames) -> [String] {
        let named = files.map(shellWord).joined(separator: " ")
        var lines: [String] = []
        if let baseline = check.baseline, check.isOfGrowth, !baseline.isReport {
            lines.append("Next: heapsum diff \(shellWord(baseline.path)) \(named) shows all that changed.")
        } else {
            lines.append("Next: heapsum \(named) shows the whole heap; heapsum --by function \(named) sums it up.")
        }
        if let worst = check.blamed.first, let example = names.suppression(for: worst.row) {
            lines.append(
                "Known, and not to be fixed? Put a line such as  \(example)  into a file, and name it by "
                    + "--suppressions."
            )
        }
        return lines
    }
}
