// Programs that people run, under heaprun: their output and exit status are a plain run's. Where valgrind can run them
// too, in the same environment to the byte, their counts are valgrind's.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct RealProgramTests {
    /// A small repository and a source file, for git and the compiler. Its dates are fixed: two of them are one to the
    /// byte.
    private static let ground = """
        export GIT_AUTHOR_DATE='2024-02-29 12:00:00 +0000' GIT_COMMITTER_DATE='2024-02-29 12:00:00 +0000'
        git init -q -b main repository && cd repository && git config user.name t && git config user.email t@localhost
        for i in 1 2 3 4 5 6 7 8 9; do seq $((i * 100)) > file$i; git add . && git commit -qm "change $i"; done; cd ..
        printf '#include <stdio.h>\\n#include <stdlib.h>\\nint main(void) { puts(getenv("HOME")); \
        return 0; }\\n' > source.c
        """

    static let commands: [[String]] = [
        [
            "/usr/bin/python3", "-c",
            "import json, threading; t = [threading.Thread(target=lambda: json.dumps(list(range(1000)))) for _ in "
                + "range(4)]; [x.start() for x in t]; [x.join() for x in t]; print(json.dumps({'a': [1, 2]}))",
        ],
        [
            "/usr/bin/python3", "-c",
            "import subprocess, sys; print(subprocess.run(['ls', '/usr'], capture_output=True, text=True).stdout); "
                + "sys.exit(7)",
        ],
        [
            "/usr/bin/perl", "-e",
            "my %h; $h{$_} = $_ x 10 for 1..5000; print join(',', map { $h{$_} } 1..5), qq(\\n); print STDERR qq(to "
                + "stderr\\n); exit 5",
        ],
        ["/usr/bin/git", "-C", "repository", "log", "--stat", "-p"],
        ["/usr/bin/git", "clone", "-q", "repository", "copy"],
        ["/usr/bin/git", "-C", "repository", "gc", "-q"],
        ["/usr/bin/gcc", "-O2", "-Wall", "-o", "compiled", "source.c"],
        ["/usr/bin/gcc", "-c", "no-such-file.c"],
        [
            "/usr/bin/sqlite3", ":memory:",
            "create table t(a); insert into t values (1), (2); select sum(a) from t; select no_such_column from t;",
        ],
        [
            "/bin/bash", "-c",
            "set -o pipefail; for i in 1 2 3; do echo $i | cat | tr 1 2 | sort; done; x=$(echo a | sed s/a/b/); echo "
                + "$x; false | true",
        ],
        ["/bin/bash", "-c", "kill -TERM $$"],
        ["/bin/sh", "-c", "seq 1000 | awk '{ s += $1 } END { print s }'; exit 3"],
    ]

    @Test(arguments: commands) func outputAndStatusAreAPlainRuns(command: [String]) throws {
        let plain = try Scratch(), recorded = try Scratch()
        for scratch in [plain, recorded] { try scratch.prepare(Self.ground) }
        let expected = try plain.run(command), outcome = try recorded.record(command, library: Built.interposer)
        #expect(outcome.exitStatus == expected.exitStatus)
        #expect(outcome.output == expected.output.replacing(plain.path, with: recorded.path))
        #expect(outcome.messages == expected.messages.replacing(plain.path, with: recorded.path))
        let images = try recorded.shell("ls *.heap | wc -l").output
        #expect(Int(images.filter { $0.isNumber }) ?? 0 > 0, "nothing was recorded")
    }

    /// Programs that valgrind can run as well, with how far their counts may lie apart, in allocations.
    private static let judged: [(command: [String], slack: UInt64)] = [
        (["/usr/bin/perl", "-e", "my %h; $h{$_} = $_ x 10 for 1..5000; print scalar keys %h"], 0),
        (["/usr/bin/python3", "-c", "import json; print(json.dumps([1, 2]))"], 0),
        (["/usr/bin/git", "-C", "repository", "log", "--stat"], 0),
        (["/usr/bin/bash", "-c", "for i in 1 2 3; do echo $i; done"], 0),
        // The page table of cc1's garbage collector (ggc_internal_alloc) has a block for each part of the address space
        // that its pages lie in: with address randomisation one comes or goes, in its own runs too.
        (
            [
                "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "-quiet", "-O2", "-imultiarch", "x86_64-linux-gnu", "source.c",
                "-o", "source.s",
            ], 4
        ),
    ]

    @Test(arguments: judged) func countsAreValgrinds(command: [String], slack: UInt64) throws {
        let scratch = try Scratch()
        try scratch.prepare(Self.ground)
        let base = [
            "PATH=/usr/bin:/bin", "HOME=/root", "PWD=\(scratch.path)", "HEAPSUM_OUTPUT=\(scratch.path)",
            "PERL_HASH_SEED=0", "PYTHONHASHSEED=0",
        ]
        // Valgrind adds variables of its own. The recorded run gets the same ones, of the same length: programs copy
        // them.
        var variables = try scratch.run(["env", "-i"] + base + ["valgrind", "-q", "/usr/bin/env"]).output.split(
            separator: "\n"
        ).map(String.init)
        let index = try #require(variables.firstIndex { $0.hasPrefix("LD_PRELOAD=") })
        let padding = variables[index].utf8.count - "LD_PRELOAD=".utf8.count - Built.interposer.utf8.count
        try #require(padding >= 0, "the library's path is longer than valgrind's")
        variables[index] = "LD_PRELOAD=" + String(repeating: ":", count: padding) + Built.interposer

        let judged = try scratch.run(
            ["env", "-i"] + base + ["valgrind", "--run-libc-freeres=no", "--run-cxx-freeres=no", "--log-file=judged"]
                + command)
        let recorded = try scratch.run(["env", "-i"] + variables + command)
        #expect(recorded == judged)
        let name = command[0].split(separator: "/").last.map(String.init) ?? ""
        let real =
            name == "python3"
            ? try scratch.shell("basename $(readlink -f /usr/bin/python3)").output.split(separator: "\n").first.map(
                String.init) ?? name : name
        let totals = try Reduced(try Recording(scratch: scratch, outcome: recorded).image(of: real)).totals
        let valgrind = try Valgrind(try contents(scratch.path + "/judged"))
        func near(_ ours: UInt64?, _ theirs: UInt64) -> Bool {
            ours.map { max($0, theirs) - min($0, theirs) <= slack } ?? false
        }
        #expect(near(totals.history?.allocatedBlocks, valgrind.allocations), "\(totals), \(valgrind)")
        #expect(near(totals.history?.freedBlocks, valgrind.frees), "\(totals), \(valgrind)")
        #expect(near(totals.liveBlocks, valgrind.liveBlocks), "\(totals), \(valgrind)")
        if slack == 0 { #expect(totals.liveBytes == valgrind.liveBytes, "\(totals), \(valgrind)") }
    }

    @Test func redisServesUnderLoadAsEver() throws {
        let scratch = try Scratch()
        let script = """
            command="$1 redis-server --port 0 --unixsocket redis.sock --save '' --daemonize no --logfile redis.log"
            eval "$command &"
            server=$!
            for i in $(seq 1200); do redis-cli -s redis.sock ping >/dev/null 2>&1 && break; sleep 0.05; done
            redis-benchmark -s redis.sock -n 20000 -c 20 -q -t set,get,lpush,lrange_100 > load.log 2>&1 || exit 8
            redis-cli -s redis.sock set key value; redis-cli -s redis.sock get key; \
            redis-cli -s redis.sock lpush list a b c
            redis-cli -s redis.sock shutdown nosave
            wait $server
            echo "status $?"
            """
        try scratch.write("serve", script)
        let plain = try scratch.run(["/bin/sh", "serve", "env"])
        let recorded = try scratch.run(
            ["/bin/sh", "serve", "\(Built.heaprun) --quiet"], variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(plain.output.hasSuffix("status 0\n"), "\(plain)")
        #expect(recorded == plain)
        let name = try scratch.shell("basename $(readlink -f $(command -v redis-server))").output.filter {
            !$0.isNewline
        }
        let image = try Recording(scratch: scratch, outcome: recorded).image(of: name)
        #expect(image.state == .exited)
        #expect(try Reduced(image).totals.history?.allocatedBlocks ?? 0 > 10_000)
    }
}
