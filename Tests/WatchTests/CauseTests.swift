// Who is accused, and who isn't: a cause once, with what follows from it below; caches by the kernel's own word;
// heapsum's image not at all. Recordings of made numbers, and real programs for what the kernel itself counts.

import Glibc
import TestSupport
import Testing

@testable import Watch

private let heapwatch = Built.products + "/heapwatch"

@Suite struct CauseTests {
    /// A recording of an hour, a sample a minute, of numbers that a function gives.
    private func record(
        _ scratch: Scratch, _ entities: (Int) -> (system: [String: Int64], others: [EntitySample])
    ) throws -> Verdict {
        let writer = try SampleWriter(directory: "\(scratch.path)/w", head: Trees.head, keptBytes: 1 << 30)
        for minute in 0 ..< 60 {
            let (system, others) = entities(minute), names = system.keys.sorted()
            try writer.append(
                Sample(
                    bootMilliseconds: 7_000_000 + Int64(minute) * 60_000, systemColumns: names,
                    groupColumns: ["tmpfs.bytes", "file.bytes"],
                    entities: [
                        EntitySample(
                            kind: .system, id: "", name: "system", values: names.map { system[$0] ?? Sample.unknown })
                    ] + others))
        }
        writer.finish()
        return try verdict(of: "\(scratch.path)/w")
    }

    private func process(_ pid: Int64, _ name: String, _ columns: [ProcessColumn: Int64]) -> EntitySample {
        var values = [Int64](repeating: 0, count: ProcessColumn.allCases.count)
        for (column, value) in columns { values[column.rawValue] = value }
        return EntitySample(kind: .process, id: "\(pid):1", name: name, detail: "\(name)\0", values: values)
    }

    private func slab(_ name: String, objects: Int64, bytes: Int64, isReclaimable: Int64 = 0) -> EntitySample {
        EntitySample(
            kind: .slab, id: name, name: name,
            values: [objects, objects, bytes, objects * bytes / 4096 + 1, isReclaimable])
    }

    private func memory(unreclaimable: Int64, stacks: Int64 = 4000, shared: Int64 = 0) -> [String: Int64] {
        let free = 12_000_000 - unreclaimable - stacks - shared
        return [
            "meminfo.MemTotal": 16_000_000, "meminfo.MemFree": free, "meminfo.AnonPages": 2_000_000,
            "meminfo.Cached": 2_000_000 + shared, "meminfo.Shmem": shared, "meminfo.SUnreclaim": unreclaimable,
            "meminfo.SReclaimable": 0, "meminfo.KernelStack": stacks,
        ]
    }

