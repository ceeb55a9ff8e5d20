// The options for reading inputs, and the reading itself: from paths to one reduction. All commands that reduce use
// this, so that files are chosen, damaged or left out in the same way.

import ArgumentParser
import Commands
import Glibc
import HeapImage
import Logs
import Reduce

extension SlabCache: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

struct ReadingOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Which of several images of one process, or sets of one log, counts: a number from 1 (the oldest),"
                + " last, or all (summed)."))
    var set: SetChoice = .last

    @Option(help: "The files' format, if their contents don't show it.")
    var input: InputKind = .auto

    @Option(
        help: ArgumentHelp(
            "The slab cache of a kernel's log, if the log doesn't name it: kmalloc-128, or dentry=192 with the bytes "
                + "of an object.",
            valueName: "name"))
    var cache: SlabCache?

    @Option(
        help: ArgumentHelp(
            "The size of a page of the kernel whose log counts pages (page-owner, perf-script): 64K. 'getconf "
                + "PAGESIZE' says it on that machine.",
            valueName: "bytes"))
    var pageSize = PageSize()

    var kernel: KernelFacts { KernelFacts(cache: cache, pageBytes: pageSize.bytes) }

    @Flag(help: "No progress bar, not even on a terminal.")
    var noProgress = false

    /// Reads all files of the paths into one reduction, and reports on stderr what was damaged, left out or skipped.
    ///
    /// - Returns: the reduction, and an exit status if a part could not be used.
    /// - Throws: `ExitCode.badInput` if nothing could be used.
    func reduce(_ paths: [String]) throws -> (reduction: Reduction, status: ExitCode?) {
        try reduce(Inputs(paths: paths, kind: input, set: set))
    }

    func reduce(_ inputs: Inputs) throws -> (reduction: Reduction, status: ExitCode?) {
        let reduction = Reduction()
        let status = try add(inputs, to: reduction)
        return (reduction, status)
    }

    /// Adds inputs to a reduction that may already have others.
    ///
    /// - Returns: an exit status if a part could not be used.
    /// - Throws: `ExitCode.badInput` if nothing could be used.
    func add(_ inputs: Inputs, to reduction: Reduction) throws -> ExitCode? {
        var status: ExitCode?
        for failure in inputs.failures {
            say(failure)
            status = .badInput
        }
        let selection = InputSelection(images: inputs.images, choice: set)
        let before = reduction.inputs.count
        for image in selection.chosen {
            do {
                try reduction.add(image)
            } catch {
                say("\(error)")
                status = .badInput
            }
        }
        for log in inputs.logs where !add(log, to: reduction) { status = .badInput }
        for line in selection.leftOutLines { say(line) }
        for input in reduction.inputs[before...] {
            for damage in input.damages { say("damaged: \(damage)") }
            for note in input.passedOver { say("\(note)") }
        }
        guard reduction.inputs.count > before else { throw ExitCode.badInput }
        return status
    }

    /// Reads a log into the reduction. False if nothing in it can be used.
    func add(_ log: NamedLog, to reduction: Reduction) -> Bool {
        let progress = Progress(name: log.stream.name, storedBytes: log.stream.storedBytes, isWanted: !noProgress)
        defer { progress.end() }
        do throws(LogError) {
            let summary = try reduction.add(
                log.stream, kind: log.kind, set: log.set, kernel: kernel, progress: progress.update)
            progress.end()
            if let leftOut = summary.leftOut { say("left out: \(log.stream.name): \(leftOut)") }
            return true
        } catch {
            progress.end()
            say(error)
            return false
        }
    }
}
