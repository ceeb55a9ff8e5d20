// Where code begins and ends by a module's call frame information (.eh_frame), which is there for unwinding and stays
// when symbols are stripped. One entry (an FDE) covers one function, or a part of one. .eh_frame_hdr has the starts,
// sorted, and where each entry is; a few ends are read there. If many are wanted, or it is not there (static programs),
// all entries are walked once, in the file's order. Source: the Linux Standard Base, "Exception Frames".

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
    /// - Complexity: O(a log e) for a addresses and e entries with a good .eh_frame_hdr, which is read completely, if
    ///   few ends are wanted; else O(e log a), and reads .eh_frame completely. Allocates nothing else by the file's
    ///   numbers.
    static func around(
        _ addresses: [UInt64], in file: ELFFile, needsEnd: (_ number: Int, _ start: UInt64) -> Bool
    ) throws(SymbolsError) -> [FrameBounds]? {
        guard file.type != ELF.ET_REL, let index = try file.section(named: ".eh_frame"),
            file.sections[index].type != ELF.SHT_NOBITS
        else { return nil }
        if let (starts, places) = try sortedStarts(around: addresses, in: file) {
            var bounds = starts
            let wanted = bounds.indices.filter { needsEnd($0, bounds[$0].start) }
            if wanted.count <= mostSingleEnds, !file.sections[index].isCompressed {
                for number in wanted {
                    bounds[number].end = try FrameEntries.end(
                        ofEntryAt: places[number], from: bounds[number].start, file, index)
                }
                return bounds
            }
        }
        return try walk(addresses, file, index)
    }

    /// An entry takes some calls of the system if it is read alone.
    private static let mostSingleEnds = 64

    /// By .eh_frame_hdr, without ends but with the address of each entry; nil if there is none, or it has another form
    /// than linkers write.
    private static func sortedStarts(
        around addresses: [UInt64], in file: ELFFile
    ) throws(SymbolsError) -> (bounds: [FrameBounds], places: [UInt64])? {
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
            func address(_ row: Int, _ column: Int) -> UInt64 {
                let offset = Int32(bitPattern: layout.u32(span, 12 + row * 8 + column * 4))
                let address = base &+ UInt64(bitPattern: Int64(offset))
                return layout.isWide ? address : address & 0xFFFF_FFFF
            }
            var found: (bounds: [FrameBounds], places: [UInt64]) = ([], [])
            for wanted in addresses {
                var low = 0, high = count
                while low < high {
                    let middle = (low + high) / 2
                    if address(middle, 0) <= wanted { low = middle + 1 } else { high = middle }
                }
                var bounds = FrameBounds()
                if low > 0 { bounds.start = address(low - 1, 0) }
                if low < count { bounds.next = address(low, 0) }
                found.bounds.append(bounds)
                found.places.append(low > 0 ? address(low - 1, 1) : 0)
            }
            return found
        }
    }

    private static func walk(
        _ addresses: [UInt64], _ file: ELFFile, _ index: Int
    ) throws(SymbolsError) -> [FrameBounds] {
        let bytes = try file.contents(ofSection: index, ".eh_frame")
        var bounds = [FrameBounds](repeating: FrameBounds(), count: addresses.count)
        let entries = FrameEntries(
            file: file, address: file.sections[index].address, offset: bytes.offset, byteCount: bytes.count)
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

/// The entries of one .eh_frame, or of what follows a place in it. Spans begin there, and may be shorter.
private struct FrameEntries {
    let file: ELFFile
    /// The place's address, and its offset in the file.
    let address: UInt64, offset: UInt64
    /// How many bytes of the section follow.
    let byteCount: Int

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
        var position = 0
        var known: (position: Int, encoding: UInt8)?
        while byteCount - position >= 4 {
            let entry = try open(span, at: position)
            position = entry.next
            // The last object file ends with a terminator. Others may follow it if files were linked in an odd order.
            guard let back = entry.back, back != 0 else { continue }
            guard Int(back) <= entry.fields else { throw damaged("an FDE's CIE lies before the section", entry.first) }
            let common = entry.fields - Int(back)
            if known?.position != common { known = (common, try encoding(span, ofCIEAt: common)) }
            let (start, end) = try range(span, of: entry, encoding: known?.encoding ?? Self.absolute)
            if end > start { body(start, end) }
        }
    }

    /// The end of the FDE at an address; its start if none is there that begins so, or it covers nothing.
    ///
    /// - Complexity: O(1)
    static func end(
        ofEntryAt place: UInt64, from start: UInt64, _ file: ELFFile, _ index: Int
    ) throws(SymbolsError) -> UInt64 {
        let section = file.sections[index]
        /// What follows a place in the section, and as many bytes of it as the fields that are read may take.
        func part(_ position: UInt64) throws(SymbolsError) -> (FrameEntries, FileBytes) {
            let rest = section.byteCount - position
            let bytes = try file.reader.read(".eh_frame", at: section.offset &+ position, count: min(rest, 128))
            let part = FrameEntries(
                file: file, address: section.address &+ position, offset: bytes.offset,
                byteCount: Int(min(rest, UInt64(Int32.max))))
            return (part, bytes)
        }
        guard place >= section.address, place - section.address < section.byteCount else { return start }
        let position = place - section.address
        let (entries, bytes) = try part(position)
        let entry = try bytes.withSpan { span throws(SymbolsError) in try entries.open(span, at: 0) }
        guard let back = entry.back, back != 0 else { return start }
        guard UInt64(back) <= position + UInt64(entry.fields) else {
            throw entries.damaged("an FDE's CIE lies before the section", 0)
        }
        let (common, commonBytes) = try part(position + UInt64(entry.fields) - UInt64(back))
        let encoding = try commonBytes.withSpan { span throws(SymbolsError) in
            try common.encoding(span, ofCIEAt: 0)
        }
        let found = try bytes.withSpan { span throws(SymbolsError) in
            try entries.range(span, of: entry, encoding: encoding)
        }
        return found.start == start && found.end > start ? found.end : start
    }

    /// An entry: where it begins and what follows its length, the end of both, and the word that leads to its CIE (0 in
    /// a CIE, nil in a terminator).
    private typealias Entry = (first: Int, fields: Int, next: Int, back: UInt32?)

    private func open(_ span: RawSpan, at first: Int) throws(SymbolsError) -> Entry {
        var at = first
        var length = try fixed(span, &at, span.byteCount, 4)
        if length == 0 { return (first, at, at, nil) }
        if length == 0xFFFF_FFFF { length = try fixed(span, &at, span.byteCount, 8) }
        guard length >= 4, length <= UInt64(byteCount - at) else {
            throw damaged("an entry of \(length) bytes reaches past the section", first)
        }
        let (fields, next) = (at, at + Int(length))
        return (first, fields, next, UInt32(try fixed(span, &at, span.byteCount, 4)))
    }

    /// The start and the end of what an FDE covers; both the same if that is nothing.
    private func range(
        _ span: RawSpan, of entry: Entry, encoding: UInt8
    ) throws(SymbolsError) -> (start: UInt64, end: UInt64) {
        var at = entry.fields + 4
        let limit = min(entry.next, span.byteCount)
        let start = try pointer(span, &at, limit, encoding)
        let end = start &+ (try pointer(span, &at, limit, encoding & 7)) // a length: no sign, and relative to nothing
        // A range that wraps around covers no code; neither does one of a function that the linker left out.
        return end > start && (file.layout.isWide || end <= 0xFFFF_FFFF) ? (start, end) : (start, start)
    }

    /// How the FDEs of a CIE write their addresses.
    private func encoding(_ span: RawSpan, ofCIEAt place: Int) throws(SymbolsError) -> UInt8 {
        let layout = file.layout
        let entry = try open(span, at: place)
        guard entry.back == 0 else { throw damaged("an FDE's CIE is none", place) }
        let end = min(entry.next, span.byteCount)
        var at = entry.fields + 4
        let version = UInt8(try fixed(span, &at, end, 1))
        guard [1, 3, 4].contains(version) else { throw damaged("a CIE of version \(version)", place) }
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
