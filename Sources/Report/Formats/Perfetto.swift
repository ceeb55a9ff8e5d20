// A trace for Perfetto (https://ui.perfetto.dev), by perfetto_trace.proto of Perfetto 59: a native heap profile as its
// own heapprofd writes it, with what each stack has allocated and freed until the image's moment; the live bytes and
// blocks over time as counters, the resident size as process_stats, and marks as slices.
//
// All times are CLOCK_MONOTONIC's. Packets are of a few hundred KB at most, because readers hold each one in memory.
//
// Invariant: no call stack occurs twice. The reader would take the second one for a later moment of the first.

import HeapImage
import Reduce
import Text

extension MachineReport {
    func writePerfetto(to out: TextOutput) throws {
        let (input, image, census) = try requireOneImage(.perfetto)
        var trace = PerfettoTrace(self, input, image, out)
        try trace.writeClocks(image)
        try trace.writeProcess()
        try trace.writeTimeline(until: census.momentNanoseconds)
        try trace.writeMarks(until: census.momentNanoseconds)
        try trace.writeProfile(at: census.momentNanoseconds)
    }
}

private struct PerfettoTrace {
    /// Fields of TracePacket.
    private enum Field {
        static let processTree: UInt64 = 2, clockSnapshot: UInt64 = 6, timestamp: UInt64 = 8, processStats: UInt64 = 9
        static let sequence: UInt64 = 10, trackEvent: UInt64 = 11, internedData: UInt64 = 12, flags: UInt64 = 13
        static let profile: UInt64 = 37, clock: UInt64 = 58, trackDescriptor: UInt64 = 60
    }
    /// Fields of InternedData.
    private enum Interned {
        static let function: UInt64 = 5, frame: UInt64 = 6, callstack: UInt64 = 7, buildID: UInt64 = 16
        static let path: UInt64 = 17, source: UInt64 = 18, mapping: UInt64 = 19
    }
    private enum Clock { static let realtime: UInt64 = 1, monotonic: UInt64 = 3, monotonicCoarse: UInt64 = 4 }
    private enum Track { static let process: UInt64 = 1, bytes: UInt64 = 2, blocks: UInt64 = 3, marks: UInt64 = 4 }

    private struct Place: Hashable {
        var function: Int, mapping: Int, address: UInt64, source: Int, line: Int
    }

    private let report: MachineReport
    private let image: HeapImage
    private let processID: UInt64
    private let out: TextOutput
    private var functions = Numbering<String>(from: 1), sources = Numbering<String>(from: 1)
    private var paths = Numbering<String>(from: 1), buildIDs = Numbering<[UInt8]>(from: 1)
    private var mappings = Numbering<UInt32>(from: 1), places = Numbering<Place>(from: 1)
    private var stacks = Numbering<[Int]>(from: 1)
    /// Entries that were numbered and not written yet.
    private var interned = ProtobufWriter()
    private var isFirstInterned = true

    private static let packetBytes = 1 << 18

    init(_ report: MachineReport, _ input: Input, _ image: HeapImage, _ out: TextOutput) {
        (self.report, self.image, self.out) = (report, image, out)
        processID = UInt64(input.processID ?? image.header.pid)
    }

    private func time(_ nanoseconds: UInt64) -> UInt64 { image.header.started_monotonic_ns &+ nanoseconds }

    /// Writes a packet, which is an entry of the message Trace.
    private func write(at nanoseconds: UInt64? = nil, _ build: (inout ProtobufWriter) -> Void) throws {
        var trace = ProtobufWriter()
        trace.message(1) {
            $0.number(Field.sequence, 1)
            if let nanoseconds {
                $0.number(Field.timestamp, time(nanoseconds))
                $0.number(Field.clock, Clock.monotonic)
            }
            build(&$0)
        }
        try out.write(trace.bytes)
    }

    /// The clocks at the recording's start; times of the trace are the monotonic one's.
    func writeClocks(_ image: HeapImage) throws {
        let header = image.header
        try write {
            $0.message(Field.clockSnapshot) { snapshot in
                for (clock, nanoseconds) in [
                    (Clock.monotonic, header.started_monotonic_ns),
                    (Clock.monotonicCoarse, header.started_monotonic_ns), (Clock.realtime, header.started_realtime_ns),
                ] where nanoseconds > 0 {
                    snapshot.message(1) {
                        $0.number(1, clock)
                        $0.number(2, nanoseconds)
                    }
                }
                snapshot.number(2, Clock.monotonic)
            }
        }
    }