    @Test func aThreadLeakIsToldOnce() throws {
        let scratch = try Scratch()
        let verdict = try record(scratch) { minute in
            let threads = Int64(20 + minute * 40)
            return (
                memory(unreclaimable: 50_000 + threads * 10, stacks: 4000 + threads * 16),
                [
                    process(71, "server", [.threads: threads, .anonymous: 90_000, .virtual: 900_000]),
                    slab("task_struct", objects: 300 + threads, bytes: 8192),
                    slab("signal_cache", objects: 300 + threads, bytes: 1088),
                    slab("vm_area_struct", objects: 9000 + 2 * threads, bytes: 232),
                    // Of another cause: far too many for these threads.
                    slab("kmalloc-192", objects: 9000 + threads * 30, bytes: 192),
                ]
            )
        }
        #expect(
            verdict.growing.map { "\($0.name): \($0.what)" } == ["server: threads", "kmalloc-192: slab cache"],
            "\(verdict.growing)")
        #expect(
            Set(verdict.growing.first?.followers ?? []) == [
                "task_struct", "signal_cache", "vm_area_struct", "kernel stacks", "unreclaimable slab",
            ], "\(verdict.growing.first?.followers ?? [])")
    }

    @Test func aDescriptorLeakIsToldOnce() throws {
        let scratch = try Scratch()
        let verdict = try record(scratch) { minute in
            let open = Int64(30 + minute * 100)
            var system = memory(unreclaimable: 50_000 + open)
            system["file.open"] = 4000 + open
            return (
                system,
                [
                    process(72, "proxy", [.files: open, .descriptors: open, .descriptorLimit: 1 << 20]),
                    slab("filp", objects: 4000 + open, bytes: 256),
                    slab("kmalloc-cg-256", objects: 5000 + open, bytes: 256),
                    slab("kmalloc-8k", objects: 300, bytes: 8192),
                ]
            )
        }
        #expect(verdict.growing.map { "\($0.name): \($0.what)" } == ["proxy: files"], "\(verdict.growing)")
        #expect(
            Set(verdict.growing.first?.followers ?? []) == ["filp", "kmalloc-cg-256", "file.open"],
            "\(verdict.growing.first?.followers ?? [])")
    }

    /// The kernel's word decides, not the name: in a recorded tree, through the gatherer.
    @Test func cachesAreReclaimableByTheKernelsWord() throws {
        let scratch = try Scratch()
        let writer = try SampleWriter(directory: "\(scratch.path)/w", head: Trees.head, keptBytes: 1 << 30)
        try scratch.prepare(
            "cp -r \(try Trees.path.get())/000 tree; rm -r tree/sys/kernel/slab 2>/dev/null; mkdir -p "
                + "tree/sys/kernel/slab/odd_fs tree/sys/kernel/slab/ext4_inode_cache; echo 1 > "
                + "tree/sys/kernel/slab/odd_fs/reclaim_account; echo 0 > "
                + "tree/sys/kernel/slab/ext4_inode_cache/reclaim_account"
        )
        var options = GatherOptions()
        options.root = "\(scratch.path)/tree"
        let gatherer = Gatherer(options)
        for minute in 0 ..< 40 {
            let slabs = 1000 + 100 * minute
            try scratch.write(
                "tree/proc/slabinfo",
                "slabinfo - version: 2.1\n"
                    + ["odd_fs", "ext4_inode_cache", "dentry"].map {
                        "\($0) \(slabs * 21) \(slabs * 21) 192 21 1 : tunables 0 0 0 : slabdata \(slabs) \(slabs) 0\n"
                    }.joined())
            try writer.append(gatherer.sample(at: 7_000_000 + Int64(minute) * 60_000))
        }
        let verdict = try verdict(of: "\(scratch.path)/w")
        #expect(
            verdict.growing.filter { $0.kind == .slab }.map(\.name) == ["ext4_inode_cache"],
            "\(verdict.growing.map(\.name))")
        #expect(
            Set(verdict.moving.filter { $0.what == "slab cache, reclaimable" }.map(\.name)) == ["odd_fs", "dentry"],
            "\(verdict.moving.map(\.name))")
        // And on this machine: each cache that the kernel has is recorded with its word.
        let sample = Gatherer(GatherOptions()).sample(at: 0)
        for cache in sample.entities where cache.kind == .slab {
            guard let word: String = try? contents("/sys/kernel/slab/\(cache.name)/reclaim_account") else { continue }
            #expect(cache.values[SlabColumn.isReclaimable.rawValue] == Int64(word.trimming()), "\(cache.name)")
        }
    }

    /// A program under heaprun: its image grows with what it allocates, and is nobody's growth.
    @Test func heapsumsOwnImageIsNotAccused() throws {
        let scratch = try Scratch()
        _ = Built.interposer
        let running = try scratch.startRecorded(
            [Built.examples + "/pool-slot-zero", "60"], options: ["--quiet", "-o", "images"], library: Built.interposer)
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        let pid = try running.child()
        let outcome = try scratch.run([
            heapwatch, "-o", "w", "--interval", "250ms", "--duration", "13s", "--quiet", "--pid", "\(pid)",
        ])
        kill(pid, SIGKILL)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let images = try samples(in: "\(scratch.path)/w").samples.compactMap {
            $0.process(Int64(pid)).map { ($0[.image], $0[.shared]) }
        }
        // Shared memory is read before the image's part of it, which grows meanwhile; at the very start there is none.
        let later = images.dropFirst(4)
        #expect(
            images.count > 20 && (images.last?.0 ?? 0) > (images.first?.0 ?? 0)
                && later.allSatisfy { $0.0 > 0 && $0.0 <= $0.1 + 4096 }, "\(images)")
        let verdict = try verdict(of: "\(scratch.path)/w")
        let accused = verdict.growing.filter { $0.pid == Int64(pid) }.map(\.what)
        #expect(accused == ["anonymous memory"], "\(verdict.growing)")
        #expect(
            !verdict.growing.contains { $0.isNamed && $0.name.contains("heapsum") && $0.name.contains(".heap") }
                && verdict.imageBytes > 0, "\(verdict.growing)")
        #expect(verdict.growing.first { $0.pid == Int64(pid) }?.next?.command.contains("heapdump \(pid)") == true)
    }

    // MARK: Files in memory

    @Test func filesInMemoryHaveNamesAndHolders() throws {
        let scratch = try Scratch()
        let shared = "/dev/shm/heapwatch-test-\(getpid())"
        defer { for name in ["held", "left", "gone"] { unlink("\(shared)-\(name)") } }
        try scratch.write(
            "holder.py",
            """
            import mmap, os, sys, time
            chunk, names = os.urandom(150 << 10), sys.argv[1]
            fd = os.memfd_create("test-pool"); fd2 = os.dup(fd)
            held = open(names + "-held", "wb", buffering=0)
            gone = open(names + "-gone", "wb", buffering=0); os.unlink(names + "-gone")
            print("ready", flush=True)
            begin, step = time.monotonic(), 0
            while True:
                time.sleep(0.02)
                while step < (time.monotonic() - begin) * 10:
                    step += 1
                    os.write(fd, chunk); held.write(chunk[: 100 << 10]); gone.write(chunk[: 100 << 10])
                    with open(names + "-left", "ab") as file: file.write(chunk[: 50 << 10])
            """)
        let running = try scratch.start(["python3", "holder.py", shared])
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        #expect(try eventually { try contents(running.outputPath).contains("ready") })
        let outcome = try scratch.run([
            heapwatch, "-o", "w", "--interval", "250ms", "--duration", "13s", "--quiet", "--pid", "\(running.pid)",
        ])
        #expect(outcome.exitStatus == 0, "\(outcome)")
        // What a file takes, by the kernel.
        var about = stat()
        #expect(stat("/proc/\(running.pid)/fd/3", &about) == 0)
        let verdict = try verdict(of: "\(scratch.path)/w")
        let found = Dictionary(
            verdict.growing.filter(\.isNamed).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let holder = "\(running.pid) python3"
        let expected: [(String, [String])] = [
            ("memfd test-pool", ["user \(getuid())", holder]), ("file \(shared)-held", ["user \(getuid())", holder]),
            ("deleted file \(shared)-gone", ["user \(getuid())", holder]),
            ("file \(shared)-left", ["user \(getuid())"]),
        ]
        for (name, holders) in expected {
            let finding = try #require(found[name], "\(name): \(verdict.growing.map { "\($0.name): \($0.what)" })")
            #expect(finding.holders == holders && finding.last > finding.first + 4e6 && finding.next != nil)
        }
        // By a duplicate as well as by itself: once. And the process's own row stands under its file.
        let memfd = try #require(found["memfd test-pool"])
        #expect(memfd.last <= Double(about.st_blocks) * 512 && memfd.last > 0.5 * Double(about.st_blocks) * 512)
        #expect(
            !verdict.growing.contains { $0.pid == Int64(running.pid) && $0.what == "memory in memfds" }
                && memfd.followers.contains("python3 (\(running.pid)): memory in memfds"), "\(memfd)")
        let text = try scratch.run([heapwatch, "verdict", "w"])
        #expect(
            text.output.contains("memfd test-pool: bytes in memory") && text.output.contains("held by \(holder)")
                && text.output.contains("held by no process that is watched"), "\(text.output)")
    }

    @Test func aMountAndItsSumAreToldOnce() throws {
        let scratch = try Scratch()
        let verdict = try record(scratch) { minute in
            let kilobytes = Int64(5000 + minute * 4000)
            return (
                memory(unreclaimable: 50_000, shared: kilobytes),
                [
                    EntitySample(
                        kind: .group, id: "tmpfs /dev/shm", name: "tmpfs /dev/shm",
                        values: [kilobytes * 1024, Sample.unknown]),
                    EntitySample(
                        kind: .group, id: "file 1:2", name: "file /dev/shm/spool", detail: "user 33\0" + "71 writer\0",
                        values: [Sample.unknown, kilobytes * 1024]),
                    process(71, "writer", [.anonymous: 90_000]),
                ]
            )
        }
        #expect(
            verdict.growing.map(\.name) == ["file /dev/shm/spool"]
                && Set(verdict.growing.first?.followers ?? []) == ["tmpfs /dev/shm", "shared memory"],
            "\(verdict.growing)")
    }

    /// System V's segments have holders, in an IPC namespace of the test's own.
    @Test func segmentsHaveHolders() throws {
        let scratch = try Scratch()
        try scratch.write(
            "attach.py",
            """
            import ctypes, sys, time
            libc = ctypes.CDLL(None, use_errno=True)
            libc.shmat.restype = ctypes.c_void_p
            id = libc.shmget(0, 1 << 30, 0o1600)
            at = libc.shmat(id, None, 0)
            print(id, flush=True)
            begin, step = time.monotonic(), 0
            while step < 2000:
                time.sleep(0.02)
                while step < (time.monotonic() - begin) * 10:
                    ctypes.memset(at + (step << 18), 1, 1 << 18)
                    step += 1
            """)
        let outcome = try scratch.run([
            "bwrap", "--dev-bind", "/", "/", "--unshare-ipc", "/bin/bash", "-c",
            """
            python3 attach.py > id & while [ ! -s id ]; do sleep 0.05; done; '\(heapwatch)' -o w --interval 250ms \
            --duration 13s --quiet --pid $!; status=$?; kill $!; echo $!; exit $status
            """,
        ])
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let verdict = try verdict(of: "\(scratch.path)/w")
        let finding = try #require(
            verdict.growing.first { $0.name.hasPrefix("System V segment") }, "\(verdict.growing)")
        #expect(
            finding.holders == ["user \(getuid())", "\(outcome.output.trimming()) python3"]
                && finding.next?.command.hasPrefix("ipcs -m -i ") == true, "\(finding)")
    }
}
