// A core file as the memory of a process, with its threads' registers. The kernel, gcore or systemd-coredump wrote it.
//
// The file may be hostile or cut off: each offset and count is checked, and a range whose bytes are missing is a
// shortfall. A core has no file pages that the program never wrote: these hold none of the program's pointers.

import CHeapImage
import CLeaks
import Glibc
import HeapImage
import Proc
import Text

/// An ELF core file.
final class CoreFile: ProcessMemory {
    struct Segment { var range: Range<UInt64>, fileOffset: UInt64, fileBytes: UInt64, flags: UInt32 }

    let path: String
    private let source: FileSource
    private(set) var segments: [Segment] = []
    private(set) var threads: [ThreadState] = []
    private(set) var files: [(range: Range<UInt64>, offset: UInt64, path: String)] = []
    private(set) var processID: pid_t = 0
    /// Bytes of writable memory that should be in the file and are not.
    private(set) var missing: [Range<UInt64>] = []

    /// - Throws: `LeaksError` with file and offset if it is not a core file of this processor, or has no threads.
    init(path: String) throws {
        self.path = path
        do { source = try FileSource(path: path) } catch {
            throw LeaksError("\(printable(path)): can't be read: \(error)")
        }
        let head = try bytes(at: 0, count: 64)
        func word(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
            (0 ..< count).reversed().reduce(0) { $0 << 8 | UInt64(bytes[offset + $1]) }
        }
        guard head.starts(with: [0x7F, 0x45, 0x4C, 0x46]) else { throw fail(0, "not an ELF file") }
        guard head[4] == 2, head[5] == 1 else { throw fail(4, "not of a 64-bit little-endian processor") }
        guard word(head, 16, 2) == 4 else { throw fail(16, "an ELF file, but not a core file") }
        guard word(head, 18, 2) == ThreadLayout.machine else {
            throw fail(18, "a core file of another processor: heapsum reads those of the one that it runs on")
        }
        let table = word(head, 32, 8), size = Int(word(head, 54, 2))
        var count = Int(word(head, 56, 2))
        // More than 65,534 segments: the count is in the first section's header.
        if count == 0xFFFF { count = Int(word(try bytes(at: word(head, 40, 8), count: 64), 44, 4)) }
        guard size == 56, count > 0, count <= 1 << 20 else {
            throw fail(54, "\(count) program headers of \(size) bytes")
        }
        let headers = try bytes(at: table, count: count * size)
        var notes: [(UInt64, UInt64)] = []
        for index in 0 ..< count {
            let at = index * size, type = word(headers, at, 4), flags = UInt32(word(headers, at + 4, 4))
            let offset = word(headers, at + 8, 8), address = word(headers, at + 16, 8),
                inFile = word(headers, at + 32, 8), inMemory = word(headers, at + 40, 8)
            if type == 4 { notes.append((offset, inFile)) }
            let (end, overflow) = address.addingReportingOverflow(inMemory)
            guard type == 1, !overflow, inMemory > 0 else { continue }
            let (fileEnd, fileOverflow) = offset.addingReportingOverflow(inFile)
            let there =
                fileOverflow || fileEnd > source.length ? (offset < source.length ? source.length - offset : 0) : inFile
            segments.append(
                Segment(range: address ..< end, fileOffset: offset, fileBytes: min(there, inMemory), flags: flags))
            if there < min(inFile, inMemory) {
                missing.append(span(address &+ there, address &+ min(inFile, inMemory)))
            }
        }
        segments.sort { $0.range.lowerBound < $1.range.lowerBound }
        for (offset, byteCount) in notes where byteCount <= 1 << 30 {
            readNotes(try bytes(at: offset, count: Int(byteCount)), word)
        }
        guard !threads.isEmpty else { throw fail(table, "it has no thread's registers") }
    }

    private func fail(_ offset: UInt64, _ what: String) -> LeaksError {
        LeaksError("\(printable(path)): offset \(offset): \(what)")
    }

