// What a program says of its own memory, and asks for, by heapsum.h and by LeakSanitizer's names: blocks that are no
// leaks, memory to be looked through, a verdict from within. LeakSanitizer itself says what its own functions do.

import Glibc
import TestSupport
import Testing

@Suite struct HintTests {
    private func sizes(_ rows: [VerdictRow], _ verdict: String) -> Set<Int> {
        Set(rows.filter { $0.verdict == verdict }.flatMap { Array(repeating: $0.bytes / $0.blocks, count: 1) })
    }

    @Test func blocksThatAreNoLeaks() throws {
        let watched = try Watched([try leaksProgram("hints"), "ignore"])
        #expect(try watched.lines() == ["the same address"], "the test shows nothing if the address is another")
        let rows = try watched.rows()
        // Said to be none by its start, by its inside, by a thread's word; and what a block of these leads to.
        let ignored: Set = [104, 208, 304, 312, 400, 408, 504, 608, 640, 624, 200_000, 3_000_000]
        #expect(sizes(rows, "reachable").isSuperset(of: ignored), "\(rows)")
        #expect(sizes(rows, "definite") == [704, 804], "\(rows)")
        #expect(sizes(rows, "indirect").isEmpty && sizes(rows, "possible").isEmpty, "\(rows)")
        // The tree names who keeps them.
        let tree = try watched.leaks(["--holders"])
        #expect(tree.output.contains("blocks that the program says are no leaks"), "\(tree)")
        // So it is in a dump, and with a core file.
        let dump = try watched.scratch.run([Built.products + "/heapdump", "--leaks", String(watched.pid)])
        let path = try #require(dump.output.split(separator: "\n").first.map(String.init))
        let told = try watched.scratch.run([Built.products + "/heapsum", "leaks", "--format", "csv", path])
        #expect(told.output.split(whereSeparator: \.isNewline).count == 3, "\(told)")
    }

    @Test func memoryToBeLookedThrough() throws {
        let watched = try Watched([try leaksProgram("hints"), "root"])
        let rows = try watched.rows()
        // The pools themselves are lost: to be looked through holds nobody.
        #expect(sizes(rows, "definite") == [4096, 5000, 6000], "\(rows)")
        #expect(sizes(rows, "reachable").isSuperset(of: [1104, 1312]), "\(rows)")
        #expect(sizes(rows, "indirect") == [1208], "\(rows)")
        let why = try #require(rows.first { $0.bytes == 1104 }?.example)
        let path = try watched.leaks(["--why", why])
        #expect(path.output.contains("memory that the program named a root at 0x"), "\(path)")
    }

    /// Answers, and what heaprun tells: by the clone from outside, or by the tracer that is there already.
    @Test(arguments: [[], ["--leaks"]]) func aProgramAsks(options: [String]) throws {
        let scratch = try Scratch()
        let told = try scratch.record(
            [try leaksProgram("hints"), "ask"], options: options + ["-o", "images"], library: Built.interposer)
        #expect(told.exitStatus == 0 && told.output == "0\n1\n1\ngoes on\n", "\(told)")
        let lines = told.messages.split(separator: "\n").filter { $0.contains("asked for a verdict") }
        #expect(lines.count == 4, "\(told.messages)")
        #expect(lines[0].contains("definite 0 bytes in 0 blocks"), "\(lines)")
        #expect(lines[1].contains("definite 333 bytes in 1 block,"), "\(lines)")
        // Each left a dump that says the same, and its command can be typed.
        for (number, line) in lines.enumerated() {
            let command = try #require(line.firstRange(of: "heapsum leaks ")).upperBound
            let dump = try scratch.run(
                [Built.products + "/heapsum", "leaks", "--format", "csv", String(line[command...])])
            #expect(dump.exitStatus == 0, "\(dump)")
            #expect(dump.output.contains("definite,333,1,0,0,") == (number > 0), "\(dump)")
            let tree = try scratch.run(
                [Built.products + "/heapsum", "leaks", "--holders", String(line[command...])])
            #expect(tree.output.firstRange(of: #/\n +777 +[0-9.]+% +1 +global kept/#) != nil, "\(tree)")
        }
        #expect(try scratch.shell("ls images").output.split(separator: "\n").count == 5)
    }

