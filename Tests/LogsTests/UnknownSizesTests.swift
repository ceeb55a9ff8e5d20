// Sizes that a log doesn't tell are "not known" in each format, or left out, and never 0.

import Glibc
import TestSupport
import Testing

@testable import Logs

@Suite struct UnknownSizes {
    private let scratch: Scratch
    private let heapsum = "\(Built.products)/heapsum"

    /// 51 and 3 objects of a cache whose size nobody knows; and 2 of one of 128 bytes, in mixed.txt.
    init() throws {
        scratch = try Scratch()
        let unknown =
            "     51 alloc_pid+0x54/0x390 age=1/2/3 pid=2\n        alloc_pid+0x54/0x390\n        "
            + "copy_process+0xf66/0x1ae0\n\n"
            + "      3 alloc_pid+0x54/0x390 age=1/2/3 pid=2\n        alloc_pid+0x54/0x390\n        "
            + "sys_clone+0xf66/0x1ae0\n\n"
        let known =
            "==> kmalloc-128/alloc_traces <==\n      2 f+0x1/0x2 age=1/2/3 pid=2\n        f+0x1/0x2\n        "
            + "sys_clone+0xf66/0x1ae0\n"
        try write(Array(unknown.utf8), to: scratch.path + "/unknown.txt")
        try write(Array((unknown + known).utf8), to: scratch.path + "/mixed.txt")
    }

    private func output(_ options: String) throws -> String {
        try scratch.shell("'\(heapsum)' \(options) 2>messages").output
    }

    @Test func trees() throws {
        let lines = try output("--tree unknown.txt").split(separator: "\n").map {
            $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
        }
        #expect(lines.contains("not known - 51 copy_process") && lines.contains("not known - 3 sys_clone"), "\(lines)")
        let mixed = try output("--tree mixed.txt").split(separator: "\n").map {
            $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
        }
        // What is not known is no small call.
        #expect(
            mixed.contains { $0.hasPrefix("at least 256 - 5 sys_clone") }
                && mixed.contains { $0.hasPrefix("not known - 51 copy_process") }, "\(mixed)")
        #expect(mixed.contains { $0.hasSuffix(" 2 ├─ f") || $0.hasSuffix(" 2 └─ f") }, "\(mixed)")
        #expect(!(lines + mixed).contains { $0.hasPrefix("0 ") })
    }

    /// These have one number a stack.
    @Test(arguments: ["folded", "speedscope", "callgrind"]) func formatsOfOneQuantity(format: String) throws {
        let outcome = try scratch.shell("'\(heapsum)' --format \(format) unknown.txt")
        #expect(
            outcome.exitStatus == 64 && outcome.output.isEmpty && outcome.messages.contains("--cache NAME")
                && outcome.messages.contains("--sort blocks"), "\(outcome)")
        #expect(try scratch.shell("'\(heapsum)' --format \(format) --sort blocks unknown.txt").exitStatus == 0)
        #expect(try scratch.shell("'\(heapsum)' --format \(format) --cache pid=128 unknown.txt").exitStatus == 0)
    }

    @Test func folded() throws {
        #expect(
            try output("--format folded --sort blocks unknown.txt")
                == "copy_process;alloc_pid 51\nsys_clone;alloc_pid 3\n")
        #expect(try output("--format folded mixed.txt") == "sys_clone;f 256\n")
        #expect(try contents(scratch.path + "/messages").contains("their bytes are not known"))
    }

    /// No type of bytes where none is known; a label where some are.
    @Test func pprof() throws {
        for (name, types) in [("unknown", ["inuse_objects"]), ("mixed", ["inuse_objects", "inuse_space"])] {
            _ = try output("--format pprof -o \(name).pb.gz \(name).txt")
            let raw = try scratch.shell("gzip -dc \(name).pb.gz | strings -n 4").output
            for type in ["inuse_objects", "inuse_space"] {
                #expect(raw.contains(type) == types.contains(type), "\(name): \(raw)")
            }
            #expect(raw.contains("not known"))
        }
        // Read again they are what they were.
        let again = try output("--format json unknown.pb.gz")
        #expect(again.contains("\"liveBytes\":null") && again.contains("\"liveBlocks\":54"), "\(again.prefix(600))")
    }

    @Test func pages() throws {
        let page = try output("--format html unknown.txt")
        #expect(
            page.contains("\"blocksOfUnknownSize\":54") && page.contains("\"blocksOfUnknownSize\":["),
            "the page knows which")
        #expect(!(try output("--format html --cache pid=128 unknown.txt")).contains("\"blocksOfUnknownSize\":"))
    }

    @Test func growth() throws {
        try write(
            Array(
                ("     60 alloc_pid+0x54/0x390 age=1/2/3 pid=2\n        alloc_pid+0x54/0x390\n        "
                    + "copy_process+0xf66/0x1ae0\n\n")
                    .utf8), to: scratch.path + "/later.txt")
        let lines = try output("diff unknown.txt later.txt").split(separator: "\n").map {
            $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
        }
        #expect(
            lines.contains("bytes not known") && lines.contains("blocks 54 → 60 +6")
                && lines.contains("not known not known 60 +9"), "\(lines)")
        let mixed = try output("diff unknown.txt mixed.txt").split(separator: "\n")
        #expect(
            mixed.contains { $0.hasSuffix("of the blocks whose size is known") && $0.contains("0 → 256") }, "\(mixed)")
    }
}
