// What malloc's resident memory is made of. Oracle: the kernel's resident size of the program before and after it calls
// malloc_trim itself.

import Glibc
import TestSupport
import Testing
import Text

/// A value of a report; what is missing is -1, empty or false, and fails the tests' comparisons.
struct Told {
    var value: JSONValue?
    init(_ value: JSONValue?) { self.value = value }
    subscript(_ name: String) -> Told { Told(value?[name]) }
    var int: Int { value?.integer.map { Int($0) } ?? -1 }
    var string: String? { value?.string }
    var array: [Told] { value?.array?.map { Told($0) } ?? [] }
    var isTrue: Bool { value == .bool(true) }
    var isNull: Bool { value == .null }
}

@Suite struct PagesTests {
    /// The program, recorded and waiting for letters.
    final class Pins {
        let scratch: Scratch, running: Running
        private let input: CInt
        private var linesRead = 0
        var pid: pid_t { running.pid }

        init(every: Int, threads: Int, allocator: String = "") throws {
            scratch = try Scratch()
            guard mkfifo(scratch.file("input"), 0o600) == 0 else { throw Failure("no FIFO") }
            input = open(scratch.file("input"), O_RDWR | O_CLOEXEC)
            running = try scratch.start(
                [try Built.program("pins"), "\(every)", "\(threads)"],
                variables: [
                    "LD_PRELOAD": Built.interposer + (allocator.isEmpty ? "" : ":" + allocator),
                    "HEAPSUM_OUTPUT": scratch.path,
                ],
                input: scratch.file("input"))
            _ = try answer("ready")
        }

        deinit {
            kill(pid, SIGKILL)
            _ = try? running.wait()
            close(input)
        }

        /// Its image.
        func image() throws -> String {
            scratch.file(try #require(scratch.names.first { $0.hasPrefix("pins.") && $0.hasSuffix(".heap") }))
        }

        private func answer(_ name: String) throws -> Int {
            var lines: [Substring] = []
            let wanted = linesRead + 1
            guard
                eventually(
                    seconds: 120,
                    {
                        lines = ((try? contents(running.outputPath)) ?? "").split(separator: "\n")
                        return lines.count >= wanted
                    })
            else { throw Failure("pins doesn't answer: \(try contents(running.messagesPath))") }
            linesRead = wanted
            let words = lines[wanted - 1].split(separator: " ")
            guard words.count == 2, words[0] == name, let value = Int(words[1]) else {
                throw Failure("pins says \(lines[wanted - 1])")
            }
            return value
        }

        func ask(_ letter: Character, _ name: String) throws -> Int {
            var byte = letter.asciiValue ?? 0
            guard write(input, &byte, 1) == 1 else { throw Failure("pins can't be asked") }
            return try answer(name)
        }

        func survey() throws -> Told { try PagesTests.survey(scratch, "\(pid)") }
    }

    static func survey(_ scratch: Scratch, _ program: String) throws -> Told {
        let told = try scratch.run([Built.products + "/heapsum", "pages", "--format", "json", program])
        #expect(told.exitStatus == 0 && told.messages.isEmpty, "\(told)")
        return try Told(JSONReader.read(Array(told.output.utf8)))
    }

    private static let parts = [
        "liveBytes", "overheadBytes", "pinnedBytes", "trimmableBytes", "topBytes", "keptBytes", "rimBytes",
        "unclearBytes",
    ]

    @Test(arguments: [(8, 0), (16, 0), (32, 0), (64, 0), (256, 0), (16, 3), (64, 3)])
    func whatATrimReturns(_ every: Int, _ threads: Int) throws {
        let pins = try Pins(every: every, threads: threads)
        let before = try pins.survey(), pages = before["pages"]
        let foretold = pages["trimmableBytes"].int
        let parts = Self.parts.reduce(0) { $0 + pages[$1].int }
        #expect(parts == pages["residentBytes"].int)
        #expect(pages["unclearBytes"].int == 0)
        let rows = before["rows"].array
        #expect(rows.reduce(0) { $0 + $1["pinnedBytes"].int } <= pages["pinnedBytes"].int)
        #expect(rows.reduce(0) { $0 + $1["residentBytes"].int } == pages["liveBytes"].int)
        // The kept blocks pin what is pinned, and nearly all pages of [heap] and arenas.
        let first = try #require(rows.first)
        #expect(first["frames"].array.contains { $0["function"].string == "allocate_kept" })
        #expect(first["pinnedBytes"].int * 100 > pages["pinnedBytes"].int * 95)

        let returned = try pins.ask("t", "returned")
        let slack = max(returned / 50, 64 << 10)
        #expect(abs(returned - foretold) <= slack, "every \(every): foretold \(foretold), returned \(returned)")
        // Nothing is left to return, and the sums are smaller by what was returned.
        let after = try pins.survey()["pages"]
        #expect(after["trimmableBytes"].int <= 64 << 10)
        #expect(abs(pages["residentBytes"].int - returned - after["residentBytes"].int) <= slack)
    }

