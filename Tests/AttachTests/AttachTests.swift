// Recording that comes and goes while a program runs: it behaves as without, and what was allocated meanwhile and not
// freed equals what the program itself counts.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing

@Suite(.serialized) struct AttachTests {
    // Attached to in the middle of churn. The blocks of an epoch that began when recording was on, counted by the
    // program while its threads stand still, are those of the image: each of them, and no other.
    @Test func aProgramThatOnlyAllocates() throws {
        let program = try Attached.churn(3)
        for round in 0 ..< 20 {
            let epoch = 2 + 2 * UInt64(round)
            _ = try program.ask("epoch \(epoch - 1)")
            try program.attach()
            try program.churnOn(epoch: epoch)
            _ = try program.ask("pause")
            let held = try program.ask("count \(epoch)").split(separator: " ")
            // Every other time its threads run on, and the image is of a moment that nobody else knows.
            if round % 2 == 1 { _ = try program.ask("resume") }
            let image = try program.detach()
            #expect(image.hasFlag(HEAP_FLAG_ATTACHED) && image.hasFlag(HEAP_FLAG_DETACHED))
            #expect(
                image.losses.lost_allocations == 0 && image.losses.lost_stacks == 0 && image.losses.healed_slots == 0)
            if round % 2 == 0 {
                let found = image.held(epoch * 1024 ... epoch * 1024 + 1023)
                #expect(["held", String(found.blocks), String(found.bytes)] == held.map(String.init))
                _ = try program.ask("resume")
            } else {
                #expect(image.held(0 ... UInt64.max).blocks <= 3 * 128)
            }
        }
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    // The loader waits in a FIFO that it is to preload, before it has mapped libc.
    @Test func aProgramThatIsJustStartingIsWaitedFor() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo early")
        let program = try Attached(
            [try Built.program("churn"), "1"], variables: ["LD_PRELOAD": scratch.file("early")], scratch: scratch)
        #expect(try !contents("/proc/\(program.pid)/maps").contains("libc"))
        let tool = try scratch.start(
            [Built.heaprun, "--pid", String(program.pid), "-o", "images"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        usleep(200_000)
        try scratch.prepare("exec 3>early")
        let outcome = try tool.wait()
        #expect(outcome.exitStatus == 0 && outcome.messages.contains("attached to churn"), "\(outcome)")
        try program.churnOn()
        #expect(try program.detach().held(0 ... UInt64.max).blocks > 0)
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    @Test func pythonWithThreads() throws {
        let scratch = try Scratch()
        try scratch.write(
            "threads.py",
            """
            import json, sys, threading
            over, wrong = False, 0
            def work():
                global wrong
                while not over:
                    value = {str(i): [i] * (i % 50) for i in range(200)}
                    if json.loads(json.dumps(value)) != value: wrong += 1
            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads: thread.start()
            print("ready", flush=True)
            sys.stdin.readline()
            over = True
            for thread in threads: thread.join()
            print("wrong", wrong, flush=True)
            """)
        let program = try Attached(
            ["/usr/bin/python3", "threads.py"], variables: ["PYTHONMALLOC": "malloc"], scratch: scratch)
        #expect(try program.answer() == "ready")
        for _ in 0 ..< 20 {
            try program.attach()
            let image = try program.detach()
            #expect(image.losses.lost_allocations == 0 && image.losses.healed_slots == 0)
        }
        #expect(try program.ask("go") == "wrong 0")
        #expect(try program.wait().exitStatus == 0)
    }

    // Each in the thread that is stopped, and by each of the ways in which the kernel goes on with such a call or
    // doesn't: the call comes back as without us, in its time, and errno is what it was.
    @Test(
        arguments: [
            "read", "readv", "write", "writev", "poll", "poll_limit", "ppoll", "select", "select_limit", "pselect",
            "epoll_wait", "epoll_pwait", "nanosleep", "clock_nanosleep", "pause", "sigsuspend", "sigtimedwait",
            "sigwaitinfo", "accept", "recv", "recvmsg", "recvmmsg", "send", "semop", "semtimedop", "msgrcv", "sem_wait",
            "sem_timedwait", "cond_wait", "wait4", "waitid", "flock", "fcntl",
        ])
    func aWaitGoesOn(name: String) throws {
        let endsAlone = name.hasSuffix("_limit") || name.hasSuffix("nanosleep") || name == "sem_timedwait"
        // On a busy machine the wait may be over before anybody has attached: then a longer one.
        let limits = endsAlone ? [3, 15, 75] : [nil]
        #expect(try limits.contains { try expectWaitGoesOn(name, limit: $0) })
    }

    /// Attaches and detaches meanwhile. Answers whether there was the time for it.
    private func expectWaitGoesOn(_ name: String, limit: Int?) throws -> Bool {
        let program = try Attached([try Built.program("waits"), name, "\(limit ?? 0)"])
        #expect(try program.answer() == "waiting")
        #expect(
            try eventually { try limit != nil || contents("/proc/\(program.pid)/stat").contains(") S ") }, "it waits")
        do {
            for _ in 0 ..< (limit != nil ? 1 : 2) {
                try program.attach()
                _ = try program.detach()
            }
        } catch  where limit != nil && program.running.hasEnded {
            return false
        }
        if limit == nil { program.tell("go") }
        let wanted =
            switch name {
            case "pause", "sigsuspend": "failed \(EINTR)"
            case "sem_timedwait": "failed \(ETIMEDOUT)"
            case "clock_nanosleep": "came back 0 errno 0"
            case "sigtimedwait", "sigwaitinfo": "came back \(SIGUSR1) errno 12345"
            case "write", "writev": "came back 65536 errno 12345"
            case "poll_limit", "select_limit", "nanosleep", "accept", "send", "semop", "semtimedop", "sem_wait",
                "cond_wait", "wait4", "waitid", "flock", "fcntl":
                "came back 0 errno 12345"
            default: "came back 1 errno 12345"
            }
        #expect(try program.answer() == wanted)
        let took = try program.answer().split(separator: " ").last.flatMap { Int($0) } ?? 0
        if let limit { #expect(took >= limit * 1000 - 1) }
        #expect(try program.wait().exitStatus == 0)
        return true
    }

    // heaprun is killed while the thread is in its hands, at instants of all kinds. The thread finds home by itself.
    @Test func heaprunMayDieAtAnyInstant() throws {
        let program = try Attached.churn(2)
        var generator = SeededGenerator(seed: 4711)
        for round in 0 ..< 24 {
            let tool = try program.scratch.start(
                [Built.heaprun, round % 2 == 0 ? "--pid" : "--detach", String(program.pid), "--quiet"],
                variables: ["HEAPSUM_LIBRARY": Built.interposer])
            let status = "/proc/\(program.pid)/status"
            var result: Int32 = 0
            while !(try contents(status)).contains("TracerPid:\t\(tool.pid)")
                && waitpid(tool.pid, &result, WNOHANG) == 0
            {
            }
            usleep(UInt32.random(in: 0 ..< 4000, using: &generator))
            kill(tool.pid, SIGKILL)
            waitpid(tool.pid, &result, 0)
        }
        // Whatever state it was left in, another one brings it to an end.
        _ = try program.heaprun("--detach")
        try program.attach()
        try program.churnOn(epoch: 9)
        _ = try program.ask("pause")
        let held = try program.ask("count 9").split(separator: " ").map(String.init)
        let found = try program.detach().held(9216 ... 10239)
        #expect(held == ["held", String(found.blocks), String(found.bytes)])
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    @Test func aTimeIsKeptAndTheProgramsEndIsSeen() throws {
        let program = try Attached.churn(1)
        let began = clock_seconds()
        let outcome = try program.heaprun("--pid", ["-o", "images", "--for", "1s"])
        #expect(outcome.exitStatus == 0 && outcome.messages.contains("detached from churn"), "\(outcome)")
        #expect(clock_seconds() - began >= 1)
        let tool = try program.scratch.start(
            [Built.heaprun, "--pid", String(program.pid), "-o", "images", "--for", "10m"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try eventually { try contents(tool.messagesPath).contains("attached to churn") })
        #expect(try program.ask("quit") == "damaged 0")
        let last = try tool.wait()
        #expect(last.exitStatus == 0 && last.messages.contains("has ended"), "\(last)")
        #expect(program.scratch.names.contains("images"))
        let images = try program.scratch.shell("ls images/*.heap").output.split(separator: "\n")
        #expect(images.count == 2)
        for path in images {
            let info = try program.scratch.run([Built.products + "/heapsum", "info", String(path)])
            #expect(info.output.contains("ran already: blocks from before"), "\(info)")
        }
        #expect(try program.wait().exitStatus == 0)
    }

    /// Started by nohup, heaprun does not end by SIGHUP, and ends by the other signals.
    @Test func anIgnoredSignalStaysIgnored() throws {
        let program = try Attached.churn(1)
        let tool = try program.scratch.start(
            ["nohup", Built.heaprun, "--pid", String(program.pid), "-o", "images", "--for", "10m"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try eventually { try contents(tool.messagesPath).contains("attached to churn") })
        kill(tool.pid, SIGHUP)
        usleep(1_000_000)
        #expect(!(try contents(tool.messagesPath).contains("detached")))
        kill(tool.pid, SIGTERM)
        let last = try tool.wait()
        #expect(last.exitStatus == 0 && last.messages.contains("detached from churn"), "\(last)")
        #expect(try program.ask("quit") == "damaged 0")
        #expect(try program.wait().exitStatus == 0)
    }

    /// As a service that is stopped as a whole: heaprun is asked to detach from a program that is ending.
    @Test func aProgramThatEndsTogetherWithHeaprunLeavesItsImage() throws {
        for _ in 0 ..< 5 {
            let program = try Attached.churn(1)
            let tool = try program.scratch.start(
                [Built.heaprun, "--pid", String(program.pid), "-o", "images", "--for", "10m"],
                variables: ["HEAPSUM_LIBRARY": Built.interposer])
            #expect(try eventually { try contents(tool.messagesPath).contains("attached to churn") })
            kill(program.pid, SIGKILL)
            kill(tool.pid, SIGINT)
            let last = try tool.wait()
            #expect(last.exitStatus == 0, "\(last)")
            let images = try program.scratch.shell("ls images/*.heap").output.split(separator: "\n")
            #expect(images.count == 1, "\(last)")
            _ = try program.wait()
        }
    }

    private func clock_seconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
