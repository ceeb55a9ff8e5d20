// SLUB's traces in the kernel's log (echo 1 > /sys/kernel/slab/CACHE/trace), as trace() of mm/slub.c prints them, mixed
// with other messages:
//
//     TRACE kmalloc-128 alloc 0xffff888004a5d000 inuse=25 fp=0x0000000000000000
//     CPU: 3 PID: 723 Comm: Xorg Tainted: G           O      4.19.0 #1
//     Call Trace:
//      dump_stack_lvl+0x48/0x70
//      alloc_debug_processing+0x58/0x188
//     TRACE kmalloc-128 free 0xffff888004a5d000 inuse=25 fp=0xffff888004a5d080
//     Object 00000000: 6b 6b …
//
// What is allocated and not freed by the log's end is live. The lines of several processors interleave: a backtrace is
// printed in one piece, but its TRACE line is printed separately, so another processor's lines may be between.
// SLUBBacktraces finds the TRACE line of a backtrace; if it can't, that is noted, and the stack is shown as missing.

import Reduce

struct SLUBLog: LogFormat {
    static var name: String { "slub" }
    static var isOfKernel: Bool { true }
    static var isSequential: Bool { true }

    private struct Object { var serial: UInt64, cache: Int, row: Int?, time: Double?, offset: UInt64 }
    /// The object whose bytes are being printed, and how many were printed.
    private struct Dump { var cache: Int, bytes: UInt64 }

    private var live: [UInt64: Object] = [:]
    /// The printers, each of which may be inside a backtrace; and the index in `printers` for each caller.
    private var printers: [SLUBBacktraces] = []
    private var printerOfCaller: [UInt64: Int] = [:]
    /// Lines of one caller mostly come together.
    private var lastPrinter: (caller: UInt64, index: Int)?
    private var dumps: [UInt64: Dump] = [:]
    private var groups: [SLUBBacktraces.Group] = []
    private var caches: [[UInt8]: Int] = [:]
    private var sizes: [UInt64?] = []
    private var serial: UInt64 = 0
    private var lastTime: Double?
    private var given: SlabCache?

    init() {}

    init(file: String, kernel: KernelFacts) { given = kernel.cache }

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool { true }

    static func recognizes(_ line: LogLine) -> Bool { trace(line.text, line.start, line.end) != nil }

    struct Trace { var message: KernelMessage, cacheStart: Int, cacheEnd: Int, isAlloc: Bool, address: UInt64 }

    /// The TRACE line in [start, end); nil for other lines.
    static func trace(_ text: LogText, _ start: Int, _ end: Int) -> Trace? {
        guard text.find("TRACE ", from: start, to: end) != nil else { return nil }
        return trace(text, KernelMessage(text, start, end))
    }

    private static func trace(_ text: LogText, _ message: KernelMessage) -> Trace? {
        guard text.has("TRACE ", at: message.start) else { return nil }
        let cache = message.start + 6, word = text.wordEnd(cache, message.end)
        // A control group's own cache ends with the group's name: kmalloc-128(522:mail.service).
        let cacheEnd = text.find(byte: 0x28, from: cache, to: word) ?? word
        guard cacheEnd > cache else { return nil }
        var place = text.skipBlanks(word, message.end)
        let isAlloc = text.has("alloc 0x", at: place)
        guard isAlloc || text.has("free 0x", at: place) else { return nil }
        place += isAlloc ? 6 : 5
        guard let address = text.prefixedHexadecimal(&place, message.end), place < message.end else { return nil }
        return Trace(message: message, cacheStart: cache, cacheEnd: cacheEnd, isAlloc: isAlloc, address: address)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        let lines = KernelLines(text, segment)
        while let line = lines.next() { readLine(line, base &+ UInt64(line.start), tally) }
    }

    private mutating func readLine(_ line: KernelLine, _ offset: UInt64, _ tally: Tally) {
        let text = line.text, message = line.message
        let start = message.start, end = message.end
        if start >= end { return }
        if let time = message.time { lastTime = max(lastTime ?? time, time) }
        if let trace = Self.trace(text, message) {
            take(trace, text, offset, tally)
            return
        }
        if text.has("TRACE ", at: start) {
            tally.notes.add(.badRecord, at: offset)
            tally.recordsLost &+= 1
            return
        }
        guard let printer = printer(of: message.caller) else {
            tally.notes.add(.outside, at: offset)
            return
        }
        if text.has("Object ", at: start) {
            dumps[message.caller]?.bytes &+= Self.dumpedBytes(text, start, end)
        } else if text.has("CPU: ", at: start) || text.has("Pid: ", at: start) || Self.beginsBacktrace(text, start) {
            endDump(message.caller)
            let isHeading = Self.beginsBacktrace(text, start)
            give(printers[printer].beginBacktrace(isHeading: isHeading, at: offset, tally), tally)
        } else if text.has("WARNING: ", at: start) || text.has("BUG: ", at: start)
            || text.has("------------[ cut here", at: start)
        {
            printers[printer].isForeign = true
            tally.notes.add(.outside, at: offset)
        } else if let owner = printers[printer].take(text, start, end, at: offset, tally) {
            give(owner, tally)
        } else if !Self.isDecoration(text, start, end) {
            tally.notes.add(.outside, at: offset)
        }
    }

