// AIX logs, against awk doing the same reduction, and against what the generator knows.

import Glibc
import Reduce
import TestSupport
import Testing
import Text

@testable import Logs

/// A log of random records, and what it holds.
struct RandomLog {
    var text = ""
    /// Of each set: stack to bytes and blocks.
    var sets: [[String: [UInt64]]] = []

    init(
        seed: UInt64, sets count: Int = 1, records: Int, stacks: Int = 50, wide: Bool = false, extended: Bool = false,
        returns: String = "\n"
    ) {
        var random = SeededGenerator(seed: seed)
        let base: UInt64 = wide ? 0x0900_0000_0012_3450 : 0xD01C_A874
        let tracebacks = (0 ..< stacks).map { _ in
            (0 ..< Int.random(in: 0 ..< 14, using: &random)).map { _ -> (UInt64, String) in
                let number = UInt64.random(in: 0 ..< 30, using: &random)
                return (
                    base + number * 16,
                    number % 7 == 0
                        ? ""
                        : number % 5 == 0
                            ? "operator new(unsigned long, std::align_val_t) \(number)" : "function_\(number)"
                )
            }
        }
        for _ in 0 ..< count {
            var rows: [String: [UInt64]] = [:]
            text += "Current allocation report:\(returns)\(returns)"
            for number in 0 ..< records {
                let traceback = tracebacks[Int.random(in: 0 ..< stacks, using: &random)]
                let size = UInt64.random(in: 0 ..< 5000, using: &random)
                text +=
                    "Allocation #\(number): "
                    + "0x\(String(base + UInt64(number) * 64, radix: 16, uppercase: true))\(returns)"
                text +=
                    "Allocation size: 0x\(String(size, radix: 16, uppercase: true))\(returns)Allocated from heap: "
                    + "0\(returns)"
                if extended {
                    text +=
                        "Process ID: 4711\(returns)Thread ID: 0x1\(returns)Clock time: Sat Nov 21 10:00:00 "
                        + "2026\(returns)Sequence number: \(number)\(returns)A name nobody knows: 5\(returns)"
                }
                text += "Allocation traceback:\(returns)"
                for (address, name) in traceback {
                    text +=
                        "0x\(String(address, radix: 16, uppercase: true))\(name.isEmpty ? "" : " " + name)\(returns)"
                }
                text += returns
                let key = traceback.map {
                    $1.isEmpty
                        ? "0x\(String($0, radix: 16)) 0x\(String($0, radix: 16))" : "0x\(String($0, radix: 16)) \($1)"
                }.joined(separator: " < ")
                rows[key, default: [0, 0]][0] += size
                rows[key, default: [0, 0]][1] += 1
            }
            sets.append(rows)
        }
    }
}

@Suite struct AIXLogs {
    @Test(arguments: [1, 2, 3, 5]) func rowsAreWhatWasWritten(workers: Int) throws {
        // Some megabytes: many chunks, each cut somewhere else.
        let log = RandomLog(
            seed: UInt64(workers), records: 8000, stacks: 300, wide: workers % 2 == 0, extended: workers == 3,
            returns: workers == 5 ? "\r\n" : "\n")
        let file = try LogFile(log.text)
        #expect(log.text.utf8.count > 4 * ChunkReader.chunkBytes)
        let reduced = try reduce(file.path, .aix, workers: workers)
        #expect(reduced.rows == log.sets[0])
        #expect(reduced.input.damages.isEmpty && reduced.input.passedOver.isEmpty && reduced.input.recordsLost == 0)
        #expect(reduced.summary.byteCount == UInt64(log.text.utf8.count))
        #expect(LogKind(head: try head(file.path)) == .aix)
    }

    @Test func awkCountsTheSame() throws {
        let log = RandomLog(seed: 77, records: 5000)
        let scratch = try Scratch()
        try scratch.write("log", log.text)
        // Not ours: paragraphs, fields, and sums by the traceback's text.
        try scratch.write(
            "reduce.awk",
            """
            BEGIN { RS = ""; FS = "\\n" }
            /^Allocation #/ {
                key = ""
                for (i = 5; i <= NF; i++) key = key $i "|"
                split($2, size, ": 0x"); bytes[key] += value(size[2]); blocks[key]++
            }
            function value(text,  i, sum) {
                sum = 0
                for (i = 1; i <= length(text); i++) sum = sum * 16 + index("0123456789ABCDEF", substr(text, i, 1)) - 1
                return sum
            }
            END { for (key in bytes) printf "%d %d\\n", bytes[key], blocks[key] }
            """)
        let counted = try scratch.shell("awk -f reduce.awk log | sort").output.split(separator: "\n").map(String.init)
        let reduced = try reduce(scratch.path + "/log", .aix)
        #expect(reduced.reduction.rows.map { "\($0.bytes) \($0.blocks)" }.sorted() == counted)
    }

