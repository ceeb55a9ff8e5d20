// Lengths of time as people type them.

/// Seconds, with a unit if it pleases: 250ms, 90s, 5m, 2h, 3d, 1w, and 1.5h; a number alone is of seconds. nil for
/// anything else, and for what no clock will see.
package func durationSeconds(_ text: String) -> Double? {
    let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)]
    let digits = text.utf8.prefix { (0x30...0x39).contains($0) || $0 == 0x2E }
    guard let first = digits.first, first != 0x2E, digits.last != 0x2E, let number = Double(String(decoding: digits, as: UTF8.self)) else { return nil }
    let rest = String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self)
    guard let unit = rest.isEmpty ? 1 : units.first(where: { $0.0 == rest })?.1, number * unit <= 1e11 else { return nil }
    return number * unit
}
