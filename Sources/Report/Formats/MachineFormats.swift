// The formats with everything that is known about each row: JSON (schema heapsum/1) and CSV. Sizes are plain integers;
// unknown values are null or empty.

import Glibc
import HeapImage
import Reduce
import Text

/// Writes the JSON report.
package struct JSONReport {
    package var frameLimit: Int?
    /// The report's check.
    package var check: Check?
    /// For all rows, and for some rows by their nodes.
    package var distributions: (all: Distributions, rows: [UInt32: Distributions])?

    package init(frameLimit: Int? = nil) { self.frameLimit = frameLimit }

    package func write(_ reduction: Reduction, _ selection: RowSelection, names: FrameNames, to out: TextOutput) throws
    {
        try out.write("{\"schema\":\"heapsum/1\",\n\"inputs\":[")
        for (index, input) in reduction.inputs.enumerated() {
            try out.write(index == 0 ? "\n " : ",\n ")
            try out.write(text(input))
        }
        let totals = reduction.totals
        let sums: [String] = [
            "\"liveBytes\":\(knownBytes(totals.liveBytes, unknown: totals.blocksOfUnknownSize))",
            "\"liveBlocks\":\(totals.liveBlocks)",
            "\"allocatedBytes\":\(number(totals.history?.allocatedBytes))",
            "\"allocatedBlocks\":\(number(totals.history?.allocatedBlocks))",
            "\"freedBlocks\":\(number(totals.history?.freedBlocks))",
            "\"peakBytes\":\(number(totals.peakBytes))",
            "\"uniqueStacks\":\(totals.uniqueStacks)", "\"lostEvents\":\(totals.lostEvents)",
            "\"unmatchedFrees\":\(number(totals.unmatchedFrees))",
        ]
        try out.write("],\n\"totals\":{\(sums.joined(separator: ","))\(standardErrors(totals.variance))")
        if totals.blocksOfUnknownSize > 0 {
            try out.write(",\"blocksOfUnknownSize\":\(totals.blocksOfUnknownSize)")
        }
        try out.write("},\n")
        if selection.blocks.moment == .peak { try out.write("\"at\":\"peak\",\n") }
        if let check { try out.write("\"check\":\(text(check)),\n") }
        if let distributions { try out.write(text(distributions.all) + ",\n") }
        let suppressed = selection.suppressed
        if !suppressed.uses.isEmpty || !suppressed.unused.isEmpty {
            let rules = suppressed.uses + suppressed.unused.map { SuppressedRows.Use(rule: $0) }
            let texts = rules.map { use -> String in
                "{\"name\":\(jsonString(use.rule.name)),\"place\":\(use.rule.place.map(jsonString) ?? "null"),"
                    + "\"stacks\":\(use.stacks),\"bytes\":\(use.bytes),\"blocks\":\(use.blocks)}"
            }
            try out.write("\"suppressions\":[\n \(texts.joined(separator: ",\n "))],\n")
        }
        if reduction.hasMappings { try writeMapped(reduction, names, to: out) }
        try out.write("\"rows\":[")
        var growth: [UInt32: Int64] = [:]
        for row in check?.rows ?? [] { growth[row.row.node] = row.growthBytes }
        var written: [Frame: [[UInt8]]] = [:]
        let keys = selection.grouping == .stack ? names.stackKeys() : []
        let quantities = Quantity.reported.filter { $0 != .residentBytes || $0.isShown(of: reduction) }
        for (index, row) in selection.rows.enumerated() {
            try out.write(index == 0 ? "\n " : ",\n ")
            try out.write("{")
            if let key = row.key { try out.write("\"key\":\(jsonString(key.text)),") }
            if !keys.isEmpty { try out.write("\"stackKey\":\"\(keys[Int(row.node)])\",") }
            let amounts = quantities.map { quantity in "\"\(quantity.name)\":\(text(quantity.known(row)))" }
            try out.write(amounts.joined(separator: ","))
            try out.write(",\"verdict\":" + (row.verdict.map { said in jsonString(said.worst.text) } ?? "null"))
            if let said = row.verdict { try out.write(",\"verdicts\":" + text(said)) }
            if let own = distributions?.rows[row.node] { try out.write("," + text(own)) }
            if let grown = growth[row.node] { try out.write(",\"growthBytes\":\(grown)") }
            try out.write(",\"frames\":[")
            var count = 0
            if let key = row.key { try out.write(text(key)) }
            for frame in row.key == nil ? reduction.frames(of: row) : [] {
                if let frameLimit, count >= frameLimit { break }
                // A frame is in many stacks, so its texts, one for each inlined function, are made once.
                let entries = written[frame] ?? names.expanded(frame).map { Array(text($0).utf8) }
                written[frame] = entries
                for entry in entries {
                    if let frameLimit, count >= frameLimit { break }
                    if count > 0 { try out.write(",") }
                    count += 1
                    try out.write(entry)
                }
            }
            try out.write("]}")
        }
        try out.write("]}\n")
    }

    /// Blocks and bytes of each verdict, and of the blocks that are indirectly lost through definitely lost ones.
    func text(_ said: RowVerdict) -> String {
        func text(_ amount: Amount) -> String { "{\"blocks\":\(amount.blocks),\"bytes\":\(amount.bytes)}" }
        let kinds = Verdict.shown + (said[.unknown].blocks > 0 ? [.unknown] : [])
        return "{" + kinds.map { "\(jsonString($0.text)):\(text(said[$0]))" }.joined(separator: ",")
            + ",\"dragged\":\(text(said.dragged))}"
    }

    /// Of the totals, where they are estimates.
    private func standardErrors(_ variance: Variance?) -> String {
        guard let variance else { return "" }
        let bytes = UInt64(clamped: variance.errorBytes), blocks = UInt64(clamped: variance.errorBlocks)
        return ",\"standardErrorBytes\":\(bytes),\"standardErrorBlocks\":\(blocks)"
    }

    /// Unknown bytes are null; if a part is known, that part.
    private func knownBytes(_ bytes: UInt64, unknown: UInt64) -> String {
        unknown > 0 && bytes == 0 ? "null" : "\(bytes)"
    }

    func text(_ input: Input) -> String {
        var fields = [
            "\"path\":\(jsonString(input.path))", "\"kind\":\(jsonString(input.kind))",
            "\"program\":\(input.program.map(jsonString) ?? "null")", "\"pid\":\(number(input.processID))",
            "\"state\":\(jsonString(input.state))", "\"sets\":\(input.sets)",
            "\"recordsLost\":\(input.recordsLost)", "\"damaged\":\(input.damaged)",
        ]
        if let header = input.image?.header {
            if input.state == "exited" { fields.append("\"exitStatus\":\(header.exit_status)") }
            if header.sample_interval > 0 { fields.append("\"sampleInterval\":\(header.sample_interval)") }
            if input.state == "killed" { fields.append("\"signal\":\(header.exit_signal)") }
        }
        return "{" + fields.joined(separator: ",") + "}"
    }

    /// A group's key as its only frame; none for a thread or a size.
    func text(_ key: RowKey) -> String {
        if key.module == nil && key.function == nil && key.file == nil { return "" }
        return "{"
            + [
                "\"module\":\(key.module.map(jsonString) ?? "null")", "\"buildID\":null", "\"offset\":null",
                "\"address\":null",
                "\"function\":\(key.function.map(jsonString) ?? "null")", "\"symbolOffset\":null",
                "\"file\":\(key.file.map(jsonString) ?? "null")", "\"line\":\(number(key.line))", "\"inlined\":null",
            ].joined(separator: ",") + "}"
    }

    private func text(_ distributions: Distributions) -> String {
        let sizes = distributions.sizes.enumerated().filter { $1.blocks > 0 }.map { number, sum -> String in
            let sizes = Distributions.sizes(of: number)
            return
                "{\"from\":\(sizes.lowerBound),\"to\":\(sizes.upperBound),\"blocks\":\(sum.blocks),"
                + "\"bytes\":\(sum.bytes)}"
        }
        let lifetimes = distributions.lifetimes.enumerated().filter { $1 > 0 }.map { number, blocks -> String in
            let from = number > 0 ? LifetimeClass.end(number - 1) ?? 0 : 0
            return
                "{\"fromSeconds\":\(seconds(Double(from) / 1000)),"
                + "\"belowSeconds\":\(seconds(LifetimeClass.end(number).map { Double($0) / 1000 })),"
                + "\"blocks\":\(blocks)}"
        }
        return "\"sizes\":[\(sizes.joined(separator: ","))],\"lifetimes\":[\(lifetimes.joined(separator: ","))]"
    }

    private func text(_ check: Check) -> String {
        let limits = check.verdicts.map { verdict in
            "{\"limit\":\(jsonString(verdict.quantity.rawValue)),\"most\":\(verdict.most),"
                + "\"value\":\(verdict.value),\"passed\":\(verdict.passed)}"
        }
        let baseline =
            check.baseline.map { "{\"path\":\(jsonString($0.path)),\"bytes\":\($0.bytes),\"blocks\":\($0.blocks)}" }
            ?? "null"
        return "{\"passed\":\(check.passed),\"limits\":[\(limits.joined(separator: ","))],\"baseline\":\(baseline)}"
    }

    func text(_ frame: NamedFrame) -> String {
        let function: String? =
            switch frame.frame.module {
            case SpecialModule.cut, SpecialModule.thread: frame.text
            default: frame.function
            }
        let hasOffset =
            frame.frame.module == SpecialModule.none
            || (frame.modulePath != nil && frame.frame.module != SpecialModule.named)
        return "{"
            + [
                "\"module\":\(frame.modulePath.map(jsonString) ?? "null")",
                "\"buildID\":\(frame.buildID.map(jsonString) ?? "null")",
                "\"offset\":\(hasOffset ? "\(frame.frame.offset)" : "null")",
                "\"address\":\(number(frame.address))", "\"function\":\(function.map(jsonString) ?? "null")",
                "\"symbolOffset\":\(number(frame.symbolOffset))", "\"file\":\(frame.file.map(jsonString) ?? "null")",
                "\"line\":\(number(frame.line))", "\"inlined\":\(frame.inlined.map { "\($0)" } ?? "null")",
            ].joined(separator: ",") + "}"
    }

    private func text(_ value: Quantity.Value?) -> String {
        switch value {
        case .count(let count): "\(count)"
        case .seconds(let value): seconds(value)
        case nil: "null"
        }
    }

    func number<Value: BinaryInteger>(_ value: Value?) -> String { value.map { "\($0)" } ?? "null" }

    func seconds(_ value: Double?) -> String {
        // Ticks are milliseconds: more digits were not measured.
        guard let value else { return "null" }
        let milliseconds = UInt64(max(0, min(value, 1e12)) * 1000 + 0.5)
        let rest = String(milliseconds % 1000 + 1000).dropFirst()
        return "\(milliseconds / 1000).\(rest)"
    }
}

