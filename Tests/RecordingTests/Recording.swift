// Runs a program under the library alone, without a launcher, and reads what it left: the shared ground of these tests.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import Symbols
import TestSupport

/// Whether the recorder holds its own invariants against what it does, in each of these tests: `make test` runs them
/// so, too.
let checksInvariants = getenv("HEAPSUM_TEST_CHECK") != nil

/// A recorded run: what came out of the program, and the images.
struct Recording {
    let scratch: Scratch
    var outcome: Outcome

    /// The images and dumps of a program, by file name.
    func images(of program: String) throws -> [(name: String, image: HeapImage)] {
        try names(of: program).map { name in
            let image = try HeapImage(path: "\(scratch.path)/\(name)")
            guard !image.hasFlag(HEAP_FLAG_BROKEN) else {
                throw Failure("\(name): one of the recorder's own checks failed")
            }
            return (name, image)
        }
    }

    func names(of program: String) throws -> [String] {
        try scratch.shell("ls").output.split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix("\(program).") && $0.hasSuffix(".heap") }.sorted()
    }

    /// The one image of a program that made no dumps.
    func image(of program: String) throws -> HeapImage {
        let found = try images(of: program)
        guard found.count == 1 else { throw Failure("\(program) left \(found.map(\.name)), not one image") }
        return found[0].image
    }
}

extension Scratch {
    /// Environment for a program to be recorded into this directory.
    func recordingVariables(_ more: [String: String?] = [:]) -> [String: String?] {
        ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": path, "HEAPSUM_CHECK": checksInvariants ? "1" : nil].merging(
            more
        ) { $1 }
    }

    /// Runs a program of Tests/Programs recorded.
    func recordProgram(
        _ name: String, _ arguments: [String] = [], variables: [String: String?] = [:]
    ) throws -> Recording {
        let outcome = try run([try Built.program(name)] + arguments, variables: recordingVariables(variables))
        return Recording(scratch: self, outcome: outcome)
    }
}

/// What one function's stacks hold, all of an image's rows in which it is the innermost frame of its module's own.
struct Holding: Equatable {
    var bytes: UInt64 = 0
    var blocks: UInt64 = 0
    var allocatedBlocks: UInt64 = 0
    var freedBlocks: UInt64 = 0
}

/// An image reduced, with the innermost function of each row by name.
final class Reduced {
    let reduction = Reduction()
    private var tables: [String: ModuleSymbols] = [:]

    init(_ image: HeapImage) throws { try reduction.add(image) }

    var totals: Totals { reduction.totals }

    /// The function of a frame, or nil where its module has no symbols.
    func function(_ frame: Frame) -> String? {
        guard reduction.modules.indices.contains(Int(frame.module)), reduction.modules[Int(frame.module)].isFile else {
            return nil
        }
        let module = reduction.modules[Int(frame.module)]
        let path = String(decoding: module.path, as: UTF8.self)
        if tables[path] == nil {
            tables[path] = try? ModuleSymbols(
                path: path, expectedBuildID: module.buildID.isEmpty ? nil : module.buildID)
        }
        return tables[path]?.name(at: frame.offset &- 1)?.name
    }

    func functions(_ row: Row) -> [String] { reduction.frames(of: row).map { function($0) ?? "?" } }

    /// What was allocated with `function` as the innermost frame, or anywhere in the stack.
    func holding(_ function: String, anywhere: Bool = false) -> Holding {
        var holding = Holding()
        for row in reduction.rows {
            let names = functions(row)
            guard anywhere ? names.contains(function) : names.first == function else { continue }
            holding.bytes += row.bytes
            holding.blocks += row.blocks
            holding.allocatedBlocks += row.history?.allocatedBlocks ?? 0
            holding.freedBlocks += row.history?.freedBlocks ?? 0
        }
        return holding
    }
}

/// The names in one of the lists of Interposer/hooks/interposed.h and base/operators.h, read as text; those of older
/// versions, which have more than a name, are left out.
func interposedNames(_ list: String? = nil) throws -> [String] {
    var names: [String] = []
    var current: Substring?
    let lists =
        try contents(Built.root + "/Interposer/hooks/interposed.h")
        + contents(Built.root + "/Interposer/base/operators.h")
    for line in lists.split(separator: "\n") {
        if line.hasPrefix("#define INTERPOSED_") {
            current = line.dropFirst("#define INTERPOSED_".count).prefix { $0 != "(" }
        }
        let text = line.drop { $0 == " " }
        guard text.hasPrefix("X("), let end = text.firstIndex(where: { $0 == ")" || $0 == "," }), text[end] == ")",
            list == nil || current.map(String.init) == list
        else { continue }
        names.append(String(text[text.index(text.startIndex, offsetBy: 2) ..< end]))
    }
    return names
}
