// Which process's code is asked for, and where its JIT compilers may have left their files. A file counts only if it
// can be this process's: a PID is used again, /tmp is everybody's, and an image may be read on another machine.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// A recorded process, for finding what its JIT compilers wrote.
package struct JITProcess: Sendable {
    /// Its PID as it sees itself, which its files have in their names.
    package var processID: UInt32
    /// Its PID here, while it runs.
    package var runningAs: pid_t?
    /// Since when it can have written, in nanoseconds since 1970. Its files are not older.
    var sinceNanoseconds: UInt64 = 0
    /// Until when it can have written; nil: it runs, or nothing is known.
    var untilNanoseconds: UInt64?
    /// The users that it was while it ran, as far as somebody looked.
    package var users: Set<UInt32> = []
    /// When it ran, by CLOCK_MONOTONIC, as far as that is known.
    var lifetime: ClosedRange<UInt64>?
    /// It ran since this machine's last start, or nobody knows.
    var isOfThisBoot = true
    /// Where it had /tmp, if that can be reached in another way: a directory.
    package var temporary: String?
    /// jitdump files that it had mapped, kept open: descriptors, and names for messages. The caller keeps them.
    package var held: [(descriptor: CInt, name: String)] = []

    /// A process of which nothing but its PID is known.
    package init(processID: UInt32) { self.processID = processID }

    /// The process of an image.
    ///
    /// - Parameters:
    ///   - runningAs: its PID here, if it runs.
    ///   - ended: when it ended, by CLOCK_MONOTONIC, if the caller knows more than the image.
    ///   - replaced: when the recording of the program began that took its place by exec, in nanoseconds since 1970, if
    ///     the caller knows it. An image's state may say that one did, but not when.
    /// - Complexity: reads the image's events, unless it says when it ended.
    package init(of image: HeapImage, runningAs: pid_t? = nil, ended: UInt64? = nil, replaced: UInt64? = nil) {
        let header = image.header, isReplaced = replaced != nil || image.state == .exec
        processID = header.pid
        self.runningAs = runningAs
        let boot = image.bootID
        isOfThisBoot = boot.allSatisfy { $0 == 0 } || Presence.currentBootID().map { $0 == boot } ?? true
        // A recording that was attached may begin long after the compilers.
        let isWhole = header.flags & HEAP_FLAG_ATTACHED.rawValue == 0
        let start = header.started_monotonic_ns, began = header.started_realtime_ns
        if isWhole {
            // A file seems older than it is, because the kernel's clock for files is read at its ticks. That is no
            // reason to go back: a program that was here before this one by exec may have written just then.
            sinceNanoseconds = began
        } else if isOfThisBoot {
            sinceNanoseconds = min(began, Self.realtime(ofTicks: header.start_time))
            sinceNanoseconds -= min(sinceNanoseconds, Self.fileClockNanoseconds)
        }
        var end = UInt64.max
        if let ended {
            end = ended
        } else if runningAs != nil {
            end = clockNanoseconds(CLOCK_MONOTONIC)
        } else {
            end = start &+ (image.kind == .running ? Self.lastEvent(of: image) : header.ended_ns)
        }
        if isReplaced {
            // The next program has its PID, and may have written the file anew.
            untilNanoseconds = replaced.map { $0 - min($0, 1) } ?? began &+ Self.lastEvent(of: image)
        } else if runningAs == nil {
            untilNanoseconds = began &+ (end &- start) &+ Self.slackNanoseconds
        }
        let first = isWhole ? start - min(start, Self.slackNanoseconds) : 0
        let last = end.addingReportingOverflow(Self.slackNanoseconds)
        if first <= end { lifetime = first ... (last.overflow ? .max : last.partialValue) }
    }

    private static func lastEvent(of image: HeapImage) -> UInt64 { (try? image.census().lastEventNanoseconds) ?? 0 }

    // The moment of a process's start, as /proc/PID/stat has it.
    private static func realtime(ofTicks ticks: UInt64) -> UInt64 {
        let (boot, second) = (clockNanoseconds(CLOCK_BOOTTIME), UInt64(1_000_000_000))
        let uptime = ticks / UInt64(sysconf(CInt(_SC_CLK_TCK))) &* second
        return clockNanoseconds(CLOCK_REALTIME) &- (boot &- min(boot, uptime))
    }

    /// Clocks are read one after the other, and a compiler may be there before the first allocation is recorded.
    private static let slackNanoseconds: UInt64 = 10_000_000_000
    /// A tick of the kernel's clock for files, and one of a process's start.
    private static let fileClockNanoseconds: UInt64 = 20_000_000
}

extension JITProcess {
    /// The map's places, the likeliest first.
    func mapPaths(sysroot: String) -> [String] {
        let name = "perf-\(processID).map"
        if !sysroot.isEmpty { return ["\(sysroot)/tmp/\(name)"] }
        if let runningAs { return ["/proc/\(livingThread(of: runningAs))/root/tmp/\(name)"] }
        if let temporary { return ["\(temporary)/\(name)"] }
        return isOfThisBoot ? ["/tmp/\(name)"] : []
    }