    private mutating func take(_ trace: Trace, _ text: LogText, _ offset: UInt64, _ tally: Tally) {
        serial &+= 1
        tally.recordsRead &+= 1
        let name = text.bytes(trace.cacheStart, trace.cacheEnd)
        let cache = caches[name] ?? sizes.count
        if cache == sizes.count {
            caches[name] = cache
            sizes.append(
                SlabCache.kmallocBytes(name)
                    ?? (given.map { Array($0.name.utf8) == name } == true ? given?.objectBytes : nil))
        }
        let caller = trace.message.caller
        if printers.count > 4096 { endPrinters(tally) }
        let printer = printer(of: caller) ?? printers.count
        if printer == printers.count {
            printers.append(SLUBBacktraces(isAlone: caller != 0))
            printerOfCaller[caller] = printer
        }
        endDump(caller)
        if trace.isAlloc {
            if live[trace.address] != nil { tally.notes.add(.bookedTwice, at: offset) }
            live[trace.address] = Object(
                serial: serial, cache: cache, row: nil, time: trace.message.time, offset: offset)
        } else {
            if live.removeValue(forKey: trace.address) == nil { tally.notes.add(.freedUnseen, at: offset) }
            tally.freed &+= 1
            dumps[caller] = Dump(cache: cache, bytes: 0)
        }
        give(
            printers[printer].add(
                SLUBBacktraces.Pending(address: trace.address, serial: serial, cache: cache, isAlloc: trace.isAlloc),
                tally), tally)
    }

    /// The index in `printers` of a caller; nil if it has none yet.
    @inline(__always)
    private mutating func printer(of caller: UInt64) -> Int? {
        if let lastPrinter, lastPrinter.caller == caller { return lastPrinter.index }
        guard let index = printerOfCaller[caller] else { return nil }
        lastPrinter = (caller, index)
        return index
    }

    /// Assigns a complete backtrace to its object.
    private mutating func give(_ outcome: SLUBBacktraces.Outcome, _ tally: Tally) {
        switch outcome {
        case .nothing: return
        case .owned(let pending, let row):
            if pending.isAlloc, live[pending.address]?.serial == pending.serial { live[pending.address]?.row = row }
        case .shared(let group): groups.append(group)
        }
    }

    /// An object is printed completely, so the number of printed bytes is its cache's object size.
    private mutating func endDump(_ caller: UInt64) {
        if dumps.isEmpty { return }
        if let dump = dumps.removeValue(forKey: caller), dump.bytes > 0, sizes[dump.cache] == nil {
            sizes[dump.cache] = dump.bytes
        }
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

    /// Lines that come with a backtrace and are not frames.
    private static func isDecoration(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        text[start] == 0x3C || text[start] == 0x3D || text.has("Hardware name:", at: start)
            || text.has("Workqueue:", at: start)
            || text.has("Stack :", at: start) || text.has("Stack:", at: start) || text.has("---[ end trace", at: start)
            || text.has("Tainted:", at: start) || text.has("FIX ", at: start)
    }

    /// Ends all printers' open backtraces and dumps.
    private mutating func endPrinters(_ tally: Tally) {
        for (caller, printer) in printerOfCaller.sorted(by: { $0.key < $1.key }) {
            endDump(caller)
            for outcome in printers[printer].end(tally) { give(outcome, tally) }
        }
        printers.removeAll()
        printerOfCaller.removeAll()
        lastPrinter = nil
    }

    mutating func finish(into tally: Tally) {
        endPrinters(tally)
        for group in groups { settle(group, tally) }
        for object in live.values.sorted(by: { $0.offset < $1.offset }) {
            if object.row == nil { tally.notes.add(.cutRecord, at: object.offset) }
            let row = object.row ?? tally.row([tally.number(of: .cut)])
            if let bytes = sizes[object.cache] {
                tally.add(row: row, bytes: bytes, at: object.offset)
            } else {
                tally.notes.add(.sizeUnknown, at: object.offset)
                tally.addOfUnknownSize(row: row, blocks: 1, at: object.offset)
            }
            if let time = object.time, let lastTime { tally.addAge(row: row, seconds: max(0, lastTime - time)) }
        }
    }

    /// If all objects are live and in one cache, the assignment does not matter. Otherwise it isn't known.
    private mutating func settle(_ group: SLUBBacktraces.Group, _ tally: Tally) {
        let members = group.members
        let areAlike =
            members.count == group.rows.count
            && members.allSatisfy {
                $0.isAlloc && $0.cache == members[0].cache && live[$0.address]?.serial == $0.serial
            }
        for (index, member) in members.enumerated()
        where member.isAlloc && live[member.address]?.serial == member.serial {
            if areAlike {
                live[member.address]?.row = group.rows[index]
                continue
            }
            live[member.address]?.row = tally.row([tally.number(of: .cut)])
            tally.notes.add(.ownerUnknown, at: live[member.address]?.offset ?? group.offset)
        }
    }
}
