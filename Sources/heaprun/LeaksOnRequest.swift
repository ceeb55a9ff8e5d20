// Serves heapsum_leaks: the heaprun that runs the program makes a dump with a verdict. heaprun is the program's
// ancestor, so it may trace the program even if Yama forbids others to (level 1); under --leaks it traces it already.

import Glibc
import HeapImage
import Launch
import Leaks
import Proc
import Report
import Symbols
import Text

/// The verdicts that programs have asked for.
final class LeaksOnRequest {
    /// The tracer, under --leaks.
    private let watch: EndWatch?
    private var lines: [String] = []
    private var linesLeftOut = 0
    private lazy var symbolizer = Symbolizer(hasLines: false)

    /// The most verdicts that the report at the end lists; the rest are counted.
    private static let mostLines = 20

    init(watch: EndWatch?) { self.watch = watch }

    /// Writes the dump. Returns 1 if blocks are definitely lost, 0 if none is, and -1 if there is no verdict or an
    /// incomplete one.
    func judge(_ pid: pid_t) -> Int32 {
        var told: LeakSummary?
        do throws(LaunchError) {
            let dump = try takeDump(of: pid, deadline: 0) { [self] image in
                let made = try verdict(on: pid, image)
                told = made.told
                return made.stored
            }
            guard let told else { return -1 }
            add(Self.line(pid, dump.path.text, told))
            for note in dump.notes { add("heaprun: \(note)") }
            if !told.notRead.isEmpty { return -1 }
            return (told.totals[.definite]?.blocks ?? 0) > 0 ? 1 : 0
        } catch {
            add("heaprun: heapsum_leaks: no verdict: \(error.message)")
            return -1
        }
    }

    private func verdict(on pid: pid_t, _ image: HeapImage) throws -> (told: LeakSummary, stored: VerdictToStore) {
        // The tree of holders reads the snapshot, so it is made before the snapshot goes.
        func verdict(_ snapshot: Snapshot) throws -> (LeakSummary, VerdictToStore) {
            defer { snapshot.finish() }
            let report = try Report.judge(snapshot, image, symbolizer: symbolizer), notes = snapshot.notes.count
            let made = (report.summary, report.stored())
            snapshot.finish()
            for note in snapshot.notes.dropFirst(notes) { add("heaprun: \(pid): \(note)") }
            return made
        }
        do {
            if let watch, tracer(of: pid) == getpid() {
                let made = try watch.pause(pid) { process in
                    try verdict(
                        Snapshot.take(
                            ofStopped: pid, held: process.held, ending: process.ending, kind: process.kind,
                            missing: process.missing, image: image))
                }
                if let made { return made }
                throw LeaksError("\(pid): none of its threads stopped")
            }
            var options = SnapshotOptions()
            options.keepsTicks = true
            return try onOwnThread { try verdict(Snapshot.take(of: pid, image: image, options: options)) }
        } catch let error as LeaksError {
            throw LaunchError.notRecorded(error.message)
        }
    }

    // MARK: Telling

    private func add(_ line: String) {
        if lines.count < Self.mostLines { lines.append(line) } else { linesLeftOut += 1 }
    }

    func report() -> [String] {
        lines + (linesLeftOut > 0 ? ["heaprun: heapsum_leaks: \(counted(UInt64(linesLeftOut), "more call"))"] : [])
    }

    private static func line(_ pid: pid_t, _ path: String, _ told: LeakSummary) -> String {
        let words = [Verdict.definite, .indirect, .possible].map { verdict in
            let amount = told.totals[verdict] ?? Amount()
            return "\(verdict.text) \(separated(amount.bytes)) bytes in \(counted(amount.blocks, "block"))"
        }
        return "heaprun: \(pid) asked for a verdict: \(words.joined(separator: ", "))"
            + "\(told.notRead.isEmpty ? "" : " (not whole)"): heapsum leaks \(shellWord(path))"
    }
}
