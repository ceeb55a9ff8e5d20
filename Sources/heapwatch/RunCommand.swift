// heapwatch run: takes a sample before a job and one after it. The job is started as a shell would start it, and its
// exit status becomes heapwatch's. Problems with samples are reported and never keep a job from running.

import ArgumentParser
import Commands
import Glibc
import Launch
import SystemPackage
import Text
import Watch

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapwatch run",
        abstract: "Samples the system before and after a job: what did it leave behind?",
        usage: "heapwatch run -o DIR [options] -- JOB…",
        discussion: """
            After many runs with the same DIR, heapwatch verdict names the kinds of memory that each job left behind: \
            those that rose during the job by far more than they move otherwise, and never came back down.

            EXAMPLES
              heapwatch run -o jobs -- nightly-jobs.sh import
              heapwatch verdict jobs

            Exit status: the job's own; 128+n where signal n ended it; 126 it can't be executed, 127 it isn't there; \
            64 wrong arguments.
            """)

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The directory for the recording, created if missing.", valueName: "dir"),
        completion: .directory)
    var output: String
    @Option(
        help: ArgumentHelp(
            "Wait this long after the job, because the kernel frees some memory later.", valueName: "time"))
    var settle = Duration(seconds: 1)
    @OptionGroup var gathering: GatherArguments
    @Argument(parsing: .captureForPassthrough, help: ArgumentHelp("The job and its arguments.", visibility: .hidden))
    var job: [String] = []

    func run() throws {
        let count = Int(CommandLine.argc), first: Int
        switch programArguments(captured: job, count: count) {
        case .program(let index): first = index
        case .missing: throw ValidationError("No job to run.")
        case .unknownOption("--help"), .unknownOption("-h"): throw CleanExit.helpRequest(self)
        case .unknownOption(let word): throw ValidationError("Unknown option '\(word)'.")
        }
        let words = (first ..< count).map { CommandLine.unsafeArgv[$0] }
        let name = words.compactMap { $0.map { shellWord(pathText(cString: $0)) } }.joined(separator: " ")
        let gatherer = Gatherer(gathering.options)
        var writer: SampleWriter?, suspects = SuspectFile(directory: output)
        func sample(_ occasion: Occasion) {
            do {
                try writer?.append(gatherer.sample(at: bootMilliseconds(), occasion: occasion))
                for missing in gatherer.takeMissing() { writer?.note(missing.text) }
                if writer != nil, let note = suspects.append(gatherer.takeSuspects()) { HeapwatchTool.say(note) }
            } catch { HeapwatchTool.say("\(error)") }
            for note in writer?.takeNotes() ?? [] { HeapwatchTool.say(note) }
        }
        do {
            writer = try SampleWriter(
                directory: output, head: machineHead(root: gathering.root, interval: 0), keptBytes: gathering.keep.bytes
            )
            gatherer.continueSuspects(in: output)
        } catch { HeapwatchTool.say("no samples of this run: \(error)") }
        sample(.beforeJob(name))
        let status: Int32
        do { status = try start(words) } catch {
            HeapwatchTool.say(error.message)
            throw ExitCode(error.exitStatus)
        }
        usleep(useconds_t(max(0, min(settle.seconds, 3600)) * 1_000_000))
        sample(.afterJob(name, Int64(status)))
        writer?.finish()
        throw ExitCode(status)
    }

    private func start(_ words: [UnsafeMutablePointer<CChar>?]) throws(LaunchError) -> Int32 {
        let name = words.first.flatMap { $0 }.map { FilePath(platformString: $0) } ?? ""
        let program = try findProgram(name, searchPath: environmentText("PATH"))
        var supervisor = try Supervisor(
            executable: program, arguments: words, environment: environmentEntries(from: environ, set: []))
        // Nothing has to be done while it runs.
        let ending = supervisor.wait(tick: { 3_600_000_000_000 })
        supervisor.finish()
        return ending.exitStatus
    }
}
