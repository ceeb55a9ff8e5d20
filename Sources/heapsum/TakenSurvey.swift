// A survey of a process's or an image's pages with names, for the commands that show one.

import Glibc
import HeapImage
import Launch
import Proc
import Reduce
import Report
import Survey
import Symbols
import Text

struct TakenSurvey {
    let report: PagesReport
    /// All of the process's resident memory; nil for an image without a process.
    let memory: MemoryVerdict?
    let split: ResidentSplit?

    /// About how many cells the map of a page has.
    static let cells: UInt64 = 6000

    /// - Parameters:
    ///   - process: the one that writes the image; nil if it doesn't run.
    ///   - cells: about how many cells a map of the pages should have; nil: no map.
    /// - Throws: `InputError` if there can be no survey.
    init(_ image: HeapImage, process: pid_t?, symbolizer: Symbolizer, cells: UInt64? = nil) throws {
        let since = process == nil ? nil : RecordingPoint(image)
        let reduction = Reduction(), blocks = SortedBlocks(expected: image.expectedBlocks)
        // A page shows much else beside the pages, all of one moment. The survey needs the blocks alone, and they are
        // read once.
        try reduction.add(image, onlyStacks: cells == nil) { blocks.add($0) }
        let moment = reduction.inputs.first?.image ?? image
        let groups = PagesReport.groups(reduction, input: 0)
        let survey =
            try process.map {
                try PageSurvey.take(of: $0, image: moment, blocks: blocks, since: since, groups: groups, cells: cells)
            }
            ?? PageSurvey.take(ofBlocksIn: moment, blocks: blocks, groups: groups, cells: cells)
        let split = process.flatMap { ResidentSplit.take(of: $0, survey, booked: moment.mappings()) }
        self.split = split
        report = PagesReport(survey, reduction: reduction, names: FrameNames(reduction, symbolizer: symbolizer))
        let report = report
        memory = split.map { MemoryVerdict($0, report) }
    }
}

extension TakenSurvey {
    /// The survey for the map of a page; nil if there are several inputs, or the pages can't be told. What the page
    /// shows beside the map doesn't need it.
    static func forPage(of reduction: Reduction) -> PageSurvey? {
        guard reduction.inputs.count == 1, let image = reduction.inputs.first?.image, !image.isSampled else {
            return nil
        }
        let groups = PagesReport.groups(reduction, input: 0), identity = image.identity
        // The input is a copy of one moment; the process may run on.
        let process =
            image.presence == .running && image.state == .running
            ? Presence.find(
                processID: identity.processID, startTime: identity.startTime, bootID: identity.bootID) : nil
        if let process, reduction.inputs.first?.kind == "image",
            let survey = try? PageSurvey.take(
                of: pid_t(bitPattern: process), image: image, groups: groups, cells: cells)
        {
            return survey
        }
        return try? PageSurvey.take(ofBlocksIn: image, groups: groups, cells: cells)
    }
}
