// What heapsum ask looks at, as its caller gathered it: the newest image of a process, and of the rest what there is.

import CHeapImage
import HeapImage
import Reduce
import Survey

/// Why something is not known.
package enum AskGap: String, Sendable {
    /// The program doesn't run, and the image stores nothing about it.
    case ended
    /// The image is a dump without a verdict of a program that still runs.
    case notStored = "not-stored"
    /// A sampled image lacks blocks by design.
    case sampled
    /// The process may not be looked into, or what was asked can't be made of such an image. The reason is on stderr.
    case refused
    /// The user didn't want the program to be stopped.
    case notWanted = "not-wanted"
    /// There is one moment, and too little of it to tell what piles up.
    case oneMoment = "one-moment"
    /// The recording was attached: blocks from before are not in the image.
    case attached
}

/// The facts about one process.
package struct AskFacts {
    /// As the user named it: a path, or a process's number.
    package var name: String
    /// The process, if it runs.
    package var process: Int32?
    /// The process that the newest image is a dump of, if that still runs.
    package var dumpedProcess: Int32?
    /// The newest image alone, as its first input; and the names of its frames.
    package var reduction: Reduction
    package var names: FrameNames
    /// Several moments with the names of their frames; nil if there is one only.
    package var growth: (moments: Growth, names: FrameNames)?
    /// The files of the first and the last moment, if they are different.
    package var momentFiles: (first: String, last: String)?
    package var verdict: (told: LeakSummary, holders: HolderTree?, isNewest: Bool)?
    /// The file in which the verdict is stored; nil if it was just made.
    package var verdictFile: String?
    package var pages: PagesReport?
    /// Of a process that runs.
    package var split: ResidentSplit?
    package var memory: MemoryVerdict?
    /// Why there is no verdict, and no survey of pages.
    package var verdictGap: AskGap?
    package var pagesGap: AskGap?
    /// Processes that were named too, and are smaller; and an image of the largest of them.
    package var others: (count: Int, largest: String)?

    package init(name: String, reduction: Reduction, names: FrameNames) {
        (self.name, self.reduction, self.names) = (name, reduction, names)
    }

    var image: HeapImage? { reduction.inputs.first?.image }
    var census: Census? { reduction.inputs.first?.census }
    /// Since the recording's start.
    var seconds: Double { Double(census?.momentNanoseconds ?? 0) / 1e9 }
    var allocators: [String] { reduction.inputs.compactMap { $0.image?.allocator } }
}
