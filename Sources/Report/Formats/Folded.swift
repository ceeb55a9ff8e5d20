// Folded stacks, the input for flame graphs: one line for each stack, outermost;…;innermost and a number.

import Reduce
import Text

extension MachineReport {
    /// Writes the report's main quantity. Stacks without any are left out, because they have no width.
    func writeFolded(to out: TextOutput) throws {
        try requireKnown(quantity)
        // This format doesn't distinguish functions with equal names, so equal lines are summed.
        var sums: [String: UInt64] = [:]
        var order: [String] = []
        for row in selection.rows {
            let value = quantity.value(row)
            guard value > 0 else { continue }
            // Names must not contain the format's separators.
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
