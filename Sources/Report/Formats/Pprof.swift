// pprof's profile.proto, gzipped: https://github.com/google/pprof/blob/main/proto/profile.proto. The sample types are
// the same as in other heap profilers, so that options such as `pprof -inuse_space` mean the same. See `ProfileTables`
// for locations.

import HeapImage
import Reduce
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

    private let report: MachineReport
    private var profile = ProtobufWriter()
    private var tables: ProfileTables

    init(_ report: MachineReport) {
        self.report = report
        tables = ProfileTables(report, .pprof, locationField: Field.location, functionField: Field.function)
    }

    mutating func encoded() -> [UInt8] {
        let types = report.heapSampleTypes
        for type in types {
            let name = tables.string(type.name), unit = tables.string(type.quantity.isBytes ? "bytes" : "count")
            profile.message(Field.sampleType) {
                $0.number(1, name)
                $0.number(2, unit)
            }
        }
        let label = (key: tables.string("size"), text: tables.string("not known"))
        let hasVerdicts = report.reduction.hasVerdicts, said = hasVerdicts ? tables.string("verdict") : 0
        var verdictTexts: [Verdict: UInt64] = [:]
        if hasVerdicts { for verdict in Verdict.allCases { verdictTexts[verdict] = tables.string(verdict.text) } }
        for row in report.rowsByVerdict {
            let values = types.map { min($0.quantity.value(row), UInt64(Int64.max)) }
            guard values.contains(where: { $0 > 0 }) else { continue }
            let stack = report.stack(row).map { tables.location($0) }
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
        profile.append(tables.locations)
        profile.append(tables.functions)
        for text in tables.strings { profile.bytes(Field.string, Array(text.utf8)) }
        return profile.bytes
    }

    private mutating func writeMappings() {
        // Readers treat the first mapping as the program.
        let programs = Set(report.reduction.inputs.compactMap(\.program).map { Array($0.utf8) })
        func place(_ mapping: ProfileTables.Mapping) -> (Int, UInt64) {
            (programs.contains(report.reduction.modules[Int(mapping.module)].path) ? 0 : 1, mapping.number)
        }
        for mapping in tables.mappings.sorted(by: { place($0) < place($1) }) {
            let buildID = tables.string(hexadecimal(report.reduction.modules[Int(mapping.module)].buildID))
            var message = ProtobufWriter()
            message.number(1, mapping.number)
            tables.write(mapping, to: &message)
            message.number(6, buildID)
            message.number(7, mapping.hasFunctions ? 1 : 0)
            message.number(8, mapping.hasFiles ? 1 : 0)
            message.number(9, mapping.hasLines ? 1 : 0)
            message.number(10, mapping.hasInlined ? 1 : 0)
            profile.bytes(Field.mapping, message.bytes)
        }
    }

    private mutating func writeFacts() {
        for input in report.reduction.inputs {
            let text =
                printable(input.path + (input.program.map { ": \($0)" } ?? ""))
                + (input.processID.map { ", pid \($0)" } ?? "")
            profile.number(Field.comment, tables.string(text))
        }
        for line in Table.warnings(report.reduction, nil) { profile.number(Field.comment, tables.string(line)) }
        if let span = report.span {
            profile.number(Field.timeNanoseconds, min(span.to, UInt64(Int64.max)))
            profile.number(Field.durationNanoseconds, min(span.to - span.from, UInt64(Int64.max)))
        }
        profile.number(Field.defaultSampleType, tables.string(report.firstHeapSampleType))
    }
}
