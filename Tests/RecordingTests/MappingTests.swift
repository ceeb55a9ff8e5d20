// What programs map themselves: to the page the kernel's own list, whatever threads do; of the right kind, with the
// right stack; and the program behaves as it would without. Oracles: /proc/PID/maps, a plain run.

import CHeapImage
import Glibc
import HeapImage
import Proc
import Reduce
import TestSupport
import Testing

@Suite struct MappingTests {
    private static let page: UInt64 = 4096
    private static let library = Built.interposer.replacing("libheapsum.so", with: "libheapsum-mappings.so")

    private func record(
        _ scratch: Scratch, _ command: [String], variables: [String: String?] = [:], preload: String = ""
    ) throws -> Recording {
        Recording(scratch: scratch, outcome: try start(scratch, command, variables, preload: preload).wait())
    }

    private func start(
        _ scratch: Scratch, _ command: [String], _ variables: [String: String?] = [:], preload: String = "",
        input: String = "/dev/null"
    ) throws -> Running {
        let all = scratch.recordingVariables([
            "LD_PRELOAD": "\(Built.interposer):\(Self.library)\(preload)", "HEAPSUM_MAPPINGS": "1",
        ]).merging(variables) { $1 }
        return try scratch.start(command, variables: all, input: input)
    }

    /// The mapped pages in the kernel's list, without the first thread's stack, which grows.
    private func pages(_ mappings: [Mapping]) -> Set<UInt64> {
        var pages: Set<UInt64> = []
        for entry in mappings where entry.path != "[stack]" && entry.end < 1 << 48 {
            for page in entry.start / Self.page ..< entry.end / Self.page where entry.end - entry.start < 1 << 33 {
                pages.insert(page)
            }
        }
        return pages
    }

    private func pages(_ mappings: [ProgramMapping]) -> Set<UInt64> {
        var pages: Set<UInt64> = []
        for mapping in mappings {
            for page in mapping.range.lowerBound / Self.page ..< mapping.range.upperBound / Self.page {
                pages.insert(page)
            }
        }
        return pages
    }

    private func kernels(_ scratch: Scratch, _ number: Int) throws -> [Mapping] {
        parseMappings(Array(try contents(scratch.file("maps-\(number)")).utf8))
    }

    /// Holds an image against the kernel's list of the same moment: what came since the first list is what is booked.
    private func compare(_ image: HeapImage, _ scratch: Scratch, _ number: Int) throws {
        let before = pages(try kernels(scratch, 0)), now = pages(try kernels(scratch, number))
        let booked = image.mappings(), ours = pages(booked)
        #expect(image.hasMappings && !booked.isEmpty && image.damages.isEmpty)
        #expect(ours.subtracting(now).isEmpty, "booked, and not mapped")
        #expect(now.subtracting(before).subtracting(ours).isEmpty, "mapped, and not booked")
        #expect(ours.isDisjoint(with: before), "booked, and there before")
        #expect(UInt64(ours.count) * Self.page == booked.reduce(0) { $0 + $1.bytes }, "booked twice")
        let sums = try #require(image.mappingSums())
        #expect(sums.lostCalls == 0 && sums.peakBytes >= UInt64(ours.count) * Self.page)
    }

    /// A call counts once, whether it only maps or replaces what was there; one that fails doesn't.
    @Test func eachCallCountsOnce() throws {
        let scratch = try Scratch()
        let source = """
            #define _GNU_SOURCE
            #include <stdlib.h>
            #include <sys/mman.h>
            #include <unistd.h>
            #define MAP(at, pages, flags) mmap(at, pages * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0)
            int main(int count, char **arguments) {
                for (int i = count > 1 ? atoi(arguments[1]) : 0; i > 0; i--) {
                    char *at = MAP(NULL, 4, 0);
                    MAP(at, 4, MAP_FIXED);
                    MAP(at + 4096, 2, MAP_FIXED);
                    at = mremap(at, 4 * 4096, 4096, 0);
                    if (mremap(at, 4096, 1ul << 60, 0) != MAP_FAILED) return 1;
                    munmap(at, 4096);
                    MAP(at + 1, 1, MAP_FIXED);
                    munmap(at + 1, 4096);
                    sbrk(4096);
                    sbrk(0);
                }
                return 0;
            }
            """
        try scratch.write("calls.c", source)
        try scratch.prepare("cc -w -o calls calls.c")
        let calls = try ["0", "10"].map { times in
            let recording = try record(scratch, [scratch.file("calls"), times])
            #expect(recording.outcome.exitStatus == 0)
            let calls = try #require(try recording.image(of: "calls").mappingSums()).calls
            try scratch.prepare("rm calls.*.heap")
            return calls
        }
        #expect(calls[1] - calls[0] == 6 * 10, "\(calls)")
    }

