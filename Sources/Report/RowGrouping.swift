// What rows can stand for: the stack, or something that many stacks share. A stack's key is searched from its innermost
// frame outward, so that a block counts once, where it was allocated.
//
// Sources are looked up for one frame of every stack at a time: the innermost frame decides most stacks, and one
// question for each stack would be a thousand times slower.

import HeapImage
import Reduce
import Symbols

/// What a row stands for.
package enum Grouping: String, CaseIterable, Sendable {
    case stack, function, module, file, line, thread, tag, size, kind

    /// The name of one row, in messages and headings.
    package var noun: String { rawValue }

    /// Whether a row's history is known; for a size it isn't.
    package var hasHistory: Bool { self != .size }
}

extension FrameNames {
    /// Rows of stacks, folded by `grouping`.
    ///
    /// - Parameter blocks: the blocks that count; rows by size are made again from blocks.
    /// - Complexity: O(rows), and a look-up of a few frames' sources for each; by size O(blocks).
    package func grouped(_ rows: [Row], by grouping: Grouping, of blocks: BlockFilter = BlockFilter()) -> [Row] {
        switch grouping {
        case .stack: return rows
        case .size: return reduction.groupedBySize(rows, of: blocks)
        case .kind: return reduction.grouped(rows) { _ in RowKey("malloc") }
        case .thread:
            return reduction.grouped(rows) { row in
                guard let thread = reduction.threadFrame(of: row) else {
                    return RowKey("not recorded", label: "not recorded (heaprun --threads records each block's thread)")
                }
                return RowKey("\(thread.offset)", label: LogFrame.threadText + "\(thread.offset)")
            }
        case .tag: return reduction.grouped(rows, by: tagKey)
        case .function, .module, .file, .line:
            let keys = keys(of: rows, grouping)
            var next = 0
            return reduction.grouped(rows) { _ in
                next += 1
                return keys[next - 1]
            }
        }
    }

    private func tagKey(_ row: Row) -> RowKey { RowKey(reduction.tag(of: row)?.description ?? "no tag") }

    /// Each row's key, from the innermost frame that allocated for itself, or its tag; not for stacks, threads
    /// and sizes.
    ///
    /// - Complexity: a look-up of a few frames' sources for each row
    package func keys(of rows: [Row], _ grouping: Grouping) -> [RowKey] {
        if grouping == .tag { return rows.map(tagKey) }
        let stacks = rows.map(reduction.code)
        var keys = [RowKey?](repeating: nil, count: rows.count)
        var open = Array(rows.indices)
        var depth = 0
        while !open.isEmpty {
            var frames: [Frame] = []
            var seen: Set<Frame> = []
            for index in open where stacks[index].count > depth && seen.insert(stacks[index][depth]).inserted {
                frames.append(stacks[index][depth])
            }
            prepare(frames: frames)
            open.removeAll { index in
                guard stacks[index].count > depth else {
                    keys[index] = lastResort(stacks[index], grouping)
                    return true
                }
                keys[index] = expanded(stacks[index][depth]).lazy.filter { self.isAsker($0, grouping) }.first.map {
                    key($0, grouping)
                }
                return keys[index] != nil
            }
            depth += 1
        }
        return keys.map { $0 ?? Self.noFrames }
    }

    /// Whether a block that the frame's function allocates belongs to its caller.
    package func standsBetween(_ frame: NamedFrame) -> Bool {
        guard let function = frame.function, !reduction.isPython(frame.frame) else { return false }
        return AllocationFunctions.standsBetween(function)
            || (isOfKernel(frame) && KernelAllocationFunctions.contains(function))
    }

    /// Whether the frame may be a kernel's: a log names it, one of the inputs is a kernel's, and its module is not a
    /// file.
    private func isOfKernel(_ frame: NamedFrame) -> Bool {
        frame.frame.module == SpecialModule.named && hasKernelLog && frame.modulePath?.contains("/") != true
    }

    /// Whether the frame is the one that a block belongs to.
    func isAsker(_ frame: NamedFrame, _ grouping: Grouping) -> Bool {
        if standsBetween(frame) { return false }
        switch grouping {
        // What starts every program or thread has asked for nothing, although libc's own lines may be known there and
        // the program's not.
        case .file, .line: return !frame.isStartup && frame.file.map { !Self.isSystemHeader($0) } ?? false
        case .module: return frame.modulePath != nil
        default: return true
        }
    }

    private func key(_ frame: NamedFrame, _ grouping: Grouping) -> RowKey {
        switch grouping {
        case .module:
            let path = frame.modulePath ?? ""
            return RowKey(path, module: frame.modulePath)
        case .file:
            let file = frame.file ?? ""
            return RowKey(file, module: frame.modulePath, file: frame.file)
        case .line:
            let place = (frame.file ?? "") + (frame.line.map { ":\($0)" } ?? "")
            return RowKey(place, module: frame.modulePath, function: frame.function, file: frame.file, line: frame.line)
        default:
            let name = frame.function ?? frame.text
            return RowKey(name, module: frame.modulePath, function: frame.function, file: frame.file)
        }
    }

    /// The key of a stack without such a frame.
    private func lastResort(_ frames: [Frame], _ grouping: Grouping) -> RowKey {
        let entries = frames.flatMap(expanded)
        guard let innermost = entries.first else { return Self.noFrames }
        switch grouping {
        case .file, .line:
            // A header's line is better than none.
            if let header = entries.first(where: { $0.file != nil && !$0.isStartup }) { return key(header, grouping) }
            let owner = entries.first { !standsBetween($0) } ?? innermost
            guard let module = owner.modulePath else { return RowKey("no source known") }
            return RowKey("no source known: \(module)", module: module)
        case .module: return RowKey("no module known")
        default: return key(innermost, grouping)
        }
    }

    private static let noFrames = RowKey("no frames")

    /// Headers of the compiler and the C library. Their inlined functions are nobody's own lines.
    private static func isSystemHeader(_ file: String) -> Bool {
        file.contains("/include/c++/") || file.hasPrefix("/usr/include/") || file.contains("/libstdc++-v3/")
            || file.contains("/lib/gcc/")
            || file.contains("/lib/rustlib/src/") || file.hasPrefix("/rustc/")
    }
}
