// The tables that pprof's profiles and OpenTelemetry's have in common: strings, functions, locations and mappings, to
// which samples refer by number. In both formats they are the same messages. pprof's begin with the entry's own number,
// which OpenTelemetry's don't have because an entry's place in its table is its number; so each field's number there is
// one less.
//
// A location is a frame. Its address is the return address less one, where viewers look it up. Addresses are absolute
// if all inputs have the module at the same address; otherwise they are the ELF file's own, in a mapping that begins at
// 0. A frame without a name has no line, so that a viewer can name it if it has the binary.

import HeapImage
import Reduce
import Symbols
import Text

struct ProfileTables {
    enum Style { case pprof, openTelemetry }

    private struct Function: Hashable { var name: UInt64, systemName: UInt64, file: UInt64 }

    /// A module as far as samples refer to it.
    struct Mapping {
        let module: UInt32
        let number: UInt64
        var hasFunctions = false, hasFiles = false, hasLines = false, hasInlined = false
    }

    private let report: MachineReport
    private let style: Style
    private var stringNumbers = Numbering<String>()
    private var functionNumbers = Numbering<Function>(from: 1)
    private var locationNumbers = Numbering<Frame>(from: 1)
    private var mappingNumbers = Numbering<UInt32>(from: 1)
    private(set) var mappings: [Mapping] = []
    /// The attribute of all locations that are places in code; 0: none.
    private let frameType: UInt64
    /// The tables' entries, each a field of the given number in the message around them.
    private(set) var locations = ProtobufWriter(), functions = ProtobufWriter()
    private let locationField: UInt64, functionField: UInt64

    /// - Parameters:
    ///   - locationField: the number of the locations' field in the message around them; and the functions'.
    ///   - frameType: the number of the attribute that says what kind of code a location is in.
    init(
        _ report: MachineReport, _ style: Style, locationField: UInt64, functionField: UInt64, frameType: UInt64 = 0
    ) {
        (self.report, self.style) = (report, style)
        (self.locationField, self.functionField) = (locationField, functionField)
        self.frameType = frameType
        _ = string("")
    }

    /// The strings in the order of their numbers; the first is empty.
    var strings: [String] { stringNumbers.values }

    /// The number of a text. Strings must be numbered before a message uses them, because a message is written while it
    /// is built.
    mutating func string(_ text: String) -> UInt64 { UInt64(stringNumbers.number(of: text)) }

    /// Where a field of these messages is, by pprof's number.
    private func field(_ number: UInt64) -> UInt64 { style == .pprof ? number : number - 1 }

    /// The location of a frame, written at its first use. Its lines are the functions inlined there, innermost first.
    mutating func location(_ frame: Frame) -> UInt64 {
        let (number, isNew) = locationNumbers.use(frame)
        if isNew { write(frame, UInt64(number)) }
        return UInt64(number)
    }

    private mutating func write(_ frame: Frame, _ number: UInt64) {
        let entries = report.names.expanded(frame)
        let mapping = useMapping(of: frame)
        let isPlace = frame.isCode
        var lines: [(function: UInt64, line: UInt64)] = []
        for entry in entries {
            // A frame outside of files has only its text, and so has a frame that a log names.
            guard let name = entry.function ?? (isPlace && frame.module != SpecialModule.named ? nil : entry.text)
            else { continue }
            if let mapping {
                mappings[mapping].hasFunctions = true
                if entry.file != nil { mappings[mapping].hasFiles = true }
                if entry.line != nil { mappings[mapping].hasLines = true }
                if entry.inlined == true { mappings[mapping].hasInlined = true }
            }
            lines.append((function(name, entry.symbol, entry.file), UInt64(clamping: entry.line ?? 0)))
        }
        let address: UInt64 = !isPlace ? 0 : entries.last?.address ?? frame.offset
        var location = ProtobufWriter()
        if style == .pprof { location.number(1, number) }
        location.number(field(2), mapping.map { mappings[$0].number } ?? 0)
        location.number(field(3), address > 0 ? address - 1 : 0)
        for line in lines {
            location.message(field(4)) {
                $0.number(1, line.function)
                $0.number(2, line.line)
            }
        }
        if frameType > 0 && isPlace { location.numbers(4, CollectionOfOne(frameType)) }
        locations.bytes(locationField, location.bytes)
    }

