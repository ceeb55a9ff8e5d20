// The findings as JSON, schema "heapsum-ask/1": for programs that can't read much, and don't read prose.
//
// Invariant: the text has at most `mostBytes`, whatever the input. All keys are always there; what is not known is
// null. Names and paths from outside are cut in their middle. The last findings are left out, and counted. A command
// that would not fit is null, because half a command is another one.

import HeapImage
import Reduce
import Text

extension AskReport {
    /// The most that the whole answer takes, in bytes.
    package static let mostBytes = 5000
    /// At most so many findings are of one kind, so that one kind doesn't displace the others.
    private static let mostOfAKind = 3
    private static let mostNameBytes = 160
    private static let mostPathBytes = 600

    package func writeJSON(to out: TextOutput) throws {
        let head =
            "{\"schema\":\"heapsum-ask/1\",\n\"subject\":\(subject),\n\"totals\":\(totals),\n"
            + "\"timeline\":\(timelineText),\n\"memory\":\(memory),\n\"verdicts\":\(verdicts),\n\"findings\":["
        let tail = "\"unknown\":[\(gaps.map(text).joined(separator: ","))],\n\"others\":\(others)}\n"
        // What is left out is told in less than this.
        var room = Self.mostBytes - head.utf8.count - tail.utf8.count - 100
        var written: [String] = [], ofKind: [FindingKind: Int] = [:], leftOut = Amount()
        for finding in findings {
            let text = "\n " + text(finding)
            guard ofKind[finding.kind, default: 0] < Self.mostOfAKind, text.utf8.count + 1 <= room else {
                leftOut.add(Amount(blocks: 1, bytes: finding.amount.bytes))
                continue
            }
            ofKind[finding.kind, default: 0] += 1
            room -= text.utf8.count + 1
            written.append(text)
        }
        try out.write(
            head + written.joined(separator: ",")
                + "],\n\"leftOut\":{\"findings\":\(leftOut.blocks),\"bytes\":\(leftOut.bytes)},\n" + tail)
    }

    // MARK: The parts

    private var subject: String {
        let input = facts.reduction.inputs.first, image = facts.image
        let growth = facts.growth?.moments
        return object([
            ("path", bounded(facts.name, Self.mostPathBytes)), ("program", name(input?.program)),
            ("pid", number(input?.processID)), ("kind", jsonString(input?.kind ?? "image")),
            ("state", jsonString(input?.state ?? "unknown")), ("runs", "\(facts.process != nil)"),
            ("recordedSeconds", text(.decimal(facts.seconds))), ("moments", "\(growth?.moments.count ?? 1)"),
            ("sampleInterval", number(image.flatMap { $0.isSampled ? $0.sampleInterval : nil })),
            ("damaged", "\(input?.damaged ?? false)"),
        ])
    }

    private var totals: String {
        let sums = facts.reduction.totals, peak = facts.image?.header.peak_ns ?? 0
        return object([
            ("liveBytes", "\(sums.liveBytes)"), ("liveBlocks", "\(sums.liveBlocks)"),
            ("peakBytes", number(sums.peakBytes)),
            ("peakSeconds", text(.decimal(peak > 0 ? Double(peak) / 1e9 : nil))),
            ("allocatedBytes", number(sums.history?.allocatedBytes)),
            ("allocatedBlocks", number(sums.history?.allocatedBlocks)),
            ("temporaryBlocks", number(sums.history?.temporaryBlocks)), ("stacks", "\(sums.uniqueStacks)"),
            ("lostEvents", "\(sums.lostEvents)"),
        ])
    }

    private var timelineText: String {
        guard let timeline else { return "null" }
        let isTested = timeline.shape != .tooFew
        return object([
            ("firstBytes", number(UInt64(clamped: timeline.first))),
            ("lastBytes", number(UInt64(clamped: timeline.last))),
            ("shape", isTested ? jsonString(timeline.shape.rawValue) : "null"),
            ("bytesAnHour", isTested ? text(.decimal(timeline.slopePerSecond * 3600)) : "null"),
            ("pValue", isTested ? text(.decimal(timeline.pValue)) : "null"),
        ])
    }

    private static let memoryParts = [
        "heldBytes", "earlierBytes", "pinnedBytes", "retainedBytes", "unbookedBytes", "unclearBytes", "freeBytes",
        "stackBytes", "otherBytes", "fileBytes", "sharedBytes", "imageBytes",
    ]

    private var memory: String {
        guard let memory = facts.memory else { return "null" }
        return object(
            [("residentBytes", "\(memory.total)")]
                + Self.memoryParts.map { name in (name, number(memory.parts.first { $0.name == name }?.bytes)) })
    }

    private var verdicts: String {
        guard let verdict = facts.verdict else { return "null" }
        let told = verdict.told
        let sums = Verdict.shown.map { kind -> (String, String) in
            let amount = told.totals[kind] ?? Amount()
            return (kind.text, "{\"blocks\":\(amount.blocks),\"bytes\":\(amount.bytes)}")
        }
        return object(
            sums + [
                ("whole", "\(told.notRead.isEmpty)"), ("ofNewest", "\(verdict.isNewest)"),
                ("pauseNanoseconds", told.pauseNanoseconds > 0 ? "\(told.pauseNanoseconds)" : "null"),
            ])
    }

