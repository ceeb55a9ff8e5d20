// What reports say of mappings and of pools' blocks: text, JSON and `heapsum info` of one process say the same.
// Oracles: the program, which maps a known number of pages by functions of their own and writes to four; the kernel's
// list.

import Glibc
import HeapImage
import Proc
import TestSupport
import Testing
import Text

@Suite struct MappedReportTests {
    private static let page = 4096
    private static func variables(_ scratch: Scratch) -> [String: String?] {
        let mappings = Built.interposer.replacing("libheapsum.so", with: "libheapsum-mappings.so")
        return [
            "LD_PRELOAD": "\(Built.interposer):\(mappings)", "HEAPSUM_MAPPINGS": "1", "HEAPSUM_OUTPUT": scratch.path,
        ]
    }

    /// Pages that each function of mappings.c maps: by the kind of mapping.
    private static let kinds: [String: [(function: String, pages: Int)]] = [
        "anonymous": [
            ("grow_by_moving", 42), ("map_with_a_hole", 20), ("reserve", 20), ("map_anonymous", 10),
        ],
        "shared memory": [("attach_segment", 17), ("map_shared_memory", 16)], "device": [("map_device", 19)],
        "break": [("move_break", 18)], "memfd": [("map_memfd", 15)], "shared file": [("map_shared_file", 14)],
        "file": [("map_file", 13)], "stack": [("map_stack", 12)], "shared anonymous": [("map_shared_anonymous", 11)],
    ]

    /// The program, recorded and waiting.
    private final class Kinds {
        let scratch: Scratch, running: Running
        private let input: CInt
        var pid: pid_t { running.pid }

        init() throws {
            scratch = try Scratch()
            guard mkfifo(scratch.file("input"), 0o600) == 0 else { throw Failure("no FIFO") }
            input = open(scratch.file("input"), O_RDWR | O_CLOEXEC)
            running = try scratch.start(
                [try Built.program("mappings"), "kinds"],
                variables: variables(scratch),
                input: scratch.file("input"))
            let path = running.outputPath
            #expect(eventually(seconds: 60) { (try? contents(path)) == "ready\n" })
        }

        deinit {
            kill(pid, SIGKILL)
            _ = try? running.wait()
            close(input)
        }

        func heapsum(_ options: [String]) throws -> String {
            let told = try scratch.run([Built.products + "/heapsum"] + options + ["\(pid)"])
            #expect(told.exitStatus == 0 && told.messages.isEmpty, "\(told)")
            return told.output
        }

        func json(_ options: [String]) throws -> Told {
            Told(try JSONReader.read(Array(heapsum(["--format", "json"] + options).utf8)))
        }
    }

    /// The rows of a table below its heading, each as its words. Frames are no rows: they begin with a name.
    private static func table(_ text: String, heading: String) -> [[String]] {
        let lines = text.split(separator: "\n").map(String.init)
        guard let head = lines.firstIndex(where: { $0.hasSuffix(heading) }) else { return [] }
        var rows: [[String]] = []
        for line in lines[(head + 1)...] {
            let words = line.replacing(",", with: "").split(separator: " ").map(String.init)
            if words.count > 3, Int(words[0]) != nil { rows.append(words) }
        }
        return rows
    }

