// The expressions of --include and --exclude: which stacks have a wanted frame and no unwanted one.

import Reduce
import Text

/// An invalid regular expression.
package struct PatternError: Error, CustomStringConvertible {
    package var pattern: String
    package var reason: String
    package var description: String { "'\(printable(pattern))' is not a regular expression: \(reason)" }
}

/// Expressions that must match, or must not match, any of a stack's frames.
package struct FrameFilter {
    private let include: [Regex<AnyRegexOutput>]
    private let exclude: [Regex<AnyRegexOutput>]
    package var isEmpty: Bool { include.isEmpty && exclude.isEmpty }

    /// Reads the expressions, in the syntax of Swift's Regex (mostly PCRE's).
    package init(include: [String] = [], exclude: [String] = []) throws(PatternError) {
        self.include = try Self.read(include)
        self.exclude = try Self.read(exclude)
    }

    private static func read(_ patterns: [String]) throws(PatternError) -> [Regex<AnyRegexOutput>] {
        var result: [Regex<AnyRegexOutput>] = []
        for pattern in patterns {
            do { result.append(try Regex(pattern)) } catch { throw PatternError(pattern: pattern, reason: "\(error)") }
        }
        return result
    }

    /// How the expressions match one frame, including functions inlined there. Functions and the module's path are
    /// searched, up to 1,000 bytes: names come from the program, and the limit bounds an expression that backtracks.
    private func verdict(_ entries: [NamedFrame]) -> (included: Bool, excluded: Bool) {
        let texts = entries.flatMap { [$0.function, $0.modulePath, $0.function == nil ? $0.text : nil] }
            .compactMap { $0.map { $0.utf8.count > 1000 ? String(decoding: $0.utf8.prefix(1000), as: UTF8.self) : $0 } }
        func found(_ patterns: [Regex<AnyRegexOutput>]) -> Bool {
            patterns.contains { pattern in texts.contains { (try? pattern.firstMatch(in: $0)) != nil } }
        }
        return (found(include), found(exclude))
    }

    /// Whether each stack, given by its innermost node, has the wanted frames and no unwanted ones.
    ///
    /// - Complexity: one search for each distinct frame.
    package func passes(_ nodes: [UInt32], of reduction: Reduction, names: FrameNames) -> [Bool] {
        // Inlined functions count as frames, as they are shown.
        names.prepare(nodes.map { Row(node: $0) })
        var verdicts: [Frame: (included: Bool, excluded: Bool)] = [:]
        return nodes.map { node in
            var included = include.isEmpty, excluded = false
            reduction.tree.forEachFrame(of: node) { frame in
                let found = verdicts[frame] ?? verdict(names.expanded(frame))
                verdicts[frame] = found
                included = included || found.included
                excluded = excluded || found.excluded
            }
            return included && !excluded
        }
    }
}
