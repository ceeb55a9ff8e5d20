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

    /// - Parameter thread: a living thread of the process.
    /// - Returns: nil with `errno` if its mappings can't be read.
    package init?(thread: pid_t) {
        guard let text = procFile("/proc/\(thread)/maps") else { return nil }
        memory = LiveMemory(pid: thread)
        mappings = parseMaps(text)
        let memory = memory
        libcData =
            mappings.first { $0.isFile && $0.fileOffset == 0 && GlibcState.isLibc($0.baseName) }.flatMap {
                LoadedModule(path: $0.path, base: $0.range.lowerBound, memory: memory)
            }?.data ?? []
    }

    /// glibc's main arena; nil if it is not found.
    package func mainArena() -> UInt64? {
        for range in libcData {
            if let found = GlibcState.findArena(range, memory) { return found.lowerBound }
        }
        return nil
    }
}
