// The verdict for scripts: schema heapwatch/1. Bytes and counts are plain integers, times are ISO 8601 in UTC, unknown
// values are null. A process's arguments appear only in the commands.

import Text

package struct VerdictJSON {
    package init() {}

    package func write(_ verdict: Verdict, to out: TextOutput) throws {
        try out.write(
            "{\"schema\":\"heapwatch/1\",\n\"span\":{\"from\":\(time(verdict.from)),\"to\":\(time(verdict.to)),"
                + "\"samples\":\(verdict.samples),\"intervalSeconds\":\(number(verdict.intervalSeconds))},\n"
                + "\"growing\":["
        )
        try out.write(
            verdict.growing.map { "\n " + text($0, isGrowing: true) }.joined(separator: ",") + "],\n\"memory\":")
        try out.write(verdict.memory.map(memory) ?? "null")
        try out.write(",\n\"load\":" + text(verdict.load))
        try out.write(
            ",\n\"notGrowing\":[" + verdict.moving.map { "\n " + text($0, isGrowing: false) }.joined(separator: ",")
                + "],\n\"undrained\":[")
        let queues = verdict.undrained.map { queue -> String in
            let what = jsonString(queue.isReceiving ? "receive queue" : "send queue")
            return "\n {\"pid\":\(queue.pid),\"name\":\(jsonString(queue.name)),"
                + "\"what\":\(what),"
                + "\"bytes\":\(queue.bytes),\"sockets\":\(max(queue.sockets, 0)),"
                + "\"seconds\":\(number(queue.seconds)),\"next\":\(jsonString(queue.next.command))}"
        }
        try out.write(queues.joined(separator: ",") + "],\n\"jobs\":{\"runs\":\(verdict.jobRuns),\"leftBehind\":[")
        let leftBehind = verdict.leftBehind.map { left -> String in
            let next = left.next.map { jsonString($0.command) } ?? "null"
            return "\n {\"job\":\(jsonString(left.job)),\"kind\":\"\(left.kind.rawValue)\","
                + "\"what\":\(jsonString(left.what)),\"unit\":\"\(left.unit)\",\"runs\":\(left.runs),"
                + "\"allRuns\":\(left.allRuns),\"amount\":\(integer(left.amount)),"
                + "\"lastAt\":\(time(left.lastAt)),"
                + "\"next\":\(next)}"
        }
        try out.write(leftBehind.joined(separator: ",") + "]},\n\"recording\":{")
        try out.write("\"host\":\(jsonString(verdict.host)),\"kernel\":\(jsonString(verdict.kernel)),")
        try out.write("\"bytes\":\(verdict.recordedBytes),\"processes\":\(verdict.processes),")
        try out.write("\"seriesTested\":\(verdict.tests),")
        let ownShare = verdict.ownShare.map { share in number(share) } ?? "null"
        try out.write("\"ownProcessorShare\":\(ownShare),")
        let ownBytes = verdict.ownBytes.map { bytes in "\(bytes)" } ?? "null"
        try out.write("\"ownPeakBytes\":\(ownBytes),")
        try out.write("\"notes\":[\(verdict.notes.map(jsonString).joined(separator: ","))],")
        let damaged = verdict.damages.map { damage in jsonString(damage.text) }
        try out.write("\"damaged\":[\(damaged.joined(separator: ","))]}}\n")
    }

    private func text(_ finding: Finding, isGrowing: Bool) -> String {
        var fields = [
            "\"kind\":\"\(finding.kind.rawValue)\"", "\"pid\":\(finding.pid.map { "\($0)" } ?? "null")",
            "\"name\":\(jsonString(finding.name))",
            "\"what\":\(jsonString(finding.what))", "\"first\":\(integer(finding.first))",
            "\"last\":\(integer(finding.last))",
        ]
        fields += [
            ("perHour", finding.trend.slopePerSecond), ("perHourLow", finding.trend.slopeLow),
            ("perHourHigh", finding.trend.slopeHigh),
        ].map { "\"\($0.0)\":\(number($0.1 * 3600))" }
        fields += [
            "\"pValue\":\(number(finding.trend.pValue, digits: nil))", "\"shape\":\"\(finding.trend.shape.rawValue)\"",
        ]
        if isGrowing {
            fields += [
                "\"exhaustedAt\":\(finding.exhaustedAt.map(time) ?? "null")",
                "\"next\":\(finding.next.map { jsonString($0.command) } ?? "null")",
            ]
        }
        fields += ["\"unit\":\"\(finding.unit)\"", "\"ended\":\(finding.hasEnded)"]
        if isGrowing {
            if !finding.holders.isEmpty {
                fields.append("\"holders\":[\(finding.holders.map(jsonString).joined(separator: ","))]")
            }
            if !finding.followers.isEmpty {
                fields.append("\"followers\":[\(finding.followers.map(jsonString).joined(separator: ","))]")
            }
            fields.append("\"since\":\(finding.since.map(time) ?? "null")")
            fields.append(
                finding.whole.map { whole in
                    "\"whole\":{\"first\":\(integer(whole.first)),"
                        + "\"perHour\":\(number(whole.trend.slopePerSecond * 3600)),"
                        + "\"pValue\":\(number(whole.trend.pValue, digits: nil)),"
                        + "\"shape\":\"\(whole.trend.shape.rawValue)\"}"
                } ?? "\"whole\":null")
        }
        if let before = finding.successorOf { fields.append("\"successorOf\":\(before)") }
        return "{" + fields.joined(separator: ",") + "}"
    }

    private func text(_ load: LoadPicture) -> String {
        func text(_ series: LoadSeries?) -> String {
            series.map {
                "{\"first\":\(number($0.first)),\"last\":\(number($0.last)),\"mean\":\(number($0.mean)),"
                    + "\"most\":\(number($0.most))}"
            } ?? "null"
        }
        let shares = load.processorShares.map { "\"\($0.name)\":\(number($0.share))" }.joined(separator: ",")
        let pressure = load.pressure.map { each in
            "\"\(each.name)\":{\"some\":\(number(each.some)),\"full\":\(each.full.map { number($0) } ?? "null"),"
                + "\"most\":\(number(each.most))}"
        }.joined(separator: ",")
        let busiest = load.busiest.map {
            "{\"pid\":\($0.pid),\"name\":\(jsonString($0.name)),\"processorSeconds\":\(number($0.seconds)),"
                + "\"seconds\":\(number($0.span))}"
        }.joined(separator: ",")
        let uptime = load.uptime.map { "{\"first\":\(number($0.first)),\"last\":\(number($0.last))}" }
        return
            "{\"average\":\(text(load.load)),\"processors\":\(load.processors),"
            + "\"uptimeSeconds\":\(uptime ?? "null"),"
            + "\"processorShares\":{\(shares)},\"pressure\":{\(pressure)},"
            + "\"swapInBytesPerSecond\":\(text(load.swapIn)),\"swapOutBytesPerSecond\":\(text(load.swapOut)),"
            + "\"busiest\":[\(busiest)]}"
    }

    private func memory(_ picture: MemoryPicture) -> String {
        func part(_ isOfApplications: Bool) -> String {
            MemoryClass.allCases.filter { $0.isOfApplications == isOfApplications }.map {
                "\"\($0.name)\":\(picture[$0])"
            }.joined(separator: ",")
        }
        return
            "{\"total\":\(picture.total),\"free\":\(picture.free),\"applications\":{\(part(true))},"
            + "\"kernel\":{\(part(false))},\"unexplained\":\(picture.unexplained)"
            + (picture.isPartial ? ",\"partial\":true}" : "}")
    }
}

private func time(_ milliseconds: Int64) -> String { "\"\(isoTime(milliseconds))\"" }

/// A whole number. Values come from files and may exceed an integer's range.
func integer(_ value: Double) -> String {
    "\(Int64(exactly: value.rounded()) ?? (value > 0 ? .max : value < 0 ? .min : 0))"
}

/// null if it is not a number. With three digits after the point unless all are wanted.
private func number(_ value: Double, digits: Int? = 3) -> String {
    guard value.isFinite else { return "null" }
    if digits != nil, value.magnitude < 1e15 {
        let rounded = (value * 1000).rounded() / 1000
        return rounded == rounded.rounded() ? integer(rounded) : "\(rounded)"
    }
    return "\(value)"
}
