// The options that limit how much is shown, shared by all commands that show rows.

import ArgumentParser

struct RowLimits: ParsableArguments {
    // The next word is the value, even if it begins with a dash: so -1 is a wrong number, not a missing value.
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Show this many rows (default: 20 in a table, else all; 0: all).", valueName: "n"))
    var top: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Show this many frames of each stack (default: 20 in a table, else all; 0: all).", valueName: "n"))
    var frames: Int?

    func validate() throws {
        if let top, top < 0 { throw ValidationError("--top takes a number from 0 on.") }
        if let frames, frames < 0 { throw ValidationError("--frames takes a number from 0 on.") }
    }

    /// The most rows to show; nil: all.
    func rows(inTable: Bool) -> Int? { Self.limit(top, inTable: inTable) }

    /// The most frames to show of each stack; nil: all.
    func frames(inTable: Bool) -> Int? { Self.limit(frames, inTable: inTable) }

    /// Without a number, 20 in a table and all elsewhere; 0 means all.
    private static func limit(_ value: Int?, inTable: Bool) -> Int? {
        guard let value else { return inTable ? 20 : nil }
        return value == 0 ? nil : value
    }
}
