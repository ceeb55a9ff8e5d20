// Whole recordings with the real library: what is in the images when a program has exited, was killed, went on by
// exec, forked, or still runs; and dumps from outside. Oracle: the programs themselves, which know what they keep.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import TestSupport
import Testing
import Text

@testable import Launch

@Suite struct RecordTests {
    /// A program that keeps so many blocks of so many bytes, and then does as its argument says.
    static let keeper = """
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static void *volatile kept[1000];
        static __attribute__((noinline)) void keep(int count, size_t size) {
            for (int i = 0; i < count; i++) kept[i] = malloc(size);
        }
        int main(int count, char **arguments) {
            const char *what = count > 1 ? arguments[1] : "exit";
            keep(1000, 48);
            for (int i = 0; i < 100; i++) free(malloc(5000));
            if (strcmp(what, "kill") == 0) kill(getpid(), SIGKILL);
            if (strcmp(what, "abort") == 0) abort();
            if (strcmp(what, "exec") == 0) execl(arguments[0], arguments[0], "exit", (char *)0);
            if (strcmp(what, "fork") == 0) {
                if (fork() == 0) { keep(10, 77); _exit(0); }
                if (fork() == 0) _exit(0);
                while (wait(NULL) > 0) {}
            }
            if (strcmp(what, "leave") == 0) {
                int ends[2];
                char byte;
                if (pipe(ends) != 0) return 1;
                if (fork() == 0) { keep(20, 99); write(ends[1], "x", 1); sleep(60); _exit(0); }
                if (read(ends[0], &byte, 1) != 1) return 1;
            }
            if (strcmp(what, "wait") == 0) { write(1, "ready\\n", 6); pause(); }
            _exit(3);
        }
        """

    private func keeper() throws -> Scratch {
        let scratch = try Scratch()
        try scratch.write("keeper.c", Self.keeper)
        try scratch.prepare("cc -O1 -fno-builtin -o keeper keeper.c")
        return scratch
    }

    private func record(_ scratch: Scratch, _ what: String, options: [String] = ["-o", "images"]) throws -> Outcome {
        try scratch.record(["./keeper", what], options: options, library: Built.interposer)
    }

    private func images(_ scratch: Scratch) throws -> [HeapImage] {
        try namesInDirectory(FilePath("\(scratch.path)/images")).sorted { $0.string < $1.string }
            .map { try HeapImage(path: "\(scratch.path)/images/\($0.string)") }
    }

    /// Blocks and bytes that are live under a function of the program with this many bytes each.
    private func liveBlocks(_ image: HeapImage, size: UInt64) -> Int {
        var count = 0
        image.forEachBlock { blocks in
            for index in blocks.indices where blocks[index].bytes == size { count += 1 }
        }
        return count
    }

