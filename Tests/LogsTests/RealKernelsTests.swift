// Logs of real kernels, in all the forms that real tools print them in: Fixtures/real, which
// scripts/make-kernel-fixtures makes. Each value was counted by awk, as the comments say, and not by heapsum.

import Reduce
import Report
import TestSupport
import Testing

@testable import Logs

@Suite struct RealKernels {
    private func real(_ name: String, _ kind: LogKind) throws -> Reduced {
        let path = fixture("real/" + name)
        #expect(LogKind(head: try head(path)) == kind, "\(name) is known by what is in it")
        return try reduce(path, kind)
    }

    /// Bytes, blocks and stacks.
    private func figures(_ log: Reduced) -> [UInt64] {
        [log.reduction.totals.liveBytes, log.reduction.totals.liveBlocks, UInt64(log.reduction.totals.uniqueStacks)]
    }

    // Three mounts take a super_block each, in kmalloc-2k, and one is unmounted:
    //   awk '/TRACE .* alloc/ { n++ } /TRACE .* free/ { n-- } END { print n, n * 2048 }' amd64-dmesg-plain.txt      2
    //   4096
    // Their backtraces are alike, line by line, less the frames that are marked with a question mark:
    //   awk '/TRACE .* alloc/ { a = 1; n++ } /TRACE .* free/ { a = 0 } a && /\+0x/ && !/\? / { print n, $NF }'
    //   amd64-dmesg-plain.txt | cut -d ' ' -f 2 | sort | uniq -c
    private static let forms =
        [
            "dmesg-H", "dmesg-J", "dmesg-S", "dmesg-T", "dmesg-busybox", "dmesg-color", "dmesg-ctime", "dmesg-d",
            "dmesg-delta", "dmesg-e", "dmesg-iso", "dmesg-notime",
            "dmesg-plain", "dmesg-r", "dmesg-reltime", "dmesg-t", "dmesg-x", "dmesg-xT", "dmesg-xd", "kmsg",
        ].map { "amd64-" + $0 }
        + [
            "short", "short-full", "short-iso", "short-iso-precise", "short-precise", "short-monotonic", "short-unix",
            "with-unit", "verbose", "export", "json", "json-pretty",
            "json-sse", "json-seq", "cat",
        ].map { "journalctl-" + $0 } + ["traditional", "file", "rfc5424"].map { "rsyslog-" + $0 }
        + ["plain", "iso", "rfc5424"].map { "syslog-ng-" + $0 }

