// Tools with commands that need none: heapsum's first word may be a file, heapwatch's an option. So a tool picks its
// command itself, and the parser knows of no tree of them. For the shells' completions each command makes a script as
// if it were a tool called heapsum-COMMAND, and scripts/install-completions puts them together.

import ArgumentParser

/// Runs the command that the first word names, or else the tool itself; `help COMMAND` is the command's `--help`.
package func runTool(_ tool: any ParsableCommand.Type, commands: [String: any ParsableCommand.Type]) {
    let words = Array(CommandLine.arguments.dropFirst())
    if words.first == "help" {
        (words.dropFirst().first.flatMap { commands[$0] } ?? tool).main(["--help"])
    } else if let command = words.first.flatMap({ commands[$0] }) {
        let wantsCompletions = words.dropFirst().first?.hasPrefix("--generate-completion-script") == true
        (wantsCompletions ? command.completed : command).main(Array(words.dropFirst()))
    } else {
        tool.main(words)
    }
}

/// A command as a tool of its own, to be completed; it is never run.
private struct Completed<Command: ParsableCommand>: ParsableCommand {
    static var configuration: CommandConfiguration {
        let words = (Command.configuration.commandName ?? "").split(separator: " ")
        return CommandConfiguration(commandName: words.joined(separator: "-"), abstract: Command.configuration.abstract)
    }

    @OptionGroup var options: Command
}

extension ParsableCommand {
    fileprivate static var completed: any ParsableCommand.Type { Completed<Self>.self }
}
