// Suppressions: known stacks that the user doesn't want to see again. What each rule removes is counted, and a rule
// that removes nothing is reported: it is out of date or wrong.

import Glibc
import Reduce
import Symbols
import Text

/// Rules in order. The first one that matches suppresses a stack.
package struct Suppressions {
    package internal(set) var rules: [SuppressionRule] = []
    /// Suppressions that were read and skipped because they are not for leaks.
    package internal(set) var others = 0

    package init() {}
}

/// What suppressions removed from rows.
package struct SuppressedRows {
    /// What a rule removed.
    package struct Use {
        package var rule: SuppressionRule
        package var stacks = 0
        package var bytes: UInt64 = 0
        package var blocks: UInt64 = 0
    }

    /// The rules that removed something, in order.
    package var uses: [Use] = []
    /// The user's rules that removed nothing.
    package var unused: [SuppressionRule] = []
    package var others = 0
    /// Whether a report lists the rules.
    package var isListed = false

    package init() {}

    package var stacks: Int { uses.reduce(0) { $0 + $1.stacks } }
    package var bytes: UInt64 { uses.reduce(0) { $0 &+ $1.bytes } }
    package var blocks: UInt64 { uses.reduce(0) { $0 &+ $1.blocks } }
}

extension Suppressions {
    /// These rules, followed by those of `other`.
    package func following(with other: Suppressions) -> Suppressions {
        var both = self
        both.rules += other.rules
        return both
    }

    /// Splits rows into those that stay and those that a rule matches.
    ///
    /// - Complexity: O(frames) in stacks; names and rules are looked up once for each distinct frame.
    package func sift(
        _ rows: [Row], of reduction: Reduction, names: FrameNames
    ) -> (rows: [Row], suppressed: SuppressedRows) {
        var suppressed = SuppressedRows()
        suppressed.others = others
        names.prepare(rows)
        var uses = rules.map { SuppressedRows.Use(rule: $0) }
        var frames = SuppressibleFrames(names: names, rules: rules)
        let processes = UInt64(max(reduction.inputs.count, 1))
        let kept = rows.filter { row in
            let match = frames.rule(of: reduction.frames(of: row)) { index in
                guard let most = rules[index].mostBlocks else { return true }
                return row.blocks <= most.multipliedReportingOverflow(by: processes).partialValue
            }
            guard let match else { return true }
            uses[match].stacks += 1
            uses[match].bytes &+= row.bytes
            uses[match].blocks &+= row.blocks
            return false
        }
        suppressed.uses = uses.filter { $0.stacks > 0 }
        suppressed.unused = uses.filter { $0.stacks == 0 && $0.rule.place != nil }.map(\.rule)
        return (kept, suppressed)
    }
}

/// For each frame, examined once: the rules that could match a stack with it.
///
/// A stack is matched only against these rules, not against all: there may be a hundred thousand stacks.
private struct SuppressibleFrames {
    private struct Seen {
        var entries: [SuppressibleFrame]
        /// The first rule that needs only this frame.
        var first: Int
        /// Valgrind's rules whose anchor is this frame.
        var anchored: [Int]
    }

    let names: FrameNames
    let rules: [SuppressionRule]
    private var seen: [Frame: Seen] = [:]
    private var seenBelowMain: [Frame: Seen] = [:]
    private var realPaths: [String: String] = [:]
    /// Rules by the one function that their anchor names, and those whose anchor has wildcards.
    private var exact: [String: [Int]] = [:]
    private var wild: [Int] = []
    /// Rules whose anchor is a module, and which of them are of a module's path: there are few of these.
    private var modules: [(rule: Int, pattern: WildcardPattern)] = []
    private var ofModule: [String: [Int]] = [:]
    private let searches: [Int]
    /// Rules whose anchor may be the allocation function, which no stack here contains: they are tried for all stacks.
    private let always: [Int]

    init(names: FrameNames, rules: [SuppressionRule]) {
        self.names = names
        self.rules = rules
        searches = rules.indices.filter { if case .anyFrame = rules[$0].body { true } else { false } }
        always = rules.indices.filter { rules[$0].anchor?.matches(.allocation) ?? false }
        for index in rules.indices {
            guard let anchor = rules[index].anchor else { continue }
            if case .function(let pattern, let demangled) = anchor, let name = pattern.exact {
                exact[name, default: []].append(index)
                if let demangled, demangled != name { exact[demangled, default: []].append(index) }
            } else if case .module(let pattern) = anchor {
                modules.append((index, pattern))
            } else {
                wild.append(index)
            }
        }
    }

