// What recorded programs ask of heaprun while they run (heapsum_leaks): a socket in the run directory. To connect is to
// ask, and the kernel tells who did. Its invariant is that nobody waits in vain: each connection gets an answer, or is
// closed with this process.

import CLaunch
import Glibc
import SystemPackage

/// Where recorded programs ask for a verdict.
struct RequestSocket {
    /// What the library connects to (Interposer/process/request.c).
    static let name = "leaks"
    private let path: FilePath
    private let descriptor: CInt
    private let judge: (pid_t) -> Int32

    /// - Parameter judge: makes the verdict on a process, and the answer.
    /// - Returns: nil where there can be no socket: a path that is too long, a file system that has none. Programs are
    ///   told then that nobody is there.
    init?(in directory: FilePath, judge: @escaping (pid_t) -> Int32) {
        path = directory.appending(Self.name)
        self.judge = judge
        descriptor = path.withPlatformString { launch_listen($0) }
        if descriptor < 0 { return nil }
    }

    /// Answers all that have asked. Takes as long as the verdicts do.
    func serve() {
        var process: pid_t = 0
        while true {
            let connection = launch_accept(descriptor, &process)
            if connection < 0 { return }
            launch_answer(connection, process > 0 ? judge(process) : -1)
        }
    }

    /// Nobody is listened to any more.
    func close() {
        _ = path.withPlatformString { unlink($0) }
        Glibc.close(descriptor)
    }
}
