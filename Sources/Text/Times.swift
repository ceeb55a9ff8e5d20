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
