// A program that runs already, and what heaprun says when it comes and goes.

import Glibc
import HeapImage
import TestSupport

/// A program that is told what to do on standard input and answers line by line, until it ends or this value goes.
final class Attached {
    let scratch: Scratch
    let running: Running
    private let input: UnsafeMutablePointer<FILE>
    private var linesRead = 0
    private var isOver = false

    /// The program's process: the one that was started, or what `useChild` found.
    private(set) var pid: pid_t

    init(_ arguments: [String], variables: [String: String?] = [:], scratch: Scratch? = nil) throws {
        self.scratch = try scratch ?? Scratch()
        try self.scratch.prepare("rm -f in && mkfifo in")
        running = try self.scratch.start(arguments, variables: variables, input: self.scratch.file("in"))
        pid = running.pid
        guard let file = fopen(self.scratch.file("in"), "we") else { throw Failure("no standard input") }
        input = file
    }

    /// `churn` with so many threads, which run already: before, it is the loader's, and nobody can attach to it.
    static func churn(_ threads: Int) throws -> Attached {
        let program = try Attached([try Built.program("churn"), "\(threads)"])
        _ = try program.ask("epoch 1")
        return program
    }

    deinit {
        fclose(input)
        if !isOver {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
    }

    /// From here on the program is the only child of the process that was started.
    func useChild() throws { pid = try running.child() }

    func tell(_ line: String) {
        fputs(line + "\n", input)
        fflush(input)
    }

    private var hasEnded: Bool { pid == running.pid && running.hasEnded }

    /// Its next line.
    func answer() throws -> String {
        let wanted = linesRead, path = running.outputPath
        var line: String?, ended = false
        let came = try eventually(seconds: 60) {
            ended = hasEnded // asked first: its last line was written before
            let text = try contents(path)
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            if lines.count > wanted { line = String(lines[wanted]) }
            return line != nil || ended
        }
        guard came, let line else {
            throw Failure(
                "no line \(wanted + 1) after \(try contents(path)): \(try contents(running.messagesPath))"
                    + (ended ? " The program has ended." : ""))
        }
        linesRead += 1
        return line
    }

    /// Its next lines, before one that is `last`.
    func answers(until last: String) throws -> [Substring] {
        let wanted = linesRead, path = running.outputPath
        var found: ArraySlice<Substring> = []
        let came = try eventually(seconds: 60) {
            found = try contents(path).split(separator: "\n", omittingEmptySubsequences: false).dropLast()
                .dropFirst(wanted)
            return found.last == last[...]
        }
        guard came else { throw Failure("no line \(last) after \(found.count) others") }
        linesRead += found.count
        return Array(found.dropLast())
    }

    func ask(_ line: String) throws -> String {
        tell(line)
        return try answer()
    }

    /// Until each thread of `churn` has allocated at least 64 times from here on, blocks of this epoch. Between the two
    /// orders that it answers to, a thread runs its loop once.
    func churnOn(epoch: UInt64 = 1) throws {
        for _ in 0 ..< 2 { _ = try ask("epoch \(epoch)") }
    }

    func wait() throws -> Outcome {
        isOver = true
        return try running.wait()
    }

    /// heaprun, with the process's number behind the option.
    func heaprun(_ option: String, _ more: [String] = []) throws -> Outcome {
        try scratch.run(
            [Built.heaprun, option, String(pid)] + more, variables: ["HEAPSUM_LIBRARY": Built.interposer])
    }

    /// Attaches; the images go into "images".
    func attach(_ more: [String] = []) throws {
        let outcome = try heaprun("--pid", ["-o", "images"] + more)
        guard outcome.exitStatus == 0, outcome.messages.contains("stood still for") else {
            throw Failure("attach: \(outcome)")
        }
    }

    /// Detaches, and returns the image that is left.
    func detach() throws -> HeapImage {
        let outcome = try heaprun("--detach")
        guard outcome.exitStatus == 0, let range = outcome.messages.firstIndex(of: "/") else {
            throw Failure("detach: \(outcome)")
        }
        return try HeapImage(path: String(outcome.messages[range...].prefix { $0 != "\n" }))
    }
}

extension HeapImage {
    /// How many blocks of which sizes are live.
    func held(_ sizes: ClosedRange<UInt64>) -> (blocks: UInt64, bytes: UInt64) {
        var blocks: UInt64 = 0, bytes: UInt64 = 0
        forEachBlock { batch in
            for index in batch.indices where sizes.contains(batch[index].bytes) {
                blocks += 1
                bytes += batch[index].bytes
            }
        }
        return (blocks, bytes)
    }
}
