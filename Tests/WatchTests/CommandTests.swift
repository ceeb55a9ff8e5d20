// The commands around a verdict: jobs and what they leave behind, exports that other programs read, archives without secrets.

import Glibc
import TestSupport
import Testing

@testable import Watch

private let heapwatch = Built.products + "/heapwatch"

@Suite struct CommandTests {
    @Test func whatJobsLeaveBehindIsNamed() throws {
        let scratch = try Scratch()
        // One job of three leaves 16 MB in shared memory; the others take and give back.
        try scratch.write("job", """
            #!/bin/sh
            head -c 16M /dev/zero > /dev/shm/heapsum-test-$$
            [ "$1" = leave ] && mv /dev/shm/heapsum-test-$$ /dev/shm/heapsum-test-left-\(getpid())-$2 || rm /dev/shm/heapsum-test-$$
            exit $2
            """, mode: 0o755)
        defer { _ = system("rm -f /dev/shm/heapsum-test-left-\(getpid())-*") }
        for round in 1 ... 3 {
            for kind in ["tidy", "leave"] {
                let outcome = try scratch.run([heapwatch, "run", "-o", "w", "--settle", "100ms", "--name", "none", "--", "./job", kind, "\(round)"])
                #expect(outcome.exitStatus == Int32(round), "\(outcome)")
            }
        }
        // A job is its words: with another number it is another job.
        let verdict = try verdict(of: "\(scratch.path)/w")
        let shared = verdict.leftBehind.filter { $0.what.hasPrefix("shared") }
        #expect(verdict.jobRuns == 6 && Set(shared.map(\.job)) == ["./job leave 1", "./job leave 2", "./job leave 3"], "\(verdict.leftBehind)")
        #expect(shared.allSatisfy { $0.runs == 1 && ($0.amount - 16 * 1_048_576).magnitude < 2 * 1_048_576 })
        #expect(try scratch.run([heapwatch, "run", "-o", "w", "--", "./nowhere"]).exitStatus == 127)
        #expect(try scratch.run([heapwatch, "run", "-o", "/proc/nowhere", "--settle", "0s", "--", "./job", "tidy", "9"]).exitStatus == 9)
    }

    @Test func exportsAreReadByOthers() throws {
        let scratch = try Scratch()
        try Trees.record(into: "\(scratch.path)/w")
        let outcome = try scratch.shell("""
            '\(heapwatch)' export w --format csv -o w.csv && '\(heapwatch)' export w --format graphite -o w.graphite && '\(heapwatch)' export w --format openmetrics -o w.prom || exit
            python3 - <<'END'
            import csv, re
            rows = list(csv.DictReader(open("w.csv", newline="")))
            print(sum(row["column"] == "meminfo.MemTotal" and row["value"] == str(16 << 20) for row in rows), [row["value"] for row in rows if row["name"] == "kmalloc-192" and row["column"] == "activeObjects"][-1])
            lines = open("w.graphite").read().splitlines()
            print(all(re.fullmatch(r"[A-Za-z0-9_.-]+ [0-9]+ 17[0-9]{8}", line) for line in lines), len(lines) == len(rows))
            text = open("w.prom").read()
            metric = r'heapwatch_[a-z]+\\{([a-z]+="([^"\\\\\\n]|\\\\.)*",?)+\\} [0-9]+ [0-9.]+'
            print(text.endswith("# EOF\\n"), all(line.startswith("#") or re.fullmatch(metric, line) for line in text.splitlines()))
            END
            """)
        #expect(outcome.output == "41 810000\nTrue True\nTrue True\n", "\(outcome)")
    }

    @Test func graphiteGetsItOverTheNetwork() throws {
        let scratch = try Scratch()
        try Trees.record(into: "\(scratch.path)/w")
        let outcome = try scratch.shell("""
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
        let outcome = try scratch.shell("""
            '\(heapwatch)' bundle w -o plain.tgz && '\(heapwatch)' bundle w --redact -o redacted.tgz && mkdir p r && tar -C p -xzf plain.tgz && tar -C r -xzf redacted.tgz || exit
            grep -c hunter2 p/heapwatch/*.watch; grep -rc hunter2 r/heapwatch | grep -v ':0' ; ls r/heapwatch
            '\(heapwatch)' verdict r/heapwatch --format json | python3 -c 'import json, sys; print(sorted(g["name"] for g in json.load(sys.stdin)["growing"]))'
            """)
        #expect(outcome.output == "1\nsamples-000001.watch\nverdict.json\nverdict.txt\n['kmalloc-192', 'slabUnreclaimable', 'unexplained']\n", "\(outcome)")
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
