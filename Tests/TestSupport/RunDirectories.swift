// What a heaprun that was killed leaves in /dev/shm is kept for its user. After a test it is nobody's.

import Glibc
import HeapImage

/// Removes the run directories whose images were to go below a directory.
func removeRunDirectories(for output: String) {
    for directory in names(in: "/dev/shm") where directory.hasPrefix("heapsum-") {
        let path = "/dev/shm/" + directory
        let images = names(in: path).filter { $0.hasSuffix(".heap") }
        let isOurs = images.contains { image in
            (try? HeapImage(path: "\(path)/\(image)").outputDirectory)?.hasPrefix(output + "/") == true
        }
        guard isOurs else { continue }
        for name in names(in: path) { unlink("\(path)/\(name)") }
        rmdir(path)
    }
}

/// A directory's entries; none if it can't be read.
package func names(in path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}
