// heapsum info: how recorded programs stand.

import ArgumentParser
import Glibc
import HeapImage
import Report

struct InfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum info",
        abstract: "Tells how a recorded program stands: identity, counts, losses, modules, timeline.",
        discussion: """
            EXAMPLES
              heapsum info app.4711.heap
              heapsum info out/*.heap
            """)

    @Argument(help: "Images or dumps.")
    var files: [String]

    @Option(help: "Colours: auto, always, never. NO_COLOR is honoured.")
    var color: ColorChoice = .auto

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name an image.") }
    }

    func run() throws {
        let out = try TextOutput(path: "-")
        var failed = false
        for (index, file) in files.enumerated() {
            do {
                let image = try HeapImage(path: file)
                if index > 0 { try out.write("\n") }
                try InfoReport(style: Style(descriptor: STDOUT_FILENO, color: color)).write(image, to: out)
            } catch let error as OutputError {
                say("\(error)")
                throw ExitCode.badInput
            } catch {
                say("\(error)")
                failed = true
            }
        }
        try out.finish()
        if failed { throw ExitCode.badInput }
    }
}
