// A process that runs on while it is read: its memory, mappings, and libc's data. For those who look at malloc's own
// records, where a change meanwhile is noticed and does no harm.

import Glibc
import Proc

/// A running process, not stopped.
package final class RunningProgram {
    package let memory: any ProcessMemory
    package let mappings: [AddressMapping]
    /// The writable data of glibc's libc; none if the process has another one.
    package let libcData: [Range<UInt64>]
    let libc: LoadedModule?

    /// - Parameter thread: a living thread of the process.
    /// - Returns: nil with `errno` if its mappings can't be read.
    package init?(thread: pid_t) {
        guard let text = procFile("/proc/\(thread)/maps") else { return nil }
        mappings = parseMaps(text)
        memory = RunningMemory(pid: thread, mappings: mappings)
        let memory = memory
        libc =
            mappings.first { $0.isFile && $0.fileOffset == 0 && GlibcState.isLibc($0.baseName) }.flatMap {
                LoadedModule(path: $0.path, base: $0.range.lowerBound, memory: memory)
            }
        libcData = libc?.data ?? []
    }

    /// The descriptors of glibc's threads but the main one: each lies at the end of its thread's stack. None if the
    /// threads' list can't be read.
    ///
    /// - Complexity: a few readings for each thread.
    package func stackDescriptors(besides main: pid_t) -> [UInt64] {
        guard let libc else { return [] }
        let glibc = GlibcState(libc, memory)
        guard glibc.threadIDOffset > 0 else { return [] }
        return glibc.threads.filter { descriptor in
            memory.bytes(descriptor &+ glibc.threadIDOffset, count: 4).map { bytes in
                bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } != UInt64(UInt32(bitPattern: main))
            } ?? false
        }
    }

    /// Where the variables of a module end, on a whole page: of the one whose file's mapping ends at `address`. The
    /// kernel joins memory that is mapped behind them with their last part, .bss. Nil if no module's file ends there.
    package func variablesEnd(behind address: UInt64) -> UInt64? {
        guard let last = mappings.firstIndex(where: { $0.range.upperBound == address && $0.isFile }),
            let first = mappings[...last].last(where: { $0.inode == mappings[last].inode && $0.fileOffset == 0 }),
            let module = LoadedModule(path: first.path, base: first.range.lowerBound, memory: memory)
        else { return nil }
        return module.data.first { $0.contains(address - 1) }?.upperBound
    }

    /// glibc's main arena; nil if it is not found.
    package func mainArena() -> UInt64? {
        for range in libcData {
            if let found = GlibcState.findArena(range, memory) { return found.lowerBound }
        }
        return nil
    }
}
