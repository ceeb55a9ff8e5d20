// Which images are still written, and by which processes. An image belongs to a process as long as the process has it
// mapped, whatever the process's PID is in its own namespace. The PIDs here are those of heaprun's namespace, which the
// user can use.
//
// A process whose mappings can't be read (another user's, or one that may not be traced) is identified by the image's
// header: its PID and start time. It must never count as gone while it exists.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// The images that living processes hold.
struct LivingImages {
    /// The process that has each `.heap` file mapped.
    private var mapped: [MappedFile: pid_t] = [:]
    /// The processes that have a `.heap` file with this inode mapped, on any file system.
    private var byInode: [UInt64: Set<pid_t>] = [:]
    /// Processes whose mappings can't be read.
    private var closed: Set<pid_t> = []

    /// Looks at all processes that started at `since` or later.
    ///
    /// - Complexity: reads one file of each process, and the maps of those that started since.
    init(since startTime: UInt64) {
        for pid in processes() where pid != getpid() {
            guard let status = ProcessStat.of(pid), status.startTime >= startTime,
                Presence.livingThread(of: UInt32(bitPattern: pid)) != nil
            else { continue }
            do throws(Errno) {
                for mapping in try mappings(of: pid) where mapping.isShared && mapping.path.hasSuffix(".heap") {
                    if mapped[MappedFile(mapping)] == nil { mapped[MappedFile(mapping)] = pid }
                    byInode[mapping.inode, default: []].insert(pid)
                }
            } catch {
                if error == .permissionDenied || error == .notPermitted { closed.insert(pid) }
            }
        }
    }

    /// The process that has an image mapped; nil if none has.
    func holder(_ file: MappedFile, header: heap_header) -> pid_t? {
        if let pid = mapped[file] { return pid }
        // On an overlay file system the mapping's device differs from the file's, and some processes' mappings can't be
        // read. In these cases the process is identified by its PID in any namespace, and by its start time.
        let candidates = closed.union(byInode[file.inode] ?? [])
        guard !candidates.isEmpty else { return nil }
        let bootID = withUnsafeBytes(of: header.boot_id) { Array($0) }
        let found = Presence.find(processID: header.pid, startTime: header.start_time, bootID: bootID).map {
            pid_t(bitPattern: $0)
        }
        return found.flatMap { candidates.contains($0) ? $0 : nil }
    }
}

/// Looks again for up to a second, as long as images are held: helper programs often end just after the program that
/// started them.
func livingImages(since startTime: UInt64, waitingFor held: (LivingImages) -> Bool) -> LivingImages {
    let began = monotonicNanoseconds()
    while true {
        let living = LivingImages(since: startTime)
        guard held(living), monotonicNanoseconds() - began < 1_000_000_000 else { return living }
        var pause = timespec(tv_sec: 0, tv_nsec: 20_000_000)
        nanosleep(&pause, nil)
    }
}
