// The pass over pages and blocks together, both in order of address.
//
// A block of glibc occupies the 8 bytes of its size before it, and its own bytes, rounded up: the regions of neighbours
// touch and don't overlap. Where blocks do overlap, because an image is damaged or the program changed meanwhile, a
// region ends where the next one begins.

import HeapImage
import Leaks

/// Adds up the pages of spans, in order of address.
struct Sweep {
    private let blocks: [LiveBlock]
    private let groups: StackGroups
    private var survey: PageSurvey
    private var memory: ProgramMemory?
    private let page: UInt64, hugePageBytes: UInt64
    private var current = PageSums()
    private var touches: [Touch] = []
    /// The last block before the page, and the last one before it of another stack.
    private var last = Passed(), other: UInt64 = 0
    /// Only if it is wanted: it costs a look-up for each block.
    private var map: PageMap?
    private var gap: (range: Range<UInt64>, content: GapContent)?

    /// The bytes that a block occupies.
    private struct Region {
        var start: UInt64, end: UInt64
    }

    /// What the inner loops need of a span. Copying the span itself would count references.
    private struct Frame {
        enum Shape { case mapped, chunks, bare }
        var shape: Shape, low: UInt64, high: UInt64, end: Int

        init(_ span: Span) {
            (low, high, end) = (span.range.lowerBound, span.range.upperBound, span.blocks.upperBound)
            shape =
                switch span.kind {
                case .mapped: .mapped
                case .heap, .chunks: .chunks
                case .bare: .bare
                }
        }
    }

    private struct Touch {
        var stack: Int, size: Int, bytes: UInt64
    }

    private struct Passed {
        var stack = -1, end: UInt64 = 0, block = -1
    }

    init(
        blocks: [LiveBlock], groups: StackGroups, survey: PageSurvey, memory: ProgramMemory?, hugePageBytes: UInt64,
        map: PageMap? = nil
    ) {
        self.map = map
        (self.blocks, self.groups, self.survey, self.memory) = (blocks, groups, survey, memory)
        (page, self.hugePageBytes) = (survey.pageBytes, hugePageBytes)
    }

    consuming func finish() -> PageSurvey {
        map?.flush()
        survey.map = map
        return survey
    }

    @inline(__always) private func region(_ number: Int, _ frame: Frame) -> Region {
        if frame.shape == .mapped { return Region(start: frame.low, end: frame.high) }
        let block = blocks[number]
        let start = block.address
        var region: Region
        if frame.shape == .bare {
            region = Region(start: start, end: start &+ max(block.bytes, 1))
        } else {
            let size = max(32, (block.bytes &+ 23) & ~15)
            region = Region(start: start &- 8, end: start &- 8 &+ size)
        }
        if region.end < region.start { region.end = UInt64.max - 2 * page }
        if number + 1 < frame.end {
            let next = blocks[number + 1].address &- (start &- region.start)
            // 16 bytes are less than any chunk: they belong to this one.
            if next < region.end || next &- region.end == 16 { region.end = max(next, region.start) }
        }
        region.end = min(region.end, frame.high)
        return region
    }

    /// Without residency: the pages that a span's blocks touch.
    func pages(of span: Span) -> [Range<UInt64>] {
        let frame = Frame(span)
        var runs: [Range<UInt64>] = []
        for number in span.blocks {
            let region = region(number, frame)
            guard region.start < region.end else { continue }
            let low = region.start & ~(page - 1), high = (region.end + page - 1) & ~(page - 1)
            if let last = runs.last, low <= last.upperBound {
                runs[runs.count - 1] = last.lowerBound ..< max(high, last.upperBound)
            } else {
                runs.append(low ..< high)
            }
        }
        return runs
    }

