// heapwatch verdict: what a recording shows.

import ArgumentParser
import Glibc
import Text
import Watch

enum VerdictFormat: String, CaseIterable, ExpressibleByArgument { case text, json }

struct VerdictCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapwatch verdict",
        abstract: "Shows where the memory is, what grows, and what to do next.",
        discussion: """
            Growth is reported only if the level rises throughout and by an amount that matters. The chance that any \
            innocent series of a recording is accused is at most one in a hundred. A recording can be read while it \
            is being made.

            EXAMPLES
              heapwatch verdict watch
              heapwatch verdict watch --fail-on-growth --format json > verdict.json

            Exit status: 0; 1 with --fail-on-growth where something grows; 2 where nothing can be read; \
            64 wrong arguments.
            """)

    @Argument(
        help: ArgumentHelp("The recording: the directory of heapwatch -o.", valueName: "dir"), completion: .directory)
    var directory: String

    @Option(help: "text or json (schema heapwatch/1).")
    var format: VerdictFormat = .text

    @Option(
        name: .shortAndLong, help: ArgumentHelp("The file for the verdict; - is standard output.", valueName: "file"),
        completion: .file())
    var output: String = "-"

    @Flag(help: "Exit with status 1 if something grows, waits in a socket, or was left behind by a job.")
    var failOnGrowth = false

    @Option(help: "Colours: auto, always, never. NO_COLOR is honoured.")
    var color: ColorChoice = .auto

    func run() throws {
        expectClosedReaders()
        try reading {
            let verdict = try HeapwatchTool.verdict(of: directory)
            let out = try TextOutput(path: output, inputs: recordingFiles(directory))
            switch format {
            case .text:
                try VerdictText(style: output == "-" ? Style(descriptor: STDOUT_FILENO, color: color) : Style()).write(
                    verdict, to: out)
            case .json: try VerdictJSON().write(verdict, to: out)
            }
            try out.finish()
            for damage in verdict.damages.prefix(8) { say(damage.text) }
            if failOnGrowth && verdict.hasGrowth { throw ExitCode.grows }
        }
    }
}
