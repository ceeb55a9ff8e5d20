// Where code begins and ends by a module's call frame information (.eh_frame), which is there for unwinding and stays
// when symbols are stripped. One entry (an FDE) covers one function, or a part of one. .eh_frame_hdr has the starts,
// sorted; if the ends are wanted, or it is not there (static programs), all entries are walked once, in the file's
// order. Source: the Linux Standard Base, "Exception Frames".

/// The entries of .eh_frame around one address.
struct FrameBounds: Equatable {
    /// The entry with the greatest start that is not above the address; empty at 0 if there is none.
    var start: UInt64 = 0, end: UInt64 = 0
    /// The least start above the address; the greatest number if there is none.
    var next = UInt64.max

    /// The entries around each address.
    ///
    /// - Parameters:
    ///   - addresses: ascending, each once.
    ///   - needsEnd: whether the end of an entry at `start` is wanted for the address with a number. If it is for none,
    ///     ends may be 0.
    /// - Returns: as many as there are addresses, in their order; nil if the file has no .eh_frame, or its addresses
    ///   are not known yet (an object file), or its bytes are elsewhere (a separate debug file).
    /// - Throws: `.damaged` if an entry is out of range; `.unsupported` if its addresses have a form that linkers don't
    ///   write.
    /// - Complexity: O(a log e) for a addresses and e entries with a good .eh_frame_hdr, if no end is wanted; else
    ///   O(e log a). Reads these sections completely, and allocates nothing else by the file's numbers.
    static func around(
        _ addresses: [UInt64], in file: ELFFile, needsEnd: (_ number: Int, _ start: UInt64) -> Bool
    ) throws(SymbolsError) -> [FrameBounds]? {
        guard file.type != ELF.ET_REL, let index = try file.section(named: ".eh_frame"),
            file.sections[index].type != ELF.SHT_NOBITS
        else { return nil }
        if let starts = try sortedStarts(around: addresses, in: file),
            !starts.indices.contains(where: { needsEnd($0, starts[$0].start) })
        {
            return starts
        }
        return try walk(addresses, file, index)
    }

    /// By .eh_frame_hdr, without ends; nil if there is none, or it has another form than linkers write.
    private static func sortedStarts(
        around addresses: [UInt64], in file: ELFFile
    ) throws(SymbolsError) -> [FrameBounds]? {
        guard let index = try file.section(named: ".eh_frame_hdr") else { return nil }
        let bytes = try file.contents(ofSection: index, ".eh_frame_hdr")
        let (layout, base) = (file.layout, file.sections[index].address)
        return bytes.withSpan { span in
            // Version 1; a pointer and a count of four bytes each; rows of two numbers of four bytes, relative to this.
            guard span.byteCount >= 12, layout.u8(span, 0) == 1, layout.u8(span, 1) & 7 == 3, layout.u8(span, 2) == 3,
                layout.u8(span, 3) == 0x3B
            else { return nil }
            let count = Int(layout.u32(span, 8))
            guard count > 0, count <= (span.byteCount - 12) / 8 else { return nil }
            func start(_ row: Int) -> UInt64 {
                let offset = Int32(bitPattern: layout.u32(span, 12 + row * 8))
                let address = base &+ UInt64(bitPattern: Int64(offset))
                return layout.isWide ? address : address & 0xFFFF_FFFF
            }
            return addresses.map { address in
                var low = 0, high = count
                while low < high {
                    let middle = (low + high) / 2
                    if start(middle) <= address { low = middle + 1 } else { high = middle }
                }
                var bounds = FrameBounds()
                if low > 0 { bounds.start = start(low - 1) }
                if low < count { bounds.next = start(low) }
                return bounds
            }
        }
    }

