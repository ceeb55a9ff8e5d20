// A thread that traces, and ends: whatever it traces then, the kernel lets go. A thread that slept uninterruptibly for
// so long that nobody waits for its stop any more would otherwise stay stopped until the whole tool ends.

import Glibc

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
        if let thread = startThread(run) { pthread_join(thread, nil) } else { run() }
    }
    guard let result else { preconditionFailure("the body has run") }
    return try result.get()
}
