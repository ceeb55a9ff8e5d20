// Core files, as heapsum leaks --core takes them, beside the image of the same process.

import HeapImage
import Leaks
import Reduce
import Report
import Symbols
import Text

/// Three blocks, of process 25976.
private let imagePath =
    #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    + "/Tests/FuzzTests/Corpus/image/packed-names.image"

func readCore(_ path: String) throws {
    let image = try HeapImage(path: imagePath)
    let snapshot: Snapshot
    do { snapshot = try Snapshot.read(core: path, image: image) } catch is LeaksError { return }
    let report = try judge(snapshot, image, symbolizer: Symbolizer(hasLines: false))
    let blocks = report.verdict.totals.values.reduce(0) { $0 + $1.blocks }
    guard blocks == 3 else { throw Contradiction(description: "verdicts on \(blocks) blocks of 3") }
    let tree = HolderTree(report)
    try LeakTable(style: Style()).write(report.summary, to: TextOutput())
    try report.summary.writeJSON(
        shown: Set(Verdict.shown), rowLimit: nil, frameLimit: nil, holders: tree, to: TextOutput())
    var dump = HprofDump(report)
    _ = try dump.write(to: TextOutput())
}
