// The corpus of the fuzz targets, and real images with their bytes flipped and cut, read by a process
// of its own under limits that the kernel keeps: a second of processor time for each input, and memory
// by the input's size. A fault ends that process with a signal, and its last line names the input.

import FuzzSurface
import Glibc
import TestSupport
import Testing

@Suite struct FuzzTests {
    private static let corpus = Built.root + "/Tests/FuzzTests/Corpus"

    /// Reads files by the fuzz program; its last lines are the test's comment.
    private func read(_ surface: Surface, _ arguments: [String], _ scratch: Scratch) throws {
        let outcome = try scratch.run([Built.products + "/fuzz", surface.rawValue] + arguments)
        let end = outcome.output.split(separator: "\n").suffix(2).joined(separator: "\n")
        #expect(outcome.exitStatus == 0, "\(end)\n\(outcome.messages.prefix(2000))")
        #expect(end.contains("read "), "\(end)")
    }

    @Test(arguments: Surface.allCases) func everyFileOfTheCorpusIsReadWithinItsLimits(_ surface: Surface) throws {
        let scratch = try Scratch()
        let files = try scratch.shell("ls '\(Self.corpus)/\(surface.rawValue)'").output.split(separator: "\n")
        #expect(files.count >= 4)
        try read(surface, files.map { "\(Self.corpus)/\(surface.rawValue)/\($0)" }, scratch)
    }

    @Test(arguments: Surface.allCases) func damagedFilesOfTheCorpusAreReadWithinTheirLimits(_ surface: Surface) throws {
        let scratch = try Scratch()
        let files = try scratch.shell("ls '\(Self.corpus)/\(surface.rawValue)'").output.split(separator: "\n")
        try read(
            surface, ["--seed", "11", "--rounds", "25"] + files.map { "\(Self.corpus)/\(surface.rawValue)/\($0)" },
            scratch)
    }

    @Test func realImagesWithFlippedAndCutBytesAreReadWithinTheirLimits() throws {
        let scratch = try Scratch()
        // Of a program that was killed: a running image, with its rings and marks as they stood.
        let program = "@kept = map { 'x' x ($_ * 7) } 1 .. 400; system 'kill -USR2 ' . $$; kill KILL => $$"
        let outcome = try scratch.run(
            ["perl", "-e", program],
            variables: [
                "LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path, "HEAPSUM_SIGNAL": "USR2",
                "HEAPSUM_DEPTH": "12", "HEAPSUM_ONLY": "perl",
            ])
        #expect(outcome.exitStatus == 137)
        let images = try scratch.shell("ls *.heap").output.split(separator: "\n").map { "\(scratch.path)/\($0)" }
        let dump = try #require(images.first { $0.hasSuffix(".1.heap") }),
            running = try #require(images.first { !$0.hasSuffix(".1.heap") })
        try write(compactImage(running), to: "\(scratch.path)/running")
        try read(.image, ["--seed", "1", "--rounds", "60", dump], scratch)
        try read(.image, ["--seed", "2", "--rounds", "60", "\(scratch.path)/running"], scratch)
    }

    @Test func aFaultIsNoticed() throws {
        let scratch = try Scratch()
        // The limits are real: a process that reads nothing else is ended by them.
        let fuzz = Built.products + "/fuzz"
        let outcome = try scratch.run([fuzz, "image", "--check-limits", "memory", "x"])
        #expect(outcome.waitStatus & 0x7F != 0, "\(outcome)")
        let slow = try scratch.run([fuzz, "image", "--check-limits", "time", "x"])
        #expect(slow.waitStatus & 0x7F == SIGPROF, "\(slow)")
    }
}
