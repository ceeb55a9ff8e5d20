// Where a log's last set begins, so that nobody parses the sets before it when only the last counts.
//
// The search goes backwards from the end, and no further than half of the log: where the last set is larger than that,
// skipping gains less than looking costs. Only a plain file can be read at its end first; a pipe or an archive can't.
// What stands before is still read, for its headings alone: a report says how many sets there are.

import Glibc

extension LogStream {
    private static let windowBytes = 1 << 18
    /// A heading and what tells that it is one.
    private static let overlapBytes = 256

    /// The place of the last heading of `format` in the second half of the log; nil where there is none, or nobody can
    /// look.
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
