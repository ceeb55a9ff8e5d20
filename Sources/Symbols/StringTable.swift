// Names of an ELF string table: an offset stands for the bytes up to the next NUL or the table's end. Strings are made
// only for answers; comparisons of names work on bytes.

struct StringTable: Sendable {
    let bytes: FileBytes

    var count: Int { bytes.count }

    /// Some template names are tens of kilobytes long. A hostile table may be a single name.
    static let nameLimit = 1 << 16

    /// The name at `offset`, without the `@VERSION` that linkers add to names in .symtab.
    func string(
        at offset: UInt32, limit: Int = nameLimit, suffix: StaticString = "", cutsVersion: Bool = true
    ) -> String {
        bytes.withSpan { span in
            var name: [UInt8] = []
            appendName(span, at: offset, limit: limit, cutsVersion: cutsVersion, to: &name)
            suffix.withUTF8Buffer { name.append(contentsOf: $0) }
            return String(decoding: name, as: UTF8.self)
        }
    }

    /// Appends the bytes of the name at `offset`, also without version.
    func append(at offset: UInt32, to name: inout [UInt8]) {
        bytes.withSpan { span in appendName(span, at: offset, limit: Self.nameLimit, cutsVersion: true, to: &name) }
    }

    private func appendName(_ span: RawSpan, at offset: UInt32, limit: Int, cutsVersion: Bool, to name: inout [UInt8]) {
        var position = Int(offset)
        guard position < span.byteCount else { return }
        let end = position + min(limit, span.byteCount - position)
        while position < end {
            let byte = span.unsafeLoadUnaligned(fromByteOffset: position, as: UInt8.self)
            if byte == 0 || (cutsVersion && byte == UInt8(ascii: "@") && position > Int(offset)) { break }
            name.append(byte)
            position += 1
        }
    }

    /// The first byte of the name at `offset`; 0 for the empty name.
    func firstByte(at offset: UInt32) -> UInt8 {
        bytes.withSpan { span in
            Int(offset) < span.byteCount ? span.unsafeLoadUnaligned(fromByteOffset: Int(offset), as: UInt8.self) : 0
        }
    }

    /// How many underscores the name at `offset` begins with, counted to 255.
    func underscores(at offset: UInt32) -> Int {
        bytes.withSpan { span in
            let end = min(span.byteCount, Int(offset) + 255)
            var position = Int(offset)
            while position < end,
                span.unsafeLoadUnaligned(fromByteOffset: position, as: UInt8.self) == UInt8(ascii: "_")
            {
                position += 1
            }
            return position - Int(offset)
        }
    }

    /// The length of the name at `offset` in bytes, counted to 1,024.
    func length(at offset: UInt32) -> Int {
        bytes.withSpan { span in
            let end = min(span.byteCount, Int(offset) + 1024)
            var position = Int(offset)
            while position < end, span.unsafeLoadUnaligned(fromByteOffset: position, as: UInt8.self) != 0 {
                position += 1
            }
            return position - Int(offset)
        }
    }

    /// Whether the name at `offset` is below another table's name, byte by byte.
    ///
    /// Compares only the first 1,024 bytes, so that many long names with the same start stay cheap.
    func isName(at offset: UInt32, below other: StringTable, at otherOffset: UInt32) -> Bool {
        bytes.withSpan { mine in
            other.bytes.withSpan { theirs in
                for step in 0 ..< 1024 {
                    let a = byte(mine, Int(offset) + step), b = byte(theirs, Int(otherOffset) + step)
                    if a != b { return a < b }
                    if a == 0 { return false }
                }
                return false
            }
        }
    }

    private func byte(_ span: RawSpan, _ position: Int) -> UInt8 {
        position < span.byteCount ? span.unsafeLoadUnaligned(fromByteOffset: position, as: UInt8.self) : 0
    }
}
