// Our own unwinder held against libunwind at each stack (HEAPSUM_VERIFY), over every kind of stack that there is, and
// over real programs.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct UnwindTests {
    /// Runs a command with every stack verified; the image of the program of that name.
    private func verify(_ command: [String], name: String, variables: [String: String?] = [:]) throws -> HeapImage {
        let scratch = try Scratch()
        try scratch.write(
            "source.cc",
            "#include <map>\n#include <string>\nint main() { std::map<int, std::string> m; m[1] = \"a\"; return "
                + "int(m.size()); }\n"
        )
        let outcome = try scratch.run(
            command, variables: scratch.recordingVariables(["HEAPSUM_VERIFY": "1"]).merging(variables) { $1 })
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let images = try Recording(scratch: scratch, outcome: outcome).images(of: name)
        return try #require(images.first).image
    }

    private func check(_ image: HeapImage, atLeast stacks: UInt64, mayBeCut: Bool = false) {
        #expect(image.header.unwinder == HEAP_UNWINDER_OWN.rawValue)
        #expect(image.header.verified_stacks >= stacks, "\(image.header.verified_stacks) stacks")
        #expect(
            image.header.differing_stacks == 0,
            "\(image.header.differing_stacks) of \(image.header.verified_stacks) differ")
        // Code without tables is left by a guess, which a word from an earlier call may hinder.
        #expect(
            UInt64(image.header.shorter_stacks) * 1000 <= image.header.verified_stacks,
            "\(image.header.shorter_stacks) of \(image.header.verified_stacks) are cut where libunwind goes on")
        // The outermost frame is the program's or the thread's start.
        if !mayBeCut {
            #expect(
                image.losses.cut_stacks * 1000 <= image.header.verified_stacks, "\(image.losses.cut_stacks) are cut")
        }
    }

    @Test func everyKindOfStackIsLibunwinds() throws {
        // Coroutines end at makecontext's start routine, which has no unwind information; libunwind stops there as
        // well.
        check(
            try verify([try Built.program("unwinds"), "250000"], name: "unwinds"), atLeast: 10_000_000, mayBeCut: true)
    }

    @Test(
        arguments: [
            (["/usr/bin/perl", "-e", "my %h; $h{$_} = $_ x 10 for 1..5000; print scalar keys %h"], "perl", 10_000),
            (
                [
                    "/usr/bin/sqlite3", ":memory:",
                    "create table t(a); with recursive c(x) as (select 1 union all select x + 1 from c where x < 3000) "
                        + "insert into t select hex(x) from c; select count(*) from t",
                ], "sqlite3", 5_000
            ),
            (
                [
                    "/usr/lib/gcc/x86_64-linux-gnu/12/cc1plus", "-quiet", "-O2", "-imultiarch", "x86_64-linux-gnu",
                    "-D_GNU_SOURCE", "source.cc", "-o", "source.s",
                ], "cc1plus", 50_000
            ),
            (["/usr/bin/git", "-C", Built.root, "log", "--stat", "-n", "30"], "git", 1_000),
        ] as [([String], String, UInt64)])
    func realProgramsStacksAreLibunwinds(command: [String], name: String, stacks: UInt64) throws {
        check(try verify(command, name: name), atLeast: stacks)
    }

    @Test func pythonsAndASwiftProgramsStacksAreLibunwinds() throws {
        let python = try Scratch().shell("basename $(readlink -f /usr/bin/python3)").output.filter { !$0.isNewline }
        check(
            try verify(
                ["/usr/bin/python3", "-c", "import json; print(len(json.dumps(list(range(50000)))))"], name: python,
                variables: ["PYTHONMALLOC": "malloc"]), atLeast: 100_000)
        check(try verify([Built.products + "/gensyms", Built.interposer], name: "gensyms"), atLeast: 100)
    }

    @Test func aServersStacksAreLibunwinds() throws {
        let load = """
            redis-server --port 0 --unixsocket "$PWD/socket" --save '' --appendonly no >log 2>&1 & server=$!
            export LD_PRELOAD=
            until redis-cli -s socket ping >/dev/null 2>&1; do kill -0 $server || exit 1; sleep 0.05; done
            redis-benchmark -s socket -q -n 20000 -t set,get,lpush,hset,zadd >/dev/null && \
            redis-cli -s socket shutdown nosave; wait $server
            """
        let name = try Scratch().shell("basename $(readlink -f $(command -v redis-server))").output.filter {
            !$0.isNewline
        }
        check(try verify(["/bin/sh", "-c", load], name: name), atLeast: 50_000)
    }

    @Test func eachOperationOfAnExpressionLeadsToTheCaller() throws {
        let program = try Built.program("expressions")
        let image = try verify([program], name: "expressions")
        // Where libunwind gives up there is nothing to compare. Each operation leads from its function to main.
        check(image, atLeast: 40)
        #expect(image.losses.cut_stacks == 0)
        let names = try Scratch().shell("nm \(program) | sed -n 's/.* t \\(op_.*\\|saved_at\\|value_is\\)$/\\1/p'")
            .output
            .split(separator: "\n").map(String.init)
        let reduced = try Reduced(image)
        let chains = reduced.reduction.rows.map { Array(reduced.functions($0).prefix(3)) }.filter { $0.first == "keep" }
        #expect(Set(chains) == Set(names.map { ["keep", $0, "main"] }) && names.count >= 47, "\(chains)")
    }

    @Test func theDepthLimitKeepsBothEnds() throws {
        let scratch = try Scratch()
        let recording = try scratch.recordProgram("deep", ["300"], variables: ["HEAPSUM_DEPTH": "40"])
        let reduced = try Reduced(try recording.image(of: "deep"))
        let row = try #require(reduced.reduction.rows.first { reduced.functions($0).first == "bottom" })
        let names = reduced.functions(row)
        #expect(names.count == 41, "40 frames and the cut: \(names)")
        #expect(Array(names.prefix(30)) == ["bottom"] + Array(repeating: "down", count: 29))
        #expect(names.contains("main") && names.last == "_start", "\(names)")
        #expect(reduced.reduction.frames(of: row)[30].module == SpecialModule.cut)
        #expect(try recording.image(of: "deep").losses.cut_stacks == 1)
    }

    @Test(arguments: ["own", "libunwind", "fp"]) func stacksCanBeUnwoundInThreeWays(how: String) throws {
        let recording = try Scratch().recordProgram("deep", ["20"], variables: ["HEAPSUM_UNWIND": how])
        let reduced = try Reduced(try recording.image(of: "deep"))
        // Built with frame pointers, so that the third way has something to follow.
        let names = reduced.reduction.rows.map { reduced.functions($0) }.first { $0.first == "bottom" } ?? []
        #expect(Array(names.prefix(23)) == ["bottom"] + Array(repeating: "down", count: 21) + ["main"], "\(names)")
    }
}