/// Writes one line for each row, comma-separated by RFC 4180.
package func writeCSV(
    _ reduction: Reduction, _ selection: RowSelection, frameLimit: Int?, names: FrameNames, to out: TextOutput
) throws {
    func text(_ value: Quantity.Value?) -> String {
        switch value {
        case .count(let count): "\(count)"
        case .seconds(let seconds): "\(seconds)"
        case nil: ""
        }
    }
    let keys = selection.grouping == .stack ? names.stackKeys() : []
    let hasVerdicts = reduction.hasVerdicts
    let quantities = Quantity.reported.filter { $0.isShown(of: reduction) }
    let columns =
        quantities.map(\.csvName) + (hasVerdicts ? ["verdict"] : []) + [selection.grouping.rawValue]
        + (keys.isEmpty ? [] : ["stack_key"])
    try out.write(columns.joined(separator: ",") + "\r\n")
    for row in selection.rows {
        let frames = names.expanded(reduction.frames(of: row), limit: frameLimit).entries.map { named in
            named.file == nil ? named.text : "\(named.text) \(named.place)"
        }
        let cells =
            quantities.map { text($0.known(row)) } + (hasVerdicts ? [row.verdict?.worst.text ?? ""] : [])
            + [csvCell(frames.joined(separator: " < "))] + (keys.isEmpty ? [] : ["\(keys[Int(row.node)])"])
        try out.write(cells.joined(separator: ",") + "\r\n")
    }
}
