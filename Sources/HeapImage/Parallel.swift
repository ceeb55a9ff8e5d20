// Work on several threads at once, for the one place where a stopped program waits for it.

import Glibc
import Proc

/// Calls `body` on up to `count` threads, and returns when all calls have returned. The calling thread is one of them;
/// if the system refuses a thread, there are fewer calls. So `body` must claim its work from something shared.
func onThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    var threads: [pthread_t] = []
    for _ in 1 ..< max(count, 1) {
        guard let thread = startThread(body) else { break }
        threads.append(thread)
    }
    body()
    for thread in threads { pthread_join(thread, nil) }
}
