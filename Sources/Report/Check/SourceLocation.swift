// Where a row is to be pointed at: the innermost line of the project's own source, as a path in its tree.

import Glibc
import Reduce
import Symbols
import Text

/// The project's tree, as reports point into it.
package struct SourceTree {
    /// The directory's absolute path, without a slash at its end.
    package let root: String
    /// The same by the links that it was reached through, as a compiler may have been told it.
    private let linked: String?

    package init(_ directory: String = ".") {
        root = Self.resolved(directory) ?? ""
        let named = directory == "." ? environmentText("PWD") : directory
        if let named, named.hasPrefix("/"), Self.resolved(named) == root {
            linked = Self.normal(named)
        } else {
            linked = nil
        }
    }

    private static func resolved(_ path: String) -> String? {
        guard let resolved = path.withPath({ realpath($0, nil) }) else { return nil }
        defer { free(resolved) }
        let text = pathText(cString: resolved)
        return text == "/" ? "" : text
    }

    /// The path without the `.`, `..` and double slashes that compilers leave in; nil if `..` leads above its start.
    static func normal(_ path: String) -> String? {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part != ".." {
                parts.append(part)
            } else if parts.popLast() == nil {
                return nil
            }
        }
        return (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
    }

    /// The path from the root on, of a file that is in the tree; nil for one that isn't.
    func relative(_ file: String) -> String? {
        guard let path = Self.normal(file) else { return nil }
        if path.hasPrefix("/") {
            for root in [root, linked].compactMap({ $0 }) where path.hasPrefix(root + "/") {
                return String(path.dropFirst(root.count + 1))
            }
            return nil
        }
        // Compiled with its paths made relative: of the tree where it is there.
        return (root + "/" + path).withPath({ access($0, F_OK) }) == 0 ? path : nil
    }
}

/// A line to point at.
struct SourceLocation {
    /// From the tree's root on; absolute where it isn't in the tree.
    var path: String
    var isInTree: Bool
    var line: Int?
    var function: String?
}

extension FrameNames {
    /// Where a row's blocks were asked for: the innermost line in the tree, else the innermost that is no allocator's
    /// or header's, else the module; nil where nothing is known.
    func location(of row: Row, in tree: SourceTree) -> SourceLocation? {
        if let key = row.key {
            guard let file = key.file ?? key.module else { return nil }
            return SourceLocation(
                path: tree.relative(file) ?? file, isInTree: tree.relative(file) != nil, line: key.line,
                function: key.function)
        }
        let entries = reduction.frames(of: row).flatMap(expanded)
        for entry in entries {
            if let file = entry.file, !(entry.function.map(AllocationFunctions.standsBetween) ?? false),
                let path = tree.relative(file)
            {
                return SourceLocation(path: path, isInTree: true, line: entry.line, function: entry.function)
            }
        }
        if let own = entries.first(where: { isAsker($0, .line) }), let file = own.file {
            return SourceLocation(path: file, isInTree: false, line: own.line, function: own.function)
        }
        guard let module = entries.first(where: { $0.modulePath != nil }) else { return nil }
        return SourceLocation(path: module.modulePath ?? "", isInTree: false, line: nil, function: module.function)
    }
}
