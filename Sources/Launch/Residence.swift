// Splits a process's resident memory by kind of mapping, from outside: malloc's, other anonymous memory, stacks, files,
// shared memory, and the image itself. The sum is the kernel's. Only the border between malloc and other anonymous
// memory is estimated here, because the kernel merges adjacent mappings with equal rights.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage

/// Resident bytes by kind of mapping.
struct Residence: Equatable {
    var allocatorBytes: UInt64 = 0
    var anonymousBytes: UInt64 = 0
    var stackBytes: UInt64 = 0
    var fileBytes: UInt64 = 0
    var sharedBytes: UInt64 = 0
    var imageBytes: UInt64 = 0
    /// In addition to all these.
    var swappedBytes: UInt64 = 0

    /// Everything but the image, which is heapsum's.
    var programBytes: UInt64 { allocatorBytes &+ anonymousBytes &+ stackBytes &+ fileBytes &+ sharedBytes }

    /// The form in the image's header.
    func recorded(atNanoseconds nanoseconds: UInt64) -> heap_residence {
        func kilobytes(_ bytes: UInt64) -> UInt32 { UInt32(clamping: bytes >> 10) }
        return heap_residence(
            measured_ns: max(nanoseconds, 1), allocator_kb: kilobytes(allocatorBytes),
            anonymous_kb: kilobytes(anonymousBytes),
            stacks_kb: kilobytes(stackBytes), files_kb: kilobytes(fileBytes), shared_kb: kilobytes(sharedBytes),
            image_kb: kilobytes(imageBytes), swapped_kb: kilobytes(swappedBytes), reserved: 0)
    }
}

/// Sorts a process's mappings.
///
/// - Parameters:
///   - extents: where its allocator is known to have memory.
///   - isGlibc: its allocator is glibc's, whose arenas can be found exactly.
///   - imageInode: of the image's file.
///   - stackPointers: of its threads, those that are known.
func residence(
    _ mappings: [ResidentMapping], extents: AllocatorExtents, isGlibc: Bool, imageInode: UInt64,
    stackPointers: [UInt64] = []
) -> Residence {
    var result = Residence()
    let stacks = threadStacks(mappings, stackPointers)
    let arenas = isGlibc ? glibcArenas(mappings, extents.small) : []
    // A block with its own mapping takes whole pages and follows a header of 16 bytes.
    let own = extents.large.map { block in
        let (end, overflow) = block.upperBound.addingReportingOverflow(4095)
        return (block.lowerBound & ~4095) ..< (overflow ? block.upperBound : end & ~4095)
    }
    let covered = merged(arenas + extents.small + own)
    var next = 0
    for (index, entry) in mappings.enumerated() {
        let resident = entry.residentBytes
        let path = entry.mapping.path
        result.swappedBytes &+= entry.swappedBytes
        if entry.mapping.isShared {
            let isImage =
                entry.mapping.inode == imageInode && (path.contains(".heap") || path.hasPrefix("/memfd:heapsum"))
            let isMemory =
                path.isEmpty || ["/dev/", "/memfd:", "/SYSV", "/anon_hugepage"].contains { path.hasPrefix($0) }
            if isImage {
                result.imageBytes &+= resident
            } else if isMemory {
                result.sharedBytes &+= resident
            } else {
                result.fileBytes &+= resident
            }
        } else if !entry.isAnonymous || path == "[vdso]" || path == "[vvar]" || path == "[vsyscall]" {
            result.fileBytes &+= resident
        } else if stacks.contains(index) {
            result.stackBytes &+= resident
        } else if path == "[heap]" || path.hasPrefix("[anon: glibc: malloc") {
            result.allocatorBytes &+= resident
        } else {
            let bounds = entry.mapping.start ..< entry.mapping.end
            while next < covered.count && covered[next].upperBound <= bounds.lowerBound { next += 1 }
            var known: UInt64 = 0
            var at = next
            while at < covered.count && covered[at].lowerBound < bounds.upperBound {
                let common = covered[at].clamped(to: bounds)
                known &+= common.upperBound - common.lowerBound
                at += 1
            }
            // Other allocators map whole spans, and keep their own records in them.
            let part = isGlibc ? min(known, resident) : known > 0 ? resident : 0
            result.allocatorBytes &+= part
            result.anonymousBytes &+= resident &- part
        }
    }
    return result
}

