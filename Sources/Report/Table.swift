// The table: what a person reads. The largest stack first, its frames under it, the program's own
// frames bright and the start-up code dim; what is not shown, and what was lost, said at the end.

import HeapImage
import Reduce
import Text

/// Writes the table of a reduction.
package struct Table {
    package var style: Style
    /// Most frames shown of a stack; nil: all.
    package var frameLimit: Int? = 20
    package var sort: SortKey = .bytes
    /// Shown under each row by its node, and of all rows at the end.
    package var distributions: (all: Distributions, rows: [UInt32: Distributions])?

    package init(style: Style, frameLimit: Int? = 20, sort: SortKey = .bytes) {
        self.style = style
        self.frameLimit = frameLimit
        self.sort = sort
    }

    package func write(_ reduction: Reduction, _ selection: RowSelection, names: FrameNames, to out: TextOutput) throws {
        try writeHead(reduction, selection, to: out)
        if selection.rows.isEmpty {
            let why = reduction.totals.liveBlocks == 0 ? "Nothing is live: every block that was booked has been freed."
                : "No \(selection.grouping.noun) passes the filters."
            try out.write("\n\(why)\n")
        } else {
            try writeRows(reduction, selection, names, to: out)
        }
        if let distributions, !distributions.all.isEmpty {
            try out.write((selection.rows.isEmpty ? "\n" : "") + style.bold("All blocks") + "\n")
            try HistogramText(style: style).write(distributions.all, to: out)
            try out.write("\n")
        }
        try writeFoot(reduction, selection, names, to: out)
    }

    // MARK: The head

    /// Most inputs that are told of one by one.
    private static let headLimit = 8

    func writeHead(_ reduction: Reduction, _ selection: RowSelection, to out: TextOutput) throws {
        // A build's directory holds hundreds of images: those that hold the most stand for all.
        let inputs = reduction.inputs.count <= Self.headLimit ? reduction.inputs
            : Array(reduction.inputs.sorted { $0.bytes > $1.bytes }.prefix(Self.headLimit))
        for input in inputs {
            var words: [String] = []
            words.append(style.bold(printable(input.program ?? input.path)))
            if let pid = input.processID { words.append("pid \(pid)") }
            words.append(Self.stateText(input))
            if input.kind == "dump" { words.append("dump") }
            if reduction.inputs.count > 1 { words.append("\(separated(input.bytes)) bytes live") }
            try out.write(words.joined(separator: " · ") + "\n")
        }
        if inputs.count < reduction.inputs.count {
            let shown = inputs.reduce(0) { $0 &+ $1.bytes }, all = reduction.inputs.reduce(0) { $0 &+ $1.bytes }
            try out.write(style.dim("… and \(separated(UInt64(reduction.inputs.count - inputs.count))) more with \(separated(all &- shown)) bytes live") + "\n")
        }
        let totals = reduction.totals
        var words = [
            totals.blocksOfUnknownSize == 0 ? "\(style.bold(separated(totals.liveBytes))) bytes live in \(counted(totals.liveBlocks, "block"))"
                : "\(style.bold(Self.bytes(totals.liveBytes, unknown: totals.blocksOfUnknownSize, of: totals.liveBlocks))) "
                    + "\(totals.liveBytes == 0 ? "how many bytes are" : "bytes") live in \(counted(totals.liveBlocks, "block"))",
        ]
        if let peak = totals.peakBytes { words.append("peak \(separated(peak)) bytes") }
        words.append(counted(UInt64(totals.uniqueStacks), "stack"))
        try out.write(words.joined(separator: " · ") + "\n")
        if let text = selection.blocks.text {
            let passing = selection.passing
            try out.write("Here: \(text): \(style.bold(separated(passing.bytes))) bytes in \(counted(passing.blocks, "block")) · "
                + "\(counted(UInt64(passing.rows), selection.grouping.noun))\n")
        }
    }

    static func stateText(_ input: Input) -> String {
        guard let header = input.image?.header else { return input.detail ?? input.state }
        switch input.state {
        case "exited": return "exited with status \(header.exit_status)"
        case "killed": return "killed by signal \(header.exit_signal)"
        case "exec": return "replaced by exec"
        case "unknown": return "gone, its end not seen"
        default: return input.state
        }
    }

    // MARK: The rows

    private struct Column { var title: String, text: (Row) -> String }

    static func share(_ part: UInt64, of whole: UInt64) -> String {
        if whole == 0 { return "-" }
        // A damaged image may claim sums past 64 bits, which wrap: a share can then be of any size.
        let tenths = Int(min(Double(part) * 1000 / Double(whole), 1e9).rounded())
        return "\(tenths / 10).\(tenths % 10)%"
    }

    /// Bytes as far as they are known: a log may tell how many blocks there are, and not how large.
    static func bytes(_ bytes: UInt64, unknown: UInt64, of blocks: UInt64) -> String {
        unknown == 0 ? separated(bytes) : bytes == 0 ? "not known" : "at least \(separated(bytes))"
    }

    private func columns(_ totals: Totals, _ selection: RowSelection) -> [Column] {
        // At the peak a share is one of the peak.
        let whole = selection.blocks.moment == .peak ? totals.peakBytes ?? 0 : totals.liveBytes
        var columns = [
            Column(title: "bytes") { Self.bytes($0.bytes, unknown: $0.blocksOfUnknownSize, of: $0.blocks) },
            Column(title: "share") { $0.blocksOfUnknownSize > 0 ? "-" : Self.share($0.bytes, of: whole) },
            Column(title: "blocks") { separated($0.blocks) },
        ]
        if selection.blocks.moment == .end { columns.append(Column(title: "oldest") { $0.oldestSeconds.map(shortDuration) ?? "-" }) }
        if let title = sort.quantity.tableTitle { columns.append(Column(title: title) { sort.quantity.text($0) }) }
        // Many of many, or nearly all: the second is the one that a change of the code is worth.
        if sort == .temporary {
            columns.append(Column(title: "of its blocks") { $0.history.map { Self.share($0.temporaryBlocks, of: $0.allocatedBlocks) } ?? "-" })
        }
        return columns
    }

    private func writeRows(
        _ reduction: Reduction, _ selection: RowSelection, _ names: FrameNames, to out: TextOutput
    ) throws {
        let columns = columns(reduction.totals, selection)
        let cells = selection.rows.map { row in columns.map { $0.text(row) } }
        let widths = columns.indices.map { index in
            max(columns[index].title.count, cells.map { $0[index].count }.max() ?? 0)
        }
        func line(_ texts: [String]) -> String {
            zip(texts, widths).map { leftPadded($0, $1) }.joined(separator: "   ")
        }
        let isGrouped = selection.grouping != .stack
        try out.write("\n" + style.dim(line(columns.map(\.title)) + (isGrouped ? "   " + selection.grouping.noun : "")) + "\n")
        for (row, cell) in zip(selection.rows, cells) {
            // The bytes are what the eye looks for; padding comes before the colour, which has no width.
            let first = leftPadded(cell[0], widths[0])
            let rest = line(cell).dropFirst(first.count)
            if isGrouped {
                let used = widths.reduce(3 * widths.count, +)
                try out.write(style.bold(first) + rest + "   " + keyText(row.key, room: style.width.map { max(24, $0 - used) }) + "\n")
                continue
            }
            try out.write(style.bold(first) + rest + "\n")
            try writeFrames(reduction.frames(of: row), names, to: out)
            if let own = distributions?.rows[row.node], !own.isEmpty {
                try out.write("\n")
                try HistogramText(style: style, indent: "    ").write(own, to: out)
            }
            try out.write("\n")
        }
        if isGrouped { try out.write("\n") }
    }

    /// What a grouped row is, with the module where the key doesn't say it.
    private func keyText(_ key: RowKey?, room: Int?) -> String {
        guard let key else { return "" }
        let label = printable(key.label)
        var module = ""
        if let path = key.module, key.function != nil {
            module = printable(path.split(separator: "/").last.map { String($0) } ?? path)
        }
        guard let room else { return module.isEmpty ? label : label + "  " + style.dim(module) }
        module = shortened(module, min(24, room / 3))
        let text = shortened(label, module.isEmpty ? room : room - module.count - 2)
        return module.isEmpty ? text : text + "  " + style.dim(module)
    }

    func writeFrames(_ frames: [Frame], _ names: FrameNames, to out: TextOutput) throws {
        let indent = "    "
        if frames.isEmpty {
            try out.write(indent + style.dim("(no frames)") + "\n")
            return
        }
        let (named, count) = names.expanded(frames, limit: frameLimit)
        var texts = named.map(\.text)
        var modules = named.map(\.place)
        // Where lines may be of any length a few long names stand out of the column, rather than push all modules away.
        var nameWidth = min(texts.map(\.count).max() ?? 0, 72)
        if let width = style.width {
            let room = width - indent.count
            modules = modules.map { shortened($0, min(24, room / 3)) }
            let moduleWidth = modules.map(\.count).max() ?? 0
            nameWidth = room - (moduleWidth > 0 ? moduleWidth + 2 : 0)
            texts = named.map { $0.text(width: nameWidth) }
            nameWidth = min(nameWidth, texts.map(\.count).max() ?? 0)
        }
        // The C library's own frames between main and _start have no exported names, and tell nothing.
        let main = named.firstIndex { $0.function == "main" }
        for index in named.indices {
            let name = texts[index], module = modules[index]
            let body = module.isEmpty ? name : "\(padded(name, nameWidth))  \(module)"
            let isDim = named[index].isStartup || named[index].frame.module == SpecialModule.cut
                || (main.map { index > $0 } ?? false && named[index].moduleName?.hasPrefix("libc.so") == true)
            try out.write(indent + (isDim ? style.dim(body)
                : module.isEmpty ? name : "\(padded(name, nameWidth))  \(style.dim(module))") + "\n")
        }
        if count < frames.count {
            try out.write(indent + style.dim("… \(counted(UInt64(frames.count - count), "outer frame")) more (--frames 0 shows all)") + "\n")
        }
    }

    // MARK: The foot

    func writeFoot(
        _ reduction: Reduction, _ selection: RowSelection, _ names: FrameNames, to out: TextOutput
    ) throws {
        if selection.below > 0 {
            try out.write("Not shown: \(counted(UInt64(selection.below), "smaller \(selection.grouping.noun)")) with "
                + "\(separated(selection.belowBytes)) bytes (--top \(selection.below + selection.rows.count) shows all).\n")
        }
        if selection.filtered > 0 {
            try out.write("Filtered out: \(counted(UInt64(selection.filtered), "stack")) with \(separated(selection.filteredBytes)) bytes.\n")
        } else if selection.filteredBytes > 0 {
            try out.write("Filtered out: blocks of \(separated(selection.filteredBytes)) bytes.\n")
        }
        for line in Self.notes(reduction, selection) { try out.write(line + "\n") }
        if selection.small > 0 {
            try out.write("Left out: \(counted(UInt64(selection.small), selection.grouping.noun)) below --min-bytes with "
                + "\(separated(selection.smallBytes)) bytes.\n")
        }
        for line in Self.warnings(reduction, names) { try out.write(style.warning(line) + "\n") }
        if let input = reduction.inputs.first(where: { $0.image != nil }) {
            try out.write(style.dim("Next: heapsum info \(shellWord(input.path)) tells how the program stood; "
                + "--include REGEX picks stacks, --format json is for scripts.") + "\n")
        }
    }

    /// What a reader of any report should know of what the filters and suppressions did.
    package static func notes(_ reduction: Reduction, _ selection: RowSelection) -> [String] {
        var lines: [String] = []
        if selection.undecided > 0 {
            let what = selection.blocks.moment == .peak ? "no peak is known" : "the blocks' own ages are not known"
            lines.append("Left out: \(counted(UInt64(selection.undecided), "stack")) with \(separated(selection.undecidedBytes)) bytes, of logs: \(what).")
        }
        if selection.blocks.thread != nil && !reduction.tree.hasThreads {
            lines.append("No thread is recorded here: heaprun --threads keeps each block's thread.")
        }
        return lines + selection.suppressed.lines
    }

    /// What a reader of any report should know of losses, one sentence a line.
    package static func warnings(_ reduction: Reduction, _ names: FrameNames?) -> [String] {
        var lines: [String] = []
        for input in reduction.inputs {
            if let losses = input.image?.losses {
                let path = printable(input.path)
                if losses.lost_allocations > 0 {
                    lines.append("Lost: \(path): \(counted(losses.lost_allocations, "allocation")) of "
                        + "\(separated(losses.lost_bytes)) bytes found no space in the image.")
                }
                if losses.early_allocations > 0 {
                    lines.append("Lost: \(path): \(counted(losses.early_allocations, "allocation")) came before recording could start.")
                }
                if losses.lost_stacks > 0 {
                    lines.append("Lost: \(path): the stacks of \(counted(losses.lost_stacks, "allocation")) found no space in the image.")
                }
            }
            if input.recordsLost > 0 {
                lines.append("Lost: \(printable(input.path)): \(counted(input.recordsLost, "record")) cut off.")
            }
        }
        return lines + (names.map(nameWarnings) ?? [])
    }

    /// The part of it that is about names.
    package static func nameWarnings(_ names: FrameNames) -> [String] {
        var lines: [String] = []
        let shown = names.withoutSymbols.prefix(8)
        for module in shown {
            lines.append("No names for \(counted(UInt64(module.frames), "frame")) of \(printable(module.module)): \(printable(module.reason))"
                + (module.wanted.map { "; wanted: \(printable($0))" } ?? "") + ".")
        }
        let more = names.withoutSymbols.dropFirst(shown.count)
        if !more.isEmpty {
            lines.append("No names for \(counted(UInt64(more.reduce(0) { $0 + $1.frames }), "frame")) of \(counted(UInt64(more.count), "more module")).")
        }
        let notes = names.notes
        for note in notes.prefix(8) { lines.append("Names: \(printable(note)).") }
        if notes.count > 8 { lines.append("Names: \(counted(UInt64(notes.count - 8), "more file")) could not be used.") }
        return lines
    }
}
