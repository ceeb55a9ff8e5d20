// heapwatch: which process grows, or is it the kernel? This file only picks the command; without one it gathers.

import ArgumentParser

let commands: [String: any ParsableCommand.Type] = [
    "run": RunCommand.self, "verdict": VerdictCommand.self, "report": ReportCommand.self, "export": ExportCommand.self, "bundle": BundleCommand.self,
]

let arguments = Array(CommandLine.arguments.dropFirst())
if arguments.first == "help" {
    (arguments.dropFirst().first.flatMap { commands[$0] } ?? GatherCommand.self).main(["--help"])
} else if let command = arguments.first.flatMap({ commands[$0] }) {
    command.main(Array(arguments.dropFirst()))
} else {
    GatherCommand.main(arguments)
}
