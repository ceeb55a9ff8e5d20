// Resident memory by kind of mapping. Oracles: the kernel's own sum (smaps_rollup), a program that knows what
// it touched, and CPython, which can be told to use malloc.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import TestSupport
import Testing

@testable import Launch

@Suite struct ResidenceTests {
    private static let megabyte: UInt64 = 1 << 20

    private func field(_ name: String, of pid: pid_t) throws -> UInt64 {
        let line = try contents("/proc/\(pid)/smaps_rollup").split(separator: "\n").first { $0.hasPrefix("\(name):") }
        let words = line?.split(separator: " ") ?? []
        return UInt64(try #require(words.count > 1 ? UInt64(words[1]) : nil)) << 10
    }

    /// A dump of a program that is ready, and what the kernel sums up for it.
    private func dump(
        _ scratch: Scratch, _ running: Running
    ) throws -> (image: HeapImage, residentBytes: UInt64, path: String) {
        let ready = try eventually { try contents(running.outputPath) == "ready\n" }
        #expect(ready)
        let pid = try running.child()
        let outcome = try scratch.run([Built.heapdump, String(pid)])
        let path = String(outcome.output.dropLast())
        #expect(outcome.exitStatus == 0, "\(outcome)")
        return (try HeapImage(path: path), try field("Rss", of: pid), path)
    }

    private func total(_ residence: heap_residence) -> UInt64 {
        (UInt64(residence.allocator_kb) + UInt64(residence.anonymous_kb) + UInt64(residence.stacks_kb)
            + UInt64(residence.files_kb)
            + UInt64(residence.shared_kb) + UInt64(residence.image_kb)) << 10
    }

    private func isNear(_ kilobytes: UInt32, _ megabytes: UInt64, within: UInt64 = 1) -> Bool {
        let bytes = UInt64(kilobytes) << 10, low = (megabytes - min(within, megabytes)) * Self.megabyte
        return low <= bytes && bytes <= (megabytes + within) * Self.megabyte
    }

    @Test func everyKindIsTold() throws {
        let scratch = try Scratch()
        try scratch.prepare("head -c 13631488 /dev/zero | tr '\\0' x > file")
        let running = try scratch.startRecorded(
            [try Built.program("residence"), "file"], options: ["-o", "images"], library: Built.interposer)
        let (image, kernels, path) = try dump(scratch, running)
        let residence = image.header.residence
        // The heap's 5 MB, the block of 7, and 3 MB in each of two arenas.
        #expect(isNear(residence.allocator_kb, 18), "\(residence)")
        #expect(isNear(residence.anonymous_kb, 100), "\(residence)")
        #expect(isNear(residence.stacks_kb, 4), "\(residence)")
        #expect(isNear(residence.files_kb, 16, within: 3), "\(residence)")
        #expect(isNear(residence.shared_kb, 11), "\(residence)")
        #expect(residence.image_kb > 0 && residence.measured_ns > 0)
        // Nothing is counted twice or left out; what the program touched meanwhile is a few pages.
        let sum = total(residence)
        #expect(max(sum, kernels) - min(sum, kernels) < Self.megabyte, "\(sum) \(kernels)")
        let info = try scratch.run([Built.products + "/heapsum", "info", path]).output
        #expect(
            info.contains("malloc is the smaller part: ") && info.contains("other anonymous memory")
                && info.contains("mmap"), "\(info)")
        // heaprun measures too: its image, at the end, has it without any dump.
        let isMeasured = try eventually {
            guard case .file(let path) = try findImage(of: running.child(), deadline: 0) else { return false }
            return try HeapImage(path: path.string).header.residence.anonymous_kb > 90 << 10
        }
        #expect(isMeasured)
        kill(try running.child(), SIGKILL)
        let messages = try running.wait().messages
        #expect(messages.contains("  malloc held ") && messages.contains("heapsum info says more\n"), "\(messages)")
    }

