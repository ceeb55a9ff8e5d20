// Work on several threads at once, for the one place where a stopped program waits for it.

import Glibc

/// Calls `body` on up to `count` threads, and returns when all calls have returned. The calling thread is one of them;
/// if the system refuses a thread, there are fewer calls. So `body` must claim its work from something shared.
func onThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var threads: [pthread_t] = []
    for _ in 1 ..< max(count, 1) {
        var thread = pthread_t()
        let work = Unmanaged.passRetained(Work(body))
        let isRefused = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, work.toOpaque())
        if isRefused == 0 {
            threads.append(thread)
        } else {
            work.release()
            break
        }
    }
    body()
    for thread in threads { pthread_join(thread, nil) }
}