    private static func walk(
        _ addresses: [UInt64], _ file: ELFFile, _ index: Int
    ) throws(SymbolsError) -> [FrameBounds] {
        let bytes = try file.contents(ofSection: index, ".eh_frame")
        var bounds = [FrameBounds](repeating: FrameBounds(), count: addresses.count)
        let entries = FrameEntries(file: file, address: file.sections[index].address, offset: bytes.offset)
        try bytes.withSpan { span throws(SymbolsError) in
            try entries.forEach(span) { start, end in
                // The first address that is not below the entry: the entry counts for it and for those after it.
                var low = 0, high = addresses.count
                while low < high {
                    let middle = (low + high) / 2
                    if addresses[middle] < start { low = middle + 1 } else { high = middle }
                }
                if low < bounds.count, start >= bounds[low].start {
                    (bounds[low].start, bounds[low].end) = (start, end)
                }
                if low > 0 { bounds[low - 1].next = min(bounds[low - 1].next, start) }
            }
        }
        for index in bounds.indices.dropFirst() where bounds[index - 1].start > bounds[index].start {
            (bounds[index].start, bounds[index].end) = (bounds[index - 1].start, bounds[index - 1].end)
        }
        for index in bounds.indices.dropLast().reversed() {
            bounds[index].next = min(bounds[index].next, bounds[index + 1].next)
        }
        return bounds
    }
}

/// The walk over the entries of one .eh_frame.
private struct FrameEntries {
    let file: ELFFile
    /// The section's address, and its offset in the file.
    let address: UInt64, offset: UInt64

    // How a pointer is written: the low half is its form, the high half what it is relative to.
    private static let absolute: UInt8 = 0x00, relative: UInt8 = 0x10, form: UInt8 = 0x0F

    /// The letters that say what a CIE holds are a few in real files. The limit bounds the cost of many FDEs that
    /// share long ones.
    private static let longestAugmentation = 32

    /// Calls `body` with the start and the end of each FDE that covers anything.
    ///
    /// - Throws: `.damaged`, `.unsupported`
    /// - Complexity: O(n) in the section's size.
    func forEach(_ span: RawSpan, _ body: (UInt64, UInt64) -> Void) throws(SymbolsError) {
        let layout = file.layout
        let greatest: UInt64 = layout.isWide ? .max : 0xFFFF_FFFF
        var position = 0
        var known: (position: Int, encoding: UInt8)?
        while span.byteCount - position >= 4 {
            let first = position
            var length = UInt64(layout.u32(span, position))
            position += 4
            // The last object file ends with a terminator. Others may follow it if files were linked in an odd order.
            if length == 0 { continue }
            if length == 0xFFFF_FFFF {
                guard span.byteCount - position >= 8 else { throw damaged("an entry is cut off", first) }
                length = layout.u64(span, position)
                position += 8
            }
            guard length >= 4, length <= UInt64(span.byteCount - position) else {
                throw damaged("an entry of \(length) bytes reaches past the section", first)
            }
            let end = position + Int(length)
            defer { position = end }
            let back = layout.u32(span, position)
            if back == 0 { continue } // a CIE
            guard Int(back) <= position else { throw damaged("an FDE's CIE lies before the section", first) }
            let common = position - Int(back)
            if known?.position != common { known = (common, try encoding(span, ofCIEAt: common)) }
            let encoding = known?.encoding ?? Self.absolute
            var at = position + 4
            let start = try pointer(span, &at, end, encoding)
            let byteCount = try pointer(span, &at, end, encoding & 7) // a length: no sign, and relative to nothing
            let last = start &+ byteCount
            // A range that wraps around covers no code; neither does one of a function that the linker left out.
            if byteCount > 0, last > start, last <= greatest { body(start, last) }
        }
    }

