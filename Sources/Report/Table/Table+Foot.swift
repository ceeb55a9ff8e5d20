// The foot of the table: what is not shown, and what to do next.

import Reduce
import Text

extension Table {
    func writeFoot(
        _ reduction: Reduction, _ selection: RowSelection, _ names: FrameNames, to out: TextOutput
    ) throws {
        if selection.below > 0 {
            try out.write(
                "Not shown: \(counted(UInt64(selection.below), "smaller \(selection.grouping.noun)")) with "
                    + "\(separated(selection.belowBytes)) bytes (--top \(selection.below + selection.rows.count) shows "
                    + "all).\n"
            )
        }
        if selection.filtered > 0 {
            try out.write(
                "Filtered out: \(counted(UInt64(selection.filtered), "stack")) with "
                    + "\(separated(selection.filteredBytes)) bytes.\n"
            )
        } else if selection.filteredBytes > 0 {
            try out.write("Filtered out: blocks of \(separated(selection.filteredBytes)) bytes.\n")
        }
        for line in Self.notes(reduction, selection) { try out.write(line + "\n") }
        if selection.small > 0 {
            try out.write(
                "Left out: \(counted(UInt64(selection.small), selection.grouping.noun)) below --min-bytes with "
                    + "\(separated(selection.smallBytes)) bytes.\n")
        }
        for line in Self.warnings(reduction, names) { try out.write(style.warning(line) + "\n") }
        if let input = reduction.inputs.first(where: { $0.image != nil }) {
            try out.write(
                style.dim(
                    "Next: heapsum info \(shellWord(input.path)) tells how the program stood; "
                        + "--include REGEX picks stacks, --format json is for scripts.") + "\n")
        }
    }
}
