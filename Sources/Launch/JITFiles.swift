// Finds what JIT compilers write about their code while programs run: the jitdump files that they have mapped, and the
// /tmp of programs that have another one. Both are kept open, because at the program's end nobody may find them any
// more. What lies at its usual place is found at the end as well.

import CHeapImage
import Glibc
import HeapImage
import Proc
import Symbols
import SystemPackage
import Text

struct JITFiles {
    private struct Process: Hashable { var id: UInt32, startTime: UInt64 }
    private struct Held { var process: Process, descriptor: CInt, inode: UInt64, name: String }
    private var held: [Held] = []
    private var users: [Process: Set<UInt32>] = [:]
    private let runDirectory: FilePath
    private var due: UInt64 = 0
    private var pause: UInt64 = Self.firstPause

    /// Compilers map their file when they begin, so later looks are rarer, until there is another process.
    private static let firstPause: UInt64 = 250_000_000, longestPause: UInt64 = 60_000_000_000
    private static let most = 64, mostProcesses = 64, mostRemembered = 4096

    init(runDirectory: FilePath) { self.runDirectory = runDirectory }

    /// Looks once, if it is time.
    ///
    /// - Parameters:
    ///   - first: the program's PID here.
    ///   - sandboxed: those of programs whose image lies elsewhere.
    /// - Complexity: reads the mappings of up to 64 processes; takes a fiftieth of the time at most.
    mutating func look(now: UInt64, first: pid_t, sandboxed: [pid_t]) {
        guard now >= due else { return }
        let began = monotonicNanoseconds(), before = users.count
        var processes = [first] + sandboxed.prefix(Self.mostProcesses)
        for name in (try? namesInDirectory(runDirectory)) ?? [] where name.extension == "heap" {
            guard processes.count < Self.mostProcesses else { break }
            guard let file = try? openToRead(runDirectory.appending(name), [.noFollow, .nonBlocking]) else { continue }
            defer { try? file.close() }
            if let header = imageHeader(file),
                ProcessStat.of(pid_t(bitPattern: header.pid))?.startTime == header.start_time
            {
                processes.append(pid_t(bitPattern: header.pid))
            }
        }
        for pid in Set(processes) { take(from: pid) }
        pause = users.count > before ? Self.firstPause : min(pause * 2, Self.longestPause)
        let ended = monotonicNanoseconds()
        due = ended &+ max(pause, (ended &- began) &* 50)
    }

    private mutating func take(from pid: pid_t) {
        guard let status = ProcessStat.of(pid) else { return }
        let process = Process(id: innermostPID(of: pid) ?? UInt32(bitPattern: pid), startTime: status.startTime)
        if users[process] != nil || users.count < Self.mostRemembered {
            users[process, default: []].formUnion(usersOf(pid))
        }
        guard held.count < Self.most, let maps = try? mappings(of: pid) else { return }
        let found = jitDumpMappings(maps)
        guard !found.isEmpty else { return }
        for mapping in found where held.count < Self.most {
            if held.contains(where: { $0.process == process && $0.inode == mapping.inode }) { continue }
            guard let file = openJITDump(mapping, of: pid) else { continue }
            held.append(Held(process: process, descriptor: file, inode: mapping.inode, name: mapping.path))
        }
    }

    /// What is known of the process of an image that has ended.
    ///
    /// - Parameters:
    ///   - temporary: its /tmp, if it had another one.
    ///   - ended: when it ended, by CLOCK_MONOTONIC, if that is known.
    ///   - replaced: when the recording of the program began that took its place by exec, in nanoseconds since 1970.
    func process(
        of image: HeapImage, temporary: FileDescriptor?, ended: UInt64?, replaced: UInt64?
    ) -> JITProcess {
        var process = JITProcess(of: image, ended: ended, replaced: replaced)
        process.temporary = temporary.map { "/proc/self/fd/\($0.rawValue)" }
        let own = Process(id: image.header.pid, startTime: image.header.start_time)
        process.users = users[own] ?? []
        process.held = held.filter { $0.process == own }.map { ($0.descriptor, $0.name) }
        return process
    }

    /// Closes the descriptors.
    mutating func close() {
        for file in held { Glibc.close(file.descriptor) }
        held = []
    }
}

/// The names of the code that a process's JIT compilers made, to store with its image.
package struct JITNames {
    /// nil if the process has no such code, or wrote no file about it that can be used.
    package var frames: JITFrames?
    /// What is wrong with the files that the names are from, and which files were not used, and why. Empty if the image
    /// has no frames that they could name.
    package var notes: [String] = []

    package init(of image: HeapImage, _ process: JITProcess) {
        guard JITFrames.exist(in: image) else { return }
        let (code, notes) = JITCode.read(of: process)
        let found = code.flatMap { try? JITFrames(image, $0) }
        frames = found.flatMap { $0.stored.isEmpty ? nil : $0 }
        self.notes = notes.map { "\($0)" }
    }
}
