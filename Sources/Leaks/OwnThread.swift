// A thread that traces, and ends: whatever it traces then, the kernel lets go. A thread that slept uninterruptibly for
// so long that nobody waits for its stop any more would otherwise stay stopped until the whole tool ends.

import Glibc

private final class Job {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

/// Runs `body` on a thread of its own, and waits for its end. If the system refuses a thread, it runs here. Signals
/// wait until then: one that ended this tool, taken by the thread that waits, would leave a clone behind.
package func onOwnThread<Value>(_ body: () throws -> Value) throws -> Value {
    var all = sigset_t(), before = sigset_t()
    sigfillset(&all)
    sigprocmask(SIG_BLOCK, &all, &before)
    defer { sigprocmask(SIG_SETMASK, &before, nil) }
    var result: Result<Value, any Error>?
    return try withoutActuallyEscaping({ result = Result { try body() } }) { run in
        let job = Unmanaged.passRetained(Job(run))
        var thread = pthread_t()
        let refused = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, job.toOpaque())
        if refused == 0 {
            pthread_join(thread, nil)
        } else {
            job.takeRetainedValue().body()
        }
        guard let result else { throw LeaksError("the thread for the verdict came to nothing") }
        return try result.get()
    }
}
