// Images of recordings that heaprun began in running programs, and whose programs have ended: they lie in their run
// directory until somebody packs them.
//
// A run directory belongs to one recording. A heaprun that waits for the program holds the directory by a lock, which
// the kernel takes from it at its end: so of two heapruns only one packs the images.

import CHeapImage
import Glibc
import HeapImage
import Launch
import Proc
import SystemPackage
import Text

/// The lock on a run directory, held while this value lives.
final class RunDirectoryLock {
    private let descriptor: CInt

    /// nil: another heaprun has it, or the directory can't be opened.
    init?(_ directory: FilePath) {
        descriptor = directory.withPlatformString { open($0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) }
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            if descriptor >= 0 { close(descriptor) }
            return nil
        }
    }

    deinit { close(descriptor) }
}

/// The images of a process that has ended. Another heaprun may have changed its rate meanwhile: then there is another
/// one in the directory.
func imagesLeft(_ known: ImagePlace?, in directory: FilePath?) -> [ImagePlace] {
    var paths: [FilePath] = []
    if case .file(let path) = known { paths.append(path) }
    if let directory {
        for path in imagesIn(directory) where !paths.contains(path) { paths.append(path) }
    }
    return paths.filter { $0.isAccessible(R_OK) }.map { .file($0) }
}

private func imagesIn(_ directory: FilePath) -> [FilePath] {
    ((try? namesInDirectory(directory)) ?? []).filter { $0.extension == "heap" }.map { directory.appending($0) }
}

/// Packs the images of a program that ended while a recording was begun in it.
///
/// - Returns: whether there were any.
func leaveIfEnded(
    _ pid: pid_t, _ startTime: UInt64, in directory: FilePath?, _ request: AttachRequest
) throws(LaunchError) -> Bool {
    guard let directory, !imagesIn(directory).isEmpty, hasEnded(pid, startTime, within: 2_000_000_000) else {
        return false
    }
    if !request.isQuiet { say("heaprun: the program (PID \(pid)) recorded, and has ended") }
    for image in imagesLeft(nil, in: directory) { try leave(image, pid, request, isGone: true) }
    return true
}

/// Packs the images that a program left when it ended by itself, and that no heaprun waited for.
///
/// - Returns: whether there were any.
/// - Throws: 125 if another heaprun waits for that program.
func leaveOfEnded(_ request: AttachRequest) throws(LaunchError) -> Bool {
    let pid = request.pid
    var isFound = false
    for directory in runDirectories(beside: request.output ?? ".") {
        guard imagesIn(directory.path).contains(where: { isAttached($0, by: pid) && isOfEnded($0) }) else { continue }
        guard let lock = RunDirectoryLock(directory.path) else {
            throw .own("\(pid): it has ended, and another heaprun, which waited for that, is leaving its image")
        }
        let images = imagesIn(directory.path).filter(isOfEnded)
        if images.isEmpty { continue }
        if !isFound && !request.isQuiet { say("heaprun: the program (PID \(pid)) had ended already") }
        isFound = true
        var own = request
        // Another user's image must not say where this user writes.
        if directory.owner != geteuid() { own.output = request.output ?? "." }
        for image in images { try leave(.file(image), pid, own, isGone: true) }
        withExtendedLifetime(lock) {}
    }
    return isFound
}

/// The run directories of this user's heapruns, and for root those of all users.
private func runDirectories(beside output: FilePath) -> [(path: FilePath, owner: uid_t)] {
    var found: [(FilePath, uid_t)] = []
    for (parent, prefix) in [(FilePath("/dev/shm"), "heapsum-"), (output, ".heapsum-")] {
        for name in (try? namesInDirectory(parent)) ?? [] where name.text.hasPrefix(prefix) {
            let path = parent.appending(name)
            var status = stat()
            guard path.withPlatformString({ lstat($0, &status) }) == 0, status.st_mode & S_IFMT == S_IFDIR,
                status.st_uid == geteuid() || geteuid() == 0
            else { continue }
            found.append((path, status.st_uid))
        }
    }
    return found
}

/// Whether a file is a running image whose program has ended.
private func isOfEnded(_ path: FilePath) -> Bool {
    var status = stat()
    guard path.withPlatformString({ lstat($0, &status) }) == 0, status.st_mode & S_IFMT == S_IFREG,
        let image = try? HeapImage(path: path.text)
    else { return false }
    return image.kind == .running && image.presence == .gone
}

/// Whether an image is of a recording that began in this process while it ran. Reads the header alone: there may be
/// many images.
private func isAttached(_ path: FilePath, by pid: pid_t) -> Bool {
    guard let bytes = try? readBytes(path, limit: MemoryLayout<heap_header>.size), let header = heap_header(bytes)
    else { return false }
    return header.pid == UInt32(bitPattern: pid) && header.flags & HEAP_FLAG_ATTACHED.rawValue != 0
}
