// What the kernel's own leak finder suspects is kept, once each, and read by heapsum. The list is a file of the
// kernel's form in a recorded tree; the oracle is heapsum's reader of that format.

import Glibc
import TestSupport
import Testing

@testable import Watch

private let heapwatch = Built.products + "/heapwatch", heapsum = Built.products + "/heapsum"

@Suite struct SuspectTests {
    private func record(_ number: Int, age: Int) -> String {
        """
        unreferenced object 0xffff8880\(String(0x1000_0000 + number * 256, radix: 16)) (size 192):
          comm "insmod", pid 412, jiffies \(4_294_900_000 + number) (age \(age).120s)
          hex dump (first 32 bytes):
            73 65 63 72 65 74 00 00 00 00 00 00 00 00 00 00  secret..........
          backtrace (crc 0):
            [<ffffffff8128b2c1>] __kmalloc+0x121/0x1a0
            [<ffffffffc0402010>] lose_some+0x10/0x40 [loser]

        """
    }

    @Test func eachObjectIsKeptOnce() throws {
        let scratch = try Scratch()
        try scratch.prepare("cp -r \(try Trees.path.get())/000 tree && mkdir -p tree/sys/kernel/debug")
        func show(_ numbers: [Int], age: Int) throws {
            try scratch.write("tree/sys/kernel/debug/kmemleak", numbers.map { record($0, age: age) }.joined())
        }
        func gather() throws {
            let outcome = try scratch.run([
                heapwatch, "-o", "w", "--root", "tree", "--interval", "100ms", "--duration", "0.3s", "--quiet",
            ])
            #expect(outcome.exitStatus == 0, "\(outcome)")
        }
        try show([1, 2], age: 10)
        try gather()
        // One is freed, one is new, the other is older; and heapwatch was started again.
        try show([2, 3], age: 70)
        try gather()
        let reduced = try scratch.run([heapsum, "--input", "kmemleak", "--format", "json", "w/kmemleak.txt"])
        #expect(
            reduced.exitStatus == 0 && reduced.output.contains("\"liveBytes\":576")
                && reduced.output.contains("\"liveBlocks\":3") && reduced.output.contains("lose_some"), "\(reduced)")
        let bundles = try scratch.shell(
            """
            '\(heapwatch)' bundle w -o plain.tgz && '\(heapwatch)' bundle w --redact -o redacted.tgz && mkdir p r && \
            tar -C p -xzf plain.tgz && tar -C r -xzf redacted.tgz || exit
            grep -c secret p/heapwatch/kmemleak.txt; grep -c secret r/heapwatch/kmemleak.txt; \
            '\(heapsum)' --input kmemleak --format json r/heapwatch/kmemleak.txt | grep -o '"liveBytes":[0-9]*'
            """)
        #expect(bundles.output == "3\n0\n\"liveBytes\":576\n", "\(bundles)")
    }

    @Test func theFindingNamesTheFile() throws {
        let scratch = try Scratch()
        try scratch.prepare("cp -r \(try Trees.path.get())/000 tree && mkdir -p tree/sys/kernel/debug")
        var options = GatherOptions()
        options.root = "\(scratch.path)/tree"
        let gatherer = Gatherer(options)
        let writer = try SampleWriter(directory: "\(scratch.path)/w", head: Trees.head, keptBytes: 1 << 30)
        var file = SuspectFile(directory: "\(scratch.path)/w")
        for minute in 0 ..< 30 {
            try scratch.write(
                "tree/sys/kernel/debug/kmemleak", (0 ... minute * 3).map { record($0, age: minute) }.joined())
            try writer.append(gatherer.sample(at: 7_000_000 + Int64(minute) * 60_000))
            #expect(file.append(gatherer.takeSuspects()) == nil)
        }
        let finding = try #require(try verdict(of: "\(scratch.path)/w").growing.first { $0.name == "kmemleak.objects" })
        let command = try #require(finding.next?.command)
        #expect(finding.last == 88 && command == "heapsum --input kmemleak \(scratch.path)/w/kmemleak.txt")
        let outcome = try scratch.shell(
            command.replacing("heapsum", with: heapsum, maxReplacements: 1)
                + " --format json | grep -o '\"liveBlocks\":[0-9]*'")
        #expect(outcome.output == "\"liveBlocks\":88\n", "\(outcome)")
    }
}
