// Records: one for each live block, in the form of AIX's debug malloc log, which heapsum reads back.
//
// Invariant: reducing the written records gives the same rows: the same stacks, frame for frame, with the same bytes
// and blocks. A traceback's text is made once for each stack, a block's once for each block.

import HeapImage
import Reduce
import Text

/// Writes the live blocks of the selected rows, from the images in a reduction.
///
/// - Complexity: O(blocks), reading the images again; memory only for the rows' tracebacks.
package func writeRecords(
    _ reduction: Reduction, _ selection: RowSelection, frameLimit: Int?, names: FrameNames, to out: TextOutput
) throws {
    var tracebacks: [[UInt8]] = []
    var tracebackOfNode: [UInt32: Int] = [:]
    for row in selection.rows {
        var text = Array("\nAllocated from heap: 0\nAllocation traceback:\n".utf8)
        for frame in reduction.frames(of: row).prefix(frameLimit ?? .max) {
            let named = names.name(frame)
            text += Array("0x".utf8)
            append(named.address ?? (frame.module == SpecialModule.tag ? 0 : frame.offset), to: &text)
            // A newline ends the name, so the name must not contain one.
            text += Array((" " + (named.function.map(printable) ?? named.text) + "\n").utf8)
        }
        tracebackOfNode[row.node] = tracebacks.count
        tracebacks.append(text)
    }
    try out.write("Current allocation report:\n")
    let number = Array("\nAllocation #".utf8), size = Array("\nAllocation size: 0x".utf8)
    var count: UInt64 = 0
    var record: [UInt8] = []
    try reduction.forEachLiveBlock(passing: selection.blocks) {
        (block: LiveBlock, row: Int, _, _) throws(OutputError) in
        guard let traceback = tracebackOfNode[reduction.rows[row].node] else { return }
        count += 1
        record.removeAll(keepingCapacity: true)
        record += number
        appendDecimal(count, to: &record)
        record.append(0x3A)
        record += [0x20, 0x30, 0x78]
        append(block.address, to: &record)
        record += size
        append(block.bytes, to: &record)
        record += tracebacks[traceback]
        try out.write(record)
    }
}

/// Appends a number in upper-case hexadecimal, as in AIX's logs.
private func append(_ value: UInt64, to text: inout [UInt8]) {
    var shift = max(0, (63 - value.leadingZeroBitCount) / 4 * 4)
    if value == 0 { shift = 0 }
    while shift >= 0 {
        let digit = UInt8(truncatingIfNeeded: value >> UInt64(shift) & 0xF)
        text.append(digit < 10 ? 0x30 + digit : 0x37 + digit)
        shift -= 4
    }
}

private func appendDecimal(_ value: UInt64, to text: inout [UInt8]) {
    let start = text.count
    var rest = value
    repeat {
        text.append(0x30 + UInt8(rest % 10))
        rest /= 10
    } while rest > 0
    text[start...].reverse()
}
