// SLUB's traces in the kernel's log (echo 1 > /sys/kernel/slab/CACHE/trace), as trace() of mm/slub.c
// prints them, among whatever else the log holds:
//
//     TRACE kmalloc-128 alloc 0xffff888004a5d000 inuse=25 fp=0x0000000000000000
//     CPU: 3 PID: 723 Comm: Xorg Tainted: G           O      4.19.0 #1
//     Call Trace:
//      dump_stack_lvl+0x48/0x70
//      alloc_debug_processing+0x58/0x188
//     TRACE kmalloc-128 free 0xffff888004a5d000 inuse=25 fp=0xffff888004a5d080
//     Object 00000000: 6b 6b …
//
// What is allocated and not freed until the log ends is live. The lines of several processors interleave:
// a backtrace is printed in one piece, but the TRACE line before it is not part of that piece. Where the
// kernel says who prints (CONFIG_PRINTK_CALLER), by that; else each backtrace belongs to the oldest TRACE
// line without one, of those that allocated or freed as the backtrace did.

import Reduce

struct SLUBLog: LogFormat {
    static var isSequential: Bool { true }

    private struct Object { var serial: UInt64, cache: Int, row: Int?, time: Double?, offset: UInt64 }
    private struct Pending { var address: UInt64, serial: UInt64, isAlloc: Bool }
    /// What one who prints is in the middle of.
    private struct Printer {
        var pending: [Pending] = []
        var stack = KernelStack()
        var isInBacktrace = false
        /// The cache of the object whose bytes are printed, and how many came.
        var dumped: (cache: Int, bytes: UInt64)?
    }

    private var live: [UInt64: Object] = [:]
    private var printers: [UInt64: Printer] = [:]
    private var caches: [[UInt8]: Int] = [:]
    private var sizes: [UInt64?] = []
    private var serial: UInt64 = 0
    private var lastTime: Double?

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool { true }

    struct Trace { var message: KernelMessage, cacheStart: Int, cacheEnd: Int, isAlloc: Bool, address: UInt64 }

    /// The TRACE line in [start, end); nil where it is another.
    static func trace(_ text: LogText, _ start: Int, _ end: Int) -> Trace? {
        guard text.find("TRACE ", from: start, to: end) != nil else { return nil }
        return trace(text, KernelMessage(text, start, end))
    }

    private static func trace(_ text: LogText, _ message: KernelMessage) -> Trace? {
        guard text.has("TRACE ", at: message.start) else { return nil }
        let cache = message.start + 6, cacheEnd = text.wordEnd(cache, message.end)
        var place = text.skipBlanks(cacheEnd, message.end)
        let isAlloc = text.has("alloc 0x", at: place)
        guard isAlloc || text.has("free 0x", at: place) else { return nil }
        place += isAlloc ? 6 : 5
        guard let address = text.prefixedHexadecimal(&place, message.end), place < message.end else { return nil }
        return Trace(message: message, cacheStart: cache, cacheEnd: cacheEnd, isAlloc: isAlloc, address: address)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        var place = segment.start
        while place < segment.end {
            let end = min(text.lineEnd(from: place), segment.end)
            readLine(text, place, end, base, tally)
            place = end + 1
        }
    }

    private mutating func readLine(_ text: LogText, _ line: Int, _ lineEnd: Int, _ base: UInt64, _ tally: Tally) {
        let message = KernelMessage(text, line, lineEnd)
        let start = message.start, end = message.end
        if start >= end { return }
        if let time = message.time { lastTime = max(lastTime ?? time, time) }
        if let trace = Self.trace(text, message) {
            take(trace, text, base &+ UInt64(line), tally)
            return
        }
        if text.has("TRACE ", at: start) {
            tally.notes.add(.badRecord, at: base &+ UInt64(line))
            tally.recordsLost &+= 1
            return
        }
        guard var printer = printers.removeValue(forKey: message.caller) else {
            tally.notes.add(.outside, at: base &+ UInt64(line))
            return
        }
        defer { printers[message.caller] = printer }
        if text.has("Object ", at: start) {
            printer.dumped?.bytes &+= Self.dumpedBytes(text, start, end)
        } else if text.has("CPU: ", at: start) || text.has("Pid: ", at: start) || Self.beginsBacktrace(text, start) {
            // The header of a backtrace ends the one before; "Call Trace:" after "CPU:" belongs to it.
            endDump(&printer)
            if !printer.stack.isEmpty { endBacktrace(&printer, tally) }
            printer.isInBacktrace = true
        } else if printer.isInBacktrace && printer.stack.take(text, start, end, tally) {
            return
        } else if !Self.isDecoration(text, start, end) {
            // arm's oldest kernels have no heading over the frames.
            if !printer.pending.isEmpty, printer.stack.take(text, start, end, tally) {
                printer.isInBacktrace = true
            } else {
                tally.notes.add(.outside, at: base &+ UInt64(line))
            }
        }
    }

