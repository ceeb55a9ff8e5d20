// The expressions of --include and --exclude: which stacks have a frame that is asked for, and none that isn't wanted.

import Reduce
import Text

/// A regular expression that can't be read.
package struct PatternError: Error, CustomStringConvertible {
    package var pattern: String
    package var reason: String
    package var description: String { "'\(printable(pattern))' is no regular expression: \(reason)" }
}

/// Expressions that a stack must have, or must not have, in any of its frames.
package struct FrameFilter {
    private let include: [Regex<AnyRegexOutput>]
    private let exclude: [Regex<AnyRegexOutput>]
    package var isEmpty: Bool { include.isEmpty && exclude.isEmpty }

    /// Reads the expressions, in the syntax of Swift's Regex (PCRE's, for the most part).
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

    /// What the expressions say of one frame, with what is inlined there. Functions and the module's path are searched,
    /// of a long one the first 1,000 bytes: names are the program's, and an expression that backtracks must come to an
    /// end.
    private func verdict(_ entries: [NamedFrame]) -> (included: Bool, excluded: Bool) {
        let texts = entries.flatMap { [$0.function, $0.modulePath, $0.function == nil ? $0.text : nil] }
            .compactMap { $0.map { $0.utf8.count > 1000 ? String(decoding: $0.utf8.prefix(1000), as: UTF8.self) : $0 } }
        func found(_ patterns: [Regex<AnyRegexOutput>]) -> Bool {
            patterns.contains { pattern in texts.contains { (try? pattern.firstMatch(in: $0)) != nil } }
        }
        return (found(include), found(exclude))
    }

    /// Whether each stack, by its innermost node, has the frames that are asked for and none that are not wanted.
    ///
    /// - Complexity: one search a distinct frame.
    package func passes(_ nodes: [UInt32], of reduction: Reduction, names: FrameNames) -> [Bool] {
        // Inlined functions count as the frames that they are shown as.
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
