// The rows of the table: their columns, and the frames under each.

import HeapImage
import Reduce
import Symbols
import Text

extension Table {
    private struct Column {
        var title: String
        /// Text is aligned to the left.
        var isText = false
        var text: (Row) -> String

        init(title: String, isText: Bool = false, text: @escaping (Row) -> String) {
            (self.title, self.isText, self.text) = (title, isText, text)
        }
    }

    /// The verdict on a row's blocks; if they have several, the bytes of each.
    static func text(_ verdict: RowVerdict?) -> String {
        guard let verdict else { return "-" }
        let parts = (Verdict.shown + [.unknown]).filter { verdict[$0].blocks > 0 }
        if parts.count == 1 { return parts[0].text }
        return parts.map { "\($0.text) \(separated(verdict[$0].bytes))" }.joined(separator: ", ")
    }

    static func share(_ part: UInt64, of whole: UInt64) -> String {
        if whole == 0 { return "-" }
        // A damaged image may have sums that overflow 64 bits, so a share can have any size.
        let tenths = Int(min(Double(part) * 1000 / Double(whole), 1e9).rounded())
        return "\(tenths / 10).\(tenths % 10)%"
    }

    /// Bytes as far as known: a log may have the number of blocks and not their sizes.
    static func bytes(_ bytes: UInt64, unknown: UInt64, of blocks: UInt64) -> String {
        unknown == 0 ? separated(bytes) : bytes == 0 ? "not known" : "at least \(separated(bytes))"
    }

    private func columns(_ reduction: Reduction, _ selection: RowSelection) -> [Column] {
        let totals = reduction.totals
        // At the peak, a share is a share of the peak.
        var whole = selection.blocks.moment == .peak ? totals.peakBytes ?? 0 : totals.liveBytes
        if selection.grouping == .kind {
            whole &+= reduction.mappedTotals.bytes &+ reduction.mappedTotals.poolBytes
        }
        var columns = [
            Column(title: "bytes") { Self.bytes($0.bytes, unknown: $0.blocksOfUnknownSize, of: $0.blocks) },
            Column(title: "share") { $0.blocksOfUnknownSize > 0 ? "-" : Self.share($0.bytes, of: whole) },
            Column(title: "blocks") { separated($0.blocks) },
        ]
        if selection.rows.contains(where: { $0.variance != nil }) {
            columns.insert(Column(title: "±") { $0.variance.map { Self.rounded($0.errorBytes) } ?? "-" }, at: 1)
            columns.insert(Column(title: "±") { $0.variance.map { Self.rounded($0.errorBlocks) } ?? "-" }, at: 4)
        }
        if selection.blocks.moment == .end {
            columns.append(Column(title: "oldest") { $0.oldestSeconds.map(shortDuration) ?? "-" })
        }
        if selection.rows.contains(where: { $0.verdict != nil }) {
            columns.append(Column(title: "verdict", isText: true) { Self.text($0.verdict) })
        }
        if let title = sort.quantity.tableTitle { columns.append(Column(title: title) { sort.quantity.text($0) }) }
        // Shows whether they are some of many blocks, or nearly all: only then is a change of the code worth it.
        if sort == .temporary {
            columns.append(
                Column(title: "of its blocks") {
                    $0.history.map { Self.share($0.temporaryBlocks, of: $0.allocatedBlocks) } ?? "-"
                })
        }
        return columns
    }

    func writeRows(
        _ reduction: Reduction, _ selection: RowSelection, _ names: FrameNames, to out: TextOutput
    ) throws {
        let columns = columns(reduction, selection)
        let cells = selection.rows.map { row in columns.map { $0.text(row) } }
        let widths = columns.indices.map { index in
            max(columns[index].title.count, cells.map { $0[index].count }.max() ?? 0)
        }
        func line(_ texts: [String]) -> String {
            zip(zip(texts, columns), widths).map { cell, width in
                cell.1.isText ? padded(cell.0, width) : leftPadded(cell.0, width)
            }.joined(separator: "   ")
        }
        let isGrouped = selection.grouping != .stack
        try out.write(
            "\n" + style.dim(line(columns.map(\.title)) + (isGrouped ? "   " + selection.grouping.noun : "")) + "\n")
        for (row, cell) in zip(selection.rows, cells) {
            // The bytes are highlighted. Padding comes before the colour, which has no width.
            let first = leftPadded(cell[0], widths[0])
            let rest = line(cell).dropFirst(first.count)
            if isGrouped {
                let used = widths.reduce(3 * widths.count, +)
                try out.write(
                    style.bold(first) + rest + "   " + keyText(row.key, room: style.width.map { max(24, $0 - used) })
                        + "\n")
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

    /// The text of a grouped row, with the module if the key doesn't contain it.
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

    /// A tag is shown whatever the limit of frames is.
    func writeFrames(_ all: [Frame], _ names: FrameNames, to out: TextOutput) throws {
        let indent = "    "
        let tag = all.last.flatMap { $0.module == SpecialModule.tag ? $0 : nil }
        let frames = tag == nil ? all : all.dropLast()
        if frames.isEmpty {
            try out.write(indent + style.dim("(no frames)") + "\n")
            return
        }
        let (named, count) = names.expanded(frames, limit: frameLimit)
        var texts = named.map(\.text)
        var modules = named.map(\.place)
        // If lines may have any length, a few long names exceed the column instead of moving all modules to the right.
        var nameWidth = min(texts.map(\.count).max() ?? 0, 72)
        if let width = style.width {
            let room = width - indent.count
            modules = modules.map { shortened($0, min(24, room / 3)) }
            let moduleWidth = modules.map(\.count).max() ?? 0
            nameWidth = room - (moduleWidth > 0 ? moduleWidth + 2 : 0)
            texts = named.map { $0.text(width: nameWidth) }
            nameWidth = min(nameWidth, texts.map(\.count).max() ?? 0)
        }
        // The C library's frames between main and _start have no exported names and tell nothing.
        let main = named.firstIndex { $0.function == "main" }
        for index in named.indices {
            let name = texts[index], module = modules[index]
            let body = module.isEmpty ? name : "\(padded(name, nameWidth))  \(module)"
            let isDim =
                named[index].isStartup || named[index].frame.module == SpecialModule.cut
                || (main.map { index > $0 } ?? false && named[index].moduleName.map(RuntimeLibraries.isLibc) == true)
            try out.write(
                indent
                    + (isDim
                        ? style.dim(body)
                        : module.isEmpty ? name : "\(padded(name, nameWidth))  \(style.dim(module))") + "\n")
        }
        if count < frames.count {
            try out.write(
                indent
                    + style.dim("… \(counted(UInt64(frames.count - count), "outer frame")) more (--frames 0 shows all)")
                    + "\n")
        }
        if let tag {
            let name = names.name(tag)
            try out.write(indent + (style.width.map { name.text(width: $0 - indent.count) } ?? name.text) + "\n")
        }
    }
}
