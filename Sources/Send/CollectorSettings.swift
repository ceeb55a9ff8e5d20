// Where profiles go and what goes with them, by the variables that OpenTelemetry defines for all its senders:
// OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and OTEL_EXPORTER_OTLP_HEADERS.

import Report
import Text

/// A collector's address, with the attributes and headers that the environment gives.
package struct CollectorSettings {
    package var url: String
    package var attributes: [ResourceAttribute] = []
    package var headers: [String] = []
    /// The time limit of one profile.
    package var seconds = 10.0

    /// - Parameter url: with the path, or without: then /v1development/profiles is added.
    /// - Throws: `SendError` if a variable can't be understood.
    package init(url: String, environment: (String) -> String? = { environmentText($0) }) throws(SendError) {
        self.url = Self.endpoint(url)
        for (key, value) in try Self.pairs("OTEL_RESOURCE_ATTRIBUTES", environment) {
            attributes.append(ResourceAttribute(key, .text(value)))
        }
        if let name = environment("OTEL_SERVICE_NAME"), !name.isEmpty {
            attributes.removeAll { $0.key == "service.name" }
            attributes.append(ResourceAttribute("service.name", .text(name)))
        }
        for (key, value) in try Self.pairs("OTEL_EXPORTER_OTLP_HEADERS", environment) {
            headers.append("\(key): \(value)")
        }
    }

    /// The path of OTLP is added to an address without one.
    static func endpoint(_ url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return url }
        let rest = url[scheme.upperBound...]
        guard let slash = rest.firstIndex(of: "/") else { return url + "/v1development/profiles" }
        return rest[rest.index(after: slash)...].isEmpty ? url + "v1development/profiles" : url
    }

    /// `key=value,key=value`, with percent encoding, as in W3C's baggage. Of equal keys the last counts.
    private static func pairs(
        _ variable: String, _ environment: (String) -> String?
    ) throws(SendError) -> [(key: String, value: String)] {
        var pairs: [(key: String, value: String)] = []
        for part in (environment(variable) ?? "").split(separator: ",") {
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            // A value may be a password: it is not shown.
            let name = printable(String(sides[0]))
            guard sides.count == 2, let key = decoded(sides[0]), !key.isEmpty else {
                throw SendError("\(variable): \(name) is not KEY=VALUE")
            }
            guard let value = decoded(sides[1]) else {
                throw SendError("\(variable): the value of \(name) is not what can be sent")
            }
            pairs.removeAll { $0.key == key }
            pairs.append((key, value))
        }
        return pairs
    }

    private static func decoded(_ text: Substring) -> String? {
        let blanks = text.utf8.drop { $0 == 0x20 }
        var rest = blanks[...], bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard rest.count >= 2, let digits = String(rest.prefix(2)), let value = UInt8(digits, radix: 16) else {
                    return nil
                }
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        while bytes.last == 0x20 { bytes.removeLast() }
        // A line's end would begin another header.
        return bytes.contains { $0 < 0x20 || $0 == 0x7F } ? nil : String(validating: bytes, as: UTF8.self)
    }
}
