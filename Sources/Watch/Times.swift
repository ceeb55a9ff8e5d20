// Clocks, and times as text.

import Glibc
import Proc

/// Milliseconds since the machine's start, sleep included; and since 1970.
package func bootMilliseconds() -> Int64 { milliseconds(CLOCK_BOOTTIME) }
package func wallMilliseconds() -> Int64 { milliseconds(CLOCK_REALTIME) }

private func milliseconds(_ clock: clockid_t) -> Int64 {
    Int64(clockNanoseconds(clock) / 1_000_000)
}

/// 2026-11-27T00:15:57Z, of milliseconds since 1970.
package func isoTime(_ milliseconds: Int64) -> String { formatted(milliseconds, "%Y-%m-%dT%H:%M:%SZ", isLocal: false) }

/// 27 Nov 00:15, where the reader is.
package func shortTime(_ milliseconds: Int64) -> String { formatted(milliseconds, "%e %b %Y %H:%M", isLocal: true) }

package func clockTime(_ milliseconds: Int64) -> String { formatted(milliseconds, "%H:%M:%S", isLocal: true) }

private func formatted(_ milliseconds: Int64, _ format: String, isLocal: Bool) -> String {
    // Within what four-digit years hold: times come from files.
    var seconds = time_t(max(-62_000_000_000, min(milliseconds / 1000, 253_000_000_000))), parts = tm()
    if isLocal { localtime_r(&seconds, &parts) } else { gmtime_r(&seconds, &parts) }
    var text = [CChar](repeating: 0, count: 64)
    let count = strftime(&text, text.count, format, &parts)
    return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
        .joined(separator: " ")
}
