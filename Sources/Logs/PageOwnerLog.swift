// /sys/kernel/debug/page_owner, the output of tools/mm/page_owner_sort, and page_owner_stacks/show_stacks, as described
// in Documentation/mm/page_owner.rst and mm/page_owner.c:
//
//     12 times, 24 pages:                        (page_owner_sort alone)
//     Page allocated via order 1, mask 0x…(…), pid 1, tgid 1 (swapper/0), ts 123 ns
//     PFN 0x1000 type Unmovable Block 8 type Unmovable Flags …
//      prep_new_page+0x12/0x40
//
//      prep_new_page+0x12/0x40
//     nr_base_pages: 16                          (show_stacks)
//
// Before Linux 5.12, page_owner_sort prints "12 times:" without pages: each time is one allocation of the record's
// order. With --cull it prints the sort keys and maybe no stack: "12 times, 24 pages, PID 1, task_comm_name: init".
// That text is then the row's only frame. A block is one allocation, of 2 to the power of the order pages; show_stacks
// counts single pages.

import Reduce

struct PageOwnerLog: LogFormat {
    static var name: String { "page-owner" }
    static var isOfKernel: Bool { true }
    private var pageBytes = KernelFacts().pageBytes
    private var start: UInt64?
    private var order: UInt64?
    private var times: UInt64?
    private var pages: UInt64?
    private var isBad = false
    /// The keys of --cull, if it left no stack.
    private var culled: [UInt8] = []
    private var stack = KernelStack()

    init() {}
    init(file: String, kernel: KernelFacts) { pageBytes = kernel.pageBytes }

    /// Records end with an empty line, or a line that has only a prefix.
    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        guard start >= 1 else { return false }
        let message = KernelMessage(text, text.lineStart(before: start - 1), start - 1)
        // An empty message whose line continues below is not an end.
        return message.start >= message.end
            && (!message.hasPrefix || KernelMessage(text, start, text.lineEnd(from: start)).hasPrefix)
    }

    static func recognizes(_ line: LogLine) -> Bool {
        let (text, start, end) = (line.text, line.start, line.end)
        let message = KernelMessage(text, start, end)
        return text.has("Page allocated via order", at: message.start) || text.has("nr_base_pages:", at: message.start)
            || text.has("stack_count:", at: message.start) || times(text, message.start, message.end) != nil
    }

    /// `12 times`, and the place after it: a colon, or a comma and pages.
    private static func times(_ text: LogText, _ start: Int, _ end: Int) -> (count: UInt64, rest: Int)? {
        var place = start
        guard let count = text.decimal(&place, end), text.has(" times", at: place) else { return nil }
        place += 6
        guard text[place] == 0x3A || (text[place] == 0x2C && text[place + 1] == 0x20) else { return nil }
        return (count, place)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        let lines = KernelLines(text, segment)
        while let line = lines.next() { readLine(line, base, tally, logCount: text.count) }
        endRecord(tally, isCut: segment.endsSet && stack.isEmpty && culled.isEmpty)
    }

    private mutating func readLine(_ line: KernelLine, _ base: UInt64, _ tally: Tally, logCount: Int) {
        let text = line.text, start = line.message.start, end = line.message.end, offset = base &+ UInt64(line.start)
        if start >= end {
            endRecord(tally, isCut: false)
            return
        }
        var place = start
        if text.has("Page allocated via order ", at: start) {
            if order != nil { endRecord(tally, isCut: false) }
            self.start = self.start ?? offset
            place += 25
            order = text.decimal(&place, end).flatMap { $0 < 32 && (place < end || line.isWhole) ? $0 : nil }
            isBad = order == nil
        } else if text.has("nr_base_pages:", at: start) || text.has("stack_count:", at: start) {
            place = text.skipBlanks((text.find(byte: 0x3A, from: start, to: end) ?? start) + 1, end)
            self.start = self.start ?? offset
            if let count = text.decimal(&place, end), place == end, line.isWhole || line.end < logCount {
                (times, pages) = (count, count)
            } else {
                isBad = true
            }
            endRecord(tally, isCut: !line.isWhole)
        } else if let (count, rest) = Self.times(text, start, end) {
            endRecord(tally, isCut: false)
            self.start = offset
            times = count
            readPages(text, rest, end, tally)
        } else if text.has("PFN ", at: start) || text.has("Page has been migrated", at: start)
            || text.has("Charged ", at: start)
            || text.has("Slab cache page", at: start)
        {
            return
        } else if stack.take(text, start, end, tally) {
            self.start = self.start ?? offset
        } else {
            tally.notes.add(self.start == nil ? .outside : line.isWhole ? .notUnderstood : .cutRecord, at: offset)
        }
    }

    /// `, 24 pages:`, or `, 24 pages, PID 1, TGID 1`; a single colon has no pages.
    private mutating func readPages(_ text: LogText, _ rest: Int, _ end: Int, _ tally: Tally) {
        if text[rest] == 0x3A { return }
        var place = rest + 2
        guard let count = text.decimal(&place, end), text.has(" page", at: place) else {
            isBad = true
            return
        }
        pages = count
        guard let comma = text.find(", ", from: place, to: end) else { return }
        var last = end
        while last > comma, text[last - 1] == 0x3A || text[last - 1] == 0x2C || text[last - 1] == 0x20 { last -= 1 }
        culled = text.bytes(comma + 2, last)
    }

    private mutating func endRecord(_ tally: Tally, isCut: Bool) {
        defer {
            (start, order, times, pages, isBad, culled) = (nil, nil, nil, nil, false, [])
            stack.clear()
        }
        guard let start else { return }
        let blocks = times ?? 1
        var bytes = pages.map { $0.multipliedReportingOverflow(by: pageBytes) }
        if bytes == nil, let order { bytes = (pageBytes << order).multipliedReportingOverflow(by: blocks) }
        guard let bytes, !isBad, !bytes.overflow else {
            tally.notes.add(isCut ? .cutRecord : .badRecord, at: start)
            tally.recordsLost &+= 1
            return
        }
        if isCut { tally.notes.add(.cutRecord, at: start) }
        tally.recordsRead &+= 1
        guard blocks > 0 else { return }
        var frames = stack.isEmpty && isCut ? [tally.number(of: .cut)] : stack.frames(tally)
        if frames.isEmpty, !culled.isEmpty { frames.append(tally.number(of: LogFrame(name: culled))) }
        tally.add(row: tally.row(frames), bytes: bytes.partialValue, blocks: blocks, at: start)
    }
}
