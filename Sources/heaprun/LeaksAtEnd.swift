// heaprun --leaks and --resident: examine each followed process when it ends, and store the verdict and the pages in
// its image.

import Glibc
import HeapImage
import Launch
import Leaks
import Proc
import Report
import Symbols
import Text

/// The verdicts of a run.
final class LeaksAtEnd {
    private struct Judged {
        var name: String
        var pid: pid_t
        var stored: VerdictToStore?
        var totals: [Verdict: Amount] = [:]
        /// The largest definitely lost rows, as text.
        var largest: [(amount: Amount, dragged: Amount, stack: String)] = []
        var isWhole = true
        /// The path of its image.
        var path: String
    }
    private var judged: [MappedFile: Judged] = [:]
    private var order: [MappedFile] = []
    private var problems: [String] = []
    private let leakStatus: Int32?
    private let judges: Bool
    private let pages = PagesAtEnd()
    private lazy var symbolizer = Symbolizer(hasLines: false)

    /// - Parameters:
    ///   - judges: whether blocks get verdicts; else only pages are looked up.
    ///   - leakStatus: heaprun's exit status if any process has lost a block.
    init(judges: Bool, leakStatus: Int32?) { (self.judges, self.leakStatus) = (judges, leakStatus) }

    private(set) lazy var watch = EndWatch { [unowned self] in look($0) }

    func tracer(follow: Bool) -> EndTracer {
        EndTracer(
            options: EndWatch.traceOptions(follow: follow),
            take: { [watch] thread, status in
                switch watch.take(thread, status) {
                case .notAStop: .notAStop
                case .goesOn: .goesOn
                case .stopped(let signal): .stopped(signal: signal)
                }
            },
            verdict: { [unowned self] file in
                defer { judged[file]?.stored = nil }
                return judged[file]?.stored
            },
            pages: { [pages] in pages.take($0) },
            packed: { [unowned self] file, path in judged[file]?.path = path.text },
            report: { [unowned self] in report() }, exitStatus: { [unowned self] in exitStatus })
    }

    // MARK: Looking

    private func look(_ process: EndingProcess) {
        let pid = process.processID
        guard let place = try? findImage(of: pid, deadline: 0), case .file(let path) = place else { return }
        do {
            let image = try HeapImage(FileSource(path: path.text), presence: .running)
            // A child between vfork and exec has its parent's memory and image.
            guard ProcessStat.of(pid)?.startTime == image.header.start_time else { return }
            pages.look(process, image, MappedFile(try path.status()))
            guard judges else { return }
            let snapshot = try Snapshot.take(
                ofStopped: pid, held: process.held, ending: process.ending, kind: process.kind,
                missing: process.missing, image: image)
            let report = try judge(snapshot, image, symbolizer: symbolizer)
            let told = report.summary
            var one = Judged(name: image.programName, pid: pid, path: path.text)
            (one.totals, one.isWhole, one.stored) = (told.totals, told.notRead.isEmpty, report.stored())
            one.largest = told.rows.lazy.filter { $0.verdict == .definite }.prefix(3).map {
                ($0.own, $0.dragged, report.shortStack($0.node))
            }
            let file = MappedFile(try path.status())
            if judged.updateValue(one, forKey: file) == nil { order.append(file) }
        } catch {
            let text = "\(judges ? "no verdict on" : "no pages of") PID \(pid): \(error)"
            if !problems.contains(text) { problems.append(text) }
        }
    }

    // MARK: Telling

    private var exitStatus: Int32? {
        judged.values.contains { ($0.totals[.definite]?.blocks ?? 0) > 0 } ? leakStatus : nil
    }

    private func report() -> [String] {
        let all = order.compactMap { judged[$0] }
        let lossy = all.filter { one in
            !one.isWhole || [.definite, .indirect, .possible].contains { (one.totals[$0]?.blocks ?? 0) > 0 }
        }
        var lines = pages.report()
        if lossy.isEmpty && !all.isEmpty {
            lines.append(
                all.count == 1 ? "  leaks: none" : "  leaks: none in \(separated(UInt64(all.count))) processes")
        }
        for one in lossy.prefix(10) {
            let words = [Verdict.definite, .indirect, .possible].map { verdict in
                let amount = one.totals[verdict] ?? Amount()
                return "\(verdict.text) \(separated(amount.bytes)) bytes in \(counted(amount.blocks, "block"))"
            }
            lines.append(
                "  leaks\(all.count > 1 ? " of \(printable(one.name)) (PID \(one.pid))" : ""): "
                    + words.joined(separator: ", ")
                    + (one.isWhole ? "" : "; not whole, so none is called definite"))
            for row in one.largest {
                lines.append(
                    "    \(separated(row.amount.bytes)) bytes  \(counted(row.amount.blocks, "block"))  \(row.stack)"
                        + (row.dragged.blocks > 0 ? ", and drags along \(separated(row.dragged.bytes)) bytes" : ""))
            }
            lines.append("    more:  heapsum leaks \(shellWord(one.path))")
        }
        if lossy.count > 10 { lines.append("  and \(lossy.count - 10) more processes with leaks") }
        return lines + problems.map { "  \($0)" }
    }
}
