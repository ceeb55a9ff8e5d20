// Where a report goes, as the user says it: the same words for every command that writes one.

import ArgumentParser
import Glibc
import Report

struct OutputOptions: ParsableArguments {
    @Option(name: [.short, .long], help: ArgumentHelp("Write to a file instead of standard output (-).", valueName: "file"), completion: .file())
    var output = "-"

    @Option(help: "When to use colours; auto honours NO_COLOR.")
    var color: ColorChoice = .auto

    /// What suits where a table goes: a file has no width, and no colours unless they are always wanted.
    var style: Style { output == "-" ? Style(descriptor: STDOUT_FILENO, color: color) : Style(colors: color == .always) }

    /// Opens what was named, and writes all of it.
    ///
    /// - Throws: `ExitCode.badInput` where it can't be written, which is said; what `body` throws.
    func write(_ body: (TextOutput) throws -> Void) throws {
        do {
            let out = try TextOutput(path: output)
            try body(out)
            try out.finish()
        } catch let error as OutputError {
            say("\(error)")
            throw ExitCode.badInput
        }
    }
}