    @Test func aForksChildAsksForItsOwn() throws {
        let scratch = try Scratch()
        let told = try scratch.record(
            [try leaksProgram("hints"), "fork"], options: ["-o", "images"], library: Built.interposer)
        #expect(told.exitStatus == 0 && told.output == "1\n0\n", "\(told)")
        #expect(told.messages.contains("definite 444 bytes in 1 block,"), "\(told.messages)")
    }

    @Test(arguments: [[], ["--leaks"]]) func itMayBeBusy(options: [String]) throws {
        let scratch = try Scratch()
        let told = try scratch.record(
            [try leaksProgram("hints"), "busy"], options: options + ["-o", "images"], library: Built.interposer)
        #expect(told.exitStatus == 0 && told.output == "0\n", "\(told)")
        #expect(told.messages.split(separator: "\n").count { $0.contains("asked for a verdict") } == 5, "\(told)")
        #expect(!told.messages.contains("no verdict"), "\(told.messages)")
    }

    @Test func whereNobodyAnswers() throws {
        let scratch = try Scratch(), program = try leaksProgram("hints")
        // Not recorded: the weak names are nobody's.
        #expect(try scratch.run([program, "ask"]).output == "-1\n-1\n-2\ngoes on\n")
        // Recorded without heaprun: it is said once, where messages go.
        let alone = try scratch.run(
            [program, "ask"],
            variables: [
                "LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path,
                "HEAPSUM_MESSAGES": scratch.path + "/messages",
            ])
        #expect(alone.output == "-1\n-1\n0\ngoes on\n" && alone.messages.isEmpty, "\(alone)")
        let messages = try contents(scratch.path + "/messages")
        #expect(messages.split(separator: "\n").count == 1 && messages.contains("heaprun"), "\(messages)")
    }

    @Test func heaprunMayBeGone() throws {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo pipe")
        let running = try scratch.startRecorded(
            [try leaksProgram("hints"), "late"], options: ["--quiet", "-o", "images"], library: Built.interposer,
            input: scratch.path + "/pipe")
        let pid = try running.child()
        defer { kill(pid, SIGKILL) }
        #expect(try eventually { try contents(running.outputPath).contains("ready") })
        kill(running.pid, SIGKILL)
        _ = try running.wait()
        _ = try scratch.shell("echo >pipe")
        #expect(try eventually { try contents(running.outputPath).contains("-1\n") })
    }

    /// In a program with LeakSanitizer's own library its names are that library's.
    @Test(arguments: ["leak", "address"]) func aSanitizersNamesAreItsOwn(sanitizer: String) throws {
        let scratch = try Scratch()
        try scratch.prepare(
            """
            cat >check.c <<'END'
            #include <stdio.h>
            #include <stdlib.h>
            void __lsan_ignore_object(const void *) __attribute__((weak));
            int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
            void __lsan_disable(void) __attribute__((weak));
            void __lsan_enable(void) __attribute__((weak));
            __attribute__((noinline)) static void *volatile *block(size_t bytes) { return calloc(1, bytes); }
            __attribute__((noinline)) static void lose(void) {
                __lsan_ignore_object((void *)block(100));
                __lsan_disable();
                block(200);
                __lsan_enable();
                block(333);
            }
            __attribute__((noinline)) static void wipe(void) {
                volatile char space[65536];
                for (size_t i = 0; i < sizeof space; i++) space[i] = 0;
            }
            int main(void) {
                int first = __lsan_do_recoverable_leak_check();
                lose();
                wipe();
                printf("%d %d\\n", first, __lsan_do_recoverable_leak_check());
                fflush(stdout);
                _Exit(0);
            }
            END
            cc -O1 -g -fsanitize=\(sanitizer) -o check check.c
            """)
        let plain = try scratch.run(["./check"])
        try #require(plain.output == "0 1\n" && plain.messages.contains("333 byte"), "\(plain)")
        let recorded = try scratch.record(["./check"], library: Built.interposer)
        #expect(recorded.output == plain.output && recorded.exitStatus == plain.exitStatus, "\(recorded)")
        #expect(recorded.messages.contains("SUMMARY: ") && recorded.messages.contains("333 byte"), "\(recorded)")
    }
}
