// A core file beside the image of the same process says what a verdict on the running program says.

import Glibc
import HeapImage
import Leaks
import TestSupport
import Testing

@Suite struct CoreTests {
    @Test(arguments: ["cases", "graphs", "inside", "cache"]) func aCoreSaysWhatTheProgramWouldHave(name: String) throws
    {
        let watched = try Watched([try leaksProgram(name)])
        let living = try watched.rows()
        try watched.scratch.prepare("gcore -o core \(watched.pid) >/dev/null 2>&1")
        _ = try watched.end()
        let outcome = try watched.scratch.shell(
            "'\(Built.products)/heapsum' leaks --core core.\(watched.pid) --verdict all --format csv images/*.heap")
        #expect(outcome.exitStatus == 0, "\(outcome)")
        for verdict in ["definite", "indirect", "possible", "reachable"] {
            let sum = outcome.output.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("\(verdict),") }.reduce([
                0, 0,
            ]) { sum, line in
                let cells = line.split(separator: ",")
                return [sum[0] + (Int(cells[2]) ?? 0), sum[1] + (Int(cells[1]) ?? 0)]
            }
            #expect(sum == living.sum(verdict), "\(verdict) of \(name): \(outcome.messages)")
        }
    }

    @Test func coresThatCantBeUsed() throws {
        let watched = try Watched([try leaksProgram("cases")])
        try watched.scratch.prepare("gcore -o core \(watched.pid) >/dev/null 2>&1")
        let other = try Watched([try leaksProgram("cases")])
        _ = try watched.end()
        _ = try other.end()
        try watched.scratch.prepare(
            "cp core.\(watched.pid) core; cp '\(other.scratch.path)'/images/*.heap other; cp images/*.heap image; head "
                + "-c 2000 core > short; head -c 100000 core > shorter; echo nothing > text"
        )
        func refusal(_ words: String) throws -> Outcome {
            try watched.scratch.shell("'\(Built.products)/heapsum' leaks --core \(words)")
        }
        #expect(try refusal("core other").messages.contains("name the image of the same process"))
        #expect(try refusal("text image").messages.contains("offset 0: "))
        #expect(try refusal("/bin/true image").messages.contains("not a core file"))
        #expect(try refusal("nothing image").exitStatus == 2)
        // Cut off: nothing is called definitely lost, and what is missing is listed.
        for file in ["short", "shorter"] {
            let cut = try refusal("\(file) image")
            #expect(
                cut.exitStatus == 2 || cut.output.contains("cut off") && cut.output.contains("definite          0"),
                "\(cut)")
        }
    }
}

/// Damaged cores, in this process: a trap would end it.
@Suite struct HostileCoreTests {
    @Test func damagedCoresAreRefusedOrRead() throws {
        let watched = try Watched([try leaksProgram("cases")])
        try watched.scratch.prepare("gcore -o core \(watched.pid) >/dev/null 2>&1")
        _ = try watched.end()
        let directory = watched.scratch.path
        let name = try #require(try watched.scratch.shell("ls images/*.heap").output.split(separator: "\n").first)
        let image = try HeapImage(path: "\(directory)/\(name)")
        let source = try FileSource(path: "\(directory)/core.\(watched.pid)")
        var whole = [UInt8](repeating: 0, count: Int(source.length))
        _ = try whole.withUnsafeMutableBytes { try source.read(into: $0, at: 0) }
        var random = SeededGenerator(seed: 17), verdicts = 0
        for turn in 0 ..< 150 {
            var bytes = whole
            // Headers and notes lie in front; words there get values that are likely to be near a limit.
            for _ in 0 ..< Int.random(in: 1 ... 12, using: &random) {
                let at = Int.random(in: 0 ..< (turn % 2 == 0 ? 4096 : 16384), using: &random) & ~7
                let values: [UInt64] = [
                    0, 1, .max, .max - 7, 1 << 47, 1 << 63, 0xFFFF_FFFF, UInt64.random(in: 0 ... .max, using: &random),
                    UInt64(whole.count),
                ]
                let value = values[Int.random(in: 0 ..< values.count, using: &random)]
                for byte in 0 ..< 8 { bytes[at + byte] = UInt8(truncatingIfNeeded: value >> UInt64(byte * 8)) }
            }
            if turn % 5 == 0 { bytes.removeLast(Int.random(in: 0 ..< bytes.count, using: &random)) }
            let path = "\(directory)/damaged"
            let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            _ = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            close(file)
            guard let snapshot = try? Snapshot.read(core: path, image: image) else { continue }
            let verdict = LeakVerdict(snapshot)
            #expect(verdict.totals.values.reduce(0) { $0 + $1.blocks } == UInt64(verdict.table.count))
            verdicts += 1
        }
        #expect(verdicts > 0)
    }
}
