// The first page of an image: decides, for the reader and for heaprun, whether a file is an image of a known version.

import CHeapImage
import Text

extension heap_header {
    /// The header at the start of an image's bytes; nil if they are not an image's, or not yet.
    package init?(_ bytes: [UInt8]) {
        guard let header = bytes.withUnsafeBytes({ try? Self.read($0, file: "") }) else { return nil }
        self = header
    }

    /// The size of a header of this version; nil for an unknown version.
    static func byteCount(ofVersion version: UInt32) -> Int? {
        switch version {
        case HEAP_VERSION: MemoryLayout<heap_header>.size
        case HEAP_VERSION_3: Int(HEAP_HEADER_3_BYTES)
        case HEAP_VERSION_2: Int(HEAP_HEADER_2_BYTES)
        case HEAP_VERSION_1: Int(HEAP_HEADER_1_BYTES)
        default: nil
        }
    }

    /// Reads and checks the header at the start of `bytes`, which must be the whole image or more than a header. A
    /// header of an older version is converted to today's layout and keeps its version number. Its other values are not
    /// checked here.
    ///
    /// - Throws: `InputError` with the offset of the first wrong field.
    static func read(_ bytes: UnsafeRawBufferPointer, file: String) throws(InputError) -> heap_header {
        var header = heap_header()
        withUnsafeMutableBytes(of: &header) {
            $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix($0.count)))
        }
        if bytes.count >= Int(HEAP_HEADER_1_BYTES) && header.version == HEAP_VERSION_1 {
            let kept = Int(HEAP_SECTIONS_1_OFFSET), sections = MemoryLayout<heap_header>.offset(of: \.sections) ?? 0
            withUnsafeMutableBytes(of: &header) { to in
                to[kept...].copyBytes(from: repeatElement(0, count: to.count - kept))
                UnsafeMutableRawBufferPointer(rebasing: to[sections...]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: bytes[kept ..< Int(HEAP_HEADER_1_BYTES)]))
            }
        }
        // What stands there is a section's.
        if header.version == HEAP_VERSION_2 { header.sample_interval = 0 }
        if header.version == HEAP_VERSION_2 || header.version == HEAP_VERSION_3 {
            header.python = 0
            header.unmixed_stacks = 0
        }
        try header.check(bytes.count, file: file)
        return header
    }

    private func check(_ count: Int, file: String) throws(InputError) {
        func fail(_ offset: Int?, _ what: String) -> InputError {
            InputError(file: file, offset: UInt64(offset ?? 0), what: what)
        }
        guard count >= 8, magic == HEAP_MAGIC else { throw fail(0, "not a heap image") }
        guard count >= Int(HEAP_HEADER_1_BYTES) else { throw fail(count, "cut off inside the header") }
        guard byte_order == HEAP_BYTE_ORDER else {
            throw fail(
                MemoryLayout<heap_header>.offset(of: \.byte_order), "recorded on a machine of another byte order")
        }
        guard let wanted = Self.byteCount(ofVersion: version) else {
            throw fail(
                MemoryLayout<heap_header>.offset(of: \.version),
                "image version \(version); this tool reads versions \(HEAP_VERSION_1) to \(HEAP_VERSION)"
                    + (version > HEAP_VERSION ? ": a newer heapsum made it" : ""))
        }
        guard count >= wanted else { throw fail(count, "cut off inside the header, which has \(wanted) bytes") }
        guard header_bytes == UInt32(wanted) else {
            throw fail(
                MemoryLayout<heap_header>.offset(of: \.header_bytes),
                "a header of \(header_bytes) bytes, where version \(version) has \(wanted)")
        }
        guard HeapImage.Kind(rawValue: kind) != nil else {
            throw fail(MemoryLayout<heap_header>.offset(of: \.kind), "image kind \(kind) is not known")
        }
        guard sample_interval <= HEAP_SAMPLE_MOST else {
            throw fail(
                MemoryLayout<heap_header>.offset(of: \.sample_interval),
                "sampled each \(sample_interval) bytes, where \(HEAP_SAMPLE_MOST) is the most")
        }
        for log2 in withUnsafeBytes(of: granule_log2, { Array($0) }) where log2 < 3 || log2 > 40 {
            throw fail(MemoryLayout<heap_header>.offset(of: \.granule_log2), "a granule of 2 to the \(log2) bytes")
        }
    }
}
