// One recording from start to end: checks the program, prepares its directories and environment, runs it, and gathers
// its images when it has ended. It promises the program's own exit status: once the program runs, no failure of heaprun
// changes it.

import Glibc
import Proc
import SystemPackage
import Text

/// What heaprun was asked to do.
package struct RecordRequest {
    /// The program's name and arguments, as in heaprun's own argv.
    package var arguments: [UnsafeMutablePointer<CChar>?]
    package var environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    package var output: FilePath?
    package var options: RecordingOptions
    /// The program replaces the launcher by exec.
    package var replaces = false
    package var isQuiet = false
    /// Examines the program and the programs that it starts when they end (--leaks).
    package var tracer: EndTracer?
    /// Makes a verdict on a process that asks for one: 1 if blocks are definitely lost, 0 if none is, -1 if there is no
    /// verdict.
    package var judge: ((pid_t) -> Int32)?
    /// The messages about those verdicts, for the end.
    package var judgeReport: () -> [String] = { [] }
    /// The share of a memory limit at which a process is dumped; nil: never.
    package var dumpNearLimit: Double?
    /// A process beside the recording (--otel).
    package var companion: Companion?

    package init(
        arguments: [UnsafeMutablePointer<CChar>?], environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
        output: FilePath?
    ) {
        self.arguments = arguments
        self.environment = environment
        self.output = output
        options = RecordingOptions(output: output ?? ".")
    }
}

/// Records a program, and returns its exit status.
///
/// - Throws: 125, 126 or 127, and then the program has not run.
package func record(_ request: RecordRequest) throws(LaunchError) -> Int32 {
    var request = request
    guard let name = request.arguments.first ?? nil else { throw .own("no program to run") }
    let program = try resolveProgram(try findProgram(FilePath(platformString: name), searchPath: variable("PATH")))
    try checkRecordable(program.loaded)
    if let messages = request.options.messages { try checkMessages(messages) }
    let library = try findLibrary(named: variable("HEAPSUM_LIBRARY"), tool: toolPath)
    if let script = program.shellScript {
        // As execvp does for a file that the kernel doesn't know: the shell, with the file's path.
        request.arguments =
            [strdup("/bin/sh"), script.withPlatformString { strdup($0) }] + request.arguments.dropFirst()
    }
    let libraries = try preloadedLibraries(library, for: program.loaded, mappings: request.options.mappings)
    let preload = [
        ("LD_PRELOAD", preloadValue(libraries: libraries.map(\.text), existing: variable("LD_PRELOAD"))),
        ("ASAN_OPTIONS", addressSanitizerOptions(existing: variable("ASAN_OPTIONS"))),
    ]

    if request.replaces {
        if request.options.dormant && request.output == nil {
            // Only a recording that begins by a signal needs it, and that falls back.
            request.options.output = request.options.output.absolute
        } else {
            request.options.output = try prepareOutput(request.options.output)
        }
        // An outer heaprun's directory is removed when that heaprun ends.
        let environment = environmentEntries(
            from: request.environment, set: request.options.variables + preload,
            without: ["HEAPSUM_RUN_DIR", "HEAPSUM_DORMANT"])
        try replaceProcess(executable: program.executable, arguments: request.arguments, environment: environment)
    }

    let place = try preparePlaces(&request)
    do { try request.companion?.start(place.path) } catch {
        place.removeIfEmpty()
        throw error
    }
    let requests = request.judge.flatMap { RequestSocket(in: place.path, judge: $0) }
    let environment = environmentEntries(
        from: request.environment, set: request.options.variables + preload, without: ["HEAPSUM_DORMANT"])
    let startTime = ProcessStat.of(getpid())?.startTime ?? 0
    var supervisor: Supervisor
    do {
        supervisor = try Supervisor(
            executable: program.executable, arguments: request.arguments, environment: environment,
            tracer: request.tracer)
    } catch {
        requests?.close()
        place.removeIfEmpty()
        throw error
    }
    let began = monotonicNanoseconds()
    var meter = ResidentMeter(pid: supervisor.pid, runDirectory: place.path)
    var sandboxed = SandboxedImages(since: startTime, runDirectory: place.path)
    var jitFiles = JITFiles(runDirectory: place.path)
    var harvest = Harvest()
    harvest.verdict = request.tracer?.verdict
    harvest.pages = request.tracer?.pages
    harvest.tellPacked = request.tracer?.packed
    var nearLimit = request.dumpNearLimit.map { NearLimit(share: $0, runDirectory: place.path) }
    var nearLimitDue: UInt64 = 0
    var meterDue: UInt64 = 0
    let pid = supervisor.pid, output = request.options.output
    let tick = {
        let now = monotonicNanoseconds()
        var untilLook = sandboxed.look(now: now)
        if now >= nearLimitDue, let wait = nearLimit?.look(now: now) { nearLimitDue = monotonicNanoseconds() + wait }
        if nearLimit != nil { untilLook = min(untilLook, nearLimitDue - min(nearLimitDue, now)) }
        if now < meterDue { return min(untilLook, meterDue - now) }
        meter.measure()
        jitFiles.look(now: now, first: pid, sandboxed: sandboxed.images.map(\.pid))
        harvest.jitFiles = jitFiles
        if place.imageCount > Harvest.patience {
            // Only a part of each second, so that a signal to pass on never waits long.
            harvest.gather(
                .whileRunning(sliceNanoseconds: 200_000_000), from: place, into: output, pid: pid, since: startTime)
        }
        // Young programs change faster, and short ones should have a sample, too.
        let interval: UInt64 = now - began < 8_000_000_000 ? 250_000_000 : 1_000_000_000
        meterDue = now + interval
        return min(untilLook, interval)
    }
    let ending = supervisor.wait(tick: tick, requests: { requests?.serve() })
    requests?.close()
    let ended = monotonicNanoseconds()
    meter.close()
    supervisor.finish()
    harvest.waitForStragglers(in: place, output: output, sandboxed, since: startTime)
    // before packed images are in the output directory, too
    harvest.findStrays(output: output, besides: place, since: startTime)
    harvest.gather(.atEnd(ending, monotonicNanoseconds: ended), from: place, into: output, pid: pid, since: startTime)
    harvest.gather(sandboxed, into: output, since: startTime)
    harvest.linkRunning(into: output)
    sandboxed.close()
    jitFiles.close()
    request.companion?.finish(harvest.packed.map(\.path))
    if request.options.messages == place.messages { harvest.takeMessages(place.messages) }
    if output != place.path { place.removeIfEmpty() }
    if !request.isQuiet {
        for line in nearLimit?.lines ?? [] { sayShown(line) }
        for line in harvest.report(program: program.executable, ending: ending, output: output) { sayShown(line) }
        for line in request.judgeReport() { sayShown(line) }
        for line in request.companion?.report() ?? [] { sayShown(line) }
        for line in request.tracer?.report() ?? [] { sayShown(line) }
    }
    return request.tracer?.exitStatus() ?? ending.exitStatus
}

