// A thread that does one piece of work. Foundation's Thread stays out of the tools.

import Glibc

private final class Work {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

/// Starts a thread that calls `body` and ends. Nil if the system refuses a thread: then `body` is not called. The
/// caller must join the thread.
package func startThread(_ body: @escaping () -> Void) -> pthread_t? {
    var thread = pthread_t()
    let work = Unmanaged.passRetained(Work(body))
    let error = pthread_create(
        &thread, nil,
        { argument in
            if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body() }
            return nil
        }, work.toOpaque())
    guard error == 0 else {
        work.release()
        return nil
    }
    return thread
}
