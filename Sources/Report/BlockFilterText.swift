// The description of a choice of blocks.

import HeapImage
import Reduce
import Text

extension BlockFilter {
    /// Which blocks a report shows; nil: all live ones.
    package var text: String? {
        var words: [String] = []
        if let olderThan { words.append("\(shortDuration(olderThan)) old or older") }
        if let newerThan { words.append("newer than \(shortDuration(newerThan))") }
        if let since { words.append("allocated since \(printable(since))") }
        if let until { words.append("allocated before \(printable(until))") }
        if let thread { words.append("of thread \(thread)") }
        if let verdicts {
            words.append(
                "that are " + Verdict.shown.filter { verdicts.contains($0) }.map(\.text).joined(separator: " or "))
        }
        switch moment {
        case .end: return words.isEmpty ? nil : "blocks " + words.joined(separator: ", ")
        case .peak: return "what was live at the peak" + (words.isEmpty ? "" : ", " + words.joined(separator: ", "))
        }
    }
}
