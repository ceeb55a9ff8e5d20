// What reports say about sampled images: that their numbers are estimates, how good they are, and what such an image
// can't show.

import HeapImage
import Reduce
import Text

extension Table {
    /// A sum, with its standard error if it is an estimate.
    static func estimate(_ sum: String, _ error: Double?) -> String { error.map { "\(sum) ± \(rounded($0))" } ?? sum }

    /// A standard error to two digits: more would mean nothing.
    package static func rounded(_ error: Double) -> String {
        let whole = UInt64(max(0, min(error, 1e18)).rounded())
        var unit: UInt64 = 1
        while whole / unit >= 100 { unit *= 10 }
        return separated((whole + unit / 2) / unit * unit)
    }

    /// The notes on sampled images among the inputs, for any report.
    static func samplingNotes(_ reduction: Reduction) -> [String] {
        let sampled = reduction.inputs.filter { $0.image?.isSampled ?? false }
        guard !sampled.isEmpty else { return [] }
        var lines = sampled.prefix(8).map { input -> String in
            let interval = input.image?.sampleInterval ?? 0, records = input.census?.liveRecords ?? 0
            return "Sampled: \(printable(input.path)): 1 byte in \(separated(interval)) was drawn; what is live is "
                + "estimated from \(counted(records, "block"))."
        }
        if sampled.count > 8 {
            lines.append("Sampled: and \(counted(UInt64(sampled.count - 8), "more image")) likewise.")
        }
        let interval = sampled.compactMap { $0.image?.sampleInterval }.max() ?? 0
        lines.append(
            "Estimates: ± is one standard error; peak, ages, lifetimes and what was allocated are of drawn blocks too.")
        lines.append(
            "Not seen, maybe: stacks that hold less than some \(separated(interval &* 3)) bytes. Exact counts and "
                + "small leaks take a recording without --sample.")
        return lines
    }
}
