// Requests of recorded programs to heaprun (heapsum_leaks), through a socket in the run directory. A connection is a
// request, and the kernel tells which process connected.
//
// Invariant: no program waits forever: each connection gets an answer, or is closed when heaprun ends.

import CLaunch
import Glibc
import SystemPackage

/// The socket on which recorded programs ask for a verdict.
struct RequestSocket {
    /// What the library connects to (Interposer/process/request.c).
    static let name = "leaks"
    private let path: FilePath
    private let descriptor: CInt
    private let judge: (pid_t) -> Int32

    /// - Parameter judge: makes the verdict on a process, and the answer.
    /// - Returns: nil if no socket can be made: the path is too long, or the file system has none. Programs then find
    ///   no heaprun to ask.
    init?(in directory: FilePath, judge: @escaping (pid_t) -> Int32) {
        path = directory.appending(Self.name)
        self.judge = judge
        descriptor = path.withPlatformString { launch_listen($0) }
        if descriptor < 0 { return nil }
    }

    /// Answers all waiting requests. Takes as long as their verdicts.
    func serve() {
        var process: pid_t = 0
        while true {
            let connection = launch_accept(descriptor, &process)
            if connection < 0 { return }
            launch_answer(connection, process > 0 ? judge(process) : -1)
        }
    }

    /// Accepts no more requests.
    func close() {
        _ = path.withPlatformString { unlink($0) }
        Glibc.close(descriptor)
    }
}
