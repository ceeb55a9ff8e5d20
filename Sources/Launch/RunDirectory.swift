// The directory for one heaprun's running images: private, on tmpfs if there is room, else in the output directory.
// Each allocation writes at random places of the image; on a disk that means gigabytes of writeback, and stalls of
// milliseconds beside a writer that syncs. The directory is made before the program starts and removed when it is
// empty, never with an image in it.

import CLaunch
import Glibc
import Proc
import SystemPackage

/// A private directory (0700) for running images.
package struct RunDirectory {
    package let path: FilePath
    package let isInMemory: Bool
    /// Why it is not on tmpfs; nil if it is.
    package let note: String?

    /// A tmpfs with less free space than this is not used. The image of a program with a million live blocks takes
    /// about 100 MB. A container's /dev/shm has 64 MB by default, which a busy program would fill, and losses would
    /// begin just when it gets interesting.
    package static let leastMemoryBytes: UInt64 = 256 << 20

    /// Makes the directory.
    /// - Throws: 125 if neither place can be written.
    package init(
        output: FilePath, memory: FilePath = "/dev/shm", leastBytes: UInt64 = leastMemoryBytes
    ) throws(LaunchError) {
        var fileSystem = launch_file_system()
        var note: String
        if memory.withPlatformString({ launch_file_system_of($0, &fileSystem) }) != 0 {
            note = "\(memory.text): \(errnoText(errno))"
        } else if fileSystem.is_tmpfs == 0 {
            note = "\(memory.text) is not a tmpfs"
        } else if fileSystem.available_bytes < leastBytes {
            note = "\(memory.text) has only \(fileSystem.available_bytes >> 20) MB free"
        } else {
            do {
                path = try makePrivateDirectory(in: memory, prefix: "heapsum-\(getuid())-")
                isInMemory = true
                self.note = nil
                return
            } catch { note = "\(memory.text): \(error.description)" }
        }
        do { path = try makePrivateDirectory(in: output, prefix: ".heapsum-\(getuid())-") } catch {
            throw .own("no place for the running image: \(output.text): \(error.description); \(note)")
        }
        isInMemory = false
        self.note = note
    }

    /// Removes the directory if it is empty. Returns whether it is gone.
    @discardableResult
    package func removeIfEmpty() -> Bool { path.withPlatformString { rmdir($0) } == 0 }
}

private func makePrivateDirectory(in parent: FilePath, prefix: String) throws(Errno) -> FilePath {
    // mkdtemp makes it 0700, whatever the umask is.
    var template = parent.appending(prefix + "XXXXXX").withPlatformString {
        Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
    }
    guard let made = template.withUnsafeMutableBufferPointer({ $0.baseAddress.flatMap { mkdtemp($0) } }) else {
        throw Errno(rawValue: errno)
    }
    return FilePath(platformString: made)
}

/// Makes the output directory if it is missing, with its parents, and checks that files can be made in it.
///
/// - Returns: its absolute path.
/// - Throws: 125 with the reason.
package func prepareOutput(_ directory: FilePath) throws(LaunchError) -> FilePath {
    let path = directory.absolute
    do { try makeDirectories(path) } catch {
        throw .own("can't make the output directory \(error.path.text): \(error.errno)")
    }
    guard let status = try? path.status(), status.st_mode & S_IFMT == S_IFDIR else {
        throw .own("\(path.text) is not a directory")
    }
    guard path.isAccessible(W_OK | X_OK) else {
        throw .own("can't write into \(path.text): \(errnoText(errno)); name another directory by -o DIR")
    }
    return path
}

/// Checks that the library can write its messages to the file that the user named. Nothing is created: without messages
/// there is no file.
///
/// - Throws: 125.
func checkMessages(_ file: FilePath) throws(LaunchError) {
    func refuse(_ reason: String) -> LaunchError { .own("can't write messages to \(file.text): \(reason)") }
    var status = stat()
    if file.withPlatformString({ lstat($0, &status) }) == 0 {
        switch status.st_mode & S_IFMT {
        case S_IFDIR: throw refuse(errnoText(EISDIR))
        // The library refuses it, too, because it writes in other people's processes.
        case S_IFLNK: throw refuse("it is a symbolic link, and those are not followed")
        default: if !file.isAccessible(W_OK) { throw refuse(errnoText(errno)) }
        }
    } else if errno != ENOENT || !file.removingLastComponent().isAccessible(W_OK | X_OK) {
        throw refuse(errnoText(errno))
    }
}

extension RunDirectory {
    /// The file for the library's messages, which heaprun prints at the end.
    package var messages: FilePath { path.appending("messages") }

    /// How many images are in it now.
    var imageCount: Int { ((try? namesInDirectory(path)) ?? []).count { $0.extension == "heap" } }
}
