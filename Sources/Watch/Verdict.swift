// What a recording shows: where the memory is, what grows and how sure that is, what waits in sockets that nobody
// reads, and what jobs left behind. This file has the words of the answer; Examination finds it, NextStep says what to
// do.

import Trend

package enum GrowthKind: String, Sendable {
    case process, slab, descriptors, kernel, unexplained
}

/// What is counted.
package enum Unit: Sendable { case bytes, count }

/// One series that was looked at.
package struct Finding: Sendable {
    package var kind: GrowthKind
    package var pid: Int64?
    package var name: String
    /// A process's words, each ended by NUL.
    package var detail = ""
    package var what: String
    package var unit: Unit
    package var first: Double
    package var last: Double
    package var trend: Trend
    /// Milliseconds since 1970, of the first and the last sample that had it.
    package var from: Int64
    package var to: Int64
    /// Where growth is told of a stretch: the moment of the last change of level, from which on `first`, `last` and
    /// `trend` are.
    package var since: Int64?
    /// The whole span beside it.
    package var whole: (first: Double, trend: Trend)?
    /// The process is no longer there.
    package var hasEnded = false
    /// Whose place it took.
    package var successorOf: Int64?
    /// When what is left is used up at this rate.
    package var exhaustedAt: Int64?
    package var next: NextStep?
    /// Of a control group, a mount, a file or a segment: it has a name of its own.
    package var isNamed = false
    /// Of a file or a segment: its user, and who holds it, as "PID name".
    package var holders: [String] = []
    /// What grows as a consequence: caches of the objects that a thread or a descriptor has.
    package var followers: [String] = []
}

/// Bytes that wait in a process's sockets, and never became fewer.
package struct Undrained: Sendable {
    package var pid: Int64
    package var name: String
    package var isReceiving: Bool
    package var bytes: Int64
    package var sockets: Int64
    package var seconds: Double
    package var next: NextStep
}

/// What a job left behind, over all its runs.
package struct LeftBehind: Sendable {
    package var job: String
    package var kind: GrowthKind
    package var what: String
    package var unit: Unit
    /// Runs that left something behind, and all runs.
    package var runs: Int
    package var allRuns: Int
    package var amount: Double
    package var lastAt: Int64
    package var next: NextStep?
}

package struct Verdict: Sendable {
    package var from: Int64 = 0
    package var to: Int64 = 0
    package var samples = 0
    package var intervalSeconds = 0.0
    package var host = ""
    package var kernel = ""
    package var growing: [Finding] = []
    /// Those that move the most and don't grow.
    package var moving: [Finding] = []
    package var undrained: [Undrained] = []
    package var leftBehind: [LeftBehind] = []
    package var jobRuns = 0
    package var load = LoadPicture()
    package var memory: MemoryPicture?
    package var memoryAtFirst: MemoryPicture?
    /// Series that were looked at: what the test's threshold is divided by.
    package var tests = 0
    package var processes = 0
    /// Of the run that gathered: share of one processor, and peak of resident bytes.
    package var ownShare: Double?
    package var ownBytes: Int64?
    package var recordedBytes = 0
    package var thinnings: Int64 = 0
    /// What heapsum's own images take of the shared memory, in the last sample: accused of nothing.
    package var imageBytes = 0.0
    package var notes: [String] = []
    package var damages: [Damage] = []

    package var hasGrowth: Bool { !growing.isEmpty || !undrained.isEmpty || !leftBehind.isEmpty }
}
