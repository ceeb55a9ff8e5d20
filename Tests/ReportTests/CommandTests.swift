// heapsum itself: exit statuses, and what goes to which stream.

import CHeapImage
import Glibc
import TestSupport
import Testing
import Text

@Suite struct Commands {
    private func heapsum(_ words: [String], in directory: Scratch) throws -> (status: Int32, out: String, error: String)
    {
        // The executable stands beside the test bundle.
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, 4095)
        try #require(length > 0)
        let own = String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
        let candidates = [own, CommandLine.arguments[0]].map {
            $0.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/heapsum"
        }
        let path = try #require(candidates.first { access($0, X_OK) == 0 })
        let quoted = ([path] + words).map { "'" + $0.replacing("'", with: "'\\''") + "'" }.joined(separator: " ")
        let status = run(["/bin/sh", "-c", "cd '\(directory.path)' && \(quoted) > out.txt 2> err.txt < /dev/null"])
        defer {
            unlink(directory.file("out.txt"))
            unlink(directory.file("err.txt"))
        }
        return (status >> 8 & 0xFF | status & 0x7F, text(directory.file("out.txt")), text(directory.file("err.txt")))
    }

    private func text(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    private func images() throws -> Scratch {
        let directory = try Scratch()
        var builder = ImageBuilder(pid: 1)
        let module = builder.addModule("/opt/none", buildID: [1])
        let stack = builder.addStack([heap_frame_make(module, 0x10)])
        builder.addBlock(address: 0x1000, bytes: 1000, stack: stack)
        try builder.write(to: directory.file("a.heap"))
        builder.kind = HEAP_KIND_DUMP
        try builder.write(to: directory.file("a.1.heap"))
        return directory
    }

    @Test func statuses() throws {
        let directory = try images()
        let good = try heapsum(["a.heap"], in: directory)
        #expect(good.status == 0 && good.out.contains("1,000 bytes live in 1 block") && good.error == "")
        let both = try heapsum(["--format", "folded", "."], in: directory)
        #expect(both.status == 0 && both.out == "none+0x10 1000\n")
        #expect(both.error.contains("left out: ./a.1.heap: ./a.heap of the same process is newer"))
        let missing = try heapsum(["missing.heap"], in: directory)
        #expect(missing.status == 2 && missing.out == "" && missing.error.contains("missing.heap: No such file"))
        let process = try heapsum(["\(getpid())"], in: directory)
        #expect(process.status == 2 && process.error.contains("heaprun --pid \(getpid()) records it"), "\(process)")
        let text = try heapsum(["/etc/passwd"], in: directory)
        #expect(text.status == 2 && text.error.contains("/etc/passwd: byte 0: not a heap image"))
        #expect(try heapsum([], in: directory).status == 64)
        #expect(try heapsum(["--sort", "colour", "a.heap"], in: directory).status == 64)
        #expect(try heapsum(["--include", "(", "a.heap"], in: directory).status == 64)
        #expect(try heapsum(["--set", "all", "--format", "csv", "."], in: directory).out.contains("\r\n2000,2,"))
        #expect(try heapsum(["--version"], in: directory).status == 0)
        #expect(try heapsum(["-o", "/nowhere/at/all", "a.heap"], in: directory).status == 2)
        #expect(try heapsum(["info", "a.heap"], in: directory).out.contains("1,000 bytes in 1 block"))
        #expect(try heapsum(["info", "/etc/passwd"], in: directory).status == 2)
        let packed = try heapsum(["pack", "a.heap"], in: directory)
        #expect(packed.status == 0 && packed.out == "./sample.1.heap\n")
    }

    /// A number that begins with a dash is wrong, and not missing.
    @Test(arguments: ["--top", "--frames"]) func numbersBelowNothingAreSaidToBe(option: String) throws {
        let wrong = try heapsum([option, "-1", "a.heap"], in: try images())
        #expect(wrong.status == 64 && wrong.error.contains("\(option) takes a number from 0 on"), "\(wrong.error)")
    }

    @Test func viewsThatNothingIsRecordedForAreRefused() throws {
        let directory = try images()
        for words in [
            ["--at", "peak", "--older-than", "1s"], ["--at", "peak", "--by", "size"],
            ["--by", "size", "--sort", "peak-bytes"],
            ["--format", "records", "--by", "module"], ["--format", "records", "--at", "peak"], ["--older-than", "5x"],
            ["--older-than", "5s", "--newer-than", "5s"], ["--by", "colour"],
        ] { #expect(try heapsum(words + ["a.heap"], in: directory).status == 64, "\(words)") }
        let grouped = try heapsum(["--by", "module", "--format", "folded", "a.heap"], in: directory)
        #expect(grouped.status == 0 && grouped.out == "/opt/none 1000\n")
        let suppressed = try heapsum(["--suppressions", "/nowhere", "a.heap"], in: directory)
        #expect(suppressed.status == 2 && suppressed.error.contains("/nowhere: No such file"))
    }

    @Test func setsThatAreNotThereAreSaidWithThoseThatAre() throws {
        let directory = try images()
        let both = try heapsum(["--set", "9", "."], in: directory)
        #expect(both.status == 2 && both.out.isEmpty)
        #expect(both.error.contains("./a.1.heap: this is set 1 of its process, which has 2 sets and no set 9"))
        #expect(both.error.contains("./a.heap: this is set 2 of its process, which has 2 sets and no set 9"))
        #expect(try heapsum(["--set", "9", "a.heap"], in: directory).error.contains("which has 1 set and no set 9"))
    }

    @Test func infoOfADirectoryTellsOfTheNewest() throws {
        let directory = try images()
        let info = try heapsum(["info", "."], in: directory)
        #expect(info.status == 0 && info.out.hasPrefix("./a.heap\n") && !info.out.contains("./a.1.heap"))
        #expect(info.error.contains("left out: ./a.1.heap: ./a.heap of the same process is newer"))
        // What is named is told of, whatever else is.
        let named = try heapsum(["info", "a.1.heap", "a.heap"], in: directory)
        #expect(named.out.hasPrefix("a.1.heap\n") && named.out.contains("\n\na.heap\n") && named.error.isEmpty)
        let none = try heapsum(["info", "/proc/self/fdinfo", "a.heap"], in: directory)
        #expect(
            none.status == 2 && none.out.hasPrefix("a.heap\n")
                && none.error.contains("no file in this directory is called *.heap"))
    }

    @Test func aCutImageIsUsedAndSaid() throws {
        let directory = try images()
        #expect(truncate(directory.file("a.heap"), 1048) == 0)
        let cut = try heapsum(["a.heap"], in: directory)
        #expect(cut.status == 0 && cut.error.contains("damaged: a.heap: byte 1048: cut off inside section"))
    }
}
