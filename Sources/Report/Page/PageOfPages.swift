// The map of the allocator's pages for a heap's page: cells as columns of numbers, and for each the stacks whose blocks
// are on it, as numbers of the page's rows.

import HeapImage
import Page
import Reduce
import Survey
import Text

enum PageOfPages {
    /// Stacks that are no row of the page: filtered out, or not in the image at all.
    private static let filtered = -1, unbooked = -2

    /// Writes the map of a survey, if it has one.
    ///
    /// - Parameter rows: the page's, in order.
    static func write(_ survey: PageSurvey, _ rows: [Row], to data: inout PageData) {
        guard let map = survey.map, !map.cells.isEmpty else { return }
        let numbers = Dictionary(rows.enumerated().map { ($1.node, $0) }, uniquingKeysWith: { first, _ in first })
        func row(_ group: Int) -> Int {
            if group == survey.groups.count { return unbooked }
            return numbers[UInt32(clamping: group)] ?? filtered
        }
        data.object("map") { data in
            data.bool("isResident", survey.knowsPages)
            data.bool("isOfEnd", survey.isOfEnd)
            data.integer("pageBytes", map.pageBytes)
            data.integer("pagesPerCell", map.pagesPerCell)
            data.string("unbooked", survey.earlier.map { "blocks \($0.origin)" } ?? "blocks that are not booked")
            data.strings("arenas", survey.arenas.map(PagesReport.text))
            data.column("arena", of: map.cells.map(\.arena))
            data.column("address", map.cells.map(\.address))
            data.column("pages", map.cells.map(\.pages))
            data.column("used", map.cells.map(\.used))
            data.column("pinned", map.cells.map(\.pinned))
            // A cell's stacks end where the next one's begin.
            var count = 0
            data.column(
                "stacksEnd",
                of: map.cells.map { cell in
                    count += cell.stacks.count
                    return count
                })
            data.column("row", of: map.cells.flatMap { cell in cell.stacks.map { row($0.group) } })
            data.column("bytes", map.cells.flatMap { cell in cell.stacks.map(\.bytes) })
            data.column("otherStacks", map.cells.map(\.otherStacks))
            data.column("otherBytes", map.cells.map(\.otherBytes))
        }
    }
}