    /// Rows come in one order, however many workers there are.
    @Test func theOrderIsThatOfTheLog() throws {
        let file = try LogFile(RandomLog(seed: 5, records: 6000, stacks: 500).text)
        func order(_ workers: Int) throws -> [[UInt64]] {
            let reduction = try reduce(file.path, .aix, workers: workers).reduction
            return reduction.rows.map { [$0.bytes, $0.blocks] }
        }
        let alone = try order(1)
        for workers in [2, 3, 4] { #expect(try order(workers) == alone) }
    }

    @Test func setsAreReducedEachAlone() throws {
        let log = RandomLog(seed: 9, sets: 5, records: 1500)
        let file = try LogFile(log.text)
        for workers in [1, 3] {
            #expect(try reduce(file.path, .aix, workers: workers).rows == log.sets[4])
            for number in 1 ... 5 {
                #expect(
                    try reduce(file.path, .aix, set: .number(number), workers: workers).rows == log.sets[number - 1])
            }
            let all = try reduce(file.path, .aix, set: .all, workers: workers)
            #expect(all.rows == log.sets.reduce(into: [:]) { $0.merge($1) { [$0[0] + $1[0], $0[1] + $1[1]] } })
            #expect(all.summary.sets == 5 && all.input.sets == 5 && all.summary.leftOut == nil)
        }
        let none = try reduce(file.path, .aix, set: .number(6))
        #expect(none.reduction.inputs.isEmpty && none.summary.leftOut == "it has 5 sets and no set 6")
        #expect(try reduce(file.path, .aix).summary.leftOut == "4 of its 5 sets: the last is newer")
    }

    /// The writer of the second set ended in the middle, and the third follows on the same line.
    @Test func aSetThatIsCutOffCountsAsFarAsItGoes() throws {
        let log = RandomLog(seed: 21, sets: 3, records: 40)
        let parts = log.text.components(separatedBy: "Current allocation report:")
        for cut in stride(from: 1, to: parts[2].utf8.count, by: 37) {
            let text =
                "Current allocation report:" + parts[1] + "Current allocation report:" + String(parts[2].prefix(cut))
                + "Current allocation report:" + parts[3]
            let file = try LogFile(text)
            #expect(try reduce(file.path, .aix, set: .number(1)).rows == log.sets[0])
            #expect(try reduce(file.path, .aix).rows == log.sets[2])
            let begun = String(parts[2].prefix(cut)).components(separatedBy: "Allocation #").count - 1
            guard let second = try? reduce(file.path, .aix, set: .number(2)) else {
                // Its only record is cut off: nothing of the set could be read.
                #expect(begun <= 1)
                continue
            }
            #expect(Int(second.reduction.totals.liveBlocks) + Int(second.input.recordsLost) >= begun - 1)
            #expect(Int(second.reduction.totals.liveBlocks) + Int(second.input.recordsLost) <= begun)
        }
    }

    /// Every record that begins in a log that is cut anywhere is counted, or said to be lost.
    @Test func everyCutIsAccountedFor() throws {
        let log = RandomLog(seed: 4, records: 6)
        let bytes = Array(log.text.utf8)
        for cut in 30 ... bytes.count {
            let text = String(decoding: bytes[..<cut], as: UTF8.self)
            let begun = text.components(separatedBy: "Allocation #").count - 1
            guard let reduced = try? reduce(text: text, .aix) else {
                // Words of a log with no record that can be read are never "nothing live".
                #expect(begun <= 1, "cut at \(cut)")
                continue
            }
            #expect(Int(reduced.reduction.totals.liveBlocks) + Int(reduced.input.recordsLost) == begun, "cut at \(cut)")
            // Nothing is made up: a size that may have lost digits doesn't count.
            #expect(reduced.reduction.totals.liveBytes <= log.sets[0].values.reduce(0) { $0 + $1[0] })
            if cut < bytes.count - 1 && begun > 0 && !text.hasSuffix("\n") {
                #expect(!reduced.input.damages.isEmpty || !reduced.input.passedOver.isEmpty, "cut at \(cut)")
            }
        }
    }

    @Test func aLogWithoutItsHeadIsASet() throws {
        let log = RandomLog(seed: 31, sets: 2, records: 20)
        guard let start = log.text.range(of: "Allocation #4") else { return }
        let reduced = try reduce(text: String(log.text[start.lowerBound...]), .aix, set: .number(2))
        #expect(reduced.rows == log.sets[1] && reduced.summary.sets == 2)
    }

