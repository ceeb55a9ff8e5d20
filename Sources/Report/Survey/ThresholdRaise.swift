// Which free raised malloc's M_MMAP_THRESHOLD. glibc raises it to the size of a chunk with a mapping of its own when
// that is freed, and keeps no record of the block. The recorder does: each thread's largest. The one that is as large
// as the threshold is now did it; of several, the first that was freed. If none is, the free was not recorded: then no
// stack is named.

import CHeapImage
import HeapImage
import Leaks
import Reduce
import Survey
import Text

/// The block whose free raised the threshold.
package struct ThresholdRaise {
    package var freed: FreedMapped
    package var node: UInt32
}

extension PagesReport {
    /// Who raised the threshold to what it is now; more than one only if they were freed within the same tick of the
    /// recording's clock.
    ///
    /// - Complexity: O(threads)
    package var raises: [ThresholdRaise] {
        guard let image = reduction.inputs.first?.image, let parameters = survey.parameters, !parameters.isFixed,
            parameters.mmapThreshold > MallocParameters.defaultThreshold
        else { return [] }
        let nodes = reduction.nodes(ofStacksOf: 0)
        let all = image.freedMapped().filter {
            $0.chunkBytes == parameters.mmapThreshold && Int($0.stack) < nodes.count
        }
        guard let first = all.first else { return [] }
        var raises: [ThresholdRaise] = []
        for one in all where one.freedMilliseconds == first.freedMilliseconds {
            let node = nodes[Int(one.stack)]
            if !raises.contains(where: { $0.node == node }) { raises.append(ThresholdRaise(freed: one, node: node)) }
        }
        return raises
    }

    /// A sentence on who raised the thresholds.
    var textOfRaises: String {
        let raises = raises
        guard let first = raises.first?.freed, let image = reduction.inputs.first?.image else {
            return "Which block that was is not known: " + whyNoRaise
        }
        func moment(_ milliseconds: UInt64) -> String {
            let start = image.header.started_realtime_ns
            let (time, overflow) = start.addingReportingOverflow(milliseconds &* 1_000_000)
            return shortDuration(Double(milliseconds) / 1000) + " after the recording began"
                + (start == 0 || overflow ? "" : " (\(utcTime(time)))")
        }
        let stacks = raises.map { names.shortStack($0.node) }.joined(separator: ", or by ")
        return "That block was allocated by \(stacks), and freed \(moment(first.freedMilliseconds))."
    }

    private var whyNoRaise: String {
        guard let image = reduction.inputs.first?.image else { return "there is no recording." }
        if image.isSampled { return "the recording is sampled, and the block was not drawn." }
        if image.hasFlag(HEAP_FLAG_ATTACHED) {
            return "the recording was attached later than it was freed, or than it was allocated."
        }
        if image.hasFlag(HEAP_FLAG_FORKED) {
            return "it was freed by a parent of this process, whose settings a fork inherits, or allocated there."
        }
        return "its free was not booked with its stack, or was a realloc to 0 bytes."
    }
}
