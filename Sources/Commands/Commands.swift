// Tools with optional commands: heapsum's first word may be a file, heapwatch's an option. So a tool picks its command
// itself, and the parser has no tree of commands. For completions each command makes a script as if it were a tool
// called heapsum-COMMAND; scripts/install-completions puts these together.

import ArgumentParser
import Glibc
import SystemPackage
import Text

/// Runs the command that the first word names, otherwise the tool itself. `help COMMAND` is the command's `--help`.
package func runTool(_ tool: any ParsableCommand.Type, commands: [String: any ParsableCommand.Type]) -> Never {
    let words = commandWords()
    if words.first == "help" {
        run(words.dropFirst().first.flatMap { commands[$0] } ?? tool, ["--help"])
    } else if let command = words.first.flatMap({ commands[$0] }) {
        let wantsCompletions = words.dropFirst().first?.hasPrefix("--generate-completion-script") == true
        run(wantsCompletions ? command.completed : command, Array(words.dropFirst()))
    } else {
        run(tool, words)
    }
}

/// Runs a tool that has no commands.
package func runTool(_ tool: any ParsableCommand.Type) -> Never { run(tool, commandWords()) }

// Like the parser's own `main`, with two differences: failing to write the help is an error, and arguments that are not
// UTF-8 are shown escaped.
private func run(_ tool: any ParsableCommand.Type, _ words: [String]) -> Never {
    holdStandardDescriptors()
    do {
        var command = try tool.parseAsRoot(words)
        try command.run()
        exit(0)
    } catch {
        let status = tool.exitCode(for: error).rawValue, text = tool.fullMessage(for: error)
        if status != 0 {
            for line in text.split(separator: "\n", omittingEmptySubsequences: false) where !text.isEmpty {
                say(String(line))
            }
            exit(status)
        }
        expectClosedReaders()
        if !text.isEmpty && !writeData(text) {
            let failure = OutputError(path: "standard output", errno: Errno(rawValue: errno))
            if !failure.isClosedReader { say("\(tool.configuration.commandName ?? "the tool"): \(failure)") }
            exit(unwritableStatus)
        }
        exit(0)
    }
}

// If a standard stream is closed at the start, the next file opened would take its number, and a report would go into
// that file. The descriptor that takes its place can't be used either, and is closed in programs that we start.
private func holdStandardDescriptors() {
    for number in STDIN_FILENO ... STDERR_FILENO where fcntl(number, F_GETFD) < 0 {
        _ = open("/dev/null", (number == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC)
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
