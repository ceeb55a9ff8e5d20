// Images that this recording's programs made elsewhere than in the run directory: a worker that gave up its user can't
// write into that one any more, and falls back to the output directory or to /dev/shm. They are named, and left as they
// are: what lies in a directory that others write to is not packed or removed on its header's word.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage

/// An image outside of the run directory.
struct StrayImage {
    var program: String
    var pid: UInt32
    var path: FilePath
    var mapped: MappedFile
    var header: heap_header
}

/// The running images in the places that the library falls back to, of processes no older than this recording, whose
/// dumps go where this recording's go.
///
/// - Parameter startTime: heaprun's own.
func strayImages(output: FilePath, besides runDirectory: FilePath, since startTime: UInt64) -> [StrayImage] {
    var strays: [StrayImage] = []
    for directory in [output, FilePath("/dev/shm")] where directory != runDirectory {
        for name in ((try? namesInDirectory(directory)) ?? []).sorted(by: { $0.text < $1.text })
        where name.extension == "heap" {
            let path = directory.appending(name)
            guard let file = try? openToRead(path, [.noFollow, .nonBlocking]) else { continue }
            defer { try? file.close() }
            var status = stat()
            guard fstat(file.rawValue, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
                let header = imageHeader(file),
                header.kind == HEAP_KIND_RUNNING.rawValue, header.start_time >= startTime,
                let image = try? HeapImage(path: path.text), image.outputDirectory == output.text
            else { continue }
            strays.append(
                StrayImage(
                    program: image.programName, pid: header.pid, path: path, mapped: MappedFile(status), header: header)
            )
        }
    }
    return strays
}