    /// Adds the resident runs of a span.
    ///
    /// - Complexity: O(blocks and runs of the span, and pages that are not inside one block)
    mutating func pass(_ span: Span, runs: [Range<UInt64>]) {
        let page = page, frame = Frame(span), end = frame.end
        current = PageSums()
        (last, other, gap) = (Passed(), 0, nil)
        var number = span.blocks.lowerBound
        // What malloc keeps at the start of a heap is no block's, and no free chunk.
        var ownEnd: UInt64 = 0
        if case .heap(_, let heap) = span.kind { ownEnd = heap.firstChunk }
        for run in runs {
            var at = run.lowerBound
            while at < run.upperBound {
                while number < end {
                    let region = region(number, frame)
                    if region.end > at { break }
                    pass(number, region)
                    number += 1
                }
                if number < end {
                    let region = region(number, frame)
                    if region.start <= at && region.end >= at &+ 2 * page {
                        let high = min(run.upperBound, region.end & ~(page - 1))
                        addInside(number, at ..< high, span.arena)
                        at = high
                        continue
                    }
                }
                addPage(at, number, frame, span, ownEnd)
                at += page
            }
        }
        while number < end {
            pass(number, region(number, frame))
            number += 1
        }
        survey.arenas[span.arena].sums += current
        survey.sums += current
        survey.runs += runs
    }

    private func stack(_ number: Int) -> Int { groups.group(blocks[number].stack) }

    private static func size(_ bytes: UInt64) -> Int { UInt64.bitWidth - bytes.leadingZeroBitCount }

    private mutating func pass(_ number: Int, _ region: Region) {
        let stack = stack(number)
        survey.groups[stack].blocks += 1
        survey.sizes[Self.size(blocks[number].bytes)].blocks += 1
        if stack != last.stack { other = last.end }
        last = Passed(stack: stack, end: region.end, block: number)
    }

    /// The requested bytes of a block in a range.
    private func live(_ number: Int, _ range: Range<UInt64>) -> UInt64 {
        let block = blocks[number], low = max(block.address, range.lowerBound)
        let high = min(block.address &+ block.bytes, range.upperBound)
        return high > low ? high - low : 0
    }

    /// Pages that one block covers wholly.
    private mutating func addInside(_ number: Int, _ range: Range<UInt64>, _ arena: Int) {
        let bytes = range.upperBound - range.lowerBound, live = live(number, range)
        current.resident += bytes
        current.live += live
        current.overhead += bytes - live
        survey.occupancy[Occupancy.full.rawValue].pages += bytes / page
        survey.occupancy[Occupancy.full.rawValue].used += bytes
        let stack = stack(number), size = Self.size(blocks[number].bytes)
        survey.groups[stack].live += live
        survey.groups[stack].used += bytes
        survey.groups[stack].alone += bytes
        survey.sizes[size].live += live
        map?.add(range, arena: arena, used: bytes, pinned: 0, stack: stack)
    }

    private mutating func addPage(_ at: UInt64, _ first: Int, _ frame: Frame, _ span: Span, _ ownEnd: UInt64) {
        let page = at ..< at + self.page
        current.resident += self.page
        touches.removeAll(keepingCapacity: true)
        let own = ownEnd > at ? min(ownEnd, page.upperBound) - at : 0
        var used = own, liveHere: UInt64 = 0, number = first
        while number < frame.end {
            let region = region(number, frame)
            if region.start >= page.upperBound { break }
            let low = max(region.start, at), high = min(region.end, page.upperBound)
            if high > low {
                let bytes = high - low, live = live(number, low ..< high), stack = stack(number),
                    size = Self.size(blocks[number].bytes)
                touches.append(Touch(stack: stack, size: size, bytes: bytes))
                used += bytes
                liveHere += live
                survey.groups[stack].live += live
                survey.groups[stack].used += bytes
                survey.sizes[size].live += live
            }
            number += 1
        }
        let kind = Occupancy(used, of: self.page)
        survey.occupancy[kind.rawValue].pages += 1
        survey.occupancy[kind.rawValue].used += used
        if map != nil {
            let pinned = touches.isEmpty && own == 0 ? 0 : self.page - used
            map?.add(page, arena: span.arena, used: used, pinned: pinned, stack: nil)
            for touch in touches { map?.add(stack: touch.stack, bytes: touch.bytes) }
        }
        guard !touches.isEmpty || own > 0 else { return addUntouched(page, first, frame, span) }
        current.live += liveHere
        current.overhead += used - liveHere
        current.pinned += self.page - used
        divide(self.page - used)
        // Whether the page could go without this stack: no other stack's block is on it, nor the rim of the free chunk
        // that would begin behind one.
        if let stack = touches.first?.stack, own == 0, touches.allSatisfy({ $0.stack == stack }),
            otherEnd(than: stack) <= at
        {
            survey.groups[stack].alone += self.page
        }
    }