/// The output of `--print` for a recording. Nothing is run, made or changed.
///
/// - Throws: 125 if systemd's text would name a missing library, or a program on this machine that can't be recorded.
package func setupText(_ kind: PrintKind, _ request: RecordRequest) throws(LaunchError) -> String {
    let words = request.arguments.compactMap { $0.map { pathText(cString: $0) } }
    var libraries: [FilePath] = []
    if kind == .systemd {
        let library = try findLibrary(named: variable("HEAPSUM_LIBRARY"), tool: toolPath)
        libraries = try preloadedLibraries(library, for: nil, mappings: request.options.mappings)
        // A unit's name is usually not a program. If it is one, problems with it are reported now.
        if let name = words.first,
            let found = try? resolveProgram(findProgram(FilePath(text: name), searchPath: variable("PATH")))
        {
            try checkRecordable(found.loaded)
            libraries = try preloadedLibraries(library, for: found.loaded, mappings: request.options.mappings)
        }
    }
    return printed(kind, options: request.options, output: request.output?.absolute, libraries: libraries, words: words)
}

// The output directory and the run directory. If the working directory can't be written and was not named by the user,
// the program runs all the same: then the images stay where they are made.
private func preparePlaces(_ request: inout RecordRequest) throws(LaunchError) -> RunDirectory {
    let place: RunDirectory
    do {
        request.options.output = try prepareOutput(request.options.output)
        place = try RunDirectory(output: request.options.output)
    } catch {
        if request.output != nil { throw error }
        place = try RunDirectory(output: FilePath(text: variable("TMPDIR") ?? "/tmp"))
        request.options.output = place.path
        if !request.isQuiet { say("heaprun: \(error.message); the images stay in \(place.path.text)") }
    }
    if let note = place.note, !request.isQuiet {
        say("heaprun: \(note): the running image lies in \(place.path.text); on a disk, expect some writing to it")
    }
    request.options.runDirectory = place.path
    if request.options.messages == nil { request.options.messages = place.messages }
    return place
}

/// A variable of this process's environment.
func variable(_ name: String) -> String? { environmentText(name) }
