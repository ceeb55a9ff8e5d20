// Under libfaketime, which tells whoever it is preloaded into another time, at another speed: recordings and dumps have
// the machine's own. Oracle: this test's clock.

import Glibc
import HeapImage
import Proc
import SystemPackage
import TestSupport
import Testing
import Text

@testable import Launch

@Suite struct ClockTests {
    private static let source = """
        #include <stdlib.h>
        #include <stdio.h>
        #include <time.h>
        #include <unistd.h>
        static void *volatile kept[3];
        int main(void) {
            for (int i = 0; i < 3; i++) kept[i] = malloc(1000);
            time_t now = time(NULL);
            printf("%d\\n", gmtime(&now)->tm_year + 1900);
            fflush(stdout);
            // By the kernel itself, whatever sleep is told.
            for (volatile long i = 0; i < 100000000; i++) {}
            if (getenv("STAY")) for (;;) pause();
            return 0;
        }
        """

    private func prepared() throws -> Scratch {
        let scratch = try Scratch()
        try scratch.write("prog.c", Self.source)
        try scratch.prepare("cc -O1 -o prog prog.c")
        return scratch
    }

    private var year: Int {
        var now = time_t(clockNanoseconds(CLOCK_REALTIME) / 1_000_000_000), parts = tm()
        gmtime_r(&now, &parts)
        return Int(parts.tm_year) + 1900
    }

    @Test func aRecordingHasTheMachinesTime() throws {
        let scratch = try prepared()
        let before = clockNanoseconds(CLOCK_REALTIME), start = clockNanoseconds(CLOCK_MONOTONIC)
        let outcome = try scratch.run(
            ["faketime", "-f", "+1y,x100", Built.heaprun, "-o", "images", "./prog"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        let after = clockNanoseconds(CLOCK_REALTIME), end = clockNanoseconds(CLOCK_MONOTONIC)
        // The program has the time that it was given.
        #expect(outcome.exitStatus == 0 && (Int(outcome.output.dropLast()) ?? 0) >= year + 1, "\(outcome)")
        let name = try #require(try namesInDirectory(FilePath("\(scratch.path)/images")).first)
        let image = try HeapImage(path: "\(scratch.path)/images/\(name.text)")
        #expect(
            (before ... after).contains(image.header.started_realtime_ns)
                && (start ... end).contains(image.header.started_monotonic_ns))
        #expect(image.header.ended_ns > 0 && image.header.ended_ns <= end - start)
        #expect(image.losses.lost_allocations == 0 && !outcome.messages.contains("no space"), "\(outcome)")
    }

    @Test func aDumpHasTheMachinesTime() throws {
        let scratch = try prepared()
        let running = try scratch.startRecorded(
            ["./prog"], options: ["--quiet", "-o", "images"], library: Built.interposer, variables: ["STAY": "1"])
        let child = try running.child()
        #expect(try eventually { try contents(running.outputPath).hasSuffix("\n") })
        let start = clockNanoseconds(CLOCK_MONOTONIC)
        let outcome = try scratch.run(["faketime", "-f", "+1y,x100", Built.heapdump, "\(child)"])
        let end = clockNanoseconds(CLOCK_MONOTONIC)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let dump = try HeapImage(path: String(outcome.output.dropLast()))
        let began = dump.header.started_monotonic_ns + dump.header.began_ns,
            ended = dump.header.started_monotonic_ns + dump.header.ended_ns
        #expect(start <= began && began <= ended && ended <= end)
        kill(child, SIGKILL)
        _ = try running.wait()
    }
}