    /// Four threads; HEAPSUM_TEST_STEPS=1000000 makes a million steps.
    @Test(arguments: [1, 2] as [UInt64]) func threadsThatMapAtRandomAreFollowedToThePage(seed: UInt64) throws {
        let scratch = try Scratch(), steps = getenv("HEAPSUM_TEST_STEPS").map { String(cString: $0) } ?? "12000"
        let recording = try record(scratch, [try Built.program("mappings"), "random", "\(seed)", steps])
        #expect(recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let images = try recording.images(of: "mappings")
        let dumps = images.filter { $0.image.kind == .dump }
        #expect(dumps.count == 5)
        for (name, image) in dumps {
            let number = try #require(name.split(separator: ".").dropLast().last.flatMap { Int($0) })
            try compare(image, scratch, number)
        }
        // The image itself, a tree, says the same as the last dump, a list; and so does a packed copy.
        let running = try #require(images.first { $0.image.kind == .running }).image
        let last = try #require(dumps.max { $0.image.header.ended_ns < $1.image.header.ended_ns }).image
        #expect(pages(running.mappings()).isSuperset(of: pages(last.mappings())))
        try running.pack(to: scratch.file("packed.heap"))
        let packed = try HeapImage(path: scratch.file("packed.heap"))
        #expect(packed.mappings() == running.mappings() && packed.mappingSums() == running.mappingSums())
        #expect(packed.damages.isEmpty)
    }

    @Test func aHandlerMayMapWhileTheMainCodeDoes() throws {
        let scratch = try Scratch()
        let recording = try record(scratch, [try Built.program("mappings"), "handler"])
        #expect(recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let dump = try #require(try recording.images(of: "mappings").first { $0.image.kind == .dump }).image
        try compare(dump, scratch, 1)
    }

    @Test func whatFailsFailsAsItWould() throws {
        let scratch = try Scratch(), program = try Built.program("mappings")
        let plain = try scratch.run([program, "edges"])
        #expect(plain.exitStatus == 0 && plain.output.split(separator: "\n").count == 16, "\(plain)")
        let recording = try record(scratch, [program, "edges"])
        #expect(recording.outcome == plain, "\(recording.outcome)")
        let image = try recording.image(of: "mappings")
        #expect(image.mappings().isEmpty && image.mappingSums()?.lostCalls == 0)
    }