    /// Without the stack's blocks its pages go, too.
    @Test func whatWouldGoWithAStack() throws {
        let pins = try Pins(every: 64, threads: 0)
        _ = try pins.ask("t", "returned")
        let rows = try pins.survey()["rows"].array
        let foretold = try #require(rows.first)["aloneBytes"].int
        let returned = try pins.ask("f", "returned")
        #expect(abs(returned - foretold) <= max(returned / 50, 64 << 10), "foretold \(foretold), returned \(returned)")
        #expect(foretold > 10 << 20)
    }

    /// malloc's own settings, held against what malloc does.
    @Test func thresholdsAsTheyStand() throws {
        let pins = try Pins(every: 64, threads: 0)
        let before = try pins.survey()
        #expect(before["pages"]["malloc"]["mmapThreshold"].int == 128 << 10)
        #expect(before["pages"]["malloc"]["mappedBlocks"].int == 64)
        #expect(!before["pages"]["malloc"]["areFixed"].isTrue)
        _ = try pins.ask("b", "freed")
        let malloc = try pins.survey()["pages"]["malloc"]
        #expect(malloc["mmapThreshold"].int > 5 << 20 && malloc["trimThreshold"].int == 2 * malloc["mmapThreshold"].int)
        let table = try pins.scratch.run([Built.products + "/heapsum", "pages", "--top", "1", "\(pins.pid)"])
        #expect(table.output.contains("malloc raised both by itself, from 131,072 bytes"), "\(table)")
        #expect(table.output.contains("allocate_kept"))
        // Who raised it, and when: the first of two blocks of one size.
        let words = table.output.split(whereSeparator: { $0 == " " || $0 == "\n" }).joined(separator: " ")
        #expect(words.contains("That block was allocated by allocate_raising ← main, and freed "), "\(table)")
        let raised = try pins.survey()["pages"]["raisedBy"].array
        #expect(raised.count == 1 && raised[0]["chunkBytes"].int == malloc["mmapThreshold"].int)
        #expect(raised[0]["frames"].array.contains { $0["function"].string == "allocate_raising" })
        // As far as malloc's behaviour shows it: to two pages.
        let measured = try pins.ask("m", "threshold")
        #expect(abs(measured - malloc["mmapThreshold"].int) <= 8192, "\(measured)")
    }

    /// Other allocators give back what they like, by their own calls: never more than what is foretold at the most.
    @Test(arguments: [
        ("libjemalloc.so.2", "mallctl(\"arena.4096.purge\")"),
        ("libtcmalloc.so.4", "MallocExtension_ReleaseFreeMemory"),
    ])
    func whatOtherAllocatorsGiveBack(_ library: String, _ knob: String) throws {
        let pins = try Pins(every: 256, threads: 0, allocator: "/usr/lib/x86_64-linux-gnu/" + library)
        let before = try pins.survey(), pages = before["pages"], foretold = pages["retainedBytes"].int
        let parts = ["live", "overhead", "pinned", "retained"].reduce(0) { $0 + pages[$1 + "Bytes"].int }
        #expect(parts == pages["residentBytes"].int && pages["malloc"].isNull)
        #expect(
            before["rows"].array.first?["frames"].array.contains { $0["function"].string == "allocate_kept" } == true)
        #expect(before["advice"].array.contains { $0.string?.contains(knob) == true }, "\(before["advice"])")
        let returned = try pins.ask("p", "returned"), slack = 1 << 20
        // Of 256 neighbours one is kept, and a run of pages for one size has fewer: so most can go.
        #expect(foretold / 2 < returned && returned <= foretold + slack, "foretold \(foretold), returned \(returned)")
        let after = try pins.survey()["pages"]
        #expect(abs(pages["residentBytes"].int - returned - after["residentBytes"].int) <= slack, "\(returned)")
        #expect(abs(after["liveBytes"].int - pages["liveBytes"].int) < 64 << 10)
    }

