// gzip's file format (RFC 1952) around zlib's compression. zlib is loaded when it is needed, as for compressed debug
// sections, and not linked, so a run that writes no such file pays nothing for it.

import CSymbols

private typealias Compress =
    @convention(c) (
        _ to: UnsafeMutablePointer<UInt8>?, _ toCount: UnsafeMutablePointer<UInt>?, _ from: UnsafePointer<UInt8>?,
        _ fromCount: UInt, _ level: CInt
    ) -> CInt
private typealias Bound = @convention(c) (_ fromCount: UInt) -> UInt
private typealias Checksum =
    @convention(c) (_ start: UInt, _ bytes: UnsafePointer<UInt8>?, _ count: CUnsignedInt) -> UInt

/// The bytes as a gzip file; nil if zlib isn't installed or has no memory for them.
package func gzipped(_ bytes: [UInt8]) -> [UInt8]? {
    guard let compress = symbols_function("libz.so.1", "compress2"),
        let bound = symbols_function("libz.so.1", "compressBound"),
        let checksum = symbols_function("libz.so.1", "crc32")
    else { return nil }
    var count = unsafeBitCast(bound, to: Bound.self)(UInt(bytes.count))
    var packed = [UInt8](repeating: 0, count: Int(clamping: count))
    let status = packed.withUnsafeMutableBufferPointer { to in
        bytes.withUnsafeBufferPointer { from in
            unsafeBitCast(compress, to: Compress.self)(to.baseAddress, &count, from.baseAddress, UInt(from.count), 6)
        }
    }
    // zlib's own format has two bytes before the compressed data, and four after.
    guard status == 0, count >= 6, count <= UInt(packed.count) else { return nil }
    var crc = UInt(0), done = 0
    while done < bytes.count {
        let part = min(bytes.count - done, 1 << 30)
        crc = bytes.withUnsafeBufferPointer {
            unsafeBitCast(checksum, to: Checksum.self)(crc, $0.baseAddress.map { $0 + done }, CUnsignedInt(part))
        }
        done += part
    }
    var result: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]
    result += packed[2 ..< Int(count) - 4]
    for word in [UInt32(truncatingIfNeeded: crc), UInt32(truncatingIfNeeded: bytes.count)] {
        for shift: UInt32 in [0, 8, 16, 24] { result.append(UInt8(truncatingIfNeeded: word >> shift)) }
    }
    return result
}
