// Which rows are wanted, as the user says it: the same words for every command that shows rows.

import ArgumentParser
import Reduce
import Report

struct SelectionOptions: ParsableArguments {
    @Option(help: "What a row is of. A block counts once: for a function, module, file or line by the innermost frame that is no allocation function.")
    var by: Grouping = .stack

    @Option(help: "What the rows are ordered by, the largest first.")
    var sort: SortKey = .bytes

    // Taken whatever they begin with: of -1 the number is wrong, and not missing.
    @Option(parsing: .unconditional, help: ArgumentHelp("Show this many rows (default: 20 in a table, else all; 0: all).", valueName: "n"))
    var top: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Show this many frames of each stack (default: 20 in a table, else all; 0: all).", valueName: "n"))
    var frames: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Leave out rows that hold less: a number of bytes, or 64K, 10M, 1G.", valueName: "bytes"))
    var minBytes = ByteCount(value: 0)

    @Option(help: ArgumentHelp("Keep only stacks with a frame that matches (repeatable).", valueName: "regex"))
    var include: [String] = []

    @Option(help: ArgumentHelp("Leave out stacks with a frame that matches (repeatable).", valueName: "regex"))
    var exclude: [String] = []

    func validate() throws {
        if let top, top < 0 { throw ValidationError("--top takes a number from 0 on.") }
        if !by.hasHistory && sort.isOfHistory {
            throw ValidationError("What came and went is not recorded by size: --by size goes with --sort bytes, blocks or age.")
        }
        if let frames, frames < 0 { throw ValidationError("--frames takes a number from 0 on.") }
    }

    /// The expressions of --include and --exclude.
    func filter() throws -> FrameFilter {
        do throws(PatternError) {
            return try FrameFilter(include: include, exclude: exclude)
        } catch {
            throw ValidationError("\(error)")
        }
    }

    /// The limit that a number of --top or --frames means: 20 in a table unless said, and none for 0.
    func limit(_ value: Int?, inTable: Bool) -> Int? {
        guard let value else { return inTable ? 20 : nil }
        return value == 0 ? nil : value
    }

    /// The rows of a reduction that pass, in their order.
    func rows(of reduction: Reduction, names: FrameNames, filter: FrameFilter, inTable: Bool) -> RowSelection {
        RowSelection(reduction, names: names, by: by, sort: sort, top: limit(top, inTable: inTable), minBytes: minBytes.value, filter: filter)
    }
}
