// heaprun --pid --mappings: what a running program maps itself from then on, to the page. Oracle: /proc/PID/maps.

import CHeapImage
import Glibc
import HeapImage
import Proc
import TestSupport
import Testing

@Suite struct MappingsTests {
    private static let page: UInt64 = 4096

    /// The mapped pages in the kernel's list, without heapsum's own.
    private func pages(_ pid: pid_t) throws -> Set<UInt64> {
        var pages: Set<UInt64> = []
        for entry in try mappings(of: pid)
        where entry.end < 1 << 48 && entry.path != "[stack]" && !entry.path.contains("heapsum")
            && !entry.path.hasSuffix(".heap")
        {
            for page in entry.start / Self.page ..< entry.end / Self.page where entry.end - entry.start < 1 << 33 {
                pages.insert(page)
            }
        }
        return pages
    }

    private func pages(_ image: HeapImage) -> Set<UInt64> {
        Set(image.mappings().flatMap { $0.range.lowerBound / Self.page ..< $0.range.upperBound / Self.page })
    }

    private func runningImage(_ program: Attached) throws -> HeapImage {
        let outcome = try program.scratch.run([Built.heapdump, String(program.pid)])
        guard outcome.exitStatus == 0 else { throw Failure("\(outcome)") }
        return try HeapImage(path: String(outcome.output.prefix { $0 != "\n" }))
    }

    /// Threads map, move and unmap at random meanwhile, and stand still for a look.
    @Test func whatIsMappedFromThenOnIsBookedToThePage() throws {
        let program = try Attached([try Built.program("maps_late")])
        for command in ["map", "start"] { #expect(try program.ask(command) == "\(command) done") }
        #expect(try program.ask("stop") == "stop done")
        for round in 0 ..< 2 {
            try program.attach(["--mappings"])
            let before = try pages(program.pid)
            // A first event of a thread maps its work space.
            #expect(try runningImage(program).mappings().isEmpty, "nothing is mapped yet")
            #expect(try program.ask("map") == "map done")
            let image = try runningImage(program)
            #expect(image.hasMappings && pages(image).count == 12 && pages(image).isDisjoint(with: before))
            let mapped = try pages(program.pid)
            #expect(pages(image).isSubset(of: mapped))
            let told = try program.scratch.run([Built.products + "/heapsum", "--format", "json", image.file])
            #expect(told.output.contains("\"map_pages\"") && told.output.contains("\"map_all\""), "\(told)")
            for _ in 0 ..< 3 {
                #expect(try program.ask("start") == "start done")
                #expect(try program.ask("stop") == "stop done")
                let booked = pages(try runningImage(program)), now = try pages(program.pid)
                #expect(booked.subtracting(now).isEmpty, "booked, and not mapped")
                #expect(booked.count > 100)
                // What is new and not booked is libc's and the recorder's: arenas, work spaces.
                let image = try runningImage(program)
                let own = image.scratchRanges().flatMap { $0.lowerBound / Self.page ..< $0.upperBound / Self.page }
                let new = now.subtracting(before).subtracting(booked).subtracting(own)
                #expect(new.count < 64 << 20 / Int(Self.page) * 5, "\(new.count) pages")
            }
            // What was mapped before is unmapped, too, and nothing is booked for it.
            #expect(try program.ask("unmap") == "unmap done")
            let left = try program.detach()
            let now = try pages(program.pid)
            #expect(left.hasMappings && pages(left).isSubset(of: now), "round \(round)")
            #expect(try program.ask("map") == "map done")
        }
        // Without the option nothing of it is booked, though the library is there.
        try program.attach()
        #expect(try program.ask("map") == "map done")
        let plain = try program.detach()
        #expect(!plain.hasMappings)
        program.tell("quit")
        #expect(try program.wait().exitStatus == 0)
    }

    @Test func itMayComeAndGoWhileThreadsMap() throws {
        let program = try Attached([try Built.program("maps_late")])
        #expect(try program.ask("start") == "start done")
        for _ in 0 ..< 20 {
            try program.attach(["--mappings"])
            usleep(useconds_t.random(in: 0 ..< 20_000))
            _ = try program.detach()
        }
        #expect(try program.ask("stop") == "stop done")
        program.tell("quit")
        #expect(try program.wait().exitStatus == 0)
    }

    /// Where the library was loaded with the program, the hooks are there or never.
    @Test func aDormantProgramIsTold() throws {
        let program = try Attached(
            [try Built.program("maps_late")], variables: ["LD_PRELOAD": Built.interposer, "HEAPSUM_DORMANT": "1"])
        #expect(try program.ask("map") == "map done")
        let told = try program.heaprun("--pid", ["--mappings", "-o", "images"])
        #expect(told.exitStatus == 125 && told.messages.contains("without libheapsum-mappings.so"), "\(told)")
        program.tell("quit")
        #expect(try program.wait().exitStatus == 0)
    }
}