    private func bytes(at offset: UInt64, count: Int) throws -> [UInt8] {
        guard count >= 0, UInt64(count) <= source.length, offset <= source.length - UInt64(count) else {
            throw fail(min(offset, source.length), "cut off")
        }
        var got = 0
        let result = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            got = (try? source.read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)) ?? 0
            initialized = got
        }
        guard got == count else { throw fail(offset + UInt64(got), "cut off") }
        return result
    }

    private func readNotes(_ notes: [UInt8], _ word: ([UInt8], Int, Int) -> UInt64) {
        var at = 0
        while at + 12 <= notes.count {
            let nameBytes = Int(word(notes, at, 4)), byteCount = Int(word(notes, at + 4, 4)),
                type = word(notes, at + 8, 4)
            let start = at + 12 + (nameBytes + 3) & ~3, next = start + (byteCount + 3) & ~3
            guard nameBytes < 1 << 16, next > at, start + byteCount <= notes.count else { return }
            let body = Array(notes[start ..< start + byteCount])
            // struct elf_prstatus: the thread ID at 32, the registers from 112 on, in the kernel's order.
            if type == 1, body.count >= 112 + ThreadLayout.registerCount * 8 {
                let registers = (0 ..< ThreadLayout.registerCount).map { word(body, 112 + $0 * 8, 8) }
                if processID == 0 { processID = pid_t(truncatingIfNeeded: word(body, 32, 4)) }
                threads.append(
                    ThreadState(
                        threadID: pid_t(truncatingIfNeeded: word(body, 32, 4)), registers: registers, vectors: [],
                        stackPointer: registers[ThreadLayout.stackPointer],
                        threadPointer: ThreadLayout.isStorageAbove ? 0 : registers[21],
                        isInSystemCall: !ThreadLayout.isStorageAbove && Int64(bitPattern: registers[15]) >= 0))
            } else if type == 2 || type == 0x202, !threads.isEmpty {
                threads[threads.count - 1].vectors += stride(from: 0, to: body.count & ~7, by: 8).map {
                    word(body, $0, 8)
                }.filter { $0 != 0 }
            } else if type == 0x401, ThreadLayout.isStorageAbove, body.count >= 8, !threads.isEmpty {
                threads[threads.count - 1].threadPointer = word(body, 0, 8) // NT_ARM_TLS
            } else if type == 0x404, ThreadLayout.isStorageAbove, body.count >= 4, !threads.isEmpty {
                threads[threads.count - 1].isInSystemCall = word(body, 0, 4) >> 31 == 0 // NT_ARM_SYSTEM_CALL
            } else if type == 3, body.count >= 28 {
                processID = pid_t(truncatingIfNeeded: word(body, 24, 4))
            } else if type == 0x4649_4C45 {
                readFiles(body, word)
            }
            at = next
        }
    }

    // NT_FILE: a count, the page size, three words for each file, then the names.
    private func readFiles(_ body: [UInt8], _ word: ([UInt8], Int, Int) -> UInt64) {
        guard body.count >= 16 else { return }
        let count = Int(clamping: word(body, 0, 8)), page = word(body, 8, 8)
        guard count <= body.count / 24, 16 + count * 24 <= body.count else { return }
        let names = body[(16 + count * 24)...].split(separator: 0, omittingEmptySubsequences: false)
        for index in 0 ..< min(count, names.count) {
            let start = word(body, 16 + index * 24, 8), end = word(body, 24 + index * 24, 8)
            if start < end {
                files.append((start ..< end, word(body, 32 + index * 24, 8) &* page, pathText(names[index])))
            }
        }
        files.sort { $0.range.lowerBound < $1.range.lowerBound }
    }

    /// The mappings that the core describes.
    func mappings() -> [AddressMapping] {
        let main = threads.map(\.stackPointer)
        var mappings = segments.map { segment in
            let file = file(at: segment.range.lowerBound)
            // Code without a file is the kernel's page. The main stack is recognised only by a stack pointer in it.
            let isStack =
                file == nil && !main.isEmpty && segment.range.contains(main[0])
                && !segment.range.contains(threads[0].threadPointer)
            return AddressMapping(
                range: segment.range, isReadable: segment.flags & 4 != 0, isWritable: segment.flags & 2 != 0,
                isExecutable: segment.flags & 1 != 0, isShared: false,
                fileOffset: file.map { $0.offset &+ (segment.range.lowerBound - $0.range.lowerBound) } ?? 0,
                inode: file == nil ? 0 : 1,
                path: file?.path ?? (segment.flags & 3 == 1 ? "[vdso]" : isStack ? "[stack]" : ""))
        }
        // A core often leaves out file pages that nobody wrote; most are code.
        let covered = merged(mappings.map(\.range))
        for file in files {
            for range in subtract(covered, from: file.range) {
                mappings.append(
                    AddressMapping(
                        range: range, isReadable: true, isWritable: false, isExecutable: true, isShared: false,
                        fileOffset: file.offset &+ (range.lowerBound - file.range.lowerBound), inode: 1, path: file.path
                    ))
            }
        }
        return mappings.sorted { $0.range.lowerBound < $1.range.lowerBound }
    }

    func read(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var done = 0
        while done < buffer.count {
            let at = address &+ UInt64(done)
            let low = firstSegment(endingAfter: at)
            guard low < segments.count, segments[low].range.contains(at) else {
                guard let count = readFile(at, UnsafeMutableRawBufferPointer(rebasing: buffer[done...])) else {
                    return done
                }
                done += count
                continue
            }
            let offset = at - segments[low].range.lowerBound,
                wanted = Int(min(UInt64(buffer.count - done), segments[low].range.upperBound - at))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done ..< done + wanted])
            if offset < segments[low].fileBytes {
                let count = Int(min(UInt64(wanted), segments[low].fileBytes - offset))
                let got =
                    (try? source.read(
                        into: UnsafeMutableRawBufferPointer(rebasing: part[..<count]),
                        at: segments[low].fileOffset &+ offset)) ?? 0
                if got == 0 { return done }
                done += got
            } else if let count = readFile(at, part) {
                done += count
            } else {
                return done
            }
        }
        return done
    }

    // Reads the part of a file's mapping that the core leaves out from the file, if it is still the same file. Only its
    // constants matter; it holds no pointers to blocks.
    private func readFile(_ address: UInt64, _ buffer: UnsafeMutableRawBufferPointer) -> Int? {
        guard let file = file(at: address), let source = try? FileSource(path: file.path) else { return nil }
        let count = Int(min(UInt64(buffer.count), file.range.upperBound - address))
        let got =
            (try? source.read(
                into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]),
                at: file.offset &+ (address - file.range.lowerBound))) ?? 0
        return got > 0 ? got : nil
    }

    func resident(_ range: Range<UInt64>, isShared: Bool) -> [Range<UInt64>] {
        var index = firstSegment(endingAfter: range.lowerBound), runs: [Range<UInt64>] = []
        while index < segments.count, segments[index].range.lowerBound < range.upperBound {
            let segment = segments[index]
            let there = (segment.range.lowerBound ..< segment.range.lowerBound &+ segment.fileBytes).clamped(to: range)
            if !there.isEmpty { runs.append(there) }
            index += 1
        }
        return runs
    }

    /// - Complexity: O(log segments)
    private func firstSegment(endingAfter address: UInt64) -> Int {
        var (low, high) = (0, segments.count)
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The file's mapping that holds an address. Files don't overlap in a core that a kernel wrote.
    ///
    /// - Complexity: O(log files)
    private func file(at address: UInt64) -> (range: Range<UInt64>, offset: UInt64, path: String)? {
        var (low, high) = (0, files.count)
        while low < high {
            let middle = (low + high) / 2
            if files[middle].range.lowerBound <= address { low = middle + 1 } else { high = middle }
        }
        return low > 0 && files[low - 1].range.contains(address) ? files[low - 1] : nil
    }
}

