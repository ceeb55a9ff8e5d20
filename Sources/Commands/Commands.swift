// What shells complete of heapsum's commands. heapsum picks its commands itself (see main.swift), so that a file needs
// no command; the parser knows of no tree of them. So each command makes a script as if it were a tool called
// heapsum-COMMAND, and scripts/install-completions puts them together.
//
// Nothing here is ever run.

import ArgumentParser

/// A command as a tool of its own.
private struct Completed<Command: ParsableCommand>: ParsableCommand {
    static var configuration: CommandConfiguration {
        let words = (Command.configuration.commandName ?? "heapsum").split(separator: " ")
        return CommandConfiguration(commandName: words.joined(separator: "-"), abstract: Command.configuration.abstract)
    }

    @OptionGroup var options: Command
}

extension ParsableCommand {
    /// The command that makes the script.
    static var completed: any ParsableCommand.Type { Completed<Self>.self }
}

/// Whether a command's words ask for a script of completions.
func wantsCompletions(_ words: ArraySlice<String>) -> Bool {
    words.first?.hasPrefix("--generate-completion-script") == true
}
