// What stands before a kernel's message, in all the forms that people send logs in: each form is put before each line
// of a log of each kernel format, and the log must read as it does without.

import Reduce
import TestSupport
import Testing

@testable import Logs

/// A form of prefix: its text for line `index`, as the tool writes it.
struct PrefixForm: CustomTestStringConvertible, Sendable {
    var name: String
    var line: @Sendable (_ index: Int, _ message: String) -> String
    var testDescription: String { name }

    init(_ name: String, _ prefix: @escaping @Sendable (Int) -> String) {
        self.name = name
        line = { prefix($0) + $1 }
    }

    init(_ name: String, line: @escaping @Sendable (Int, String) -> String) { (self.name, self.line) = (name, line) }
}

private func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
private func six(_ number: Int) -> String { String(repeating: "0", count: 6 - "\(number)".count) + "\(number)" }

let prefixForms: [PrefixForm] = [
    // printk and dmesg.
    PrefixForm("dmesg") { "[   12.\(six($0))] " },
    PrefixForm("dmesg --raw") { "<6>[   12.\(six($0))] " },
    PrefixForm("dmesg -x") { "kern  :info  : [   12.\(six($0))] " },
    PrefixForm("dmesg -x of the daemons") { "daemon:notice: [   12.\(six($0))] " },
    PrefixForm("dmesg -d") { "[   12.\(six($0)) <    0.000010>] " },
    PrefixForm("dmesg -d -T") { "[Fri Jan 26 15:04:\(two($0 % 60)) 2024 <    0.000010>] " },
    PrefixForm("dmesg -T") { "[Fri Jan 26 15:04:\(two($0 % 60)) 2024] " },
    PrefixForm("dmesg -e, a new minute") { $0 % 3 == 0 ? "[Jan26 15:04] " : "[  +0.000004] " },
    PrefixForm("dmesg --time-format delta") { _ in "[<    0.000010>] " },
    PrefixForm("dmesg --time-format iso") { "2024-01-26T15:04:\(two($0 % 60)),493181+08:00 " },
    PrefixForm("dmesg --color") { "\u{1B}[32m[   12.\(six($0))] \u{1B}[0m" },
    PrefixForm("dmesg --json", line: { "         \"msg\": \"\($1.replacing("\"", with: "\\\""))\"" }),
    PrefixForm("printk without a time") { _ in "<4>" },
    PrefixForm("CONFIG_PRINTK_CALLER, a task") { "[   12.\(six($0))][  T723] " },
    PrefixForm("CONFIG_PRINTK_CALLER, a processor") { "[   12.\(six($0))][    C1] " },
    PrefixForm("a processor behind the time") { "[   12.\(six($0))@1] " },
    // journalctl.
    PrefixForm("journalctl -o short") { "Jan 26 15:04:\(two($0 % 60)) host7 kernel: " },
    PrefixForm("journalctl -o short-full") { "Fri 2024-01-26 15:04:\(two($0 % 60)) CST host7 kernel: " },
    PrefixForm("journalctl -o short-iso") { "2024-01-26T15:04:\(two($0 % 60))+0800 host7 kernel: " },
    PrefixForm("journalctl -o short-iso-precise") {
        "2024-01-26T15:04:\(two($0 % 60)).493181+08:00 host7.example kernel: "
    },
    PrefixForm("journalctl -o short-precise") { "Jan 26 15:04:\(two($0 % 60)).493181 host7 kernel: " },
    PrefixForm("journalctl -o short-monotonic") { "[   12.\(six($0))] host7 kernel: " },
    PrefixForm("journalctl -o short-delta") { "[   12.\(six($0)) <    0.000010 >] host7 kernel: " },
    PrefixForm("journalctl -o short-unix") { "1706252651.\(six($0)) host7 kernel: " },
    PrefixForm("journalctl -o with-unit") { "Fri 2024-01-26 15:04:\(two($0 % 60)) CST host7 kernel[0]: " },
    PrefixForm("journalctl -o cat") { _ in "" },
    PrefixForm(
        "journalctl -o json",
        line: { "{\"PRIORITY\":\"6\",\"MESSAGE\":\"\($1.replacing("\"", with: "\\\""))\",\"_TRANSPORT\":\"kernel\"}" }),
    PrefixForm("journalctl -o json-sse", line: { "data: {\"MESSAGE\":\"\($1.replacing("\"", with: "\\\""))\"}" }),
    PrefixForm("journalctl -o verbose") { _ in "    MESSAGE=" },
    // Syslog daemons.
    PrefixForm("rsyslog") { "Jan  6 15:04:\(two($0 % 60)) host7 kernel: [   12.\(six($0))] " },
    PrefixForm("rsyslog's new format") {
        "2024-01-26T15:04:\(two($0 % 60)).493181+08:00 host7 kernel: [   12.\(six($0))] "
    },
    PrefixForm("kernel[0]") { "Jan 26 15:04:\(two($0 % 60)) host7 kernel[0]: [   12.\(six($0))] " },
    PrefixForm("RFC 5424") {
        "<6>1 2024-01-26T15:04:\(two($0 % 60)).493181+08:00 host7 kernel - - - [   12.\(six($0))] "
    },
    PrefixForm("syslog-ng with its source") { "Jan 26 15:04:\(two($0 % 60)) s_sys@host7 kernel: [   12.\(six($0))] " },
    PrefixForm("busybox") { "Jan 26 15:04:\(two($0 % 60)) host7 kern.info kernel: [   12.\(six($0))] " },
    PrefixForm("OpenWrt's logread") { "Fri Jan 26 15:04:\(two($0 % 60)) 2024 kern.warn kernel: [   12.\(six($0))] " },
    PrefixForm("a host's name cut away") { _ in "kernel: " },
    // Devices, phones.
    PrefixForm("/dev/kmsg") { "6,\($0 + 1234),1200\(six($0)),-;" },
    PrefixForm("/dev/kmsg with its caller") { "6,\($0 + 1234),1200\(six($0)),-,caller=T723;" },
    PrefixForm("logcat -v threadtime") { "01-26 15:04:\(two($0 % 60)).493     0     0 I kernel  : " },
    PrefixForm("logcat of a kernel with times") {
        "01-26 15:04:\(two($0 % 60)).493     0     0 W kernel  : [   12.\(six($0))] "
    },
    PrefixForm("logcat -v year uid") { "2024-01-26 15:04:\(two($0 % 60)).493  root     0     0 I kernel  : " },
    PrefixForm("logcat -v brief") { _ in "I/kernel  (    0): " },
    PrefixForm("logcat -v time") { "01-26 15:04:\(two($0 % 60)).493 I/kernel  (    0): " },
    PrefixForm("logcat -v tag") { _ in "I/kernel: " },
    PrefixForm("MediaTek") { "[   12.\(six($0))]  (1)[1573:kworker/1:2]" },
    PrefixForm("MediaTek, interrupts off") { "[   12.\(six($0))] -(1)[1573:kworker/1:2]" },
    PrefixForm("MediaTek, a level") { "<4>[   12.\(six($0))]<1> (1)[1573:kworker/1:2]" },
    PrefixForm("MediaTek's module names") { "[   12.\(six($0))][ T1573] [name:slub&]" },
    PrefixForm("Samsung") { "[   12.\(six($0))] [3:    worker: 1573] " },
    PrefixForm("Samsung, a level") { "[   12.\(six($0))]I[3:    worker: 1573] " },
    PrefixForm("Samsung, old") { "<6>[   12.\(six($0))]  [3:   worker/1:1: 1573] " },
    PrefixForm("Samsung, oldest") { "<4>[   12.\(six($0))] c1 [c1] ".replacing("c1 ", with: "") },
    PrefixForm("HiSilicon") { "[   12.\(six($0))s][pid:1573,cpu3,kworker/3:1]" },
    PrefixForm("Qualcomm") { "[   12.\(six($0))] (CPU:1-pid:1573:kworker) " },
    // What mails, pagers, and consoles add.
    PrefixForm("quoted") { _ in "> " },
    PrefixForm("quoted twice") { _ in "> > " },
    PrefixForm("quoted without blanks") { ">> [   12.\(six($0))] " },
    PrefixForm("quoted, of dmesg") { "> [   12.\(six($0))] " },
    PrefixForm("cat -n") { "\(String(repeating: " ", count: 6 - "\($0 + 1)".count))\($0 + 1)\t[   12.\(six($0))] " },
    PrefixForm("grep -n") { "\($0 + 1):[   12.\(six($0))] " },
    PrefixForm("less -N") { "      \($0 + 1) [   12.\(six($0))] " },
    PrefixForm("indented by git log") { _ in "        " },
    PrefixForm("indented, of dmesg") { "    [   12.\(six($0))] " },
    PrefixForm("CRLF", line: { "[   12.\(six($0))] \($1)\r" }),
    PrefixForm("a console's two carriage returns", line: { "[   12.\(six($0))] \($1)\r\r" }),
    PrefixForm("ts(1)") { "Jan 26 15:04:\(two($0 % 60)) [   12.\(six($0))] " },
    PrefixForm("minicom") { "[2024-01-26 15:04:\(two($0 % 60)).493] [   12.\(six($0))] " },
    PrefixForm("a CI's stamp") { "2024-01-26T15:04:\(two($0 % 60)).4931810Z [   12.\(six($0))] " },
    PrefixForm("a clock alone") { "15:04:\(two($0 % 60)).493 [   12.\(six($0))] " },
]

