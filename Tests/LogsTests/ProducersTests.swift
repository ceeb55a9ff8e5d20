// Reports of other tools, made by the tools themselves of one program that loses what is counted here: 10 blocks of 100
// bytes and 10 pointers to them.

import Glibc
import Reduce
import Report
import TestSupport
import Testing

@testable import Logs

@Suite struct Producers {
    static let program = """
        #include <stdlib.h>
        #include <string.h>
        static char **volatile sink;
        __attribute__((noinline)) char *keep_name(int n) { char *p = malloc(n); memset(p, 1, n); return p; }
        __attribute__((noinline)) void lose(int n) { char **p = malloc(sizeof(char *)); \
        *p = keep_name(n); sink = p; sink = 0; }
        __attribute__((noinline)) void clear_stack(void) { volatile char b[4096]; memset((char *)b, 0, 4096); }
        int main(void) { for (int i = 0; i < 10; i++) lose(100); for (int i = 0; i < 5; i++) free(keep_name(50)); \
        clear_stack(); return 0; }
        """

    private static func built(_ scratch: Scratch, _ compiler: String, _ flags: String = "") throws -> String {
        try write(Array(program.utf8), to: scratch.path + "/leak.c")
        let outcome = try scratch.shell("\(compiler) -g -O1 -fno-omit-frame-pointer \(flags) leak.c -o leak")
        #expect(outcome.exitStatus == 0, "\(outcome.messages)")
        return scratch.path + "/leak"
    }

    /// Rows by the innermost function of the program's own.
    private static func byFunction(_ path: String, _ kind: LogKind) throws -> [String: [UInt64]] {
        #expect(LogKind(head: try head(path)) == kind)
        let log = try reduce(path, kind)
        #expect(log.input.damages.isEmpty, "\(log.input.damages)")
        var result: [String: [UInt64]] = [:]
        for row in FrameNames(log.reduction).grouped(log.reduction.rows, by: .function) {
            result[row.key?.function ?? "?"] = [row.bytes, row.blocks]
        }
        return result
    }

    private static let expected: [String: [UInt64]] = ["keep_name": [1000, 10], "lose": [80, 10]]

    @Test(arguments: ["gcc", "/usr/bin/clang"]) func leakSanitizer(compiler: String) throws {
        let scratch = try Scratch()
        let program = try Self.built(scratch, compiler, "-fsanitize=address")
        _ = try scratch.shell("\(program) 2> report.txt")
        #expect(try Self.byFunction(scratch.path + "/report.txt", .leakSanitizer) == Self.expected)
    }

    @Test func valgrind() throws {
        let scratch = try Scratch()
        let program = try Self.built(scratch, "gcc")
        _ = try scratch.shell(
            "valgrind --leak-check=full --show-leak-kinds=all \(program) 2> all.txt; valgrind --leak-check=full "
                + "\(program) 2> lost.txt; valgrind /bin/true 2> none.txt"
        )
        #expect(try Self.byFunction(scratch.path + "/all.txt", .valgrind) == Self.expected)
        // What is lost indirectly has no record of its own here, and stands with what it is lost with.
        #expect(try Self.byFunction(scratch.path + "/lost.txt", .valgrind) == ["lose": [1080, 10]])
        let none = try reduce(scratch.path + "/none.txt", .valgrind)
        #expect(none.reduction.totals.liveBlocks == 0)
    }

    @Test func gperftools() throws {
        let scratch = try Scratch()
        let program = try Self.built(scratch, "gcc")
        _ = try scratch.shell(
            "LD_PRELOAD=$(ls /usr/lib/*/libtcmalloc.so.? | head -1) HEAPPROFILE=\(scratch.path)/profile \(program); cp "
                + "$(ls profile.*.heap | tail -1) last.heap"
        )
        #expect(try Self.byFunction(scratch.path + "/last.heap", .heapProfile) == Self.expected)
    }

    /// jemalloc counts whole size classes, and keeps what its own and C++'s start-up took.
    @Test func jemalloc() throws {
        let scratch = try Scratch()
        let program = try Self.built(scratch, "gcc")
        _ = try scratch.shell(
            "LD_PRELOAD=$(ls /usr/lib/*/libjemalloc.so.2) "
                + "MALLOC_CONF=prof:true,lg_prof_sample:0,prof_final:true,prof_prefix:\(scratch.path)/profile "
                + "\(program); cp profile.*.heap last.heap"
        )
        let log = try reduce(scratch.path + "/last.heap", .heapProfile)
        let names = FrameNames(log.reduction)
        let own = log.reduction.rows.filter { row in
            log.reduction.frames(of: row).contains { names.name($0).function == "lose" }
        }
        #expect(own.map { [$0.bytes, $0.blocks] }.sorted { $0[0] < $1[0] } == [[80, 10], [1120, 10]])
    }

