// heaprun: runs a program under the interposer. This file has the options and the exit status; Launch does the work.

import ArgumentParser
import Attach
import Commands
import Glibc
import Launch
import Proc
import SystemPackage
import Text

/// heaprun as a whole; it ends the process.
package func runHeaprun() -> Never { Heaprun.runTool() }

struct Heaprun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heaprun",
        abstract: "Runs a program and records every allocation it makes, with its call stack.",
        usage: "heaprun [options] [--] program [arguments]",
        discussion: """
            At the program's end, heaprun prints a summary on stderr and leaves an image, PROGRAM.PID.heap, for \
            heapsum to read. While it runs, `kill -USR2 PID` or `heapdump PID` writes a dump beside it.

            Exit status: the program's own; 128+n if signal n ended it; 125 heaprun's own error, 126 the program \
            can't be executed, 127 it doesn't exist.

            Examples:
              heaprun ./server --port 8080
              heaprun -o /var/tmp/heap --skip 'cc1*' make
              heaprun --sample 512K ./server            always on: estimates with their errors, at next to no cost
              heaprun --leaks --leak-exit 9 ./tests     what is lost at the end; status 9 if anything is
              heaprun --print systemd --only server server.service

            With --leaks and --resident the program and what it starts are traced by ptrace until they end. That costs \
            a few µs for each signal and thread, keeps debuggers out, and makes setuid programs run without their \
            privileges (unless heaprun runs as root). For --leaks: if a program ends by exit, _exit, exec or main's \
            return, blocks that only frames of the ending thread hold are lost; if a signal ends it, blocks that its \
            threads hold are not.
            """,
        version: "heaprun \(version)")

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "The directory for images, created if missing (default: the working directory).", valueName: "dir"),
        completion: .directory)
    var output: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Keep this many frames of each stack, at most 1024; 0 keeps none (default: 128).", valueName: "n"))
    var depth: Int?
    @Option(
        help: ArgumentHelp(
            "The dump signal: a name or number, RTMIN+n, or none (default: USR2, left to a program that handles it).",
            valueName: "name"))
    var signal: String?
    @Option(
        parsing: .singleValue, help: ArgumentHelp("Record only programs of this name; repeatable.", valueName: "glob"))
    var only: [String] = []
    @Option(
        parsing: .singleValue, help: ArgumentHelp("Don't record programs of this name; repeatable.", valueName: "glob"))
    var skip: [String] = []
    @Flag(name: .customLong("no-follow"), help: "Record only the first program, not those it starts.")
    var noFollow = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Let a program's image take at most this many bytes: a number, or 64K, 10M, 1G. Beyond that, new blocks "
                + "are counted as lost (default: no limit).",
            valueName: "size"))
    var maxSize: String?
    @Option(
        help: ArgumentHelp(
            "Distinguish at most this many unique stacks; 0: no limit. Beyond that, a new stack's blocks are counted "
                + "under its known outer part (default: one for each 4 KB of the machine's memory).",
            valueName: "n"))
    var maxStacks: UInt64?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Write a dump each time the live bytes exceed the last dump's by this much: a number, or 64K, 10M, 1G.",
            valueName: "size"))
    var dumpAtGrowth: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Write a dump when a program has used this much of a memory limit: its control group's memory.max, "
                + "RLIMIT_AS or RLIMIT_DATA. Write another each time half of the rest is used.",
            valueName: "percent"))
    var dumpNearLimit: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Sample: record about one block for each this many bytes allocated, at next to no cost; 512K is a good "
                + "value. Reports give estimates and their standard errors (default: 0, record every block).",
            valueName: "bytes"))
    var sample: String?
    @Flag(help: "Write a dump when an allocation fails, at most once a minute.")
    var dumpAtFailure = false
    @Option(
        help: ArgumentHelp(
            "Write the library's messages to this file (default: heaprun prints them at the end).", valueName: "file"),
        completion: .file())
    var messages: String?
    @Flag(help: "Replace heaprun by the program (exec), for supervisors that watch the process itself; no report.")
    var exec = false
    @Option(
        name: .customLong("print"),
        help: ArgumentHelp(
            "Print text that sets up this recording, and run nothing: systemd (a drop-in) or kubernetes (a manifest).",
            valueName: "kind"))
    var printKind: String?
    @Flag(help: "Also record each block's thread, as the root of its stack.")
    var threads = false
    @Flag(help: "Also record what the program maps itself, by mmap, brk or shmat.")
    var mappings = false
    @Flag(
        help: ArgumentHelp(
            "Also record the blocks of pools that the program tells Valgrind of (VALGRIND_MEMPOOL_ALLOC and so on); "
                + "implies --mappings. The places in the program's code that do so are changed in memory as it starts.")
    )
    var valgrindRequests = false
    @Flag(help: "Put the Python functions of CPython 3.11 to 3.13 among the C functions of stacks.")
    var python = false
    @Flag(
        help: ArgumentHelp(
            "The same, and run the program with PYTHONMALLOC=malloc unless that is set: then small Python objects are "
                + "blocks of their own, and not only parts of pools."))
    var pythonMalloc = false
    @Option(
        help: ArgumentHelp(
            "Tag each block with this attribute of its thread's OpenTelemetry context, such as http.route, unless the "
                + "program set a tag (heapsum_tag). For --by tag.",
            valueName: "attribute"))
    var otelContext: String?
    @Option(
        help: ArgumentHelp(
            "How stacks are unwound: own, fp (frame pointers), libunwind (default: own).", valueName: "how"))
    var unwind: String?
    @Flag(
        help: ArgumentHelp(
            "Find out at each program's end which blocks are lost, and store the verdict in the image, for "
                + "heapsum leaks."))
    var leaks = false
    @Flag(
        help: ArgumentHelp(
            "Look up at each program's end which pages of its blocks are in memory, and store them in the image, for "
                + "heapsum --sort resident and heapsum pages. --leaks does it, too."))
    var resident = false
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "With --leaks: exit with this status if any block is definitely lost (default: the program's own).",
            valueName: "status"))
    var leakExit: Int?
    @Option(
        name: .customLong("pid"),
        help: ArgumentHelp(
            "Attach to a program that is already running; recording goes on until --for has passed, or --detach.",
            valueName: "pid"))
    var attachPID: Int32?
    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("With --pid: detach after this time, such as 30s, 10m, 2h.", valueName: "time"))
    var attachTime: String?
    @Option(
        name: .customLong("detach"),
        help: ArgumentHelp("End an attached recording; its image stays.", valueName: "pid"))
    var detachPID: Int32?
    @Flag(
        help: ArgumentHelp(
            "Record nothing until heaprun --pid PID or the dump signal starts it, in the program and those it starts. "
                + "Until then it costs next to nothing. Replaces heaprun by the program, as --exec does."))
    var dormant = false
    @Option(
        help: ArgumentHelp(
            "Send profiles of the running programs to this OpenTelemetry collector, such as http://localhost:4318, "
                + "each minute and at each program's end.",
            valueName: "url"))
    var otel: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("With --otel: send once in this time (default: 60s).", valueName: "time"))
    var otelEvery: String?
    @Flag(help: "No report at the end.")
    var quiet = false

    @Argument(
        parsing: .captureForPassthrough, help: ArgumentHelp("The program and its arguments.", visibility: .hidden))
    var program: [String] = []

    fileprivate static func runTool() -> Never {
        let status: Int32
        do {
            status = try parse(commandWords()).start()
        } catch let error as LaunchError {
            say("heaprun: \(error.message)")
            status = error.exitStatus
        } catch {
            let text = fullMessage(for: error)
            // --help is data. A wrong option is a message and heaprun's own error instead of EX_USAGE, so that it can
            // be told from the program's own status 64.
            if exitCode(for: error) == .success {
                print(text)
                status = 0
            } else {
                for line in text.split(separator: "\n", omittingEmptySubsequences: false) { say(String(line)) }
                status = 125
            }
        }
        Glibc.exit(status)
    }

    /// The value of a size option. Anything else is heaprun's own error, with heaprun's own message.
    private func size(_ text: String?, of option: String, isPositive: Bool = false) throws -> ByteCount? {
        guard let text else { return nil }
        guard let size = ByteCount(argument: text), size.bytes > 0 || !isPositive else {
            throw ValidationError("\(option) \(text): a number of bytes, or 64K, 10M, 1G.")
        }
        return size
    }

    /// The mean bytes between two sampled ones; nil: not asked for.
    private func sampleInterval() throws -> UInt64? {
        guard let bytes = try size(sample, of: "--sample")?.bytes else { return nil }
        guard bytes <= 1 << 30 else { throw ValidationError("--sample \(sample ?? ""): at most 1G.") }
        if leaks && bytes > 0 {
            throw ValidationError(
                "--leaks needs every block, because pointers in unsampled blocks are unknown: omit it or --sample."
            )
        }
        return bytes
    }

    /// "90%", or 90.
    private static func share(_ text: String) throws -> Double {
        let digits = text.hasSuffix("%") ? text.dropLast() : text[...]
        guard let percent = Double(digits), (1 ... 99).contains(percent) else {
            throw ValidationError("--dump-near-limit \(text): from 1% to 99%.")
        }
        return percent / 100
    }

    private func start() throws -> Int32 {
        if attachPID != nil || detachPID != nil { return try startInRunning() }
        if attachTime != nil { throw ValidationError("--for \(attachTime ?? ""): goes with --pid.") }
        let count = Int(CommandLine.argc)
        let first: Int
        switch programArguments(captured: program, count: count) {
        case .program(let index): first = index
        case .missing where printKind != nil: first = count
        case .missing: throw ValidationError("No program to run.")
        // The passthrough also takes these, like any word that is not an option in the list above.
        case .unknownOption("--help"), .unknownOption("-h"): throw CleanExit.helpRequest(self)
        case .unknownOption("--version"): throw CleanExit.message(Self.configuration.version)
        case .unknownOption(let word): throw ValidationError("Unknown option '\(word)'.")
        }
        if let depth, !(0 ... 1024).contains(depth) { throw ValidationError("--depth \(depth): from 0 to 1024.") }
        let maximum = try size(maxSize, of: "--max-size"),
            growth = try size(dumpAtGrowth, of: "--dump-at-growth", isPositive: true)
        if let unwind, !["own", "fp", "libunwind"].contains(unwind) {
            throw ValidationError("--unwind \(unwind): own, fp or libunwind.")
        }
        if python || pythonMalloc, let unwind, unwind != "own" {
            throw ValidationError("--python needs heapsum's own unwinder: it doesn't go with --unwind \(unwind).")
        }
        let context = try contextAttribute()
        for glob in only + skip where glob.utf8.contains(UInt8(ascii: ":")) {
            throw ValidationError("'\(glob)': a glob can't hold a colon.")
        }

        var request = RecordRequest(
            arguments: (first ..< count).map { CommandLine.unsafeArgv[$0] }, environment: environ,
            output: (output ?? environmentText("HEAPSUM_OUTPUT")).map { FilePath(text: $0) })
        request.options.depth = depth
        request.options.signal =
            try signal.map { (name) throws(LaunchError) in try dumpSignalNumber(name) }
            // The environment's value may have a form that the library doesn't know. The library reports invalid
            // values.
            ?? environmentText("HEAPSUM_SIGNAL").flatMap { try? dumpSignalNumber($0) }
        request.options.only = only
        request.options.skip = skip
        request.options.follow = !noFollow
        request.options.threads = threads
        request.options.mappings = mappings || valgrindRequests
        request.options.valgrindRequests = valgrindRequests
        request.options.python = python || pythonMalloc
        request.options.otelContext = context
        request.options.pythonMalloc = pythonMalloc && environmentText("PYTHONMALLOC") == nil
        request.options.unwind = unwind
        request.options.maximumBytes = maximum?.bytes
        request.options.maximumStacks = maxStacks
        request.options.dumpAtGrowth = growth?.bytes
        request.options.dumpAtFailure = dumpAtFailure
        request.options.sample = try sampleInterval()
        request.options.messages = messages.map { FilePath(text: $0).absolute }
        if let leakExit {
            if !leaks { throw ValidationError("--leak-exit goes with --leaks.") }
            guard (0 ... 255).contains(leakExit) else {
                throw ValidationError("--leak-exit \(leakExit): an exit status from 0 to 255.")
            }
        }
        var atEnd: LeaksAtEnd?
        if leaks || resident {
            if exec || dormant || printKind != nil {
                throw ValidationError(
                    "--\(leaks ? "leaks" : "resident") needs heaprun beside the program at its end: it doesn't go with "
                        + "\(exec ? "--exec" : dormant ? "--dormant" : "--print")."
                )
            }
            let judge = LeaksAtEnd(judges: leaks, leakStatus: leakExit.map(Int32.init))
            request.options.tellsEnd = true
            request.tracer = judge.tracer(follow: !noFollow)
            atEnd = judge
        }
        defer { withExtendedLifetime(atEnd) {} }
        let onRequest = LeaksOnRequest(watch: atEnd?.watch)
        request.judge = { onRequest.judge($0) }
        request.judgeReport = { onRequest.report() }
        request.options.dormant = dormant
        request.replaces = exec || dormant
        request.isQuiet = quiet
        request.dumpNearLimit = try dumpNearLimit.map(Self.share)
        if exec && request.dumpNearLimit != nil {
            throw ValidationError("--dump-near-limit is heaprun's to watch, and with --exec there is no heaprun.")
        }
        if dormant && request.dumpNearLimit != nil {
            throw ValidationError(
                "--dump-near-limit needs heaprun beside the program, and with --dormant there is none.")
        }
        request.companion = try companion()
        if let printKind { return try printSetup(printKind, request) }
        return try record(request)
    }

    /// The process that sends profiles; nil if none are to be sent.
    private func companion() throws -> Companion? {
        guard let otel else {
            if let otelEvery { throw ValidationError("--otel-every \(otelEvery): goes with --otel.") }
            return nil
        }
        if exec || dormant || printKind != nil {
            throw ValidationError(
                "--otel is heaprun's to send, and with \(exec ? "--exec" : dormant ? "--dormant" : "--print") there is "
                    + "no heaprun: heapsum push --every 1m sends a running program's.")
        }
        guard let seconds = durationSeconds(otelEvery ?? "60s"), (1 ... 86_400).contains(seconds) else {
            throw ValidationError("--otel-every \(otelEvery ?? ""): from 1s to 1d.")
        }
        return OTelSender(url: otel, intervalSeconds: seconds).companion
    }

    /// The attribute of --otel-context, whose name must fit the library's options.
    private func contextAttribute() throws -> String? {
        guard let otelContext else { return nil }
        guard (1 ... 127).contains(otelContext.utf8.count) else {
            throw ValidationError("--otel-context \(otelContext): an attribute's name, of at most 127 bytes.")
        }
        if depth == 0 { throw ValidationError("--otel-context needs stacks: it doesn't go with --depth 0.") }
        return otelContext
    }

    /// Attaches to a running program, or detaches from it.
    private func startInRunning() throws -> Int32 {
        guard program.isEmpty else { throw ValidationError("--pid and --detach start no program.") }
        guard attachPID == nil || detachPID == nil else { throw ValidationError("--pid or --detach, not both.") }
        guard let pid = attachPID ?? detachPID, pid > 0 else {
            throw ValidationError("a process has a number above 0.")
        }
        if let otel {
            throw ValidationError(
                "--otel \(otel) is for programs that heaprun starts: heapsum push --every 1m sends a running one's.")
        }
        if exec || dormant || printKind != nil || noFollow || !only.isEmpty || !skip.isEmpty {
            throw ValidationError(
                "--exec, --dormant, --print, --no-follow, --only and --skip are for programs that heaprun starts.")
        }
        if valgrindRequests {
            throw ValidationError(
                "--valgrind-requests is for programs that heaprun starts: the code of one that runs is not changed.")
        }
        if pythonMalloc {
            throw ValidationError(
                "--python-malloc is for programs that heaprun starts: Python chooses its allocator when it starts.")
        }
        var request = AttachRequest(
            pid: pid, output: output.map { FilePath(text: $0) }, options: RecordingOptions(output: "."))
        request.isQuiet = quiet
        if detachPID != nil {
            guard attachTime == nil else { throw ValidationError("--for goes with --pid.") }
            return try detach(request)
        }
        if let attachTime {
            guard let seconds = durationSeconds(attachTime), seconds > 0 else {
                throw ValidationError("--for \(attachTime): a time such as 30s, 10m, 2h.")
            }
            request.seconds = seconds
        }
        if let depth, !(0 ... 1024).contains(depth) { throw ValidationError("--depth \(depth): from 0 to 1024.") }
        request.options.depth = depth
        request.options.mappings = mappings
        request.options.signal = try signal.map { (name) throws(LaunchError) in try dumpSignalNumber(name) }
        request.options.threads = threads
        request.options.python = python
        request.options.otelContext = try contextAttribute()
        request.options.unwind = unwind
        request.options.maximumBytes = try size(maxSize, of: "--max-size")?.bytes
        request.options.dumpAtGrowth = try size(dumpAtGrowth, of: "--dump-at-growth", isPositive: true)?.bytes
        request.options.dumpAtFailure = dumpAtFailure
        request.options.sample = try sampleInterval()
        request.options.messages = messages.map { FilePath(text: $0).absolute }
        return try attach(request)
    }

    private func printSetup(_ kind: String, _ request: RecordRequest) throws -> Int32 {
        guard let kind = PrintKind(rawValue: kind) else {
            throw ValidationError("--print \(kind): \(PrintKind.allCases.map(\.rawValue).joined(separator: " or ")).")
        }
        if exec || quiet {
            throw ValidationError("--print runs nothing: \(exec ? "--exec" : "--quiet") means nothing beside it.")
        }
        guard writeData(try setupText(kind, request)) else {
            throw LaunchError.own("stdout can't be written: \(errnoText(errno))")
        }
        return 0
    }
}
