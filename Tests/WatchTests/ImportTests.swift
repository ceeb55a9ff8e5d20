// What others gather is read as it is: each format from the program that prints it, run here, and held against /proc or
// the program's own numbers; and texts of systems that aren't here, by numbers counted by hand.

import Glibc
import Screen
import TestSupport
import Testing

@testable import Watch

private let heapwatch = Built.products + "/heapwatch"

@Suite struct ImportTests {
    private func imported(
        _ text: String, _ scratch: Scratch, _ options: ImportOptions = ImportOptions()
    ) throws -> (samples: [Sample], result: ImportResult) {
        try scratch.write("log", text)
        let result = try Import(options).run(["\(scratch.path)/log"], into: "\(scratch.path)/w")
        return (try samples(in: "\(scratch.path)/w").samples, result)
    }

    private func segmentHead(in directory: String) throws -> SegmentHead {
        var reader = SampleReader(directory: directory), found: SegmentHead?
        try reader.forEach { head, _ in found = head }
        return try #require(found)
    }

    private func total() throws -> Int64 {
        let text: String = try contents("/proc/meminfo")
        let line = try #require(text.split(separator: "\n").first)
        return try #require(line.split(separator: " ").compactMap { Int64($0) }.first)
    }

    // MARK: Scripts' files

