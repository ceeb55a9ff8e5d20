// Where a report goes, as the user says it: the same words for every command that writes one.

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

    /// What suits where a table goes: a file has no width, and no colours unless they are always wanted.
    var style: Style {
        output == "-" ? Style(descriptor: STDOUT_FILENO, color: color) : Style(colors: color == .always)
    }

    /// Opens what was named, and writes all of it.
    ///
    /// - Parameter inputs: what the report is made of, which it never takes the place of: see `inputFiles`.
    /// - Throws: `ExitCode.badInput` where it can't be written, which is said; what `body` throws.
    func write(inputs: [String], _ body: (TextOutput) throws -> Void) throws {
        try writing {
            let out = try TextOutput(path: output, inputs: inputs)
            try body(out)
            try out.finish()
        }
    }
}

/// Runs what writes, and turns an output that can't be written into a message and an exit status.
func writing(_ body: () throws -> Void) throws {
    expectClosedReaders()
    do { try body() } catch let error as OutputError {
        if !error.isClosedReader { say("\(error)") }
        throw ExitCode(unwritableStatus)
    }
}

/// The files behind what the user named: of a directory its images, of one set of a log (LOG@2) the log.
func inputFiles(_ paths: [String]) -> [String] {
    paths.flatMap { path in (try? InputSelection.files(at: Inputs.set(of: path).file)) ?? [path] }
}

extension Reduction {
    /// The files of the modules in it, which names are read from.
    var moduleFiles: [String] { modules.filter(\.isFile).map { pathText($0.path) } }
}
