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
            usleep(atoi(words[1]) * 1000);
            return count == 2 ? 6 : 0;
        }
        """

    @Test(arguments: [
        "--ro-bind / / --dev /dev --tmpfs /tmp", "--ro-bind / / --dev /dev --tmpfs /tmp --unshare-pid --proc /proc",
        "--dev-bind / / --tmpfs /tmp", "--dev-bind / / --tmpfs /dev/shm --tmpfs /tmp",
    ])
    func anImageInASandboxIsKept(sandbox: String) throws {
        let scratch = try Scratch()
        try scratch.write("prog.c", Self.program)
        // /tmp is not to be seen in there: so program and library lie elsewhere. The program runs for seconds, because
        // heaprun has to find it while it runs, on a busy machine too.
        let place = "/var/tmp/heapsum-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try scratch.prepare("mkdir \(place) && cp '\(Built.interposer)' \(place) && cc -O0 -o \(place)/prog prog.c")
        defer { _ = system("rm -r \(place)") }
        let outcome = try scratch.record(
            ["bwrap"] + sandbox.split(separator: " ").map(String.init) + ["\(place)/prog", "5000"],
            options: ["-o", "images", "--only", "prog"], library: "\(place)/libheapsum.so")
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
            ["sh", "-c", "bwrap --ro-bind / / --dev /dev --tmpfs /tmp \(place)/prog 60000 >/dev/null 2>&1 & sleep 1"],
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