@Suite struct KernelPrefixes {
    private static let logs: [(kind: LogKind, text: String)] = [
        (
            .slub,
            """
            TRACE kmalloc-128 alloc 0xffff8880045a1c80 inuse=32 fp=0x0
            CPU: 3 PID: 723 Comm: Xorg Tainted: G           O      4.19.0 #1
            Call Trace:
             alloc_debug_processing+0xe1/0x150
             [<ffffffff81234567>] kernel_init+0x1c/0x120
             make_session+0x40/0x90 [drm]
            TRACE kmalloc-64 alloc 0xffff8880045a1d80 inuse=32 fp=0x0
            CPU: 3 PID: 723 Comm: Xorg Tainted: G           O      4.19.0 #1
            Call Trace:
             alloc_debug_processing+0xe1/0x150
             other+0x40/0x90

            """
        ),
        (
            .kmemleak,
            """
            unreferenced object 0xffff888105a65340 (size 64):
              comm "mount", pid 710, jiffies 4302851558 (age 58.239s)
              hex dump (first 16 bytes):
                00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
              backtrace (crc d2b2d3):
                [<ffffffff859c45e5>] kmem_cache_alloc_trace+0x475/0x8a0
                [<ffffffff86160146>] jffs2_sum_init+0x96/0x1a0
            unreferenced object 0xffff888105a65380 (size 32):
              comm "mount", pid 710, jiffies 4302851558 (age 8.500s)
              backtrace:
                [<0000000086140e25>] jffs2_do_mount_fs+0x745/0x1f0

            """
        ),
        (
            .pageOwner,
            """
            Page allocated via order 1, mask 0x1d20c0(__GFP_IO), pid 455, tgid 455 (a), ts 1 ns
            PFN 0x1000 type Unmovable Block 8 type Unmovable Flags 0x10200
             get_page_from_freelist+0x15e3/0x1ac0
             new_slab+0x2d1/0x4d0

            Page allocated via order 0, mask 0x1d20c0(__GFP_IO), pid 7, tgid 7 (b), ts 1 ns
             get_page_from_freelist+0x15e3/0x1ac0

            """
        ),
        (
            .allocTraces,
            """
            /sys/kernel/debug/slab/kmalloc-64/alloc_traces
                338 pci_alloc_dev+0x2c/0xa0 age=290837/291891/293509 pid=1 cpus=106 nodes=0-1
                    __kmem_cache_alloc_node+0x11f/0x4e0
                    pci_scan_single_device+0xa6/0x170

            """
        ),
        (
            .allocinfo,
            """
            14680064     3584 mm/mm_init.c:2530 func:alloc_large_system_hash
             4292608     1010 drivers/staging/ctagmod/ctagmod.c:20 [ctagmod] func:ctagmod_start

            """
        ),
    ]

