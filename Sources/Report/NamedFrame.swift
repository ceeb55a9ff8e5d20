// A frame with its names and source position, and its text for people.

import HeapImage
import Reduce
import Text

/// A frame with its name.
package struct NamedFrame {
    package var frame: Frame
    /// nil if the frame is in no known file.
    package var modulePath: String?
    package var moduleName: String?
    package var buildID: String?
    package var address: UInt64?
    package var function: String?
    /// The mangled name, as the linker sees it.
    package var symbol: String?
    /// From the function's start to the return address; nil for an inlined function, which has no start of its own.
    package var symbolOffset: UInt64?
    /// The source file, and the line (from 1) of the call.
    package var file: String?
    package var line: Int?
    /// Whether the compiler inlined this function into the next frame's; nil if the source isn't known.
    package var inlined: Bool?

    package init(frame: Frame) { self.frame = frame }

    /// The name, or module and offset, escaped for a terminal.
    package var text: String { parts.name + parts.offset }

    /// The same in at most `width` columns, if there are 24 or more: a long name loses its middle and keeps its offset.
    package func text(width: Int) -> String {
        let (name, offset) = parts
        return offset.count > width - 8
            ? shortened(name + offset, width) : shortened(name, width - offset.count) + offset
    }

    /// Sets the names from a log's frame.
    mutating func takeNames(of frame: LogFrame) {
        if !frame.name.isEmpty { function = String(decoding: frame.name, as: UTF8.self) }
        symbolOffset = frame.symbolOffset
        if !frame.module.isEmpty {
            modulePath = pathText(frame.module)
            moduleName = modulePath
        }
        if !frame.file.isEmpty { file = String(decoding: frame.file, as: UTF8.self) }
        line = frame.line.map(Int.init)
    }

    /// Sets the function that contains the return address: the last of the stored names, if it is from a symbol.
    mutating func takeSymbol(of stored: [StoredName]) {
        guard let last = stored.last, let offset = last.symbolOffset else { return }
        function = last.function
        symbol = last.symbol
        symbolOffset = offset
    }

    /// The same frame, with one of its stored functions.
    func taking(_ stored: StoredName) -> NamedFrame {
        var entry = self
        entry.function = stored.function
        entry.symbol = stored.symbol
        entry.symbolOffset = stored.symbolOffset
        entry.file = stored.file
        entry.line = stored.line
        entry.inlined = stored.inlined
        return entry
    }

    var stored: StoredName {
        StoredName(
            function: function, symbol: symbol, file: file, line: line, symbolOffset: symbolOffset, inlined: inlined)
    }

    private var parts: (name: String, offset: String) {
        switch frame.module {
        case SpecialModule.cut: return (LogFrame.cutText(frame.offset), "")
        case SpecialModule.thread: return (LogFrame.threadText + "\(frame.offset)", "")
        default: break
        }
        if let function {
            // A line says more than an offset.
            if inlined == true || line != nil || symbolOffset == nil { return (printable(function), "") }
            return (printable(function), "+" + hexadecimal(symbolOffset ?? 0))
        }
        if frame.module == SpecialModule.named { return (hexadecimal(address ?? 0), "") }
        if let moduleName { return (printable(moduleName), "+" + hexadecimal(frame.offset)) }
        return (hexadecimal(frame.offset), "")
    }

    /// Its origin, escaped for a terminal: "queue.c:38", or the module; empty if the text has it.
    package var place: String {
        if let file {
            let name =
                file.utf8.split(separator: UInt8(ascii: "/")).last.map { String(decoding: $0, as: UTF8.self) } ?? file
            return printable(name) + (line.map { ":\($0)" } ?? "") + (inlined == true ? " (inlined)" : "")
        }
        return function == nil ? "" : printable(moduleName ?? "")
    }

    /// Whether it is a start-up frame, which every program has before its own code.
    package var isStartup: Bool {
        guard let function else { return false }
        return Self.startup.contains(function)
    }

    private static let startup: Set<String> = [
        "_start", "_start_c", "libc_start_main_stage2", "__libc_start_main", "__libc_start_main@@GLIBC_2.34",
        "__libc_start_main_impl", "__libc_start_call_main",
        "clone", "__clone", "clone3", "__clone3", "start_thread", "thread_start",
    ]
}
