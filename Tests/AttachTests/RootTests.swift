// A program whose executable this tool can't see at its path, as one in a container: names come from the program's own
// root.

import Glibc
import TestSupport
import Testing

@Suite(.enabled(if: geteuid() == 0, "only root may make a mount namespace")) struct RootTests {
    @Test func namesComeFromTheProgramsOwnRoot() throws {
        let scratch = try Scratch()
        let place = scratch.file("place")
        let program = try Attached(
            [
                "unshare", "--mount-proc", "--pid", "--fork", "--kill-child", "/bin/sh", "-c",
                "mkdir place && mount -t tmpfs none place && cp \"$0\" place/inside && exec '\(place)/inside'",
                try Built.program("late"),
            ], scratch: scratch)
        #expect(try program.ask("free") == "free 0")
        try program.useChild()
        #expect(try scratch.shell("ls place").output == "")
        try program.attach()
        #expect(try program.ask("work") == "work 0")
        let pid = String(program.pid)
        for (command, name) in [
            (["heapsum", pid], "late.cc:"), (["heapsum", "leaks", "--verdict", "all", pid], "late.cc:"),
            (["heapsum", "leaks", "--holders", pid], "(inside)\n"), (["heaptop", "--once", pid], "work() ← main\n"),
        ] {
            let outcome = try scratch.run(
                [Built.products + "/" + command[0]] + command.dropFirst(),
                variables: ["HEAPSUM_LIBRARY": Built.interposer])
            #expect(outcome.exitStatus == 0 && outcome.output.contains(name), "\(command): \(outcome)")
            #expect(!outcome.output.contains("data of inside"), "\(outcome)")
        }
        // Once it is gone, nobody has the file, and the frames are named by their offsets.
        let image = try program.detach().file
        program.tell("quit")
        #expect(try program.wait().exitStatus == 0)
        let later = try scratch.run([Built.products + "/heapsum", image])
        #expect(later.exitStatus == 0 && later.output.contains("inside+0x"), "\(later)")
        #expect(!later.output.contains("late.cc:"))
    }
}
