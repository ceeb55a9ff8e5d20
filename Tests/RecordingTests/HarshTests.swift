// What programs do to themselves (limits, sandboxes, privileges given up, descriptors closed), and what is done to
// them. They go on as ever; what they allocated is recorded, or it is said that it wasn't.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct HarshTests {
    private func expectAll(_ image: HeapImage) throws {
        let reduced = try Reduced(image)
        let held = reduced.holding("leave")
        #expect(held.blocks == 40 && held.bytes == 40 * 56, "\(held)")
        #expect(image.losses.lost_allocations == 0 && reduced.reduction.inputs.allSatisfy { !$0.damaged })
    }

    @Test(arguments: ["undumpable", "limits", "watched"]) func whatAProgramDoesToItself(how: String) throws {
        let plain = try Scratch().run([try Built.program("harsh"), how])
        let recording = try Scratch().recordProgram("harsh", [how])
        #expect(recording.outcome == plain && plain.output == "ended 0\n", "\(recording.outcome)")
        try expectAll(try recording.image(of: "harsh"))
    }

    @Test(arguments: ["sandbox", "sandbox-by-call", "strict"]) func aFilterThatForbidsRecordingEndsIt(
        how: String
    ) throws {
        let scratch = try Scratch()
        let plain = try Scratch().run([try Built.program("harsh"), how])
        let recording = try scratch.recordProgram(
            "harsh", [how], variables: ["HEAPSUM_MESSAGES": scratch.path + "/messages"])
        #expect(
            recording.outcome == plain && plain.output == "ended 0\n" && plain.exitStatus == 0, "\(recording.outcome)")
        // The image is of the moment before, and says so.
        let image = try recording.image(of: "harsh")
        #expect(image.hasFlag(HEAP_FLAG_STOPPED))
        #expect(
            try contents(scratch.path + "/messages").contains(
                "recording stopped where a seccomp filter forbids what it needs"))
        #expect(try Reduced(image).holding("leave").blocks == 0)
        #expect(image.damages.isEmpty)
    }

    @Test func aKernelWithoutPopulateIsWrittenToByAnotherWay() throws {
        let scratch = try Scratch()
        let program = try Built.program("harsh")
        let outcome = try scratch.run([program, "old", program, "plain"], variables: scratch.recordingVariables())
        #expect(outcome.output == "ended 0\n" && outcome.messages.isEmpty && outcome.exitStatus == 0)
        let images = try Recording(scratch: scratch, outcome: outcome).images(of: "harsh").map(\.image)
        // One of the program that execs, and one of what it went on to.
        #expect(images.count == 2)
        let last = try #require(images.max { $0.header.started_monotonic_ns < $1.header.started_monotonic_ns })
        try expectAll(last)
        #expect(last.losses.failed_reservations == 0)
    }

    @Test func aFullDiskIsNoBusErrorThereEither() throws {
        let scratch = try Scratch()
        let program = try Built.program("harsh"), endings = try Built.program("endings")
        try scratch.prepare("mkdir small")
        let script = """
            mount -t tmpfs -o size=512k,mode=0700 none '\(scratch.path)/small' || exit 99
            LD_PRELOAD='\(Built.interposer)' HEAPSUM_OUTPUT='\(scratch.path)/small' HEAPSUM_ONLY=endings '\(program)' \
            old '\(endings)' return
            status=$?
            cp --sparse=always small/*.heap .
            exit $status
            """
        let user = try scratch.shell("id -u").output == "0\n" ? [] : ["-r"]
        let outcome = try scratch.run(["unshare"] + user + ["-m", "sh", "-c", script])
        #expect(outcome.exitStatus == 3 && outcome.output == "leaked\n" && outcome.messages.isEmpty, "\(outcome)")
        let image = try Recording(scratch: scratch, outcome: outcome).image(of: "endings")
        #expect(image.losses.lost_allocations > 0 && image.losses.failed_reservations > 0)
        #expect(try Reduced(image).holding("leak").blocks + image.losses.lost_allocations >= 100_000)
    }

    /// What a shell limits before the program starts: it runs as ever, with an image or with a word about why there is
    /// none.
    @Test(arguments: [
        ("exec 3>&-; ulimit -n 4", true), ("ulimit -v 8000000", true), ("ulimit -v 100000", false),
        ("ulimit -f 100", false), ("ulimit -l 0", true),
    ])
    func limitsFromOutside(limit: String, recorded: Bool) throws {
        let scratch = try Scratch()
        let program = try Built.program("edges")
        let plain = try scratch.shell("\(limit); exec '\(program)'")
        // The shell that sets the limit is not recorded.
        let outcome = try scratch.shell(
            "\(limit); exec env LD_PRELOAD='\(Built.interposer)' '\(program)'",
            variables: scratch.recordingVariables(
                ["LD_PRELOAD": nil, "HEAPSUM_ONLY": "edges", "HEAPSUM_MESSAGES": scratch.path + "/messages"]))
        #expect(outcome == plain && plain.exitStatus == 0, "\(outcome)")
        let recording = Recording(scratch: scratch, outcome: outcome)
        if recorded {
            let held = try Reduced(recording.image(of: "edges")).holding("leave")
            #expect(held.blocks == 4 && held.bytes == 148)
        } else {
            #expect(try recording.names(of: "edges").isEmpty)
            #expect(try contents(scratch.path + "/messages").contains("nothing is recorded"))
        }
    }

    @Test func aDaemonKeepsItsImageAndItsDescriptors() throws {
        let scratch = try Scratch()
        try scratch.prepare("chmod 755 . && mkdir -m 1777 out")
        let outcome = try scratch.run(
            [try Built.program("harsh"), "daemon", "\(scratch.path)/out/done"],
            variables: scratch.recordingVariables(["HEAPSUM_OUTPUT": scratch.path + "/out"]))
        #expect(outcome.exitStatus == 0 && outcome.output.isEmpty && outcome.messages.isEmpty)
        // It opened the file as its first descriptor.
        #expect(eventually { (try? contents(scratch.path + "/out/done")) == "done\n" })
        let names = try scratch.shell("cd out && ls *.heap").output.split(separator: "\n").map(String.init)
        let images = try names.map { try HeapImage(path: "\(scratch.path)/out/\($0)") }
        let daemon = try #require(
            images.first { $0.effectiveState == .running && $0.hasFlag(HEAP_FLAG_FORKED) }, "\(names)")
        defer { kill(pid_t(daemon.header.pid), SIGKILL) }
        try expectAll(daemon)
        // Where it is root it is nobody by now, in / and in a session of its own: a dump lands where it was to land
        // from the start.
        kill(pid_t(daemon.header.pid), SIGUSR2)
        let dump = "\(scratch.path)/out/harsh.\(daemon.header.pid).1.heap"
        #expect(eventually { access(dump, R_OK) == 0 })
        try expectAll(try HeapImage(path: dump))
    }

    @Test func theDirectoryMayGoAndADumpWithIt() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo input && mkdir out")
        let running = try scratch.start(
            [try Built.program("signals"), "none"],
            variables: scratch.recordingVariables(["HEAPSUM_OUTPUT": scratch.path + "/out"]),
            input: scratch.path + "/input")
        #expect(try eventually { try contents(running.outputPath).contains("ready") })
        try scratch.prepare("rm -r out")
        // The image is there as long as the program is: a dump finds another place, and heapdump reads what nobody else
        // can.
        let dump = "/dev/shm/signals.\(running.pid).1.heap"
        defer { unlink(dump) }
        kill(running.pid, SIGUSR2)
        #expect(eventually { access(dump, R_OK) == 0 })
        #expect(try Reduced(HeapImage(path: dump)).holding("main").bytes == 1234)
        let asked = try scratch.run([Built.heapdump, "\(running.pid)"])
        #expect(asked.exitStatus == 0 && asked.output.hasSuffix(".heap\n"), "\(asked)")
        if let path = asked.output.split(separator: "\n").first.map(String.init) {
            #expect(
                try Reduced(HeapImage(path: path.hasPrefix("/") ? path : "\(scratch.path)/\(path)")).holding("main")
                    .bytes == 1234)
            unlink(path)
        }
        let input = open(scratch.path + "/input", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
        write(input, "x\n", 2)
        close(input)
        let outcome = try running.wait()
        #expect(outcome.exitStatus == 0 && outcome.output.hasSuffix("ready\ncame 0\n"), "\(outcome)")
    }
}
