// The formats for other programs, by name, and what each can show.
//
// Invariant: an unknown quantity is left out of a report, or the report is refused. What is known depends on the inputs
// and is the same for all rows, so it is decided once, here.
//
// Invariant: no format has the program's arguments. They may hold secrets, and these files are made to be passed on.

import HeapImage
import Reduce
import Survey
import Text

/// A format can't show these inputs.
package struct FormatError: Error, Equatable, CustomStringConvertible {
    package var description: String
    package init(_ description: String) { self.description = description }
}

/// The formats for other programs.
package enum MachineFormat: String, CaseIterable, Sendable {
    case json, csv, records, folded, pprof, otlp, speedscope, massif, callgrind, heaptrack, firefox, perfetto, html

    /// Formats that show several quantities at once, and so also need stacks that hold nothing now.
    package var showsHistory: Bool {
        switch self {
        case .pprof, .otlp, .speedscope, .massif, .callgrind, .perfetto, .html: true
        case .json, .csv, .records, .folded, .heaptrack, .firefox: false
        }
    }

    /// Why rows other than stacks can't be written in this format; nil if they can.
    package var needsStacks: String? {
        switch self {
        case .records: "records are written a block at a time, each with its stack"
        case .massif: "massif's trees are made of stacks"
        case .heaptrack: "heaptrack's traces are stacks"
        case .firefox, .perfetto: "its profiles are made of stacks"
        case .html: "the page's graphs are made of stacks"
        default: nil
        }
    }
}

/// The data to write: rows of a reduction, and their names.
package struct MachineReport {
    package var reduction: Reduction
    package var selection: RowSelection
    package var names: FrameNames
    package var frameLimit: Int?
    /// The quantity that is shown if a format has room for one, and that comes first if it has room for several.
    package var quantity: Quantity
    /// The pages of the only image's process, for the page.
    package var survey: PageSurvey?

    package init(
        _ reduction: Reduction, _ selection: RowSelection, names: FrameNames, frameLimit: Int? = nil,
        quantity: Quantity = .bytes
    ) {
        self.reduction = reduction
        self.selection = selection
        self.names = names
        self.frameLimit = frameLimit
        // At the peak these are the same.
        self.quantity = selection.blocks.moment == .peak && quantity == .peakBytes ? .bytes : quantity
    }

    /// The quantities that are known for all rows.
    package var known: [Quantity] {
        let hasHistory = reduction.totals.history != nil && selection.grouping.hasHistory
        return Quantity.sums.filter { quantity in
            if isOfPeak && (quantity == .peakBytes || quantity == .peakBlocks) { return false }
            if quantity == .bytes && !isAnySizeKnown { return false }
            return hasHistory || !quantity.isOfHistory
        }
    }

    /// False if a log has blocks and no sizes.
    var isAnySizeKnown: Bool {
        selection.rows.contains { $0.bytes > 0 } || !selection.rows.contains { $0.blocksOfUnknownSize > 0 }
    }

    /// Whether rows have what they held at the peak instead of what is live.
    private var isOfPeak: Bool { selection.blocks.moment == .peak }

    /// As people read it.
    func title(of quantity: Quantity) -> String {
        guard isOfPeak else { return quantity.title }
        return quantity == .bytes
            ? Quantity.peakBytes.title : quantity == .blocks ? Quantity.peakBlocks.title : quantity.title
    }

    /// Refuses what the format can't show, before a file is overwritten.
    package func require(_ format: MachineFormat) throws(FormatError) {
        switch format {
        case .json, .csv, .records, .pprof, .otlp, .html: break
        case .folded, .speedscope, .callgrind: try requireKnown(quantity)
        case .heaptrack: try requireKnown(.bytes)
        case .massif, .firefox, .perfetto: _ = try requireOneImage(format)
        }
    }

    /// - Throws: `FormatError` if the format can't show these inputs; `OutputError`.
    package func write(_ format: MachineFormat, to out: TextOutput) throws {
        switch format {
        case .json: try JSONReport(frameLimit: frameLimit).write(reduction, selection, names: names, to: out)
        case .csv: try writeCSV(reduction, selection, frameLimit: frameLimit, names: names, to: out)
        case .records: try writeRecords(reduction, selection, frameLimit: frameLimit, names: names, to: out)
        case .folded: try writeFolded(to: out)
        case .pprof: try writePprof(to: out)
        case .otlp: try writeOTLP(to: out)
        case .speedscope: try writeSpeedscope(to: out)
        case .massif: try writeMassif(to: out)
        case .callgrind: try writeCallgrind(to: out)
        case .heaptrack: try writeHeaptrack(to: out)
        case .firefox: try writeFirefox(to: out)
        case .perfetto: try writePerfetto(to: out)
        case .html: try writePage(to: out)
        }
    }

    func requireKnown(_ quantity: Quantity) throws(FormatError) {
        guard !known.contains(quantity) else { return }
        if quantity == .bytes {
            throw FormatError(
                "\(title(of: .bytes)): the log doesn't tell how large its blocks are; --cache NAME says it for a slab "
                    + "cache, and --sort blocks shows blocks"
            )
        }
        throw FormatError(
            "\(quantity.title): not known of these inputs, which tell of live blocks alone; --sort bytes or --sort "
                + "blocks shows those"
        )
    }

    func requireOneImage(
        _ format: MachineFormat
    ) throws(FormatError) -> (input: Input, image: HeapImage, census: Census) {
        if reduction.inputs.count == 1, let input = reduction.inputs.first, let image = input.image,
            let census = input.census
        {
            return (input, image, census)
        }
        throw FormatError(
            "--format \(format.rawValue) shows how one process went on: it wants one image, and there "
                + (reduction.inputs.count == 1
                    ? "is a log of live blocks alone" : "are \(reduction.inputs.count) inputs"))
    }

    /// The row's frames as they are shown, innermost first.
    func entries(_ row: Row) -> [NamedFrame] { names.expanded(reduction.frames(of: row), limit: frameLimit).entries }
}

extension NamedFrame {
    /// The function's text in formats without offsets: its name, or module and offset.
    var functionText: String { function.map(printable) ?? text }
}