extension Snapshot {
    /// The snapshot of a process from its core file and its image.
    ///
    /// - Throws: `LeaksError` if the core can't be used, or is of another process.
    package static func read(core path: String, image: HeapImage) throws -> Snapshot {
        try refuse(image)
        let core = try CoreFile(path: path)
        guard core.processID == pid_t(truncatingIfNeeded: image.header.pid) else {
            throw LeaksError(
                "\(printable(path)): of process \(core.processID), and \(image.file) is of process "
                    + "\(image.header.pid): name the image of the same process"
            )
        }
        let isGlibc = image.header.granule_log2.0 == UInt8(HEAP_GRANULE_LOG2_FINE_GLIBC)
        let table = BlockTable(granule: isGlibc ? 16 : 8, keepsTicks: false) { body in image.forEachBlock { body($0) } }
        var shortfalls = core.missing.prefix(16).map {
            Shortfall(what: "memory from \(hex($0.lowerBound)) to \(hex($0.upperBound)): the core file is cut off")
        }
        // Blocks whose bytes are not in the core: it leaves that memory out, or the blocks are newer than it.
        var absent = 0
        for number in 0 ..< table.count
        where table.bytes(number) >= 8 && core.word((table.start(number) + 7) & ~7) == nil { absent += 1 }
        if absent > 0 {
            shortfalls.append(
                Shortfall(
                    what:
                        "\(absent) blocks whose memory is not in the core file (coredump_filter, or the image is of "
                        + "another moment)"
                ))
        }
        var notes = [
            "pointers that the program gave to the kernel (epoll, timers, pipes), and shared memory, are not in a core "
                + "file"
        ]
        shortfalls += imageShortfalls(image, isGlibc: isGlibc, &notes)
        return Snapshot(
            processID: core.processID, threads: core.threads, mappings: core.mappings(), memory: core, blocks: table,
            kernelWords: [],
            scratch: image.scratchRanges(), imageInodes: [], isGlibc: isGlibc, allocator: image.allocator,
            shortfalls: shortfalls, notes: notes, pauseNanoseconds: 0, copiedBytes: 0, stop: nil, clone: 0,
            code: leaks_code(), hasUnbooked: unbooked(image) != nil)
    }
}
