// heapdump: takes a dump of a running program from outside. It prints only the dumps' paths on stdout, one line for
// each process, when the file is complete.

import ArgumentParser
import Commands
import Glibc
import HeapImage
import Launch
import Leaks
import Proc
import Report
import Symbols
import Text

/// heapdump as a whole; it ends the process.
package func runHeapdump() -> Never { runTool(Heapdump.self) }

struct Heapdump: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapdump",
        abstract: "Takes dumps of the heaps of running programs, and prints the path of each when it is complete.",
        discussion: """
            No signal is sent and nothing is stopped: the image is read from outside, in any state of the program. \
            The dump is written to the directory of the program's images, as PROGRAM.PID.N.heap.

            With --leaks the dump contains a verdict on each block: lost, or held and by whom. For that the program \
            is stopped for 27 to 37 milliseconds per gigabyte. `heapsum leaks DUMP` shows the verdict, and `heapsum \
            diff` of two such dumps shows what became unreachable between them.

            Exit status: 0 done; 2 a process is not recorded, or may not be read; 64 wrong arguments.
            """,
        version: "heapdump \(version)")

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Seconds to wait for the image of a program that is still starting.", valueName: "s"))
    var timeout: Double = 5

    @Flag(help: "Find out which blocks are lost and who holds the others, and store that in the dump.")
    var leaks = false

    @Argument(help: ArgumentHelp("The programs' process IDs.", valueName: "pid"))
    var pids: [Int32]

    func validate() throws {
        // More than a day is a mistake, and so is NaN.
        guard (0 ... 86_400).contains(timeout) else { throw ValidationError("--timeout: from 0 to 86400 seconds.") }
        for pid in pids where pid < 1 { throw ValidationError("\(pid) is no process ID.") }
    }

    func run() throws {
        expectClosedReaders()
        let deadline = monotonicNanoseconds() + UInt64(timeout * 1_000_000_000)
        var status: Int32 = 0
        for pid in pids {
            do throws(LaunchError) {
                let dump = try takeDump(
                    of: pid, deadline: deadline, judging: leaks ? { try verdict(of: pid, $0) } : nil)
                for note in dump.notes { say("heapdump: \(note)") }
                if !writeData(dump.path.text) {
                    // The dump exists all the same, and its path is useful.
                    if errno != EPIPE {
                        say("heapdump: \(dump.path.text) is written, but stdout is not: \(errnoText(errno))")
                    }
                    status = unwritableStatus
                }
            } catch {
                say("heapdump: \(error.message)")
                status = error.exitStatus
            }
        }
        if status != 0 { throw ExitCode(status) }
    }

    private func verdict(of pid: Int32, _ image: HeapImage) throws -> VerdictToStore {
        var options = SnapshotOptions()
        options.keepsTicks = true
        let stored: VerdictToStore
        do {
            stored = try onOwnThread {
                let snapshot = try Snapshot.take(of: pid, image: image, options: options)
                defer { snapshot.finish() }
                return try judge(snapshot, image, symbolizer: Symbolizer(hasLines: false)).stored()
            }
        } catch let error as LeaksError {
            throw LaunchError.notRecorded(error.message)
        }
        if !stored.known.notRead.isEmpty {
            say("heapdump: \(pid): the verdict is not whole, so no block is called definite; heapsum leaks says why")
        }
        return stored
    }
}
