// The answer to "what stands out?": the findings on one process, made of its facts.
//
// Invariant: a finding says what was measured. What a kind needs and the facts lack is a gap, with its reason, and no
// finding.

import CHeapImage
import HeapImage
import Reduce
import Survey
import Text
import Trend

/// The findings on one process.
package struct AskReport {
    let facts: AskFacts
    private(set) var suspects: Suspects
    /// The most important first.
    private(set) var findings: [Finding] = []
    private(set) var gaps: [(kind: FindingKind, reason: AskGap, next: [String])] = []
    /// Of all live bytes over time; nil without samples.
    let timeline: Trend?
    /// By the nodes of the newest image's reduction.
    let stackKeys: [StackKey]

    /// - Complexity: O(blocks + stacks), and a look-up of a few frames' names for each stack.
    package init(_ facts: AskFacts) {
        self.facts = facts
        var culprits = Culprits(names: facts.names, allocators: facts.allocators)
        culprits.wrappers = Wrappers.find(culprits)
        func culpritsToo(_ names: FrameNames) -> Culprits {
            Culprits(names: names, allocators: facts.allocators, wrappers: culprits.wrappers)
        }
        suspects = Suspects(culprits)
        timeline = Self.timeline(facts)
        stackKeys = facts.names.stackKeys()
        if let growth = facts.growth {
            suspects.add(growth.moments, culpritsToo(growth.names))
        }
        var told: Culprits?
        if let verdict = facts.verdict?.told {
            let own = culpritsToo(verdict.names)
            suspects.add(verdict, own)
            told = own
        }
        if let pages = facts.pages { suspects.add(pages, culpritsToo(pages.names)) }

        findings += leaked()
        findings += growing()
        findings += pinned()
        findings += peak()
        findings += foreign() + retained()
        if let told { findings += held(told) }
        findings += temporary()
        findings += live()
        findings = Finding.ordered(findings)
        findGaps()
    }

    private static func timeline(_ facts: AskFacts) -> Trend? {
        guard let samples = facts.image?.timeline(), samples.count > 1 else { return nil }
        let thinned = stride(from: 0, to: samples.count, by: (samples.count + 199) / 200).map { samples[$0] }
        return Trend(
            times: thinned.map { Double($0.nanoseconds) / 1e9 }, values: thinned.map { Double($0.liveBytes) })
    }

    var liveBytes: UInt64 { facts.reduction.totals.liveBytes }

    /// More than a hundredth of what lives.
    private func isMuch(_ bytes: UInt64) -> Bool { bytes > 0 && bytes >= liveBytes / 100 }

    // MARK: The kinds

    private func leaked() -> [Finding] {
        let verdict = facts.verdict?.told
        let all = (verdict?.totals ?? [:]).values.reduce(UInt64(0)) { $0 &+ $1.bytes }
        return suspects.all.enumerated().flatMap { number, one -> [Finding] in
            var found: [Finding] = []
            for (said, own, more) in [
                (Verdict.definite, one.definite, one.dragged), (.possible, one.possible, Amount()),
            ]
            where own.blocks > 0 && (said == .definite || isMuch(own.bytes)) {
                let sum = Amount(blocks: own.blocks &+ more.blocks, bytes: own.bytes &+ more.bytes)
                found.append(
                    Finding(
                        kind: said == .definite ? .leaked : .possible, suspect: number, amount: sum, whole: all,
                        isUrgent: said == .definite && isMuch(sum.bytes),
                        evidence: [
                            ("verdict", .text(said.text)), ("ownBytes", .count(own.bytes)),
                            ("ownBlocks", .count(own.blocks)), ("indirectBytes", .count(more.bytes)),
                            ("indirectBlocks", .count(more.blocks)),
                            ("example", said == .definite ? AskValue(one.example.map(hexadecimal)) : .unknown),
                            ("bytesAnHour", bytesAnHour(one)),
                        ],
                        next: facts.verdictFile.map { ["heapsum", "leaks", $0] }
                            ?? (said == .definite && one.example != nil
                                ? ["heapsum", "leaks", "--show-block", hexadecimal(one.example ?? 0), facts.name]
                                : ["heapsum", "leaks", "--verdict", said.text, facts.name])))
            }
            return found
        }
    }

    /// Blocks from before an attached recording come and go unseen. What replaces them looks like growth: until such
    /// frees are few beside the allocations, nothing is called growing.
    private var replacesEarlierBlocks: Bool {
        let totals = facts.reduction.totals
        guard isAttached, let frees = totals.unmatchedFrees, let all = totals.history else { return false }
        return frees > all.allocatedBlocks / 4
    }

    private var isAttached: Bool { facts.image?.hasFlag(HEAP_FLAG_ATTACHED) ?? false }

    private func growing() -> [Finding] {
        if replacesEarlierBlocks { return [] }
        let moments = facts.growth?.moments.moments ?? []
        let seconds = facts.growth?.moments.seconds?.last
        let grown = suspects.all.reduce(UInt64(0)) { $0 &+ UInt64(clamping: $1.growthBytes) }
        return suspects.all.enumerated().compactMap { number, one -> Finding? in
            // What is lost grows because it is lost: one finding says both.
            if one.isLost { return nil }
            let shape = one.trend.flatMap { $0.shape == .tooFew ? nil : $0.shape }
            let hasGrown =
                one.growthBytes > 0 && [nil, .steadyGrowth, .step, .irregular].contains(shape)
            let pilesUp = one.births.pileUp && one.live.bytes > 0 && one.growthBytes >= 0
            let isSteady = shape == .steadyGrowth || (pilesUp && (hasGrown || shape == nil))
            let isByMoments = one.growthBytes > 0
            let amount =
                isByMoments
                ? Amount(blocks: UInt64(clamping: one.growthBlocks), bytes: UInt64(clamping: one.growthBytes))
                : one.live
            guard hasGrown || isSteady, isMuch(amount.bytes) else { return nil }
            return Finding(
                kind: .growing, suspect: number, amount: amount, whole: isByMoments ? grown : liveBytes,
                isUrgent: isSteady, factor: isSteady ? 1 : 0.5,
                evidence: [
                    ("by", .text(isByMoments ? "moments" : "ages")),
                    ("bytesBefore", isByMoments ? AskValue(one.bytes.first) : .unknown),
                    ("blocksBefore", isByMoments ? AskValue(one.blocks.first) : .unknown),
                    ("moments", isByMoments ? .count(UInt64(moments.count)) : .unknown),
                    ("seconds", .decimal(isByMoments ? seconds : facts.seconds)),
                    ("shape", AskValue(shape?.rawValue)),
                    ("pValue", .decimal(shape == nil ? nil : one.trend?.pValue)),
                    ("bytesAnHour", bytesAnHour(one)),
                    ("bornByEighth", one.births.records.contains { $0 > 0 } ? .counts(one.births.blocks) : .unknown),
                ], next: nextOfGrowth(one))
        }
    }

    private func pinned() -> [Finding] {
        // The survey can't tell a live block from before the recording from free memory.
        guard !isAttached, let survey = facts.pages?.survey, survey.sums.pinned >= 1 << 20 else { return [] }
        // What has ended pins nothing any more: its pages count as they would have.
        return suspects.all.enumerated().filter { $1.pinnedBytes >= survey.sums.resident / 20 }.map { number, one in
            Finding(
                kind: .pinned, suspect: number, amount: Amount(blocks: one.live.blocks, bytes: one.pinnedBytes),
                whole: survey.sums.resident,
                evidence: [
                    ("isResident", .isTrue(survey.hasResidency)), ("aloneBytes", .count(one.aloneBytes)),
                    ("allPinnedBytes", .count(survey.sums.pinned)),
                    ("trimmableBytes", survey.hasResidency ? .count(survey.sums.returned) : .unknown),
                ], next: ["heapsum", "pages", facts.name])
        }
    }

    private func peak() -> [Finding] {
        guard let census = facts.census, let header = facts.image?.header, census.peak.bytes / 2 > liveBytes else {
            return []
        }
        return suspects.all.enumerated().compactMap { number, one in
            guard let history = one.history, history.peakBytes > one.live.bytes,
                history.peakBytes - one.live.bytes >= census.peak.bytes / 20
            else { return nil }
            return Finding(
                kind: .peak, suspect: number,
                amount: Amount(
                    blocks: history.peakBlocks - min(history.peakBlocks, one.live.blocks),
                    bytes: history.peakBytes - one.live.bytes),
                whole: census.peak.bytes,
                evidence: [
                    ("peakBytes", .count(history.peakBytes)), ("peakBlocks", .count(history.peakBlocks)),
                    ("peakSeconds", .decimal(header.peak_ns > 0 ? Double(header.peak_ns) / 1e9 : nil)),
                ], next: ["heapsum", "--at", "peak", "--by", "function", facts.name])
        }
    }

    private func foreign() -> [Finding] {
        guard let memory = facts.memory, memory.total > 0 else { return [] }
        let other = memory.bytes("otherBytes"), shared = memory.bytes("sharedBytes")
        guard other &+ shared >= 1 << 20, other &+ shared >= memory.total / 10 else { return [] }
        let largest = facts.split?.largestOther
        return [
            Finding(
                kind: .foreign, suspect: nil, amount: Amount(bytes: other &+ shared), whole: memory.total,
                evidence: [
                    ("otherBytes", .count(other)), ("sharedBytes", .count(shared)),
                    ("largestAddress", AskValue(largest.map { hexadecimal($0.start) })),
                    ("largestBytes", AskValue(largest?.bytes)),
                ], next: ["heapsum", "info", facts.name])
        ]
    }

    private func retained() -> [Finding] {
        guard let memory = facts.memory, memory.total > 0 else { return [] }
        let isLive = facts.split != nil
        let bytes = memory.bytes(isLive ? "retainedBytes" : "freeBytes")
        guard bytes >= 1 << 20, bytes >= memory.total / 10 else { return [] }
        return [
            Finding(
                kind: .retained, suspect: nil, amount: Amount(bytes: bytes), whole: memory.total,
                evidence: [
                    ("trimmableBytes", isLive ? AskValue(facts.pages?.survey.sums.returned) : .unknown),
                    ("mayBePinned", .isTrue(!isLive)),
                ], next: ["heapsum", isLive ? "pages" : "info", facts.name])
        ]
    }

    private mutating func held(_ told: Culprits) -> [Finding] {
        guard let verdict = facts.verdict, let tree = verdict.holders, tree.total.bytes > 0 else { return [] }
        let nodes = verdict.told.reduction.nodes(ofStacksOf: 0)
        let grown = facts.growth.flatMap { GrowthVerdicts($0.moments, names: $0.names) }?.holders ?? []
        // Where most is lost, what keeps the little rest is no news.
        let least = max(tree.total.bytes / 10, liveBytes / 20)
        var found: [Finding] = []
        for (place, line) in tree.lines.enumerated() where line.depth == 0 && line.kept.bytes >= least {
            // A root has no stack: its largest blocks' are directly below it.
            let named =
                line.stack ?? tree.lines[(place + 1)...].prefix { $0.depth > 0 }.first { $0.stack != nil }?.stack
            let suspect = named.map { stack in
                suspects.number(of: Int(stack) < nodes.count ? nodes[Int(stack)] : 0, told)
            }
            let more = grown.first { $0.depth == 0 && $0.text == line.text }?.growthBytes
            found.append(
                Finding(
                    kind: .held, suspect: suspect, amount: line.kept, whole: tree.total.bytes,
                    evidence: [
                        ("holder", line.stack == nil ? .text(line.text) : .unknown),
                        ("severalRoots", .isTrue(line.isSharedByRoots)),
                        ("growthBytes", more.map { .difference($0) } ?? .unknown),
                    ], next: ["heapsum", "leaks", "--holders", facts.verdictFile ?? facts.name]))
        }
        return found
    }

    private func temporary() -> [Finding] {
        guard let all = facts.reduction.totals.history, all.allocatedBlocks > 0 else { return [] }
        return suspects.all.enumerated().compactMap { number, one in
            guard let history = one.history, history.temporaryBlocks >= 10_000,
                history.temporaryBlocks >= all.allocatedBlocks / 4
            else { return nil }
            return Finding(
                kind: .temporary, suspect: number,
                amount: Amount(
                    blocks: history.temporaryBlocks,
                    bytes: history.temporaryBlocks &* (history.allocatedBytes / max(history.allocatedBlocks, 1))),
                // They cost time, not memory.
                whole: all.allocatedBytes, factor: 0.001,
                evidence: [
                    ("temporaryBlocks", .count(history.temporaryBlocks)),
                    ("allocatedBytes", .count(history.allocatedBytes)),
                ], next: ["heapsum", "--sort", "temporary", facts.name])
        }
    }

    /// What is large, and nothing more is known of: a twentieth of what lives; if nothing else stands out, the largest.
    private func live() -> [Finding] {
        let told = Set(findings.compactMap { $0.kind == .growing ? $0.suspect : nil })
        let others = suspects.all.indices.filter {
            !told.contains($0) && !suspects.all[$0].isLost && suspects.all[$0].live.bytes > 0
        }
        let largest = others.map { suspects.all[$0].live.bytes }.max() ?? 0
        let least = findings.isEmpty ? min(liveBytes / 20, largest) : max(liveBytes / 20, 1)
        return others.filter { suspects.all[$0].live.bytes >= least }.map { number in
            let one = suspects.all[number]
            return Finding(
                kind: .live, suspect: number, amount: one.live, whole: liveBytes, factor: one.isOwn ? 1 : 0.1,
                evidence: [
                    ("bornByEighth", one.births.records.contains { $0 > 0 } ? .counts(one.births.blocks) : .unknown)
                ], next: ["heapsum"] + filter(one) + [facts.name])
        }
    }

    // MARK: What the kinds share

    /// From the moments; without them only if the function never freed a block, so that what lives is what came.
    private func bytesAnHour(_ one: Suspect) -> AskValue {
        if let seconds = facts.growth?.moments.seconds, let trend = one.trend {
            if trend.count >= Trend.fewest { return .decimal(trend.slopePerSecond * 3600) }
            guard let span = seconds.last, span > 0 else { return .unknown }
            return .decimal(Double(one.growthBytes) / span * 3600)
        }
        guard let history = one.history, history.freedBlocks == 0, facts.seconds > 0 else { return .unknown }
        return .decimal(Double(one.live.bytes) / facts.seconds * 3600)
    }

    private func nextOfGrowth(_ one: Suspect) -> [String] {
        if let files = facts.momentFiles { return ["heapsum", "diff"] + filter(one) + [files.first, files.last] }
        if let process = facts.process { return ["heapdump", "\(process)"] }
        if facts.growth != nil { return ["heapsum", "diff"] + filter(one) + [facts.name] }
        return ["heapsum"] + filter(one) + [facts.name]
    }

    /// Options that choose a function's stacks: the part of its name that is the same in a regular expression.
    private func filter(_ one: Suspect) -> [String] {
        guard let function = one.frame.function else { return [] }
        let name = function.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") }
        return name.count < 2 || name.count > 100 ? [] : ["--include", String(name)]
    }

    private mutating func findGaps() {
        if let reason = facts.verdictGap {
            let program = facts.image?.programName ?? "PROGRAM"
            let next: [String] =
                switch reason {
                case .ended: ["heaprun", "--leaks", "-o", "out", "--", program]
                case .notStored: ["heapdump", "--leaks", facts.dumpedProcess.map { "\($0)" } ?? "PID"]
                case .notWanted: ["heapsum", "ask", facts.name]
                case .sampled: []
                default: ["heapsum", "leaks", facts.name]
                }
            gaps.append((.leaked, reason, next))
            if facts.verdict?.holders == nil { gaps.append((.held, reason, next)) }
        }
        if facts.growth == nil && facts.seconds < Double(Births.leastNanoseconds) / 1e9 {
            gaps.append((.growing, .oneMoment, facts.process.map { ["heapdump", "\($0)"] } ?? []))
        }
        if replacesEarlierBlocks {
            gaps.append((.growing, .attached, facts.process.map { ["heapdump", "\($0)"] } ?? []))
        }
        if isAttached && facts.pages != nil {
            gaps.append((.pinned, .attached, ["heapsum", "pages", facts.name]))
        }
        if let reason = facts.pagesGap {
            gaps.append((.pinned, reason, reason == .sampled ? [] : ["heapsum", "pages", facts.name]))
        }
        if facts.memory == nil { gaps.append((.foreign, facts.pagesGap ?? .ended, ["heapsum", "info", facts.name])) }
    }
}

extension MemoryVerdict {
    /// A part by its name; 0 if it has none.
    func bytes(_ name: String) -> UInt64 { parts.first { $0.name == name }?.bytes ?? 0 }
}
