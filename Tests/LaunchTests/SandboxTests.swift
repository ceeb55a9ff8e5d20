// Programs in mount namespaces of their own, whose /dev/shm and /tmp are gone when they have ended: their images are
// kept all the same. Oracle: bwrap, which makes such sandboxes, and what the program keeps.

import Glibc
import HeapImage
import Proc
import SystemPackage
import TestSupport
import Testing

@testable import Launch

@Suite struct SandboxTests {
    // What the loader needs lies where every sandbox here has it.
    private static let program = """
        #include <stdlib.h>
        #include <unistd.h>
        int main(int count, char **words) {
            for (int i = 0; i < 50; i++) { void *volatile p = malloc(700); (void)p; }
            char line;
            if (words[1][0] == 'r') return read(0, &line, 1) == 1 && count == 2 ? 6 : 1;
            sleep(600);
            return 0;
        }
        """

    @Test(arguments: [
        "--ro-bind / / --dev /dev --tmpfs /tmp", "--ro-bind / / --dev /dev --tmpfs /tmp --unshare-pid --proc /proc",
        "--dev-bind / / --tmpfs /tmp", "--dev-bind / / --tmpfs /dev/shm --tmpfs /tmp",
    ])
    func anImageInASandboxIsKept(sandbox: String) throws {
        let scratch = try Scratch()
        try scratch.write("prog.c", Self.program)
        // /tmp is not to be seen in there: so program and library lie elsewhere. The program runs until heaprun has
        // found it, and opened its image; where /dev/shm is the machine's, there is nothing to find.
        let place = "/var/tmp/heapsum-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try scratch.prepare("mkdir \(place) && cp '\(Built.interposer)' \(place) && cc -O0 -o \(place)/prog prog.c")
        defer { _ = system("rm -r \(place)") }
        try scratch.prepare("mkfifo input")
        let running = try scratch.startRecorded(
            ["bwrap"] + sandbox.split(separator: " ").map(String.init) + ["\(place)/prog", "read"],
            options: ["-o", "images", "--only", "prog"], library: "\(place)/libheapsum.so",
            input: scratch.file("input"))
        #expect(
            try sandbox == "--dev-bind / / --tmpfs /tmp"
                || eventually {
                    try scratch.shell("ls -l /proc/\(running.pid)/fd | grep 'prog[.][0-9]*[.]heap'").exitStatus == 0
                })
        try scratch.prepare("echo >input")
        let outcome = try running.wait()
        #expect(outcome.exitStatus == 6, "\(outcome)")
        #expect(outcome.messages.contains("35,000 bytes  50 blocks  prog: main"), "\(outcome)")
        let names = try namesInDirectory(FilePath("\(scratch.path)/images"))
        let image = try HeapImage(path: "\(scratch.path)/images/\(try #require(names.first).text)")
        var blocks = 0
        image.forEachBlock { batch in for index in batch.indices where batch[index].bytes == 700 { blocks += 1 } }
        #expect(names.count == 1 && blocks == 50 && image.kind == .packed && image.state == .unknown)
    }

    @Test func oneThatGoesOnIsNamedByAPathThatLeadsIntoIt() throws {
        let scratch = try Scratch()
        try scratch.write("prog.c", Self.program)
        let place = "/var/tmp/heapsum-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try scratch.prepare("mkdir \(place) && cp '\(Built.interposer)' \(place) && cc -O0 -o \(place)/prog prog.c")
        defer { _ = system("rm -r \(place)") }
        let outcome = try scratch.record(
            [
                "sh", "-c",
                "bwrap --ro-bind / / --dev /dev --tmpfs /tmp \(place)/prog sleep >/dev/null 2>&1 & i=0; "
                    + "until ls -l /proc/$PPID/fd | grep -q 'prog[.][0-9]*[.]heap' || [ $i = 1200 ]; "
                    + "do sleep 0.05; i=$((i+1)); done",
            ],
            options: ["-o", "images", "--only", "prog"],
            library: "\(place)/libheapsum.so")
        let line = try #require(
            outcome.messages.split(separator: "\n").first {
                $0.contains("prog (PID ") && $0.contains("still runs; its image stays at ")
            }, "\(outcome)")
        let pid = try #require(pid_t(line[line.range(after: "(PID ")].prefix { $0.isNumber }))
        defer { kill(pid, SIGKILL) }
        #expect(try HeapImage(path: String(line[line.range(after: "stays at ")])).presence == .running)
        #expect(try scratch.run([Built.heapdump, "\(pid)"]).exitStatus == 0)
    }
}
