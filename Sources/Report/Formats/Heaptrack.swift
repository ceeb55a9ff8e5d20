// heaptrack's recordings, for heaptrack_gui and heaptrack_print. The format is that of heaptrack's
// src/analyze/accumulatedtracedata.cpp, in version 1: one line for each event, hexadecimal numbers; strings, addresses
// and traces are numbered from 1 in the order of their appearance, kinds of allocations from 0.
//
// The file has one allocation for each live block, and no free: heaptrack calls them leaked, and as peak it shows the
// same. A row's sizes are not known one by one; the sizes that are written add up to the row's bytes.

import Reduce
import Text

extension MachineReport {
    func writeHeaptrack(to out: TextOutput) throws {
        try requireKnown(.bytes)
        var writer = HeaptrackWriter()
        let image = reduction.inputs.count == 1 ? reduction.inputs.first?.image : nil
        try out.write("v 10100 1\nX \(printable(image?.program ?? "heapsum"))\n")
        for row in selection.rows where row.blocks > 0 {
            let trace = try writer.trace(entries(row), to: out)
            let bytes = row.bytes / row.blocks, larger = row.bytes % row.blocks
            try writer.write(row.blocks - larger, of: bytes, trace, to: out)
            try writer.write(larger, of: bytes + 1, trace, to: out)
        }
        if let nanoseconds = reduction.inputs.first?.census?.momentNanoseconds {
            try out.write("c \(hexadecimalDigits(nanoseconds / 1_000_000))\n")
        }
    }
}

/// What was written already, by its number.
private struct HeaptrackWriter {
    private struct Address: Hashable {
        var module: Int, function: Int, file: Int, line: Int
    }
    private struct Trace: Hashable {
        var address: Int, parent: Int
    }
    private struct Kind: Hashable {
        var bytes: UInt64, trace: Int
    }
    private var strings = Numbering<String>(from: 1)
    private var addresses = Numbering<Address>(from: 1)
    private var traces = Numbering<Trace>(from: 1)
    private var kinds = Numbering<Kind>()

    /// 0 for no string.
    private mutating func number(_ text: String?, to out: TextOutput) throws(OutputError) -> Int {
        guard let text, !text.isEmpty else { return 0 }
        let (number, isNew) = strings.use(text)
        if isNew { try out.write("s \(printable(text))\n") }
        return number
    }

    private mutating func number(_ frame: NamedFrame, to out: TextOutput) throws(OutputError) -> Int {
        let address = Address(
            module: try number(frame.modulePath, to: out), function: try number(frame.functionText, to: out),
            file: try number(frame.file, to: out), line: frame.line ?? 0)
        // Each place is one address: readers tell places apart by it, and show it only where there is no function.
        let (number, isNew) = addresses.use(address)
        guard isNew else { return number }
        let parts = [number, address.module, address.function, address.file, address.line]
        try out.write("i " + parts.map { hexadecimalDigits(UInt64($0)) }.joined(separator: " ") + "\n")
        return number
    }

    /// The number of a stack, whose frames come innermost first.
    mutating func trace(_ frames: [NamedFrame], to out: TextOutput) throws(OutputError) -> Int {
        var parent = 0
        for frame in frames.reversed() {
            let trace = Trace(address: try number(frame, to: out), parent: parent)
            let (number, isNew) = traces.use(trace)
            if isNew {
                try out.write("t \(hexadecimalDigits(UInt64(trace.address))) \(hexadecimalDigits(UInt64(parent)))\n")
            }
            parent = number
        }
        return parent
    }

    mutating func write(_ count: UInt64, of bytes: UInt64, _ trace: Int, to out: TextOutput) throws(OutputError) {
        guard count > 0 else { return }
        let (number, isNew) = kinds.use(Kind(bytes: bytes, trace: trace))
        if isNew {
            try out.write("a \(hexadecimalDigits(bytes)) \(hexadecimalDigits(UInt64(trace)))\n")
        }
        let line = "+ \(hexadecimalDigits(UInt64(number)))\n"
        for _ in 0 ..< count { try out.write(line) }
    }
}