    /// All of the process's memory in one line, held against the kernel's sum.
    @Test func theVerdictAddsUpToTheResidentSize() throws {
        let pins = try Pins(every: 16, threads: 2)
        func resident() throws -> Int {
            let text = try contents("/proc/\(pins.pid)/smaps_rollup")
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("Rss:") })
            return try #require(Int(line.filter(\.isNumber))) * 1024
        }
        let before = try resident(), memory = try pins.survey()["memory"], after = try resident()
        #expect(before == after && memory["residentBytes"].int == after)
        let parts = [
            "held", "earlier", "pinned", "retained", "unbooked", "unclear", "stack", "other", "file", "shared", "image",
        ].map {
            memory[$0 + "Bytes"].int
        }
        #expect(parts.reduce(0, +) == after && parts.allSatisfy { $0 >= 0 }, "\(parts)")
        let info = try pins.scratch.run([Built.products + "/heapsum", "info", "\(pins.pid)"])
        #expect(
            info.output.contains("memory        mostly free but pinned by live blocks (")
                && info.output.contains("by allocate_kept ← work): \(separated(UInt64(after))) bytes resident, at "),
            "\(info)")
    }

    /// All commands take a process by its number; a file of that name comes first, and a message says so.
    @Test func processesByTheirNumber() throws {
        let pins = try Pins(every: 256, threads: 0), scratch = pins.scratch, heapsum = Built.products + "/heapsum"
        let number = "\(pins.pid)"
        let packed = try scratch.run([heapsum, "pack", number, "-o", "copies"], directory: scratch.path)
        #expect(packed.exitStatus == 0 && packed.output.hasSuffix(".heap\n"), "\(packed)")
        let table = try scratch.run([heapsum, "table", number, "-o", "lake"], directory: scratch.path)
        #expect(table.exitStatus == 0, "\(table)")
        let facts = try scratch.shell("cat lake/facts/*.csv")
        #expect(facts.output.contains(",\(number),"), "\(facts)")
        let commands = [[], ["info"], ["pages"], ["leaks"], ["pack", "-o", "others"], ["table", "-o", "pond"]]
        for command in commands {
            let gone = try scratch.run([heapsum] + command + ["4194303"], directory: scratch.path)
            #expect(gone.exitStatus == 2 && gone.messages.contains("4194303: no such process"), "\(command): \(gone)")
        }
        try scratch.write(number, "no image")
        for command in commands {
            let taken = try scratch.run([heapsum] + command + [number], directory: scratch.path)
            #expect(
                taken.exitStatus == 2
                    && taken.messages.contains("\(number): the file of this name is taken, not process \(number)"),
                "\(command): \(taken)")
        }
    }

    @Test func whatDoesNotRunHasNoResidency() throws {
        let pins = try Pins(every: 16, threads: 0)
        let live = try pins.survey(), image = try pins.image()
        kill(pins.pid, SIGKILL)
        _ = try pins.running.wait()
        let told = try Self.survey(pins.scratch, image)
        #expect(!told["pages"]["resident"].isTrue && told["pages"]["malloc"].isNull)
        // All small blocks were written, so the same pages count.
        func kept(_ value: Told, _ name: String) throws -> Int {
            try #require(
                value["rows"].array.first {
                    $0["frames"].array.contains { $0["function"].string == "allocate_kept" }
                })[name].int
        }
        #expect(try kept(told, "touchedBytes") == kept(live, "residentBytes"))
        #expect(try kept(told, "pinnedBytes") == kept(live, "pinnedBytes"))
        #expect(told["advice"].array.first?.string?.contains("an image alone") == true)
        for arguments in [["pages"], ["pages", "--format", "csv", image]] {
            #expect(try pins.scratch.run([Built.products + "/heapsum"] + arguments).exitStatus == 64)
        }
        let gone = try pins.scratch.run([Built.products + "/heapsum", "pages", "\(pins.pid)"])
        #expect(gone.exitStatus == 2 && gone.messages.contains("no such process"), "\(gone)")
    }
}
