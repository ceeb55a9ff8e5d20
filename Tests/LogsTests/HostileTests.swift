// Logs that are cut and whose bytes are flipped, of every kind: nothing traps, nothing hangs, sums hold,
// and what one worker finds, three do.

import Glibc
import Reduce
import TestSupport
import Testing

@testable import Logs

@Suite struct HostileLogs {
    private static let names: [(String, LogKind)] = [
        ("slub-x86.txt", .slub), ("slub-arm.txt", .slub), ("slub-interleaved.txt", .slub), ("slub-mixed.txt", .slub),
        ("kmemleak.txt", .kmemleak),
        ("page_owner.txt", .pageOwner), ("page_owner_sorted.txt", .pageOwner),
        ("kmalloc-2k/alloc_traces", .allocTraces),
        ("allocinfo.txt", .allocinfo), ("dbx.txt", .dbx), ("bpftrace.txt", .bpftrace), ("slabinfo.txt", .slabinfo),
    ]

    private func bytes(_ name: String) throws -> [UInt8] { Array(try contents(fixture(name)).utf8) }

    /// Reduces in every way; a log of which nothing can be used throws, and that is all that may happen.
    private func survive(_ bytes: [UInt8], _ kind: LogKind, _ note: @autoclosure () -> String) throws {
        let file = try LogFile(bytes)
        var found: [[String: [UInt64]]] = []
        for workers in [1, 3] {
            do {
                let reduced = try reduce(file.path, kind, set: .all, workers: workers)
                found.append(reduced.rows)
            } catch let error as LogError {
                #expect(error.file == file.path)
                found.append([:])
            }
        }
        #expect(found[0] == found[1], "\(note())")
    }

    @Test func cutsAreSurvived() throws {
        for (name, kind) in Self.names {
            let whole = try bytes(name)
            for cut in stride(from: 0, through: whole.count, by: 13) {
                try survive(Array(whole[..<cut]), kind, "\(name) cut at \(cut)")
            }
        }
        let log = Array(RandomLog(seed: 2, sets: 2, records: 5).text.utf8)
        for cut in stride(from: 0, through: log.count, by: 7) { try survive(Array(log[..<cut]), .aix, "cut at \(cut)") }
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func flipsAreSurvived(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var logs = try Self.names.map { (try bytes($0.0), $0.1) }
        logs.append((Array(RandomLog(seed: seed, sets: 3, records: 8, extended: true).text.utf8), .aix))
        for (whole, kind) in logs {
            for round in 0 ..< 40 {
                var damaged = whole
                for _ in 0 ..< Int.random(in: 1 ... 12, using: &random) {
                    let place = Int.random(in: 0 ..< damaged.count, using: &random)
                    switch Int.random(in: 0 ..< 5, using: &random) {
                    case 0: damaged[place] ^= 1 << UInt8.random(in: 0 ..< 8, using: &random)
                    case 1: damaged[place] = 0x0A
                    case 2: damaged.remove(at: place)
                    case 3:
                        damaged.insert(
                            contentsOf: damaged[place ..< min(place + 50, damaged.count)],
                            at: Int.random(in: 0 ..< damaged.count, using: &random))
                    default:
                        damaged[place] =
                            [0, 0xFF, 0x20, 0x5B, 0x30, 0x78, 0x3A][Int.random(in: 0 ..< 7, using: &random)]
                    }
                    if damaged.isEmpty { break }
                }
                try survive(damaged, kind, "\(kind), seed \(seed), round \(round)")
            }
        }
    }

    /// Any text is read as any kind.
    @Test func everyKindReadsEveryText() throws {
        let texts =
            try Self.names.map { try bytes($0.0) } + [
                Array(RandomLog(seed: 1, records: 5).text.utf8), [0], [0x0A], Array(repeating: 0xFF, count: 5000),
                Array("0x".utf8),
            ]
        for text in texts { for kind in LogKind.allCases { try survive(text, kind, "\(kind)") } }
    }

    @Test func numbersAreCheckedForTheirSize() throws {
        let huge = try reduce(
            text: """
                Allocation #1: 0x10
                Allocation size: 0xFFFFFFFFFFFFFFFF
                Allocation traceback:
                0x1 f

                Allocation #99999999999999999999999: 0x10
                Allocation size: 0x1
                Allocation traceback:
                0x1 f

                Allocation #3: 0x10
                Allocation size: 0x10000000000000000
                Allocation traceback:
                0x1 f

                """, .aix)
        #expect(huge.reduction.totals.liveBlocks == 1 && huge.input.recordsLost == 2)
        let pages =
            "Page allocated via order 99, mask 0x0(), pid 1\nPFN 1\n f+0x1/0x2\n\n9 times, 99999999999999999 pages:\n "
            + "f+0x1/0x2\n\n"
        #expect(throws: LogError.self) { try reduce(text: pages, .pageOwner) }
        let more = try reduce(text: pages + "1 times, 1 pages:\n f+0x1/0x2\n\n", .pageOwner)
        #expect(more.reduction.totals.liveBlocks == 1 && more.input.recordsLost == 2)
    }

    /// A megabyte without a newline, of each kind's own words.
    @Test func linesWithoutAnEnd() throws {
        for (word, kind) in [
            ("Allocation #1: 0x", LogKind.aix), ("unreferenced object ", .kmemleak), ("TRACE ", .slub),
            ("0x1 1 0 ", .dbx), ("1 1 a.c:1 func:", .allocinfo), ("[<c1>] ", .pageOwner), ("ADDRESS ", .dbx),
            ("(age ", .kmemleak),
        ] {
            let text = String(repeating: word, count: 1_000_000 / word.utf8.count)
            try survive(Array(text.utf8), kind, word)
        }
        // One frame that goes on and on, with brackets that nothing closes.
        let brackets =
            "TRACE kmalloc-8 alloc 0x10 inuse=1\nCall Trace:\n f+0x1/0x2 " + String(repeating: "[a ", count: 1_000_000)
            + "\n"
        try survive(Array(brackets.utf8), .slub, "brackets")
    }
}
