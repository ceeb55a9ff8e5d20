// OpenTelemetry's profiles, as opentelemetry-proto 1.10.0 defines them (opentelemetry/proto/profiles/v1development):
// the message ProfilesData, which is also the body that a collector takes. There is a profile for each sample type, and
// one dictionary, whose tables all profiles refer to; the first entry of each table is empty and means "none". See
// `ProfileTables` for locations.
//
// Invariant: no entry of a table occurs twice, and no two samples of a profile have the same stack and attributes.

import HeapImage
import Reduce
import Text

extension MachineReport {
    func writeOTLP(to out: TextOutput) throws { try out.write(otlpProfiles()) }

    /// The message.
    ///
    /// - Parameter attributes: more attributes of the resource, by key; they replace those that the inputs tell.
    /// - Complexity: O(rows and their frames) time and memory
    package func otlpProfiles(attributes: [ResourceAttribute] = []) -> [UInt8] {
        var profiles = OTLPProfiles(self)
        return profiles.encoded(resource: resourceAttributes(replacing: attributes))
    }
}

private struct OTLPProfiles {
    /// Fields of ProfilesDictionary.
    private enum Field {
        static let mapping: UInt64 = 1, location: UInt64 = 2, function: UInt64 = 3, link: UInt64 = 4
        static let string: UInt64 = 5, attribute: UInt64 = 6, stack: UInt64 = 7
    }

    private struct Attribute: Hashable { var key: UInt64, value: String }

    /// A stack by its node, and if frames are limited, by those that are left.
    private struct Stack: Hashable { var node: UInt32, frames: [UInt64] }

    /// What makes a sample: see `Sample.stack_index` in the definition.
    private struct Sample: Hashable { var stack: UInt64, attributes: [UInt64] }

    private let report: MachineReport
    private var tables: ProfileTables
    private var attributeNumbers = Numbering<Attribute>(from: 1)
    private var stackNumbers = Numbering<Stack>(from: 1)
    private var sampleNumbers = Numbering<Sample>()
    private var attributes = ProtobufWriter(), stacks = ProtobufWriter()

    init(_ report: MachineReport) {
        self.report = report
        tables = ProfileTables(
            report, .openTelemetry, locationField: Field.location, functionField: Field.function, frameType: 1)
        _ = attribute("profile.frame.type", report.names.hasKernelLog ? "kernel" : "native")
    }

    mutating func encoded(resource: [ResourceAttribute]) -> [UInt8] {
        let types = report.heapSampleTypes
        var sums = types.map { _ in [UInt64]() }
        for row in report.rowsByVerdict {
            let values = types.map { $0.quantity.value(row) }
            guard values.contains(where: { $0 > 0 }) else { continue }
            let (number, isNew) = sampleNumbers.use(sample(row))
            for (type, value) in values.enumerated() {
                if isNew { sums[type].append(value) } else { sums[type][number] &+= value }
            }
        }
        let about = profileAttributes()
        var scope = ProtobufWriter()
        scope.message(1) {
            $0.text(1, "heapsum")
            $0.text(2, version)
        }
        // Viewers show the first profile first.
        let first = report.firstHeapSampleType
        let order = types.indices.filter { types[$0].name == first } + types.indices.filter { types[$0].name != first }
        for type in order {
            let profile = profile(types[type].name, types[type].quantity.isBytes, sums[type], about)
            scope.bytes(2, profile.bytes)
        }
        var data = ProtobufWriter()
        data.message(1) {
            $0.message(1) { for attribute in resource { attribute.write(to: &$0) } }
            $0.bytes(2, scope.bytes)
        }
        data.bytes(2, dictionary().bytes)
        return data.bytes
    }

    /// The profile of one sample type. All have the time of the image's moment; what was allocated is since the
    /// recording's start.
    private mutating func profile(
        _ name: String, _ isBytes: Bool, _ values: [UInt64], _ about: [UInt64]
    )
        -> ProtobufWriter
    {
        var profile = ProtobufWriter()
        let type = tables.string(name), unit = tables.string(isBytes ? "bytes" : "count")
        profile.message(1) {
            $0.number(1, type)
            $0.number(2, unit)
        }
        for (sample, value) in zip(sampleNumbers.values, values) where value > 0 {
            profile.message(2) {
                $0.number(1, sample.stack)
                $0.numbers(2, sample.attributes)
                $0.numbers(4, CollectionOfOne(min(value, UInt64(Int64.max))))
            }
        }
        if let span = report.span { profile.fixed(3, span.to) }
        // Of several images sampled at different rates there is no one period.
        let periods = Set(report.reduction.inputs.map { $0.image?.sampleInterval ?? 0 })
        if let period = periods.first, periods.count == 1, period > 0 {
            let space = tables.string("space"), bytes = tables.string("bytes")
            profile.message(5) {
                $0.number(1, space)
                $0.number(2, bytes)
            }
            profile.number(6, period)
        }
        profile.numbers(11, about)
        return profile
    }

    // MARK: Tables

    private mutating func sample(_ row: Row) -> Sample {
        let frames = report.stack(row)
        var number: UInt64 = 0
        if !frames.isEmpty {
            let locations = frames.map { tables.location($0) }
            let isLimited = report.frameLimit != nil
            let (place, isNew) = stackNumbers.use(
                Stack(node: isLimited ? 0 : row.node, frames: isLimited ? locations : []))
            number = UInt64(place)
            if isNew { stacks.message(Field.stack) { $0.numbers(1, locations) } }
        }
        var attributes: [UInt64] = []
        // A sample has a number for each type; an attribute marks an unknown one.
        if row.blocksOfUnknownSize > 0 { attributes.append(attribute("heapsum.size", "not known")) }
        if let verdict = row.verdict { attributes.append(attribute("heapsum.verdict", verdict.worst.text)) }
        return Sample(stack: number, attributes: attributes)
    }

    private mutating func attribute(_ key: String, _ value: String) -> UInt64 {
        let attribute = Attribute(key: tables.string(key), value: value)
        let (number, isNew) = attributeNumbers.use(attribute)
        if isNew {
            attributes.message(Field.attribute) {
                $0.number(1, attribute.key)
                $0.message(2) { $0.text(1, value) }
            }
        }
        return UInt64(number)
    }

    /// What the recording could not book.
    private mutating func profileAttributes() -> [UInt64] {
        let warnings = Table.warnings(report.reduction, nil)
        return warnings.isEmpty ? [] : [attribute("heapsum.warnings", warnings.joined(separator: "\n"))]
    }

    private mutating func dictionary() -> ProtobufWriter {
        var mappings = ProtobufWriter()
        mappings.bytes(Field.mapping, [])
        for mapping in tables.mappings {
            let buildID = report.reduction.modules[Int(mapping.module)].buildID
            var message = ProtobufWriter()
            tables.write(mapping, to: &message)
            if !buildID.isEmpty {
                message.numbers(
                    5, CollectionOfOne(attribute("process.executable.build_id.gnu", hexadecimal(buildID))))
            }
            mappings.bytes(Field.mapping, message.bytes)
        }
        var dictionary = mappings
        for (field, table) in [
            (Field.location, tables.locations), (Field.function, tables.functions), (Field.link, ProtobufWriter()),
            (Field.attribute, attributes), (Field.stack, stacks),
        ] {
            dictionary.bytes(field, [])
            dictionary.append(table)
        }
        for text in tables.strings { dictionary.text(Field.string, text) }
        return dictionary
    }
}
