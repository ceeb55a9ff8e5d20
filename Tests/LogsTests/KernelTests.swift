// The kernel's logs, and dbx's table, as their documentation and their sources show them.

import Reduce
import Report
import TestSupport
import Testing

@testable import Logs

@Suite struct KernelLogs {
    private func reduced(_ name: String, _ kind: LogKind) throws -> Reduced {
        #expect(LogKind(head: try head(fixture(name))) == kind, "\(name) is known by what is in it")
        return try reduce(fixture(name), kind)
    }

    @Test func slubOnX86() throws {
        let log = try reduced("slub-x86.txt", .slub)
        #expect(
            log.rows == [
                "0xc10aef47 trace+0x57 < 0xc10b07b3 alloc_debug_processing+0xf3 < 0xc10b0a52 "
                    + "kmem_cache_alloc+0xb2 < 0xc10b95d8 get_empty_filp+0x58 < 0xc10c323f path_openat+0x1f":
                    [128, 1],
                "0xc10aef47 trace+0x57 < 0xc10b0a52 __kmalloc+0xb2 < 0xf8058840 igb_kni_probe+0x64 [rte_kni]": [
                    128, 1,
                ],
            ])
        // The end of the log is 1341.500005.
        let ages = log.reduction.rows.compactMap(\.oldestSeconds).sorted()
        #expect(ages.count == 2 && abs(ages[1] - 2.500004) < 1e-6 && ages[0] < 0.001)
        #expect(log.input.passedOver.contains { $0.what == LogNote.outside.text && $0.count == 1 && $0.offset == 0 })
        #expect(log.input.damages.isEmpty)
    }

    @Test func slubOnARM64ThroughSyslog() throws {
        let log = try reduced("slub-arm64-syslog.txt", .slub)
        #expect(
            log.rows == [
                "dump_backtrace+0x0 < show_stack+0x14 < dump_stack+0xa8 < alloc_debug_processing+0x58 < "
                    + "__kmalloc+0x284 < alloc_indirect.isra.2+0x1c [virtio_ring]":
                    [1024, 1]
            ])
        #expect(log.input.passedOver.isEmpty && log.input.damages.isEmpty)
    }

    /// arm tells of frames in pairs, and of the size of a cache's objects by the bytes of one that is freed.
    @Test func slubOnARM() throws {
        let log = try reduced("slub-arm.txt", .slub)
        #expect(
            log.rows == [
                "0xc010fcd8 unwind_backtrace < 0xc010c464 show_stack+0x18 < 0xc08d2530 "
                    + "alloc_debug_processing+0xdc < 0xc0c017a8 copy_process+0x1d4":
                    [36, 1]
            ])
        #expect(log.input.passedOver.map(\.what) == [LogNote.freedUnseen.text])
    }

    @Test func slubOfSeveralProcessors() throws {
        #expect(
            try reduced("slub-interleaved.txt", .slub).rows == [
                "dump_stack_lvl+0x48 < kmalloc_trace+0x26 < open_first+0x1": [64, 1],
                "dump_stack_lvl+0x48 < kmalloc_trace+0x26 < work_second+0x2": [64, 1],
            ])
        #expect(
            try reduced("slub-mixed.txt", .slub).rows == [
                "dump_stack_lvl+0x48 < alloc_debug_processing+0x26 < allocates_here+0x1": [96, 1]
            ])
    }

    @Test func slubWithoutSizes() throws {
        let log = try reduce(
            text: "TRACE dentry alloc 0xffff888004a5d000 inuse=2 fp=0x0\nCall Trace:\n d_alloc+0x1/0x2\n", .slub)
        #expect(log.rows == ["d_alloc+0x1": [0, 1]])
        #expect(log.input.passedOver.map(\.what) == [LogNote.sizeUnknown.text])
    }

    /// However the lines of many objects come, those that were not freed are left.
    @Test func slubTakesFreesBack() throws {
        for seed in UInt64(1) ... 6 {
            var random = SeededGenerator(seed: seed)
            var text = "", live: [Int: Int] = [:], expected: [String: [UInt64]] = [:]
            for step in 0 ..< 3000 {
                let object = Int.random(in: 0 ..< 200, using: &random)
                let stamp = "[ \(step).000000] "
                if live[object] == nil {
                    let site = Int.random(in: 0 ..< 20, using: &random)
                    live[object] = site
                    text +=
                        "\(stamp)TRACE kmalloc-32 alloc 0xffff8880000\(10000 + object) inuse=1 fp=0x0\n\(stamp)CPU: 0 "
                        + "PID: 1 Comm: x\n\(stamp)Call Trace:\n\(stamp) kmalloc+0x1/0x2\n\(stamp) "
                        + "site_\(site)+0x1/0x2\n"
                } else {
                    live[object] = nil
                    text +=
                        "\(stamp)TRACE kmalloc-32 free 0xffff8880000\(10000 + object) inuse=1 fp=0x0\n\(stamp)CPU: 0 "
                        + "PID: 1 Comm: x\n\(stamp)Call Trace:\n\(stamp) kfree+0x1/0x2\n"
                }
            }
            for site in live.values {
                expected["kmalloc+0x1 < site_\(site)+0x1", default: [0, 0]] = [
                    (expected["kmalloc+0x1 < site_\(site)+0x1"]?[0] ?? 0) + 32,
                    (expected["kmalloc+0x1 < site_\(site)+0x1"]?[1] ?? 0) + 1,
                ]
            }
            #expect(try reduce(text: text, .slub).rows == expected)
        }
    }

    @Test func kmemleak() throws {
        let log = try reduced("kmemleak.txt", .kmemleak)
        // Where the log has a line, it stands beside the name, and the offset need not.
        #expect(
            log.rows == [
                "0xffffffff859c45e5 kmem_cache_alloc_trace+0x475 < 0xffffffff86160146 jffs2_sum_init+0x96 < "
                    + "0xffffffff86140e25 jffs2_do_mount_fs+0x745":
                    [128, 2],
                "__vmalloc_node_range < __vmalloc_node < vmalloc < tun_get_user+0x183d [tun] < 0xffffffffffffffff "
                    + "0xffffffffffffffff":
                    [200_704, 1],
                "pcpu_alloc_noprof+0x12 < relay_open+0xb6 < … frames missing …": [8, 1],
            ])
        let row = log.reduction.rows[0]
        #expect(abs((row.oldestSeconds ?? 0) - 58.239) < 1e-9 && row.newestSeconds == 8.5)
        #expect(log.input.damages.isEmpty && log.input.passedOver.isEmpty)
        #expect(
            try reduce(text: "", .kmemleak).reduction.totals.liveBlocks == 0, "an empty file says that nothing is lost")
    }

    @Test func pageOwner() throws {
        let log = try reduced("page_owner.txt", .pageOwner)
        let slab = "get_page_from_freelist+0x15e3 < __alloc_pages+0x1a7 < new_slab+0x2d1 < ext4_init+0x1 [ext4]"
        #expect(
            log.rows == [
                "register_early_stack+0x2b < init_page_owner+0x31 < kernel_init_freeable+0x1b1": [4096, 1],
                slab: [65_536, 2],
            ])
        #expect(log.input.damages.isEmpty && log.input.passedOver.isEmpty)
        #expect(
            try reduced("page_owner_sorted.txt", .pageOwner).rows == [
                "get_page_from_freelist+0x15e3 < new_slab+0x2d1": [98_304, 12],
                "get_page_from_freelist+0x15e3": [4096, 1],
            ])
        // No line of its head is one that other kinds don't have: the kind is said.
        #expect(
            try reduce(fixture("show_stacks.txt"), .pageOwner).rows == [
                "get_page_from_freelist+0x15e3 < new_slab+0x2d1": [65_536, 16],
                "get_page_from_freelist+0x15e3": [12_288, 3],
            ])
    }

    @Test func allocTraces() throws {
        let log = try reduced("kmalloc-2k/alloc_traces", .allocTraces)
        let rows = log.reduction.rows
        #expect(rows.map(\.blocks) == [338, 5])
        #expect(rows.map(\.bytes) == [338 * (2048 - 1544), 5 * 2048] as [UInt64])
        #expect(log.reduction.frames(of: rows[0]).count == 16 && log.reduction.frames(of: rows[1]).isEmpty)
        let calls = try reduced("alloc_calls", .allocTraces)
        #expect(
            calls.rows == [
                "sn_io_slot_fixup+0x40": [0, 7], "percpu_populate+0xf0": [0, 276], "tun_chr_open+0x3b [tun]": [0, 3],
            ])
        #expect(
            calls.input.passedOver.map(\.count) == [286] && calls.input.passedOver[0].what == LogNote.sizeUnknown.text)
        let frees = try LogFile("1980 <not-available> age=4294912290 pid=0 cpus=0\n", name: "free_traces")
        #expect(throws: LogError.self) { try reduce(frees.path, .allocTraces) }
    }

    @Test func allocinfo() throws {
        let log = try reduced("allocinfo.txt", .allocinfo)
        #expect(
            log.rows == [
                "alloc_large_system_hash": [14_680_064, 3584], "ctagmod_start [ctagmod]": [4_292_608, 1010],
                "alloc_slab_page": [57_671_680, 4887],
            ])
        let frame = log.reduction.logFrame(log.reduction.frames(of: log.reduction.rows[2])[0])
        #expect(frame?.file == Array("mm/slub.c".utf8) && frame?.line == 2259)
        let documented = try reduced("allocinfo-documentation.txt", .allocinfo)
        #expect(
            documented.rows["alloc_page_ext"] == [122 << 20, 31168]
                && documented.rows["__kernfs_new_node"] == [(28 << 20) / 10, 22648])
        #expect(documented.rows.count == 11)
        let two =
            try contents(fixture("allocinfo.txt")) + "allocinfo - version: 2.0\n    8 1 a.c:1 func:f accurate:no\n"
        #expect(try reduce(text: two, .allocinfo).rows == ["f": [8, 1]])
    }

    @Test func dbx() throws {
        let log = try reduced("dbx.txt", .dbx)
        #expect(
            log.rows == [
                "0xd01ca874 malloc < 0x10010700 load_history < 0x10000b84 main": [128, 2],
                "0xd01ca900 operator new(unsigned long) < 0x10000b90 0x10000b90": [4096, 1],
            ])
        #expect(log.input.damages.isEmpty)
        #expect(try reduced("dbx-short.txt", .dbx).rows == ["0xd01ca874 malloc < 0x10000b84 main": [16, 1]])
    }

    @Test(arguments: [
        ("[<c10aef47>] trace+0x57/0xa0", "0xc10aef47 trace+0x57"), ("trace+0x57/0xa0 [xe]", "trace+0x57 [xe]"),
        ("[<ffffffff81234567>] ? f+0x1/0x2 [m 1234abcd]", "? 0xffffffff81234567 f+0x1 [m]"),
        ("[<(____ptrval____)>] f+0x1/0x2", "f+0x1"),
        (
            "[c0000001fa0cfb40] [c0000000009bdbe8] dump_stack+0xb0/0xf0 (unreliable)",
            "? 0xc0000000009bdbe8 dump_stack+0xb0"
        ),
        ("[<0>] f+0x1/0x2", "f+0x1"), ("0xffffffffc0012345", "0xffffffffc0012345"),
        ("el0_svc+0x8/0xc (P)", "el0_svc+0x8"),
    ])
    func framesOfAllShapes(line: String, expected: String) {
        let bytes = Array(line.utf8)
        bytes.withUnsafeBytes { raw in
            let text = LogText(raw)
            let read = KernelFrame(text, 0, text.count)
            let frame = read?.frame
            let address = frame?.address.map { "0x" + String($0, radix: 16) }
            let function: String? = frame.flatMap { frame in
                let offset = frame.symbolOffset.map { "+0x" + String($0, radix: 16) } ?? ""
                return frame.name.isEmpty ? nil : String(decoding: frame.name, as: UTF8.self) + offset
            }
            let module = frame.flatMap { $0.module.isEmpty ? nil : "[\(String(decoding: $0.module, as: UTF8.self))]" }
            let shown =
                (read?.isUnreliable == true ? "? " : "")
                + [address, function, module].compactMap { $0 }.joined(separator: " ")
            #expect(shown == expected)
        }
    }

    @Test(arguments: [
        "Hardware name: QEMU", "a word", "", "[", "[]", "+0x1/0x2", "f+0xzz", "[<c10aef47> f+0x1", "00 00 00 00  ....",
    ])
    func linesThatAreNoFrames(line: String) {
        let bytes = Array(line.utf8)
        bytes.withUnsafeBytes { #expect(KernelFrame(LogText($0), 0, $0.count) == nil) }
    }
}