    @Test(arguments: [("exit", 3, HeapImage.State.exited), ("kill", 137, .killed), ("abort", 134, .killed)])
    func anImageIsLeftWhateverTheEnd(what: String, status: Int32, state: HeapImage.State) throws {
        let scratch = try keeper()
        let outcome = try record(scratch, what)
        #expect(outcome.exitStatus == status)
        #expect(outcome.output.isEmpty)
        let found = try images(scratch)
        #expect(found.count == 1)
        let image = try #require(found.first)
        #expect(image.kind == .packed && image.state == state && image.programName == "keeper")
        #expect(state == .exited ? image.header.exit_status == 3 : image.header.exit_signal == UInt32(status - 128))
        #expect(liveBlocks(image, size: 48) == 1000)
        #expect(liveBlocks(image, size: 5000) == 0)
        #expect(image.imageName == FilePath(image.file).lastComponent?.string)
        // 48,000 bytes at least, in a thousand blocks, by keep.
        #expect(outcome.messages.contains("48,000 bytes  1,000 blocks  keep ← main"), "\(outcome.messages)")
        #expect(
            outcome.messages.contains("heapsum images/") || outcome.messages.contains("heapsum \(scratch.path)/images/")
        )
    }

    @Test func quietSaysNothing() throws {
        let scratch = try keeper()
        #expect(try record(scratch, "exit", options: ["--quiet", "-o", "images"]).messages.isEmpty)
        #expect(try images(scratch).count == 1)
    }

    @Test func anotherProgramByExecHasAnImageOfItsOwn() throws {
        let scratch = try keeper()
        #expect(try record(scratch, "exec").exitStatus == 3)
        let found = try images(scratch).sorted { ImageAge($0.header) < ImageAge($1.header) }
        #expect(found.map(\.state) == [.exec, .exited])
        #expect(found.allSatisfy { liveBlocks($0, size: 48) == 1000 })
        #expect(Set(found.map(\.header.pid)).count == 1)
    }

    @Test func forksHaveImagesWhereTheyHoldSomething() throws {
        let scratch = try keeper()
        #expect(try record(scratch, "fork").exitStatus == 3)
        let found = try images(scratch)
        // The second fork held nothing.
        #expect(found.count == 2)
        let child = try #require(found.first { $0.hasFlag(HEAP_FLAG_FORKED) })
        #expect(child.state == .unknown && liveBlocks(child, size: 77) == 10 && liveBlocks(child, size: 48) == 0)
    }

    @Test func aProgramThatStillRunsKeepsItsImage() throws {
        let scratch = try keeper()
        let outcome = try record(scratch, "leave")
        #expect(outcome.exitStatus == 3)
        let line = try #require(
            outcome.messages.split(separator: "\n").first { $0.contains("still runs; its image stays at ") })
        let path = String(line[line.range(after: "stays at ")])
        let image = try HeapImage(path: path)
        #expect(image.presence == .running)
        #expect(liveBlocks(image, size: 99) == 20)
        // It can be dumped still, and the dump goes where all images go.
        let dump = try scratch.run([Built.heapdump, String(image.header.pid)])
        #expect(dump.output.hasPrefix("\(scratch.path)/images/keeper.\(image.header.pid).1.heap"), "\(dump)")
        kill(pid_t(image.header.pid), SIGKILL)
        unlink(path)
        rmdir(FilePath(path).removingLastComponent().string)
    }

    @Test(arguments: [false, true]) func heapdumpReadsRunningAndStoppedPrograms(isStopped: Bool) throws {
        let scratch = try keeper()
        let running = try scratch.startRecorded(
            ["./keeper", "wait"], options: ["--quiet", "-o", "images"], library: Built.interposer)
        let child = try running.child()
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        if isStopped { kill(child, SIGSTOP) }
        let outcome = try scratch.run([Built.heapdump, String(child)])
        #expect(
            outcome == Outcome(waitStatus: 0, output: "\(scratch.path)/images/keeper.\(child).1.heap\n", messages: ""))
        let dump = try HeapImage(path: "\(scratch.path)/images/keeper.\(child).1.heap")
        #expect(dump.kind == .dump && dump.header.pid == UInt32(child) && liveBlocks(dump, size: 48) == 1000)
        #expect(try scratch.run([Built.heapdump, String(child)]).output.hasSuffix(".2.heap\n"))
        // heaprun has measured by now or will soon; the size is this process's own.
        #expect(
            try eventually {
                let place = try findImage(of: child, deadline: 0)
                guard case .file(let path) = place else { return false }
                return try HeapImage(path: path.string).header.rss_bytes > 0
            })
        kill(child, SIGKILL)
        #expect(try running.wait().exitStatus == 137)
        let final = try #require(try images(scratch).first { $0.kind == .packed })
        #expect(final.header.rss_peak_bytes > 48_000 && final.header.rss_peak_bytes < 64 << 20)
    }

    @Test func heapdumpNeedsNoPath() throws {
        let scratch = try keeper()
        let running = try scratch.startRecorded(
            ["./keeper", "wait"], options: ["--quiet", "-o", "images"], library: Built.interposer)
        let child = try running.child()
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        guard case .file(let path) = try findImage(of: child, deadline: 0) else { throw Failure("no path") }
        unlink(path.string)
        // The file is gone from its directory: /proc leads to it.
        let place = try findImage(of: child, deadline: 0)
        #expect(place != .file(path))
        let outcome = try scratch.run([Built.heapdump, String(child)])
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let name = try #require(outcome.output.split(separator: "\n").first.map(String.init))
        #expect(liveBlocks(try HeapImage(path: name), size: 48) == 1000)
        // By the process's memory alone it is the same.
        let span = try #require(imageSpans(try mappings(of: child)).first)
        let image = try HeapImage(
            ProcessMemorySource(process: child, base: span.first.start, length: span.byteCount), presence: .running)
        #expect(liveBlocks(image, size: 48) == 1000)
        kill(child, SIGKILL)
        _ = try running.wait()
    }

    @Test func heapdumpSaysWhyItCannot() throws {
        let scratch = try Scratch()
        let plain = try scratch.start(["sleep", "60"])
        for (pid, reason) in [(plain.pid, "not recorded"), (4_000_000, "no such process"), (1, "")] {
            let outcome = try scratch.run([Built.heapdump, "--timeout", "0", String(pid)])
            #expect(
                outcome.exitStatus == 2 && outcome.output.isEmpty && outcome.messages.contains("\(pid): \(reason)"),
                "\(outcome)")
        }
        kill(plain.pid, SIGKILL)
        _ = try plain.wait()
        #expect(try scratch.run([Built.heapdump]).exitStatus == 64)
        #expect(try scratch.run([Built.heapdump, "0"]).exitStatus == 64)
    }

    @Test func aMallocOfTheProgramsOwnIsSaid() throws {
        let scratch = try Scratch()
        try scratch.write("own.c", programWithItsOwnMalloc)
        try scratch.prepare("cc -O0 -fno-builtin -rdynamic -o own own.c")
        let outcome = try scratch.record(["./own"], options: ["-o", "images"], library: Built.interposer)
        #expect(outcome.exitStatus == 0)
        #expect(outcome.messages.contains("no allocation that could be seen"), "\(outcome.messages)")
    }

    @Test func theExamplesTellTheirStories() throws {
        let scratch = try Scratch()
        _ = Built.interposer
        try scratch.prepare("make -s -C '\(Built.root)' examples")
        let pool = try scratch.record(
            [Built.examples + "/pool-slot-zero", "0.5"], options: ["-o", "images"], library: Built.interposer)
        #expect(pool.messages.contains("open_connection ← take_connection ← handle_request"), "\(pool.messages)")
        let threads = try scratch.record(
            [Built.examples + "/unjoined-threads", "0.5"], options: ["-o", "images"], library: Built.interposer)
        #expect(threads.messages.contains("accept_requests ← main"), "\(threads.messages)")
        // Nothing of the queue is left, and the peak held a thousand measurements and more: on a busy machine after a
        // longer time.
        for (seconds, isLast) in [("0.5", false), ("4", false), ("30", true)] {
            let queue = try scratch.record(
                [Built.examples + "/producer-consumer", seconds], options: ["-o", seconds], library: Built.interposer)
            #expect(queue.exitStatus == 0)
            let name = try #require(try namesInDirectory(FilePath(scratch.file(seconds))).first)
            let image = try HeapImage(path: scratch.file("\(seconds)/\(name.string)"))
            guard image.header.peak_bytes > 1_000_000 || isLast else { continue }
            #expect(image.header.peak_bytes > 1_000_000 && liveBlocks(image, size: 1024) == 0)
            break
        }
    }

    @Test func theSummaryNamesTheFirstProgramAndThenTheOthers() throws {
        let scratch = try keeper()
        let many = try scratch.record(
            ["sh", "-c", "for i in 1 2 3; do ./keeper; done"], options: ["-o", "images"], library: Built.interposer)
        let lines = many.messages.split(separator: "\n").map(String.init)
        let shell = try #require(try images(scratch).first { $0.programName != "keeper" })
        #expect(lines.count == 7, "\(many.messages)")
        #expect(
            lines[0].hasPrefix(
                "heaprun: \(shell.programName) (PID \(shell.header.pid)): \(separated(shell.header.live_bytes)) bytes "
                    + "live in "
            ))
        // Three times what a keeper keeps, and what its own start leaves.
        let others = try images(scratch).filter { $0.programName == "keeper" }.reduce(0) { $0 + $1.header.live_bytes }
        #expect(
            others >= 144_000
                && lines[1].hasPrefix(
                    "heaprun: and 3 more images, of its children: \(separated(others)) bytes live in ")
        )
        #expect(lines[2].contains("144,000 bytes") && lines[2].contains("3,000 blocks  keeper: keep ← main"))
        #expect(lines[5] == "  images: 4 in \(scratch.path)/images")

        let only = try scratch.record(
            ["sh", "-c", "./keeper; :"], options: ["-o", "only", "--only", "keeper"], library: Built.interposer)
        #expect(
            only.messages.hasPrefix("heaprun: sh itself left no image; 1 image of its children: 48,"),
            "\(only.messages)")
        #expect(only.messages.contains("keeper: keep ← main"))
        let exec = try scratch.record(
            ["sh", "-c", "exec ./keeper"], options: ["-o", "exec"], library: Built.interposer)
        #expect(
            exec.messages.hasPrefix("heaprun: keeper (PID ") && exec.messages.contains("heaprun: and 1 more image: "),
            "\(exec.messages)")
    }

    @Test func theLibrarysMessagesAreSaidOnceAndAsHeaprunsOwn() throws {
        let scratch = try keeper()
        let outcome = try scratch.record(
            ["sh", "-c", "./keeper; ./keeper"], options: ["-o", "images"], library: Built.interposer,
            variables: ["HEAPSUM_DEPTH": "deep"])
        #expect(outcome.messages.hasPrefix("heaprun: HEAPSUM_DEPTH is not a number from 0 to 1024: deep\nheaprun: "))
        #expect(outcome.messages.split(separator: "\n").count { $0.contains("HEAPSUM_DEPTH") } == 1)
        #expect(!outcome.messages.contains("heapsum: "))
    }

    /// What was allocated at the start of a program that then only waited is as old as the program.
    @Test func blocksAgeUntilTheProgramsEnd() throws {
        let scratch = try keeper()
        let running = try scratch.startRecorded(
            ["./keeper", "wait"], options: ["--quiet", "-o", "images"], library: Built.interposer)
        #expect(try eventually { try contents(running.outputPath) == "ready\n" })
        usleep(1_500_000)
        kill(try running.child(), SIGTERM)
        #expect(try running.wait().exitStatus == 143)
        let image = try #require(try images(scratch).first)
        #expect(image.header.ended_ns >= 1_500_000_000 && image.header.ended_ns < 600_000_000_000)
        var oldest = 0.0
        _ = try image.census { batch in
            for index in batch.indices {
                oldest = max(
                    oldest,
                    Double(image.header.ended_ns) / 1e9 - Double(heap_tick_milliseconds(batch[index].tick)) / 1000)
            }
        }
        #expect(oldest >= 1.4)
    }

    /// Better no run than one whose messages are lost.
    @Test func aFileForMessagesThatCannotBeWrittenIsSaidBefore() throws {
        let scratch = try keeper()
        try scratch.prepare("mkdir there && ln -s elsewhere link")
        for (file, reason) in [
            ("there", "Is a directory"), ("missing/file", "No such file or directory"),
            ("keeper.c/file", "Not a directory"),
            ("link", "it is a symbolic link, and those are not followed"),
        ] {
            let outcome = try record(scratch, "exit", options: ["-o", "images", "--messages", file])
            #expect(
                outcome.exitStatus == 125
                    && outcome.messages == "heaprun: can't write messages to \(scratch.path)/\(file): \(reason)\n")
        }
        let outcome = try scratch.record(
            ["./keeper"], options: ["-o", "images", "--messages", "said"], library: Built.interposer,
            variables: ["HEAPSUM_DEPTH": "deep"])
        #expect(outcome.exitStatus == 3 && !outcome.messages.contains("HEAPSUM_DEPTH"))
        #expect(try contents("\(scratch.path)/said").contains("HEAPSUM_DEPTH is not a number from 0 to 1024: deep"))
    }

    /// Three lines have no room for what stands between a program and its memory, nor for mangled names.
    @Test func theSummaryNamesCppFunctionsAsTheirSourceDoes() throws {
        let scratch = try Scratch()
        try scratch.write(
            "shop.cc",
            """
            #include <string>
            #include <vector>
            namespace shop {
                struct Basket { std::vector<std::string> goods; };
                __attribute__((noinline)) void fill(Basket &basket, int count) {
                    basket.goods.reserve(count);
                    for (int i = 0; i < count; i++) basket.goods.emplace_back(300 + i % 3, 'x');
                }
            }
            int main() {
                auto *basket = new shop::Basket;
                shop::fill(*basket, 1000);
                return 0;
            }
            """)
        try scratch.prepare("c++ -O0 -o shop shop.cc")
        let outcome = try scratch.record(["./shop"], options: ["-o", "images"], library: Built.interposer)
        let first = try #require(outcome.messages.split(separator: "\n").first { $0.contains("1,000 blocks") })
        #expect(first.hasSuffix("  1,000 blocks  shop::fill(shop::Basket&, int) ← main"), "\(outcome.messages)")
        #expect(!outcome.messages.contains("_Z"))
    }

    @Test func theLibrarysReasonForNoImageIsTheReason() throws {
        let scratch = try keeper()
        // Less than any image takes.
        let outcome = try record(scratch, "exit", options: ["-o", "images", "--max-size", "8K"])
        #expect(outcome.exitStatus == 3)
        #expect(
            outcome.messages == """
                heaprun: no image could be made in \(scratch.path)/images
                heaprun: HEAPSUM_MAX_SIZE is too small for an image; 1M holds a small program's
                heaprun: no image could be made at all: nothing is recorded of \(scratch.path)/keeper
                heaprun: keeper was not recorded, for the reason above

                """)
    }

    @Test func anImageGrowsToItsMaximumAndNoFurther() throws {
        let scratch = try Scratch()
        let outcome = try scratch.record(
            [try Built.program("endings"), "return"], options: ["-o", "images", "--max-size", "400K"],
            library: Built.interposer)
        #expect(outcome.exitStatus == 3)
        #expect(
            outcome.messages.contains("  the image reached its maximum size, and recording stopped there\n"),
            "\(outcome.messages)")
        #expect(outcome.messages.contains("not in the image: there was no space"))
        let image = try #require(try images(scratch).first)
        #expect(
            image.hasFlag(HEAP_FLAG_FULL) && image.header.maximum_bytes == 400 << 10
                && image.losses.lost_allocations > 0)
        for wrong in ["", "-1", "12Q"] {
            let refused = try scratch.record(["true"], options: ["--max-size", wrong], library: Built.interposer)
            #expect(
                refused.exitStatus == 125 && refused.messages.contains("--max-size \(wrong): a number of bytes"),
                "\(refused)")
        }
    }

    @Test func manyShortProgramsAreGatheredOnTheWay() throws {
        let scratch = try Scratch()
        let script =
            """
            i=0; while [ $i -lt 150 ]; do /bin/ls >/dev/null; i=$((i+1)); done
            # heaprun looks once a second, and a machine that is busy lets it wait. Each sleep leaves an image, too.
            i=0; set -- "$HEAPSUM_RUN_DIR"/*
            while [ $# -ge 100 ] && [ $i -lt 120 ]; do sleep 1; i=$((i+1)); set -- "$HEAPSUM_RUN_DIR"/*; done
            echo $#
            """
        let outcome = try scratch.record(["sh", "-c", script], options: ["-o", "images"], library: Built.interposer)
        let left = try #require(outcome.output.split(separator: "\n").last.flatMap { Int($0) })
        #expect(left < 100, "\(outcome.output)")
        #expect(try images(scratch).count { $0.programName == "ls" } >= 150)
    }
}

extension StringProtocol {
    /// What follows the first place of a text.
    func range(after text: String) -> Range<Index> {
        var rest = self[...]
        while !rest.isEmpty && !rest.hasPrefix(text) { rest = rest.dropFirst() }
        return rest.dropFirst(text.count).startIndex ..< endIndex
    }
}
