// One block for each place that a pointer can hide in, and true leaks among them. The program says itself what is true
// of each, by its size.

import Glibc
import TestSupport
import Testing

@Suite struct HidingTests {
    @Test func eachPlaceIsFoundAndEachLeakToo() throws {
        let program = try leaksProgram("hiding"), directory = "\(Built.root)/.build/test-programs/leaks"
        try #require(
            system("cc -shared -fPIC -O1 -o '\(directory)/library.so' '\(Built.root)/Tests/Programs/leaks/library.c'")
                == 0)
        let watched = try Watched([program, "\(directory)/library.so"])
        var verdicts: [Int: [String]] = [:]
        for row in try watched.rows() { verdicts[row.bytes / row.blocks, default: []].append(row.verdict) }
        var places = 0
        for line in try watched.lines() {
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count == 3, let bytes = Int(words[0]) else { continue }
            places += 1
            #expect(verdicts[bytes] == [String(words[1])], "\(words[2]) (\(bytes) bytes)")
        }
        #expect(places == 44)
    }

    // In a PID namespace of its own, as in a container, the snapshot's process has another number there.
    @Test(.enabled(if: geteuid() == 0)) func nothingIsLeftBehindInAContainer() throws {
        let scratch = try Scratch(), program = try leaksProgram("cases")
        let running = try scratch.start(
            [
                "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", Built.heaprun, "--quiet", "-o", "images",
                program,
            ], variables: ["HEAPSUM_LIBRARY": Built.interposer])
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        let isReady = try eventually { try contents(running.outputPath) == "ready\n" }
        try #require(isReady)
        let recorder = try running.child()
        let pid = try #require(try contents("/proc/\(recorder)/task/\(recorder)/children").split(separator: " ").first)
        for _ in 0 ..< 3 {
            let outcome = try scratch.run([Built.products + "/heapsum", "leaks", String(pid)])
            #expect(outcome.exitStatus == 0 && outcome.output.contains("definite          4"), "\(outcome)")
            #expect(try contents("/proc/\(pid)/task/\(pid)/children").isEmpty)
        }
    }

    // The snapshot shares the program's open files: what it closes while a search goes on is closed for its peer, too.
    @Test func whatIsClosedMeanwhileIsClosed() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo pipe")
        let running = try scratch.startRecorded(
            [try leaksProgram("closing")], options: ["--quiet", "-o", "images"], library: Built.interposer,
            input: scratch.path + "/pipe")
        let pid = try running.child()
        defer {
            kill(pid, SIGKILL)
            _ = try? running.wait()
        }
        func hasSaid(_ line: String) throws -> Bool {
            try eventually(seconds: 60) { try contents(running.outputPath).contains(line + "\n") }
        }
        #expect(try hasSaid("ready"))
        // A snapshot is there, and the program goes on.
        func isSearched() -> Bool {
            guard let status = try? contents("/proc/\(pid)/status"), status.contains("TracerPid:\t0\n"),
                let tasks = try? scratch.shell("cat /proc/\(pid)/task/*/children").output
            else { return false }
            return !tasks.isEmpty
        }
        var isShown = false
        for turn in 1 ... 30 where !isShown {
            _ = try scratch.shell("echo \(turn) >pipe")
            #expect(try hasSaid("open \(turn)"))
            let search = try scratch.start([Built.products + "/heapsum", "leaks", String(pid)])
            _ = eventually {
                isSearched() || (try? contents("/proc/\(search.pid)/stat").contains(") Z ")) != false
            }
            kill(search.pid, SIGSTOP)
            let isHeld = isSearched()
            if !isHeld { kill(search.pid, SIGCONT) }
            _ = try scratch.shell("echo \(turn) >pipe")
            #expect(try hasSaid("closed \(turn)"))
            isShown = isHeld
            kill(search.pid, SIGCONT)
            #expect(try search.wait().exitStatus == 0)
        }
        #expect(isShown)
    }

    // A verdict leaves nothing behind in the program: no zombie, no tracer, and the next one is the same.
    @Test func nothingIsLeftBehind() throws {
        let watched = try Watched([try leaksProgram("cases")])
        let first = try watched.rows()
        for _ in 0 ..< 5 { #expect(try watched.rows() == first) }
        #expect(try contents("/proc/\(watched.pid)/task/\(watched.pid)/children").isEmpty)
        // Its call begins again when it runs again.
        var status = ""
        let waits = try eventually {
            status = try contents("/proc/\(watched.pid)/status")
            return status.contains("State:\tS")
        }
        #expect(waits && status.contains("TracerPid:\t0"), "\(status)")
    }

    // A tool that is ended in the midst of a verdict ends the clone first, which would be a zombie of the program's.
    @Test func anInterruptedVerdictLeavesNoZombie() throws {
        let watched = try Watched([try leaksProgram("planted"), "1000000", "10"])
        for step in 0 ..< 16 {
            let tool = try watched.scratch.start([Built.products + "/heapsum", "leaks", String(watched.pid)])
            usleep(UInt32(20_000 + step * 30_000))
            kill(tool.pid, [SIGTERM, SIGINT, SIGHUP][step % 3])
            _ = try tool.wait()
            let children = try contents("/proc/\(watched.pid)/task/\(watched.pid)/children")
            #expect(children.isEmpty, "after \(20 + step * 30) ms: \(children)")
        }
    }
}