// glibc's arenas (but for the main one) are anonymous heaps of 64 MB at multiples of 64 MB: the part in use is
// readable, the rest reserved. Go's memory can look the same, but only glibc's arenas contain malloc's small blocks.
private func glibcArenas(_ mappings: [ResidentMapping], _ small: [Range<UInt64>]) -> [Range<UInt64>] {
    let size: UInt64 = 64 << 20
    var arenas: [Range<UInt64>] = []
    var index = 0
    for range in small {
        let start = range.lowerBound & ~(size - 1)
        let (end, overflow) = start.addingReportingOverflow(size)
        if overflow || arenas.last?.lowerBound == start { continue }
        while index < mappings.count && mappings[index].mapping.end <= start { index += 1 }
        var cursor = start
        var at = index
        while cursor < end, at < mappings.count, mappings[at].isAnonymous, mappings[at].mapping.start <= cursor,
            mappings[at].mapping.path.isEmpty
        {
            cursor = mappings[at].mapping.end
            at += 1
        }
        if cursor >= end { arenas.append(start ..< end) }
    }
    return arenas
}

// A thread's stack is a mapping that contains a stack pointer. A thread that is just running shows no stack pointer;
// its stack is a mapping after a guard page, whose size including the guard is that of another stack or the default
// size.
private func threadStacks(_ mappings: [ResidentMapping], _ stackPointers: [UInt64]) -> Set<Int> {
    var found: Set<Int> = []
    var sizes: Set<UInt64> = [8 << 20]
    let pointers = stackPointers.sorted()
    var next = 0
    func size(_ index: Int) -> UInt64? {
        let entry = mappings[index]
        guard index > 0, entry.isAnonymous, !entry.isReserved, entry.mapping.path.isEmpty else { return nil }
        let guardArea = mappings[index - 1]
        guard guardArea.isReserved, guardArea.mapping.end == entry.mapping.start else { return nil }
        let length = guardArea.mapping.end - guardArea.mapping.start
        return length <= 1 << 20 ? entry.mapping.end - entry.mapping.start + length : nil
    }
    for (index, entry) in mappings.enumerated() {
        if entry.mapping.path.hasPrefix("[stack") || entry.mapping.path.hasPrefix("[anon: glibc: pthread stack") {
            found.insert(index)
        }
        while next < pointers.count && pointers[next] < entry.mapping.start { next += 1 }
        // Only after a guard page: a coroutine's stack may be in the heap, and belongs to the heap then.
        if next < pointers.count, pointers[next] < entry.mapping.end, let size = size(index) {
            found.insert(index)
            sizes.insert(size)
        }
    }
    for index in mappings.indices { if let size = size(index), sizes.contains(size) { found.insert(index) } }
    return found
}

private func merged(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
    var result: [Range<UInt64>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
        if let last = result.last, range.lowerBound <= last.upperBound {
            result[result.count - 1] = last.lowerBound ..< max(last.upperBound, range.upperBound)
        } else {
            result.append(range)
        }
    }
    return result
}

/// The stack pointers of a process's threads that wait in the kernel (/proc/PID/task/TID/syscall); running threads show
/// none, and without the right to trace the process none is available.
private func stackPointers(of pid: pid_t) -> [UInt64] {
    let tasks = (try? namesInDirectory(FilePath("/proc/\(pid)/task"))) ?? []
    // Each costs two system calls; thousands of threads usually have stacks of one size.
    return tasks.prefix(256).compactMap { task in
        guard let text = try? readBytes(FilePath("/proc/\(pid)/task/\(task.text)/syscall"), limit: 512) else {
            return nil
        }
        let words = text.split(whereSeparator: { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") })
        guard words.count >= 3 else { return nil }
        return UInt64(String(decoding: words[words.count - 2].dropFirst(2), as: UTF8.self), radix: 16)
    }
}

/// Measures the running process that the image belongs to; nil if it can't be read or is gone.
func measureResidence(of pid: pid_t, image: HeapImage, imageInode: UInt64) -> Residence? {
    let extents = image.allocatorExtents()
    let pointers = stackPointers(of: pid)
    guard let mappings = try? residentMappings(of: pid), !mappings.isEmpty else { return nil }
    let allocator = ImageNames.baseName(image.allocator)
    let isGlibc = allocator.hasPrefix("libc.so.") || allocator.hasPrefix("libc-2")
    return residence(mappings, extents: extents, isGlibc: isGlibc, imageInode: imageInode, stackPointers: pointers)
}
