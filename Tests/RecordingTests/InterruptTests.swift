// Signals in the middle of the recorder's own work, and programs that take the dump signal by other ways than a
// handler.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct InterruptTests {
    /// An allocator that may be left at any point, as libc's may not.
    private func bump(_ scratch: Scratch, _ level: String = "-O1") throws -> [String: String?] {
        try scratch.prepare("cc \(level) -shared -fPIC -fno-builtin -o bump.so '\(Built.root)/Tests/Programs/bump.c'")
        return scratch.recordingVariables(["LD_PRELOAD": "\(Built.interposer):\(scratch.path)/bump.so"])
    }

    @Test(arguments: ["jump", "allocate"]) func handlersInterruptTheRecorder(how: String) throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("interrupted", [how, "1500"], variables: try bump(scratch))
        #expect(
            recording.outcome.output == "interrupted often\n" && recording.outcome.exitStatus == 0,
            "\(recording.outcome)")
        let image = try recording.image(of: "interrupted")
        let reduced = try Reduced(image)
        #expect(reduced.holding("after").blocks == 50 && reduced.holding("after").bytes == 2000)
        // What a jump left behind is lost to the program itself; a handler that returns leaves nothing.
        if how == "allocate" { #expect(reduced.totals.liveBlocks == 50) }
        // The next hook takes the levels of those that a jump left.
        if how == "jump" { #expect(image.header.losses.ringless_events == 0) }
        #expect(reduced.reduction.inputs.allSatisfy { !$0.damaged }, "\(image.damages)")
        #expect(reduced.totals.history.map { $0.allocatedBlocks - $0.freedBlocks } == reduced.totals.liveBlocks)
        #expect(reduced.totals.history.map { $0.allocatedBytes - $0.freedBytes } == reduced.totals.liveBytes)
    }

    /// A jump out of a fold leaves the process's sums right but for what one fold adds at once, and out of a sample of
    /// the timeline it leaves the next ones.
    @Test func aHandlerLeavesAFold() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("left", ["growing"], variables: try bump(scratch))
        #expect(recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let image = try recording.image(of: "left")
        let reduced = try Reduced(image)
        #expect(!image.damaged && image.header.losses.ringless_events == 0, "\(image.damages)")
        let summed = Int64(bitPattern: image.header.live_blocks), live = Int64(reduced.totals.liveBlocks)
        #expect(live > 1000 && abs(summed - live) < 600, "\(summed) in the sums, \(live) live")
        let timeline = image.timeline()
        #expect(timeline.count > 2, "\(timeline)")
    }

    /// No handler leaves the start of a recording, because it would not be made later.
    @Test func aHandlerLeavesAChildsFirstAllocation() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("left", ["starting", "40"], variables: try bump(scratch))
        #expect(recording.outcome.exitStatus == 0, "\(recording.outcome)")
        let images = try recording.images(of: "left")
        #expect(images.count == 41)
        for (name, image) in images {
            let blocks = try Reduced(image).holding("after").blocks
            #expect(!image.damaged && blocks == 50, "\(name): \(blocks) blocks, \(image.damages)")
        }
    }

    /// A handler that leaves the start by _longjmp, which keeps the mask, leaves no signal blocked.
    @Test func aHandlerLeavesAStartAndTheMask() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("left", ["sent", "60"], variables: try bump(scratch))
        #expect(recording.outcome.exitStatus == 0, "\(recording.outcome)")
    }

    #if arch(x86_64)
        /// At each instruction of an allocation, in an allocator one of whose functions jumps to another.
        @Test func aHandlerAllocatesAtEachInstructionBeforeAJump() throws {
            let scratch = try Scratch()
            let variables = try bump(scratch, "-O2")
            try scratch.prepare(
                "cc -std=gnu17 -O1 -g -D'ALLOCATE_BY=aligned_alloc(64, 72)' -o stepped "
                    + "'\(Built.root)/Tests/Programs/stepped.c' -lpthread")
            let outcome = try scratch.run([scratch.file("stepped")], variables: variables)
            #expect(outcome.exitStatus == 0, "\(outcome)")
            let image = try Recording(scratch: scratch, outcome: outcome).image(of: "stepped")
            let reduced = try Reduced(image)
            #expect(!image.damaged && image.header.losses.healed_slots == 0, "\(image.damages)")
            for name in ["first", "second", "third"] { #expect(reduced.holding(name).blocks == 1, "\(name)") }
        }

        /// A handler that allocates at each instruction of an allocation finds its own stack, and leaves that of the
        /// interrupted one.
        @Test(arguments: ["", "65536", "1"]) func aHandlerAllocatesAtEachInstruction(interval: String) throws {
            let scratch = try Scratch()
            var variables = try bump(scratch)
            if !interval.isEmpty { variables["HEAPSUM_SAMPLE"] = interval }
            try scratch.prepare("cc -std=gnu17 -O1 -g -o stepped '\(Built.root)/Tests/Programs/stepped.c'")
            let outcome = try scratch.run([scratch.file("stepped")], variables: variables)
            #expect(outcome.exitStatus == 0, "\(outcome)")
            let steps = try #require(UInt64(outcome.output.split(separator: "\n").joined()))
            #expect(steps > 100)
            let image = try Recording(scratch: scratch, outcome: outcome).image(of: "stepped")
            let reduced = try Reduced(image)
            #expect(!image.damaged)
            guard interval != "65536" else { return } // none of these few is drawn, as a rule
            for name in ["first", "second", "third"] {
                #expect(reduced.holding(name).blocks == 1 && reduced.holding(name).bytes == 72, "\(name)")
            }
            #expect(reduced.holding("in_handler").blocks == steps)
        }

        /// A handler that allocates at some instructions of a thread's first allocation gets no record of its own, and
        /// the thread's is whole.
        @Test(arguments: ["stay", "leave"]) func aHandlerAllocatesWhileItsThreadIsNew(how: String) throws {
            let scratch = try Scratch()
            var variables = try bump(scratch)
            variables["HEAPSUM_CHECK"] = "1"
            try scratch.prepare("cc -std=gnu17 -O1 -g -o stepped '\(Built.root)/Tests/Programs/stepped.c' -lpthread")
            let outcome = try scratch.run([scratch.file("stepped"), how], variables: variables)
            #expect(outcome.exitStatus == 0, "\(outcome)")
            let numbers = outcome.output.split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
            try #require(numbers.count == 2, "\(outcome)")
            let (steps, threads) = (numbers[0], numbers[1])
            #expect(threads > 20 && steps > 100)
            let image = try Recording(scratch: scratch, outcome: outcome).image(of: "stepped")
            let reduced = try Reduced(image)
            #expect(!image.damaged, "\(image.damages)")
            #expect(reduced.holding("in_handler").blocks + image.header.losses.lost_stacks == steps)
            #expect(reduced.holding("afterwards").blocks == threads)
            guard how == "stay" else { return } // a thread that leaves may leave its block
            #expect(reduced.holding("first").blocks == threads)
            #expect(reduced.totals.history?.freedBlocks == 0)
        }

        /// A handler that allocates between any two instructions of the countdown of a sampled recording doesn't make
        /// it begin again near 2^64. Some 400 blocks are drawn, so the estimate is right to 5%.
        @Test(arguments: [false, true]) func aHandlerAllocatesWithinTheCountdown(isLibcs: Bool) throws {
            let scratch = try Scratch()
            let variables = isLibcs ? scratch.recordingVariables() : try bump(scratch)
            let outcome = try scratch.run(
                [try Built.program("counted_down"), "600"],
                variables: variables.merging(["HEAPSUM_SAMPLE": "1000"]) { $1 })
            #expect(outcome.exitStatus == 0, "\(outcome)")
            let steps = try #require(UInt64(outcome.output.split(separator: "\n").joined()))
            #expect(steps > 5_000)
            let image = try Recording(scratch: scratch, outcome: outcome).image(of: "counted_down")
            let totals = try Reduced(image).totals
            let ratio = Double(totals.liveBytes) / Double(24 * steps + 72 * 600)
            #expect(!image.damaged && ratio > 0.75 && ratio < 1.25, "\(totals.liveBytes) for \(steps) steps")
        }
    #endif

    /// Runs it with `times` SIGUSR2 between "ready" and a line on its standard input.
    private func run(_ how: String, times: Int, recorded: Bool, dumps: Bool) throws -> Recording {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo input")
        let running = try scratch.start(
            [try Built.program("interrupted"), how], variables: recorded ? scratch.recordingVariables() : [:],
            input: scratch.path + "/input")
        #expect(try eventually { try contents(running.outputPath).contains("ready") })
        for number in 0 ..< times {
            let said = try contents(running.outputPath)
            kill(running.pid, SIGUSR2)
            if dumps {
                #expect(
                    eventually { access("\(scratch.path)/interrupted.\(running.pid).\(number + 1).heap", R_OK) == 0 },
                    "dump \(number + 1)")
            } else if how.hasPrefix("sig") {
                #expect(try eventually { try contents(running.outputPath) != said })
            }
        }
        let input = open(scratch.path + "/input", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
        if input >= 0 {
            write(input, "x\n", 2)
            close(input)
        }
        return Recording(scratch: scratch, outcome: try running.wait())
    }

    @Test(arguments: ["sigwait", "signalfd", "blocked"]) func aSignalThatIsBlockedIsTheProgramsOwn(how: String) throws {
        let plain = try run(how, times: 3, recorded: false, dumps: false),
            recorded = try run(how, times: 3, recorded: true, dumps: false)
        #expect(recorded.outcome == plain.outcome && plain.outcome.exitStatus == 0, "\(recorded.outcome)")
        let image = try recorded.image(of: "interrupted") // and no dump
        if how == "blocked" { #expect(try Reduced(image).holding("after").blocks == 50) }
    }

    @Test func dumpsNeedLittleStack() throws {
        let plain = try run("altstack", times: 0, recorded: false, dumps: false),
            recorded = try run("altstack", times: 10, recorded: true, dumps: true)
        #expect(
            plain.outcome.output == "ready\nthe words stand\n" && recorded.outcome == plain.outcome,
            "\(recorded.outcome)")
    }

    @Test func aPendingCancellationWaitsForThePrograms() throws {
        // open() and write() are cancellation points; a dump in a thread that is to be cancelled must not be one.
        let plain = try run("cancel", times: 0, recorded: false, dumps: false),
            recorded = try run("cancel", times: 5, recorded: true, dumps: true)
        #expect(
            plain.outcome.output == "ready\nnot before its time\ncancelled\n" && recorded.outcome == plain.outcome,
            "\(recorded.outcome)")
    }
}
