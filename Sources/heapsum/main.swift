// heapsum: reduces images to unique stacks. This file only picks the command; a first word that is
// none of the commands' names is a file. (A file called "info" is ./info.)

import ArgumentParser

let commands: [String: any ParsableCommand.Type] = [
    "check": CheckCommand.self, "diff": DiffCommand.self, "info": InfoCommand.self, "pack": PackCommand.self,
]

let words = Array(CommandLine.arguments.dropFirst())
if words.first == "help" {
    (words.dropFirst().first.flatMap { commands[$0] } ?? ReduceCommand.self).main(["--help"])
} else if let command = words.first.flatMap({ commands[$0] }) {
    (wantsCompletions(words.dropFirst()) ? command.completed : command).main(Array(words.dropFirst()))
} else {
    ReduceCommand.main(words)
}
