// The commands around a verdict: jobs and what they leave behind, exports that other programs read, archives without
// secrets.

import Glibc
import TestSupport
import Testing

@testable import Watch

private let heapwatch = Built.products + "/heapwatch"

@Suite struct CommandTests {
    /// On a machine that nobody else uses: one of the recorded trees, whose numbers the jobs themselves change.
    @Test func whatJobsLeaveBehindIsNamed() throws {
        let scratch = try Scratch()
        // One job of three leaves 16 MB in shared memory; the others take and give back.
        try scratch.prepare("cp -r \(try Trees.path.get())/000 tree")
        try scratch.write(
            "job",
            """
            #!/bin/sh
            move() { awk -v kb=$1 '/^Shmem:|^Cached:/ { $2 += kb } /^MemFree:|^MemAvailable:/ { $2 -= kb } \
            { print }' tree/proc/meminfo > new && mv new tree/proc/meminfo; }
            move 16384
            [ "$1" = leave ] || move -16384
            exit $2
            """, mode: 0o755)
        for round in 1 ... 3 {
            for kind in ["tidy", "leave"] {
                let outcome = try scratch.run([
                    heapwatch, "run", "-o", "w", "--settle", "0s", "--root", "tree", "--name", "none", "--", "./job",
                    kind, "\(round)",
                ])
                #expect(outcome.exitStatus == Int32(round), "\(outcome)")
            }
        }
        // A job is its words: with another number it is another job.
        let verdict = try verdict(of: "\(scratch.path)/w")
        #expect(
            verdict.jobRuns == 6
                && Set(verdict.leftBehind.map(\.job)) == ["./job leave 1", "./job leave 2", "./job leave 3"],
            "\(verdict.leftBehind)")
        #expect(
            verdict.leftBehind.allSatisfy {
                $0.what.hasPrefix("shared") && $0.runs == 1 && $0.amount == 16 * 1_048_576
            }, "\(verdict.leftBehind)")
    }

    /// On this machine, of what others can't touch: System V's segments in an IPC namespace of the jobs' own.
    @Test func whatJobsLeaveInTheKernelIsSeen() throws {
        let scratch = try Scratch()
        try scratch.write(
            "job",
            """
            #!/bin/bash
            for i in {1..20}; do id=$(ipcmk -M 4096 | grep -o '[0-9]*$'); [ $1 = leave ] || ipcrm -m $id; done
            exit 3
            """, mode: 0o755)
        let outcome = try scratch.run([
            "bwrap", "--dev-bind", "/", "/", "--unshare-ipc", "/bin/bash", "-c",
            """
            for round in 1 2 3; do for kind in tidy leave; do '\(heapwatch)' run -o w --settle 0s --name none -- \
            ./job $kind || status=$?; done; done; ipcs -m | grep -c ' 4096 '; exit $status
            """,
        ])
        #expect(outcome.exitStatus == 3 && outcome.output.hasSuffix("60\n"), "\(outcome)")
        let verdict = try verdict(of: "\(scratch.path)/w")
        let segments = verdict.leftBehind.filter { $0.what == "System V shared segments" }
        #expect(
            verdict.jobRuns == 6 && segments.map(\.job) == ["./job leave"] && segments.map(\.runs) == [3]
                && segments.map(\.amount) == [60], "\(verdict.leftBehind)")
    }

    @Test func aJobRunsWhateverBecomesOfTheSamples() throws {
        let scratch = try Scratch()
        #expect(try scratch.run([heapwatch, "run", "-o", "w", "--", "./nowhere"]).exitStatus == 127)
        #expect(
            try scratch.run([
                heapwatch, "run", "-o", "/proc/nowhere", "--settle", "0s", "--", "/bin/sh", "-c", "exit 9",
            ]).exitStatus == 9)
    }

    @Test func exportsAreReadByOthers() throws {
        let scratch = try Scratch()
        try Trees.record(into: "\(scratch.path)/w")
        let outcome = try scratch.shell(
            """
            '\(heapwatch)' export w --format csv -o w.csv && \
            '\(heapwatch)' export w --format graphite -o w.graphite && \
            '\(heapwatch)' export w --format openmetrics -o w.prom || exit
            python3 - <<'END'
            import csv, re
            rows = list(csv.DictReader(open("w.csv", newline="")))
            print(sum(row["column"] == "meminfo.MemTotal" and row["value"] == str(16 << 20) for row in rows), \
            [row["value"] for row in rows if row["name"] == "kmalloc-192" and row["column"] == "activeObjects"][-1])
            lines = open("w.graphite").read().splitlines()
            print(all(re.fullmatch(r"[A-Za-z0-9_.-]+ [0-9]+ 17[0-9]{8}", line) for line in lines), \
            len(lines) == len(rows))
            text = open("w.prom").read()
            metric = r'heapwatch_[a-z]+\\{([a-z]+="([^"\\\\\\n]|\\\\.)*",?)+\\} [0-9]+ [0-9.]+'
            print(text.endswith("# EOF\\n"), all(line.startswith("#") or re.fullmatch(metric, line) for line in \
            text.splitlines()))
            END
            """)
        #expect(outcome.output == "41 810000\nTrue True\nTrue True\n", "\(outcome)")
    }

    @Test func graphiteGetsItOverTheNetwork() throws {
        let scratch = try Scratch()
        try Trees.record(into: "\(scratch.path)/w")
        let outcome = try scratch.shell(
            """
            python3 -c '
            import socket
            s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
            c, _ = s.accept(); open("got", "wb").write(b"".join(iter(lambda: c.recv(65536), b"")))' > port &
            while [ ! -s port ]; do sleep 0.05; done
            '\(heapwatch)' export w --format graphite --to 127.0.0.1:$(cat port) && wait
            '\(heapwatch)' export w --format graphite | cmp - got && wc -l < got
            """)
        #expect(outcome.exitStatus == 0 && (Int(outcome.output.trimming()) ?? 0) > 1000, "\(outcome)")
    }

    @Test func bundlesKeepSecrets() throws {
        let scratch = try Scratch()
        try Trees.record(into: "\(scratch.path)/w")
        let outcome = try scratch.shell(
            """
            '\(heapwatch)' bundle w -o plain.tgz && '\(heapwatch)' bundle w --redact -o redacted.tgz && mkdir p r && \
            tar -C p -xzf plain.tgz && tar -C r -xzf redacted.tgz || exit
            grep -c hunter2 p/heapwatch/*.watch; grep -rc hunter2 r/heapwatch | grep -v ':0' ; ls r/heapwatch
            '\(heapwatch)' verdict r/heapwatch --format json | python3 -c 'import json, sys; \
            print(sorted(g["name"] for g in json.load(sys.stdin)["growing"]))'
            """)
        #expect(
            outcome.output
                == "1\nindex.html\nsamples-000001.watch\nverdict.json\nverdict.txt\n['kmalloc-192', 'unexplained']\n",
            "\(outcome)")
    }

    @Test func wrongArgumentsAndEmptyPlacesAreSaid() throws {
        let scratch = try Scratch()
        #expect(try scratch.run([heapwatch, "--interval", "0s"]).exitStatus == 64)
        #expect(try scratch.run([heapwatch, "-o", "x", "--all", "--pid", "1"]).exitStatus == 64)
        let empty = try scratch.run([heapwatch, "verdict", "."])
        #expect(empty.exitStatus == 2 && empty.messages.contains("no recording there"), "\(empty)")
        let table = try scratch.run([heapwatch, "--interval", "100ms"])
        #expect(table.exitStatus == 0 && table.output.contains("PID") && table.output.contains("heapwatch"), "\(table)")
    }
}
