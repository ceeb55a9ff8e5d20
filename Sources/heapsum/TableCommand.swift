// heapsum table: images as tables, for engines that add up thousands of them.

import ArgumentParser
import Commands
import Glibc
import HeapImage
import Launch
import Proc
import Report
import Symbols
import SystemPackage
import Text

/// The tables' file format.
private enum TableKind: String, CaseIterable, ExpressibleByArgument {
    case csv, jsonl, parquet
}

struct TableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum table",
        abstract: "Writes images as two tables, facts and stacks, for DuckDB, Spark, ClickHouse and others.",
        usage: "heapsum table [<options>] -o DIR <file-or-directory> ...",
        discussion: """
            DIR/facts has a row for each stack and image: host, boot, pid, start, program, build-id, moment, stack \
            key, bytes, blocks, and totals of past blocks; of an image with a verdict, a row for each verdict on a \
            stack's blocks. DIR/stacks has a row for each stack key: the allocating \
            function, and all frames with names and source lines, as JSON. A key means the same in every process, \
            host and run, so tables of many runs can be combined: each run adds its own files to DIR.

            All images count, also dumps; directories are searched recursively. Nothing is added up here: for one row \
            per process, take the newest moment of each (boot, pid, start).

            EXAMPLES
              heapsum table -o lake --host web1 /var/lib/heap
              heapsum table -o lake --host-from-directory hosts/       hosts/web1/app.4711.heap is web1's
              heapsum table -o lake --format parquet out/*.heap
              duckdb -c "select function, sum(bytes) b from 'lake/facts/*.csv'
                         join 'lake/stacks/*.csv' using (stack_key) group by all order by b desc limit 10"

            Exit status: 0 done, 2 an image can't be used, 64 wrong arguments.
            """)

    @Argument(
        help: ArgumentHelp(
            "Images, directories of them, or recorded processes by their PID.", valueName: "file-or-directory"),
        completion: .file())
    var files: [String]

    @Option(
        name: [.short, .long],
        help: ArgumentHelp("The directory to which the tables are added, created if missing.", valueName: "dir"),
        completion: .directory)
    var output: String

    @Option(help: "csv, jsonl (a JSON object a line), or parquet (by python3 with pyarrow).")
    fileprivate var format = TableKind.csv

    @Flag(help: "Compress the files by zstd.")
    var zstd = false

    @Option(help: ArgumentHelp("Where the images were recorded.", valueName: "name"))
    var host: String?

    @Flag(help: "Use the name of each image's directory as its host.")
    var hostFromDirectory = false

    @Flag(help: "No progress bar, not even on a terminal.")
    var noProgress = false

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name an image, or a directory of images.") }
        if host != nil && hostFromDirectory { throw ValidationError("--host and --host-from-directory: one of them.") }
        if zstd && format == .parquet { throw ValidationError("Parquet is compressed by itself: without --zstd.") }
    }

    func run() throws {
        expectClosedReaders()
        let paths = files.flatMap(imagesBelow)
        if paths.isEmpty {
            say("\(files.joined(separator: ", ")): there is no image")
            throw ExitCode.badInput
        }
        // Each run's files have their own names, so many runs may write into one directory. A process's number would
        // not do: containers that start by one clock have the same.
        let time = utcTime(clockNanoseconds(CLOCK_REALTIME)).filter(\.isNumber)
        let run = "\(time)-\(String(UInt64.random(in: (1 << 60) ... UInt64.max), radix: 16))"
        let suffix = format == .jsonl ? "jsonl" : "csv"
        let place = format == .parquet ? "\(output)/.tables-\(run)" : output
        for name in ["facts", "stacks"] { try makeDirectory("\(place)/\(name)") }
        let status = try write(paths, to: { "\(place)/\($0)/\(run).\(suffix)" })
        if zstd { try compress(["facts", "stacks"].map { "\(place)/\($0)/\(run).\(suffix)" }) }
        if format == .parquet { try convert(place, run) }
        if let status { throw status }
    }

    private func write(_ paths: [String], to path: (String) -> String) throws -> ExitCode? {
        let tables = FactTables(format: format == .jsonl ? .jsonl : .csv, symbolizer: try symbols.symbolizer())
        var status: ExitCode?, used = 0
        do {
            let facts = try TextOutput(path: path("facts"), inputs: paths)
            let stacks = try TextOutput(path: path("stacks"), inputs: paths)
            try facts.write(tables.factHeading)
            try stacks.write(tables.stackHeading)
            for image in paths {
                do {
                    let named = NamedProgram(image)
                    if let note = named.note { say(note) }
                    let opened = try named.image()
                    try tables.add(opened, host: host(of: opened.file), facts: facts, stacks: stacks)
                    for damage in opened.damages { say("damaged: \(damage)") }
                    used += 1
                } catch let error as OutputError {
                    throw error
                } catch {
                    say((error as? LaunchError)?.message ?? "\(error)")
                    status = .badInput
                }
            }
            if used == 0 { throw ExitCode.badInput }
            try facts.finish()
            try stacks.finish()
        } catch let error as OutputError {
            say("\(error)")
            throw ExitCode.badInput
        }
        return status
    }

    private func host(of image: String) -> String {
        if let host { return host }
        return hostFromDirectory
            ? FilePath(text: image).absolute.removingLastComponent().lastComponent?.text ?? "" : ""
    }

    private func makeDirectory(_ path: String) throws {
        do throws(MakeDirectoriesError) { try makeDirectories(FilePath(text: path)) } catch {
            say("\(error.path.text): can't be made: \(error.errno)")
            throw ExitCode.badInput
        }
    }

    private func compress(_ files: [String]) throws {
        try runNeeded(["zstd", "-q", "--rm", "--"] + files, for: "--zstd")
    }

    /// pyarrow writes Parquet, from temporary CSV files beside it.
    private func convert(_ place: String, _ run: String) throws {
        defer { removeTables(place, run) }
        let own = FilePath("/proc/self/exe").real?.removingLastComponent().removingLastComponent()
        let script =
            environmentText("HEAPSUM_PARQUET")
            ?? (own.map { $0.appending("lib").appending("heapsum").appending("tables-to-parquet").text } ?? "")
        try runNeeded(["python3", script, place, output, run], for: "--format parquet")
    }

    private func removeTables(_ place: String, _ run: String) {
        for name in ["facts", "stacks"] {
            _ = "\(place)/\(name)/\(run).csv".withPath { unlink($0) }
            _ = "\(place)/\(name)".withPath { rmdir($0) }
        }
        _ = place.withPath { rmdir($0) }
    }
}

/// Runs a program that an option needs.
///
/// - Throws: `ExitCode.badInput` where it isn't there, or fails; it says why itself.
private func runNeeded(_ words: [String], for option: String) throws {
    let status: Int32
    do throws(Errno) { status = try runChild(words) } catch {
        say("\(words[0]): \(error); \(option) needs it")
        throw ExitCode.badInput
    }
    if status != 0 {
        say("\(words[0]) failed, which \(option) needs")
        throw ExitCode.badInput
    }
}