    private mutating func take(_ trace: Trace, _ text: LogText, _ offset: UInt64, _ tally: Tally) {
        serial &+= 1
        let name = text.bytes(trace.cacheStart, trace.cacheEnd)
        let cache = caches[name] ?? sizes.count
        if cache == sizes.count {
            caches[name] = cache
            sizes.append(SlabCache.kmallocBytes(name))
        }
        if printers.count > 4096 { endPrinters(tally) }
        var printer = printers[trace.message.caller] ?? Printer()
        endDump(&printer)
        // With one who prints at a time, and none waiting, the backtrace before is whole.
        if trace.message.caller != 0 || printer.pending.count <= 1 {
            if !printer.stack.isEmpty { endBacktrace(&printer, tally) }
        }
        if trace.isAlloc {
            if live[trace.address] != nil { tally.notes.add(.bookedTwice, at: offset) }
            live[trace.address] = Object(serial: serial, cache: cache, row: nil, time: trace.message.time, offset: offset)
        } else {
            if live.removeValue(forKey: trace.address) == nil { tally.notes.add(.freedUnseen, at: offset) }
            printer.dumped = (cache, 0)
        }
        printer.pending.append(Pending(address: trace.address, serial: serial, isAlloc: trace.isAlloc))
        // A log without backtraces has nothing to wait for.
        if printer.pending.count > 64 { printer.pending.removeFirst(32) }
        printers[trace.message.caller] = printer
    }

    /// Gives the backtrace that is whole now to the object that it belongs to.
    private mutating func endBacktrace(_ printer: inout Printer, _ tally: Tally) {
        let frames = printer.stack.frames(tally)
        printer.stack.clear()
        printer.isInBacktrace = false
        guard !printer.pending.isEmpty else { return }
        var index = 0
        if printer.pending.contains(where: \.isAlloc), printer.pending.contains(where: { !$0.isAlloc }),
           let isAlloc = Self.allocates(frames, tally) {
            index = printer.pending.firstIndex { $0.isAlloc == isAlloc } ?? 0
        }
        let pending = printer.pending.remove(at: index)
        guard pending.isAlloc, live[pending.address]?.serial == pending.serial else { return }
        live[pending.address]?.row = tally.row(frames)
    }

    /// Whether a backtrace is of an allocation, by the allocator's own functions at its inner end; nil
    /// where none of them is there.
    private static func allocates(_ frames: [UInt32], _ tally: Tally) -> Bool? {
        for frame in frames.prefix(10) {
            let name = tally.frames[Int(frame)].name
            if name.starts(with: Array("alloc_debug_processing".utf8)) || name.firstRange(of: Array("slab_alloc".utf8)) != nil
                || name.firstRange(of: Array("kmalloc".utf8)) != nil || name.firstRange(of: Array("kmem_cache_alloc".utf8)) != nil { return true }
            if name.firstRange(of: Array("free".utf8)) != nil { return false }
        }
        return nil
    }

    /// The bytes that were printed of an object are all of it: so large are its cache's.
    private mutating func endDump(_ printer: inout Printer) {
        if let dumped = printer.dumped, dumped.bytes > 0, sizes[dumped.cache] == nil { sizes[dumped.cache] = dumped.bytes }
        printer.dumped = nil
    }

    /// The bytes in `Object 00000000: 6b 6b …  kkkk`, 16 at the most.
    private static func dumpedBytes(_ text: LogText, _ start: Int, _ end: Int) -> UInt64 {
        guard let colon = text.find(byte: 0x3A, from: start, to: end) else { return 0 }
        var place = colon + 1, count: UInt64 = 0
        while count < 16 && place + 2 < end && text[place] == 0x20 {
            var digits = place + 1
            guard text.hexadecimal(&digits, min(place + 3, end)) != nil, digits == place + 3 else { break }
            count += 1
            place += 3
        }
        return count
    }

    private static func beginsBacktrace(_ text: LogText, _ start: Int) -> Bool {
        text.has("Call Trace:", at: start) || text.has("Call trace:", at: start) || text.has("Backtrace:", at: start)
    }

    /// Lines that come with a backtrace and say nothing of where.
    private static func isDecoration(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        text[start] == 0x3C || text[start] == 0x3D || text.has("Hardware name:", at: start) || text.has("Workqueue:", at: start)
            || text.has("Stack :", at: start) || text.has("Stack:", at: start) || text.has("---[ end trace", at: start)
            || text.has("Tainted:", at: start) || text.has("FIX ", at: start)
    }

    /// Ends what all are in the middle of.
    private mutating func endPrinters(_ tally: Tally) {
        for caller in printers.keys.sorted() {
            guard var printer = printers[caller] else { continue }
            endDump(&printer)
            if !printer.stack.isEmpty { endBacktrace(&printer, tally) }
        }
        printers.removeAll()
    }

    mutating func finish(into tally: Tally) {
        endPrinters(tally)
        for object in live.values.sorted(by: { $0.offset < $1.offset }) {
            if object.row == nil { tally.notes.add(.cutRecord, at: object.offset) }
            if sizes[object.cache] == nil { tally.notes.add(.sizeUnknown, at: object.offset) }
            let row = object.row ?? tally.row([tally.number(of: .cut)])
            tally.add(row: row, bytes: sizes[object.cache] ?? 0, at: object.offset)
            if let time = object.time, let lastTime { tally.addAge(row: row, seconds: max(0, lastTime - time)) }
        }
    }
}
