// Images that this recording's programs created outside of the run directory: a worker that changed its user can't
// write there any more, and falls back to the output directory or /dev/shm. They are reported and left alone: in a
// directory that others can write to, a header is no proof, so nothing is packed or removed.

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

/// The running images in the library's fallback places that belong to processes not older than this recording and have
/// the same directory for dumps.
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
