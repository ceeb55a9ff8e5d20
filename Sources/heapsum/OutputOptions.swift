// The options for a report's output, shared by all commands that write reports.

import ArgumentParser
import Glibc
import Reduce
import Report
import Text

struct OutputOptions: ParsableArguments {
    @Option(
        name: [.short, .long], help: ArgumentHelp("Write to a file instead of standard output (-).", valueName: "file"),
        completion: .file())
    var output = "-"

    @Option(help: "When to use colours; auto honours NO_COLOR.")
    var color: ColorChoice = .auto

    /// The style for the table's output: a file has no width, and no colours unless they are always wanted.
    var style: Style {
        output == "-" ? Style(descriptor: STDOUT_FILENO, color: color) : Style(colors: color == .always)
    }

    /// Opens the output, and writes the whole report.
    ///
    /// - Parameter inputs: the files that the report is made from, which it must never replace: see `inputFiles`.
    /// - Throws: `ExitCode.badInput` if it can't be written, after a message; what `body` throws.
    func write(inputs: [String], _ body: (TextOutput) throws -> Void) throws {
        try writing {
            let out = try TextOutput(path: output, inputs: inputs)
            try body(out)
            try out.finish()
        }
    }
}

/// Runs `body`, and turns an output that can't be written into a message and an exit status.
func writing(_ body: () throws -> Void) throws {
    expectClosedReaders()
    do { try body() } catch let error as OutputError {
        if !error.isClosedReader { say("\(error)") }
        throw ExitCode(unwritableStatus)
    }
}

/// The files of the user's arguments: for a directory its images, for one set of a log (LOG@2) the log.
func inputFiles(_ paths: [String]) -> [String] {
    paths.flatMap { path in (try? InputSelection.files(at: Inputs.set(of: path).file)) ?? [path] }
}

extension Reduction {
    /// The files of its modules, from which names are read.
    var moduleFiles: [String] { modules.filter(\.isFile).map { pathText($0.path) } }
}
