// /sys/kernel/debug/page_owner, what tools/mm/page_owner_sort makes of it, and page_owner_stacks/show_stacks,
// as Documentation/mm/page_owner.rst and mm/page_owner.c have them:
//
//     12 times, 24 pages:                        (page_owner_sort alone)
//     Page allocated via order 1, mask 0x…(…), pid 1, tgid 1 (swapper/0), ts 123 ns
//     PFN 0x1000 type Unmovable Block 8 type Unmovable Flags …
//      prep_new_page+0x12/0x40
//
//      prep_new_page+0x12/0x40
//     nr_base_pages: 16                          (show_stacks)
//
// A block is what one allocation got, of 2 to the order pages; show_stacks counts single pages.

import Reduce

struct PageOwnerLog: LogFormat {
    /// What a page is of where the log doesn't say: it never does.
    static let pageBytes: UInt64 = 4096

    private var start: UInt64?
    private var order: UInt64?
    private var times: (blocks: UInt64, pages: UInt64)?
    private var isBad = false
    private var stack = KernelStack()

    /// Records end with an empty line.
    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        start >= 2 && text[start - 1] == 0x0A && text[start - 2] == 0x0A
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        var place = segment.start
        while place < segment.end {
            let end = min(text.lineEnd(from: place), segment.end)
            readLine(text, place, end, base, tally, isWhole: end < segment.end || !segment.endsSet)
            place = end + 1
        }
        endRecord(tally, isCut: segment.endsSet && stack.isEmpty)
    }

    private mutating func readLine(_ text: LogText, _ line: Int, _ lineEnd: Int, _ base: UInt64, _ tally: Tally, isWhole: Bool) {
        let start = text.skipBlanks(line, lineEnd), end = text.trimmedEnd(start, lineEnd), offset = base &+ UInt64(line)
        if start >= end {
            endRecord(tally, isCut: false)
            return
        }
        var place = start
        if text.has("Page allocated via order ", at: start) {
            if order != nil { endRecord(tally, isCut: false) }
            self.start = self.start ?? offset
            place += 25
            order = text.decimal(&place, end).flatMap { $0 < 32 && (place < end || isWhole) ? $0 : nil }
            isBad = order == nil
        } else if text.has("nr_base_pages:", at: start) || text.has("stack_count:", at: start) {
            place = text.skipBlanks((text.find(byte: 0x3A, from: start, to: end) ?? start) + 1, end)
            self.start = self.start ?? offset
            if let pages = text.decimal(&place, end), place == end, isWhole || lineEnd < text.count {
                times = (pages, pages)
            } else {
                isBad = true
            }
            endRecord(tally, isCut: !isWhole)
        } else if let blocks = text.decimal(&place, end), text.has(" times, ", at: place) {
            endRecord(tally, isCut: false)
            self.start = offset
            place += 8
            guard let pages = text.decimal(&place, end), text.has(" page", at: place) else {
                isBad = true
                return
            }
            times = (blocks, pages)
        } else if text.has("PFN ", at: start) || text.has("Page has been migrated", at: start) || text.has("Charged ", at: start)
                    || text.has("Slab cache page", at: start) {
            return
        } else if stack.take(text, start, end, tally) {
            self.start = self.start ?? offset
        } else {
            tally.notes.add(self.start == nil ? .outside : isWhole ? .notUnderstood : .cutRecord, at: offset)
        }
    }

    private mutating func endRecord(_ tally: Tally, isCut: Bool) {
        defer {
            (start, order, times, isBad) = (nil, nil, nil, false)
            stack.clear()
        }
        guard let start else { return }
        var blocks: UInt64 = 1, pages: UInt64?
        if let times { (blocks, pages) = (times.blocks, times.pages) } else if let order { pages = 1 << order }
        guard let pages, !isBad, case let (bytes, overflow) = pages.multipliedReportingOverflow(by: Self.pageBytes), !overflow else {
            tally.notes.add(isCut ? .cutRecord : .badRecord, at: start)
            tally.recordsLost &+= 1
            return
        }
        if isCut { tally.notes.add(.cutRecord, at: start) }
        guard blocks > 0 else { return }
        tally.add(row: tally.row(stack.isEmpty && isCut ? [tally.number(of: .cut)] : stack.frames(tally)), bytes: bytes, blocks: blocks, at: start)
    }
}
