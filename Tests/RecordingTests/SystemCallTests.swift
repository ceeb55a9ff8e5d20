// How many system calls the library makes while a program does the same again and again: hardly any. Each one costs
// about as much as recording an allocation. Counted by ptrace (Tests/Programs/counts_calls.c), without the library and
// with it; no time is measured.

import HeapImage
import TestSupport
import Testing

@Suite struct SystemCallTests {
    private static let glibc = Build(testDescription: "glibc", command: "gcc -O2 -g -w -o program %s")
    private static let first = 20, times = 200

    /// The calls that a program makes after its SIGSTOP; recorded if there are variables.
    private func calls(_ program: [String], _ variables: [String] = [], in scratch: Scratch) throws -> Int {
        let counter = try Built.program("counts_calls")
        // a failure may be a hundred times slower: it is told, not waited for. Processor time, which others don't take.
        let outcome = try scratch.run(["prlimit", "--cpu=20", counter, "env"] + variables + program)
        guard outcome.exitStatus == 0, let calls = Int(outcome.output.split(separator: "\n").last ?? "") else {
            throw Failure("\(program): \(outcome)")
        }
        return calls
    }

    private func recording(_ scratch: Scratch, _ more: [String] = []) -> [String] {
        ["LD_PRELOAD=\(Built.interposer)", "HEAPSUM_OUTPUT=\(scratch.path)"] + more
    }

    /// Stacks that can't be proved are among them: in musl's regcomp, and outside of functions that musl calls. A look
    /// at all mappings, which such a stack may ask for each 64 milliseconds, takes some two thousand calls: on a busy
    /// machine there are several. The fault that this is for made millions.
    @Test(arguments: [Build.musl, Build.muslWithoutTable, Build.statics[2], glibc])
    func recordingMakesHardlyAny(build: Build) throws {
        let scratch = try Scratch()
        try scratch.build("repeats.c", build)
        for kind in ["copies", "prints", "sorts", "searches", "raises", "goes_deep", "compiles"] {
            let program = ["./program", kind, String(Self.first), String(Self.times)]
            let plain = try calls(program, in: scratch)
            let recorded = try calls(program, recording(scratch), in: scratch) - plain
            let image = try Recording(scratch: scratch, outcome: try scratch.shell("true")).image(of: "program")
            let all = try Reduced(image).reduction.rows.reduce(0) { $0 + Int($1.history?.allocatedBlocks ?? 0) }
            let blocks = all * Self.times / (Self.first + Self.times)
            #expect(blocks >= Self.times && recorded < 3 * blocks + 50_000, "\(kind): \(recorded) for \(blocks) blocks")
            if build.testDescription == "glibc" { #expect(recorded < 50, "\(kind): \(recorded)") }
            try scratch.prepare("rm program.*.heap")
        }
    }

    #if arch(x86_64)
        /// What failed is not tried at each allocation: none of 64 places displaces another.
        @Test func whatFailedIsRemembered() throws {
            let scratch = try Scratch()
            #expect(try scratch.run([try Built.program("tries")]).output == "0\n")
        }
    #endif

    /// The thread that holds the interpreter's lock reads its frames in place.
    @Test(arguments: PythonTests.interpreters) func pythonsFramesAreReadInPlace(interpreter: String) throws {
        let scratch = try Scratch()
        try scratch.write(
            "works.py",
            """
            import json, os, signal

            def work():
                for number in range(20):
                    json.dumps(list(range(number)))

            work()
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os._exit(0)
            """)
        let program = ["PYTHONMALLOC=malloc", interpreter, "works.py"]
        let plain = try calls(program, in: scratch)
        let recorded = try calls(program, recording(scratch, ["HEAPSUM_PYTHON=1"]), in: scratch) - plain
        // Some 2,000 blocks. One that the kernel copies takes dozens; a look at all mappings takes two thousand in all.
        #expect(recorded < 20_000, "\(interpreter): \(recorded)")
    }
}
