// pprof's profile.proto, gzipped: https://github.com/google/pprof/blob/main/proto/profile.proto. The sample types are
// the same as in other heap profilers, so that options such as `pprof -inuse_space` mean the same.
//
// A location is a frame. Its address is the return address less one, where pprof looks it up. Addresses are absolute if
// all inputs have the module at the same address; otherwise they are the ELF file's own, in a mapping that begins at 0.
// A frame without a name has no line, so that pprof can name it if it finds the binary.

import HeapImage
import Reduce
import Symbols
import Text

extension MachineReport {
    func writePprof(to out: TextOutput) throws {
        var writer = PprofProfile(self)
        let profile = writer.encoded()
        // pprof also reads uncompressed profiles.
        try out.write(gzipped(profile) ?? profile)
    }
}

private struct PprofProfile {
    private enum Field {
        static let sampleType: UInt64 = 1, sample: UInt64 = 2, mapping: UInt64 = 3, location: UInt64 = 4,
            function: UInt64 = 5
        static let string: UInt64 = 6, timeNanoseconds: UInt64 = 9, durationNanoseconds: UInt64 = 10
        static let comment: UInt64 = 13, defaultSampleType: UInt64 = 14
    }

    private struct Function: Hashable { var name: UInt64, systemName: UInt64, file: UInt64 }

    private let report: MachineReport
    private var profile = ProtobufWriter()
    private var strings: [String: UInt64] = ["": 0]
    private var orderedStrings = [""]
    private var functions: [Function: UInt64] = [:]
    private var locations: [Frame: UInt64] = [:]
    private var mappings: [UInt32: Mapping] = [:]

    private struct Mapping {
        var number: UInt64
        var hasFunctions = false, hasFiles = false, hasLines = false, hasInlined = false
    }

    init(_ report: MachineReport) {
        self.report = report
    }

    mutating func encoded() -> [UInt8] {
        let types: [(name: String, quantity: Quantity)] = [
            ("alloc_objects", .allocatedBlocks), ("alloc_space", .allocatedBytes), ("inuse_objects", .blocks),
            ("inuse_space", .bytes),
        ].filter { report.known.contains($0.1) }
        for type in types {
            let name = string(type.name), unit = string(type.quantity.isBytes ? "bytes" : "count")
            profile.message(Field.sampleType) {
                $0.number(1, name)
                $0.number(2, unit)
            }
        }
        let label = (key: string("size"), text: string("not known"))
        // Strings must be made before a message uses them, because a message is written while it is built.
        let hasVerdicts = report.reduction.hasVerdicts, said = hasVerdicts ? string("verdict") : 0
        var verdictTexts: [Verdict: UInt64] = [:]
        if hasVerdicts { for verdict in Verdict.allCases { verdictTexts[verdict] = string(verdict.text) } }
        for row in report.selection.rows.flatMap(Self.byVerdict) {
            let values = types.map { min($0.quantity.value(row), UInt64(Int64.max)) }
            guard values.contains(where: { $0 > 0 }) else { continue }
            let stack = report.stack(row).map { location($0) }
            profile.message(Field.sample) {
                $0.numbers(1, stack)
                $0.numbers(2, values)
                // A sample has a number for each type; a label marks an unknown one.
                if row.blocksOfUnknownSize > 0 {
                    $0.message(3) {
                        $0.number(1, label.key)
                        $0.number(2, label.text)
                    }
                }
                if let verdict = row.verdict.flatMap({ verdictTexts[$0.worst] }) {
                    $0.message(3) {
                        $0.number(1, said)
                        $0.number(2, verdict)
                    }
                }
            }
        }
        writeMappings()
        writeFacts()
        for text in orderedStrings { profile.bytes(Field.string, Array(text.utf8)) }
        return profile.bytes
    }