    /// Where runtimes put their jitdump files if nothing else is said: the working directory (V8), /tmp (CPython, .NET,
    /// Mono), and a directory for each run in ~/.debug/jit (perf's agent for Java, LLVM).
    func dumpPaths(sysroot: String) -> [String] {
        let name = "jit-\(processID).dump"
        if !sysroot.isEmpty { return ["\(sysroot)/tmp/\(name)"] }
        guard isOfThisBoot else { return [] }
        if let runningAs {
            let place = "/proc/\(livingThread(of: runningAs))"
            return ["\(place)/cwd/\(name)", "\(place)/root/tmp/\(name)"]
        }
        if let temporary { return ["\(temporary)/\(name)"] }
        var paths = [name, "/tmp/\(name)"]
        for base in [environmentText("JITDUMPDIR"), environmentText("HOME")].compactMap({ $0 }) where !base.isEmpty {
            let directory = FilePath(text: base + "/.debug/jit")
            for run in ((try? namesInDirectory(directory)) ?? []).prefix(Self.mostDirectories) {
                paths.append("\(directory.text)/\(run.text)/\(name)")
            }
        }
        return paths
    }

    private static let mostDirectories = 4096

    /// Opens a file that the process may have written; nil if there is none.
    ///
    /// - Throws: `.unsupported` for a file that is another process's, or that others may have written.
    func open(_ path: String) throws(SymbolsError) -> FileReader? {
        // A FIFO would wait for a writer, and a link may lead anywhere.
        let file = path.withPath { Glibc.open($0, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) }
        if file < 0 {
            if errno == ELOOP { throw notOwn(path) }
            if errno == ENOENT || errno == ENOTDIR || errno == ESRCH { return nil }
            throw SymbolsError(file: path, reason: .cannotOpen(Errno(rawValue: errno)))
        }
        return try check(file, name: path)
    }

    /// The same of a file that is open. Takes the descriptor over.
    func check(_ file: CInt, name: String) throws(SymbolsError) -> FileReader {
        var status = stat()
        var problem: SymbolsError?
        if !readStatus(file, &status) || status.st_mode & S_IFMT != S_IFREG || !isOwner(status.st_uid) {
            problem = notOwn(name)
        } else if written(status) < sinceNanoseconds {
            problem = SymbolsError(file: name, reason: .unsupported("not used: it is older than the process"))
        } else if let untilNanoseconds, written(status) > untilNanoseconds {
            problem = SymbolsError(
                file: name,
                reason: .unsupported(
                    "not used: it is newer than what is known of the process, and may be another one's"))
        }
        if let problem {
            close(file)
            throw problem
        }
        return FileReader(takingOver: file, status, name: name)
    }

    private func written(_ status: stat) -> UInt64 {
        UInt64(max(0, status.st_mtim.tv_sec)) &* 1_000_000_000 &+ UInt64(max(0, status.st_mtim.tv_nsec))
    }

    // /tmp is everybody's: root must not read there what any user wrote.
    private func isOwner(_ user: uid_t) -> Bool {
        if user == 0 || user == geteuid() { return true }
        guard geteuid() == 0 else { return false }
        return users.contains(user) || runningAs.map { usersOf($0).contains(user) } ?? false
    }

    private func notOwn(_ path: String) -> SymbolsError {
        SymbolsError(file: path, reason: .unsupported("not used: it is not a file of this user's"))
    }
}

/// The users that a running process is: real, effective, saved, and for files.
package func usersOf(_ pid: pid_t) -> Set<UInt32> {
    Set((statusWords("Uid:", of: pid) ?? []).compactMap { UInt32(String(decoding: $0, as: UTF8.self)) })
}

/// A mapped jitdump file: perf finds the file because the program maps it executable.
package func jitDumpMappings(_ mappings: [Mapping]) -> [Mapping] {
    mappings.filter { mapping in
        guard mapping.inode != 0, let name = mapping.path.split(separator: "/").last else { return false }
        var stem = name[...]
        if stem.hasSuffix(" (deleted)") { stem.removeLast(10) }
        return stem.hasPrefix("jit-") && stem.hasSuffix(".dump") && stem.utf8.count > 9
            && stem.dropFirst(4).dropLast(5).utf8.allSatisfy { (0x30 ... 0x39).contains($0) }
    }
}

/// Opens a mapped jitdump file of a process that runs, and nothing else that has its path; nil if it can't be reached.
package func openJITDump(_ mapping: Mapping, of pid: pid_t) -> CInt? {
    var path = mapping.path[...]
    if path.hasSuffix(" (deleted)") { path.removeLast(10) }
    let place = "/proc/\(livingThread(of: pid))"
    let range = "\(hexadecimalDigits(mapping.start))-\(hexadecimalDigits(mapping.end))"
    for name in ["\(place)/root\(path)", "\(place)/map_files/\(range)"] {
        let file = name.withPath { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard file >= 0 else { continue }
        var status = stat()
        if fstat(file, &status) == 0, UInt64(status.st_ino) == mapping.inode { return file }
        close(file)
    }
    return nil
}
