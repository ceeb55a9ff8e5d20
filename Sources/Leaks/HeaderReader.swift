// Words of malloc's headers in a snapshot. A walk from chunk to chunk reads close words one after the other, or leaps
// over large chunks: the window grows while the reads are close, and is small again after a leap. One of the files with
// raw pointers.

/// Reads words through a window.
final class HeaderReader {
    let memory: any ProcessMemory
    private let window = UnsafeMutableRawBufferPointer.allocate(byteCount: mostBytes, alignment: 4096)
    private var start: UInt64 = 0
    /// The bytes of the window that were read.
    private var filled: UInt64 = 0
    private var wanted = leastBytes

    private static let leastBytes = 256, mostBytes = 256 << 10

    init(_ memory: any ProcessMemory) { self.memory = memory }

    deinit { window.deallocate() }

    /// The word at a multiple of 8; nil if it can't be read.
    func word(_ address: UInt64) -> UInt64? {
        guard address & 7 == 0 else { return nil }
        let offset = address &- start
        if offset < filled { return window.load(fromByteOffset: Int(offset), as: UInt64.self) }
        wanted = offset &- filled < UInt64(wanted) ? min(wanted * 4, Self.mostBytes) : Self.leastBytes
        let got = memory.read(address, into: UnsafeMutableRawBufferPointer(rebasing: window[..<wanted]))
        (start, filled) = (address, UInt64(max(got, 0)) & ~7)
        return filled > 0 ? window.load(as: UInt64.self) : nil
    }
}
