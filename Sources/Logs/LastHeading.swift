// Finds where a log's last set begins, so that earlier sets are not parsed if only the last counts.
//
// The search goes backwards from the end, up to half of the log: if the last set is larger, skipping gains less than
// the search costs. Only a plain file can be read from its end; a pipe or an archive can't. Earlier sets are still
// scanned for headings, because a report says how many sets there are.

import Glibc

extension LogStream {
    private static let windowBytes = 1 << 18
    /// Enough for a heading and the text by which it is recognized.
    private static let overlapBytes = 256

    /// The place of the last heading of `format` in the second half of the log; nil if there is none or the log can't
    /// be read there.
    ///
    /// - Complexity: O(bytes of the last set), one pass of memmem(3).
    func lastHeading(of format: any LogFormat.Type) -> UInt64? {
        guard let heading = format.heading, let extent = plainExtent else { return nil }
        let middle = extent.lowerBound + (extent.upperBound - extent.lowerBound) / 2
        var end = extent.upperBound
        let window = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Self.windowBytes + Self.overlapBytes, alignment: 64)
        defer { window.deallocate() }
        while end > middle {
            let start = max(middle, end - Int64(Self.windowBytes))
            let count = min(window.count, Int(extent.upperBound - start))
            let came = readPlain(into: UnsafeMutableRawBufferPointer(rebasing: window[..<count]), at: start)
            let text = LogText(UnsafeRawBufferPointer(rebasing: window[..<came]))
            var found: Int?, from = 0
            while let place = text.find(heading, from: from) {
                if format.isHeading(text, at: place) { found = place }
                from = place + heading.utf8CodeUnitCount
            }
            if let found { return UInt64(start - extent.lowerBound) + UInt64(found) }
            end = start
        }
        return nil
    }
}
