// Runs other programs and waits for them.

import Glibc
import SystemPackage
import Text

/// Runs a program found in PATH, with our descriptors and environment, to its end.
///
/// - Returns: its exit status, or 128 and the signal's number.
/// - Throws: why it could not be started.
package func runChild(_ words: [String]) throws(Errno) -> Int32 {
    let arguments = words.map { strdup($0.pathCString) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var pid: pid_t = 0, status: Int32 = 0
    let error = posix_spawnp(&pid, words[0], nil, nil, arguments, environ)
    guard error == 0 else { throw Errno(rawValue: error) }
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
}
