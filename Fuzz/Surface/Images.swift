// Heap images, as heapsum, heapsum info, heapsum pack and heaprun's summary take them.

import Glibc
import HeapImage
import Reduce
import Report
import SystemPackage
import Text

func readImage(_ bytes: [UInt8]) throws { try readImage { try HeapImage(MemorySource(bytes), presence: .gone) } }
func readImage(path: String) throws { try readImage { try HeapImage(FileSource(path: path), presence: .gone) } }

private func readImage(_ open: () throws -> HeapImage) throws {
    let image: HeapImage
    do { image = try open() } catch is InputError { return }
    _ = (image.arguments, image.outputDirectory, image.imageName, image.identity, image.effectiveState)
    for number in 0 ..< image.snapshotCount { _ = image.snapshot(number) }
    _ = (image.storedPages(), image.freedMapped())

    let reduction = Reduction()
    do { try reduction.add(image) } catch is InputError { return }
    // The modules' own files are another input: an image may name any file.
    let names = FrameNames(reduction) { _ in throw Errno.noSuchFileOrDirectory }
    for sort in SortKey.allCases {
        let selection = RowSelection(reduction, names: names, sort: sort, top: 20)
        try Table(style: Style(width: 60, colors: true), frameLimit: 20, sort: sort)
            .write(reduction, selection, names: names, to: TextOutput())
    }
    let selection = RowSelection(reduction, names: names, sort: .allocatedBytes)
    for format in MachineFormat.allCases {
        try MachineReport(reduction, selection, names: names).write(format, to: TextOutput())
    }
    try readViews(reduction, names)
    try ask(reduction, names)
    if let told = LeakSummary(reduction, input: 0, names: names) {
        let tree = HolderTree(reduction, input: 0, names: names)?.pruned(leastShare: 0.01)
        try LeakTable(style: Style()).write(told, to: TextOutput())
        try told.writeJSON(shown: Set(Verdict.shown), rowLimit: nil, frameLimit: nil, holders: tree, to: TextOutput())
        try told.writeCSV(shown: Set(Verdict.shown), rowLimit: nil, frameLimit: nil, to: TextOutput())
    }
    try InfoReport(style: Style()).write(image, to: TextOutput())
    _ = image.damages.map(\.description)
    try pack(image, reduction.totals)
}

/// The answer to heapsum ask is JSON within its bound.
private func ask(_ reduction: Reduction, _ names: FrameNames) throws {
    var facts = AskFacts(name: reduction.inputs.first?.path ?? "", reduction: reduction, names: names)
    if let told = LeakSummary(reduction, input: 0, names: names) {
        facts.verdict = (told, HolderTree(reduction, input: 0, names: names), true)
    }
    if let image = reduction.inputs.first?.image, image.snapshotCount > 0 {
        let growth = Growth()
        do { try growth.addSnapshots(of: image) } catch is InputError { return }
        facts.growth = (growth, FrameNames(growth.reduction) { _ in throw Errno.noSuchFileOrDirectory })
    }
    let out = TextOutput()
    try AskReport(facts).writeJSON(to: out)
    _ = try JSONReader.read(out.bytes)
    guard out.bytes.count <= AskReport.mostBytes else {
        throw Contradiction(description: "an answer of \(out.bytes.count) bytes")
    }
}

/// A packed copy must be an image, and say of the live blocks what its source says.
private func pack(_ image: HeapImage, _ totals: Totals) throws {
    let path = "/dev/shm/heapsum-fuzz-\(getpid()).heap"
    defer { unlink(path) }
    do { try image.pack(to: path) } catch is InputError { return }
    let packed = try HeapImage(path: path)
    let census = try packed.census()
    guard census.liveBytes == totals.liveBytes, census.liveBlocks == totals.liveBlocks else {
        throw Contradiction(
            description: "packed: \(census.liveBlocks) blocks of \(census.liveBytes) bytes; "
                + "its source: \(totals.liveBlocks) of \(totals.liveBytes)")
    }
}
