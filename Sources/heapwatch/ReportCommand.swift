// heapwatch report: a recording as a page for a browser.

import ArgumentParser
import Text
import Watch

struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapwatch report",
        abstract:
            "Writes a recording as one HTML page: graphs of all processes and of the kernel's memory, and tables.",
        discussion: """
            The page is self-contained and needs no network: it can be mailed, or kept with a build. A recording can \
            be read while it is being made.

            EXAMPLES
              heapwatch report watch
              heapwatch report watch -o /var/www/memory.html

            Exit status: 0; 2 if nothing can be read or the page can't be written; 64 wrong arguments.
            """)

    @Argument(
        help: ArgumentHelp("The recording: the directory of heapwatch -o.", valueName: "dir"), completion: .directory)
    var directory: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("The file for the page; - is standard output.", valueName: "file"),
        completion: .file())
    var output: String = "index.html"

    func run() throws {
        expectClosedReaders()
        try reading {
            var examination = Examination(directory: directory)
            let verdict = try examination.run()
            let out = try TextOutput(path: output, inputs: recordingFiles(directory))
            try examination.writePage { try out.write($0) }
            try out.finish()
            for damage in verdict.damages.prefix(8) { say(damage.text) }
        }
    }
}
