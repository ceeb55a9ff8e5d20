// The kernel's time, read without libc, so that a preloaded library can't change it: see CKernel.

import CKernel
import Glibc

/// A clock's nanoseconds: CLOCK_MONOTONIC, CLOCK_REALTIME (since 1970) or CLOCK_BOOTTIME.
package func clockNanoseconds(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    guard kernel_clock(clock, &time) == 0 else { return 0 }
    return UInt64(max(0, time.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, time.tv_nsec))
}

/// `fstat(2)` with the kernel's times; false on failure, with errno.
package func readStatus(_ descriptor: CInt, _ status: inout stat) -> Bool {
    let result = kernel_fstat(descriptor, &status)
    if result < 0 { errno = CInt(truncatingIfNeeded: -result) }
    return result == 0
}
