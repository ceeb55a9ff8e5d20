// The views of a reduction, which no input should be able to break or to make lose bytes; and the files that people
// write for them.

import Reduce
import Report
import Symbols
import Text

func readViews(_ reduction: Reduction, _ names: FrameNames) throws {
    // Sums of a damaged image may wrap; they do so on both sides.
    let bytes = reduction.rows.reduce(0 as UInt64) { $0 &+ $1.bytes }
    for grouping in Grouping.allCases where grouping != .module && grouping != .file {
        let selection = RowSelection(reduction, names: names, by: grouping, top: 50)
        try Table(style: Style(width: 60, colors: true)).write(reduction, selection, names: names, to: TextOutput())
        // By size rows are made of blocks, of which a damaged image may not have those that its sums say.
        if grouping != .size, selection.passing.bytes != bytes {
            throw Contradiction(description: "by \(grouping): \(selection.passing.bytes) bytes of \(bytes)")
        }
    }
    let left = RowSelection(reduction, names: names, suppressions: .builtin())
    guard left.passing.bytes &+ left.suppressed.bytes == bytes else {
        throw Contradiction(
            description: "suppressed \(left.suppressed.bytes) bytes, left \(left.passing.bytes) of \(bytes)")
    }
    let check = Check(
        left, limits: [(.bytes, 0), (.stacks, 0)], baseline: Baseline(path: "before", left.rows, names: names),
        names: names)
    try CheckText(style: Style(width: 60), frameLimit: 20, top: 10).write(
        check, reduction, names: names, to: TextOutput())
    try JUnitReport(frameLimit: 20, top: 20).write(check, reduction, names: names, to: TextOutput())
    try GitHubCommands(tree: SourceTree(), top: 8).write(check, reduction, names: names, to: TextOutput())
    try SARIFReport(tree: SourceTree(), top: 50).write(check, reduction, names: names, to: TextOutput())
    for change in [{ $0.olderThan = 1 }, { $0.newerThan = 1 }, { $0.thread = 1 }, { $0.moment = .peak }]
        as [(inout BlockFilter) -> Void]
    {
        var blocks = BlockFilter()
        change(&blocks)
        let selection = RowSelection(reduction, names: names, top: 50, blocks: blocks)
        try Table(style: Style(width: 60)).write(reduction, selection, names: names, to: TextOutput())
    }
    var table = Table(style: Style(width: 60))
    let rows = RowSelection(reduction, names: names, withFreed: true)
    let shown = RowSelection(reduction, names: names, top: 50)
    table.distributions = reduction.distributions(of: rows.rows, single: shown.rows)
    try table.write(reduction, shown, names: names, to: TextOutput())
    for direction in [CallTreeDirection.topDown, .inverted] {
        let tree = CallTree(rows.rows, names: names, direction: direction)
        guard tree.nodes[0].bytes == bytes else {
            throw Contradiction(description: "a tree of \(tree.nodes[0].bytes) bytes of \(bytes)")
        }
        try CallTreeTable(table: table, direction: direction, limits: CallTreeLimits(), byBlocks: false)
            .write(reduction, rows, names: names, to: TextOutput())
    }
}

/// A file of suppressions, held against stacks of names that real ones are of.
func readSuppressions(_ bytes: [UInt8]) throws {
    var rules = Suppressions()
    do throws(SuppressionError) { try rules.read(bytes, name: "known.supp") } catch {
        _ = "\(error)"
        return
    }
    let reduction = Reduction()
    let input = reduction.begin(Input(path: "log", kind: "aix"))
    for names in [
        ["malloc", "alpha_make", "main"], ["operator new(unsigned long)", "std::vector<int>::grow()", "fill", "main"],
        ["deep"] + Array(repeating: "again", count: 200),
    ] {
        let frames = names.map {
            reduction.frame(
                LogFrame(
                    name: Array($0.utf8), module: Array("/usr/lib/libsample.so.1".utf8),
                    file: Array("src/sample.c".utf8), line: 3))
        }
        reduction.add(frames: frames, bytes: 10, input: input)
    }
    let selection = RowSelection(
        reduction, names: FrameNames(reduction, symbolizer: Symbolizer(hasLines: false)), suppressions: rules)
    guard selection.passing.bytes + selection.suppressed.bytes == 30 else {
        throw Contradiction(
            description: "suppressed \(selection.suppressed.bytes) bytes, left \(selection.passing.bytes) of 30")
    }
    _ = selection.suppressed.lines
}

/// A JSON report of before, as a baseline.
func readReport(_ bytes: [UInt8]) throws {
    let report: ReportedRows
    do throws(ReportedRowsError) { report = try ReportedRows(bytes, path: "before.json") } catch {
        _ = "\(error)"
        return
    }
    let names = FrameNames(report.reduction, symbolizer: Symbolizer(hasLines: false))
    let selection = RowSelection(report.reduction, names: names)
    let baseline = Baseline(path: "before.json", selection.rows, names: names)
    let check = Check(selection, limits: [(.growthBytes, 0)], baseline: baseline, names: names)
    guard check.passed else { throw Contradiction(description: "a report that grew against itself") }
    try JSONReport().write(report.reduction, selection, names: names, to: TextOutput())
}
