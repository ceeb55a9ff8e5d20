// Names for frames: each frame named once, each module's file opened once, and only for the frames
// that are asked for. A module without symbols is remembered with the reason, to be told at the end.

import HeapImage
import Reduce
import Symbols

/// What names the frames of one file. Addresses are the ELF file's own, one byte back already.
package protocol ModuleNaming {
    func name(at address: UInt64) -> SymbolName?
}

extension ModuleSymbols: ModuleNaming {}

/// A frame with its name.
package struct NamedFrame {
    package var frame: Frame
    /// nil where the frame lies in no file that is known.
    package var modulePath: String?
    package var moduleName: String?
    package var buildID: String?
    package var address: UInt64?
    package var function: String?
    /// From the function's start to the return address.
    package var symbolOffset: UInt64?
    /// Source file and line, where they are known.
    package var file: String?
    package var line: UInt32?

    /// The name, or where it lies, fit for a terminal.
    package var text: String { parts.name + parts.offset }

    /// The same in at most `width` columns, where there are 24 or more: a long name loses its middle, and
    /// keeps its offset.
    package func text(width: Int) -> String {
        let (name, offset) = parts
        return offset.count > width - 8 ? shortened(name + offset, width) : shortened(name, width - offset.count) + offset
    }

    /// Takes what a log says of the frame.
    mutating func takeNames(of frame: LogFrame) {
        if !frame.name.isEmpty { function = String(decoding: frame.name, as: UTF8.self) }
        symbolOffset = frame.symbolOffset
        if !frame.module.isEmpty {
            modulePath = String(decoding: frame.module, as: UTF8.self)
            moduleName = modulePath
        }
        if !frame.file.isEmpty { file = String(decoding: frame.file, as: UTF8.self) }
        line = frame.line
    }

    private var parts: (name: String, offset: String) {
        switch frame.module {
        case SpecialModule.cut: return (LogFrame.cutText, "")
        case SpecialModule.thread: return (LogFrame.threadText + "\(frame.offset)", "")
        default: break
        }
        if let function { return (escaped(function), symbolOffset.map { "+" + hexadecimal($0) } ?? "") }
        if frame.module == SpecialModule.named { return (hexadecimal(address ?? 0), "") }
        if let moduleName { return (escaped(moduleName), "+" + hexadecimal(frame.offset)) }
        return (hexadecimal(frame.offset), "")
    }

    /// A frame that every program has, before its own code begins.
    package var isStartup: Bool {
        guard let function else { return false }
        return Self.startup.contains(function)
    }

    private static let startup: Set<String> = [
        "_start", "__libc_start_main", "__libc_start_main@@GLIBC_2.34", "__libc_start_main_impl", "__libc_start_call_main",
        "clone", "__clone", "clone3", "__clone3", "start_thread", "thread_start",
    ]
}

/// Names the frames of one reduction.
package final class FrameNames {
    private let reduction: Reduction
    private let open: (ReducedModule) throws -> any ModuleNaming
    private var symbols: [UInt32: any ModuleNaming] = [:]
    private var failed: Set<UInt32> = []
    private var named: [Frame: NamedFrame] = [:]
    /// Modules of which no name can be had, and why, in the order in which they were met.
    package private(set) var withoutSymbols: [(module: String, reason: String)] = []
    /// Frames shown by their offset because of that.
    package private(set) var unnamedFrames = 0

    /// Names by the modules' own files.
    package convenience init(_ reduction: Reduction) {
        self.init(reduction) { module in
            try ModuleSymbols(path: String(decoding: module.path, as: UTF8.self),
                              expectedBuildID: module.buildID.isEmpty ? nil : module.buildID)
        }
    }

    /// Names by what `open` answers for a module.
    package init(_ reduction: Reduction, open: @escaping (ReducedModule) throws -> any ModuleNaming) {
        self.reduction = reduction
        self.open = open
    }

    /// The frame with its name.
    ///
    /// - Complexity: O(1) for a frame that was asked for before; else one look into its module's symbols.
    package func name(_ frame: Frame) -> NamedFrame {
        if let known = named[frame] { return known }
        var result = NamedFrame(frame: frame)
        let module = reduction.modules[Int(frame.module)]
        if let own = reduction.logFrame(frame) {
            // The log's own name stands: it was made where the binaries were.
            result.takeNames(of: own)
        } else if module.isFile {
            result.modulePath = String(decoding: module.path, as: UTF8.self)
            result.moduleName = module.baseName
            result.buildID = module.buildID.isEmpty ? nil : hexadecimal(module.buildID)
            // One byte back: a return address may be the first of the next function.
            if frame.offset > 0, let found = symbols(frame.module, module)?.name(at: frame.offset - 1) {
                result.function = found.name
                result.symbolOffset = found.offset &+ 1
            } else if failed.contains(frame.module) {
                unnamedFrames += 1
            }
        }
        if frame.module != SpecialModule.cut && frame.module != SpecialModule.thread {
            result.address = reduction.address(of: frame)
        }
        named[frame] = result
        return result
    }

    private func symbols(_ number: UInt32, _ module: ReducedModule) -> (any ModuleNaming)? {
        if let open = symbols[number] { return open }
        if failed.contains(number) { return nil }
        do {
            let opened = try open(module)
            symbols[number] = opened
            return opened
        } catch {
            failed.insert(number)
            // The kernel's own pages have no file, and nobody misses their names.
            if module.path.first == UInt8(ascii: "/") || !module.baseName.contains("vdso") {
                withoutSymbols.append((module.baseName, "\(error)"))
            }
            return nil
        }
    }
}
