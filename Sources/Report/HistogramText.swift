// Distributions as bars. A bar's length is the share of blocks; bytes are beside it, because many small blocks are a
// different problem than one large one.

import HeapImage
import Reduce
import Text

/// Writes distributions as text.
struct HistogramText {
    var style: Style
    var indent = ""

    private static let barWidth = 24

    /// Writes the sizes, and below them the lifetimes. Empty ones are left out.
    func write(_ distributions: Distributions, to out: TextOutput) throws {
        let used = distributions.sizes.indices.filter { distributions.sizes[$0].blocks > 0 }
        if let first = used.first, let last = used.last {
            let rows = (first ... last).map { number in
                let sizes = Distributions.sizes(of: number), sum = distributions.sizes[number]
                // Not by its count, which overflows an Int in the last class.
                let label =
                    sizes.lowerBound == sizes.upperBound
                    ? separated(sizes.lowerBound) : "\(separated(sizes.lowerBound)) to \(separated(sizes.upperBound))"
                return (label: label, blocks: sum.blocks, bytes: UInt64?.some(sum.bytes))
            }
            try write("size in bytes", "live blocks", rows, to: out)
        }
        let lived = distributions.lifetimes.indices.filter { distributions.lifetimes[$0] > 0 }
        if let first = lived.first, let last = lived.last {
            if !used.isEmpty { try out.write("\n") }
            let rows = (first ... last).map { number in
                (label: Self.label(number), blocks: distributions.lifetimes[number], bytes: UInt64?.none)
            }
            try write("lifetime", "freed blocks", rows, to: out)
        }
    }

    static func label(_ lifetime: Int) -> String {
        func text(_ milliseconds: UInt64) -> String { shortDuration(Double(milliseconds) / 1000) }
        switch (lifetime > 0 ? LifetimeClass.end(lifetime - 1) : nil, LifetimeClass.end(lifetime)) {
        case (nil, let end?): return "below \(text(end))"
        case (let start?, let end?): return "\(text(start)) to \(text(end))"
        case (let start?, nil): return "\(text(start)) and more"
        case (nil, nil): return ""
        }
    }

    private func write(
        _ title: String, _ what: String, _ rows: [(label: String, blocks: UInt64, bytes: UInt64?)], to out: TextOutput
    ) throws {
        let labelWidth = max(title.count, rows.map(\.label.count).max() ?? 0)
        let blockWidth = max(what.count, rows.map { separated($0.blocks).count }.max() ?? 0)
        let byteWidth = max(5, rows.map { separated($0.bytes ?? 0).count }.max() ?? 0)
        let hasBytes = rows.contains { $0.bytes != nil }
        let most = rows.map(\.blocks).max() ?? 0
        try out.write(
            indent
                + style.dim(
                    leftPadded(title, labelWidth) + "   " + leftPadded(what, blockWidth)
                        + (hasBytes ? "   " + leftPadded("bytes", byteWidth) : "")) + "\n")
        for row in rows {
            let bytes = row.bytes.map { "   " + leftPadded(separated($0), byteWidth) } ?? ""
            let bar = Self.bar(row.blocks, of: most)
            try out.write(
                indent + leftPadded(row.label, labelWidth) + "   " + leftPadded(separated(row.blocks), blockWidth)
                    + bytes
                    + (bar.isEmpty ? "" : "   " + style.dim(bar)) + "\n")
        }
    }

    /// A bar in eighths of a column; the thinnest for anything above 0.
    static func bar(_ value: UInt64, of most: UInt64) -> String {
        if value == 0 || most == 0 { return "" }
        let eighths = max(1, Int((Double(value) / Double(most) * Double(barWidth * 8)).rounded()))
        let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
        return String(repeating: "█", count: eighths / 8) + parts[eighths % 8]
    }
}