    /// The row itself, or one row for each of its verdicts. The history stays with the first.
    private static func byVerdict(_ row: Row) -> [Row] {
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

    private mutating func string(_ text: String) -> UInt64 {
        if let number = strings[text] { return number }
        let number = UInt64(orderedStrings.count)
        strings[text] = number
        orderedStrings.append(text)
        return number
    }

    /// The location of a frame, written at its first use. Its lines are the functions inlined there, innermost first.
    private mutating func location(_ frame: Frame) -> UInt64 {
        if let number = locations[frame] { return number }
        let number = UInt64(locations.count + 1)
        locations[frame] = number
        let entries = report.names.expanded(frame)
        var mapping = mapping(of: frame)
        let isPlace = frame.isCode
        var lines: [(function: UInt64, line: UInt64)] = []
        for entry in entries {
            // A frame outside of files has only its text, and so has a frame that a log names.
            guard let name = entry.function ?? (isPlace && frame.module != SpecialModule.named ? nil : entry.text)
            else { continue }
            mapping?.hasFunctions = true
            if entry.file != nil { mapping?.hasFiles = true }
            if entry.line != nil { mapping?.hasLines = true }
            if entry.inlined == true { mapping?.hasInlined = true }
            lines.append((function(name, entry.symbol, entry.file), UInt64(clamping: entry.line ?? 0)))
        }
        if let mapping { mappings[frame.module] = mapping }
        let address: UInt64 = !isPlace ? 0 : entries.last?.address ?? frame.offset
        profile.message(Field.location) {
            $0.number(1, number)
            $0.number(2, mapping?.number ?? 0)
            $0.number(3, address > 0 ? address - 1 : 0)
            for line in lines {
                $0.message(4) {
                    $0.number(1, line.function)
                    $0.number(2, line.line)
                }
            }
        }
        return number
    }

    private mutating func function(_ name: String, _ symbol: String?, _ file: String?) -> UInt64 {
        let key = Function(
            name: string(printable(name)), systemName: string(printable(symbol ?? name)),
            file: string(file.map(printable) ?? ""))
        if let number = functions[key] { return number }
        let number = UInt64(functions.count + 1)
        functions[key] = number
        profile.message(Field.function) {
            $0.number(1, number)
            $0.number(2, key.name)
            $0.number(3, key.systemName)
            $0.number(4, key.file)
        }
        return number
    }

    private mutating func mapping(of frame: Frame) -> Mapping? {
        guard report.reduction.modules[Int(frame.module)].isFile else { return nil }
        return mappings[frame.module] ?? Mapping(number: UInt64(mappings.count + 1))
    }

    private mutating func writeMappings() {
        // Readers treat the first mapping as the program.
        let programs = Set(report.reduction.inputs.compactMap(\.program).map { Array($0.utf8) })
        func place(_ module: UInt32, _ mapping: Mapping) -> (Int, UInt64) {
            (programs.contains(report.reduction.modules[Int(module)].path) ? 0 : 1, mapping.number)
        }
        for (module, mapping) in mappings.sorted(by: { place($0.key, $0.value) < place($1.key, $1.value) }) {
            let file = report.reduction.modules[Int(module)]
            let extent = file.addresses
            let path = string(printable(pathText(file.path))), buildID = string(hexadecimal(file.buildID))
            profile.message(Field.mapping) {
                $0.number(1, mapping.number)
                $0.number(2, extent.lowerBound)
                $0.number(3, extent.upperBound)
                // The file's first segment is mapped from its start, and the others at the same distances as in the
                // file.
                $0.number(4, 0)
                $0.number(5, path)
                $0.number(6, buildID)
                $0.number(7, mapping.hasFunctions ? 1 : 0)
                $0.number(8, mapping.hasFiles ? 1 : 0)
                $0.number(9, mapping.hasLines ? 1 : 0)
                $0.number(10, mapping.hasInlined ? 1 : 0)
            }
        }
    }

    private mutating func writeFacts() {
        var times: (from: UInt64, to: UInt64)?
        for input in report.reduction.inputs {
            if let image = input.image, image.header.started_realtime_ns > 0 {
                let from = image.header.started_realtime_ns,
                    to = from.addingReportingOverflow(input.census?.momentNanoseconds ?? 0)
                times = (min(times?.from ?? from, from), max(times?.to ?? 0, to.overflow ? from : to.partialValue))
            }
            var text =
                printable(input.path + (input.program.map { ": \($0)" } ?? ""))
                + (input.processID.map { ", pid \($0)" } ?? "")
            if let arguments = input.image?.arguments, !arguments.isEmpty {
                text += ": " + arguments.map(shellWord).joined(separator: " ")
            }
            profile.number(Field.comment, string(text))
        }
        for line in Table.warnings(report.reduction, nil) { profile.number(Field.comment, string(line)) }
        if let times {
            profile.number(Field.timeNanoseconds, min(times.to, UInt64(Int64.max)))
            profile.number(Field.durationNanoseconds, min(times.to - times.from, UInt64(Int64.max)))
        }
        // The requested one of the two spaces and counts; in use for quantities that are none of them.
        let isAllocated = [.allocatedBytes, .allocatedBlocks, .temporaryBlocks].contains(report.quantity)
        let isBytes =
            isAllocated
            ? report.quantity.isBytes
            : (report.quantity.isBytes || report.quantity == .peakBlocks) && report.known.contains(.bytes)
        profile.number(
            Field.defaultSampleType, string((isAllocated ? "alloc_" : "inuse_") + (isBytes ? "space" : "objects")))
    }
}

extension MachineReport {
    /// The row's frames, as many as are shown.
    func stack(_ row: Row) -> ArraySlice<Frame> {
        let frames = reduction.frames(of: row)
        return frames.prefix(frameLimit == nil ? frames.count : names.expanded(frames, limit: frameLimit).used)
    }
}
