// Exports a recording's numbers for other tools. Unknown values are left out. Names are escaped for each format,
// because a process can have any name.

import Text

package enum ExportFormat: String, CaseIterable, Sendable { case csv, graphite, openmetrics }

package struct Export {
    private let format: ExportFormat
    package private(set) var damages: [Damage] = []

    package init(format: ExportFormat) { self.format = format }

    package mutating func write(_ directory: String, to out: TextOutput) throws {
        var reader = SampleReader(directory: directory)
        if format == .csv { try out.write("time,kind,pid,name,column,value\n") }
        var newest: (head: SegmentHead, decoder: SampleDecoder)?
        let export = self
        try reader.forEach { head, decoder in
            if export.format == .openmetrics {
                newest = (head, decoder)
            } else {
                try export.write(head, decoder, to: out)
            }
        }
        if let newest { try write(newest.head, newest.decoder, to: out) }
        damages = reader.damages
    }

    /// Writes one sample.
    package func write(_ head: SegmentHead, _ decoder: SampleDecoder, to out: TextOutput) throws {
        if format == .openmetrics { return try writeMetrics(head, decoder, out) }
        let wall = head.wall(decoder.bootMilliseconds), time = isoTime(wall), host = Self.path(head.host)
        for entity in decoder.entities where entity.isHere {
            let columns = decoder.columns(entity.kind)
            let pid = entity.kind == .process ? String(entity.id.prefix { $0 != ":" }) : ""
            let start =
                format == .csv
                ? "\(time),\(entity.kind),\(Self.cell(pid)),\(Self.cell(entity.name)),"
                : "heapwatch.\(host).\(entity.kind)." + (entity.kind == .system ? "" : Self.path(entity.name) + ".")
                    + (pid.isEmpty ? "" : Self.path(pid) + ".")
            for (column, value) in zip(columns, entity.values) where value != Sample.unknown {
                // A process's state is a letter for people, not a number.
                let text =
                    format == .csv
                    ? "\(start)\(Self.cell(column)),\(value)\n"
                    : "\(start)\(Self.path(column, keepsDots: true)) \(value) \(wall / 1000)\n"
                try out.write(text)
            }
        }
    }

    private func writeMetrics(_ head: SegmentHead, _ decoder: SampleDecoder, _ out: TextOutput) throws {
        let wall = head.wall(decoder.bootMilliseconds)
        let time = "\(wall / 1000).\(String(String(1000 + wall % 1000).dropFirst()))"
        for kind in EntityKind.allCases {
            try out.write("# TYPE heapwatch_\(kind) gauge\n# HELP heapwatch_\(kind) The newest sample, by column.\n")
            for entity in decoder.entities where entity.isHere && entity.kind == kind {
                var labels = "host=\(Self.label(head.host))"
                if kind != .system { labels += ",name=\(Self.label(entity.name))" }
                if kind == .process { labels += ",pid=\(Self.label(String(entity.id.prefix { $0 != ":" })))" }
                for (column, value) in zip(decoder.columns(kind), entity.values) where value != Sample.unknown {
                    try out.write("heapwatch_\(kind){\(labels),column=\(Self.label(column))} \(value) \(time)\n")
                }
            }
        }
        try out.write("# EOF\n")
    }

    /// RFC 4180; and no cell begins a formula in a spreadsheet.
    private static func cell(_ text: String) -> String {
        let safe = printable(text)
        let guarded = safe.utf8.first.map { "=+-@".utf8.contains($0) } == true ? "'" + safe : safe
        return guarded.utf8.contains(where: { $0 == 0x22 || $0 == 0x2C })
            ? "\"" + guarded.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
            : guarded
    }

    /// A word of a Graphite path.
    private static func path(_ text: String, keepsDots: Bool = false) -> String {
        let word = text.utf8.map { byte -> UInt8 in
            let isPlain =
                (0x30 ... 0x39).contains(byte) || (0x41 ... 0x5A).contains(byte) || (0x61 ... 0x7A).contains(byte)
                || byte == 0x5F || byte == 0x2D
            return isPlain || keepsDots && byte == 0x2E ? byte : 0x5F
        }
        return word.isEmpty ? "_" : String(decoding: word, as: UTF8.self)
    }

    private static func label(_ text: String) -> String {
        var result = "\""
        for character in printableLabel(text) {
            if character == "\"" || character == "\\" { result += "\\" }
            result.append(character)
        }
        return result + "\""
    }

    // printable() has already doubled backslashes, but a label does that itself.
    private static func printableLabel(_ text: String) -> String { printable(text).replacing("\\\\", with: "\\") }
}

extension SampleDecoder {
    /// The recording's column names of a kind.
    func columns(_ kind: EntityKind) -> [String] { columns[Int(kind.rawValue)] }
}
