// The options that select rows, shared by all commands that show rows.

import ArgumentParser
import Commands
import HeapImage
import Reduce
import Report

struct SelectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "What a row stands for. A block counts once: function, module, file and line are those of the innermost "
                + "frame that is not an allocation function."))
    var by: Grouping = .stack

    @Option(
        help: ArgumentHelp(
            "The order of the rows, largest first. resident looks up which of the blocks' pages are in memory, and is "
                + "for programs that run."))
    var sort: SortKey = .bytes

    @OptionGroup
    var limits: RowLimits

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Leave out rows that hold less: a number of bytes, or 64K, 10M, 1G.", valueName: "bytes"))
    var minBytes = ByteCount(bytes: 0)

    @Option(help: ArgumentHelp("Keep only stacks with a frame that matches (repeatable).", valueName: "regex"))
    var include: [String] = []

    @Option(help: ArgumentHelp("Leave out stacks with a frame that matches (repeatable).", valueName: "regex"))
    var exclude: [String] = []

    @Option(
        help: ArgumentHelp(
            "Count only blocks at least this old at the image's moment: 90s, 5m, 2h, 3d.", valueName: "time"))
    var olderThan: Duration?

    @Option(help: ArgumentHelp("Count only younger blocks.", valueName: "time"))
    var newerThan: Duration?

    @Option(
        help: ArgumentHelp(
            "Count only blocks allocated after the program set this mark (heapsum_mark). If several have this name, "
                + "the newest counts; NAME#2 is the second.",
            valueName: "mark"))
    var since: String?

    @Option(help: ArgumentHelp("Count only blocks allocated before this mark.", valueName: "mark"))
    var until: String?

    @Option(help: ArgumentHelp("Count only blocks of this thread (recorded by heaprun --threads).", valueName: "id"))
    var thread: UInt64?

    @Option(help: "The moment to show: end, the image's own, or peak, when the process held the most.")
    var at: Moment = .end

    @Option(
        help: ArgumentHelp(
            "Count only blocks with these verdicts, in dumps that have them (heapdump --leaks, heaprun --leaks): "
                + "definite, indirect, possible, reachable; separated by commas.",
            valueName: "list"))
    var verdict: VerdictList?

    @Option(
        help: ArgumentHelp(
            "Leave out the stacks that this file lists, in LeakSanitizer's or Valgrind's syntax (repeatable).",
            valueName: "file"),
        completion: .file())
    var suppressions: [String] = []

    @Flag(help: "List the suppressed rows with their rules.")
    var showSuppressed = false

    func validate() throws {
        if at == .peak {
            if since != nil || until != nil {
                throw ValidationError(
                    "Single blocks at the peak are not recorded: --at peak doesn't go with --since and --until."
                )
            }
            if olderThan != nil || newerThan != nil {
                throw ValidationError(
                    "The ages of blocks at the peak are not recorded: --at peak doesn't go with --older-than and "
                        + "--newer-than."
                )
            }
            if !by.hasHistory {
                throw ValidationError(
                    "The sizes of blocks at the peak are not recorded: --at peak doesn't go with --by size.")
            }
            if sort == .resident {
                throw ValidationError(
                    "What was resident at the peak is not recorded: --at peak doesn't go with --sort resident.")
            }
            if sort == .age {
                throw ValidationError(
                    "The ages of blocks at the peak are not recorded: --at peak doesn't go with --sort age.")
            }
        }
        if let olderThan, let newerThan, olderThan.seconds >= newerThan.seconds {
            throw ValidationError("No block is both older than \(olderThan.text) and newer than \(newerThan.text).")
        }
        if verdict != nil {
            if olderThan != nil || newerThan != nil || since != nil || until != nil || at == .peak || by == .size {
                throw ValidationError(
                    "A dump keeps its verdict by stack, not by block: --verdict doesn't go with --older-than, "
                        + "--newer-than, --since, --until, --at peak and --by size."
                )
            }
        }
        if !by.hasHistory && sort.isOfHistory {
            throw ValidationError(
                "Past blocks are not recorded by size: --by size goes with --sort bytes, blocks or age.")
        }
    }

    /// The expressions of --include and --exclude.
    func filter() throws -> FrameFilter {
        do throws(PatternError) {
            return try FrameFilter(include: include, exclude: exclude)
        } catch {
            throw ValidationError("\(error)")
        }
    }

    var blocks: BlockFilter {
        var blocks = BlockFilter()
        blocks.olderThan = olderThan?.seconds
        blocks.since = since
        blocks.until = until
        blocks.newerThan = newerThan?.seconds
        blocks.thread = thread
        blocks.moment = at
        blocks.verdicts = verdict?.verdicts
        return blocks
    }

    /// The rules in the files of --suppressions.
    func suppressionRules() throws -> Suppressions? {
        if suppressions.isEmpty { return nil }
        return try Self.read(suppressions, into: Suppressions())
    }

    static func read(_ files: [String], into rules: Suppressions) throws -> Suppressions {
        var rules = rules
        for file in files {
            do throws(SuppressionError) {
                try rules.read(file: file)
            } catch {
                say("\(error)")
                throw ExitCode.badInput
            }
        }
        return rules
    }

    /// The rows of a reduction that pass, in order.
    ///
    /// - Throws: `ExitCode.badInput` if rows at the peak are wanted and no input has a peak.
    func rows(
        of reduction: Reduction, names: FrameNames, filter: FrameFilter, inTable: Bool,
        suppressions: Suppressions? = nil,
        withFreed: Bool = false, withMappings: Bool = false
    ) throws -> RowSelection {
        if at == .peak && reduction.inputs.allSatisfy({ $0.image == nil }) {
            say("a log has no peak: --at peak goes with images")
            throw ExitCode.badInput
        }
        if verdict != nil && !reduction.hasVerdicts {
            say(
                "no image here has a verdict: --verdict goes with dumps of heapdump --leaks and heaprun --leaks; "
                    + "heapsum leaks PID examines a running program")
            throw ExitCode.badInput
        }
        for name in [since, until].compactMap({ $0 }) { try require(mark: name, in: reduction) }
        var selection = RowSelection(
            reduction, names: names, by: by, sort: sort, top: limits.rows(inTable: inTable), minBytes: minBytes.bytes,
            filter: filter,
            blocks: blocks, suppressions: suppressions, withFreed: withFreed, withMappings: withMappings)
        selection.suppressed.isListed = showSuppressed
        return selection
    }

    /// Reports which images don't have a mark.
    ///
    /// - Throws: `ExitCode.badInput` if none has it.
    private func require(mark name: String, in reduction: Reduction) throws {
        let images = reduction.inputs.compactMap(\.image)
        let without = images.filter { $0.mark(named: name) == nil }
        for image in without {
            let names = image.marks().suffix(8).map(\.name)
            say(
                "\(image.file): no mark has the name \(name)"
                    + (names.isEmpty
                        ? "; the program set none (heapsum.h)" : "; the newest are: \(names.joined(separator: ", "))"))
        }
        if without.count == images.count {
            if images.isEmpty { say("a log has no marks: --since and --until go with images") }
            throw ExitCode.badInput
        }
    }
}

/// A list of verdicts: definite,possible, or all.
struct VerdictList: ExpressibleByArgument {
    var verdicts: Set<Verdict>
    /// The list as it was given.
    var text: String

    init?(argument: String) {
        text = argument
        if argument == "all" {
            verdicts = Set(Verdict.shown)
            return
        }
        let words = argument.split(separator: ",").map { Verdict(text: String($0)) }
        guard !words.isEmpty, !words.contains(nil) else { return nil }
        verdicts = Set(words.compactMap { $0 })
    }
}