    private func text(_ finding: Finding) -> String {
        let suspect = finding.suspect.map { suspects.all[$0] }, frame = suspect?.frame
        let callers = suspect.map { $0.culprits.callers(of: $0.frame, in: $0.node, most: 3) } ?? []
        let through = suspect.map { $0.culprits.wrappers(inside: $0.frame, in: $0.node, most: 2) } ?? []
        let key = suspect.flatMap { one in
            one.culprits.names.reduction === facts.reduction ? stackKeys[Int(one.node)] : nil
        }
        let share = finding.whole > 0 ? min(1, Double(finding.amount.bytes) / Double(finding.whole)) : nil
        return object([
            ("kind", jsonString(finding.kind.rawValue)),
            ("function", name(frame.flatMap { $0.function ?? ($0.moduleName == nil ? nil : $0.text) })),
            ("module", name(frame?.moduleName.map(ImageNames.baseName))), ("file", name(frame?.file)),
            ("line", number(frame?.line)), ("callers", "[\(callers.map { name($0) }.joined(separator: ","))]"),
            ("through", "[\(through.map { name($0) }.joined(separator: ","))]"),
            ("stackKey", key.map { jsonString("\($0)") } ?? "null"), ("bytes", "\(finding.amount.bytes)"),
            ("blocks", finding.amount.blocks > 0 ? "\(finding.amount.blocks)" : "null"),
            ("share", text(.decimal(share))), ("liveBytes", number(suspect?.live.bytes)),
            ("liveBlocks", number(suspect?.live.blocks)), ("oldestSeconds", text(.decimal(suspect?.oldestSeconds))),
            ("newestSeconds", text(.decimal(suspect?.newestSeconds))),
            ("allocatedBlocks", number(suspect?.history?.allocatedBlocks)),
            ("freedBlocks", number(suspect?.history?.freedBlocks)),
            ("evidence", object(finding.evidence.map { ($0.name, text($0.value)) })), ("next", command(finding.next)),
        ])
    }

    private func text(_ gap: (kind: FindingKind, reason: AskGap, next: [String])) -> String {
        object([
            ("what", jsonString(gap.kind.rawValue)), ("because", jsonString(gap.reason.rawValue)),
            ("next", gap.next.isEmpty ? "null" : command(gap.next, most: 200)),
        ])
    }

    private var others: String {
        object([
            ("processes", "\(facts.others?.count ?? 0)"),
            ("next", facts.others.map { command(["heapsum", "ask", $0.largest], most: 300) } ?? "null"),
        ])
    }

    // MARK: Values

    private func object(_ members: [(String, String)]) -> String {
        "{" + members.map { "\(jsonString($0.0)):\($0.1)" }.joined(separator: ",") + "}"
    }

    private func number<Value: BinaryInteger>(_ value: Value?) -> String { value.map { "\($0)" } ?? "null" }

    private func text(_ value: AskValue) -> String {
        switch value {
        case .unknown: "null"
        case .isTrue(let value): "\(value)"
        case .count(let value): "\(value)"
        case .difference(let value): "\(value)"
        case .counts(let values): "[\(values.map(String.init).joined(separator: ","))]"
        case .text(let text): bounded(text, Self.mostNameBytes)
        case .decimal(let value): decimal(value)
        }
    }

    /// Three digits after the point; large numbers without any.
    private func decimal(_ value: Double?) -> String {
        guard let value, value.isFinite else { return "null" }
        if abs(value) >= 1e6 { return "\(Int64(max(-9e18, min(value, 9e18))))" }
        let thousandths = Int64((abs(value) * 1000).rounded())
        let rest = thousandths % 1000
        return (value < 0 && thousandths > 0 ? "-" : "") + "\(thousandths / 1000)"
            + (rest == 0 ? "" : "." + String(rest + 1000).dropFirst())
    }

    private func name(_ text: String?) -> String { text.map { bounded($0, Self.mostNameBytes) } ?? "null" }

    /// The command as a shell's line; null if it has too many bytes.
    private func command(_ words: [String], most: Int = 700) -> String {
        let text = jsonString(words.map(shellWord).joined(separator: " "))
        return text.utf8.count <= most ? text : "null"
    }

    /// A JSON string of at most `most` bytes: a longer text loses its middle.
    private func bounded(_ text: String, _ most: Int) -> String {
        let whole = jsonString(text)
        if whole.utf8.count <= most { return whole }
        func part(_ scalars: some Sequence<Unicode.Scalar>) -> [Unicode.Scalar] {
            var part: [Unicode.Scalar] = [], bytes = 0
            for scalar in scalars {
                // Without the quotes.
                bytes += jsonString(String(scalar)).utf8.count - 2
                if bytes > (most - 5) / 2 { break }
                part.append(scalar)
            }
            return part
        }
        var result = String.UnicodeScalarView()
        result.append(contentsOf: part(text.unicodeScalars))
        result.append("…")
        result.append(contentsOf: part(text.unicodeScalars.reversed()).reversed())
        return jsonString(String(result))
    }
}
