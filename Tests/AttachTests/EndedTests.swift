// Programs that end while they are recorded and nobody waits for them, or while heaprun attaches: their images are
// handed over, and nothing stays in /dev/shm.

import Glibc
import HeapImage
import TestSupport
import Testing

@Suite struct EndedTests {
    /// The directories of /dev/shm whose images are to go below a directory.
    private func runDirectories(for scratch: Scratch) -> [String] {
        names(in: "/dev/shm").filter { directory in
            directory.hasPrefix("heapsum-")
                && names(in: "/dev/shm/\(directory)").contains { name in
                    (try? HeapImage(path: "/dev/shm/\(directory)/\(name)").outputDirectory)?.hasPrefix(scratch.path)
                        == true
                }
        }
    }

    @Test func detachingFromAProgramThatHasEndedLeavesItsImage() throws {
        let program = try Attached.churn(2)
        try program.attach()
        #expect(runDirectories(for: program.scratch).count == 1)
        let image = program.scratch.file("images/churn.\(program.pid).heap")
        try program.churnOn()
        kill(program.pid, SIGKILL)
        _ = try program.wait()
        let last = try program.heaprun("--detach")
        #expect(last.exitStatus == 0, "\(last)")
        #expect(last.messages.contains("the program (PID \(program.pid)) had ended already\n"), "\(last)")
        #expect(last.messages.contains("image: \(image)\n"), "\(last)")
        var status = stat()
        #expect(lstat(image, &status) == 0 && status.st_mode & S_IFMT == S_IFREG)
        let packed = try HeapImage(path: image)
        #expect(packed.kind == .packed && packed.damages.isEmpty && packed.header.live_bytes > 0)
        #expect(runDirectories(for: program.scratch).isEmpty)
        // There is nothing more to hand over.
        let again = try program.heaprun("--detach")
        #expect(again.exitStatus == 125 && again.messages.contains("no such process, and no image of a recording"))
        #expect(names(in: program.scratch.file("images")) == ["churn.\(program.pid).heap"])
    }

    /// Who waits for the program leaves its image, and nobody else does.
    @Test func aHeaprunThatWaitsKeepsItsImage() throws {
        let program = try Attached.churn(1)
        let tool = try program.scratch.start(
            [Built.heaprun, "--pid", String(program.pid), "-o", "images", "--for", "10m"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try eventually { try contents(tool.messagesPath).contains("attached to churn") })
        kill(tool.pid, SIGSTOP)
        kill(program.pid, SIGKILL)
        _ = try program.wait()
        let other = try program.heaprun("--detach")
        #expect(other.exitStatus == 125 && other.messages.contains("another heaprun, which waited for"), "\(other)")
        kill(tool.pid, SIGCONT)
        let last = try tool.wait()
        #expect(last.exitStatus == 0 && last.messages.contains("has ended"), "\(last)")
        #expect(names(in: program.scratch.file("images")).count == 1)
        #expect(runDirectories(for: program.scratch).isEmpty)
    }

    /// The program is killed at some instant of attaching. Whether it got as far as an image or not: what was recorded
    /// is in the output directory, by the image or by a link, or heaprun says that nothing was.
    @Test func aProgramMayEndAtAnyInstantOfAttaching() throws {
        var attached = 0, recorded = 0, refused = 0
        for round in 0 ..< 24 {
            let program = try Attached.churn(2)
            let tool = try program.scratch.start(
                [Built.heaprun, "--pid", String(program.pid), "-o", "images"],
                variables: ["HEAPSUM_LIBRARY": Built.interposer])
            // Soon after the library is there: then the image is made.
            let maps = "/proc/\(program.pid)/maps"
            let isLoaded = try eventually(seconds: 20) {
                try contents(maps).contains("libheapsum.so") || contents(tool.messagesPath).contains("heaprun:")
            }
            #expect(isLoaded)
            usleep(UInt32(round * round * 30))
            kill(program.pid, SIGKILL)
            _ = try program.wait()
            let told = try tool.wait(), images = names(in: program.scratch.file("images"))
            if told.exitStatus == 0 {
                #expect(images.count == 1, "\(told)")
                if told.messages.contains("recorded, and has ended") { recorded += 1 } else { attached += 1 }
            } else {
                #expect(told.exitStatus == 125 && images.isEmpty, "\(told)")
                refused += 1
            }
            // A link's image is there until somebody takes it.
            if told.messages.contains("attached to") {
                #expect(try program.heaprun("--detach").exitStatus == 0, "\(told)")
            }
            #expect(runDirectories(for: program.scratch).isEmpty, "\(told)")
        }
        #expect(attached + recorded + refused == 24)
    }
}
