// What several test targets need: places for files, and the images in them.

import Glibc

/// A directory of its own for one test, removed with all that is in it when the value is gone.
package final class TemporaryDirectory {
    package let path: String

    package init() throws {
        var template = Array("/tmp/heapsum-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw ImageBuilder.BuilderError.system("/tmp", errno) }
        path = template.withUnsafeBufferPointer { String(decoding: $0.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self) }
    }

    package func file(_ name: String) -> String { "\(path)/\(name)" }

    package var names: [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    deinit {
        for name in names { unlink(file(name)) }
        rmdir(path)
    }
}
