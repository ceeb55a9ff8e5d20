// One suppression, and whether it matches a stack.
//
// Valgrind's stacks begin in the allocation function, heapsum's at its caller. So a suppression is matched against the
// stack with an allocation function in front. Which one it was is not recorded, so any will do.

import Reduce
import Symbols

/// One suppression.
package struct SuppressionRule: Sendable {
    /// Its name for people.
    package var name: String
    /// Its file and line; nil: it is built in.
    package var place: String?
    /// For something that a runtime allocates once: the maximum number of blocks of one stack in a process. More are a
    /// leak.
    package var mostBlocks: UInt64?
    let body: Body

    enum Body: Sendable {
        /// Any frame's function, source file or module.
        case anyFrame(SearchPattern)
        /// The frames from the innermost on.
        case frames([FramePattern])
    }

    enum FramePattern: Sendable {
        case function(WildcardPattern, demangled: String?)
        case module(WildcardPattern)
        case source(WildcardPattern, line: Int?)
        /// Any number of frames.
        case any
    }
}

/// A frame, prepared for matching.
struct SuppressibleFrame {
    /// All names of the function: mangled, demangled, and demangled without parameters.
    var functions: [String] = []
    /// The module's path as the program used it, and with links resolved.
    var modules: [String] = []
    var file: String?
    var line: Int?

    init() {}

    init(_ frame: NamedFrame, isBelowMain: Bool, realPath: (String) -> String?) {
        if let symbol = frame.symbol {
            functions.append(symbol)
            // glibc's internal name for a function that it exports. Tools show either of the two.
            if symbol.hasPrefix("__GI_") { functions.append(String(symbol.dropFirst(5))) }
        }
        if let function = frame.function {
            functions.append(function)
            if let bare = Self.withoutParameters(function) { functions.append(bare) }
            // Valgrind shows an inlined function with its name in the source.
            if frame.inlined == true { functions += Self.sourceNames(function) }
        }
        if isBelowMain { functions.append("(below main)") }
        if let path = frame.modulePath {
            modules.append(path)
            if let real = realPath(path), real != path { modules.append(real) }
        }
        file = frame.file
        line = frame.line
    }

    /// `ns::name` for `ns::name(int, char)`; nil if there is nothing to leave out.
    private static func withoutParameters(_ function: String) -> String? {
        guard let open = function.utf8.firstIndex(of: UInt8(ascii: "(")), open != function.utf8.startIndex,
            !function.hasPrefix("operator")
        else { return nil }
        return String(function[..<open])
    }

    /// `name<int>` and `name<>` for `ns::name<int>(char)`.
    private static func sourceNames(_ function: String) -> [String] {
        var name: [UInt8] = [], collapsed: [UInt8] = []
        var depth = 0
        for byte in function.utf8 {
            if byte == UInt8(ascii: "(") && depth == 0 { break }
            if byte == UInt8(ascii: ">") { depth -= 1 }
            if depth == 0 { collapsed.append(byte) }
            name.append(byte)
            if byte == UInt8(ascii: "<") { depth += 1 }
            // A scope, or a return type before the name.
            if depth == 0 && (byte == UInt8(ascii: ":") || byte == UInt8(ascii: " ")) { (name, collapsed) = ([], []) }
        }
        return [String(decoding: name, as: UTF8.self), String(decoding: collapsed, as: UTF8.self)].filter {
            !$0.isEmpty
        }
    }

    /// Memcheck's functions that replace malloc.
    static let allocation: SuppressibleFrame = {
        var frame = SuppressibleFrame()
        frame.functions = [
            "malloc", "calloc", "realloc", "memalign", "posix_memalign", "aligned_alloc", "valloc", "pvalloc",
            "reallocarray",
            "_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t",
            "_ZnamSt11align_val_t",
            "_ZnwmSt11align_val_tRKSt9nothrow_t", "_ZnamSt11align_val_tRKSt9nothrow_t", "_Znwj", "_Znaj",
            "operator new(unsigned long)", "operator new[](unsigned long)", "operator new", "operator new[]",
        ]
        frame.modules = ["/usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so"]
        return frame
    }()
}

extension SuppressionRule {
    /// Whether LeakSanitizer's pattern matches the frame; false for a rule of the other kind.
    func matches(_ frame: SuppressibleFrame) -> Bool {
        guard case .anyFrame(let pattern) = body else { return false }
        return frame.functions.contains(where: pattern.matches) || frame.modules.contains(where: pattern.matches)
            || (frame.file.map(pattern.matches) ?? false)
    }

    /// Whether Valgrind's frames match the stack; false for a rule of the other kind.
    func matches(_ stack: [SuppressibleFrame]) -> Bool {
        guard case .frames(let patterns) = body else { return false }
        // Memcheck's posix_memalign is two frames. A log's stack begins in the function that was called, as Valgrind's
        // does.
        let isWhole = place == nil || (stack.first?.functions.contains(where: AllocationFunctions.contains) ?? false)
        return ((isWhole ? 0 : 1) ... 2).contains { before in
            glob(
                patterns.count, before + stack.count, isStar: { if case .any = patterns[$0] { true } else { false } },
                isToEnd: false
            ) {
                patterns[$0].matches($1 < before ? .allocation : stack[$1 - before])
            }
        }
    }
}

extension SuppressionRule {
    /// A frame that a stack must have to match Valgrind's frames: the last one, because the first occurs in many
    /// stacks. nil if there is none.
    var anchor: FramePattern? {
        guard case .frames(let patterns) = body else { return nil }
        func isFunction(_ pattern: FramePattern) -> Bool { if case .function = pattern { true } else { false } }
        func isAny(_ pattern: FramePattern) -> Bool { if case .any = pattern { true } else { false } }
        return patterns.last(where: isFunction) ?? patterns.last { !isAny($0) }
    }
}

extension SuppressionRule.FramePattern {
    func matches(_ frame: SuppressibleFrame) -> Bool {
        switch self {
        case .any: true
        case .function(let pattern, let demangled):
            frame.functions.contains { pattern.matches($0) || $0 == demangled }
        case .module(let pattern): frame.modules.contains(where: pattern.matches)
        case .source(let pattern, let line):
            if let file = frame.file, line == nil || line == frame.line {
                pattern.matches(file) || pattern.matches(file.split(separator: "/").last.map(String.init) ?? file)
            } else {
                false
            }
        }
    }
}