    @Test func eachMappingHasItsKindAndItsCaller() throws {
        let scratch = try Scratch()
        let recording = try record(scratch, [try Built.program("mappings"), "kinds"])
        #expect(recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let dump = try #require(try recording.images(of: "mappings").first { $0.image.kind == .dump }).image
        let reduced = try Reduced(dump)
        var found: [String: [UInt64]] = [:]
        for row in reduced.reduction.mappedRows {
            let names = reduced.functions(Row(node: row.node))
            let name = names.first == "map" ? names.dropFirst().first : names.first
            found["\(name ?? "?") \(row.kind.name)"] = [
                row.bytes / Self.page, row.mappings, row.reservedBytes / Self.page,
            ]
        }
        #expect(
            found == [
                "map_anonymous anonymous": [10, 1, 0], "map_shared_anonymous shared anonymous": [11, 1, 0],
                "map_stack stack": [12, 1, 0], "map_file file": [13, 1, 0], "map_shared_file shared file": [14, 1, 0],
                "map_memfd memfd": [15, 1, 0], "map_shared_memory shared memory": [16, 1, 0],
                "attach_segment shared memory": [17, 1, 0], "move_break break": [18, 1, 0],
                "map_device device": [19, 1, 0], "reserve anonymous": [20, 1, 20],
                // As with realloc, it is the mover's.
                "grow_by_moving anonymous": [42, 1, 0],
                // A hole makes two of one.
                "map_with_a_hole anonymous": [20, 2, 0],
            ], "\(found)")
        // malloc's part is as ever.
        #expect(reduced.reduction.totals.liveBytes == reduced.reduction.rows.reduce(0) { $0 + $1.bytes })
        #expect(reduced.reduction.mappedTotals.bytes == 227 * Self.page)
    }

    /// A kill falls anywhere: the tree can be read, and no page is in two mappings.
    @Test func aKilledProgramsMappingsCanBeRead() throws {
        for milliseconds in [30, 60, 120] as [UInt32] {
            let scratch = try Scratch()
            let running = try start(scratch, [try Built.program("mappings"), "random", "3", "100000000"])
            #expect(
                eventually(seconds: 60) {
                    let names = scratch.names.filter { $0.hasPrefix("mappings.") && $0.hasSuffix(".heap") }
                    return names.contains { (try? HeapImage(path: scratch.file($0)).mappings().count) ?? 0 > 20 }
                })
            usleep(milliseconds * 1000)
            kill(running.pid, SIGKILL)
            let outcome = try running.wait()
            #expect(outcome.exitStatus == 128 + SIGKILL)
            let image = try Recording(scratch: scratch, outcome: outcome).image(of: "mappings")
            let booked = image.mappings()
            #expect(image.damages.isEmpty && booked.count > 10, "\(booked.count) \(image.damages)")
            #expect(UInt64(pages(booked).count) * Self.page == booked.reduce(0) { $0 + $1.bytes })
        }
    }

    /// Each booked page is mapped, and what is mapped and not booked is libc's, the loader's or heapsum's.
    @Test(arguments: [
        [
            "python3", "-c",
            "import mmap, sys, threading; m = mmap.mmap(-1, 10 << 20); x = [str(i) for i in range(200000)]; "
                + "t = threading.Thread(target=lambda: threading.Event().wait(60), daemon=True); t.start(); "
                + "print('ready', flush=True); sys.stdin.read(1)",
        ],
        [
            "node", "-e",
            "let a = []; for (let i = 0; i < 200000; i++) a.push({i, s: 'x' + i}); console.log('ready'); "
                + "process.stdin.once('data', () => process.exit(0));",
        ],
    ]) func realProgramsMappingsAreTheKernels(command: [String]) throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo fifo")
        let running = try start(scratch, command, input: scratch.file("fifo"))
        #expect(try eventually(seconds: 60) { try contents(running.outputPath) == "ready\n" })
        // Once node's other threads have come to rest: what is booked and what is mapped are of one moment then.
        var booked: [ProgramMapping] = [], kernels: [Mapping] = []
        let isAtRest = try eventually {
            usleep(200_000)
            let before = try mappings(of: running.pid)
            let image = try Recording(scratch: scratch, outcome: Outcome(waitStatus: 0, output: "", messages: ""))
                .images(of: command[0] == "node" ? "node" : "python3").first { $0.image.kind == .running }?.image
            (booked, kernels) = (try #require(image).mappings(), try mappings(of: running.pid))
            return before.map(\.start) == kernels.map(\.start) && before.map(\.end) == kernels.map(\.end)
        }
        #expect(isAtRest)
        try scratch.prepare("echo x > fifo")
        let outcome = try running.wait()
        #expect(outcome.exitStatus == 0, "\(outcome)")
        #expect(booked.count > 2)
        for mapping in booked {
            let there = kernels.reduce(0 as UInt64) {
                let common = ($1.start ..< $1.end).clamped(to: mapping.range)
                return $0 + common.upperBound - common.lowerBound
            }
            #expect(there == mapping.bytes, "booked, and not mapped: \(mapping)")
        }
        // Anonymous memory that is not booked: stacks of 8 MB, arenas of 64 MB, blocks of malloc with their own
        // mappings, the recorder's work space, and data of libraries.
        let unbooked = kernels.filter { $0.inode == 0 && $0.path.isEmpty }.reduce(0 as UInt64) { sum, entry in
            booked.reduce(sum + entry.end - entry.start) {
                let common = ($1.range).clamped(to: entry.start ..< entry.end)
                return $0 - (common.upperBound - common.lowerBound)
            }
        }
        let threads = UInt64(command[0] == "node" ? 16 : 2)
        #expect(unbooked < threads * (64 << 20) + threads * (9 << 20) + (32 << 20), "\(unbooked)")
    }

    /// An allocator's own mappings are told apart: its blocks are counted.
    @Test(arguments: ["libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"])
    func anAllocatorsOwnMappingsAreToldApart(allocator: String) throws {
        let scratch = try Scratch()
        let recording = try record(
            scratch, [try Built.program("mappings"), "kinds"], preload: ":\(allocator)")
        #expect(recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let dump = try #require(try recording.images(of: "mappings").first { $0.image.kind == .dump }).image
        let reduction = try Reduced(dump).reduction
        #expect(reduction.mappedTotals.bytes == 227 * Self.page, "\(reduction.mappedTotals)")
        #expect(reduction.mappedTotals.allocatorBytes > 0)
        #expect(reduction.mappedRows.allSatisfy { $0.kind != .allocator })
    }

    @Test func aChildHasTheMappingsThatItMadeItself() throws {
        let scratch = try Scratch()
        let script = """
            import mmap, os, sys
            a = mmap.mmap(-1, 3 << 20)
            if os.fork() == 0:
                b = mmap.mmap(-1, 5 << 20); x = [str(i) for i in range(1000)]
                os.kill(os.getpid(), 9)
            os.wait()
            """
        let recording = try record(scratch, ["python3", "-c", script])
        #expect(recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let images = try recording.images(of: "python3").map(\.image)
        let child = try #require(images.first { $0.hasFlag(HEAP_FLAG_FORKED) })
        let parent = try #require(images.first { !$0.hasFlag(HEAP_FLAG_FORKED) })
        func sizes(_ image: HeapImage) -> Set<UInt64> {
            Set(image.mappings().filter { $0.kind == .sharedAnonymous }.map { $0.bytes >> 20 })
        }
        #expect(sizes(child) == [5] && sizes(parent) == [], "\(sizes(child)) \(sizes(parent))")
    }

    /// A forked child without a block has an image all the same.
    @Test func aChildThatOnlyMapsLeavesAnImage() throws {
        let scratch = try Scratch()
        try scratch.write(
            "child.c",
            """
            #include <sys/mman.h>
            #include <sys/wait.h>
            #include <unistd.h>
            int main(void) {
                if (fork() == 0) {
                    mmap(0, 5 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                    _exit(0);
                }
                wait(0);
                return 3;
            }
            """)
        try scratch.prepare("cc -o child child.c")
        let recording = try record(scratch, ["./child"])
        #expect(recording.outcome.exitStatus == 3, "\(recording.outcome)")
        let images = try recording.images(of: "child").map(\.image)
        #expect(images.map { $0.mappings().reduce(0) { $0 + $1.bytes } }.sorted() == [0, 5 << 20])
    }

    @Test func withoutTheOptionTheHooksAreNotThere() throws {
        let scratch = try Scratch()
        let names = try scratch.shell("nm -D --defined-only '\(Self.library)' | awk '{ print $3 }' | sort").output
        #expect(
            names.split(separator: "\n").map(String.init)
                == [
                    "__gmon_start__", "brk", "heapsum_mapping_hooks", "madvise", "mmap", "mmap64", "mremap", "munmap",
                    "sbrk", "shmat",
                    "shmdt",
                ])
        let main = try scratch.shell("nm -D --defined-only '\(Built.interposer)' | awk '{ print $3 }'").output
        #expect(Set(main.split(separator: "\n")).isDisjoint(with: Set(names.split(separator: "\n"))))
        // The variable alone makes room for them, and nobody books.
        for variables in [[:], ["HEAPSUM_MAPPINGS": "1"]] {
            let scratch = try Scratch()
            let image = try scratch.recordProgram("mappings", ["kinds"], variables: variables).images(of: "mappings")
                .map(\.image)
            #expect(image.count == 2 && image.allSatisfy { !$0.hasMappings && $0.mappings().isEmpty })
            #expect(image.allSatisfy { $0.damages.isEmpty }, "\(variables)")
        }
    }

    /// A library may mean something else by such a name.
    @Test func aLibrarysOwnMeaningOfANameIsKept() throws {
        let scratch = try Scratch(),
            names = ["mmap", "mmap64", "munmap", "mremap", "brk", "sbrk", "shmat", "shmdt", "madvise"]
        let list = "-fno-builtin '-DNAMES=\(names.map { "X(\($0))" }.joined(separator: " "))'"
        try scratch.compile("namesakes.c", as: "libnamesakes.so", "-DLIBRARY -shared -fPIC \(list)")
        try scratch.compile("namesakes.c", as: "namesakes", "\(list) -L. -lnamesakes -Wl,-rpath,'$ORIGIN'")
        let plain = try scratch.run(["./namesakes"])
        #expect(plain.output.hasPrefix("mmap 102.5\n"), "\(plain)")
        #expect(try record(scratch, ["./namesakes"]).outcome == plain)
    }

    @Test func aPoolsBlocksAreBookedWithTheirCallers() throws {
        let scratch = try Scratch()
        let recording = try record(scratch, [try Built.program("pools")])
        #expect(recording.outcome.exitStatus == 0 && recording.outcome.output == "done\n", "\(recording.outcome)")
        let images = try recording.images(of: "pools").map(\.image)
        for image in [try #require(images.first { $0.kind == .dump })] {
            let reduced = try Reduced(image)
            var found: [String: [UInt64]] = [:]
            for row in reduced.reduction.mappedRows where row.kind == .pool {
                let names = reduced.functions(Row(node: row.node))
                let name = ["keep_hundreds", "keep_half", "give_again", "fill"].first { wanted in
                    names.contains { $0.contains(wanted) }
                }
                found[name ?? "\(names)", default: [0, 0]][0] += row.bytes
                found[name ?? "\(names)", default: [0, 0]][1] += row.mappings
            }
            #expect(
                found == [
                    "keep_hundreds": [100_000, 1000], "keep_half": [33_000, 1000], "give_again": [60, 1],
                    // A list's node has two pointers beside the value.
                    "fill": [12_000, 500],
                ], "\(found)")
            let sums = try #require(image.poolSums())
            #expect(sums.lostBlocks == 0 && sums.unmatchedFrees == 1)
            #expect(sums.allocatedBlocks == 1000 + 2000 + 2 + 80_000 + 500)
            #expect(sums.allocatedBlocks - sums.freedBlocks == 2501)
            // The mapping that the pool took is there, as one.
            #expect(reduced.reduction.mappedTotals.bytes == 64 << 20)
        }
        // The program gives the list's nodes back after the dump.
        let running = try #require(images.first { $0.kind == .running })
        #expect(running.mappingsAndPools().filter(\.isPools).count == 2001)
        try running.pack(to: scratch.file("packed.heap"))
        let packed = try HeapImage(path: scratch.file("packed.heap"))
        #expect(packed.mappingsAndPools() == running.mappingsAndPools() && packed.poolSums() == running.poolSums())
        #expect(packed.damages.isEmpty)
        // Without --mappings nothing is booked, and nothing happens.
        let without = try scratch.recordProgram("pools")
        #expect(without.outcome == recording.outcome)
    }

    /// Whatever stands in a tree or a list: no trap, mappings in order, no page twice.
    @Test func damagedMappingsAreReadAsFarAsTheyGo() throws {
        let scratch = try Scratch()
        let recording = try record(scratch, [try Built.program("mappings"), "kinds"])
        var random = SeededGenerator(seed: 11)
        for (name, image) in try recording.images(of: "mappings") {
            // RANGES in the place of BLOCKS, MAPPINGS in that of PIECES.
            let section = image.sections[image.kind == .running ? 9 : 7]
            let bytes = UInt64(section.readableEntries) * UInt64(section.entryBytes)
            #expect(bytes > 500)
            for _ in 0 ..< 80 {
                let descriptor = open(scratch.file(name), O_RDWR | O_CLOEXEC)
                defer { close(descriptor) }
                var value: UInt64 =
                    switch UInt8.random(in: 0 ..< 4, using: &random) {
                    case 0: .random(in: 0 ... .max, using: &random)
                    case 1: HEAP_RANGE_NODE_BIT | .random(in: 0 ..< 12, using: &random)
                    case 2: .random(in: 0 ..< 1 << 20, using: &random)
                    default: .max
                    }
                let place = section.offset + .random(in: 0 ..< bytes / 8, using: &random) * 8
                #expect(pwrite(descriptor, &value, 8, off_t(place)) == 8)
                let damaged = try HeapImage(path: scratch.file(name))
                let found = damaged.mappingsAndPools()
                for (one, next) in zip(found, found.dropFirst()) where one.isPools == next.isPools {
                    #expect(one.range.upperBound <= next.range.lowerBound)
                }
                _ = damaged.mappingSums()
            }
            _ = try Reduced(try HeapImage(path: scratch.file(name)))
        }
    }
}

/// The macro of heap_mappings.h, which Swift doesn't import.
private let HEAP_RANGE_NODE_BIT: UInt64 = 1 << 63
