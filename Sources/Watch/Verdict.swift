// What a recording shows: where the memory is, what grows and how sure that is, what waits in sockets that nobody
// reads, and what jobs left behind. This file has the types of the answer. Examination finds it; NextStep says what to
// do.

import Trend

package enum GrowthKind: String, Sendable {
    case process, slab, descriptors, kernel, unexplained
}

/// What is counted.
package enum Unit: Sendable { case bytes, count }

/// One series that was examined.
package struct Finding: Sendable {
    package var kind: GrowthKind
    package var pid: Int64?
    package var name: String
    /// A process's arguments, each ended by NUL.
    package var detail = ""
    package var what: String
    package var unit: Unit
    package var first: Double
    package var last: Double
    package var trend: Trend
    /// Milliseconds since 1970, of the first and the last sample with it.
    package var from: Int64
    package var to: Int64
    /// If only a stretch grows: the moment of the last change of level, where `first`, `last` and `trend` begin.
    package var since: Int64?
    /// The whole span, for comparison.
    package var whole: (first: Double, trend: Trend)?
    /// The process no longer exists.
    package var hasEnded = false
    /// The PID of its predecessor.
    package var successorOf: Int64?
    /// When the rest will be used up at this rate.
    package var exhaustedAt: Int64?
    package var next: NextStep?
    /// True for a control group, a mount, a file or a segment, which have their own name.
    package var isNamed = false
    /// For a file or a segment: its user and its holders, as "PID name".
    package var holders: [String] = []
    /// What grows as a consequence: caches of a thread's or a descriptor's objects.
    package var followers: [String] = []
}

/// Bytes that wait in a process's sockets and never became fewer.
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
    /// Series that move the most without growing.
    package var moving: [Finding] = []
    package var undrained: [Undrained] = []
    package var leftBehind: [LeftBehind] = []
    package var jobRuns = 0
    package var load = LoadPicture()
    package var memory: MemoryPicture?
    package var memoryAtFirst: MemoryPicture?
    /// The number of examined series, by which the test's threshold is divided.
    package var tests = 0
    package var processes = 0
    /// The gathering run's own cost: share of one processor, and peak of resident bytes.
    package var ownShare: Double?
    package var ownBytes: Int64?
    package var recordedBytes = 0
    package var thinnings: Int64 = 0
    /// How much of the shared memory are heapsum's own images, in the last sample. They are not counted as growth.
    package var imageBytes = 0.0
    package var notes: [String] = []
    package var damages: [Damage] = []

    package var hasGrowth: Bool { !growing.isEmpty || !undrained.isEmpty || !leftBehind.isEmpty }
}