    @Test func rowsAreTheProgramsMappingsWithTheirStacks() throws {
        let kinds = try Kinds(), mapped = try kinds.json(["--sort", "resident"])["mapped"]
        #expect(mapped["bytes"].int == 227 * Self.page && mapped["mappings"].int == 14)
        #expect(mapped["reservedBytes"].int == 20 * Self.page && mapped["residentBytes"].int == 4 * Self.page)
        #expect(mapped["allocatorBytes"].int == 0 && mapped["poolBytes"].int == 0 && mapped["lostCalls"].int == 0)
        var found: [String: [String: Int]] = [:]
        for row in mapped["rows"].array {
            let kind = row["kind"].string ?? "?"
            let names = row["frames"].array.compactMap { $0["function"].string }
            let wanted = try #require(
                Self.kinds[kind]?.first { names.contains($0.function) }, "\(kind): \(names)")
            found[kind, default: [:]][wanted.function] = row["bytes"].int
            #expect(row["residentBytes"].int == (wanted.function == "map_anonymous" ? 4 * Self.page : 0))
            #expect(row["reservedBytes"].int == (wanted.function == "reserve" ? row["bytes"].int : 0))
            #expect(row["mappings"].int == (wanted.function == "map_with_a_hole" ? 2 : 1))
            #expect(row["frames"].array.contains { $0["file"].string?.hasSuffix("/mappings.c") == true })
        }
        let expected = Self.kinds.mapValues { Dictionary(uniqueKeysWithValues: $0.map { ($0, $1 * Self.page) }) }
        #expect(found == expected)
        // Largest first; without a look at the pages nothing is said of them.
        let plain = try kinds.json([])["mapped"], sizes = plain["rows"].array.map { $0["bytes"].int }
        #expect(sizes == sizes.sorted(by: >) && sizes.count == 13 && plain["residentBytes"].isNull)
        #expect(plain["rows"].array.allSatisfy { $0["residentBytes"].isNull })
    }

    @Test func theTableHasTheSameRows() throws {
        let kinds = try Kinds(), text = try kinds.heapsum(["--sort", "resident", "--top", "0"])
        #expect(
            text.contains(
                "Mapped by the program itself: 929,792 bytes in 14 mappings, 16,384 of them in memory, 81,920 mapped "
                    + "without access\n"), "\(text)")
        let rows = Self.table(text, heading: "resident   kind")
        let json = try kinds.json(["--sort", "resident"])["mapped"]["rows"].array
        func cells(_ row: Told) -> [String] {
            ["\(row["bytes"].int)", "\(row["mappings"].int)", "\(row["residentBytes"].int)", row["kind"].string ?? "?"]
        }
        // Without the age, which goes on: a number and a unit.
        let shown = rows.map {
            [$0[0], $0[1], $0[4], $0[5...].joined(separator: " ").replacing(" reserved", with: "")]
        }
        #expect(shown.sorted { $0.joined() < $1.joined() } == json.map(cells).sorted { $0.joined() < $1.joined() })
        // In the order that was asked for.
        #expect(shown.first == ["\(10 * Self.page)", "1", "\(4 * Self.page)", "anonymous"], "\(text)")
        #expect(text.contains("anonymous, reserved\n    reserve "), "\(text)")
        // Fewer rows: what is left out is counted.
        let short = try kinds.heapsum(["--top", "2"])
        #expect(
            short.contains(
                "Not shown: 11 smaller rows of mappings with \(separated(UInt64((227 - 42 - 20) * Self.page))) bytes "
                    + "(--top 13 shows all)."), "\(short)")
    }

    @Test func kindsAddUp() throws {
        let kinds = try Kinds(), json = try kinds.json(["--by", "kind"])
        var found: [String: Int] = [:]
        for row in json["rows"].array { found[row["key"].string ?? "?"] = row["bytes"].int }
        let malloc = found.removeValue(forKey: "malloc") ?? -1
        #expect(malloc == json["totals"]["liveBytes"].int)
        let sums = Self.kinds.map { ("mapped: " + $0, $1.reduce(0) { $0 + $1.pages } * Self.page) }
        #expect(found == Dictionary(uniqueKeysWithValues: sums))
        // They are in no total of blocks.
        let blocks = try kinds.json([])
        #expect(
            blocks["rows"].array.reduce(0) { $0 + $1["bytes"].int } == malloc
                && blocks["totals"]["liveBytes"].int == malloc)
        let table = try kinds.heapsum(["--by", "kind"])
        for (key, bytes) in sums {
            #expect(table.contains(separated(UInt64(bytes)) + " ") && table.contains(key), "\(table)")
        }
    }

    /// `heapsum info`: the sums, and all of the address space, which is the kernel's list.
    @Test func infoHasTheSumsAndTheAddressSpace() throws {
        let kinds = try Kinds(), text = try kinds.heapsum(["info"])
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        func section(_ name: String) -> [String] {
            Array(lines.drop { $0 != name }.dropFirst().prefix { !$0.isEmpty })
        }
        let mappings = section("Mappings")
        #expect(
            mappings.first?.hasPrefix(
                "mapped        929,792 bytes in 14 mappings, 81,920 mapped without access; at most ") == true, "\(text)"
        )
        var found: [String: [Int]] = [:]
        for line in mappings where line.hasPrefix("  ") {
            let words = line.replacing(",", with: "").split(separator: " ").map(String.init)
            found[words[1 ..< words.count - 2].joined(separator: " ")] = [
                Int(words[0]) ?? -1, Int(words[words.count - 2]) ?? -1,
            ]
        }
        let expected = Self.kinds.mapValues { rows in
            [
                rows.reduce(0) { $0 + $1.pages } * Self.page,
                rows.reduce(0) { $0 + ($1.function == "map_with_a_hole" ? 2 : 1) },
            ]
        }
        #expect(found == expected, "\(text)")
        let space = section("Address space")
        let bytes = space.map { line in
            UInt64(line.drop { $0 == " " }.prefix { $0 != " " }.filter(\.isNumber)) ?? 0
        }
        let kernels = parseMappings(Array(try contents("/proc/\(kinds.pid)/maps").utf8))
        #expect(bytes.reduce(0, +) == kernels.reduce(0) { $0 + ($1.end - $1.start) }, "\(text)")
        #expect(space.contains("               929,792  mapped by the program itself, 14 ranges"), "\(text)")
        #expect(!text.contains("booked, and not in the kernel's list"))
    }

    @Test func poolsBlocksAreRowsOfTheirOwn() throws {
        let scratch = try Scratch(), program = try Built.program("pools")
        let outcome = try scratch.run(
            [program], variables: Self.variables(scratch))
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let dump = scratch.file(try #require(scratch.names.first { $0.hasSuffix(".1.heap") }))
        func heapsum(_ options: [String]) throws -> String {
            try scratch.run([Built.products + "/heapsum"] + options + [dump]).output
        }
        let json = Told(try JSONReader.read(Array(heapsum(["--format", "json"]).utf8))), mapped = json["mapped"]
        let held = ["keep_hundreds": [100_000, 1000], "keep_half": [33_000, 1000], "give_again": [60, 1]]
        #expect(mapped["poolBytes"].int == 145_060 && mapped["poolBlocks"].int == 2501)
        #expect(mapped["bytes"].int == 64 << 20 && mapped["mappings"].int == 1)
        let rows = mapped["rows"].array.filter { $0["kind"].string == "pool" }
        #expect(rows.reduce(0) { $0 + $1["bytes"].int } == 145_060)
        for (name, sums) in held {
            let row = rows.first { row in
                row["frames"].array.contains { $0["function"].string?.contains(name) == true }
            }
            #expect(row.map { [$0["bytes"].int, $0["mappings"].int] } == sums, "\(name): \(rows)")
        }
        let text = try heapsum(["--top", "0"])
        #expect(text.contains("In the program's own pools: 145,060 bytes in 2,501 blocks\n"), "\(text)")
        let pools = Self.table(text, heading: "bytes   blocks   oldest   kind").filter { $0.last == "pool" }
        #expect(pools.compactMap { Int($0[0]) }.reduce(0, +) == 145_060, "\(text)")
        #expect(pools.count == rows.count)
        let info = try heapsum(["info"])
        #expect(
            info.contains(
                "pools         145,060 bytes in 2,501 blocks; 83,502 blocks in all, 0 not booked, 1 free of blocks "
                    + "that were not booked"), "\(info)")
        let byKind = Told(try JSONReader.read(Array(heapsum(["--by", "kind", "--format", "json"]).utf8)))
        #expect(byKind["rows"].array.first { $0["key"].string == "pool" }?["bytes"].int == 145_060)
    }

    /// A pool that tells Valgrind of its blocks can tell heapsum, too. Oracle: memcheck, of the same program.
    @Test func valgrindAndHeapsumAreToldTheSame() throws {
        let scratch = try Scratch(), program = try Built.program("told_pool")
        let judged = try scratch.run(["valgrind", "--leak-check=full", program])
        #expect(judged.messages.contains("4,800 bytes in 100 blocks are definitely lost"), "\(judged)")
        #expect(judged.messages.contains(": take (told_pool.c:"), "\(judged)")
        let outcome = try scratch.run([program], variables: Self.variables(scratch))
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let path = scratch.file(try #require(scratch.names.first { $0.hasPrefix("told_pool.") }))
        let told = try scratch.run([Built.products + "/heapsum", path])
        #expect(told.output.contains("In the program's own pools: 4,800 bytes in 100 blocks\n"), "\(told)")
        #expect(told.output.contains("  take ") && told.output.contains("told_pool.c:"), "\(told)")
    }

    /// Each page lies on 2 MB of its own, and so takes a node of its own: the image has no room for all.
    @Test func whatFindsNoSpaceIsCounted() throws {
        let scratch = try Scratch(), pages = 2000
        let outcome = try scratch.run(
            [try Built.program("mappings"), "scatter", "\(pages)"],
            variables: Self.variables(scratch).merging(["HEAPSUM_MAX_SIZE": "6000000"]) { $1 })
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let path = scratch.file(try #require(scratch.names.first { $0.hasPrefix("mappings.") }))
        let image = try HeapImage(path: path), sums = try #require(image.mappingSums())
        let booked = image.mappings().reduce(0) { $0 + $1.bytes }
        #expect(sums.lostCalls > 0 && booked > 0)
        #expect(sums.lostBytes == sums.lostCalls * UInt64(Self.page), "\(sums)")
        #expect(booked + sums.lostBytes == UInt64(pages * Self.page), "\(booked), \(sums)")
        func heapsum(_ options: [String]) throws -> String {
            try scratch.run([Built.products + "/heapsum"] + options + [path]).output
        }
        let lost = "\(separated(sums.lostCalls)) calls"
        #expect(try heapsum([]).contains("\(lost) that mapped or unmapped found no space in the image: "))
        #expect(try heapsum(["info"]).contains("lost          \(lost) found no space in the image: "))
        #expect(try heapsum(["--format", "json"]).contains("\"lostCalls\":\(sums.lostCalls),"))
    }

    @Test func withoutTheOptionNothingIsSaid() throws {
        let scratch = try Scratch()
        var variables = Self.variables(scratch)
        (variables["LD_PRELOAD"], variables["HEAPSUM_MAPPINGS"]) = (Built.interposer, nil)
        let outcome = try scratch.run([try Built.program("pools")], variables: variables)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let path = scratch.file(try #require(scratch.names.first { $0.hasSuffix(".1.heap") }))
        for options in [[], ["info"], ["--format", "json"], ["--by", "kind"]] {
            let told = try scratch.run([Built.products + "/heapsum"] + options + [path])
            #expect(told.exitStatus == 0, "\(told)")
            for word in ["Mapped by", "mapped", "own pools", "Address space"] { #expect(!told.output.contains(word)) }
        }
    }
}
