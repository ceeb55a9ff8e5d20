// A dump from outside: packs the running image into the directory that the image names, under the next free number. A
// dump that fails leaves nothing behind.

import CHeapImage
import Glibc
import HeapImage
import Proc
import Symbols
import SystemPackage
import Text

/// A dump that was written.
package struct TakenDump {
    package var path: FilePath
    /// What is wrong with the files of the process's JIT compilers: which were not used, and why.
    package var notes: [String]
}

/// Writes a dump of a running process.
///
/// - Parameters:
///   - deadline: until when (monotonic nanoseconds) to wait for a process that is still starting.
///   - judge: makes the verdict to store in the dump, from the process's running image.
/// - Throws: exit status 2 with the reason.
package func takeDump(
    of pid: Int32, deadline: UInt64, judging judge: ((HeapImage) throws -> VerdictToStore)? = nil
) throws(LaunchError) -> TakenDump {
    let place = try findImage(of: pid, deadline: deadline)
    do {
        // The image was just found mapped by the process, so it runs. The header's PID may mean nothing in this
        // namespace.
        let image = try HeapImage(place.source(of: pid), presence: .running)
        let directory = dumpDirectory(of: image, pid: pid)
        let name =
            image.imageName.isEmpty
            ? ImageNames.image(program: image.program, processID: image.header.pid) : image.imageName
        // The program numbers its own dumps from the header's count.
        let first = Int(image.header.dumps)
        var options = residentOptions(pid, image, place)
        options.verdict = try judge?(image)
        if options.verdict != nil { try image.refresh() }
        let jit = JITNames(of: image, JITProcess(of: image, runningAs: pid))
        options.names = jit.frames?.stored
        let summary = try image.pack(into: directory.text, options: options) {
            ImageNames.dump(ofImage: name, number: first + $0)
        }
        return TakenDump(path: FilePath(text: summary.path), notes: jit.notes)
    } catch let error as LaunchError {
        throw error
    } catch let error as FileError {
        throw .notRecorded("\(pid): \(error.path): \(error.what): \(error.errno)")
    } catch {
        throw .notRecorded("\(pid): \(error)")
    }
}

// The current resident memory, for the copy. If it can't be measured, the copy has what heaprun wrote last, or nothing.
private func residentOptions(_ pid: pid_t, _ image: HeapImage, _ place: ImagePlace) -> PackOptions {
    var inode: UInt64?
    switch place {
    case .file(let path): inode = (try? path.status()).map { UInt64($0.st_ino) }
    case .memory(let start, _): inode = (try? mappings(of: pid))?.first { $0.start == start }?.inode
    }
    let now = monotonicNanoseconds()
    guard let inode, let found = measureResidence(of: pid, image: image, imageInode: inode) else {
        return PackOptions()
    }
    let started = image.header.started_monotonic_ns
    var options = PackOptions(
        rssBytes: found.programBytes, rssPeakBytes: max(found.programBytes, image.header.rss_peak_bytes))
    options.residence = found.recorded(atNanoseconds: now > started ? now - started : 0)
    return options
}

// In a container, the directory that the process names may be another one here, or may not exist. Then the process's
// own view of it is used, then the working directory.
private func dumpDirectory(of image: HeapImage, pid: Int32) -> FilePath {
    let named = image.outputDirectory
    guard named.hasPrefix("/") else { return FilePath.workingDirectory ?? "." }
    let own = FilePath(text: "/proc/\(livingThread(of: pid))/root" + named)
    if let here = try? FilePath(text: named).status(), let there = try? own.status() {
        if here.st_ino == there.st_ino && here.st_dev == there.st_dev { return FilePath(text: named) }
        return own
    }
    if (try? own.status()) != nil { return own }
    return FilePath.workingDirectory ?? "."
}
