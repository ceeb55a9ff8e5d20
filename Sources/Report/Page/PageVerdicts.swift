// What a page has of a verdict: of each row the blocks and bytes of each kind, the sums, and the tree of holders.
//
// The numbers are those of `heapsum leaks` and of `--format json`: sums before filters, rows after.

import HeapImage
import Page
import Reduce
import Text

enum PageVerdicts {
    private static let kinds = Verdict.shown + [.unknown]

    /// The columns of rows; what is not known of a row counts as without a verdict.
    static func writeColumns(_ rows: [Row], to data: inout PageData) {
        let said = rows.map { row in
            row.verdict
                ?? {
                    var none = RowVerdict()
                    none[.unknown] = Amount(blocks: row.blocks, bytes: row.bytes)
                    return none
                }()
        }
        for kind in kinds {
            data.column(kind.text + "Bytes", said.map { $0[kind].bytes })
            data.column(kind.text + "Blocks", said.map { $0[kind].blocks })
        }
        data.column("draggedBytes", said.map(\.dragged.bytes))
        data.column("draggedBlocks", said.map(\.dragged.blocks))
    }

    /// The sums of all inputs, and who holds what is reachable.
    static func write(_ reduction: Reduction, _ names: FrameNames, to data: inout PageData) {
        var totals: [Verdict: Amount] = [:]
        for input in reduction.inputs {
            if let stored = input.verdict {
                for (kind, amount) in stored.totals { totals[kind, default: Amount()].add(amount) }
            } else {
                totals[.unknown, default: Amount()].add(Amount(blocks: input.blocks, bytes: input.bytes))
            }
        }
        data.object("verdicts") { data in
            data.object("totals") { data in
                for kind in kinds {
                    data.object(kind.text) { data in
                        data.integer("blocks", totals[kind]?.blocks ?? 0)
                        data.integer("bytes", totals[kind]?.bytes ?? 0)
                    }
                }
            }
            data.array("holders") { data in
                for number in reduction.inputs.indices { writeHolders(reduction, number, names, to: &data) }
            }
        }
    }

    /// An input's tree, lines in the order in which it is printed.
    private static func writeHolders(
        _ reduction: Reduction, _ number: Int, _ names: FrameNames, to data: inout PageData
    ) {
        guard let tree = HolderTree(reduction, input: number, names: names) else { return }
        let input = reduction.inputs[number]
        data.object { data in
            data.string("label", printable(input.image?.programName ?? input.path) + " · pid \(input.processID ?? 0)")
            data.integer("bytes", tree.total.bytes)
            data.integer("blocks", tree.total.blocks)
            data.column("depth", of: tree.lines.map(\.depth))
            data.array("name") { data in
                for line in tree.lines { data.integer(nil, UInt64(data.number(of: printable(line.text)))) }
            }
            data.column("severalRoots", of: tree.lines.map { $0.isSharedByRoots ? 1 : 0 })
            data.column("ownBlocks", tree.lines.map(\.own.blocks))
            data.column("ownBytes", tree.lines.map(\.own.bytes))
            data.column("keptBlocks", tree.lines.map(\.kept.blocks))
            data.column("keptBytes", tree.lines.map(\.kept.bytes))
        }
    }

    /// What verdicts say of themselves. That one is not whole is among the warnings of all reports.
    static func notes(_ reduction: Reduction, _ names: FrameNames) -> [String] {
        reduction.inputs.indices.flatMap { number in
            (LeakSummary(reduction, input: number, names: names)?.notes ?? []).map {
                "Verdict: \(printable(reduction.inputs[number].path)): \(printable($0))."
            }
        }
    }
}