    /// A monitoring script, for a day by its dates, beside a program that really grows.
    @Test func aScriptsFileTellsWhoGrows() throws {
        let scratch = try Scratch()
        let program = try Built.program("growth")
        let leak = try scratch.start([program, "leak"]), idle = try scratch.start([program, "idle"])
        defer {
            for process in [leak, idle] {
                kill(process.pid, SIGKILL)
                _ = try? process.wait()
            }
        }
        for process in [leak, idle] { #expect(try eventually { try contents(process.outputPath).contains("ready") }) }
        let outcome = try scratch.shell(
            """
            for i in $(seq 0 19); do
                echo "=== $(LC_ALL=C TZ=UTC date -d @$((1790000000 + i * 600))) ==="
                uptime; cat /proc/loadavg /proc/meminfo; free; vmstat 1 1; vmstat -s; vmstat -m; slabtop -o | \
                head -20; cat /proc/vmstat
                for p in memory io cpu; do echo "# cat /proc/pressure/$p"; cat /proc/pressure/$p; done
                grep '^cpu ' /proc/stat; cat /proc/net/sockstat; cat /proc/slabinfo; \
                ps -eo user,pid,ppid,%cpu,%mem,vsz,rss,stat,nlwp,lstart,time,args; top -b -n 1 | head -20; \
                cat /proc/self/status
                sleep 0.6
            done > log
            '\(heapwatch)' import -o w log && '\(heapwatch)' verdict w --format json > v.json
            """)
        #expect(outcome.exitStatus == 0 && !outcome.messages.contains("could not be read"), "\(outcome.messages)")
        let read = try samples(in: "\(scratch.path)/w").samples
        #expect(read.count == 20 && read.last.map { $0.bootMilliseconds } == 19 * 600_000)
        let all = try total()
        #expect(read[0].value("meminfo.MemTotal") == all)
        for name in [
            "load.1", "uptime.seconds", "pressure.io.some.microseconds", "cpu.user", "vmstat.pswpin",
            "sockstat.TCP.mem",
        ] { #expect(read.allSatisfy { $0.value(name) ?? -1 >= 0 }, "\(name)") }
        #expect(read.allSatisfy { sample in sample.entities.contains { $0.kind == .slab && $0.name == "dentry" } })
        for sample in read {
            let process = try #require(sample.process(Int64(leak.pid)))
            #expect(process[.resident] > 0 && process[.threads] == 1 && process[.parent] == Int64(getpid()))
        }
        let verdict = try verdict(of: "\(scratch.path)/w")
        let found = verdict.growing.filter { $0.pid == Int64(leak.pid) || $0.pid == Int64(idle.pid) }
        #expect(
            found.map(\.pid) == [Int64(leak.pid)] && found.first?.what == "resident memory",
            "\(verdict.growing.map { "\($0.name) \($0.what)" })")
        #expect(verdict.load.load != nil && verdict.load.heads.count == 2 && verdict.load.heads[0][0].hasPrefix("up "))
    }

    @Test func blocksAreReadAsTheyStand() throws {
        let scratch = try Scratch()
        let (read, result) = try imported(
            """
            zzz ***Mon Nov 23 08:00:01 UTC 2026
             08:00:01 up 12 days,  3:41,  2 users,  load average: 18.02, 17.45, 16.49
                          total        used        free      shared  buff/cache   available
            Mem:       16384000     1987188     1204216      117900     2124108    10696904
            Swap:       2097152         100     2097052
            USER       PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND
            app       2211  3.1 40.2 9421780 6612716 ?     SLl  Nov11 412:49 /usr/bin/serve --port 80
            Filesystem      Size  Used Avail Use% Mounted on
            zzz ***Mon Nov 23 08:01:01 UTC 2026
            app       2211  3.1 40.2 9421780 6712716 ?     SLl  Nov11 412:51 /usr/bin/serve --port 80
            app       2212  3.1 40.2 9421780 nonsense ?     SLl  Nov11 412:51 /usr/bin/serve --port 80
            """, scratch)
        #expect(read.count == 2 && read[1].bootMilliseconds == 60_000)
        let upSeconds: Int64 = 12 * 86_400 + 3 * 3600 + 41 * 60
        #expect(read[0].value("load.1") == 1802 && read[0].value("uptime.seconds") == upSeconds)
        #expect(
            read[0].value("meminfo.MemFree") == 1_204_216 && read[0].value("meminfo.Cached") == 2_124_108
                && read[0].value("meminfo.SwapFree") == 2_097_052)
        let resident: [Int64?] = read.map { $0.process(2211)?[.resident] }
        #expect(resident == [6_612_716, 6_712_716])
        #expect(read[1].process(2211)?[.userTicks] == 2_477_100)
        #expect(
            read[0].process(2211)?.name == "serve" && read[0].process(2211)?.detail == "/usr/bin/serve\0--port\080\0")
        #expect(result.from == 1_795_420_801_000)
        // What isn't known is told by its place.
        #expect(
            result.files[0].unreadCount == 2
                && result.files[0].unread[0].hasSuffix(
                    "log:8: not known: Filesystem      Size  Used Avail Use% Mounted on")
                && result.files[0].unread[1].contains("log:11: "), "\(result.files[0].unread)")
    }

    @Test func theBSDsTablesAreRead() throws {
        let scratch = try Scratch()
        let (read, result) = try imported(
            """
            Mon Nov 23 08:00:00 GMT 2026
             8:00AM  up 41 days,  2:12, 1 user, load averages: 0.16, 0.10, 0.03
             procs      memory      page                    disks     faults      cpu
             r b w     avm    fre  flt  re  pi  po  fr  sr ad0 ad1   in   sy  cs us sy id
             0 0 0  231456  61424   20   0   0   0  18   1   0   0  231  140  90  1  2 97
             0 0 0  231456  61424   20   0   3   5  18   1   0   0  231  140  90  1  2 97
                     Type InUse MemUse HighUse Requests  Size(s)
                 atkbddev     2     1K       -        2  32
             acpi task set    12    24K       -      812  16,32,64
            ITEM                   SIZE  LIMIT     USED     FREE      REQ FAIL SLEEP
            UMA Kegs:               208,      0,      96,       4,      96,   0,   0
            """, scratch)
        func slab(_ name: String) -> [Int64]? {
            read[0].entities.first { $0.name == name }.map { Array($0.values.prefix(4)) }
        }
        #expect(slab("acpi task set") == [12, 12, 0, 6])
        #expect(slab("UMA Kegs") == [96, 100, 208, 6])
        let upSeconds: Int64 = 41 * 86_400 + 2 * 3600 + 12 * 60
        #expect(
            read[0].value("load.1") == 16 && read[0].value("uptime.seconds") == upSeconds
                && read[0].value("meminfo.MemFree") == 61_424)
        #expect(
            read[0].value("cpuPercent.system") == 2 && read[0].value("rate.pageOut") == 5
                && result.files[0].unreadCount == 0, "\(result)")
    }

    @Test(
        arguments: [
            ("Sat Nov 28 13:46:40 UTC 2026", 1_795_873_600_000), ("Sat 28 Nov 2026 01:46:40 PM UTC", 1_795_873_600_000),
            ("2026-11-28 13:46:40 UTC", 1_795_873_600_000), ("[2026-11-28T14:46:40.250+01:00]", 1_795_873_600_250),
            ("1795873600", 1_795_873_600_000), ("==== 2026/11/28 13:46:40 +0000 ====", 1_795_873_600_000),
            ("Date: 20261128-134640Z", 1_795_873_600_000), ("# date: 2026-11-28 13:46 UTC", 1_795_873_560_000),
            ("@1795873600.5", 1_795_873_600_500),
        ] as [(String, Int64)])
    func datesAreFound(text: String, wall: Int64) {
        let bytes = Array(text.utf8)
        #expect(ImportTimes.find(bytes[...])?.wall == wall, "\(text)")
    }

    @Test(arguments: [
        "Mem: 24684092 1987188 14491976", "root 1 0.3 0.0 48528 17412 ? SLl 09:46 0:49 /sbin/init",
        "May 12", "load average: 1.02", "12:30", "2026-13-45 10:00:00",
    ])
    func noDateIsFoundWhereNoneIs(text: String) {
        let bytes = Array(text.utf8)
        #expect(ImportTimes.find(bytes[...]) == nil)
    }

    /// vmstat -s with counters of ten digits, as a date in seconds has: all lines are counters, and no line is a date.
    @Test func countersAreNoDates() throws {
        let scratch = try Scratch()
        let outcome = try scratch.shell(
            """
            vmstat -s | sed -E 's/[0-9]+/1079619698/' > counters && [ $(wc -l < counters) -gt 20 ] || exit
            for i in $(seq 0 9); do LC_ALL=C date -u -d @$((1790000000 + i * 600)); cat counters; done > log
            '\(heapwatch)' import -o w log
            """)
        #expect(
            outcome.exitStatus == 0 && !outcome.messages.contains("could not be read")
                && !outcome.messages.contains("go back"), "\(outcome)")
        let read = try samples(in: "\(scratch.path)/w").samples
        #expect(read.map(\.bootMilliseconds) == (0 ..< 10).map { $0 * 600_000 })
        #expect(
            read.allSatisfy {
                $0.value("meminfo.MemTotal") == 1_079_619_698 && $0.value("cpu.idle") == 1_079_619_698
            })
    }

    /// Lines that are not known and begin with ten digits, after dates of another form.
    @Test(arguments: [
        "1695873760     /var/log/app", "    1695837600 total packets received", "1695833760 k total memory",
        "1695873760 cpu context switches",
    ])
    func unknownNumbersAreNoDates(line: String) throws {
        let scratch = try Scratch()
        let outcome = try scratch.shell(
            """
            for i in $(seq 0 9); do LC_ALL=C date -u -d @$((1790000000 + i * 60)); echo '\(line)'; free; done > log
            '\(heapwatch)' import -o w log
            """)
        #expect(outcome.exitStatus == 0 && !outcome.messages.contains("go back"), "\(outcome)")
        #expect(try samples(in: "\(scratch.path)/w").samples.map(\.bootMilliseconds) == (0 ..< 10).map { $0 * 60_000 })
    }

    /// A number of seconds before each line's data, and no other dates.
    @Test func secondsBeforeDataAreDates() throws {
        let scratch = try Scratch()
        let outcome = try scratch.shell(
            """
            for i in $(seq 0 9); do echo "$((1790000000 + i * 60)) $(grep MemFree /proc/meminfo)"; done > log
            '\(heapwatch)' import -o w log
            """)
        #expect(outcome.exitStatus == 0 && !outcome.messages.contains("could not be read"), "\(outcome)")
        #expect(try samples(in: "\(scratch.path)/w").samples.map(\.bootMilliseconds) == (0 ..< 10).map { $0 * 60_000 })
    }

    // MARK: Programs' own output

    @Test func vmstatAndTopAndPsAreRead() throws {
        let scratch = try Scratch()
        let outcome = try scratch.shell(
            """
            vmstat -t 1 3 > t; vmstat -w 1 3 > plain; TZ=UTC top -b -n 3 -d 0.5 > top; \
            for i in 1 2 3; do ps -eo pid,rss,args; done > ps
            for f in t top; do '\(heapwatch)' import -o $f.w $f || exit; done
            for f in plain ps; do '\(heapwatch)' import -o $f.w $f; echo $?; \
            '\(heapwatch)' import -o $f.w $f --interval 5s --start '2026-11-23 08:00 UTC' || exit; done
            cat t plain top ps | tail -n 4
            """)
        #expect(
            outcome.exitStatus == 0 && outcome.output.hasPrefix("2\n2\n")
                && outcome.messages.contains("give --interval") && !outcome.messages.contains("could not be read"),
            "\(outcome)")
        for name in ["t", "plain", "top", "ps"] {
            let read = try samples(in: "\(scratch.path)/\(name).w").samples
            #expect(read.count == 3, "\(name)")
            if name == "plain" || name == "ps" { #expect(read.map(\.bootMilliseconds) == [0, 5000, 10_000]) }
            // vmstat's free memory is the machine's, as others leave it meanwhile.
            let most = try total()
            if name != "ps" { #expect(read.allSatisfy { (1 ... most).contains($0.value("meminfo.MemFree") ?? 0) }) }
            if name == "top" || name == "ps" {
                #expect(read.allSatisfy { $0.entities.count { $0.kind == .process } > 3 })
            }
        }
        // The rates of vmstat's first row are since the machine's start.
        let idle = try samples(in: "\(scratch.path)/t.w").samples.map {
            ($0.value("cpuPercent.idle") ?? Sample.unknown) != Sample.unknown
        }
        #expect(idle == [false, true, true])
    }

    @Test func sarsDataAreRead() throws {
        let scratch = try Scratch()
        let outcome = try scratch.shell(
            "sar -A -o data 1 3 > /dev/null && sadf -j data -- -r ALL -S -W -q ALL -u > sar.json && '\(heapwatch)' "
                + "import -o w sar.json"
        )
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let read = try samples(in: "\(scratch.path)/w").samples
        let text = try scratch.run(["sadf", "-d", "-U", "data", "--", "-r", "ALL"]).output.split(separator: "\n").filter
        { !$0.hasPrefix("#") }.map { $0.split(separator: ";").map(String.init) }
        // On a busy machine sar takes fewer than it was asked for, and its two forms need not have the same: each
        // sample is held against its time's.
        let json: String = try contents("\(scratch.path)/sar.json")
        #expect(
            read.count >= 1 && read.count == json.split(separator: "\n").count { $0.contains("\"memory\":") }, "\(json)"
        )
        let head = try segmentHead(in: "\(scratch.path)/w")
        var compared = 0
        for row in text {
            let wall = try #require(Int64(row[2])) * 1000
            guard let sample = read.first(where: { head.wall($0.bootMilliseconds) == wall }) else { continue }
            compared += 1
            // host;interval;time;kbmemfree;kbavail;kbmemused;%memused;kbbuffers;kbcached;…
            let ours = ["MemFree", "MemAvailable", "Cached"].map {
                sample.value("meminfo.\($0)").map(String.init) ?? ""
            }
            #expect(ours == [row[3], row[4], row[8]])
            let all = try total()
            #expect(sample.value("meminfo.MemTotal") == all)
        }
        #expect(compared > 0, "\(text)")
        let cut: String = try contents("\(scratch.path)/sar.json")
        try scratch.write("cut.json", String(cut.dropLast(40)))
        let bad = try scratch.run([heapwatch, "import", "-o", "w2", "cut.json"])
        #expect(bad.exitStatus == 2 && bad.messages.contains("cut.json: byte "), "\(bad)")
    }

    @Test func atopsSamplesAreRead() throws {
        let scratch = try Scratch()
        let program = try Built.program("growth")
        let running = try scratch.start([program, "steady"])
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        #expect(try eventually { try contents(running.outputPath).contains("ready") })
        let outcome = try scratch.shell(
            "atop -P ALL 1 3 > atop && '\(heapwatch)' import -o w atop && ps -o rss=,vsz=,ppid= -p \(running.pid)")
        #expect(outcome.exitStatus == 0 && !outcome.messages.contains("could not be read"), "\(outcome)")
        let read = try samples(in: "\(scratch.path)/w").samples
        let last = try #require(read.last), process = try #require(last.process(Int64(running.pid)))
        let theirs = outcome.output.split(separator: " ").compactMap { Int64($0.trimming()) }
        // The kernel keeps a part of each resident size with the processors: two readings of 20 MB differ by some
        // pages.
        try #require(read.count == 3 && theirs.count == 3)
        #expect(
            abs(theirs[0] - process[.resident]) < 1024 && theirs[0] > 19_000
                && Array(theirs[1...]) == [process[.virtual], process[.parent]], "\(process)")
        let all = try total()
        #expect(
            process.name == "hw-steady" && process.detail == "\(program)\0steady\0"
                && last.value("meminfo.MemTotal") == all && last.value("load.1") != nil)
    }

    /// What grep, tail and ps without a heading leave.
    @Test func rowsWithoutHeadingsAreRead() throws {
        let scratch = try Scratch()
        let (read, result) = try imported(
            """
            2026-11-28 13:46:40
            Mem:           23Gi       1.9Gi        13Gi       114Mi       8.3Gi        21Gi
             2  0      0 14868204 148604 8561420    0    0   707  1393  443 10668 44 16 40  0  0
            2026-11-28 13:47:40 UTC
            Mem:       24684092     1987188    14491976      117900     8724108    22696904
            1790000000 71 90000 serve --all
            2026-11-28T13:47:40Z 72 90001 serve --one
            """.replacing("13:46:40", with: "13:46:40 UTC"), scratch,
            {
                var options = ImportOptions()
                options.columns = "pid,rss,args"
                return options
            }())
        #expect(result.files[0].unreadCount == 0 && read.count == 3, "\(result)")
        #expect(
            read[1].value("meminfo.MemTotal") == 23 << 20 && read[1].value("meminfo.Buffers") == 148_604
                && read[2].value("meminfo.MemFree") == 14_491_976)
        #expect(read[0].process(71)?[.resident] == 90_000 && read[2].process(72)?.detail == "serve\0--one\0")
        let tree = try scratch.shell(
            "(sleep 60 & until [ \"$(cat /proc/$!/comm)\" = sleep ]; do sleep 0.05; done; ps -eo pid,rss,args f; "
                + "kill $!) > f; '\(heapwatch)' import -o t f --interval 1s && "
                + "'\(heapwatch)' export t --format csv > t.csv; grep -q ',sleep,resident' t.csv && ! grep -F "
                + "',\\\\_,' t.csv"
        )
        #expect(tree.exitStatus == 0 && tree.output.isEmpty, "\(tree)")
        let sar = try scratch.shell("sar -r 1 1 > text; '\(heapwatch)' import -o s text")
        #expect(sar.exitStatus == 2 && sar.messages.contains("sadf -j"), "\(sar)")
        #expect(try scratch.run([heapwatch, "import", "-o", "x", "--columns", "RSS", "f"]).exitStatus == 64)
    }

    /// A kernel with pages of 64 KB: what counts pages is refused until its size is known, because each number would be
    /// wrong by a factor of sixteen.
    @Test func pagesOfAnotherSizeAreAskedFor() throws {
        let scratch = try Scratch()
        func moment(_ minute: Int, free: Int, pages: Int) -> String {
            """
            \(1_790_000_000 + minute * 60)
            MemTotal: 16000000 kB
            MemFree: \(free) kB
            nr_free_pages \(pages)
            TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 400
            slabinfo - version: 2.1
            dentry 9000 9000 192 341 1 : tunables 0 0 0 : slabdata 27 27 0

            """
        }
        let text = (0 ..< 3).map { moment($0, free: 8_000_000 - $0 * 64, pages: 125_000 - $0) }.joined()
        try scratch.write("arm.log", text)
        let refused = try scratch.run([heapwatch, "import", "-o", "w", "arm.log"])
        #expect(
            refused.exitStatus == 2 && refused.messages.contains("arm.log: its kernel has pages of 64 KB")
                && refused.messages.contains("--page-size 64K"), "\(refused)")
        let taken = try scratch.run([heapwatch, "import", "-o", "w", "--page-size", "64K", "arm.log"])
        #expect(taken.exitStatus == 0 && !taken.messages.contains("could not be read"), "\(taken)")
        #expect(try segmentHead(in: scratch.file("w")).pageBytes == 65536)
        let last = try #require(try samples(in: scratch.file("w")).samples.last)
        #expect(last.entities.first { $0.name == "dentry" }?.values[SlabColumn.pages.rawValue] == 27)
        var table = LiveTable(pageBytes: 65536)
        table.add(last)
        let lines = table.lines(ScreenSize(width: 200, height: 40)).map(\.text)
        #expect(lines[0].contains("kernel 25 MB"), "\(lines)")
        // One moment in which free memory changed while the script read it is no other kernel.
        let (read, result) = try imported(
            moment(0, free: 800_000, pages: 200_000) + moment(1, free: 800_000, pages: 50_000)
                + moment(2, free: 800_000, pages: 200_000), Scratch())
        #expect(read.count == 3)
        #expect(result.files[0].notes.contains { $0.contains("1 of the 3 moments that show it have pages of 16 KB") })
        let forced = try scratch.run([heapwatch, "import", "-o", "f", "--page-size", "4K", "arm.log"])
        #expect(forced.exitStatus == 0 && forced.messages.contains("3 of the 3 moments that show it"), "\(forced)")
        for size in ["3K", "0", "64KB64"] {
            let wrong = try scratch.run([heapwatch, "import", "-o", "x", "--page-size", size, "arm.log"])
            #expect(wrong.exitStatus == 64, "\(wrong)")
        }
    }

    // MARK: Together

    @Test func filesOfOneMachineBecomeOneRecording() throws {
        let scratch = try Scratch()
        var ps = "", meminfo = ""
        for minute in 0 ..< 30 {
            let time = 1_795_420_800 + minute * 60
            ps += "\(time)\n  PID   RSS COMMAND\n   71 \(90_000 + minute * 4000) serve --all\n"
            // A second later, in a file of its own; and not in each minute.
            if minute % 3 == 0 {
                meminfo +=
                    "\(time + 1)\nMemTotal: 16000000 kB\nMemFree: \(8_000_000 - minute * 4000) kB\nAnonPages: "
                    + "\(90_000 + minute * 4000) kB\n"
            }
        }
        try scratch.write("ps.log", ps)
        try scratch.write("meminfo.log", meminfo)
        let result = try Import(ImportOptions()).run(
            ["\(scratch.path)/ps.log", "\(scratch.path)/meminfo.log"], into: "\(scratch.path)/w")
        #expect(result.samples == 30)
        let verdict = try verdict(of: "\(scratch.path)/w")
        #expect(
            verdict.growing.map(\.name) == ["serve"] && verdict.growing[0].pid == 71 && !verdict.growing[0].hasEnded
                && verdict.memory?.total == 16_000_000 << 10, "\(verdict.growing)")
        // A recording that is there is no place for another.
        #expect(throws: WatchError.self) {
            _ = try Import(ImportOptions()).run(["\(scratch.path)/ps.log"], into: "\(scratch.path)/w")
        }
    }

    /// A file that invents names without end takes no memory without end, and it is said.
    @Test func namesHaveALimit() throws {
        let scratch = try Scratch()
        let text = (0 ..< 300).map { minute in
            "\(1_790_000_000 + minute * 60)\nMemTotal: 4000 kB\n"
                + (0 ..< 40).map { "Name\(minute)_\($0): 1 kB\n" }.joined()
        }.joined()
        let (read, result) = try imported(text, scratch)
        #expect(
            read.count == 300 && read.last?.systemColumns.count == 4000
                && result.files[0].notes.contains { $0.contains("8001 numbers under further names are left out") },
            "\(result.files[0].notes)")
    }

    @Test func whatHoldsNothingIsSaid() throws {
        let scratch = try Scratch()
        try scratch.write("words", "hello\nthere is nothing in it\n")
        try scratch.write("empty", "")
        for name in ["words", "empty", "nowhere"] {
            let outcome = try scratch.run([heapwatch, "import", "-o", "w", name])
            #expect(outcome.exitStatus == 2 && outcome.messages.contains(name), "\(outcome)")
        }
        #expect(
            try scratch.run([heapwatch, "import", "-o", "w", "words"]).messages.contains("words:1: not known: hello"))
    }
}