    @Test(arguments: ["pymalloc", "malloc"]) func pythonsArenasAreNotMallocs(allocator: String) throws {
        let scratch = try Scratch()
        try scratch.write(
            "objects.py",
            "kept = [(i, str(i)) for i in range(400000)]\nprint('ready', flush=True)\nimport signal\nsignal.pause()\n")
        let python = try #require(
            try scratch.shell("ls /usr/bin/python3").output.split(separator: "\n").first.map(String.init))
        let running = try scratch.startRecorded(
            [python, "objects.py"], options: ["-o", "images"], library: Built.interposer,
            variables: ["PYTHONMALLOC": allocator])
        let (image, kernels, path) = try dump(scratch, running)
        let residence = image.header.residence, sum = total(residence)
        #expect(max(sum, kernels) - min(sum, kernels) < Self.megabyte, "\(sum) \(kernels)")
        let info = try scratch.run([Built.products + "/heapsum", "info", path]).output
        if allocator == "malloc" {
            #expect(residence.allocator_kb > 40 << 10 && residence.anonymous_kb < 8 << 10, "\(residence)")
            #expect(!info.contains("smaller part"))
        } else {
            #expect(
                residence.anonymous_kb > 40 << 10 && residence.allocator_kb < residence.anonymous_kb / 2, "\(residence)"
            )
            #expect(info.contains("PYTHONMALLOC=malloc"), "\(info)")
        }
        kill(try running.child(), SIGKILL)
        _ = try running.wait()
    }

    @Test func smapsIsReadInAnyPieces() throws {
        let text = """
            55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]
            Size:                132 kB
            Rss:                  12 kB
            Swap:                  4 kB
            VmFlags: rd wr mr mw me ac sd
            7f0000000000-7f0000001000 ---p 00000000 00:00 0
            Rss:                   0 kB
            7f0000001000-7f0000800000 rw-p 00000000 00:00 0
            Rss:                 100 kB
            nonsense
            7f0001000000-7f0001800000 rw-s 00000000 00:01 77                         /tmp/a b.1.heap
            Rss:                   8 kB

            """
        for size in [1, 7, 100, 10_000] {
            var parser = SmapsParser()
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                parser.add(rest.prefix(size))
                rest = rest.dropFirst(size)
            }
            #expect(parser.mappings.map(\.residentBytes) == [12 << 10, 0, 100 << 10, 8 << 10])
            #expect(parser.mappings.map(\.swappedBytes) == [4 << 10, 0, 0, 0])
            #expect(parser.mappings[1].isReserved && parser.mappings[2].isAnonymous && !parser.mappings[3].isAnonymous)
            // The third is a stack by its size: 8 MB, guard and all.
            #expect(
                residence(parser.mappings, extents: AllocatorExtents(), isGlibc: true, imageInode: 77)
                    == Residence(
                        allocatorBytes: 12 << 10, stackBytes: 100 << 10, imageBytes: 8 << 10, swappedBytes: 4 << 10))
        }
    }

    // The kernel makes one mapping of two neighbours: only what malloc is known to have in it is malloc's.
    @Test func neighboursAreToldApart() {
        let mapping = ResidentMapping(
            mapping: Mapping(start: 0x10_0000, end: 0x90_0000, isShared: false, fileOffset: 0, inode: 0, path: ""),
            permissions: Array("rw-p".utf8),
            residentBytes: 8 << 20)
        var extents = AllocatorExtents()
        extents.large = [0x10_0010 ..< 0x30_0010, UInt64.max - 5 ..< UInt64.max]
        #expect(
            residence([mapping], extents: extents, isGlibc: true, imageInode: 0)
                == Residence(allocatorBytes: 2 << 20 | 4096, anonymousBytes: (6 << 20) - 4096))
        #expect(
            residence([mapping], extents: extents, isGlibc: false, imageInode: 0) == Residence(allocatorBytes: 8 << 20))
        #expect(
            residence([mapping], extents: AllocatorExtents(), isGlibc: false, imageInode: 0)
                == Residence(anonymousBytes: 8 << 20))
    }
}
