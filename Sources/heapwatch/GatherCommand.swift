// heapwatch without a command: gathers samples into a directory, or shows the current state on a terminal.

import ArgumentParser
import Commands
import Glibc
import Text
import Watch

/// The options for which processes and values to gather, shared by gathering and jobs.
struct GatherArguments: ParsableArguments {
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp("Watch this process, and its successor after a restart; repeatable.", valueName: "pid"))
    var pid: [Int] = []
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp("Watch processes with this name (a shell pattern); repeatable.", valueName: "glob"))
    var name: [String] = []
    @Flag(help: "Watch all processes; the default if none is named.")
    var all = false
    @Flag(help: "Also watch the descendants of the named processes.")
    var children = false
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Watch this control group's memory (a path below the hierarchy); repeatable.", valueName: "path"))
    var cgroup: [String] = []
    @Flag(help: "Also read proportional set sizes, for which the kernel walks all pages of each process.")
    var pss = false
    @Option(
        help: ArgumentHelp(
            "Above this size, samples are thinned out by half, the least thinned first.", valueName: "size"))
    var keep = ByteCount(bytes: 256 << 20, text: "256M")
    @Option(
        help: ArgumentHelp("Read /proc and /sys below this directory.", visibility: .hidden), completion: .directory)
    var root: String = ""

    func validate() throws {
        if all && !(pid.isEmpty && name.isEmpty) {
            throw ValidationError("--all watches everything: --pid and --name mean nothing beside it.")
        }
        if let wrong = pid.first(where: { $0 < 1 }) {
            throw ValidationError("--pid \(wrong): a process's number, from 1.")
        }
        if children && pid.isEmpty && name.isEmpty { throw ValidationError("--children goes with --pid or --name.") }
    }

    var options: GatherOptions {
        var options = GatherOptions()
        options.root = root
        options.selection = Selection(pids: pid.map { Int64($0) }, names: name, withChildren: children)
        options.groups = cgroup
        options.proportional = pss
        return options
    }
}

struct GatherCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapwatch",
        abstract: "Watches processes and the system over minutes or weeks, and tells which one grows.",
        usage: """
            heapwatch [-o DIR] [--interval 60s] [--duration 5d] [--pid PID… | --name GLOB… | --all]
            heapwatch run -o DIR -- JOB…
            heapwatch verdict DIR [--format json] [--fail-on-growth]
            heapwatch report DIR [-o index.html]
            heapwatch import -o DIR FILE…
            heapwatch export DIR --format csv|graphite|openmetrics [--to HOST:PORT] [--follow]
            heapwatch bundle DIR [--redact] -o FILE.tgz
            """,
        discussion: """
            With -o, samples of the named processes and of the whole system are added to DIR until a signal or the \
            end time. A second run continues where the first stopped, and DIR can be read at any time. Without -o, a \
            table on the terminal shows the current state.

            EXAMPLES
              heapwatch                                          a table, renewed every 2 seconds
              heapwatch -o watch --interval 10s --duration 1h    everything, for an hour
              heapwatch -o watch --name 'nginx*' --low-priority  one service, until it is stopped
              heapwatch report watch -o memory.html              a page of graphs and tables, for a browser
              heapwatch verdict watch                            what grows, and what to do next

            `heapwatch help COMMAND` tells more of each.
            """,
        version: "heapwatch \(version)")

    @Option(
        name: .shortAndLong, help: ArgumentHelp("The directory for the samples, created if missing.", valueName: "dir"),
        completion: .directory)
    var output: String?
    @Option(
        help: ArgumentHelp(
            "The time between two samples: 1s, 60s, 5m (default: 60s; 2s for the table).", valueName: "time"))
    var interval: Duration?
    @Option(help: ArgumentHelp("End after this time (default: at a signal).", valueName: "time"))
    var duration: Duration?
    @Flag(help: "Run with low priority, and use the disk only when it is idle.")
    var lowPriority = false
    @Flag(help: "No messages at the start and the end.")
    var quiet = false
    @OptionGroup var gathering: GatherArguments

    func validate() throws {
        if let interval, interval.seconds < 0.1 { throw ValidationError("--interval: 100ms at least.") }
        if let duration, duration.seconds <= 0 { throw ValidationError("--duration: more than nothing.") }
    }

    func run() throws {
        guard let output else {
            try LiveCommand.show(gathering.options, every: interval ?? Duration(seconds: 2), for: duration)
            return
        }
        try reading {
            if lowPriority { lowerPriority() }
            let interval = interval ?? Duration(seconds: 60)
            let stop = StopSignals()
            let gatherer = Gatherer(gathering.options)
            let writer = try SampleWriter(
                directory: output, head: machineHead(root: gathering.root, interval: interval.milliseconds),
                keptBytes: gathering.keep.bytes)
            gatherer.continueSuspects(in: output)
            var suspects = SuspectFile(directory: output)
            let begin = bootMilliseconds()
            let end = duration.map { begin + $0.milliseconds }
            if !quiet {
                say(
                    "gathers into \(output) every "
                        + "\(shortDuration(interval.seconds))\(end == nil ? " until it is stopped" : ""); heapwatch "
                        + "verdict \(output) tells what it shows, at any time"
                )
            }
            var next = begin, samples = 0
            while true {
                try writer.append(gatherer.sample(at: bootMilliseconds()))
                samples += 1
                for missing in gatherer.takeMissing() {
                    writer.note(missing.text)
                    if !quiet { say(missing.text) }
                }
                if let note = suspects.append(gatherer.takeSuspects()) {
                    writer.note(note)
                    say(note)
                }
                for note in writer.takeNotes() { say(note) }
                if let end, next >= end { break }
                // A late sample doesn't delay later ones. Samples missed while the machine slept are not taken
                // afterwards.
                next += interval.milliseconds
                if next <= bootMilliseconds() { next = bootMilliseconds() + interval.milliseconds }
                if let end, next > end { next = end }
                if stop.wait(until: next) { break }
            }
            writer.finish()
            if !quiet {
                say(
                    "\(counted(UInt64(samples), "sample")) in "
                        + "\(output)\(writer.lost > 0 ? ", \(writer.lost) lost" : ""); heapwatch verdict \(output)"
                )
            }
        }
    }
}
