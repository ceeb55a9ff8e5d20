// Calls reach the recorder by whatever way the program makes them, and whichever module makes them; and by the old way
// again behind the end.

import Glibc
import HeapImage
import TestSupport
import Testing

@Suite(.serialized) struct WayTests {
    /// Bound at each first call or at the start, with the tables protected or not, at a fixed address or at any; and
    /// with an allocator of its own.
    @Test(
        arguments: [
            "-pie -fPIE -Wl,-z,now,-z,relro", "-pie -fPIE -Wl,-z,lazy,-z,norelro", "-no-pie -fno-pie -Wl,-z,lazy",
            "-no-pie -fno-pie -Wl,-z,now -fno-plt", "-pie -fPIE -ljemalloc", "-pie -fPIE -ltcmalloc",
            "-pie -fPIE -lmimalloc",
        ])
    func eachWayIsSeen(options: String) throws {
        let scratch = try Scratch()
        let source = Built.root + "/Tests/Programs/late.cc"
        try scratch.prepare(
            "c++ -O1 -g -o late '\(source)' -ldl -Wl,--no-as-needed \(options)"
                + " && c++ -O1 -g -fPIC -shared -DPLUGIN -o plugin.so '\(source)'"
        )
        let program = try Attached(["./late", "./plugin.so"], scratch: scratch)
        // What was allocated before is freed meanwhile, and what was allocated meanwhile is freed behind the end.
        #expect(try program.ask("work") == "work 0")
        for _ in 0 ..< 3 {
            try program.attach()
            #expect(try program.ask("free") == "free 0")
            for command in ["work", "open", "look"] { #expect(try program.ask(command) == "\(command) 0") }
            #expect(try program.ask("fork") == "fork 7")
            let image = try program.detach()
            for size: UInt64 in 1001 ... 1010 {
                #expect(image.held(size ... size).blocks == 10, "\(size) bytes, \(options)")
            }
            #expect(image.losses.unmatched_frees >= 70)
            #expect(image.losses.healed_slots == 0)
        }
        #expect(try program.ask("fork") == "fork 7")
        #expect(try program.ask("free") == "free 0")
        program.tell("quit")
        #expect(try program.wait().exitStatus == 0)
        // A child is not followed, and nothing else is left.
        #expect(try scratch.shell("ls images").output.split(separator: "\n").count == 3)
    }

    /// C++'s operators are the first runtime's; a dump may be taken meanwhile.
    @Test func aDumpMeanwhile() throws {
        let program = try Attached([try Built.program("late")])
        #expect(try program.ask("free") == "free 0") // it runs
        try program.attach()
        #expect(try program.ask("work") == "work 0")
        let outcome = try program.scratch.run([Built.heapdump, String(program.pid)])
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let dump = try HeapImage(path: String(outcome.output.prefix { $0 != "\n" }))
        #expect(dump.held(1001 ... 1007).blocks == 70)
        let again = try program.heaprun("--pid")
        #expect(again.exitStatus == 125 && again.messages.contains("recorded already"), "\(again)")
        #expect(try program.ask("free") == "free 0")
        #expect(try program.detach().held(1001 ... 1007).blocks == 0)
    }

    /// Another mount namespace, in which the library's path leads nowhere: it is handed over. Since Linux 6.3 a PID
    /// namespace may refuse memory files that can be executed.
    @Test(
        .enabled(if: geteuid() == 0, "only root may make a mount namespace"),
        arguments: access("/proc/sys/vm/memfd_noexec", W_OK) == 0 ? [0, 1, 2] : [0])
    func anotherRoot(memfdNoexec: Int) throws {
        let directory = Built.interposer.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
        let program = try Attached([
            "unshare", "--mount-proc", "--pid", "--fork", "--kill-child", "/bin/sh", "-c",
            "[ \(memfdNoexec) = 0 ] || echo \(memfdNoexec) >/proc/sys/vm/memfd_noexec; "
                + "mount -t tmpfs none '\(directory)' && mount -t tmpfs none /dev/shm && exec \"$0\"",
            try Built.program("late"),
        ])
        func descriptors() throws -> Int {
            try program.scratch.shell("ls /proc/\(program.pid)/fd").output.split(separator: "\n").count
        }
        // Once it answers, it is no shell any more.
        #expect(try program.ask("work") == "work 0")
        try program.useChild()
        let before = try descriptors()
        for hasMappings in [false, true] {
            try program.attach(hasMappings ? ["--mappings"] : [])
            #expect(try program.ask("free") == "free 0")
            #expect(try program.ask("work") == "work 0")
            let image = try program.detach()
            #expect(image.held(1001 ... 1007).blocks == 70 && image.hasMappings == hasMappings)
        }
        let maps = try contents("/proc/\(program.pid)/maps")
        #expect(maps.contains("memfd:libheapsum.so") && maps.contains("memfd:libheapsum-mappings.so"))
        #expect(try descriptors() == before)
    }

    /// As root, a worker of another user.
    @Test(.enabled(if: geteuid() == 0, "only root may attach to others' programs")) func anotherUser() throws {
        let scratch = try Scratch()
        try scratch.prepare("chmod 755 . && cp '\(try Built.program("late"))' late")
        let program = try Attached(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "./late"], scratch: scratch)
        #expect(try program.ask("free") == "free 0") // it is no setpriv any more
        try program.attach()
        #expect(try program.ask("work") == "work 0")
        #expect(try program.detach().held(1001 ... 1007).blocks == 70)
    }
}
