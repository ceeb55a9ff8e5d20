// Programs that give up their user can't write into heaprun's private directory any more. Where their images went
// instead is said.

import Glibc
import HeapImage
import SystemPackage
import TestSupport
import Testing

@Suite struct StrayTests {
    /// Becomes nobody, and only then allocates: as a fork, so that there is an image to make. "stay" outlives the
    /// parent.
    private static let source = """
        #include <stdlib.h>
        #include <string.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(int count, char **arguments) {
            int stays = count > 1 && strcmp(arguments[1], "stay") == 0;
            int ready[2];
            if (pipe(ready) != 0) return 1;
            pid_t pid = fork();
            if (pid == 0) {
                if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
                for (int i = 0; i < 30; i++) if (malloc(77) == NULL) _exit(3);
                if (write(ready[1], "x", 1) != 1) _exit(4);
                if (stays) { close(0); close(1); close(2); sleep(60); }
                _exit(0);
            }
            char byte;
            if (read(ready[0], &byte, 1) != 1) return 5;
            return stays || waitpid(pid, NULL, 0) == pid ? 0 : 6;
        }
        """

    @Test(.enabled(if: getuid() == 0, "only root can become another user"), arguments: [true, false], [true, false])
    func aWorkerOfAnotherUserIsFound(stays: Bool, isWritable: Bool) throws {
        let scratch = try Scratch()
        try scratch.write("worker.c", Self.source)
        try scratch.prepare(
            "cc -O1 -o worker worker.c && chmod 755 . && mkdir -m \(isWritable ? "1777" : "755") images")
        let outcome = try scratch.record(
            ["./worker", stays ? "stay" : "go"], options: ["-o", "images"], library: Built.interposer)
        #expect(outcome.exitStatus == 0)
        let said =
            stays
            ? "still runs; its image stays at "
            : "could not write into the run directory (another user by then?); its image is "
        let line = try #require(
            outcome.messages.split(separator: "\n").first { $0.contains(said) }, "\(outcome.messages)")
        let path = String(line[line.range(after: said)])
        #expect(path.hasPrefix(isWritable ? scratch.path + "/images/" : "/dev/shm/worker."))
        let image = try HeapImage(path: path)
        #expect(image.presence == (stays ? .running : .gone)) // and so it stays, once it was asked
        if stays { kill(pid_t(image.header.pid), SIGKILL) }
        unlink(path)
        var blocks = 0
        image.forEachBlock { batch in for index in batch.indices where batch[index].bytes == 77 { blocks += 1 } }
        #expect(blocks == 30)
    }
}
