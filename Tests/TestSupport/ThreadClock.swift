// Processor time, for tests of how work grows: it stays the same where the machine has other work.

import Glibc

/// Measures what the calling thread has run on a processor.
package struct ThreadClock {
    package init() {}

    private var now: Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    package func measure(_ work: () throws -> Void) rethrows -> Duration {
        let before = now
        try work()
        return now - before
    }
}
