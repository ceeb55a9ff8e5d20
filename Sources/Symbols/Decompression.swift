// Compressed parts of files: sections (zlib, zstd) and .gnu_debugdata (xz), by libraries that every Debian has, opened
// when first needed. The size of a part after decompression is only the file's claim. It is accepted within limits that
// no honest file comes near; if the true size differs, the part is damaged.

import CSymbols

enum Decompression {
    /// Debug sections shrink to a tenth at best; the limit keeps a file of a few megabytes from claiming all memory.
    private static let largestRatio: UInt64 = 100
    private static let alwaysAllowed: UInt64 = 64 << 20
    private static let largest: UInt64 = 4 << 30

    private static func isCredible(_ byteCount: UInt64, from compressed: Int) -> Bool {
        byteCount <= largest && (byteCount <= alwaysAllowed || byteCount / largestRatio <= UInt64(compressed))
    }

    /// The contents of a section whose header says SHF_COMPRESSED.
    ///
    /// The gABI's compression header comes first: type, size, alignment.
    /// - Throws: `.damaged`; `.unsupported` for another type, and if the library isn't installed.
    static func section(
        _ bytes: FileBytes, _ what: String, of reader: FileReader, layout: ELFLayout
    ) throws(SymbolsError) -> FileBytes {
        let headerBytes = layout.isWide ? 24 : 12
        guard bytes.count >= headerBytes else {
            throw reader.damaged("\(what) is too short for a compression header", at: bytes.offset)
        }
        let (type, byteCount) = bytes.withSpan { (layout.u32($0, 0), layout.word($0, wide: 8, narrow: 4)) }
        guard isCredible(byteCount, from: bytes.count) else {
            throw reader.damaged(
                "\(what) of \(bytes.count) bytes claims to be \(byteCount) when decompressed", at: bytes.offset)
        }
        let decompress: (UnsafePointer<UInt8>, UnsafeMutableRawBufferPointer) -> Bool
        switch type {
        case ELF.ELFCOMPRESS_ZLIB:
            guard let call = symbols_function("libz.so.1", "uncompress") else {
                throw missing("libz.so.1", what, reader)
            }
            let uncompress = unsafeBitCast(call, to: symbols_uncompress.self)
            decompress = { from, to in
                var count = UInt(to.count)
                return uncompress(
                    to.baseAddress?.assumingMemoryBound(to: UInt8.self), &count, from, UInt(bytes.count - headerBytes))
                    == 0
                    && count == UInt(to.count)
            }
        case ELF.ELFCOMPRESS_ZSTD:
            guard let call = symbols_function("libzstd.so.1", "ZSTD_decompress") else {
                throw missing("libzstd.so.1", what, reader)
            }
            let zstd = unsafeBitCast(call, to: symbols_zstd_decompress.self)
            // Error codes are sizes that no section has.
            decompress = { from, to in zstd(to.baseAddress, to.count, from, bytes.count - headerBytes) == to.count }
        default:
            throw SymbolsError(
                file: reader.path, offset: bytes.offset, reason: .unsupported("\(what) is compressed by method \(type)")
            )
        }
        var wasGood = false
        let result = FileBytes(count: Int(byteCount), offset: bytes.offset) { to in
            wasGood = bytes.withPointer { decompress($0 + headerBytes, to) } ?? false
            return true
        }
        guard let result else {
            throw SymbolsError(file: reader.path, offset: bytes.offset, reason: .tooLarge(byteCount))
        }
        guard wasGood else {
            throw reader.damaged("\(what) can't be decompressed to \(byteCount) bytes", at: bytes.offset)
        }
        return result
    }

    /// The contents of .gnu_debugdata, an xz file.
    ///
    /// An xz file doesn't begin with its size, so the space is doubled until it is enough.
    static func xz(_ bytes: FileBytes, _ what: String, of reader: FileReader) throws(SymbolsError) -> FileBytes {
        guard let call = symbols_function("liblzma.so.5", "lzma_stream_buffer_decode") else {
            throw missing("liblzma.so.5", what, reader)
        }
        let decode = unsafeBitCast(call, to: symbols_xz_decode.self)
        var capacity = UInt64(max(bytes.count, 1 << 12)) * 8
        while true {
            guard isCredible(capacity, from: bytes.count) else {
                throw reader.damaged(
                    "\(what) of \(bytes.count) bytes is more than \(capacity / 2) when decompressed", at: bytes.offset)
            }
            var memoryLimit: UInt64 = 256 << 20
            var (read, wrote) = (0, 0)
            var status = CInt(-1)
            let result = FileBytes(count: Int(capacity), offset: bytes.offset) { to in
                status =
                    bytes.withPointer {
                        decode(
                            &memoryLimit, 0, nil, $0, &read, bytes.count,
                            to.baseAddress?.assumingMemoryBound(to: UInt8.self), &wrote, to.count)
                    } ?? -1
                return true
            }
            guard let result else {
                throw SymbolsError(file: reader.path, offset: bytes.offset, reason: .tooLarge(capacity))
            }
            switch Int(status) {
            case SYMBOLS_XZ_OK:
                return try FileReader(name: reader.path, bytes: result).read(what, at: 0, count: UInt64(wrote))
            case SYMBOLS_XZ_BUF_ERROR where wrote == result.count: capacity *= 2
            default: throw reader.damaged("\(what) can't be decompressed (liblzma's code \(status))", at: bytes.offset)
            }
        }
    }

    /// The CRC-32 of a whole file, as in .gnu_debuglink (the same as zlib's and xz's); nil if liblzma isn't installed.
    static func crc32(of reader: FileReader) throws(SymbolsError) -> UInt32? {
        guard let call = symbols_function("liblzma.so.5", "lzma_crc32") else { return nil }
        let update = unsafeBitCast(call, to: symbols_crc32.self)
        var (crc, position): (UInt32, UInt64) = (0, 0)
        while position < reader.byteCount {
            let part = try reader.read("file", at: position, count: min(1 << 20, reader.byteCount - position))
            crc = part.withPointer { update($0, part.count, crc) } ?? crc
            position += UInt64(part.count)
        }
        return crc
    }

    private static func missing(_ library: String, _ what: String, _ reader: FileReader) -> SymbolsError {
        SymbolsError(
            file: reader.path, reason: .unsupported("\(what) is compressed, and \(library) isn't there to read it"))
    }
}
