// heapsum info: the state of recorded programs.

import ArgumentParser
import Glibc
import HeapImage
import Reduce
import Report
import Text

struct InfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum info",
        abstract: "Shows the state of a recorded program: identity, counts, losses, modules, timeline.",
        discussion: """
            EXAMPLES
              heapsum info app.4711.heap
              heapsum info out/

            Of a directory the newest image of each process is told of, and what is left out is said.
            """)

    @Argument(
        help: ArgumentHelp("Images, dumps, or directories of them.", valueName: "file-or-directory"),
        completion: .file())
    var files: [String]

    @Option(help: "Colours: auto, always, never. NO_COLOR is honoured.")
    var color: ColorChoice = .auto

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name an image.") }
    }

    func run() throws {
        // Each argument is resolved by itself: a dump that is named is always shown.
        let selections = files.map { InputSelection(paths: [$0]) }
        var failed = false
        for failure in selections.flatMap(\.failures) {
            say("\(failure)")
            failed = true
        }
        for line in selections.flatMap(\.leftOutLines) { say(line) }
        try writing {
            let out = try TextOutput(path: "-")
            for (index, image) in selections.flatMap(\.chosen).enumerated() {
                do {
                    if index > 0 { try out.write("\n") }
                    try InfoReport(style: Style(descriptor: STDOUT_FILENO, color: color)).write(image, to: out)
                } catch let error as InputError {
                    say("\(error)")
                    failed = true
                }
            }
            try out.finish()
        }
        if failed { throw ExitCode.badInput }
    }
}