    @Test(arguments: forms) func formsOfOneLog(form: String) throws {
        let log = try real(form + ".txt", .slub)
        #expect(
            figures(log) == [4096, 2, 1] && log.input.damages.isEmpty && log.reduction.totals.blocksOfUnknownSize == 0,
            "\(form): \(log.rows) \(log.input.damages)")
        // The kernel's functions alone, and all of them, are in the stack.
        let frames = log.reduction.frames(of: log.reduction.rows[0]).map {
            FrameNames(log.reduction).name($0).function ?? "?"
        }
        #expect(
            frames.count == 14 && frames.first == "dump_stack_lvl" && frames.last == "entry_SYSCALL_64_after_hwframe"
                && frames.contains("alloc_super"), "\(form): \(frames)")
    }

    // The same awk: 2 4096 of each. The kernel that was built says who prints (CONFIG_PRINTK_CALLER). In the cloud's
    // kernel the two backtraces differ by one frame.
    @Test(arguments: ["cloud-amd64", "rt-amd64", "own"], ["dmesg-plain", "dmesg-T", "dmesg-x", "dmesg-J", "kmsg"])
    func otherKernels(kernel: String, form: String) throws {
        let log = try real("\(kernel)-\(form).txt", .slub)
        #expect(
            figures(log) == [4096, 2, kernel == "cloud-amd64" ? 2 : 1] && log.input.damages.isEmpty,
            "\(kernel) \(form): \(log.rows)")
    }

    // awk 'NR > 2 { n += $2; bytes += $2 * $4; caches += $2 > 0 } END { printf "%d %d %d\n", bytes, n, caches }'
    // amd64-slabinfo.txt
    @Test(
        arguments: [
            ("amd64", [18911016, 58955, 82]), ("cloud-amd64", [18979296, 59251, 79]),
            ("rt-amd64", [20756712, 58972, 83]), ("own", [7036784, 29710, 41]),
        ] as [(String, [UInt64])]) func slabinfo(kernel: String, expected: [UInt64]) throws
    {
        #expect(figures(try real("\(kernel)-slabinfo.txt", .slabinfo)) == expected)
    }

    // awk -v size=8192 '$2 ~ /\+0x/ && $1 + 0 > 0 { n += $1; w = $3 ~ /^waste=/ ? $3 : ""; sub(/.*\//, "", w); bytes +=
    // $1 * (size - w) } END { printf "%d %d\n", bytes, n }' alloc_traces
    @Test(
        arguments: [
            ("amd64-slab/kmalloc-2k", [168600, 117]), ("amd64-slab/kmalloc-8k", [76832, 11]),
            ("amd64-slab/kmalloc-rcl-64", [914, 18]),
            ("cloud-amd64-slab/kmalloc-8k", [60448, 9]), ("rt-amd64-slab/kmalloc-8k", [92192, 13]),
            // Caches whose objects' size the file doesn't tell.
            ("amd64-slab/mnt_cache", [0, 28]), ("amd64-slab/pid", [0, 55]), ("cloud-amd64-slab/mnt_cache", [0, 28]),
            ("rt-amd64-slab/mnt_cache", [0, 28]),
        ] as [(String, [UInt64])]) func allocTraces(file: String, expected: [UInt64]) throws
    {
        let log = try real("\(file)/alloc_traces", .allocTraces)
        #expect(
            [log.reduction.totals.liveBytes, log.reduction.totals.liveBlocks] == expected && log.input.damages.isEmpty,
            "\(file)")
        #expect(log.reduction.totals.blocksOfUnknownSize == (expected[0] == 0 ? expected[1] : 0))
    }

    // Several caches in one file, each under its path: 73 objects of the two caches in what head -n 60 left, and 11 +
    // 18 in grep's.
    //   awk '/^==>/ { size = /8k/ ? 8192 : 2048; next } <the lines above>' amd64-traces-head.txt
    //   sed 's|/alloc_traces:| |' amd64-traces-grep.txt | awk '{ size = /8k/ ? 8192 : 64; $1 = ""; $0 = $0 } <the lines
    //   above>'
    @Test(arguments: [("traces-head", [165224, 73]), ("traces-grep", [77746, 29])] as [(String, [UInt64])])
    func severalCaches(file: String, expected: [UInt64]) throws {
        let log = try real("amd64-\(file).txt", .allocTraces)
        #expect(
            [log.reduction.totals.liveBytes, log.reduction.totals.liveBlocks] == expected && log.input.damages.isEmpty,
            "\(file)")
    }

    // The kernel's own test of kmemleak, which leaks on purpose; the last backtrace line of a module that is being
    // loaded has an address alone.
    //   awk '/^unreferenced/ { gsub(/[()a-z:]/, "", $5); n++; b += $5 } END { print b, n }' own-kmemleak.txt
    //          28736 9 awk '/kmemleak: unreferenced/ { sub(/.*size /, ""); n++; b += $1 } END { print b, n }'
    //   own-kmemleak-printed.txt      28736 9
    @Test(arguments: ["own-kmemleak.txt", "own-kmemleak-printed.txt"]) func kmemleak(file: String) throws {
        let log = try real(file, .kmemleak)
        #expect(figures(log) == [28736, 9, 9] && log.input.damages.isEmpty)
        #expect(log.input.passedOver.allSatisfy { $0.what == LogNote.outside.text }, "\(log.input.passedOver)")
        #expect(log.reduction.rows.allSatisfy { log.reduction.frames(of: $0).count == 12 })
    }

    // awk '/^Page allocated/ { sub(/,/, "", $5); n++; b += 4096 * 2 ^ $5 } END { print b, n }' own-page_owner.txt
    //        585728 125 awk '/^[0-9]+ times, / { n += $1; b += $3 * 4096; r++ } END { print b, n, r }'
    // own-page_owner_sort-cull-pid.txt          585728 125 13
    @Test(
        arguments: [
            (".txt", 24), ("_sort.txt", 24), ("_sort-m.txt", 24), ("_sort-cull-stacktrace.txt", 24),
            ("_sort-cull-stacktrace-tgid.txt", 24),
            ("_sort-cull-pid.txt", 13), ("_sort-cull-name.txt", 11), ("_sort-cull-pid-name.txt", 13),
        ] as [(String, UInt64)]) func pageOwner(file: String, stacks: UInt64) throws
    {
        let log = try real("own-page_owner" + file, .pageOwner)
        #expect(
            figures(log) == [585_728, 125, stacks] && log.input.damages.isEmpty && log.input.passedOver.isEmpty,
            "\(file): \(figures(log)) \(log.input.damages)")
    }

    /// The kernel prints "No data" of a cache that holds nothing.
    @Test func anEmptyCache() throws {
        #expect(try contents(fixture("real/own-slab/kmalloc-8k/alloc_traces")) == "No data\n")
        let log = try real("own-slab/kmalloc-8k/alloc_traces", .allocTraces)
        #expect(log.rows.isEmpty && log.input.damages.isEmpty && log.input.passedOver.isEmpty)
    }
}