    func writeProcess() throws {
        try write(at: 0) {
            $0.message(Field.processTree) {
                $0.message(1) { process in
                    process.number(1, processID)
                    process.number(2, UInt64(image.header.parent_pid))
                    process.text(3, printable(image.program))
                }
            }
        }
        try writeTrack(Track.process, nil) { $0.message(3) { $0.number(1, processID) } }
    }

    private func writeTrack(_ number: UInt64, _ name: String?, _ build: (inout ProtobufWriter) -> Void) throws {
        try write {
            $0.message(Field.trackDescriptor) {
                $0.number(1, number)
                if let name {
                    $0.text(2, name)
                    $0.number(5, Track.process)
                }
                build(&$0)
            }
        }
    }

    // MARK: Over time

    func writeTimeline(until end: UInt64) throws {
        try writeTrack(Track.bytes, "live bytes") { $0.message(8) { $0.number(3, 3) } }
        try writeTrack(Track.blocks, "live blocks") { $0.message(8) { $0.number(3, 2) } }
        let totals = report.reduction.totals
        func write(_ bytes: UInt64, _ blocks: UInt64, _ resident: UInt64?, at nanoseconds: UInt64) throws {
            try writeCounter(Track.bytes, bytes, at: nanoseconds)
            try writeCounter(Track.blocks, blocks, at: nanoseconds)
            guard let resident else { return }
            try self.write(at: nanoseconds) {
                $0.message(Field.processStats) {
                    $0.message(1) {
                        $0.number(1, processID)
                        $0.number(3, resident >> 10)
                    }
                }
            }
        }
        for sample in image.timeline() where sample.nanoseconds < end {
            try write(sample.liveBytes, sample.liveBlocks, sample.rssBytes, at: sample.nanoseconds)
        }
        try write(totals.liveBytes, totals.liveBlocks, nil, at: end)
    }

    private func writeCounter(_ track: UInt64, _ value: UInt64, at nanoseconds: UInt64) throws {
        try write(at: nanoseconds) {
            $0.message(Field.trackEvent) {
                $0.number(9, 4)
                $0.number(11, track)
                $0.one(30, min(value, UInt64(Int64.max)))
            }
        }
    }

    /// Each mark as a slice that lasts until the next.
    func writeMarks(until moment: UInt64) throws {
        let marks = image.marks()
        // The moment of a program whose end nobody saw is that of its last event, which may be before its last mark.
        guard let last = marks.map(\.nanoseconds).max() else { return }
        try writeTrack(Track.marks, "marks") { _ in }
        for (place, mark) in marks.enumerated() {
            if place > 0 { try writeSliceEnd(at: mark.nanoseconds) }
            try write(at: mark.nanoseconds) {
                $0.message(Field.trackEvent) {
                    $0.number(9, 1)
                    $0.number(11, Track.marks)
                    $0.text(23, printable(mark.name))
                }
            }
        }
        try writeSliceEnd(at: max(moment, last))
    }

    private func writeSliceEnd(at nanoseconds: UInt64) throws {
        try write(at: nanoseconds) {
            $0.message(Field.trackEvent) {
                $0.number(9, 2)
                $0.number(11, Track.marks)
            }
        }
    }

    // MARK: The profile

    mutating func writeProfile(at moment: UInt64) throws {
        struct Sums { var allocatedBytes: UInt64 = 0, freedBytes: UInt64 = 0, allocated: UInt64 = 0, freed: UInt64 = 0 }
        var sums: [Sums] = []
        for row in report.selection.rows {
            let (number, isNew) = stack(of: row)
            if isNew { sums.append(Sums()) }
            // Blocks may be filtered out, or those of the peak shown: what is not shown as live counts as freed.
            let allocatedBytes = max(row.history?.allocatedBytes ?? 0, row.bytes)
            let allocated = max(row.history?.allocatedBlocks ?? 0, row.blocks)
            sums[number - 1].allocatedBytes &+= allocatedBytes
            sums[number - 1].freedBytes &+= allocatedBytes - row.bytes
            sums[number - 1].allocated &+= allocated
            sums[number - 1].freed &+= allocated - row.blocks
            if interned.bytes.count > Self.packetBytes { try writeInterned() }
        }
        try writeInterned()
        var samples = ProtobufWriter(), packets: UInt64 = 0
        func writeSamples(isLast: Bool) throws {
            try write(at: moment) {
                $0.number(Field.flags, 2)
                $0.message(Field.profile) { packet in
                    packet.message(5) {
                        $0.number(1, processID)
                        $0.append(samples)
                        $0.number(9, time(moment))
                        // The name by which the viewer knows a heap of malloc's.
                        $0.text(11, "libc.malloc")
                        // heapprofd samples at least every byte.
                        $0.number(12, max(1, image.sampleInterval))
                        $0.number(13, max(1, image.sampleInterval))
                        $0.number(15, time(0))
                    }
                    packet.number(6, isLast ? 0 : 1)
                    packet.number(7, packets)
                }
            }
            samples = ProtobufWriter()
            packets += 1
        }
        for (place, sum) in sums.enumerated() where sum.allocated > 0 || sum.allocatedBytes > 0 {
            samples.message(2) {
                $0.number(1, UInt64(place + 1))
                $0.number(2, sum.allocatedBytes)
                $0.number(3, sum.freedBytes)
                $0.number(5, sum.allocated)
                $0.number(6, sum.freed)
            }
            if samples.bytes.count > Self.packetBytes { try writeSamples(isLast: false) }
        }
        try writeSamples(isLast: true)
    }

