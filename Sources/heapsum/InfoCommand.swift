// heapsum info: the state of recorded programs.

import ArgumentParser
import Glibc
import HeapImage
import Launch
import Reduce
import Report
import Survey
import Symbols
import Text

struct InfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum info",
        abstract: "Shows the state of a recorded program: identity, counts, losses, modules, timeline.",
        discussion: """
            EXAMPLES
              heapsum info app.4711.heap
              heapsum info 4711                   the recorded process 4711, as it is now
              heapsum info out/

            Of a directory the newest image of each process is told of, and what is left out is said.
            """)

    @Argument(
        help: ArgumentHelp(
            "Images, dumps, directories of them, or recorded processes by their PID.", valueName: "file-or-directory"),
        completion: .file())
    var files: [String]

    @Option(help: "Colours: auto, always, never. NO_COLOR is honoured.")
    var color: ColorChoice = .auto

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name an image.") }
    }

    func run() throws {
        // Each argument is resolved by itself: a dump that is named is always shown.
        var failed = false
        let selections = files.compactMap { file -> InputSelection? in
            let named = NamedProgram(file)
            if let note = named.note { say(note) }
            guard named.processID != nil else { return InputSelection(paths: [file]) }
            do { return InputSelection(images: [try named.image()]) } catch {
                say((error as? LaunchError)?.message ?? "\(error)")
                failed = true
                return nil
            }
        }
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
                    var report = InfoReport(style: Style(descriptor: STDOUT_FILENO, color: color))
                    report.memory = memory(of: image)
                    report.mappings = NamedProgram.process(of: image).flatMap {
                        MappingSurvey.take(of: $0, image: image)
                    }
                    try report.write(image, to: out)
                } catch let error as InputError {
                    say("\(error)")
                    failed = true
                }
            }
            try out.finish()
        }
        if failed { throw ExitCode.badInput }
    }

    /// The verdict on a running process's memory, or why there is none; nil if the process does not run.
    private func memory(of image: HeapImage) -> String? {
        guard let process = NamedProgram.process(of: image) else { return nil }
        do {
            let taken = try TakenSurvey(image, process: process, symbolizer: Symbolizer())
            guard let memory = taken.memory else { return "not told: the process ended meanwhile" }
            return ([memory.text] + taken.report.survey.notes).joined(separator: "; ")
        } catch {
            return "not told: \(printable((error as? InputError)?.what ?? "\(error)"))"
        }
    }
}
