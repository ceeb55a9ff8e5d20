// Gathers the facts for heapsum ask: which process, its moments, its verdict, its pages.
//
// Invariant: what can't be had is a gap, and a message says why. Only without any image is there no answer.

import Glibc
import HeapImage
import Launch
import Leaks
import Proc
import Reduce
import Report
import Survey
import Symbols
import Text

final class Asker {
    private let symbolizer: Symbolizer
    private let wantsVerdict: Bool
    private let say: (String) -> Void
    /// Whether something that was named can't be used.
    private(set) var hasFailed = false

    init(symbolizer: Symbolizer, wantsVerdict: Bool, say: @escaping (String) -> Void) {
        (self.symbolizer, self.wantsVerdict, self.say) = (symbolizer, wantsVerdict, say)
    }

    /// At most so many moments are compared, because each is read whole: the first, the last, and others in between.
    private static let mostMoments = 16

    /// - Returns: nil if no image can be used, after a message.
    func facts(of files: [String]) -> AskFacts? {
        let images = open(files)
        var processes: [HeapImage.Identity: [HeapImage]] = [:]
        for image in images { processes[image.identity, default: []].append(image) }
        let ordered = processes.values.map(InputSelection.byTime)
        // The largest process, or the first of equal ones.
        let sizes = ordered.map { moments in processes.count == 1 ? 0 : size(moments) }
        let ranked = ordered.indices.sorted { (sizes[$0], name($1, ordered)) > (sizes[$1], name($0, ordered)) }
        for index in ranked {
            guard var facts = facts(ofMoments: ordered[index], named: files) else { continue }
            if let next = ranked.first(where: { $0 != index }), let largest = ordered[next].last {
                facts.others = (ranked.count - 1, largest.file)
            }
            return facts
        }
        return nil
    }

    private func name(_ index: Int, _ ordered: [[HeapImage]]) -> String { ordered[index].last?.file ?? "" }

    private func fail(_ what: String) {
        say(what)
        hasFailed = true
    }

    private func open(_ files: [String]) -> [HeapImage] {
        var images: [HeapImage] = []
        for file in files {
            let named = NamedProgram(file)
            if let note = named.note { say(note) }
            guard named.processID != nil else {
                let opened = InputSelection.open(paths: [file])
                images += opened.images
                for failure in opened.failures { fail("\(failure)") }
                continue
            }
            do { images.append(try named.image(patience: 1_000_000_000)) } catch { fail("\(error)") }
        }
        return images
    }

    /// What a process held at the most.
    private func size(_ moments: [HeapImage]) -> UInt64 {
        (try? moments.last?.census()).map { max($0.liveBytes, $0.peak.bytes) } ?? 0
    }

    private func facts(ofMoments moments: [HeapImage], named files: [String]) -> AskFacts? {
        guard let newest = moments.last else { return nil }
        let process = NamedProgram.process(of: newest)
        let made = process.flatMap { verdict(newest, $0) }
        guard var facts = survey(newest, process) else { return nil }
        // A process is named by its number, as the user named it; an image by its path.
        facts.name = process.flatMap { files.contains("\($0)") ? "\($0)" : nil } ?? newest.file
        facts.process = process
        if newest.kind == .dump {
            facts.dumpedProcess = Presence.find(
                processID: newest.header.pid, startTime: newest.header.start_time, bootID: newest.bootID
            ).map { pid_t(bitPattern: $0) }
        }
        if let made {
            facts.verdict = (made.told, made.holders, true)
        } else if let stored = moments.last(where: \.hasVerdict),
            takeStored(stored, isNewest: stored === newest, &facts)
        {
            facts.verdictFile = stored.file
        } else {
            facts.verdictGap =
                newest.isSampled
                ? .sampled
                : facts.dumpedProcess != nil
                    ? .notStored : process == nil ? .ended : wantsVerdict ? .refused : .notWanted
        }
        takeMoments(moments, &facts)
        for input in facts.reduction.inputs { for damage in input.damages { say("damaged: \(damage)") } }
        return facts
    }

    // MARK: The verdict

    private func verdict(_ image: HeapImage, _ process: pid_t) -> (told: LeakSummary, holders: HolderTree)? {
        guard wantsVerdict && !image.isSampled else { return nil }
        do {
            return try onOwnThread {
                let snapshot = try Snapshot.take(of: process, image: image)
                defer { snapshot.finish() }
                let report = try judge(snapshot, image, symbolizer: symbolizer)
                return (report.summary, HolderTree(report))
            }
        } catch {
            say("no verdict: \(error)")
            return nil
        }
    }

    private func takeStored(_ image: HeapImage, isNewest: Bool, _ facts: inout AskFacts) -> Bool {
        var (reduction, names) = (facts.reduction, facts.names)
        if !isNewest {
            reduction = Reduction()
            guard (try? reduction.add(image)) != nil else { return false }
            names = FrameNames(reduction, symbolizer: symbolizer)
        }
        guard let told = LeakSummary(reduction, input: 0, names: names) else { return false }
        let tree = HolderTree(reduction, input: 0, names: names)?.pruned(leastShare: 0.01)
        facts.verdict = (told, tree, isNewest)
        return true
    }

    // MARK: The newest image and its pages

    private func survey(_ image: HeapImage, _ process: pid_t?) -> AskFacts? {
        do {
            let taken = try TakenSurvey(image, process: process, symbolizer: symbolizer)
            var facts = AskFacts(name: image.file, reduction: taken.report.reduction, names: taken.report.names)
            (facts.pages, facts.split, facts.memory) = (taken.report, taken.split, taken.memory)
            if process == nil { facts.memory = past(facts.reduction) }
            return facts
        } catch {
            let reduction = Reduction()
            do { try reduction.add(image) } catch {
                fail("\(error)")
                return nil
            }
            if !image.isSampled { say("no survey of pages: \(error)") }
            let names = FrameNames(reduction, symbolizer: symbolizer)
            var facts = AskFacts(name: image.file, reduction: reduction, names: names)
            facts.pagesGap = image.isSampled ? .sampled : .refused
            facts.memory = past(reduction)
            return facts
        }
    }

    /// A dump's or an ended program's memory, as it was measured then.
    private func past(_ reduction: Reduction) -> MemoryVerdict? {
        guard let image = reduction.inputs.first?.image, let census = reduction.inputs.first?.census else { return nil }
        return MemoryVerdict(image, census: census)
    }

    // MARK: The moments

    private func takeMoments(_ moments: [HeapImage], _ facts: inout AskFacts) {
        let growth = Growth()
        if moments.count > 1 {
            let last = moments.count - 1, count = min(moments.count, Self.mostMoments)
            for place in (0 ..< count).map({ $0 * last / (count - 1) }) {
                let image = place == last ? facts.reduction.inputs.first?.image ?? moments[place] : moments[place]
                do { try growth.addMoment(moments[place].file) { try $0.add(image) } } catch { fail("\(error)") }
            }
            facts.momentFiles = (moments[0].file, moments[last].file)
        } else if let image = facts.reduction.inputs.first?.image, image.snapshotCount > 0 {
            do { try growth.addSnapshots(of: image) } catch { fail("\(error)") }
        }
        guard growth.moments.count > 1 else {
            facts.momentFiles = nil
            return
        }
        facts.growth = (growth, FrameNames(growth.reduction, symbolizer: symbolizer))
    }
}