    @Test(arguments: prefixForms) func everyFormReadsAsTheLogWithout(_ form: PrefixForm) throws {
        for (kind, text) in Self.logs {
            let plain = try reduce(text: text, kind)
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            let prefixed = lines.enumerated().map { form.line($0, String($1)) }.joined(separator: "\n") + "\n"
            #expect(LogKind(head: Array(prefixed.utf8)) == kind, "\(kind) is recognised")
            let read = try reduce(text: prefixed, kind)
            #expect(read.rows == plain.rows, "\(kind)\n\(prefixed)")
            #expect(read.input.damages.isEmpty, "\(kind)")
        }
    }

    /// A mailer breaks lines at blanks, at 72 to 80 columns.
    @Test(arguments: [72, 76, 78, 80], ["", "> ", "[   12.000001] ", "Jan 26 15:04:11 host7 kernel: [   12.000001] "])
    func wrappedLinesAreJoined(columns: Int, prefix: String) throws {
        for (kind, text) in Self.logs where kind != .allocinfo {
            // Of lines without a prefix a tail is known only by its words.
            let plain = try reduce(text: text, kind)
            let isQuote = prefix == "> "
            var wrapped = ""
            for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
                var rest = (isQuote ? "" : prefix) + line
                while rest.count > columns, let blank = rest.prefix(columns + 1).lastIndex(of: " "),
                    rest[..<blank].contains(where: { $0 != " " })
                {
                    wrapped += (isQuote ? prefix : "") + rest[..<blank] + "\n"
                    rest = String(rest[rest.index(after: blank)...].drop { $0 == " " })
                }
                wrapped += (isQuote ? prefix : "") + rest + "\n"
            }
            #expect(try reduce(text: wrapped, kind).rows == plain.rows, "\(kind)\n\(wrapped)")
        }
    }
}
