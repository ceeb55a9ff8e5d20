// The verdicts on a row's blocks, if the image stores any: blocks and bytes of each verdict.
//
// Invariant: a row has verdicts only if all of its blocks come from inputs with a verdict. Then the sums over its
// verdicts are the row's blocks and bytes.

import HeapImage

/// The verdicts on a row's blocks.
package struct RowVerdict: Equatable, Sendable {
    /// By the verdict's number; last, the blocks that are indirectly lost through definitely lost ones. An array,
    /// because few rows have verdicts: it makes other rows only 8 bytes larger.
    private var amounts = [Amount](repeating: Amount(), count: Verdict.allCases.count + 1)

    package init() {}

    package subscript(verdict: Verdict) -> Amount {
        get { amounts[Int(verdict.rawValue)] }
        set { amounts[Int(verdict.rawValue)] = newValue }
    }

    package var dragged: Amount {
        get { amounts[amounts.count - 1] }
        set { amounts[amounts.count - 1] = newValue }
    }

    package mutating func add(_ other: RowVerdict) {
        for index in amounts.indices { amounts[index].add(other.amounts[index]) }
    }

    package mutating func add(_ said: StackVerdict) {
        self[said.verdict].add(said.own)
        dragged.add(said.dragged)
    }

    /// The sum over some verdicts.
    package func sum(_ verdicts: some Sequence<Verdict>) -> Amount {
        verdicts.reduce(into: Amount()) { $0.add(self[$1]) }
    }

    /// The worst verdict that any of the blocks has.
    package var worst: Verdict { Verdict.shown.first { self[$0].blocks > 0 } ?? .unknown }

    /// The same, with some verdicts only.
    package func only(_ verdicts: Set<Verdict>) -> RowVerdict {
        var part = self
        for verdict in Verdict.allCases where !verdicts.contains(verdict) { part[verdict] = Amount() }
        if !verdicts.contains(.definite) { part.dragged = Amount() }
        return part
    }
}

extension Reduction {
    /// Whether any input has a verdict.
    package var hasVerdicts: Bool { inputs.contains { $0.verdict != nil } }

    /// An input's verdicts on the blocks of each node; empty if it has none.
    package func verdicts(ofInput input: Int) -> [UInt32: RowVerdict] {
        guard inputs.indices.contains(input), let stored = inputs[input].verdict else { return [:] }
        let nodes = self.nodes(ofStacksOf: input)
        return stored.stacks.reduce(into: [:]) { result, said in
            let node = Int(said.stack) < nodes.count ? nodes[Int(said.stack)] : 0
            if node > 0 || said.stack > 0 { result[node, default: RowVerdict()].add(said) }
        }
    }
}

extension Row {
    /// Adds another row's verdict. The sum is unknown if one of the rows has blocks and no verdict.
    mutating func add(verdictOf other: Row) {
        if let more = other.verdict, verdict != nil { verdict?.add(more) } else if other.blocks > 0 { verdict = nil }
    }

    /// The part of the row with one of these verdicts; nil if there is none.
    func part(_ verdicts: Set<Verdict>) -> Row? {
        guard let said = verdict?.only(verdicts) else { return nil }
        let sum = said.sum(Verdict.allCases)
        guard sum.blocks > 0 else { return nil }
        var part = self
        (part.blocks, part.bytes, part.verdict) = (sum.blocks, sum.bytes, said)
        // It isn't known which blocks have these ages, and which pages.
        if sum.blocks < blocks {
            (part.oldestSeconds, part.newestSeconds, part.residentBytes) = (nil, nil, nil)
        }
        return part
    }
}
