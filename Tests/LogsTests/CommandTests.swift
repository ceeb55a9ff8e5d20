// heapsum on logs, as people call it: pipes, compression, sets by name, statuses.

import Glibc
import TestSupport
import Testing

@Suite struct LogCommands {
    private let heapsum = Built.products + "/heapsum"

    private func scratch() throws -> Scratch {
        let scratch = try Scratch()
        let record = { (number: Int, size: Int) in
            "Allocation #\(number): 0x3060DFF8\nAllocation size: 0x\(String(size, radix: 16))\nAllocated from heap: "
                + "0\nAllocation traceback:\n0xD01CA874 malloc\n0x10000B84 main\n\n"
        }
        try scratch.write(
            "two.log",
            "Current allocation report:\n\n" + record(1, 100) + "Current allocation report:\n\n" + record(1, 20)
                + record(2, 3))
        return scratch
    }

    @Test func setsAreNamed() throws {
        let scratch = try scratch()
        let last = try scratch.run([heapsum, "two.log"])
        #expect(last.exitStatus == 0 && last.output.contains("23 bytes live in 2 blocks"))
        #expect(last.output.contains("two.log · aix log, set 2 of 2"))
        #expect(last.messages == "heapsum: left out: two.log: 1 of its 2 sets: the last is newer\n")
        #expect(try scratch.run([heapsum, "two.log@1"]).output.contains("100 bytes live in 1 block"))
        #expect(try scratch.run([heapsum, "--set", "1", "two.log"]).output.contains("100 bytes live in 1 block"))
        #expect(try scratch.run([heapsum, "--set", "all", "two.log"]).output.contains("123 bytes live in 3 blocks"))
        #expect(try scratch.run([heapsum, "two.log@1", "two.log@2"]).output.contains("123 bytes live in 3 blocks"))
        let none = try scratch.run([heapsum, "two.log@7"])
        #expect(none.exitStatus == 2 && none.messages.contains("two.log: it has 2 sets and no set 7"))
        try scratch.prepare("cp two.log two.log@1")
        #expect(
            try scratch.run([heapsum, "two.log@1"]).output.contains("23 bytes live in 2 blocks"),
            "a file of that name is that file")
    }

    @Test func pipesAndCompressedFiles() throws {
        let scratch = try scratch()
        let expected = "main;malloc 23\n"
        #expect(try scratch.shell("cat two.log | \(heapsum) --format folded -").output == expected)
        #expect(try scratch.shell("\(heapsum) --format folded - < two.log").output == expected)
        try scratch.prepare("gzip -k two.log && zstd -q two.log")
        for name in ["two.log.gz", "two.log.zst"] {
            #expect(try scratch.run([heapsum, "--format", "folded", name]).output == expected)
            #expect(try scratch.run([heapsum, "--format", "folded", name + "@1"]).output == "main;malloc 100\n")
            #expect(try scratch.shell("\(heapsum) --format folded - < \(name)").output == expected)
            let piped = try scratch.shell("cat \(name) | \(heapsum) -")
            #expect(piped.exitStatus == 2 && piped.messages.contains("zstdcat"))
            // Cut off: what came until there counts, and it is said.
            try scratch.prepare("head -c $(($(stat -c %s \(name)) - 6)) \(name) > cut-\(name)")
            let cut = try scratch.run([heapsum, "--format", "json", "cut-" + name])
            #expect(cut.messages.contains("not decompressed to its end"), "\(cut.messages)")
        }
        let missing = try scratch.run([heapsum, "two.log.gz"], variables: ["PATH": "/nowhere"])
        #expect(missing.exitStatus == 2 && missing.messages.contains("gzip, which decompresses this, is not installed"))
    }

    @Test func compressedImagesAreImages() throws {
        let scratch = try scratch()
        var builder = ImageBuilder(pid: 1)
        builder.addBlock(address: 0x1000, bytes: 1000, stack: 1)
        try builder.write(to: scratch.path + "/a.heap")
        try scratch.prepare("zstd -q a.heap")
        #expect(try scratch.run([heapsum, "a.heap.zst"]).output.contains("1,000 bytes live in 1 block"))
        #expect(try scratch.shell("zstdcat a.heap.zst | \(heapsum) -").output.contains("1,000 bytes live in 1 block"))
        let both = try scratch.run([heapsum, "a.heap", "two.log"])
        #expect(both.output.contains("1,023 bytes live in 3 blocks"))
        #expect(try scratch.run([heapsum, "a.heap@1"]).exitStatus == 2)
    }

    @Test func statuses() throws {
        let scratch = try scratch()
        #expect(try scratch.run([heapsum, "--input", "nothing", "two.log"]).exitStatus == 64)
        let wrong = try scratch.run([heapsum, "--input", "kmemleak", "two.log"])
        #expect(wrong.exitStatus == 2 && wrong.messages.contains("no record of a log of kind kmemleak"))
        // The first lines that failed stand below, a line each.
        try write(Array("TRACE kmalloc-64 alloc bad\n".utf8), to: scratch.path + "/bad.txt")
        let bad = try scratch.shell("'\(Built.products)/heapsum' --input slub bad.txt").messages.split(separator: "\n")
            .map(String.init)
        #expect(
            bad.count == 3 && bad[1] == "    byte 0: TRACE kmalloc-64 alloc bad"
                && bad[2].contains("without an address"), "\(bad)")
        let other = try scratch.run([heapsum, "/etc/passwd", "two.log"])
        #expect(other.exitStatus == 2 && other.output.contains("23 bytes live"), "the other file counts")
        #expect(try scratch.run([heapsum, "."]).exitStatus == 2)
        let records = try scratch.run([heapsum, "--format", "records", "two.log"])
        #expect(records.exitStatus == 64 && records.output.isEmpty)
        try scratch.prepare(": > empty.log")
        #expect(try scratch.run([heapsum, "empty.log"]).exitStatus == 2)
    }

    @Test func jsonTellsOfTheLog() throws {
        let json = try scratch().run([heapsum, "--format", "json", "--set", "all", "two.log"]).output
        #expect(
            json.contains(
                #""kind":"aix","program":null,"pid":null,"state":"unknown","sets":2,"recordsLost":0,"damaged":false"#))
        #expect(json.contains(#""function":"malloc","symbolOffset":null"#) && json.contains(#""allocatedBytes":null"#))
    }

    /// On a terminal, after half a second, and gone in the end.
    @Test func theBarIsForTerminals() throws {
        let scratch = try scratch()
        let slow = "(cat two.log; sleep 0.7; for i in 1 2 3; do sed 1,2d two.log; sleep 0.15; done)"
        let plain = try scratch.shell("\(slow) | \(heapsum) --format folded -")
        #expect(plain.messages.allSatisfy { $0 != "\r" && $0 != "\u{1B}" })
        // script(1) gives it a terminal for its standard error.
        let shown = try scratch.shell(
            "mkfifo f; (cat two.log; sleep 2; head -c 400000 /dev/zero | tr '\\0' '\\n'; sleep 0.2) > f & script "
                + "-qec '\(heapsum) --input aix --set all f' /dev/null"
        )
        #expect(shown.output.contains("B/s") && shown.output.contains("\u{1B}[K"), "\(shown.output)")
        let without = try scratch.shell(
            "rm f; mkfifo f; (cat two.log; sleep 2; head -c 400000 /dev/zero | tr '\\0' '\\n'; sleep 0.2) > f & "
                + "script -qec '\(heapsum) --no-progress --input aix --set all f' /dev/null"
        )
        #expect(!without.output.contains("B/s"))
    }
}
