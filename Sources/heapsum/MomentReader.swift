// Turns arguments into moments: each argument is one, but a single argument may contain several.

import ArgumentParser
import HeapImage
import Logs
import Reduce

struct MomentReader {
    let reading: ReadingOptions

    /// Reads the named moments, and reports damaged and left out parts on stderr.
    ///
    /// - Returns: the moments, and an exit status if a part could not be used.
    /// - Throws: `ExitCode.badInput` if fewer than two moments are left.
    func read(_ paths: [String]) throws -> (growth: Growth, status: ExitCode?) {
        let growth = Growth()
        let status = paths.count == 1 ? try readOne(paths[0], into: growth) : try readEach(paths, into: growth)
        guard growth.moments.count > 1 else { throw ExitCode.badInput }
        return (growth, status)
    }

    private func readEach(_ paths: [String], into growth: Growth) throws -> ExitCode? {
        var status: ExitCode?
        for path in paths {
            let inputs = Inputs(paths: [path], kind: reading.input, set: reading.set)
            if inputs.images.isEmpty && inputs.logs.isEmpty {
                inputs.failures.forEach(say)
                say("\(path): this moment can't be used at all, so there is no diff")
                throw ExitCode.badInput
            }
            try growth.addMoment(path) { reduction in
                if let problem = try reading.add(inputs, to: reduction) { status = problem }
            }
        }
        return status
    }

    private func readOne(_ path: String, into growth: Growth) throws -> ExitCode? {
        let inputs = Inputs(paths: [path], kind: reading.input, set: .all)
        inputs.failures.forEach(say)
        let status: ExitCode? = inputs.failures.isEmpty ? nil : .badInput
        if let log = inputs.logs.first { return try readSets(log, path, into: growth) ?? status }
        let ordered = InputSelection.byTime(inputs.images)
        guard let first = ordered.first else { throw ExitCode.badInput }
        let processes = Set(ordered.map(\.identity)).count
        guard processes == 1 else {
            say(
                "\(path) holds images of \(processes) processes: name the moments to compare, a file or a directory "
                    + "each"
            )
            throw ExitCode.badInput
        }
        if ordered.count == 1 {
            guard first.snapshotCount > 0 else {
                say(
                    "\(first.file) is one moment, and younger than its first snapshot "
                        + "(\(HeapImage.snapshotNanoseconds(0) / 1_000_000_000) s): name another image to compare it "
                        + "with"
                )
                throw ExitCode.badInput
            }
            try growth.addSnapshots(of: first)
        } else {
            for image in ordered { try growth.addMoment(image.file) { try $0.add(image) } }
        }
        for input in growth.reduction.inputs { for damage in input.damages { say("damaged: \(damage)") } }
        return status
    }

    /// Each set of a log, by its number.
    private func readSets(_ log: NamedLog, _ path: String, into growth: Growth) throws -> ExitCode? {
        if log.stream.name == "-" || log.stream.storedBytes == nil {
            say("\(path): the sets of a log are read one after the other, which takes a file; name one, or LOG@1 LOG@2")
            throw ExitCode.badInput
        }
        var number = 1, count = 1
        while number <= count {
            let inputs = Inputs(paths: [path], kind: reading.input, set: .number(number))
            guard let log = inputs.logs.first else { throw ExitCode.badInput }
            do throws(LogError) {
                let stream = log.stream, kind = log.kind
                var sets = 0
                var failure: LogError?
                growth.addMoment("\(path)@\(number)") { reduction in
                    do throws(LogError) {
                        sets = try reduction.add(stream, kind: kind, set: .number(number), kernel: reading.kernel).sets
                    } catch { failure = error }
                }
                if let failure { throw failure }
                count = min(sets, Self.mostSets)
                if number == 1 {
                    guard sets > 1 else {
                        say("\(path) holds one set: name another log to compare it with")
                        throw LogError(file: path, what: "is one moment alone")
                    }
                    if sets > count {
                        say("\(path): the first \(count) of its \(sets) sets are compared; LOG@N names others")
                    }
                }
            } catch {
                say(error)
                throw ExitCode.badInput
            }
            number += 1
        }
        return nil
    }

    /// At most this many sets of a log are compared, because each one reads the whole file.
    private static let mostSets = 50
}
