// Clocks.

import Glibc
import Proc

/// Milliseconds since the machine's start, sleep included; and since 1970.
package func bootMilliseconds() -> Int64 { milliseconds(CLOCK_BOOTTIME) }
package func wallMilliseconds() -> Int64 { milliseconds(CLOCK_REALTIME) }

private func milliseconds(_ clock: clockid_t) -> Int64 {
    Int64(clockNanoseconds(clock) / 1_000_000)
}
