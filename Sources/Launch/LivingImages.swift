// Which images are still written, and by whom, when heaprun asks. An image is its process's as long as the process has
// it mapped, whatever its PID is called in a namespace of its own; the PIDs here are those of heaprun's namespace,
// which a person can use.
//
// A process whose mappings can't be read (another user's, or one that may not be traced) is known by its image's
// header: its PID and the time at which it started. It must never be taken for gone as long as it is there.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// The images that living processes hold.
struct LivingImages {
    /// The process that has a `.heap` file mapped.
    private var mapped: [MappedFile: pid_t] = [:]
    /// The processes that have one of this inode mapped, on whichever file system.
    private var byInode: [UInt64: Set<pid_t>] = [:]
    /// Processes whose mappings can't be read.
    private var closed: Set<pid_t> = []

    /// Asks all processes that started no earlier than `since`.
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

    /// The process that holds an image; nil where none does.
    func holder(_ file: MappedFile, header: heap_header) -> pid_t? {
        if let pid = mapped[file] { return pid }
        // On a file system over others the mapping's device is another than the file's; and some processes' mappings
        // can't be read. There the process is known by its PID, in whichever namespace, and by its start.
        let candidates = closed.union(byInode[file.inode] ?? [])
        guard !candidates.isEmpty else { return nil }
        let bootID = withUnsafeBytes(of: header.boot_id) { Array($0) }
        let found = Presence.find(processID: header.pid, startTime: header.start_time, bootID: bootID).map {
            pid_t(bitPattern: $0)
        }
        return found.flatMap { candidates.contains($0) ? $0 : nil }
    }
}

/// Asks again and again for up to a second, as long as images are held: helpers often end just after the program that
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
