// massif's output format, for ms_print and massif-visualizer: what a process held over time, and at some moments which
// stacks held it.
//
// The times are the image's timeline. There are trees for the moments with known stacks: the recorder's snapshots, the
// peak, and the image's own moment. A moment's figures are those of the whole process, regardless of filters. A tree
// never has more than its moment, because readers treat that as an error.

import HeapImage
import Reduce
import Text

extension MachineReport {
    func writeMassif(to out: TextOutput) throws {
        let (input, image, census) = try requireOneImage(.massif)
        // Comments end a line of this format.
        func line(_ text: String) -> String { String(text.map { $0 == "#" ? "?" : $0 }) }
        try out.write("desc: heapsum \(line(printable(input.path)))\n")
        try out.write("cmd: \(line(shellWord(image.program)))\ntime_unit: ms\n")
        var labels = MassifLabels()
        for (number, moment) in moments(image, census).enumerated() {
            try out.write(
                "#-----------\nsnapshot=\(number)\n#-----------\ntime=\(moment.nanoseconds / 1_000_000)\n"
                    + "mem_heap_B=\(moment.bytes)\nmem_heap_extra_B=0\nmem_stacks_B=0\n"
                    + "heap_tree=\(moment.kind.rawValue)\n"
            )
            guard let held = moment.held else { continue }
            var tree = MassifTree()
            for row in selection.rows {
                let bytes = held(row)
                if bytes > 0 { tree.add(labels.path(entries(row)), bytes: bytes) }
            }
            try tree.write(of: moment.bytes, labels: labels.texts, to: out)
        }
    }

    private struct Moment {
        enum Kind: String { case empty, detailed, peak }
        var nanoseconds: UInt64
        var bytes: UInt64
        var kind = Kind.empty
        /// What a row held then; nil if not known.
        var held: ((Row) -> UInt64)?
    }

    /// All known moments, by time. Equal times keep their order.
    private func moments(_ image: HeapImage, _ census: Census) -> [Moment] {
        func sum(_ held: (Row) -> UInt64) -> UInt64 { reduction.rows.reduce(0) { $0 &+ held($1) } }
        let timeline = image.timeline(), end = census.momentNanoseconds
        var moments = [Moment(nanoseconds: 0, bytes: 0)]
        moments += timeline.filter { $0.nanoseconds < end }.map {
            Moment(nanoseconds: $0.nanoseconds, bytes: $0.liveBytes)
        }
        for number in 0 ..< image.snapshotCount {
            let levels = reduction.snapshot(number, ofInput: 0)
            let held = { (row: Row) -> UInt64 in levels[row.node]?.bytes ?? 0 }
            let time = HeapImage.snapshotNanoseconds(number)
            if time < end { moments.append(Moment(nanoseconds: time, bytes: sum(held), kind: .detailed, held: held)) }
        }
        if census.peak.bytes > 0 {
            let held = { (row: Row) -> UInt64 in row.history?.peakBytes ?? 0 }
            // A peak that only the threads' rings show came after the last fold.
            let isFolded = census.peak.bytes <= image.header.peak_bytes
            let time =
                isFolded ? image.header.peak_ns : max(image.header.peak_ns, moments.map(\.nanoseconds).max() ?? 0)
            moments.append(
                Moment(nanoseconds: min(time, end), bytes: max(census.peak.bytes, sum(held)), kind: .peak, held: held))
        }
        // Equal times keep this order: the sort is stable.
        moments.append(Moment(nanoseconds: end, bytes: census.liveBytes, kind: .detailed) { $0.bytes })
        return moments.sorted { $0.nanoseconds < $1.nanoseconds }
    }
}

/// The lines of trees by number, because a frame is in many stacks and in all trees.
private struct MassifLabels {
    private(set) var texts: [String] = []
    private var numbers: [String: Int] = [:]

    private mutating func number(_ text: String) -> Int {
        if let number = numbers[text] { return number }
        numbers[text] = texts.count
        texts.append(text)
        return texts.count - 1
    }

    /// A stack, innermost first, cut at the depth of the written trees.
    mutating func path(_ entries: [NamedFrame]) -> [Int] {
        var path = entries.prefix(MassifTree.depthLimit).map { entry in
            let address = entry.address.map { hexadecimal($0) + ": " } ?? ""
            let place =
                entry.place.isEmpty
                ? "" : entry.file == nil ? " (in \(printable(entry.modulePath ?? entry.place)))" : " (\(entry.place))"
            return number(address + entry.functionText + place)
        }
        if entries.count > path.count { path.append(number("… \(entries.count - path.count) outer frames …")) }
        return path
    }
}

/// Stacks by their innermost frames, as in massif.
private struct MassifTree {
    /// Deeper than any recorded stack with its inlined calls, because an image may contain anything.
    static let depthLimit = 2048
    /// Shares below a thousandth of the moment are combined in one line.
    private static let thresholdInverse: UInt64 = 1000

    private struct Key: Hashable { var node: Int, label: Int }
    private struct Node {
        var label: Int
        var bytes: UInt64 = 0
        var children: [Int] = []
    }

    private var nodes = [Node(label: -1)]
    private var children: [Key: Int] = [:]

    mutating func add(_ path: [Int], bytes: UInt64) {
        var node = 0
        nodes[0].bytes &+= bytes
        for label in path {
            let key = Key(node: node, label: label)
            if let child = children[key] {
                node = child
            } else {
                nodes.append(Node(label: label))
                nodes[node].children.append(nodes.count - 1)
                children[key] = nodes.count - 1
                node = nodes.count - 1
            }
            nodes[node].bytes &+= bytes
        }
    }

    /// Writes the tree of a moment with `total` bytes held.
    func write(of total: UInt64, labels: [String], to out: TextOutput) throws {
        let least = total / Self.thresholdInverse
        enum Item { case node(Int, depth: Int), line(String, depth: Int) }
        var items = [Item.node(0, depth: 0)]
        while let item = items.popLast() {
            switch item {
            case .line(let text, let depth): try out.write(String(repeating: " ", count: depth) + "n0: \(text)\n")
            case .node(let number, let depth):
                let node = nodes[number]
                let sorted = node.children.sorted { (nodes[$0].bytes, $1) > (nodes[$1].bytes, $0) }
                let large = sorted.prefix { nodes[$0].bytes > 0 && nodes[$0].bytes >= least }
                var rest: [Item] = []
                if large.count < sorted.count {
                    let bytes = sorted[large.count...].reduce(UInt64(0)) { $0 &+ nodes[$1].bytes }
                    rest.append(
                        .line(
                            "\(bytes) in \(sorted.count - large.count) places, all below massif's threshold (0.10%)",
                            depth: depth + 1))
                }
                if number == 0, total > node.bytes {
                    rest.append(
                        .line("\(total - node.bytes) of stacks that are not shown, or not known", depth: depth + 1))
                }
                let label =
                    number == 0 ? "(heap allocation functions) malloc/new/new[], --alloc-fns, etc." : labels[node.label]
                try out.write(
                    String(repeating: " ", count: depth)
                        + "n\(large.count + rest.count): \(number == 0 ? total : node.bytes) \(label)\n")
                items += rest.reversed() + large.reversed().map { .node($0, depth: depth + 1) }
            }
        }
    }
}
