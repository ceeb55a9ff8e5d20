// The failures of starting a program or taking an image, each with the tools' exit status. A message has the reason
// and, if there is one, the way out. It is one line of text, without the tool's name, which the executables add.

import SystemPackage

/// A failure that ends heaprun or heapdump, with its exit status.
package struct LaunchError: Error, Equatable, CustomStringConvertible {
    /// The tool's exit status: heaprun's 125, 126 and 127, heapdump's 2.
    package let exitStatus: Int32
    package let message: String

    package var description: String { message }

    /// heaprun's own failure (125): options, directories, programs that can't be recorded.
    package static func own(_ message: String) -> LaunchError { LaunchError(exitStatus: 125, message: message) }
    /// The program exists and can't be executed (126), as in a shell.
    package static func notExecutable(_ message: String) -> LaunchError {
        LaunchError(exitStatus: 126, message: message)
    }
    /// The program doesn't exist (127), as in a shell.
    package static func notFound(_ message: String) -> LaunchError { LaunchError(exitStatus: 127, message: message) }
    /// A process without an image that can be read (2).
    package static func notRecorded(_ message: String) -> LaunchError { LaunchError(exitStatus: 2, message: message) }
}

/// The text of an errno, as from `strerror`.
package func errnoText(_ number: Int32) -> String { Errno(rawValue: number).description }