    @Test func otherLinesAreCountedAndSaid() throws {
        let reduced = try reduce(
            text: """
                server: starting
                Current allocation report:

                Allocation #1: 0x10
                Allocation size: 0x4
                gibberish
                Allocated from heap: 0
                Allocation traceback:
                0xD01CA874 malloc
                0x12QQ main

                server: a line between
                Allocation #2: 0xZZ
                Allocation size: 0x4
                Allocation #3: 0x20
                Allocation size: 0x8

                """, .aix)
        #expect(reduced.rows == ["0xd01ca874 malloc < … frames missing …": [4, 1], "… frames missing …": [8, 1]])
        #expect(reduced.input.recordsLost == 1)
        #expect(Set(reduced.input.damages.map(\.what)) == Set([LogNote.badRecord, .badFrame, .cutRecord].map(\.text)))
        #expect(
            reduced.input.passedOver.contains { $0.what == LogNote.outside.text && $0.count == 2 && $0.offset == 0 })
        #expect(reduced.input.passedOver.contains { $0.what == LogNote.notUnderstood.text && $0.count == 1 })
    }

    @Test func nothingLiveIsNoError() throws {
        let reduced = try reduce(text: "Current allocation report:\n\n", .aix)
        #expect(reduced.reduction.totals.liveBlocks == 0 && reduced.input.damages.isEmpty)
        #expect(throws: LogError.self) { try reduce(text: "nothing of the kind\n", .aix) }
        #expect(throws: LogError.self) { try reduce(text: "", .aix) }
    }

    /// A record without end: cut, said, and read in no more memory than the longest record has.
    @Test func aRecordCanBeTooLong() throws {
        var bytes = Array(
            "Current allocation report:\n\nAllocation #1: 0x10\nAllocation size: 0x4\nAllocation traceback:\n".utf8)
        let line = Array("0xD01CA874 malloc\n".utf8)
        while bytes.count < longestRecordBytes + 100_000 { bytes += line }
        bytes += Array("\nAllocation #2: 0x10\nAllocation size: 0x6\nAllocation traceback:\n0xD01CA874 malloc\n\n".utf8)
        let file = try LogFile(bytes)
        let reduced = try reduce(file.path, .aix)
        #expect(reduced.reduction.totals.liveBytes == 10 && reduced.reduction.totals.liveBlocks == 2)
        #expect(reduced.input.damages.contains { $0.what == LogNote.longStack.text })
        #expect(reduced.input.damages.contains { $0.what == LogNote.longRecord.text })
    }
}

extension String {
    // Foundation's, without it.
    fileprivate func components(separatedBy separator: String) -> [String] {
        var parts: [String] = [], rest = self[...]
        while let found = rest.firstRange(of: separator) {
            parts.append(String(rest[..<found.lowerBound]))
            rest = rest[found.upperBound...]
        }
        return parts + [String(rest)]
    }
    fileprivate func range(of text: String) -> Range<String.Index>? { firstRange(of: text) }
}

@Suite struct LastSets {
    /// Where the last set begins is looked up from behind; a pipe is read from the front. Both say the same, however
    /// long sets are.
    @Test func theLastSetIsFoundFromBehind() throws {
        var random = SeededGenerator(seed: 7)
        for lengths in [[1, 1, 1], [9000, 3, 1], [10, 9000], [4000, 4000, 4000], [1, 12000, 5000], [9000]] {
            var text = "Heap of a program\n", expected: UInt64 = 0
            for count in lengths {
                expected = 0
                text += "Current allocation report:\n\n"
                for number in 0 ..< count {
                    let size = UInt64.random(in: 1 ... 900, using: &random)
                    expected += size
                    text +=
                        "Allocation #\(number): 0x3060\nAllocation size: 0x\(String(size, radix: 16))\nAllocation "
                        + "traceback:\n0xD01CA874 malloc\n0x10\(number % 97) f_\(number % 97)\n\n"
                }
            }
            let scratch = try Scratch()
            try write(Array(text.utf8), to: scratch.path + "/log")
            for workers in [1, 2, 5] {
                let file = try reduce(scratch.path + "/log", .aix, workers: workers)
                #expect(file.reduction.totals.liveBytes == expected && file.summary.sets == lengths.count)
                #expect(file.input.passedOver.map(\.count) == [1])
            }
            #expect(try scratch.shell("gzip -k log").exitStatus == 0)
            let packed = try reduce(scratch.path + "/log.gz", .aix)
            #expect(packed.reduction.totals.liveBytes == expected && packed.summary.sets == lengths.count)
            let first = try reduce(scratch.path + "/log", .aix, set: .number(1))
            #expect(first.reduction.totals.liveBlocks == UInt64(lengths[0]))
        }
    }
}
