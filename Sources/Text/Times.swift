// Points in time, as people read them.

import Glibc

/// Nanoseconds since 1970 as 2026-11-28 14:34:49 UTC; 0 means unknown, and is shown so.
package func utcTime(_ nanoseconds: UInt64) -> String {
    var seconds = time_t(nanoseconds / 1_000_000_000), parts = tm()
    var text = [CChar](repeating: 0, count: 64)
    guard nanoseconds > 0, gmtime_r(&seconds, &parts) != nil else { return "a time that is not known" }
    let count = strftime(&text, text.count, "%Y-%m-%d %H:%M:%S UTC", &parts)
    return count > 0
        ? String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : "a time that is not known"
}

/// Milliseconds since 1970 as 2026-11-27T00:15:57Z.
package func isoTime(_ milliseconds: Int64) -> String { formatted(milliseconds, "%Y-%m-%dT%H:%M:%SZ", isLocal: false) }

/// The same with the milliseconds, as 2026-11-27T00:15:57.042Z.
package func isoMilliseconds(_ milliseconds: Int64) -> String {
    let rest = (milliseconds % 1000 + 1000) % 1000, digits = "\(1000 + rest)".dropFirst()
    return formatted(milliseconds - rest, "%Y-%m-%dT%H:%M:%S.\(digits)Z", isLocal: false)
}

/// 27 Nov 00:15, in the reader's time zone.
package func shortTime(_ milliseconds: Int64) -> String { formatted(milliseconds, "%e %b %Y %H:%M", isLocal: true) }

package func clockTime(_ milliseconds: Int64) -> String { formatted(milliseconds, "%H:%M:%S", isLocal: true) }

private func formatted(_ milliseconds: Int64, _ format: String, isLocal: Bool) -> String {
    // Times come from files: keep them within four-digit years.
    var seconds = time_t(max(-62_000_000_000, min(milliseconds / 1000, 253_000_000_000))), parts = tm()
    if isLocal { localtime_r(&seconds, &parts) } else { gmtime_r(&seconds, &parts) }
    var text = [CChar](repeating: 0, count: 64)
    let count = strftime(&text, text.count, format, &parts)
    return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
        .joined(separator: " ")
}