    private mutating func function(_ name: String, _ symbol: String?, _ file: String?) -> UInt64 {
        let key = Function(
            name: string(printable(name)), systemName: string(printable(symbol ?? name)),
            file: string(file.map(printable) ?? ""))
        let (number, isNew) = functionNumbers.use(key)
        guard isNew else { return UInt64(number) }
        var function = ProtobufWriter()
        if style == .pprof { function.number(1, UInt64(number)) }
        function.number(field(2), key.name)
        function.number(field(3), key.systemName)
        function.number(field(4), key.file)
        functions.bytes(functionField, function.bytes)
        return UInt64(number)
    }

    private mutating func useMapping(of frame: Frame) -> Int? {
        guard report.reduction.modules[Int(frame.module)].isFile else { return nil }
        let (number, isNew) = mappingNumbers.use(frame.module)
        if isNew { mappings.append(Mapping(module: frame.module, number: UInt64(number))) }
        return number - 1
    }

    /// Writes a mapping's fields that both formats have.
    mutating func write(_ mapping: Mapping, to message: inout ProtobufWriter) {
        let file = report.reduction.modules[Int(mapping.module)]
        let extent = file.addresses
        let path = string(printable(pathText(file.path)))
        // A range that is not known is 0 to 0.
        if !extent.isEmpty {
            message.number(field(2), extent.lowerBound)
            message.number(field(3), extent.upperBound)
        }
        // The file's first segment is mapped from its start, and the others at the same distances as in the file: so
        // the offset is 0, which is not written.
        message.number(field(5), path)
    }
}

extension MachineReport {
    /// The row's frames, as many as are shown.
    func stack(_ row: Row) -> ArraySlice<Frame> {
        let frames = reduction.frames(of: row)
        return frames.prefix(frameLimit == nil ? frames.count : names.expanded(frames, limit: frameLimit).used)
    }

    /// The sample types of heap profilers that are known of these inputs, in pprof's order.
    var heapSampleTypes: [(name: String, quantity: Quantity)] {
        [
            ("alloc_objects", .allocatedBlocks), ("alloc_space", .allocatedBytes), ("inuse_objects", .blocks),
            ("inuse_space", .bytes),
        ].filter { known.contains($0.1) }
    }

    /// The sample type to show first: the requested one of the two spaces and counts; what is in use for quantities
    /// that are none of them.
    var firstHeapSampleType: String {
        let isAllocated = [.allocatedBytes, .allocatedBlocks, .temporaryBlocks].contains(quantity)
        let isBytes =
            isAllocated
            ? quantity.isBytes : (quantity.isBytes || quantity == .peakBlocks) && known.contains(.bytes)
        return (isAllocated ? "alloc_" : "inuse_") + (isBytes ? "space" : "objects")
    }

    /// The rows, each divided by its verdicts. The history stays with the first part.
    var rowsByVerdict: [Row] {
        guard reduction.hasVerdicts else { return selection.rows }
        return selection.rows.flatMap { row -> [Row] in
            guard let verdict = row.verdict else { return [row] }
            let kinds = (Verdict.shown + [.unknown]).filter { verdict[$0].blocks > 0 }
            guard kinds.count > 1 else { return [row] }
            return kinds.enumerated().map { index, kind in
                var part = row
                (part.blocks, part.bytes) = (verdict[kind].blocks, verdict[kind].bytes)
                part.verdict = verdict.only([kind])
                if index > 0 && part.history != nil { part.history = Row.History() }
                return part
            }
        }
    }

    /// When the oldest recording began, and the newest moment, in nanoseconds since 1970; nil if no input tells.
    var span: (from: UInt64, to: UInt64)? {
        var span: (from: UInt64, to: UInt64)?
        for input in reduction.inputs {
            guard let image = input.image, image.header.started_realtime_ns > 0 else { continue }
            let from = image.header.started_realtime_ns
            let to = from.addingReportingOverflow(input.census?.momentNanoseconds ?? 0)
            span = (min(span?.from ?? from, from), max(span?.to ?? 0, to.overflow ? from : to.partialValue))
        }
        return span
    }
}