    @Test func heaptrack() throws {
        let scratch = try Scratch()
        let program = try Self.built(scratch, "gcc")
        _ = try scratch.shell("heaptrack -o \(scratch.path)/track \(program)")
        #expect(
            try Self.byFunction(
                try scratch.shell("ls \(scratch.path)/track.*").output.split(separator: "\n").first.map(String.init)
                    ?? "", .heaptrack) == Self.expected)
    }

    /// Where the kernel lets this user record: root, with tracefs.
    @Test(
        .enabled(
            if: geteuid() == 0 && access("/sys/kernel/tracing/uprobe_events", W_OK) == 0,
            "perf's probes take root and tracefs"))
    func perf() throws {
        let scratch = try Scratch()
        let program = try Self.built(scratch, "gcc")
        let group = "heapsum\(getpid())"
        let outcome = try scratch.shell(
            """
            L=$(ldconfig -p | awk '/libc.so.6 .*64/ { print $NF; exit }')
            perf probe -q -x $L '\(group):malloc=malloc size=%di:u64' && \
            perf probe -q -x $L '\(group):malloc=malloc%return ret=$retval' && \
            perf probe -q -x $L '\(group):free=free ptr=%di'
            perf record -q -g -o data -e '\(group):*' \(program); perf script -i data | \
            sed 's/\(group):/probe_libc:/' > events.txt
            perf probe -q -d '\(group):*'
            """)
        let log = try reduce(scratch.path + "/events.txt", .perf)
        #expect(log.reduction.totals.liveBytes == 1080 && log.reduction.totals.liveBlocks == 20, "\(outcome.messages)")
    }

    @Test func perfsKernelEvents() throws {
        let log = try reduce(
            text: """
                # comment
                sh  711 [001]   12.561109: kmem:kmalloc: call_site=seq_open+0x24 ptr=0xffff888444576100 bytes_req=24 \
                bytes_alloc=32 gfp_flags=GFP_KERNEL node=-1
                \tffffffff81634d4d __kmalloc_noprof+0x20d ([kernel.kallsyms])
                \tffffffff813ccccc seq_open+0x24 ([kernel.kallsyms])

                sh  711 [001]   12.561110:     kmem:kmalloc: call_site=f+0x1 ptr=0xffff888444576200 bytes_req=96 \
                bytes_alloc=96 gfp_flags=GFP_KERNEL
                \tffffffff81634d4d __kmalloc_noprof+0x20d ([kernel.kallsyms])
                \tffffffffc0001234 leaky_probe+0x14 ([leaky])

                sh  711 [001]   12.561111:       kmem:kfree: call_site=g+0x1 ptr=(nil)
                \tffffffff8162e91f kfree+0x20f ([kernel.kallsyms])

                sh  711 [001]   12.561112:       kmem:kfree: call_site=g+0x1 ptr=0xffff888444576100
                \tffffffff8162e91f kfree+0x20f ([kernel.kallsyms])

                sh  711 [001]   12.561113: kmem:mm_page_alloc: page=0x1234 pfn=0x12345 order=2 migratetype=0 \
                gfp_flags=GFP_KERNEL
                \tffffffff81634d4d __alloc_pages+0x20d ([kernel.kallsyms])
                \tffffffffc0001234 ring_setup+0x14 ([leaky])

                """, .perf)
        #expect(log.rows.count == 2 && log.reduction.totals.liveBytes == 96 + 4 * 4096 && log.input.damages.isEmpty)
        #expect(
            FrameNames(log.reduction).grouped(log.reduction.rows, by: .function).compactMap { $0.key?.function }
                .sorted() == ["leaky_probe", "ring_setup"])
    }

    @Test func memleak() throws {
        let text = """
            Attaching to pid 5193, Ctrl+C to quit.
            [11:16:33] Top 2 stacks with outstanding allocations:
            \t10 bytes in 2 allocations from stack
            \t\t main+0x6d [allocs]
            \t\t __libc_start_main+0xf0 [libc-2.21.so]
            [11:16:34] Top 2 stacks with outstanding allocations:
            \taddr = 948cd0 size = 16
            \t16 bytes in 4 allocations from stack
            \t\t main+0x6d [allocs]
            \t\t __libc_start_main+0xf0 [libc-2.21.so]
            \t960 bytes in 10 allocations from stack
            \t\t0x00007f0c5f7e1b4d\tleaky_probe+0x14 [leaky]
            \t\t[unknown]

            """
        let log = try reduce(text: text, .memleak)
        #expect(LogKind(head: Array(text.utf8)) == .memleak)
        #expect(
            log.rows == [
                "main+0x6d [allocs] < __libc_start_main+0xf0 [libc-2.21.so]": [16, 4],
                "0x7f0c5f7e1b4d leaky_probe+0x14 [leaky] < [unknown]": [960, 10],
            ])
        #expect(log.summary.sets == 2 && log.input.damages.isEmpty)
        #expect(try reduce(text: text, .memleak, set: .number(1)).reduction.totals.liveBytes == 10)
        let libbpf =
            "[12:00:00] Top 1 stacks with outstanding allocations:\n960 bytes in 10 allocations from stack\n\t0 "
            + "[<0000000000401136>] alloc_v2+0x16 [leaky]\n\t1 [<0000000000401150>] main+0x20 [leaky]\n"
        #expect(
            try reduce(text: libbpf, .memleak).rows == [
                "0x401136 alloc_v2+0x16 [leaky] < 0x401150 main+0x20 [leaky]": [960, 10]
            ])
    }

    private static let hasBpftrace =
        geteuid() == 0 && access("/usr/bin/bpftrace", X_OK) == 0
        && access("/sys/kernel/tracing/uprobe_events", W_OK) == 0

    /// Where the kernel lets this user trace. awk adds up what bpftrace printed.
    @Test(.enabled(if: hasBpftrace, "bpftrace takes root and tracefs"))
    func bpftrace() throws {
        let scratch = try Scratch()
        let program = try Self.built(scratch, "gcc")
        let outcome = try scratch.shell(
            """
            L=$(ldconfig -p | awk '/libc.so.6 .*64/ { print $NF; exit }')
            bpftrace -e "uprobe:$L:malloc /pid == cpid/ { @bytes[ustack] = sum(arg0); @count[ustack] = count(); \
            @all[ustack, comm] = stats(arg0); }" -c \(program) > out.txt
            bpftrace -f json -e "uprobe:$L:malloc /pid == cpid/ \
            { @all[ustack, comm] = stats(arg0); }" -c \(program) > stats.json
            awk '/^@/ { keep = /^@bytes|^@count/ } keep' out.txt > two.txt
            awk '/^@/ { keep = /^@all/ } keep' out.txt > stats.txt
            bpftrace -e 'tracepoint:kmem:kmalloc { @bytes[kstack] = sum(args->bytes_alloc); \
            @perf[comm, kstack(perf, 6)] = count(); } interval:s:1 { exit(); }' > kernel.txt
            awk '/^@/ { map = substr($1, 2, 4) } /\\]: [0-9]+$/ { sum[map] += $NF } \
            END { printf "%d %d\\n", sum["byte"], sum["perf"] }' kernel.txt
            """)
        // 10 names of 100 bytes, 5 of 50, and 10 pointers.
        for name in ["two.txt", "stats.txt", "stats.json"] {
            #expect(LogKind(head: try head(scratch.path + "/" + name)) == .bpftrace)
            let totals = try reduce(scratch.path + "/" + name, .bpftrace).reduction.totals
            #expect(
                totals.liveBytes == 1330 && totals.liveBlocks == 25 && totals.uniqueStacks == 3,
                "\(name): \(totals) \(outcome.messages)")
        }
        let sums = outcome.output.split { $0 == " " || $0 == "\n" }.compactMap { UInt64($0) }
        let kernel = try reduce(scratch.path + "/kernel.txt", .bpftrace)
        #expect(sums.count == 2 && kernel.reduction.totals.liveBytes == sums[0] && sums[0] > 0, "\(outcome)")
        #expect(kernel.input.passedOver.contains { $0.what == LogNote.mapLeftOut.text } && sums[1] > 0)
    }

    /// What the kernel had no room to keep a stack for counts without one.
    @Test func bpftracesLostStacksCount() throws {
        let text =
            "@bytes[]: 7\n@bytes[\n    kmalloc+5\n    foo+9\n]: 100\n@bytes[]: 4096\n@perf[bash, ]: 3\n@perf[, sh]: "
            + "4\n@hits[bash]: 5\n"
        let log = try reduce(text: text, .bpftrace)
        #expect(log.reduction.totals.liveBytes == 4203 && log.input.recordsLost == 0, "\(log.rows)")
    }

    @Test func bpftracesForms() throws {
        let text = """
            Attaching 2 probes...

            @bytes[
                __kmalloc_node_noprof+598
                operator new(unsigned long)+28
                0x7fb2126b6930
            ]: 4096
            @bytes[bash,\u{20}
            \tffffffff8162df54 __kmalloc_noprof+580 ([kernel.kallsyms])
            \t7f31b28b6930 __GI___libc_malloc+0 (/usr/lib/x86_64-linux-gnu/libc.so.6)
            , 12]: 5000
            @count[
                __kmalloc_node_noprof+598
                operator new(unsigned long)+28
                0x7fb2126b6930
            ]: 3
            @count[
                only_counted+1
            ]: 7
            @h:\u{20}
            [2, 4)                 1 |@@@@ |

            """
        #expect(LogKind(head: Array(text.utf8)) == .bpftrace)
        let log = try reduce(text: text, .bpftrace)
        #expect(
            log.rows == [
                "__kmalloc_node_noprof+0x256 < operator new(unsigned long)+0x1c < 0x7fb2126b6930 0x7fb2126b6930": [
                    4096, 3,
                ],
                "0xffffffff8162df54 __kmalloc_noprof+0x244 < 0x7f31b28b6930 __GI___libc_malloc+0x0 "
                    + "[/usr/lib/x86_64-linux-gnu/libc.so.6] < bash, 12":
                    [5000, 1],
                "only_counted+0x1": [0, 7],
            ])
        #expect(log.reduction.totals.blocksOfUnknownSize == 7 && log.input.damages.isEmpty)
        #expect(log.input.passedOver.contains { $0.what == LogNote.blocksUnknown.text && $0.count == 1 })
        // The same as -f json has it, as bpftrace 0.17 writes it.
        let json =
            "{\"type\": \"attached_probes\", \"data\": {\"probes\": 2}}\n\n{\"type\": \"map\", \"data\": {\"@bytes\": "
            + "{\"\\n    __kmalloc_node_noprof+598\\n    operator new(unsigned long)+28\\n    0x7fb2126b6930\\n\": "
            + "4096, \"bash,\\n\\tffffffff8162df54 __kmalloc_noprof+580 ([kernel.kallsyms])\\n\\t7f31b28b6930 "
            + "__GI___libc_malloc+0 (/usr/lib/x86_64-linux-gnu/libc.so.6)\\n, 12\": 5000}}}\n"
            + "{\"type\": \"map\", \"data\": {\"@count\": {\"\\n    __kmalloc_node_noprof+598\\n    operator "
            + "new(unsigned long)+28\\n    0x7fb2126b6930\\n\": 3, \"\\n    only_counted+1\\n\": 7}}}\n{\"type\": "
            + "\"map\", \"data\": {\"@x\": 3105}}\n"
        #expect(LogKind(head: Array(json.utf8)) == .bpftrace)
        let same = try reduce(text: json, .bpftrace)
        #expect(same.rows == log.rows && same.input.damages.isEmpty, "\(same.rows)")
        for count in stride(from: 80, to: json.utf8.count, by: 11) {
            guard let cut = try? reduce(text: String(json.prefix(count)), .bpftrace) else { continue }
            #expect(cut.reduction.totals.liveBytes <= 9096)
        }
        // Printed each second, the newest counts; a key that lost its value is said.
        let again =
            "@b_size[\n    a+1\n]: 10\n@b_size[\n    b+1\n]: 20\n\n@b_size[\n    b+1\n]: 5\n@b_size[\n    a+1\n]: "
            + "30\n@b_size[\n    c+1\n"
        let newest = try reduce(text: again, .bpftrace)
        #expect(newest.rows == ["a+0x1": [30, 1], "b+0x1": [5, 1]] && newest.input.recordsLost == 1)
        #expect(newest.input.passedOver.contains { $0.what == LogNote.printedAgain.text })
    }
}
