// The time as the kernel has it, whatever library stands before libc: see CKernel.

import CKernel
import Glibc

/// Nanoseconds of a clock: CLOCK_MONOTONIC, CLOCK_REALTIME (since 1970), CLOCK_BOOTTIME.
package func clockNanoseconds(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    guard kernel_clock(clock, &time) == 0 else { return 0 }
    return UInt64(max(0, time.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, time.tv_nsec))
}

/// `fstat(2)` with the file's own times; false where it fails, with errno.
package func readStatus(_ descriptor: CInt, _ status: inout stat) -> Bool {
    let result = kernel_fstat(descriptor, &status)
    if result < 0 { errno = CInt(truncatingIfNeeded: -result) }
    return result == 0
}
