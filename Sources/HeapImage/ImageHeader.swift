// The first page of an image: whether it is one, and of a version that is read here. The one place that decides it, for
// the reader and for heaprun.

import CHeapImage
import Text

extension heap_header {
    /// The header at the start of an image's bytes; nil where they aren't one's, or not yet.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count >= MemoryLayout<heap_header>.size else { return nil }
        self = bytes.withUnsafeBytes { $0.loadUnaligned(as: heap_header.self) }
        do throws(InputError) { try check(MemoryLayout<heap_header>.size, file: "") } catch { return nil }
    }

    /// Checks a header of which `count` bytes were read, the rest being zero. What stands in it beyond that is not
    /// believed yet.
    ///
    /// - Throws: `InputError` with the byte of the first field at fault.
    func check(_ count: Int, file: String) throws(InputError) {
        func fail(_ offset: Int?, _ what: String) -> InputError {
            InputError(file: file, offset: UInt64(offset ?? 0), what: what)
        }
        let wanted = MemoryLayout<heap_header>.size
        guard count >= 8, magic == HEAP_MAGIC else { throw fail(0, "not a heap image") }
        guard count == wanted else { throw fail(count, "cut off inside the header, which has \(wanted) bytes") }
        guard byte_order == HEAP_BYTE_ORDER else {
            throw fail(
                MemoryLayout<heap_header>.offset(of: \.byte_order), "recorded on a machine of another byte order")
        }
        guard version == HEAP_VERSION else {
            throw fail(
                MemoryLayout<heap_header>.offset(of: \.version),
                "image version \(version); this tool reads version \(HEAP_VERSION)")
        }
        guard header_bytes == UInt32(wanted) else {
            throw fail(
                MemoryLayout<heap_header>.offset(of: \.header_bytes),
                "a header of \(header_bytes) bytes, where version \(HEAP_VERSION) has \(wanted)")
        }
        guard HeapImage.Kind(rawValue: kind) != nil else {
            throw fail(MemoryLayout<heap_header>.offset(of: \.kind), "image kind \(kind) is not known")
        }
        for log2 in withUnsafeBytes(of: granule_log2, { Array($0) }) where log2 < 3 || log2 > 40 {
            throw fail(MemoryLayout<heap_header>.offset(of: \.granule_log2), "a granule of 2 to the \(log2) bytes")
        }
    }
}