    /// How the FDEs of a CIE write their addresses.
    private func encoding(_ span: RawSpan, ofCIEAt place: Int) throws(SymbolsError) -> UInt8 {
        let layout = file.layout
        var at = place
        guard span.byteCount - at >= 4 else { throw damaged("an FDE's CIE is cut off", place) }
        var length = UInt64(layout.u32(span, at))
        at += 4
        if length == 0xFFFF_FFFF, span.byteCount - at >= 8 {
            length = layout.u64(span, at)
            at += 8
        }
        guard length >= 6, length <= UInt64(span.byteCount - at), layout.u32(span, at) == 0 else {
            throw damaged("an FDE's CIE is none", place)
        }
        let end = at + Int(length)
        let version = layout.u8(span, at + 4)
        guard [1, 3, 4].contains(version) else { throw damaged("a CIE of version \(version)", place) }
        at += 5
        let augmentation = at
        while at < end, layout.u8(span, at) != 0, at - augmentation < Self.longestAugmentation { at += 1 }
        guard at < end, layout.u8(span, at) == 0 else { throw damaged("a CIE's augmentation has no end", place) }
        let augmentationEnd = at
        at += version == 4 ? 3 : 1 // the sizes of an address and of a segment selector
        if augmentation == augmentationEnd { return Self.absolute }
        guard layout.u8(span, augmentation) == UInt8(ascii: "z") else { throw unsupported("an old CIE", place) }
        _ = try leb(span, &at, end) // code alignment
        _ = try leb(span, &at, end) // data alignment
        if version == 1 { at += 1 } else { _ = try leb(span, &at, end) } // return address register
        _ = try leb(span, &at, end) // how long what follows is
        for position in augmentation + 1 ..< augmentationEnd {
            switch layout.u8(span, position) {
            case UInt8(ascii: "R"): return UInt8(try fixed(span, &at, end, 1))
            case UInt8(ascii: "L"): _ = try fixed(span, &at, end, 1)
            case UInt8(ascii: "P"):
                let encoding = UInt8(try fixed(span, &at, end, 1))
                _ = try pointer(span, &at, end, encoding & Self.form)
            case UInt8(ascii: "S"), UInt8(ascii: "B"), UInt8(ascii: "G"): break // without data
            default: throw unsupported("a CIE's augmentation \(layout.u8(span, position))", place)
            }
        }
        return Self.absolute
    }

    private func pointer(
        _ span: RawSpan, _ at: inout Int, _ end: Int, _ encoding: UInt8
    ) throws(SymbolsError) -> UInt64 {
        let place = at
        var value: UInt64
        switch encoding & Self.form {
        case 0x0: value = try fixed(span, &at, end, file.layout.isWide ? 8 : 4)
        case 0x1: value = try leb(span, &at, end)
        case 0x2: value = try fixed(span, &at, end, 2)
        case 0x3: value = try fixed(span, &at, end, 4)
        case 0x4, 0xC: value = try fixed(span, &at, end, 8)
        case 0x9: value = try leb(span, &at, end, isSigned: true)
        case 0xA: value = UInt64(bitPattern: Int64(Int16(truncatingIfNeeded: try fixed(span, &at, end, 2))))
        case 0xB: value = UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: try fixed(span, &at, end, 4))))
        default: throw unsupported("a pointer of form \(encoding)", place)
        }
        switch encoding & ~Self.form {
        case Self.absolute: break
        case Self.relative: value = value &+ address &+ UInt64(place)
        default: throw unsupported("a pointer of form \(encoding)", place)
        }
        return file.layout.isWide ? value : value & 0xFFFF_FFFF
    }

    @inline(__always) private func fixed(
        _ span: RawSpan, _ at: inout Int, _ end: Int, _ count: Int
    ) throws(SymbolsError) -> UInt64 {
        guard count <= end - at else { throw damaged("an entry is cut off", at) }
        defer { at += count }
        switch count {
        case 1: return UInt64(file.layout.u8(span, at))
        case 2: return UInt64(file.layout.u16(span, at))
        case 4: return UInt64(file.layout.u32(span, at))
        default: return file.layout.u64(span, at)
        }
    }

    /// A number of 7 bits a byte.
    private func leb(
        _ span: RawSpan, _ at: inout Int, _ end: Int, isSigned: Bool = false
    ) throws(SymbolsError) -> UInt64 {
        let place = at
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            let byte = UInt64(try fixed(span, &at, end, 1))
            value |= (byte & 0x7F) << shift
            if byte & 0x80 == 0 {
                return isSigned && byte & 0x40 != 0 && shift < 57 ? value | UInt64.max << (shift + 7) : value
            }
        }
        throw damaged("a number has too many bytes", place)
    }

    private func damaged(_ what: String, _ position: Int) -> SymbolsError {
        file.reader.damaged(".eh_frame: \(what)", at: offset + UInt64(position))
    }

    private func unsupported(_ what: String, _ position: Int) -> SymbolsError {
        SymbolsError(
            file: file.path, offset: offset + UInt64(position),
            reason: .unsupported(".eh_frame: \(what), which is not read"))
    }
}
