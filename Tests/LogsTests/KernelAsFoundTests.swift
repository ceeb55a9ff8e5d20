// The kernel's logs as people have them: cut off, mixed, prefixed, of older kernels, or copied without their path.

import Reduce
import Report
import TestSupport
import Testing

@testable import Logs

@Suite struct KernelLogsAsPeopleHaveThem {
    /// A TRACE line of another processor stands inside a backtrace.
    @Test func aTraceLineInsideABacktraceTakesNoFrames() throws {
        let log = try reduce(
            text: """
                [1.000000] TRACE kmalloc-192 alloc 0x00000000aaaa0001 inuse=21 fp=0x0
                [1.000010] Call trace:
                [1.000011]  dump_stack+0xc8/0x110
                [1.000012]  alloc_debug_processing+0x58/0x188
                [1.000013]  sound_open+0x2e4/0x400
                [1.000014] TRACE kmalloc-64 alloc 0x00000000bbbb0001 inuse=25 fp=0x0
                [1.000015]  chrdev_open+0x1c/0x28
                [1.000016]  el0_svc+0x8/0xc
                [1.000020] Call trace:
                [1.000021]  dump_stack+0xc8/0x110
                [1.000022]  alloc_debug_processing+0x58/0x188
                [1.000023]  net_send+0x28/0x68

                """, .slub)
        #expect(
            log.rows == [
                "dump_stack+0xc8 < alloc_debug_processing+0x58 < sound_open+0x2e4 < chrdev_open+0x1c < el0_svc+0x8": [
                    192, 1,
                ],
                "dump_stack+0xc8 < alloc_debug_processing+0x58 < net_send+0x28": [64, 1],
            ])
        #expect(log.input.damages.isEmpty)
    }

    /// The second backtrace's heading was lost: its first frame tells that it begins.
    @Test func aLostHeadingIsMadeUpForByTheFirstFrame() throws {
        let log = try reduce(
            text: """
                TRACE kmalloc-192 alloc 0xaaaa0001 inuse=21 fp=0x0
                Call trace:
                 dump_stack+0xc8/0x110
                 sound_open+0x2e4/0x400
                TRACE kmalloc-64 alloc 0xbbbb0001 inuse=25 fp=0x0
                 dump_stack+0xc8/0x110
                 net_send+0x28/0x68

                """, .slub)
        #expect(
            log.rows == ["dump_stack+0xc8 < sound_open+0x2e4": [192, 1], "dump_stack+0xc8 < net_send+0x28": [64, 1]])
    }

    private static func pair(freed: String) -> String {
        """
        TRACE kmalloc-192 alloc 0xaaaa0001 inuse=21 fp=0x0
        TRACE kmalloc-192 alloc 0xbbbb0001 inuse=25 fp=0x0
        CPU: 1 PID: 11 Comm: a
        Call trace:
         __kmalloc+0xc8/0x110
         sound_open+0x2e4/0x400
        CPU: 2 PID: 12 Comm: b
        Call trace:
         __kmalloc+0xc8/0x110
         net_send+0x28/0x68
        \(freed)
        """
    }

    /// Two objects and two backtraces, of which nobody can say which is whose: that matters where one is freed.
    @Test func whoseABacktraceIsIsSaidWhereItCannotBeTold() throws {
        let both = try reduce(text: Self.pair(freed: ""), .slub)
        #expect(
            both.rows == ["__kmalloc+0xc8 < sound_open+0x2e4": [192, 1], "__kmalloc+0xc8 < net_send+0x28": [192, 1]]
                && both.input.damages.isEmpty)
        let one = try reduce(text: Self.pair(freed: "TRACE kmalloc-192 free 0xaaaa0001 inuse=1 fp=0x0\n"), .slub)
        #expect(one.rows == ["… frames missing …": [192, 1]])
        #expect(one.input.damages.map(\.what) == [LogNote.ownerUnknown.text])
    }

    /// Frames of two processors, line by line: the outermost function stands there twice.
    @Test func mixedBacktracesAreGivenToNobody() throws {
        let log = try reduce(
            text: """
                TRACE kmalloc-192 alloc 0xaaaa0001 inuse=21 fp=0x0
                TRACE kmalloc-64 alloc 0xbbbb0001 inuse=25 fp=0x0
                Call trace:
                Call trace:
                 dump_stack+0xc8/0x110
                 dump_stack+0xc8/0x110
                 sound_open+0x2e4/0x400
                 net_send+0x28/0x68
                 el0t_64_sync+0x1a0/0x1a4
                 el0t_64_sync+0x1a0/0x1a4

                """, .slub)
        #expect(log.rows == ["… frames missing …": [256, 2]])
        #expect(log.input.damages.contains { $0.what == LogNote.mixedStacks.text })
    }

    /// The prefix tells who prints, however finely the lines are mixed.
    @Test(arguments: [
        ("[1.000000][  T11] ", "[1.000000][  T12] "), ("[1.000000][    C0] ", "[1.000000][    C3] "),
        ("[1.000000] [0:  worker: 11] ", "[1.000000] [1:   other: 12] "),
        ("[1.000000]  (0)[11:kworker/0:1]", "[1.000000]  (1)[12:sh]"),
        ("6,1,1000000,-,caller=T11;", "6,2,1000000,-,caller=T12;"),
        ("[1.000000s][pid:11,cpu0,a]", "[1.000000s][pid:12,cpu1,b]"),
    ])
    func prefixesTellProcessorsApart(first: String, second: String) throws {
        func lines(_ address: Int, _ size: Int, _ site: String) -> [String] {
            [
                "TRACE kmalloc-\(size) alloc 0xffff88800000\(1000 + address) inuse=2 fp=0x0", "CPU: 0 PID: 1 Comm: x",
                "Call Trace:", " __kmalloc+0x1/0x2", " \(site)+0x1/0x2", " ret_from_fork+0x1/0x2",
            ]
        }
        let one = lines(1, 64, "first"), two = lines(2, 192, "second")
        let text = zip(one, two).map { first + $0 + "\n" + second + $1 + "\n" }.joined()
        let log = try reduce(text: text, .slub)
        #expect(
            log.rows == [
                "__kmalloc+0x1 < first+0x1 < ret_from_fork+0x1": [64, 1],
                "__kmalloc+0x1 < second+0x1 < ret_from_fork+0x1": [192, 1],
            ])
        #expect(log.input.damages.isEmpty && log.input.passedOver.isEmpty)
    }

    @Test func aWarningsBacktraceIsNoObjects() throws {
        let log = try reduce(
            text: """
                TRACE kmalloc-192 alloc 0xaaaa0001 inuse=21 fp=0x0
                ------------[ cut here ]------------
                WARNING: CPU: 1 PID: 11 at drivers/x.c:1 f+0x1/0x2
                Call Trace:
                 warns+0x1/0x2
                Call Trace:
                 __kmalloc+0xc8/0x110
                 sound_open+0x2e4/0x400

                """, .slub)
        #expect(log.rows == ["__kmalloc+0xc8 < sound_open+0x2e4": [192, 1]])
    }

    @Test(arguments: [
        "kmalloc-128(522:mail.service)", "kmalloc-128(1:/)", "kmalloc-128", "dma-kmalloc-128", "kmalloc-rcl-128",
        "kmalloc-cg-128", "kmalloc-rnd-07-128",
    ])
    func aCachesNameEndsAtTheParenthesis(cache: String) throws {
        #expect(
            try reduce(
                text: "TRACE \(cache) alloc 0xffff8880045a1c80 inuse=32 fp=0x0\nCall Trace:\n f+0x1/0x2\n", .slub
            ).rows == ["f+0x1": [128, 1]])
    }

    @Test func kmemleakByPrintk() throws {
        let log = try reduce(
            text: """
                [ 612.100000] kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
                [ 612.200000] kmemleak: unreferenced object 0xffff98d3c1a0 (size 192):
                [ 612.200001] kmemleak:   comm "modprobe", pid 311, jiffies 4294667296 (age 12.500s)
                [ 612.200002] kmemleak:   hex dump (first 16 bytes):
                [ 612.200003] kmemleak:     6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b a5  kkkkkkkkkkkkkkk.
                [ 612.200004] kmemleak:   backtrace (crc 0):
                [ 612.200005] kmemleak:     kmalloc_trace+0x26/0x90
                [ 612.200006] usb 1-1: new high-speed USB device number 2
                [ 612.200007] kmemleak:     sound_probe+0x80/0x120
                [ 612.300000] kmemleak: unreferenced object 0xffff98d3c2a0 (size 64):
                [ 612.300001] kmemleak:   backtrace:
                [ 612.300002] kmemleak:     kmalloc_trace+0x26/0x90

                """, .kmemleak)
        #expect(log.rows == ["kmalloc_trace+0x26 < sound_probe+0x80": [192, 1], "kmalloc_trace+0x26": [64, 1]])
        #expect(log.input.damages.isEmpty && log.input.passedOver.allSatisfy { $0.what == LogNote.outside.text })
    }

    @Test func pageOwnersOlderForms() throws {
        // Times without pages: each is one allocation of the record's order.
        #expect(
            try reduce(
                text:
                    "699 times:\nPage allocated via order 0, mask 0x280da\n  [<ffffffff8116147e>] "
                    + "__alloc_pages_nodemask+0x1de/0xb00\n\n5 times:\nPage allocated via order 3, mask 0x0\n  "
                    + "[<ffffffff8116147e>] f+478/2816\n\n",
                .pageOwner
            ).rows
                == [
                    "0xffffffff8116147e __alloc_pages_nodemask+0x1de": [699 * 4096, 699],
                    "0xffffffff8116147e f+0x1de": [5 * 8 * 4096, 5],
                ] as [String: [UInt64]])
        // The first form, of patches to 2.6.
        #expect(
            try reduce(
                text:
                    "Page allocated via order 1, mask 0xd0\n[0xc015b7d3] __alloc_pages+723\n[0xc0170214] "
                    + "cache_grow+300\n\n",
                .pageOwner
            ).rows
                == ["0xc015b7d3 __alloc_pages+0x2d3 < 0xc0170214 cache_grow+0x12c": [8192, 1]])
        // page_owner_sort --cull without a stack.
        let culled = try reduce(
            text: "12 times, 24 pages, PID 1, task_comm_name: init\n3 times, 3 pages, PID 7, task_comm_name: my job\n",
            .pageOwner)
        #expect(
            culled.rows == [
                "PID 1, task_comm_name: init": [24 * 4096, 12], "PID 7, task_comm_name: my job": [3 * 4096, 3],
            ] as [String: [UInt64]])
        #expect(
            try reduce(text: "12 times, 24 pages, PID 1:\n f+0x1/0x2\n\n", .pageOwner).rows == [
                "f+0x1": [24 * 4096, 12]
            ] as [String: [UInt64]])
    }

    /// The logs count pages, and don't say how large one is.
    @Test func pagesMayBeLarger() throws {
        let owner = "Page allocated via order 1, mask 0xd0\n f+0x1/0x2\n\n"
        let events = """
            sh  711 [001]   12.561113: kmem:mm_page_alloc: page=0x1234 pfn=0x12345 order=2 migratetype=0 gfp_flags=GFP
            \tffffffffc0001234 ring_setup+0x14 ([leaky])

            """
        for (text, kind, pages) in [(owner, LogKind.pageOwner, 2), (events, .perf, 4)] as [(String, LogKind, UInt64)] {
            let file = try LogFile(text)
            for (options, size) in [([], 4096), (["--page-size", "64K"], 65536)] as [([String], UInt64)] {
                let outcome = try file.scratch.run(
                    [Built.products + "/heapsum", "--input", kind.rawValue, "--format", "csv"] + options + [file.path])
                #expect(outcome.output.contains("\(pages * size),1,"), "\(outcome)")
            }
            let wrong = try file.scratch.run([Built.products + "/heapsum", "--page-size", "5000", file.path])
            #expect(wrong.exitStatus == 64 && wrong.messages.contains("--page-size"), "\(wrong)")
        }
    }

    private static let traces =
        "     10 make_session+0x2c/0xa0 age=1/2/3 pid=1 cpus=0\n        kmalloc_trace+0x26/0xa0\n        "
        + "make_session+0x2c/0xa0\n\n"

    @Test func allocTracesWithoutTheirPath() throws {
        for name in ["kmalloc-128.alloc_traces", "alloc_traces-kmalloc-128.txt", "host7_kmalloc-128_traces.log"] {
            #expect(
                try reduce(text: Self.traces, .allocTraces, name: name).reduction.totals.liveBytes == 1280, "\(name)")
        }
        for heading in [
            "==> /sys/kernel/debug/slab/kmalloc-128/alloc_traces <==",
            "# cat /sys/kernel/debug/slab/kmalloc-128/alloc_traces", "kmalloc-128:", "=== kmalloc-128 ===",
            "kmalloc-128/alloc_traces",
        ] {
            #expect(
                try reduce(text: heading + "\n" + Self.traces, .allocTraces).reduction.totals.liveBytes == 1280,
                "\(heading)")
        }
        let two =
            "==> kmalloc-128/alloc_traces <==\n\(Self.traces)==> kmalloc-1k/alloc_traces <==\n\(Self.traces)==> "
            + "dentry/alloc_traces <==\n\(Self.traces)"
        let log = try reduce(text: two, .allocTraces)
        #expect(log.reduction.totals.liveBytes == 1280 + 10240 && log.reduction.totals.blocksOfUnknownSize == 10)
        // grep puts the path before each line.
        let grep = Self.traces.split(separator: "\n").map { "/sys/kernel/debug/slab/kmalloc-128/alloc_traces:\($0)\n" }
            .joined()
        #expect(try reduce(text: grep, .allocTraces).rows == ["kmalloc_trace+0x26 < make_session+0x2c": [1280, 10]])
    }

    @Test func whatIsNotKnownIsNotZero() throws {
        let file = try LogFile(Self.traces, name: "traces.txt")
        let scratch = try Scratch()
        let heapsum = Built.products + "/heapsum"
        let table = try scratch.run([heapsum, file.path])
        #expect(
            table.exitStatus == 0 && table.output.contains("not known") && !table.output.contains("0 bytes live")
                && table.messages.contains("--cache"))
        #expect(try scratch.run([heapsum, "--format", "json", file.path]).output.contains("\"bytes\":null"))
        #expect(
            try scratch.run([heapsum, "--cache", "kmalloc-128", "--format", "json", file.path]).output.contains(
                "\"bytes\":1280,"))
        #expect(
            try scratch.run([heapsum, "--cache", "dentry=192", "--format", "json", file.path]).output.contains(
                "\"bytes\":1920,"))
        #expect(try scratch.run([heapsum, "--cache", "dentry-of-mine", file.path]).exitStatus == 64)
        #expect(try scratch.run([heapsum, "check", "--max-bytes", "1M", file.path]).exitStatus == 2)
        #expect(try scratch.run([heapsum, "check", "--max-blocks", "10", file.path]).exitStatus == 0)
    }

    /// The words of a format, and no record that can be read.
    @Test(arguments: [
        "unreferenced object 0xffff888105a65340\n  comm \"x\"\n",
        "[ 12.000000] kmemleak: 5 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n",
        "Page allocated via order many, mask 0x0\n\n",
        "Allocation #1: nothing\nAllocation size: 4\nAllocation traceback:\n",
        "9 times, no pages:\n f+0x1/0x2\n\n", "ADDRESS SIZE HEAP STACK TRACEBACK\nno row\n",
        "allocinfo - version: 1.0\n#     <size>  <calls> <tag info>\nx y z\n",
    ])
    func nothingReadIsNeverNothingLive(text: String) throws {
        let file = try LogFile(text)
        let scratch = try Scratch()
        let outcome = try scratch.run([Built.products + "/heapsum", file.path])
        #expect(
            outcome.exitStatus == 2 && !outcome.output.contains("live") && outcome.messages.contains("byte "),
            "\(outcome.messages)")
        #expect(try scratch.run([Built.products + "/heapsum", "check", file.path]).exitStatus == 2)
    }

    @Test func allFreedIsNothingLive() throws {
        let file = try LogFile(
            """
            [1.000000] TRACE kmalloc-128 alloc 0xffff8880045a1c80 inuse=32 fp=0x0
            [1.000001] Call Trace:
            [1.000002]  alloc_debug_processing+0xe1/0x150
            [2.000000] TRACE kmalloc-128 free 0xffff8880045a1c80 inuse=31 fp=0x0

            """)
        let scratch = try Scratch()
        let outcome = try scratch.run([Built.products + "/heapsum", file.path])
        #expect(outcome.exitStatus == 0 && outcome.output.contains("nothing live, 1 freed"), "\(outcome.output)")
        #expect(try scratch.run([Built.products + "/heapsum", "check", file.path]).exitStatus == 0)
    }

    @Test func dbxWithTabsAndEmptyColumns() throws {
        let head = ["ADDRESS", "SIZE", "HEAP", "PID", "PTHREAD_T", "CLOCKTIME", "SEQ", "STACK TRACEBACK"].joined(
            separator: "\t")
        let rows =
            "0x110c\t77\t0\t24\t0x0\t1244387402\t\t0x0900000000190e88 malloc_common\n\t\t\t\t\t\t\t0x0900000000061794 "
            + "malloc\n0x120c\t23\t0\t24\t0x0\t1244387402\t5\t0x0900000000061794 malloc\n"
        let log = try reduce(text: head + "\n" + rows, .dbx)
        #expect(
            log.rows == [
                "0x900000000190e88 malloc_common < 0x900000000061794 malloc": [77, 1],
                "0x900000000061794 malloc": [23, 1],
            ])
        #expect(LogKind(head: Array((head + "\n" + rows).utf8)) == .dbx)
        // The same with blanks: an address stands in the last number's place.
        #expect(
            try reduce(
                text: "ADDRESS SIZE HEAP SEQ STACK TRACEBACK\n0x110c 77 0 0x0900000000190e88 malloc_common\n", .dbx
            ).rows == ["0x900000000190e88 malloc_common": [77, 1]])
    }

    /// By function, what only hands the block on is passed over, in names of all ages.
    @Test(arguments: [
        ["dump_stack", "trace", "alloc_debug_processing", "___slab_alloc", "__slab_alloc", "kmem_cache_alloc"],
        ["dump_stack_lvl", "alloc_debug_processing", "___slab_alloc", "__kmem_cache_alloc_node", "kmalloc_trace"],
        ["dump_backtrace", "show_stack", "dump_stack", "__kmalloc_track_caller_noprof", "kstrdup_noprof"],
        ["kmemleak_alloc", "kmalloc_order_trace"], ["kmem_cache_alloc_trace.isra.0"],
        ["dump_trace", "show_trace", "alloc_debug_processing.constprop.0", "__kmalloc_node"],
        ["get_page_from_freelist", "__alloc_pages_nodemask", "alloc_pages_current", "new_slab"],
        ["__kmalloc_cache_noprof"], ["__vmalloc_node_range", "vzalloc"], ["pcpu_alloc_noprof", "__alloc_percpu_gfp"],
    ])
    func byFunctionItIsTheAsker(inner: [String]) throws {
        let text =
            "TRACE kmalloc-64 alloc 0xffff8880045a1c80 inuse=32 fp=0x0\nCall Trace:\n"
            + (inner + ["make_session", "ret_from_fork"]).map { " \($0)+0x1/0x20\n" }.joined()
        let log = try reduce(text: text, .slub)
        let names = FrameNames(log.reduction)
        #expect(names.grouped(log.reduction.rows, by: .function).map { $0.key?.function } == ["make_session"])
    }

    /// What Debian's 6.1 printed under slub_debug=UT,kmalloc-96, and kept under slub_debug=U,kmalloc-128; counted by
    /// other programs (awk, Python). The kernel itself said that the cache has 320 objects.
    @Test func ofARealKernel() throws {
        let traces = try reduce(fixture("kernel-6.1/kmalloc-128/alloc_traces"), .allocTraces)
        #expect(
            traces.reduction.totals.liveBlocks == 320 && traces.reduction.totals.liveBytes == 35_429
                && traces.input.damages.isEmpty)
        #expect(traces.input.passedOver.isEmpty)
        let log = try reduce(fixture("kernel-6.1/slub-trace.txt"), .slub)
        #expect(
            log.reduction.totals.liveBlocks == 60 && log.reduction.totals.liveBytes == 5760
                && log.input.damages.isEmpty, "\(log.input.damages)")
        var blocks: [String: UInt64] = [:]
        for row in FrameNames(log.reduction).grouped(log.reduction.rows, by: .function) {
            blocks[row.key?.function ?? "?"] = row.blocks
        }
        // The log was cut in the backtrace of the last.
        #expect(
            blocks == [
                "init_syscall_trace": 45, "cache_random_seq_create": 8, "__irq_domain_alloc_fwnode": 2,
                "acpi_os_map_iomem": 2, "security_init": 2, "dump_stack_lvl": 1,
            ])
    }
}
