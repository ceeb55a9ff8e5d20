// Folded stacks, as flame graphs are made from: a line a stack, outermost;…;innermost and a number.

import Reduce
import Text

extension MachineReport {
    /// Writes the report's one quantity. Stacks with none are left out, as they have no width.
    func writeFolded(to out: TextOutput) throws {
        try requireKnown(quantity)
        // Equal function names are one in this format, so equal lines are summed.
        var sums: [String: UInt64] = [:]
        var order: [String] = []
        for row in selection.rows {
            let value = quantity.value(row)
            guard value > 0 else { continue }
            // The separators of the format can't stand in a name.
            let frames = entries(row).reversed().map { String($0.functionText.map { $0 == ";" ? ":" : $0 }) }
            let line = frames.isEmpty ? "(no frames)" : frames.joined(separator: ";")
            if let sum = sums[line] {
                sums[line] = sum &+ value
            } else {
                sums[line] = value
                order.append(line)
            }
        }
        for line in order { try out.write("\(line) \(sums[line] ?? 0)\n") }
    }
}

/// Writes folded stacks of live bytes.
package func writeFolded(
    _ reduction: Reduction, _ selection: RowSelection, frameLimit: Int?, names: FrameNames, to out: TextOutput
) throws {
    try MachineReport(reduction, selection, names: names, frameLimit: frameLimit).writeFolded(to: out)
}
