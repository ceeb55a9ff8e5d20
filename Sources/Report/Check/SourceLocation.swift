// The place in the source that a row points to: the innermost line of the project's own source, as a path in its tree.

import Glibc
import Reduce
import Symbols
import Text

/// The project's source tree.
package struct SourceTree {
    /// The directory's absolute path, without a slash at its end.
    package let root: String
    /// The same path with symbolic links unresolved, as a compiler may have got it.
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

    /// The path without the `.`, `..` and double slashes that compilers leave in it; nil if `..` leads above its start.
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

    /// The path from the root for a file in the tree; nil for other files.
    func relative(_ file: String) -> String? {
        guard let path = Self.normal(file) else { return nil }
        if path.hasPrefix("/") {
            for root in [root, linked].compactMap({ $0 }) where path.hasPrefix(root + "/") {
                return String(path.dropFirst(root.count + 1))
            }
            return nil
        }
        // A relative path from the compiler: it belongs to the tree if the file exists there.
        return (root + "/" + path).withPath({ access($0, F_OK) }) == 0 ? path : nil
    }
}

/// A line to point to.
struct SourceLocation {
    /// From the tree's root; absolute if it isn't in the tree.
    var path: String
    var isInTree: Bool
    var line: Int?
    var function: String?
}

extension FrameNames {
    /// Where a row's blocks were allocated: the innermost line in the tree, else the innermost line outside of
    /// allocators and headers, else the module; nil if nothing is known.
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
