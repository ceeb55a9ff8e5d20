// Lengths of time, as people type them and as they read them.

/// Parses a length of time into seconds, with an optional unit: 250ms, 90s, 5m, 2h, 3d, 1w, 1.5h; a number alone is
/// seconds. nil for anything else, and for a length that no clock can reach.
package func durationSeconds(_ text: String) -> Double? {
    let units: [(String, Double)] = [
        ("ms", 0.001), ("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400), ("w", 604_800),
    ]
    let digits = text.utf8.prefix { (0x30 ... 0x39).contains($0) || $0 == 0x2E }
    guard let first = digits.first, first != 0x2E, digits.last != 0x2E,
        let number = Double(String(decoding: digits, as: UTF8.self))
    else { return nil }
    let rest = String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self)
    guard let unit = rest.isEmpty ? 1 : units.first(where: { $0.0 == rest })?.1, number * unit <= 1e11 else {
        return nil
    }
    return number * unit
}

/// A length of time in a few characters: 35 ms, 12 s, 5 min, 3.2 h, 4.1 d.
package func shortDuration(_ seconds: Double) -> String {
    func tenths(_ value: Double) -> String {
        let whole = Int((value * 10).rounded())
        return whole >= 100 || whole % 10 == 0 ? "\((whole + 5) / 10)" : "\(whole / 10).\(whole % 10)"
    }
    switch seconds {
    case ..<1: return "\(Int(max(0, seconds) * 1000)) ms"
    case ..<120: return "\(tenths(seconds)) s"
    case ..<7200: return "\(tenths(seconds / 60)) min"
    case ..<172_800: return "\(tenths(seconds / 3600)) h"
    default: return "\(tenths(min(seconds / 86_400, 1e9))) d"
    }
}
