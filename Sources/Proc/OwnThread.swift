// A thread that traces, and ends: whatever it traces then, the kernel lets go. A thread that slept uninterruptibly for
// so long that nobody waits for its stop any more would otherwise stay stopped until the whole tool ends.

import Glibc

private final class Job {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

/// Runs `body` on a thread of its own, and waits for its end. If the system refuses a thread, it runs here. Signals go
/// to that thread, which knows when none may come; the thread that waits takes none.
package func onOwnThread<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
    var all = sigset_t(), before = sigset_t()
    sigfillset(&all)
    sigprocmask(SIG_BLOCK, &all, &before)
    defer { sigprocmask(SIG_SETMASK, &before, nil) }
    let mask = before
    var result: Result<Value, Failure>?
    withoutActuallyEscaping({ () -> Void in
        var mask = mask
        sigprocmask(SIG_SETMASK, &mask, nil)
        result = Result(catching: body)
    }) { run in
        let job = Unmanaged.passRetained(Job(run))
        var thread = pthread_t()
        let refused = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, job.toOpaque())
        if refused == 0 { pthread_join(thread, nil) } else { job.release() }
    }
    return try (result ?? Result(catching: body)).get()
}
