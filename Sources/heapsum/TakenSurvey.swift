// A survey of a process's or an image's pages with names, for the commands that show one.

import Glibc
import HeapImage
import Launch
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

    /// - Parameter process: the one that writes the image; nil if it doesn't run.
    /// - Throws: `InputError` if there can be no survey.
    init(_ image: HeapImage, process: pid_t?, symbolizer: Symbolizer) throws {
        let reduction = Reduction()
        try reduction.add(image)
        let moment = reduction.inputs.first?.image ?? image
        let groups = PagesReport.groups(reduction, input: 0)
        let survey =
            try process.map { try PageSurvey.take(of: $0, image: moment, groups: groups) }
            ?? PageSurvey.take(ofBlocksIn: moment, groups: groups)
        let split = process.flatMap { ResidentSplit.take(of: $0, survey, booked: moment.mappings()) }
        self.split = split
        report = PagesReport(survey, reduction: reduction, names: FrameNames(reduction, symbolizer: symbolizer))
        let report = report
        memory = split.map { MemoryVerdict($0, report) }
    }
}
