// heaprun --python: Python's functions among the C functions. Tests/Programs/mixed.py says for each of its blocks what
// Python itself calls its stack, so the oracle is CPython.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@Suite struct PythonTests {
    private struct PythonLine: Equatable, CustomStringConvertible {
        var name: String, file: String, line: Int?
        var description: String { "\(name) \(file):\(line ?? 0)" }
    }

    private struct Note {
        var bytes: UInt64, frames: [PythonLine]
    }

    /// The CPythons of this machine that can be read: Debian's, and others of the search path.
    static let interpreters: [String] = {
        let scratch = try? Scratch()
        var found = ["/usr/bin/python3"]
        for name in ["python3.11", "python3.12", "python3.13"] {
            let outcome = try? scratch?.shell(
                "\(name) -c 'import os, sys; print(os.path.realpath(sys.executable), *sys.version_info[:2])'")
            let words = (outcome?.output ?? "").split(whereSeparator: \.isWhitespace)
            if words.count == 3, "python3.\(words[2])" == name { found.append(String(words[0])) }
        }
        return found
    }()

    private func notes(_ output: String) throws -> [Note] {
        let list = try #require(JSONReader.read(Array(output.utf8)).array)
        return try list.map { entry in
            let parts = try #require(entry.array), frames = try #require(parts.last?.array)
            return Note(
                bytes: try #require(parts.first?.integer),
                frames: try frames.map { frame in
                    let parts = try #require(frame.array)
                    return PythonLine(
                        name: try #require(parts[0].string), file: try #require(parts[1].string),
                        line: parts[2].integer.map(Int.init))
                })
        }
    }

    private func python(_ frames: [Frame], _ reduction: Reduction) -> [PythonLine] {
        frames.compactMap { frame in
            guard reduction.isPython(frame), let own = reduction.logFrame(frame) else { return nil }
            return PythonLine(
                name: String(decoding: own.name, as: UTF8.self), file: String(decoding: own.file, as: UTF8.self),
                line: own.line.map(Int.init))
        }
    }

    private func record(
        _ interpreter: String, _ arguments: [String], _ variables: [String: String?] = [:], in scratch: Scratch
    ) throws -> (outcome: Outcome, image: HeapImage) {
        let outcome = try scratch.run(
            [interpreter] + arguments,
            variables: scratch.recordingVariables(["HEAPSUM_PYTHON": "1", "HEAPSUM_DEPTH": "512"]).merging(variables) {
                $1
            })
        let name = String(interpreter.split(separator: "/").last ?? "")
        let real = try scratch.shell("basename $(realpath \(interpreter))").output.filter { $0 != "\n" }
        let recording = Recording(scratch: scratch, outcome: outcome)
        return (outcome, try recording.image(of: recording.names(of: real).isEmpty ? name : real))
    }

    /// Each block of the program has the stack that Python says, and Python's loop is no frame of it.
    private func expectPythonsStacks(_ image: HeapImage, _ output: String) throws {
        let reduced = try Reduced(image)
        let reduction = reduced.reduction
        #expect(reduction.inputs.allSatisfy { !$0.damaged }, "\(image.damages)")
        #expect(image.header.python >> 24 == 3 && image.header.unmixed_stacks == 0)
        let notes = try notes(output)
        #expect(notes.count > 150)
        // The array's head is not in a note's size, but at most 64 bytes. Python itself may have a block as large.
        var rows: [UInt64: [Row]] = [:]
        reduction.forEachLiveBlock(passing: BlockFilter()) { (block, row, _, _) in
            if block.bytes >= 100_000 { rows[block.bytes / 1000, default: []].append(reduction.rows[row]) }
        }
        for note in notes {
            let found = (rows[note.bytes / 1000] ?? []).map { reduction.frames(of: $0) }
            guard let frames = found.first(where: { python($0, reduction) == note.frames }) else {
                Issue.record("of \(note.bytes) bytes: \(note.frames), not \(found.map { python($0, reduction) })")
                continue
            }
            #expect(!frames.contains { reduced.function($0) == "_PyEval_EvalFrameDefault" })
        }
    }

    @Test(arguments: interpreters) func eachBlockHasTheStackThatPythonSays(interpreter: String) throws {
        let scratch = try Scratch()
        let (outcome, image) = try record(interpreter, [Built.root + "/Tests/Programs/mixed.py"], in: scratch)
        #expect(outcome.exitStatus == 0 && outcome.messages.isEmpty, "\(outcome)")
        try expectPythonsStacks(image, outcome.output)
    }

    @Test(arguments: [
        ["PYTHONMALLOC": "malloc"], ["HEAPSUM_VERIFY": "1"], ["HEAPSUM_CHECK": "1"], ["HEAPSUM_THREADS": "1"],
        ["HEAPSUM_MAPPINGS": "1"],
    ]) func alsoWithOtherOptions(variables: [String: String?]) throws {
        let scratch = try Scratch()
        let (outcome, image) = try record(
            "/usr/bin/python3", [Built.root + "/Tests/Programs/mixed.py"], variables, in: scratch)
        #expect(outcome.exitStatus == 0 && outcome.messages.isEmpty, "\(outcome)")
        try expectPythonsStacks(image, outcome.output)
        if variables["HEAPSUM_VERIFY"] != nil {
            #expect(image.header.verified_stacks > 1000 && image.header.differing_stacks == 0)
            #expect(image.header.shorter_stacks == 0)
        }
    }

    /// A packed copy has the same frames; a redacted one the same but for the directories.
    @Test func copiesKeepTheFunctions() throws {
        let scratch = try Scratch()
        let (outcome, image) = try record("/usr/bin/python3", [Built.root + "/Tests/Programs/mixed.py"], in: scratch)
        func lines(_ image: HeapImage) throws -> Set<String> {
            let reduction = Reduction()
            try reduction.add(image)
            #expect(!image.damaged)
            return Set(
                reduction.rows.filter { $0.blocks > 0 }.map { row in
                    python(reduction.frames(of: row), reduction).map { line in
                        "\(line.name) \(line.file.split(separator: "/").last ?? "") \(line.line ?? 0)"
                    }.joined(separator: ";")
                })
        }
        let original = try lines(image)
        #expect(original.count > 60 && outcome.exitStatus == 0)
        _ = try image.pack(into: scratch.path) { "packed\($0).heap" }
        var redaction = PackOptions()
        redaction.isRedacted = true
        _ = try image.pack(into: scratch.path, options: redaction) { "redacted\($0).heap" }
        #expect(try lines(HeapImage(path: scratch.path + "/packed1.heap")) == original)
        let redacted = try HeapImage(path: scratch.path + "/redacted1.heap")
        #expect(try lines(redacted) == original)
        let reduction = Reduction()
        try reduction.add(redacted)
        for row in reduction.rows {
            #expect(!python(reduction.frames(of: row), reduction).contains { $0.file.contains("/") })
        }
    }

    /// Addresses differ from run to run, and keys don't. asyncio's loop goes another number of rounds each time.
    @Test func keysAreTheSameInEachRun() throws {
        let keys = try (0 ..< 2).map { _ in
            let scratch = try Scratch()
            let (outcome, image) = try record(
                "/usr/bin/python3", [Built.root + "/Tests/Programs/mixed.py"], in: scratch)
            #expect(outcome.exitStatus == 0)
            let reduction = Reduction()
            try reduction.add(image)
            let keys = reduction.stackKeys()
            return Set(
                reduction.rows.filter { row in
                    let lines = python(reduction.frames(of: row), reduction)
                    return row.bytes >= 100_000 && !lines.isEmpty && !lines.contains { $0.file.contains("asyncio") }
                }.map { keys[Int($0.node)] })
        }
        #expect(keys[0] == keys[1] && keys[0].count > 40, "\(keys[0].symmetricDifference(keys[1]).count)")
    }

    /// A program that isn't Python's, or not of a version that can be read, keeps its C stacks.
    @Test func otherProgramsAreAsBefore() throws {
        let scratch = try Scratch()
        let plain = try scratch.recordProgram("tags")
        let again = try Scratch()
        let asked = try again.recordProgram("tags", variables: ["HEAPSUM_PYTHON": "1"])
        let image = try asked.image(of: "tags")
        #expect(image.header.python == 0 && image.header.unmixed_stacks == 0)
        #expect(asked.outcome.output == plain.outcome.output)
        #expect(try Reduced(image).totals.liveBytes == Reduced(plain.image(of: "tags")).totals.liveBytes)
    }
}
