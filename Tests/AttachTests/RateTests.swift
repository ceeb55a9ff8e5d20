// heaprun --pid PID --sample BYTES on a process that is recorded already: one image ends, another begins, and each
// block is in one of them.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing

@Suite(.serialized) struct RateTests {
    private func change(_ scratch: Scratch, _ pid: pid_t, to rate: String, _ more: [String] = []) throws -> Outcome {
        try scratch.run(
            [Built.heaprun, "--pid", String(pid), "--sample", rate] + more,
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
    }

    /// The path on the message's last line.
    private func image(_ outcome: Outcome) throws -> HeapImage {
        guard outcome.exitStatus == 0, let range = outcome.messages.firstRange(of: "image: ") else {
            throw Failure("\(outcome)")
        }
        return try HeapImage(path: String(outcome.messages[range.upperBound...].prefix { $0 != "\n" }))
    }

    // A program that heaprun started: heaprun gathers the images of all rates at the end.
    @Test func ofAProgramThatIsRecordedFromItsStart() throws {
        let program = try Attached(
            [Built.heaprun, "-o", "images", try Built.program("dormant")],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try program.answer() == "ready")
        let pid = try program.running.child()
        _ = try program.ask("take 200")
        let first = try change(program.scratch, pid, to: "4K")
        #expect(first.messages.contains("recorded at another rate from now on: about one block for each 4,096 bytes"))
        let exact = try image(first)
        #expect(exact.held(777 ... 777).blocks == 200 && exact.sampleInterval == 0)
        #expect(exact.hasFlag(HEAP_FLAG_DETACHED) && !exact.hasFlag(HEAP_FLAG_ATTACHED))
        _ = try program.ask("take 2000")
        let sampled = try image(try change(program.scratch, pid, to: "0"))
        #expect(sampled.sampleInterval == 4096 && sampled.hasFlag(HEAP_FLAG_ATTACHED))
        // An estimate: five standard errors of 2,000 blocks of which about one in 5.8 is drawn.
        #expect(abs(Double(try sampled.census().liveBytes) / 777 - 2000) < 5 * 100)
        _ = try program.ask("take 50")
        _ = try program.ask("drop 200")
        _ = try program.ask("drop 2000")
        _ = try program.ask("drop 10")
        let again = try change(program.scratch, pid, to: "0")
        #expect(again.exitStatus == 125 && again.messages.contains("recorded so already: every block"), "\(again)")
        #expect(try program.ask("quit") == "bye")
        let outcome = try program.wait()
        #expect(outcome.exitStatus == 7 && outcome.messages.contains("31,080 bytes live in 40 blocks"), "\(outcome)")
        let names = program.scratch.path + "/images/dormant.\(pid)"
        let last = try HeapImage(path: names + "-3.heap")
        #expect(last.held(777 ... 777).blocks == 40 && last.losses.unmatched_frees == 2200)
        #expect(last.losses.lost_allocations == 0 && last.losses.healed_slots == 0)
        #expect(access(names + ".heap", F_OK) == 0 && access(names + "-2.heap", F_OK) == 0)
    }

    // Threads that only allocate, attached to: what the program holds of an epoch is what the image has that was ended
    // in it.
    @Test func ofAProgramThatOnlyAllocates() throws {
        let program = try Attached.churn(3)
        try program.attach()
        for round in 0 ..< 6 {
            let epoch = 3 + UInt64(round)
            try program.churnOn(epoch: epoch)
            _ = try program.ask("pause")
            let held = try program.ask("count \(epoch)").split(separator: " ").map(String.init)
            let exact = try image(try change(program.scratch, program.pid, to: "512K"))
            let found = exact.held(epoch * 1024 ... epoch * 1024 + 1023)
            #expect(["held", String(found.blocks), String(found.bytes)] == held)
            #expect(exact.losses.lost_allocations == 0 && exact.losses.healed_slots == 0)
            _ = try program.ask("resume")
            let sampled = try image(try change(program.scratch, program.pid, to: "0"))
            #expect(sampled.sampleInterval == 524288)
        }
        #expect(try program.detach().sampleInterval == 0)
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    @Test func ofADormantProgramThatIsAwake() throws {
        let program = try Attached(
            [Built.heaprun, "--dormant", "-o", "own", try Built.program("dormant")],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try program.answer() == "ready")
        kill(program.pid, SIGUSR2)
        #expect(try eventually { try contents("/proc/\(program.pid)/maps").contains(".heap\n") })
        _ = try program.ask("take 5")
        let exact = try image(try change(program.scratch, program.pid, to: "64K"))
        #expect(exact.held(777 ... 777).blocks == 5)
        _ = try program.ask("take 5")
        #expect(try image(try change(program.scratch, program.pid, to: "0")).sampleInterval == 65536)
        _ = try program.ask("take 7")
        #expect(try program.detach().held(777 ... 777).blocks == 7)
        #expect(try program.ask("quit") == "bye")
    }

    // A heaprun that stays with the program finds the images of both rates.
    @Test func whileAnotherHeaprunWaits() throws {
        let program = try Attached.churn(1)
        _ = try program.ask("epoch 1")
        let tool = try program.scratch.start(
            [Built.heaprun, "--pid", String(program.pid), "-o", "images", "--for", "10m"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try eventually { try contents(tool.messagesPath).contains("attached to churn") })
        _ = try image(try change(program.scratch, program.pid, to: "512K"))
        #expect(try program.ask("quit") == "damaged 0")
        let last = try tool.wait()
        #expect(last.exitStatus == 0 && last.messages.contains("has ended"), "\(last)")
        let images = try program.scratch.shell("ls \"$PWD\"/images/*.heap").output.split(separator: "\n")
        #expect(try images.map { try HeapImage(path: String($0)).sampleInterval }.sorted() == [0, 524288])
        #expect(try program.wait().exitStatus == 0)
    }

    // Sampled all the time, and each block for a while: the rate goes back when the time is over, or by a signal.
    @Test(arguments: ["1s", "10m"]) func forATimeAndBack(time: String) throws {
        let program = try Attached(
            [Built.heaprun, "--sample", "64K", "-o", "images", try Built.program("dormant")],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try program.answer() == "ready")
        let pid = try program.running.child()
        let tool = try program.scratch.start(
            [Built.heaprun, "--pid", String(pid), "--sample", "0", "--for", time],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try eventually { try contents(tool.messagesPath).contains("from now on: every block") })
        if time == "10m" {
            _ = try program.ask("take 100")
            kill(tool.pid, SIGTERM)
        }
        let said = try tool.wait()
        #expect(said.exitStatus == 0, "\(said)")
        #expect(said.messages.contains("from now on: about one block for each 65,536 bytes"), "\(said)")
        #expect(try program.ask("quit") == "bye")
        #expect(try program.wait().exitStatus == 7)
        let images = try ["", "-2", "-3"].map {
            try HeapImage(path: program.scratch.file("images/dormant.\(pid)\($0).heap"))
        }
        #expect(images.map(\.sampleInterval) == [65536, 0, 65536])
        if time == "10m" { #expect(images[1].held(777 ... 777).blocks == 100) }
    }

    // A signal that comes before heaprun waits does not leave the other rate behind.
    @Test(arguments: 0 ..< 12) func aSignalAtAnyTimeLeavesTheRateAsItWas(step: Int) throws {
        let program = try Attached.churn(1)
        try program.attach(["--sample", "64K"])
        let tool = try program.scratch.start(
            [Built.heaprun, "--pid", String(program.pid), "--sample", "0", "--for", "10m"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        usleep(UInt32(step * 4000))
        kill(tool.pid, SIGTERM)
        // Early, the signal ends heaprun before it has begun.
        let said = try tool.wait()
        #expect(said.exitStatus == 0 || (said.exitStatus == 128 + SIGTERM && said.messages.isEmpty), "\(said)")
        #expect(try program.detach().sampleInterval == 65536, "\(said)")
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    // Where the user wants them, or else where the recording began.
    @Test(arguments: ["images", "close"]) func aProgramThatEndsMeanwhileLeavesBothImages(output: String) throws {
        let program = try Attached.churn(1)
        try program.attach(["--sample", "64K"])
        let tool = try program.scratch.start(
            [Built.heaprun, "--pid", String(program.pid), "--sample", "0", "--for", "10m"]
                + (output == "images" ? [] : ["-o", output]),
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try eventually { try contents(tool.messagesPath).contains("from now on: every block") })
        #expect(try program.ask("quit") == "damaged 0")
        let said = try tool.wait()
        #expect(said.exitStatus == 0 && said.messages.contains("has ended"), "\(said)")
        let images = try program.scratch.shell("ls \"$PWD\"/\(output)/*.heap").output.split(separator: "\n")
        #expect(try images.map { try HeapImage(path: String($0)).sampleInterval }.sorted() == [0, 65536])
        // No link is left that leads nowhere.
        #expect(try program.scratch.shell("find images -xtype l").output.isEmpty)
        #expect(try program.wait().exitStatus == 0)
    }

    @Test func whatIsNoChangeOfTheRateIsRefused() throws {
        let program = try Attached.churn(1)
        try program.attach()
        for (words, reason) in [
            ([], "--sample BYTES changes its rate"), (["--sample", "0"], "recorded so already"),
            (["--sample", "8K", "--depth", "5"], "only --sample"),
        ] {
            let outcome = try program.heaprun("--pid", words)
            #expect(outcome.exitStatus == 125 && outcome.messages.contains(reason), "\(words): \(outcome)")
        }
        // Nothing was changed.
        #expect(try !program.detach().hasFlag(HEAP_FLAG_STOPPED))
        #expect(try program.ask("quit") == "damaged 0")
    }
}
