// A running image without its holes: the same header and the same sections, each cut off where the
// recorder had made memory ready. A reader sees what it would see in the sparse file of gigabytes; a test
// can hold it in memory and damage it.

import CHeapImage
import Glibc

/// The bytes of the image at `path`, its sections end to end.
package func compactImage(_ path: String) throws -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
    defer { close(file) }
    func read(_ count: Int, at offset: UInt64) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = bytes.withUnsafeMutableBytes { pread(file, $0.baseAddress, count, off_t(offset)) }
        guard got == count else { throw Failure("\(path): \(got) of \(count) bytes at \(offset)") }
        return bytes
    }
    let size = MemoryLayout<heap_header>.size
    var header = try read(size, at: 0).withUnsafeBytes { $0.loadUnaligned(as: heap_header.self) }
    var bytes = [UInt8](repeating: 0, count: (size + 7) / 8 * 8)
    var sections = withUnsafeBytes(of: header.sections) { Array($0.bindMemory(to: heap_section.self)) }
    for index in sections.indices {
        // What only the recorder reads stays behind.
        let entry = UInt64(max(sections[index].entry_bytes, 1)),
            isRecorders = index == Int(HEAP_SECTION_INDEX.rawValue) || index == Int(HEAP_SECTION_TOPS.rawValue)
        let ready =
            isRecorders
            ? 0
            : min(sections[index].ready_bytes, sections[index].capacity, sections[index].used * entry) / entry * entry
        let contents = try read(Int(ready), at: sections[index].offset)
        sections[index].offset = UInt64(bytes.count)
        (sections[index].capacity, sections[index].ready_bytes) = (ready, ready)
        sections[index].used = min(sections[index].used, ready / entry)
        bytes += contents + [UInt8](repeating: 0, count: (8 - contents.count % 8) % 8)
    }
    withUnsafeMutableBytes(of: &header.sections) { to in sections.withUnsafeBytes { to.copyMemory(from: $0) } }
    withUnsafeBytes(of: header) { bytes.replaceSubrange(0 ..< size, with: $0) }
    return bytes
}

/// Writes bytes to a file.
package func write(_ bytes: [UInt8], to path: String) throws {
    guard let file = fopen(path, "we") else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
    defer { fclose(file) }
    guard bytes.withUnsafeBytes({ fwrite($0.baseAddress, 1, $0.count, file) }) == bytes.count else {
        throw Failure("\(path) can't be written")
    }
}
