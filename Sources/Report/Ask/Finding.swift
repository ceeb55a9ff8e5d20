// What stands out, in order of importance. A finding is about one function, or about memory that no function holds.
//
// The order: what is lost and what steadily grows comes first, if it is more than a hundredth of what lives, because it
// goes on. The rest is ordered by bytes, times a weight: memory that is in use for nothing now counts in full, what was
// so at an earlier time in part, and what is only large least.

import HeapImage
import Reduce

/// Kinds of findings; the words are part of the schema.
package enum FindingKind: String, CaseIterable, Sendable {
    case leaked, growing, possible, pinned, peak, foreign, retained, held, temporary, live

    /// What a byte counts.
    var weight: Double {
        switch self {
        case .leaked: 4
        case .growing, .pinned, .foreign: 1
        case .peak: 0.3
        case .retained: 0.25
        case .possible, .held: 0.2
        case .temporary, .live: 0.1
        }
    }
}

/// A value in JSON.
enum AskValue {
    case unknown, isTrue(Bool), count(UInt64), difference(Int64), decimal(Double?), text(String), counts([UInt64])

    init(_ value: UInt64?) { self = value.map { .count($0) } ?? .unknown }
    init(_ value: String?) { self = value.map { .text($0) } ?? .unknown }
}

/// One thing that stands out.
struct Finding {
    var kind: FindingKind
    /// The number of its function; nil if it has none.
    var suspect: Int?
    var amount: Amount
    /// Of what the bytes are a part.
    var whole: UInt64
    /// Whether it is one of those that come first.
    var isUrgent = false
    /// A correction of the kind's weight.
    var factor = 1.0
    var evidence: [(name: String, value: AskValue)]
    /// The words of a command.
    var next: [String]

    private var score: Double { Double(amount.bytes) * kind.weight * factor }

    /// Of findings of the same rank, the one that was made first comes first.
    static func ordered(_ findings: [Finding]) -> [Finding] {
        findings.enumerated().sorted { one, other in
            let (a, b) = (one.element, other.element)
            if a.isUrgent != b.isUrgent { return a.isUrgent }
            return a.score != b.score ? a.score > b.score : one.offset < other.offset
        }.map(\.element)
    }
}
