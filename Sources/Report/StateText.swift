// Whether a program runs, or how it ended, as text.

import CHeapImage
import HeapImage
import Reduce
import Text

extension HeapImage {
    /// Complete, or short for a line with other information.
    package func stateText(inFull: Bool) -> String {
        switch effectiveState {
        case .running: inFull && kind == .dump ? "running when the dump was taken" : "running"
        case .exited: "exited with status \(header.exit_status)"
        case .killed:
            "killed by signal "
                + "\(inFull ? signalText(Int32(truncatingIfNeeded: header.exit_signal)) : "\(header.exit_signal)")"
        case .exec: inFull ? "replaced by another program (exec)" : "replaced by exec"
        case .unknown: hasFlag(HEAP_FLAG_DETACHED) ? "detached from while it ran" : "gone, its end not seen"
        }
    }
}

extension Input {
    /// Short; for a log, its kind.
    var stateText: String { image?.stateText(inFull: false) ?? detail ?? state }
}
