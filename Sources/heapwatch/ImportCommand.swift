// heapwatch import: makes a recording from data that others gathered.

import ArgumentParser
import Commands
import Proc
import Text
import Watch

extension ImportFormat: ExpressibleByArgument {}
extension ImportUnit: ExpressibleByArgument {}

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapwatch import",
        abstract:
            "Makes a recording from data that others gathered: logs of vmstat, ps and top, monitoring scripts' "
            + "files, sar, atop.",
        discussion: """
            Read are the texts that these print, in any mixture, with dates between them as date prints them, in ISO \
            8601, or as seconds since 1970: ps (any columns with a PID), top -b, vmstat (-t, -w, -s, -m, and the \
            BSDs' -m and -z), free, uptime, slabtop -o, and /proc's meminfo, slabinfo, vmstat, loadavg, pressure, \
            stat, PID/status. And atop -P ALL, and sadf -j. Several files, of one machine, become one recording: \
            verdict, report and export read it like any other.

            EXAMPLES
              heapwatch import -o watch /var/log/monitor.log
              heapwatch import -o watch vmstat.log --interval 60s --start '2026-11-23 08:00'
              sadf -j -1 -- -r ALL -S -W -q ALL -u > sar.json; heapwatch import -o watch sar.json
              atop -r atop.log -P ALL > atop.txt; heapwatch import -o watch atop.txt
              zcat monitor.log.*.gz | heapwatch import -o watch -

            Exit status: 0, with unreadable lines reported on stderr; 2 if nothing could be read; 64 wrong arguments.
            """)

    @Argument(
        help: ArgumentHelp("The files that were gathered; - is standard input.", valueName: "file"), completion: .file()
    )
    var files: [String]
    @Option(
        name: .shortAndLong, help: ArgumentHelp("The directory for the new recording.", valueName: "dir"),
        completion: .directory)
    var output: String
    @Option(help: "auto, text, atop or sadf.")
    var format: ImportFormat = .auto
    @Option(help: ArgumentHelp("The time between two samples, if the file has no dates.", valueName: "time"))
    var interval: Duration?
    @Option(
        help: ArgumentHelp(
            "The first sample's date and time, if the file has none: '2026-11-23 08:00'.", valueName: "date"))
    var start: String?
    @Option(help: "The unit of free and vmstat: b, k, m or g (default: k, which they use without an option).")
    var unit: ImportUnit?
    @Option(
        help: ArgumentHelp("The columns of ps, if its rows have no heading: 'PID RSS COMMAND'.", valueName: "names"))
    var columns: String?
    @Option(
        help: ArgumentHelp(
            "The size of a page on the machine that was watched: 64K (default: 4K). 'getconf PAGESIZE' says it there.",
            valueName: "bytes"))
    var pageSize: PageSize?
    @Option(help: ArgumentHelp("The machine's name, for reports.", valueName: "name"))
    var host: String = ""

    func validate() throws {
        if files.isEmpty { throw ValidationError("No file to read.") }
        if let start, importTime(start) == nil {
            throw ValidationError("--start \(start): a date is wanted, 2026-11-23, or with a time, '2026-11-23 08:00'.")
        }
        if let columns, !ImportOptions.areColumns(columns) {
            throw ValidationError(
                "--columns '\(columns)': PID, a command and RSS, VSZ or TIME are wanted, as ps names them: 'PID RSS "
                    + "COMMAND'."
            )
        }
        if let interval, interval.milliseconds < 1 { throw ValidationError("--interval: more than nothing.") }
    }

    func run() throws {
        try reading {
            var options = ImportOptions()
            (options.format, options.unit, options.host, options.columns) = (format, unit, host, columns)
            options.givenPageBytes = pageSize.map { Int64($0.bytes) }
            options.intervalMilliseconds = interval?.milliseconds
            options.start = start.flatMap { importTime($0) }
            let result = try Import(options).run(files, into: output)
            for file in result.files {
                for note in file.notes { say(note) }
                for line in file.unread.prefix(10) { say(line) }
                if file.unreadCount > 0 {
                    say(
                        "\(file.path): \(counted(UInt64(file.unreadCount), "line")) could not be read"
                            + (file.unreadCount > 10 ? ", the first 10 stand above" : ""))
                }
            }
            say(
                "\(counted(UInt64(result.samples), "sample")), \(isoTime(result.from)) to \(isoTime(result.to)), in "
                    + "\(output); heapwatch verdict \(output)"
            )
        }
    }
}