    private mutating func writeInterned() throws {
        let entries = interned, flags: UInt64 = isFirstInterned ? 1 : 2
        (interned, isFirstInterned) = (ProtobufWriter(), false)
        try write {
            $0.number(Field.flags, flags)
            $0.bytes(Field.internedData, entries.bytes)
        }
    }

    /// The number of a row's stack, whose frames the reader wants from the outermost inward.
    private mutating func stack(of row: Row) -> (number: Int, isNew: Bool) {
        var frames = report.entries(row).reversed().map { frame($0) }
        // A stack without a frame is left out by the reader.
        if frames.isEmpty {
            let function = intern(Interned.function, "(no frames)", in: \.functions)
            frames = [frame(Place(function: function, mapping: 0, address: 0, source: 0, line: 0))]
        }
        let stack = stacks.use(frames)
        if stack.isNew {
            interned.message(Interned.callstack) {
                $0.number(1, UInt64(stack.number))
                // Not packed: the definition is proto2's.
                for number in frames { $0.number(2, UInt64(number)) }
            }
        }
        return stack
    }

    private mutating func frame(_ named: NamedFrame) -> Int {
        let module = report.reduction.modules[Int(named.frame.module)]
        let isPlace = named.frame.isCode
        // Without a name the viewer shows module and address; text outside of modules is all that there is.
        let name = named.function.map(printable) ?? (module.isFile ? nil : named.text)
        let address = !isPlace || named.frame.module == SpecialModule.named ? 0 : named.frame.offset
        return frame(
            Place(
                function: name.map { intern(Interned.function, $0, in: \.functions) } ?? 0,
                mapping: module.isFile ? mapping(named.frame.module, module) : 0,
                address: address > 0 ? address - 1 : 0,
                source: named.file.map { intern(Interned.source, printable($0), in: \.sources) } ?? 0,
                line: named.line ?? 0))
    }

    private mutating func frame(_ place: Place) -> Int {
        let (number, isNew) = places.use(place)
        if isNew {
            interned.message(Interned.frame) {
                $0.number(1, UInt64(number))
                $0.number(2, UInt64(place.function))
                $0.number(3, UInt64(place.mapping))
                $0.number(4, place.address)
                $0.number(5, UInt64(place.source))
                $0.number(6, UInt64(clamping: place.line))
            }
        }
        return number
    }

    private mutating func mapping(_ number: UInt32, _ module: ReducedModule) -> Int {
        let (mapping, isNew) = mappings.use(number)
        guard isNew else { return mapping }
        // The reader puts a slash in front of each part of a path.
        let path = printable(
            pathText(module.path.first == UInt8(ascii: "/") ? module.path.dropFirst() : module.path[...]))
        let part = intern(Interned.path, path, in: \.paths)
        var buildID = 0
        if !module.buildID.isEmpty {
            let use = buildIDs.use(module.buildID)
            if use.isNew { intern(Interned.buildID, use.number, module.buildID) }
            buildID = use.number
        }
        let addresses = module.addresses
        interned.message(Interned.mapping) {
            $0.number(1, UInt64(mapping))
            $0.number(2, UInt64(buildID))
            $0.number(4, addresses.lowerBound)
            $0.number(5, addresses.upperBound)
            $0.number(7, UInt64(part))
        }
        return mapping
    }

    private mutating func intern(
        _ field: UInt64, _ text: String, in table: WritableKeyPath<PerfettoTrace, Numbering<String>>
    ) -> Int {
        let (number, isNew) = self[keyPath: table].use(text)
        if isNew { intern(field, number, Array(text.utf8)) }
        return number
    }

    private mutating func intern(_ field: UInt64, _ number: Int, _ bytes: [UInt8]) {
        interned.message(field) {
            $0.number(1, UInt64(number))
            $0.bytes(2, bytes)
        }
    }
}
