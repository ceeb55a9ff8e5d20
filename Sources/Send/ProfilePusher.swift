// Sends images to a collector as OpenTelemetry profiles (OTLP/HTTP, binary): one request for each image, with the
// attributes of its process.

import HeapImage
import Logs
import Reduce
import Report
import Symbols
import Text

/// Sends images to one collector.
package final class ProfilePusher {
    package let settings: CollectorSettings
    private let sender: HTTPSender
    private let symbolizer: Symbolizer

    /// - Throws: `SendError` if the address can't be used, or libcurl isn't installed.
    package init(_ settings: CollectorSettings, symbolizer: Symbolizer) throws(SendError) {
        (self.settings, self.symbolizer) = (settings, symbolizer)
        sender = try HTTPSender(
            url: settings.url, headers: ["Content-Type: application/x-protobuf"] + settings.headers,
            seconds: settings.seconds)
    }

    /// The time limit of each profile.
    package var seconds: Double {
        get { sender.seconds }
        set { sender.seconds = newValue }
    }

    /// Sends an image as it is at this moment.
    ///
    /// - Returns: what the collector remarked: it may take a profile and not all of it.
    /// - Throws: `SendError` if it could not be sent; else what reading the image throws.
    /// - Complexity: O(blocks and stacks), and the network, for at most the settings' seconds.
    package func push(_ image: HeapImage) throws -> String? {
        let reduction = Reduction()
        try reduction.add(try image.atOneMoment())
        let names = FrameNames(reduction, symbolizer: symbolizer)
        let rows = RowSelection(reduction, names: names, withFreed: true)
        names.prepare(rows.rows)
        let profiles = MachineReport(reduction, rows, names: names).otlpProfiles(attributes: settings.attributes)
        // Without zlib, or memory for it, they go as they are.
        let packed = gzipped(profiles)
        return Self.remark(
            in: try sender.post(packed ?? profiles, header: packed == nil ? nil : "Content-Encoding: gzip"))
    }

    /// What ExportProfilesServiceResponse says of profiles that were rejected; nil: nothing.
    static func remark(in answer: [UInt8]) -> String? {
        answer.withUnsafeBytes { bytes in
            var rejected: UInt64 = 0, message = ""
            var response = ProtobufReader(bytes, 0 ..< bytes.count)
            while let (field, value) = response.next() {
                guard field == 1, case .bytes(let range) = value else { continue }
                var partial = ProtobufReader(bytes, range)
                while let (field, value) = partial.next() {
                    switch (field, value) {
                    case (1, .number(let count)): rejected = count
                    case (2, .bytes(let range)): message = String(decoding: bytes[range], as: UTF8.self)
                    default: break
                    }
                }
            }
            // What is no such message, as a page of HTML, says nothing.
            guard !response.isBroken, rejected > 0 || !message.isEmpty else { return nil }
            return (rejected > 0 ? "\(rejected) profiles rejected" : "remark")
                + (message.isEmpty ? "" : ": \(printable(String(message.prefix(200))))")
        }
    }
}
