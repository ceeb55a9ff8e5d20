// A verdict's graph as a Java heap dump, for Eclipse MAT and other viewers of such dumps: their dominator trees then
// tell what each block keeps alive.
//
// A block is an array of references; its class is its stack. Of a dump's objects only arrays have a size of their own,
// and readers count an array as a header of 16 bytes and 4 bytes a reference, rounded up to 8: so a block of n bytes
// has (n - 16) / 4 references, first those to the blocks to which it points, then null. MAT knows that references have
// 4 bytes if arrays lie closer to each other than those of 8 bytes could; the roots, which come first, do.
//
// What a root holds is an array too, whose class is the root's name. Two more hold the lost blocks, and those that are
// possibly lost. A pointer to a block of another standing is left out, because what a lost block points to is not kept
// by it: so a root keeps what `--holders` says.

import HeapImage
import Leaks
import Reduce
import Symbols
import Text

/// Writes a verdict as a Java heap dump.
package struct HprofDump {
    private let report: LeakReport
    private let roots: [HeldByRoots.Root]
    private var classes: [UInt32: UInt64] = [:]
    private var nextID: UInt64 = 1 << 48
    private var shownBytes: UInt64 = 0

    /// Larger blocks are several arrays, because readers hold one in memory as a whole, and a record has at most 4 GB.
    private let partBytes: UInt64

    /// - Parameter partBytes: a multiple of 8, from 64 to 1 GB.
    /// - Complexity: that of finding what the roots hold, O(bytes of all roots).
    package init(_ report: LeakReport, partBytes: UInt64 = 1 << 26) {
        (self.report, self.partBytes) = (report, partBytes)
        let verdict = report.verdict
        var roots = HeldByRoots(verdict) { report.text(ofRoot: $0, whole: false) }.roots
        // Without blocks too: at least two roots, whose distance tells the size of references.
        roots.insert(HeldByRoots.Root(name: "possibly lost", kind: .program, blocks: verdict.first(.possible)), at: 0)
        roots.insert(HeldByRoots.Root(name: "lost", kind: .program, blocks: verdict.first(.definite)), at: 0)
        self.roots = roots
    }

    /// Writes the dump.
    ///
    /// - Returns: notes for the reader.
    /// - Complexity: O(blocks + pointers + stacks) time; memory for the stacks. The file has two bytes for each of the
    ///   blocks' bytes, nearly all of them zeros.
    package mutating func write(to out: TextOutput) throws -> [String] {
        let image = report.reduction.inputs.first
        var milliseconds: UInt64 = 0
        if let header = image?.image?.header {
            let moment = header.started_realtime_ns.addingReportingOverflow(image?.census?.momentNanoseconds ?? 0)
            milliseconds = min(moment.overflow ? 0 : moment.partialValue, UInt64(Int64.max)) / 1_000_000
        }
        var records = try HprofRecords(out, milliseconds: milliseconds)
        let rootClasses = try writeClasses(&records)
        let firstRoot = nextID, table = report.verdict.table
        for (number, root) in roots.enumerated() {
            let id = firstRoot + UInt64(number) * 8
            try records.add(root: number < 2 ? .unknown : Self.tag(of: root.kind), id)
            try records.add(
                array: id, of: rootClasses[number], count: root.blocks.count,
                root.blocks.lazy.map { table.start(Int($0)) })
        }
        var held: [UInt32] = []
        for block in 0 ..< table.count {
            report.verdict.held(by: block, into: &held)
            try write(block: block, held, &records)
        }
        try records.end()
        guard shownBytes > table.totalBytes else { return [] }
        return [
            "an object of a Java heap has at least 16 bytes, and a multiple of 8: the blocks' objects have "
                + "\(counted(shownBytes - table.totalBytes, "byte")) more than the blocks' "
                + "\(separated(table.totalBytes))"
        ]
    }

    private static func tag(of kind: RootKind) -> HprofRecords.RootTag {
        switch kind {
        case .stack, .register, .thread: .nativeStack
        default: .global
        }
    }

    // MARK: Classes

    private struct MadeClass {
        var id: UInt64
        var fields: [HprofRecords.StaticField]
        var references: [UInt64]
    }

    private mutating func id() -> UInt64 {
        defer { nextID += 8 }
        return nextID
    }

    /// Writes all classes.
    ///
    /// - Returns: those of the roots.
    private mutating func writeClasses(_ records: inout HprofRecords) throws -> [UInt64] {
        var nodes: [UInt32] = [], seen: Set<UInt32> = []
        for block in 0 ..< report.verdict.table.count {
            let node = report.node(of: block)
            if seen.insert(node).inserted { nodes.append(node) }
        }
        nodes.sort()
        report.names.prepare(nodes.map { Row(node: $0) })
        let object = id()
        try records.load(class: object, name: "java/lang/Object")
        var made: [MadeClass] = []
        func make(_ name: String, _ fields: [HprofRecords.StaticField] = [], references: [UInt64] = []) throws -> UInt64
        {
            let own = id()
            try records.load(class: own, name: name)
            made.append(MadeClass(id: own, fields: fields, references: references))
            return own
        }
        for name in ["java/lang/Class", "java/lang/ClassLoader", "java/lang/String"] { _ = try make(name) }
        // VisualVM reads no heap without these, and takes the distance of the last one's fields for the size of
        // references.
        _ = try make("java/lang/ref/Reference", references: [try records.string("referent")])
        for kind in ["Weak", "Soft", "Final", "Phantom"] { _ = try make("java/lang/ref/\(kind)Reference") }
        let offsets = try ["runnerOffset", "waitersOffset"].map { try records.string($0) }
        _ = try make(
            "java/util/concurrent/FutureTask",
            zip(offsets, [0, 4]).map { HprofRecords.StaticField(name: $0, value: .long($1)) })
        for (node, name) in zip(nodes, names(of: nodes)) {
            let frames = report.names.expanded(report.frames(node), limit: nil).entries
            let fields = try frames.enumerated().map { number, frame in
                let file = frame.file.map { " " + printable($0) } ?? ""
                return HprofRecords.StaticField(
                    name: try records.string("#\(number) \(frame.text)\(file)"),
                    value: .int(Int32(clamping: frame.line ?? 0)))
            }
            classes[node] = try make("[L\(name);", fields)
        }
        let rootClasses = try roots.map { try make("[L\($0.name);") }
        try records.add(class: object, above: 0, [])
        for one in made { try records.add(class: one.id, above: object, one.fields, references: one.references) }
        return rootClasses
    }

    /// A name for each stack: a few functions; the line of the innermost one, and then more functions, where several
    /// stacks would have the same name.
    private func names(of nodes: [UInt32]) -> [String] {
        var names = [String](repeating: "", count: nodes.count), open = Array(nodes.indices)
        for (most, hasLine) in [(3, false), (3, true), (6, true), (12, true), (Int.max, true)] {
            for index in open {
                names[index] = report.names.shortStack(nodes[index], most: most)
                if hasLine, let line = line(of: nodes[index]) { names[index] += " (\(line))" }
            }
            var uses: [String: Int] = [:]
            for index in open { uses[names[index], default: 0] += 1 }
            open = open.filter { uses[names[$0]] ?? 0 > 1 }
        }
        // They differ by addresses only.
        var numbers: [String: Int] = [:]
        for index in open {
            let number = numbers[names[index], default: 0] + 1
            numbers[names[index]] = number
            names[index] += " #\(number)"
        }
        return names
    }

    /// The source line of a stack's first function that its name has.
    private func line(of node: UInt32) -> String? {
        let frames = report.names.expanded(report.frames(node), limit: nil).entries
        let first = frames.first { !report.names.standsBetween($0) }
        guard let first, let file = first.file?.split(separator: "/").last, let line = first.line else { return nil }
        return "\(printable(String(file))):\(line)"
    }

    // MARK: Blocks

    /// What a reader counts for an array of so many references.
    private static func shown(_ count: Int) -> UInt64 { (16 + 4 * UInt64(count) + 7) & ~7 }

    /// The references of an array that has this many bytes or a little more.
    private static func references(_ bytes: UInt64) -> Int { bytes > 16 ? Int((bytes - 16 + 3) / 4) : 0 }

    private mutating func write(block: Int, _ held: [UInt32], _ records: inout HprofRecords) throws {
        let table = report.verdict.table, bytes = table.bytes(block), type = classes[report.node(of: block)] ?? 0
        let first = table.start(block)
        // A part's address lies in the block, so it is no other object's.
        let parts = max((bytes + partBytes - 1) / partBytes, 1)
        var rest = held[...]
        for part in 0 ..< parts {
            let own = part + 1 < parts ? partBytes : bytes - part * partBytes
            let others = part == 0 ? (1 ..< parts).map { first + $0 * partBytes } : []
            var count = max(Self.references(own), others.count)
            // At most every second reference is used, but for the smallest blocks.
            let taken = part + 1 < parts ? rest.prefix(count - others.count) : rest
            rest = rest.dropFirst(taken.count)
            count = max(count, others.count + taken.count)
            try records.add(
                array: first + part * partBytes, of: type, count: count, others + taken.map { table.start(Int($0)) })
            shownBytes += Self.shown(count)
        }
    }
}
