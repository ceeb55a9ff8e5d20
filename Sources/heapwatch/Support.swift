// What the commands share: messages and exit statuses.

import ArgumentParser
import Glibc
import Text
import Watch

/// Says something on stderr in the tool's name.
func say(_ text: String) { Text.say("heapwatch: " + text) }

extension ExitCode {
    /// Something grows, with --fail-on-growth.
    static let grows = ExitCode(1)
    static let badInput = ExitCode(2)
}

extension ColorChoice: ExpressibleByArgument {}

/// Runs code that reads a recording, and turns errors into a message and an exit status.
func reading(_ body: () throws -> Void) throws {
    do { try body() } catch let error as WatchError {
        say("\(error)")
        throw ExitCode.badInput
    } catch let error as OutputError {
        if !error.isClosedReader { say("\(error)") }
        throw ExitCode(unwritableStatus)
    }
}

/// The files of a recording, which no report may replace.
func recordingFiles(_ directory: String) -> [String] {
    ((try? segmentNames(in: directory)) ?? []).map { "\(directory)/\($0)" } + ["\(directory)/lock"]
}

func verdict(of directory: String) throws -> Verdict {
    var examination = Examination(directory: directory)
    return try examination.run()
}
