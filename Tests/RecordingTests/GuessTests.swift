// What can't be known of a program, and what it forbids itself: code without call frame information, seccomp filters.

import CHeapImage
import HeapImage
import TestSupport
import Testing

@Suite struct FilterTests {
    /// System calls that a running program can do without, and an image or a dump can't: openat, ftruncate, sysinfo,
    /// prlimit64, getppid; renameat2, pwrite64, unlinkat, close. And those that a look at a program before it is
    /// started asks for.
    @Test(arguments: [
        ("fork", [257, 77, 99, 302, 110]), ("grow", [257, 316, 18, 263, 302, 3]),
        // pread64, openat, newfstatat, readlinkat, faccessat2, futex; what recording can't do without, forbidden before
        // a child's first allocation; strict mode
        ("start", [17, 257, 262, 267, 439, 202]), ("child", [28, 27, 39, 186, 131]), ("strict", [0]),
    ]) func aFilterDoesNotEndTheProgramForOurs(how: String, numbers: [Int]) throws {
        #if arch(x86_64)
            let scratch = try Scratch()
            try scratch.compile("filtered.c", as: "filtered")
            for number in numbers {
                let (plain, recording) = try scratch.runBothWays(
                    "./filtered \(how) \(number)", variables: ["HEAPSUM_DUMP_AT_GROWTH": "1000000"])
                #expect(
                    plain.output == ["grow": "grown\n", "start": "on we go\n"][how, default: "ended\n"],
                    "\(number): \(plain)")
                #expect(recording.outcome == plain, "\(number): \(recording.outcome)")
            }
        #endif
    }

    @Test func pointersThatLeadNowhereAreTheKernelsToAnswer() throws {
        let scratch = try Scratch()
        try scratch.compile("filtered.c", as: "filtered")
        let (plain, recording) = try scratch.runBothWays("./filtered pointers")
        #expect(plain.output == "-1 1, -1 1, -1\n" && recording.outcome == plain, "\(plain) \(recording.outcome)")
    }
}

@Suite struct GuessTests {
    /// The program lies in `scratch`, which its names are read from.
    private func record(_ arguments: String, _ flags: String, _ scratch: Scratch) throws -> Reduced {
        try scratch.compile("guesses.c", as: "guesses", flags)
        let (plain, recording) = try scratch.runBothWays("./guesses \(arguments)")
        #expect(plain.exitStatus == 0 && recording.outcome == plain)
        return try Reduced(try recording.image(of: "guesses"))
    }

    private static let withFramePointers = "-fno-omit-frame-pointer"

    /// AArch64 has none.
    #if arch(x86_64)
        private static let withoutRedZone = "-mno-red-zone"
    #else
        private static let withoutRedZone = ""
    #endif

    @Test func numbersAreNoReturnAddresses() throws {
        let scratch = try Scratch()
        let reduced = try record(
            "",
            "-DNUMBERS \(Self.withoutRedZone) -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables",
            scratch)
        let rows = reduced.reduction.rows.filter { reduced.functions($0).first == "leave" }
        #expect(rows.count == 1 && rows.first?.bytes == 100_000, "\(rows.map { reduced.functions($0) })")
    }

    @Test func aCallerIsNotPassedOver() throws {
        let scratch = try Scratch()
        let reduced = try record("past", Self.withFramePointers, scratch)
        for row in reduced.reduction.rows where reduced.functions(row).first == "leave" {
            let names = reduced.functions(row)
            // Its own caller, or none: never the caller's caller.
            #expect(names.count < 2 || names[1] == "past", "\(names)")
            #expect(names.count < 3 || names[2] == "middle" || names[2] == "?", "\(names)")
        }
        #expect(reduced.holding("leave").bytes == 400)
    }

    @Test func aCompiledFunctionsCallerIsNotPassedOver() throws {
        #if arch(x86_64)
            let scratch = try Scratch()
            try scratch.compile("compiled.c", as: "compiled", Self.withFramePointers)
            let (plain, recording) = try scratch.runBothWays("./compiled")
            #expect(plain.output == "run\n" && recording.outcome == plain)
            let reduced = try Reduced(try recording.image(of: "compiled"))
            for row in reduced.reduction.rows where reduced.functions(row).first == "leave" {
                let names = reduced.functions(row)
                if row.bytes == 500 {
                    #expect(Array(names.dropFirst(2).prefix(3)) == ["middle", "outer", "main"], "\(names)")
                } else {
                    #expect(names.count < 3 || names[2] == "middle" || names[2] == "?", "\(names)")
                } // its own caller, or none
            }
            #expect(reduced.holding("leave").bytes == 900)
        #endif
    }

    @Test func aRightGuessIsKept() throws {
        let scratch = try Scratch()
        let reduced = try record("framed", Self.withFramePointers, scratch)
        let row = try #require(reduced.reduction.rows.first { reduced.functions($0).first == "leave" })
        #expect(
            Array(reduced.functions(row).prefix(5)) == ["leave", "framed", "middle", "outer", "main"],
            "\(reduced.functions(row))")
    }
}