    /// Where a free chunk could be given back from, if all blocks of a stack were gone.
    private func otherEnd(than stack: Int) -> UInt64 {
        let end = last.stack == stack ? other : last.end
        return end == 0 ? 0 : end &- 8 &+ GapContent.rimBytes
    }

    /// Divides a page's free bytes among the blocks on it, by their bytes; the parts add up.
    private mutating func divide(_ free: UInt64) {
        let total = touches.reduce(0) { $0 + $1.bytes }
        guard total > 0, free > 0 else { return }
        var passed: UInt64 = 0, given: UInt64 = 0
        for touch in touches {
            passed += touch.bytes
            let upTo = free * passed / total
            survey.groups[touch.stack].pinned += upTo - given
            survey.sizes[touch.size].pinned += upTo - given
            given = upTo
        }
    }

    // MARK: Pages without a live block

    private mutating func addUntouched(_ page: Range<UInt64>, _ next: Int, _ frame: Frame, _ span: Span) {
        guard case .heap(let arena, let heap) = span.kind else {
            current.unclear += self.page
            return
        }
        if gap?.range.contains(page.lowerBound) != true {
            let content = walk(arena, heap, next < frame.end ? blocks[next].address &- 16 : nil)
            let high = next < frame.end ? region(next, frame).start : heap.range.upperBound
            gap = (page.lowerBound ..< max(high, page.upperBound), content)
        }
        guard let content = gap?.content, !content.isUnclear else {
            current.unclear += self.page
            return
        }
        if contains(content.returned, page) {
            current.returned += self.page
        } else if let top = content.top, top.overlaps(page) {
            current.top += self.page
        } else if overlaps(content.kept, page) {
            current.kept += self.page
        } else {
            current.rims += self.page
            if last.stack >= 0, otherEnd(than: last.stack) <= page.lowerBound {
                survey.groups[last.stack].alone += self.page
            }
        }
    }

    /// What lies between the last block, whose header tells where its chunk ends, and the next.
    private mutating func walk(_ arena: GlibcArena, _ heap: GlibcHeap, _ next: UInt64?) -> GapContent {
        var unclear = GapContent()
        unclear.isUnclear = true
        guard var memory else { return unclear }
        defer { self.memory = memory }
        var first = heap.firstChunk
        if last.block >= 0 {
            let chunk = blocks[last.block].address - 16
            guard let header = memory.word(chunk + 8) else { return unclear }
            let size = header & ~7
            guard size >= last.end &- 8 &- chunk, size < 1 << 46 else { return unclear }
            first = chunk + size
        }
        return GapWalk(
            arena: arena, heap: heap, hugePageBytes: arena.isMain ? hugePageBytes : 0, pageBytes: page
        ).content(from: first, to: next, &memory)
    }

    /// The first range that ends after an address.
    private func place(_ ranges: [Range<UInt64>], _ address: UInt64) -> Range<UInt64>? {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count ? ranges[low] : nil
    }

    private func contains(_ ranges: [Range<UInt64>], _ page: Range<UInt64>) -> Bool {
        place(ranges, page.lowerBound).map { $0.lowerBound <= page.lowerBound && $0.upperBound >= page.upperBound }
            ?? false
    }

    private func overlaps(_ ranges: [Range<UInt64>], _ page: Range<UInt64>) -> Bool {
        place(ranges, page.lowerBound).map { $0.lowerBound < page.upperBound } ?? false
    }
}
