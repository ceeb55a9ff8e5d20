// Which of a stack's bytes are in memory. Oracle: mincore(2), asked by the program itself for each of its blocks.

import Glibc
import Proc
import TestSupport
import Testing
import Text

@Suite struct ResidentTests {
    /// The program, waiting, and what it said of itself.
    private func start(_ scratch: Scratch) throws -> (running: Running, image: String, truth: [String: UInt64]) {
        let running = try scratch.start(
            [try Built.program("resident"), "600"],
            variables: ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path])
        #expect(eventually(seconds: 60) { (try? contents(running.outputPath))?.contains("allocate_small") == true })
        var truth: [String: UInt64] = [:]
        for line in try contents(running.outputPath).split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2 { truth[String(words[0])] = UInt64(words[1]) }
        }
        let image = try #require(scratch.names.first { $0.hasPrefix("resident.") && $0.hasSuffix(".heap") }).description
        return (running, scratch.file(image), truth)
    }

    /// A module's variables are named after it; memory that is mapped right behind them, and that the kernel joins with
    /// them, is not.
    @Test(arguments: ["bss", "mapped"]) func onlyAModulesOwnVariablesAreNamedAfterIt(kind: String) throws {
        let scratch = try Scratch()
        try scratch.write("big.c", "char first[256 << 20]; int touch(void) { return first[5]++; }")
        #expect(try scratch.shell("cc -shared -fPIC -o big.so big.c").exitStatus == 0)
        let running = try scratch.start(
            [try Built.program("behind"), kind, scratch.file("big.so")],
            variables: ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path])
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        #expect(eventually(seconds: 60) { (try? contents(running.outputPath))?.isEmpty == false })
        let maps = try contents("/proc/\(running.pid)/maps")
        let told = try scratch.run([Built.products + "/heapsum", "info", "\(running.pid)"]).output
        let line = try #require(told.split(separator: "\n").first { $0.hasPrefix("memory ") }, "\(told)")
        if kind == "bss" {
            #expect(line.contains(" of them .bss of \(try Built.program("behind")), at "), "\(line)\n\(maps)")
        } else {
            #expect(line.contains(" of them without a name, at "), "\(line)\n\(maps)")
        }
    }

    @Test func bytesOnPagesInMemory() throws {
        let scratch = try Scratch()
        let (running, image, truth) = try start(scratch)
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        try #require(truth.count == 4 && truth["allocate_half", default: 0] > 30 << 20, "\(truth)")
        // By stack, and by function of those of some ages.
        for options in [[], ["--by", "function", "--newer-than", "10h"]] {
            let told = try scratch.run(
                [Built.products + "/heapsum", "--sort", "resident", "--format", "csv"] + options + [image])
            let lines = told.output.split(whereSeparator: \.isNewline)
            let names = try #require(lines.first).split(separator: ",")
            let column = try #require(names.firstIndex(of: "resident_bytes"), "\(told)")
            var order: [UInt64] = [], found: [String: UInt64] = [:]
            for line in lines.dropFirst() {
                let bytes = try #require(
                    UInt64(line.split(separator: ",", omittingEmptySubsequences: false)[column]), "\(line)")
                order.append(bytes)
                for name in truth.keys where line.contains(name) { found[name, default: 0] += bytes }
            }
            #expect(found == truth, "\(told.output)")
            #expect(order == order.sorted(by: >) && order.count >= 4)
        }
        // The process by its number.
        let table = try scratch.run([Built.products + "/heapsum", "--sort", "resident", "\(running.pid)"])
        #expect(
            table.output.contains("oldest     resident") && table.output.contains("allocate_half"), "\(table)")
        // By size: the small ones' class is theirs alone.
        let sizes = try scratch.run(
            [Built.products + "/heapsum", "--sort", "resident", "--by", "size", "--format", "json", image])
        #expect(
            sizes.output.contains("\"residentBytes\":\(truth["allocate_small", default: 0]),"), "\(sizes.output)")
    }

    /// In a sampled image a drawn block's resident part stands for all that it stands for: of small ones, many.
    @Test func sampledBlocksStandForOthers() throws {
        let scratch = try Scratch()
        let running = try scratch.startRecorded(
            [try Built.program("resident"), "600"], options: ["--quiet", "--sample", "16K", "-o", "images"],
            library: Built.interposer)
        defer {
            kill(running.pid, SIGTERM)
            _ = try? running.wait()
        }
        let pid = try running.child()
        #expect(eventually(seconds: 60) { (try? contents(running.outputPath))?.contains("allocate_small") == true })
        let told = try scratch.run(
            [Built.products + "/heapsum", "--sort", "resident", "--format", "csv", "\(pid)"])
        let line = try #require(told.output.split(whereSeparator: \.isNewline).first { $0.contains("allocate_small") })
        let names = try #require(told.output.split(whereSeparator: \.isNewline).first).split(separator: ",")
        let column = try #require(names.firstIndex(of: "resident_bytes"))
        let cells = line.split(separator: ",", omittingEmptySubsequences: false)
        // All of them are written, so all of the estimate is resident; some 1,200 of 20,000 were drawn.
        #expect(cells[column] == cells[0] && (UInt64(cells[0]) ?? 0) > 14_000_000, "\(line)")
    }

    @Test func whatDoesNotRunHasNone() throws {
        let scratch = try Scratch()
        let (running, image, _) = try start(scratch)
        kill(running.pid, SIGKILL)
        _ = try running.wait()
        let told = try scratch.run([Built.products + "/heapsum", "--sort", "resident", image])
        #expect(told.exitStatus == 2 && told.messages.contains("only while the program runs"), "\(told)")
        let plain = try scratch.run([Built.products + "/heapsum", "--format", "json", image])
        #expect(plain.exitStatus == 0 && !plain.output.contains("residentBytes"), "\(plain)")
        for arguments in [["check", "--sort", "resident"], ["--sort", "resident", "--at", "peak"]] {
            let refused = try scratch.run([Built.products + "/heapsum"] + arguments + [image])
            #expect(refused.exitStatus == 64, "\(refused)")
        }
    }

    /// heaprun looks the pages up at the end, whichever it is; the program asked mincore just before.
    @Test(arguments: [("return", 7), ("_exit", 7), ("kill", 143), ("exec", 7), ("thread", 7)])
    func pagesOfTheEnd(_ end: String, _ status: Int32) throws {
        let scratch = try Scratch()
        let ended = try scratch.record(
            [try Built.program("resident"), "0", end], options: ["--quiet", "--resident", "-o", "images"],
            library: Built.interposer)
        #expect(ended.exitStatus == status && ended.messages.isEmpty, "\(ended)")
        var truth: [String: UInt64] = [:]
        for line in ended.output.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2 { truth[String(words[0])] = UInt64(words[1]) }
        }
        try #require(truth.count == 4, "\(ended)")
        let images = try scratch.shell("ls images/resident.*.heap").output.split(separator: "\n").map(String.init)
        let image = try #require(images.first)
        let heapsum = Built.products + "/heapsum"
        // The image, and what is packed of it.
        let packed = try scratch.run([heapsum, "pack", image, "-o", "copies"], directory: scratch.path)
        #expect(packed.exitStatus == 0, "\(packed)")
        let copy = try #require(try scratch.shell("ls copies/*.heap").output.split(separator: "\n").first)
        for image in [image, String(copy)] {
            let told = try scratch.run(
                [heapsum, "--sort", "resident", "--format", "csv", image], directory: scratch.path)
            let lines = told.output.split(whereSeparator: \.isNewline)
            let names = try #require(lines.first, "\(told)").split(separator: ",")
            let column = try #require(names.firstIndex(of: "resident_bytes"), "\(told)")
            var found: [String: UInt64] = [:]
            for line in lines.dropFirst() {
                let cells = line.split(separator: ",", omittingEmptySubsequences: false)
                for name in truth.keys where line.contains(name) {
                    found[name, default: 0] += UInt64(cells[column]) ?? 0
                }
            }
            #expect(found == truth, "\(end): \(told)")
        }
        // The pages of the live blocks alone, as far as they were in memory.
        let pages = try scratch.run([heapsum, "pages", "--format", "json", image], directory: scratch.path)
        let told = try JSONReader.read(Array(pages.output.utf8))
        let rows = try #require(told["rows"]?.array, "\(pages)")
        for name in ["allocate_untouched", "allocate_half", "allocate_scattered"] {
            let row = rows.first { $0["frames"]?.array?.contains { $0["function"]?.string == name } == true }
            #expect(row?["residentBytes"]?.integer == truth[name], "\(name): \(pages)")
        }
        #expect(told["pages"]?["atEnd"] == .bool(true) && pages.output.contains("The program has ended."))
    }

    @Test func residentNeedsHeaprunBesideTheProgram() throws {
        let scratch = try Scratch()
        let refused = try scratch.record(["true"], options: ["--resident", "--exec"], library: Built.interposer)
        #expect(refused.exitStatus == 125 && refused.messages.contains("--resident needs heaprun"), "\(refused)")
    }

    /// Ranges of this process, from one byte to a gigabyte that was only reserved.
    @Test func rangesOfEachLength() throws {
        let bytes = 1 << 30
        let start = try #require(
            mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))
        try #require(start != MAP_FAILED)
        defer { munmap(start, bytes) }
        // Huge pages would make more pages present than were written.
        madvise(start, bytes, MADV_NOHUGEPAGE)
        var written: Set<Int> = []
        for page in [0, 1, 2, 511, 512, 513, 5000, bytes / 4096 - 1] {
            start.storeBytes(of: 1, toByteOffset: page * 4096, as: UInt8.self)
            written.insert(page)
        }
        let pages = try #require(ResidentPages(processID: getpid()))
        let base = UInt64(UInt(bitPattern: start))
        func expected(_ range: Range<Int>) -> UInt64 {
            written.reduce(0) { $0 + UInt64(range.clamped(to: $1 * 4096 ..< ($1 + 1) * 4096).count) }
        }
        for (from, count) in [
            (0, 1), (0, 4096), (100, 50), (4000, 200), (4090, 4096 * 3), (510 * 4096 + 7, 4096 * 4), (3 * 4096, 4096),
            (1000, bytes - 2000), (0, bytes),
        ] {
            let range = from ..< from + count
            let asked = base + UInt64(range.lowerBound) ..< base + UInt64(range.upperBound)
            #expect(pages.bytes(of: asked) == expected(range), "\(range)")
        }
        #expect(!pages.isGone && pages.bytes(of: .max - 5000 ..< .max) == 0)
        // More than is looked up, and a length that no Int holds: the answer is not known, and takes no time.
        #expect(!pages.isExhausted && pages.bytes(of: 0 ..< 1 << 62) == nil && pages.isExhausted)
        #expect(pages.bytes(of: 1 ..< .max) == nil)
        #expect(ResidentPages(processID: -1) == nil)
    }
}
