// heaprun --dormant: until somebody asks, the program runs as without heapsum, and leaves nothing anywhere. From then
// on it is recorded, exactly.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite(.serialized) struct DormantTests {
    private func dormant(
        _ program: String = "dormant", _ arguments: [String] = [], options: [String] = []
    ) throws -> Attached {
        try Attached(
            [Built.heaprun, "--dormant", "-o", "own"] + options + [try Built.program(program)] + arguments,
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
    }

    /// The image that a process writes, and its name.
    private func image(of pid: pid_t) throws -> String {
        let maps = try contents("/proc/\(pid)/maps").split(separator: "\n")
        guard let line = maps.first(where: { $0.hasSuffix(".heap") }), let start = line.firstIndex(of: "/") else {
            throw Failure("no image is mapped")
        }
        return String(line[start...])
    }

    // The image of an ended recording stays mapped, as a file without a name.
    private func isRecorded(_ pid: pid_t) throws -> Bool { try contents("/proc/\(pid)/maps").contains(".heap\n") }

    /// Nothing is to be seen of the recorder but the library.
    private func expectNothing(_ program: Attached, _ pid: pid_t? = nil) throws {
        let pid = pid ?? program.pid
        let maps = try contents("/proc/\(pid)/maps")
        #expect(maps.contains("libheapsum.so") && !maps.contains(".heap") && !maps.contains("memfd:"))
        #expect(try program.scratch.shell("ls own").output.isEmpty)
        #expect(try !program.scratch.shell("ls -l /proc/\(pid)/fd").output.contains(".heap\n"))
        let shared = try program.scratch.shell("grep -l '' /dev/shm/heapsum-*/*.\(pid).heap 2>/dev/null").output
        #expect(shared.isEmpty, "\(shared)")
    }

    /// Asks for a recording; the images go into "images". The program must allocate or free something for that.
    private func arm(_ program: Attached, _ more: [String] = [], pid: pid_t? = nil) throws -> Outcome {
        let outcome = try program.scratch.run(
            [Built.heaprun, "--pid", String(pid ?? program.pid), "-o", "images"] + more,
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        guard outcome.exitStatus == 0 else { throw Failure("\(outcome)") }
        return outcome
    }

    @Test func outputAndExitAreThoseOfThePlainProgram() throws {
        let scratch = try Scratch()
        let script = "echo out; echo err >&2; sort /etc/passwd | md5sum; exit 9"
        let plain = try scratch.run(["/bin/sh", "-c", script])
        let outcome = try scratch.run(
            [Built.heaprun, "--dormant", "/bin/sh", "-c", script], variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(outcome.exitStatus == 9 && outcome.output == plain.output && outcome.messages == plain.messages)
        #expect(scratch.names.filter { $0.hasSuffix(".heap") } == [])
        // A signal that it raises itself does to it what it would.
        let killed = try scratch.run(
            [Built.heaprun, "--dormant", "/bin/sh", "-c", "kill -USR2 $$"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(killed.waitStatus == SIGUSR2, "\(killed)")
    }

    // Asked by heaprun: what came before is not in the image, and its frees are no errors; what comes after is, and
    // nothing else.
    @Test func heaprunAsksAndTheCountsAreExact() throws {
        let program = try dormant()
        #expect(try program.answer() == "ready")
        _ = try program.ask("take 300")
        try expectNothing(program)
        // Twice in one life: awake, dormant again, awake again.
        for round in 1 ... 2 {
            let asked = try arm(program)
            // It sleeps in read, and is not woken for this.
            #expect(asked.messages.contains("recording begins when it does"), "\(asked)")
            #expect(try !isRecorded(program.pid))
            _ = try program.ask("drop 10")
            #expect(try eventually { try isRecorded(program.pid) })
            _ = try program.ask("take 100")
            _ = try program.ask("drop 30") // of those from before
            let again = try program.heaprun("--pid", ["-o", "images"])
            #expect(again.exitStatus == 125 && again.messages.contains("recorded already"), "\(again)")
            let image = try program.detach()
            #expect(image.hasFlag(HEAP_FLAG_ATTACHED) && image.hasFlag(HEAP_FLAG_DETACHED))
            let held = image.held(777 ... 777)
            #expect(held.blocks == 100 && held.bytes == 77700, "round \(round): \(held)")
            // The first free of the ten is the call that began the recording, or the one after it.
            #expect((39 ... 40).contains(image.losses.unmatched_frees), "\(image.losses.unmatched_frees)")
            #expect(image.losses.lost_allocations == 0 && image.losses.early_allocations == 0)
            #expect(try program.scratch.shell("ls own").output.isEmpty)
        }
        #expect(try program.ask("quit") == "bye")
        #expect(try program.wait().exitStatus == 7)
    }

    // A tag belongs to the thread, not to a recording: one that is set while nothing is recorded counts later.
    @Test func aTagFromBeforeTheRecordingCounts() throws {
        let program = try dormant()
        #expect(try program.answer() == "ready")
        #expect(try program.ask("tag set before") == "tagged")
        for round in 1 ... 2 {
            _ = try arm(program)
            _ = try program.ask("take 1")
            _ = try program.ask("take 100")
            if round == 2 { _ = try program.ask("tag set while recorded") }
            _ = try program.ask("take 200")
            let reduction = Reduction()
            try reduction.add(program.detach())
            var blocks: [String: UInt64] = [:]
            for row in reduction.rows { blocks[reduction.tag(of: row)?.description ?? "", default: 0] += row.blocks }
            // The first allocation may be the call that begins the recording.
            let first = blocks["set before", default: 0]
            #expect(
                blocks["", default: 0] == 0 && (round == 1 ? 300 ... 301 : 100 ... 101).contains(first), "\(blocks)")
            #expect(blocks["set while recorded"] == (round == 1 ? nil : 200), "\(blocks)")
        }
        #expect(try program.ask("quit") == "bye")
        #expect(try program.wait().exitStatus == 7)
    }

    @Test func threadsThatOnlyAllocate() throws {
        let program = try dormant("churn", ["3"])
        for round in 0 ..< 10 {
            let epoch = 2 + 2 * UInt64(round)
            _ = try program.ask("epoch \(epoch - 1)")
            let outcome = try arm(program)
            #expect(outcome.messages.contains("nothing was stopped"), "\(outcome)")
            try expectExact(program, epoch: epoch)
        }
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    @Test(arguments: [nil, "RTMIN+3"]) func aSignalAsks(name: String?) throws {
        let program = try dormant(options: name.map { ["--signal", $0] } ?? [])
        #expect(try program.answer() == "ready")
        _ = try program.ask("take 50")
        try expectNothing(program)
        let number = name == nil ? SIGUSR2 : 37
        kill(program.pid, number)
        #expect(try eventually { try isRecorded(program.pid) })
        #expect(try image(of: program.pid).hasPrefix(program.scratch.path + "/own/"))
        _ = try program.ask("take 40")
        _ = try program.ask("drop 60")
        // From now on it is the dump signal.
        kill(program.pid, number)
        let dump = "\(program.scratch.path)/own/dormant.\(program.pid).1.heap"
        #expect(eventually { access(dump, F_OK) == 0 })
        #expect(try HeapImage(path: dump).held(777 ... 777).blocks == 30)
        let image = try program.detach()
        #expect(image.held(777 ... 777).blocks == 30 && image.losses.unmatched_frees == 50)
        // Dormant again: the next signal begins another recording, with the process's own settings.
        _ = try program.ask("take 5")
        kill(program.pid, number)
        #expect(try eventually { try isRecorded(program.pid) })
        _ = try program.ask("take 3")
        #expect(try program.detach().held(777 ... 777).blocks == 3)
        #expect(try program.ask("quit") == "bye")
        #expect(try program.wait().exitStatus == 7)
    }

    // A signal that the program has its own use for stays the program's.
    @Test func theProgramsOwnHandlerStays() throws {
        let scratch = try Scratch()
        let running = try scratch.start(
            [
                Built.heaprun, "--dormant", "-o", "own", "/bin/sh", "-c",
                "trap 'echo mine; exit' USR2; echo ready; i=0; while [ $i -lt 1200 ]; do sleep 0.05; i=$((i+1)); done",
            ], variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        kill(running.pid, SIGUSR2)
        #expect(try running.wait().output == "ready\nmine\n")
        #expect(try scratch.shell("ls own").output.isEmpty)
    }

    // Whoever asks the parent doesn't ask the child, and the other way round; a child of a recorded process is dormant.
    @Test func aForksChildIsDormant() throws {
        let program = try dormant()
        #expect(try program.answer() == "ready")
        _ = try program.ask("take 20")
        // Asked, and not awake yet: the child does not wake in its parent's place.
        _ = try arm(program)
        let answer = try program.ask("fork").split(separator: " ")
        let child = try #require(answer.last.flatMap { pid_t($0) })
        _ = try program.ask("take 20")
        #expect(try !isRecorded(child))
        _ = try arm(program, pid: child)
        _ = try program.ask("take 1")
        #expect(try eventually { try isRecorded(child) })
        _ = try program.ask("take 7")
        _ = try program.ask("drop 3")
        let path = try image(of: child)
        let held = try HeapImage(path: path).held(777 ... 777).blocks
        #expect(held == 7 || held == 8)
        _ = try program.ask("quit")
        #expect(try program.answer() == "joined")
        // The parent's request still stands.
        _ = try program.ask("take 1")
        #expect(try eventually { try isRecorded(program.pid) })
        _ = try program.ask("take 5")
        let recorded = try program.ask("fork").split(separator: " ")
        let second = try #require(recorded.last.flatMap { pid_t($0) })
        _ = try program.ask("take 9")
        #expect(try !isRecorded(second))
        kill(second, SIGUSR2)
        #expect(try eventually { try isRecorded(second) })
        _ = try program.ask("take 4")
        #expect(try HeapImage(path: image(of: second)).held(777 ... 777).blocks == 4)
        _ = try program.ask("quit")
        #expect(try program.answer() == "joined")
        let own = try program.detach().held(777 ... 777).blocks
        #expect(own == 5 || own == 6)
        #expect(try program.ask("quit") == "bye")
        #expect(try program.wait().exitStatus == 7)
    }

    @Test func aProgramThatTakesItsPlaceIsDormant() throws {
        let program = try dormant()
        #expect(try program.answer() == "ready")
        #expect(try program.ask("vfork") == "joined")
        kill(program.pid, SIGUSR2)
        #expect(try eventually { try isRecorded(program.pid) })
        #expect(try program.ask("vfork") == "joined")
        _ = try program.ask("take 2")
        program.tell("exec")
        #expect(try program.answer() == "ready")
        #expect(try !isRecorded(program.pid))
        kill(program.pid, SIGUSR2)
        #expect(try eventually { try isRecorded(program.pid) })
        _ = try program.ask("take 6")
        #expect(try program.detach().held(777 ... 777).blocks == 6)
        #expect(try program.ask("quit") == "bye")
        #expect(try program.wait().exitStatus == 7)
    }

    @Test func aTimeIsKeptAndAnEndIsSeen() throws {
        let program = try dormant("churn", ["1"])
        _ = try program.ask("epoch 1") // it runs, and not heaprun any more
        let outcome = try arm(program, ["--for", "1s", "--sample", "64K"])
        #expect(outcome.messages.contains("it is dormant again"), "\(outcome)")
        let path = try program.scratch.shell("ls \"$PWD\"/images/churn.*.heap").output.split(separator: "\n")
        #expect(path.count == 1)
        #expect(try HeapImage(path: String(path[0])).sampleInterval == 65536)
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
        // One that does nothing is waited for, until it ends.
        let idle = try dormant()
        #expect(try idle.answer() == "ready")
        let waiting = try idle.scratch.start(
            [Built.heaprun, "--pid", String(idle.pid), "-o", "images", "--for", "1m"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try eventually { try contents(waiting.messagesPath).contains("recording begins when it does") })
        #expect(try idle.ask("quit") == "bye")
        #expect(try idle.wait().exitStatus == 7)
        let ended = try waiting.wait()
        #expect(ended.exitStatus == 125 && ended.messages.contains("ended before it began"), "\(ended)")
    }

    /// Ends the recording of `churn`, and compares the image with what the program holds of a new epoch.
    private func expectExact(_ program: Attached, epoch: UInt64) throws {
        try program.churnOn(epoch: epoch)
        _ = try program.ask("pause")
        let held = try program.ask("count \(epoch)").split(separator: " ").map(String.init)
        let image = try program.detach()
        let found = image.held(epoch * 1024 ... epoch * 1024 + 1023)
        #expect(["held", String(found.blocks), String(found.bytes)] == held)
        #expect(image.losses.lost_allocations == 0 && image.losses.healed_slots == 0)
        _ = try program.ask("resume")
    }

    // heaprun's write may fall into a start by the signal: one of the two starts the recording, and it stays whole.
    @Test func aSignalAndARequestAtOnce() throws {
        let program = try dormant("churn", ["2"])
        _ = try program.ask("epoch 1")
        var generator = SeededGenerator(seed: 18)
        for round in 0 ..< 12 {
            let tool = try program.scratch.start(
                [Built.heaprun, "--pid", String(program.pid), "-o", "images"],
                variables: ["HEAPSUM_LIBRARY": Built.interposer])
            usleep(UInt32.random(in: 5_000 ..< 60_000, using: &generator))
            kill(program.pid, SIGUSR2)
            let outcome = try tool.wait()
            #expect(
                outcome.exitStatus == 0 || outcome.messages.contains("recorded already"), "\(outcome)")
            #expect(try eventually { try isRecorded(program.pid) })
            try expectExact(program, epoch: 2 + UInt64(round))
        }
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    // Half a request starts nothing, and keeps nobody from the next one.
    @Test func heaprunMayDieAtAnyInstant() throws {
        let program = try dormant("churn", ["2"])
        _ = try program.ask("epoch 1")
        var generator = SeededGenerator(seed: 4712)
        for round in 0 ..< 16 {
            let tool = try program.scratch.start(
                [Built.heaprun, round % 3 == 2 ? "--detach" : "--pid", String(program.pid), "--quiet"],
                variables: ["HEAPSUM_LIBRARY": Built.interposer])
            var result: Int32 = 0
            usleep(UInt32.random(in: 0 ..< 60_000, using: &generator))
            kill(tool.pid, SIGKILL)
            waitpid(tool.pid, &result, 0)
        }
        // It may have been left recording.
        _ = try program.heaprun("--detach")
        _ = try arm(program)
        #expect(try eventually { try isRecorded(program.pid) })
        try expectExact(program, epoch: 9)
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    @Test(arguments: ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"]) func otherAllocators(name: String) throws {
        let program = try Attached(
            [Built.heaprun, "--dormant", "-o", "own", try Built.program("churn"), "2"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer, "LD_PRELOAD": name])
        _ = try program.ask("epoch 1")
        try expectNothing(program)
        for round in 0 ..< 2 {
            _ = try arm(program)
            try expectExact(program, epoch: 2 + UInt64(round))
        }
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    // Where ptrace is out of reach, a dormant program can still be asked.
    @Test func aTracedProgramCanBeAsked() throws {
        let program = try dormant("churn", ["1"])
        _ = try program.ask("epoch 1")
        let tracer = try program.scratch.start(["strace", "-e", "trace=none", "-o", "trace", "-p", String(program.pid)])
        #expect(try eventually { !(try contents("/proc/\(program.pid)/status").contains("TracerPid:\t0")) })
        let outcome = try arm(program)
        #expect(outcome.messages.contains("nothing was stopped"), "\(outcome)")
        kill(tracer.pid, SIGTERM)
        _ = try tracer.wait()
        try program.churnOn()
        #expect(try program.detach().held(0 ... UInt64.max).blocks > 0)
        #expect(try program.ask("quit") == "damaged 0")
    }

    @Test(.enabled(if: geteuid() == 0, "RLIMIT_MEMLOCK")) func lockedMemoryStaysSmall() throws {
        let scratch = try Scratch()
        try scratch.write(
            "program.c",
            """
            #include <stdio.h>
            #include <stdlib.h>
            #include <sys/mman.h>
            int main(void) {
                if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return 2;
                puts("ready"); fflush(stdout);
                while (getchar() == '\\n') { free(malloc(5)); puts("done"); fflush(stdout); }
                return 0;
            }
            """)
        try scratch.prepare("cc -o program program.c")
        let program = try Attached(
            [Built.heaprun, "--dormant", "-o", "own", "./program"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer], scratch: scratch)
        #expect(try program.answer() == "ready")
        let refused = try program.heaprun("--pid", ["-o", "images"])
        #expect(refused.exitStatus == 125 && refused.messages.contains("MCL_FUTURE"), "\(refused)")
        kill(program.pid, SIGUSR2)
        _ = try program.ask("")
        #expect(try !isRecorded(program.pid))
    }

    @Test func wrongArguments() throws {
        let scratch = try Scratch()
        for arguments in [
            ["--dormant", "--leaks", "true"], ["--dormant", "--dump-near-limit", "90%", "true"],
            ["--dormant", "--pid", "1"], ["--dormant"],
        ] {
            let outcome = try scratch.run(
                [Built.heaprun] + arguments, variables: ["HEAPSUM_LIBRARY": Built.interposer])
            #expect(outcome.exitStatus == 125 && !outcome.messages.isEmpty, "\(arguments): \(outcome)")
        }
    }
}
