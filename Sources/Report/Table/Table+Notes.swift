// The notes of every report: what was left out, what was lost, and which names are missing. Each line is escaped.

import CHeapImage
import HeapImage
import Reduce
import Text

extension Table {
    /// Notes on what the filters and suppressions did.
    package static func notes(_ reduction: Reduction, _ selection: RowSelection) -> [String] {
        var lines: [String] = []
        if selection.undecided > 0 {
            let what = selection.blocks.moment == .peak ? "no peak is known" : "the blocks' own ages are not known"
            lines.append(
                "Left out: \(counted(UInt64(selection.undecided), "stack")) with "
                    + "\(separated(selection.undecidedBytes)) bytes, of logs: \(what)."
            )
        }
        if selection.blocks.thread != nil && !reduction.tree.hasThreads {
            lines.append("Threads are not recorded here: heaprun --threads records each block's thread.")
        }
        return lines + selection.suppressed.lines
    }

    /// Notes on losses, one sentence for each line.
    package static func warnings(_ reduction: Reduction, _ names: FrameNames?) -> [String] {
        var lines = samplingNotes(reduction)
        if let more = reduction.tagsBeyondLimit {
            lines.append(
                "Tags: \(counted(more.blocks, "allocation")) of \(separated(more.bytes)) bytes had a tag beyond those "
                    + "that a process keeps, and count together.")
        }
        if let unread = reduction.contextsUnread {
            lines.append(
                "Tags: \(counted(unread.blocks, "allocation")) of \(separated(unread.bytes)) bytes had an "
                    + "OpenTelemetry context that could not be read.")
        }
        for input in reduction.inputs {
            if let losses = input.image?.losses {
                let path = printable(input.path)
                if losses.lost_allocations > 0 {
                    lines.append(
                        "Lost: \(path): \(counted(losses.lost_allocations, "allocation")) of "
                            + "\(separated(losses.lost_bytes)) bytes found no space in the image.")
                }
                if losses.early_allocations > 0 {
                    lines.append(
                        "Lost: \(path): \(counted(losses.early_allocations, "allocation")) came before recording could "
                            + "start."
                    )
                }
                if losses.lost_stacks > 0 {
                    lines.append(
                        "Lost: \(path): the stacks of \(counted(losses.lost_stacks, "allocation")) found no space, or "
                            + "a signal's handler made them while the thread could have no stack."
                    )
                }
                if losses.limited_allocations > 0 {
                    lines.append(
                        "Stacks: \(path): \(counted(losses.limited_allocations, "allocation")) had a new stack when "
                            + "the "
                            + "image had its most, and count under the part of it that was known (--max-stacks).")
                }
                if losses.lost_details > 0 {
                    lines.append(
                        "Lost: \(path): peaks, snapshots or lifetimes of stacks found no space in the image "
                            + "\(counted(losses.lost_details, "time")).")
                }
            }
            if let sums = input.image?.mappingSums(), sums.lostCalls > 0 {
                lines.append(
                    "Lost: \(printable(input.path)): \(counted(sums.lostCalls, "call")) that mapped or unmapped found "
                        + "no space in the image: \(separated(sums.lostBytes)) bytes of mappings are not told right.")
            }
            if let sums = input.image?.poolSums(), sums.lostBlocks > 0 {
                lines.append(
                    "Lost: \(printable(input.path)): \(counted(sums.lostBlocks, "block")) of pools found no space in "
                        + "the image, or began in the same 16 bytes as another.")
            }
            if let gone = input.image?.header.gone_stacks, gone > 0 {
                lines.append(
                    "Packed: \(printable(input.path)): \(counted(gone, "stack")) that came and went, held nothing and "
                        + "did "
                        + "little are one row.")
            }
            if let reason = input.verdict?.notRead.first {
                lines.append(
                    "Not whole: \(printable(input.path)): no block of it is called definite, and what seems lost is "
                        + "called "
                        + "possible: not read: \(printable(reason)).")
            }
            if input.recordsLost > 0 {
                lines.append("Lost: \(printable(input.path)): \(counted(input.recordsLost, "record")) cut off.")
            }
        }
        return lines + (names.map(nameWarnings) ?? [])
    }

    /// The notes about names.
    package static func nameWarnings(_ names: FrameNames) -> [String] {
        var lines: [String] = []
        let shown = names.withoutSymbols.prefix(8)
        for module in shown {
            lines.append(
                "No names for \(counted(UInt64(module.frames), "frame")) of \(printable(module.module)): "
                    + "\(printable(module.reason))"
                    + (module.wanted.map { "; wanted: \(printable($0))" } ?? "") + ".")
        }
        let more = names.withoutSymbols.dropFirst(shown.count)
        if !more.isEmpty {
            lines.append(
                "No names for \(counted(UInt64(more.reduce(0) { $0 + $1.frames }), "frame")) of "
                    + "\(counted(UInt64(more.count), "more module"))."
            )
        }
        let notes = names.notes
        for note in notes.prefix(8) { lines.append("Names: \(printable(note)).") }
        if notes.count > 8 {
            lines.append("Names: \(counted(UInt64(notes.count - 8), "more file")) could not be used.")
        }
        return lines
    }
}