    /// The first rule for the stack that `holds` accepts.
    mutating func rule(of stack: [Frame], where holds: (Int) -> Bool) -> Int? {
        var first = rules.count
        var whole: [SuppressibleFrame] = []
        var candidates = Set(always)
        var isBelowMain = false
        for frame in stack where frame.isCode || frame.module == SpecialModule.cut {
            let seen = look(at: frame, isBelowMain)
            whole += seen.entries
            candidates.formUnion(seen.anchored)
            first = min(first, seen.first)
            isBelowMain = isBelowMain || seen.entries.contains { $0.functions.contains("main") }
        }
        for index in candidates.sorted() where index < first && holds(index) && rules[index].matches(whole) {
            return index
        }
        return first < rules.count ? first : nil
    }

    private mutating func look(at frame: Frame, _ isBelowMain: Bool) -> Seen {
        if let known = isBelowMain ? seenBelowMain[frame] : seen[frame] { return known }
        let entries = names.expanded(frame).map { make($0, isBelowMain: isBelowMain || $0.isStartup) }
        let first = searches.first { index in entries.contains { rules[index].matches($0) } } ?? rules.count
        var anchored = wild.filter { index in entries.contains { rules[index].anchor?.matches($0) ?? false } }
        for entry in entries {
            for function in entry.functions { anchored += exact[function] ?? [] }
            for path in entry.modules { anchored += rulesAnchored(inModule: path) }
        }
        let made = Seen(entries: entries, first: first, anchored: anchored)
        if isBelowMain { seenBelowMain[frame] = made } else { seen[frame] = made }
        return made
    }

    private mutating func rulesAnchored(inModule path: String) -> [Int] {
        if let known = ofModule[path] { return known }
        let found = modules.filter { $0.pattern.matches(path) }.map(\.rule)
        ofModule[path] = found
        return found
    }

    private mutating func make(_ frame: NamedFrame, isBelowMain: Bool) -> SuppressibleFrame {
        SuppressibleFrame(frame, isBelowMain: isBelowMain) { path in
            if let known = realPaths[path] { return known }
            // The file that a link leads to on this machine, if it is the program's own: Valgrind names modules so.
            var real = path
            if path.hasPrefix("/"), let resolved = path.withPath({ realpath($0, nil) }) {
                real = pathText(cString: resolved)
                free(resolved)
            }
            realPaths[path] = real
            return real
        }
    }
}

extension SuppressedRows {
    /// Notes for any report.
    package var lines: [String] {
        var lines: [String] = []
        if !uses.isEmpty {
            lines.append(
                "Suppressed: \(counted(UInt64(stacks), "stack")) with \(separated(bytes)) bytes in "
                    + "\(counted(blocks, "block"))"
                    + (isListed ? ":" : " (--show-suppressed lists them)."))
        }
        if isListed {
            let width = uses.map { separated($0.bytes).count }.max() ?? 0
            for use in uses {
                lines.append(
                    "  \(leftPadded(separated(use.bytes), width)) bytes in \(counted(use.blocks, "block")): "
                        + "\(printable(use.rule.text))"
                )
            }
        }
        if !unused.isEmpty {
            lines.append(
                "Never matched: \(counted(UInt64(unused.count), "suppression")): "
                    + unused.prefix(8).map { printable($0.text) }.joined(separator: ", ")
                    + (unused.count > 8 ? ", and more." : "."))
        }
        return lines
    }
}

extension SuppressionRule {
    /// The rule's name and place.
    package var text: String { "\(name) (\(place ?? "built in"))" }
}

extension FrameNames {
    /// A rule that matches the row, to write into a file; nil if the row has no known name.
    package func suppression(for row: Row) -> String? {
        if row.key != nil { return row.key?.function.map { "leak:^\(printable($0))$" } }
        let entries = reduction.frames(of: row).flatMap(expanded)
        let named = entries.first { entry in
            entry.function.map {
                !AllocationFunctions.contains($0) && !$0.hasPrefix("std::") && !$0.utf8.contains(UInt8(ascii: "*"))
            } ?? false
        }
        return named?.function.map { "leak:^\(printable($0))$" }
    }
}
