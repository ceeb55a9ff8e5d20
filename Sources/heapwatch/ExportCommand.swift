// heapwatch export: a recording's numbers for other tools.

import ArgumentParser
import Commands
import Glibc
import Text
import Watch

extension ExportFormat: ExpressibleByArgument {}

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapwatch export",
        abstract: "Prints a recording as CSV, for Graphite, or as OpenMetrics.",
        discussion: """
            csv: one line a number: time, kind, pid, name, column, value. graphite: its plaintext protocol, every \
            sample. openmetrics: the newest sample, as a scrape would see it.

            --follow goes on as samples are gathered, until a signal. Each receiver's place is remembered in DIR: a \
            run that is started again goes on there, and what a receiver missed while it was away it gets when it is \
            back.

            EXAMPLES
              heapwatch export watch --format csv -o watch.csv
              heapwatch export watch --format graphite --to graphite.example:2003
              heapwatch export watch --format graphite --to graphite.example:2003 --follow
              heapwatch export watch --format openmetrics --to http://metrics.example:8428/api/v1/import/prometheus \
            --follow
              heapwatch export watch --format openmetrics --follow -o /var/lib/node_exporter/heapwatch.prom
            """)

    @Argument(help: ArgumentHelp("The recording.", valueName: "dir"), completion: .directory)
    var directory: String
    @Option(help: "csv, graphite or openmetrics.")
    var format: ExportFormat
    @Option(
        name: .shortAndLong, help: ArgumentHelp("Where it goes; - is standard output.", valueName: "file"),
        completion: .file())
    var output: String = "-"
    @Option(
        help: ArgumentHelp(
            "Send it to a host and port instead (Graphite's is 2003), or post OpenMetrics to a URL.",
            valueName: "host:port|url"))
    var to: String?
    @Flag(help: "Go on while samples are gathered, until a signal.")
    var follow = false
    @Option(help: ArgumentHelp("End following after this time.", valueName: "time"))
    var duration: Duration?

    func validate() throws {
        if to != nil && output != "-" { throw ValidationError("--to and -o: one of them.") }
        if to != nil && format == .csv { throw ValidationError("--to is for --format graphite and openmetrics.") }
        if let to, Receiver(to, format: format) == nil {
            throw ValidationError(
                "--to \(to): a host and a port are wanted, graphite.example:2003"
                    + (format == .openmetrics ? ", or http://metrics.example:8428/path." : "."))
        }
        if duration != nil && !follow { throw ValidationError("--duration goes with --follow.") }
        if follow && output != "-" && format != .openmetrics {
            throw ValidationError(
                "--follow -o: for --format openmetrics, whose file has the newest sample. Others go to standard "
                    + "output, or --to a receiver."
            )
        }
    }

    func run() throws {
        try reading {
            expectClosedReaders()
            if follow {
                try Following(
                    directory: directory, format: format, output: output,
                    receiver: to.flatMap { Receiver($0, format: format) }
                ).run(for: duration)
                return
            }
            var export = Export(format: format)
            if let receiver = to.flatMap({ Receiver($0, format: format) }) {
                let text = TextOutput()
                try export.write(directory, to: text)
                if let failure = receiver.deliver(text.bytes) { throw WatchError("\(receiver.name): \(failure)") }
            } else {
                let out = try TextOutput(path: output, inputs: recordingFiles(directory))
                try export.write(directory, to: out)
                try out.finish()
            }
            for damage in export.damages.prefix(8) { say(damage.text) }
        }
    }
}
