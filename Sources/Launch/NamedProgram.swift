// What an argument of a tool stands for, a file or a process. One rule for all commands: a file of that name wins, so a
// script that names files gets files, whatever processes there are. If both exist, a note says which was taken.

import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// An argument that names an image, or a recorded process by its number.
package struct NamedProgram {
    package let argument: String
    /// The process that is meant: the argument is a number, and no file has this name. It may not exist.
    package let processID: pid_t?
    /// Which was taken, if a file and a process have this name; for a message.
    package let note: String?

    package init(_ argument: String) {
        self.argument = argument
        guard let pid = pid_t(argument), pid > 0 else {
            (processID, note) = (nil, nil)
            return
        }
        let isFile = argument.withPath { access($0, F_OK) } == 0
        processID = isFile ? nil : pid
        note =
            isFile && (kill(pid, 0) == 0 || errno == EPERM)
            ? "\(argument): the file of this name is taken, not process \(pid)"
            : nil
    }

    /// The image: the process's running one, or the file.
    ///
    /// - Parameter patience: how long to wait for the image of a process that is just starting, in nanoseconds.
    /// - Throws: `LaunchError` if the process does not exist, is not recorded or may not be read; `InputError` if the
    ///   image can't be used.
    package func image(patience: UInt64 = 0) throws -> HeapImage {
        guard let processID else { return try HeapImage(path: argument) }
        let place = try findImage(of: processID, deadline: clockNanoseconds(CLOCK_MONOTONIC) + patience)
        do { return try HeapImage(place.source(of: processID), presence: .running) } catch let error as Errno {
            throw InputError(file: argument, what: "its image can't be read: \(error)")
        }
    }

    /// The process that writes an image; nil if it is not a running program's.
    package static func process(of image: HeapImage) -> pid_t? {
        guard image.kind == .running, image.presence == .running else { return nil }
        return Presence.find(
            processID: image.header.pid, startTime: image.header.start_time, bootID: image.bootID
        ).map { pid_t(bitPattern: $0) }
    }
}
