// Makes heap images from a description, for tests and benchmarks: the recorder's side of the format,
// written from heap_image.h alone. It must never use the reader's code, whose oracle it is.

import CHeapImage
import Glibc

/// Describes one image; `bytes()` makes it.
package struct ImageBuilder {
    package var kind = HEAP_KIND_PACKED
    /// Identity, options and sums; offsets and sections are filled in by `bytes()`.
    package var header = heap_header()
    package var program = "/usr/bin/sample"
    package var arguments = ["sample", "--all"]
    package var allocator = "/lib/x86_64-linux-gnu/libc.so.6"
    package private(set) var blockCount = 0

    package private(set) var modules: [heap_module] = [heap_module()]
    package private(set) var nodes: [heap_node] = [heap_node()]
    /// Stacks as version 1 laid them out, which has all of a stack in one entry.
    package var stacks: [heap_stack_1] = [heap_stack_1(), heap_stack_1()]
    /// The version that `bytes()` writes.
    package var version = HEAP_VERSION
    package var threads: [heap_thread] = []
    package var rings: [heap_ring] = []
    package var timeline: [heap_sample] = []
    /// What section NAMES holds; the flag goes with it.
    package var names: [heap_name] = []
    private var strings: [UInt8] = [0]
    private var nodeOf: [NodeKey: UInt32] = [:]
    private var denseBlocks: [UInt8] = []
    private var pieces: [heap_piece] = [heap_piece()]
    private var slots = [UInt8](repeating: 0, count: Int(HEAP_PIECE_BYTES))
    private var pieceOf: [PieceKey: Int] = [:]
    private var lastPiece: (key: PieceKey, index: Int)?

    private struct NodeKey: Hashable {
        var parent: UInt32
        var frame: UInt64
    }
    private struct PieceKey: Hashable {
        var map: UInt32
        var base: UInt64
    }

    package init(kind: heap_kind = HEAP_KIND_PACKED, pid: UInt32 = 4242) {
        self.kind = kind
        header.pid = pid
        header.start_time = 123_456
        header.state = (kind == HEAP_KIND_PACKED ? HEAP_STATE_EXITED : HEAP_STATE_RUNNING).rawValue
        header.depth = 128
        header.unwinder = HEAP_UNWINDER_OWN.rawValue
        header.granule_log2 = (
            UInt8(HEAP_GRANULE_LOG2_FINE_GLIBC), UInt8(HEAP_GRANULE_LOG2_1),
            UInt8(HEAP_GRANULE_LOG2_2), UInt8(HEAP_GRANULE_LOG2_3),
            UInt8(HEAP_GRANULE_LOG2_4)
        )
        // A boot that never was: such a program does not run.
        header.boot_id = (0xB0, 0x07, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
        header.started_monotonic_ns = 1_000_000_000
        header.peak_epoch = 1
    }

    package mutating func addString(_ bytes: some Sequence<UInt8>) -> heap_string {
        let start = strings.count
        strings.append(contentsOf: bytes)
        return heap_string(offset: UInt32(start), length: UInt32(strings.count - start))
    }

    /// Adds an entry of NAMES.
    package mutating func addName(
        _ frame: UInt64, _ function: String?, symbol: String? = nil, file: String? = nil, line: UInt32 = 0,
        offset: UInt64 = HEAP_NAME_NO_SYMBOL,
        flags: UInt32 = 0
    ) {
        func string(_ text: String?) -> heap_string { text.map { addString($0.utf8) } ?? heap_string() }
        names.append(
            heap_name(
                frame: frame, symbol_offset: offset, function: string(function), symbol: string(symbol),
                file: string(file), line: line, flags: flags))
    }

    /// Adds a module; its number is what frames say.
    package mutating func addModule(
        _ path: String, buildID: [UInt8] = [], bias: UInt64 = 0, fileBytes: UInt64 = 0, modifiedNanoseconds: UInt64 = 0,
        isReplaced: Bool = false
    ) -> UInt32 {
        var module = heap_module()
        (module.file_bytes, module.modified_ns) = (fileBytes, modifiedNanoseconds)
        module.path = addString(path.utf8)
        withUnsafeMutableBytes(of: &module.build_id) { $0.copyBytes(from: buildID.prefix(Int(HEAP_BUILD_ID_BYTES))) }
        module.build_id_length = UInt32(min(buildID.count, Int(HEAP_BUILD_ID_BYTES)))
        module.bias = bias
        module.flags = HEAP_MODULE_READY.rawValue | (isReplaced ? HEAP_MODULE_REPLACED.rawValue : 0)
        modules.append(module)
        return UInt32(modules.count - 1)
    }

    /// Adds a node, equal ones once unless `duplicate`.
    package mutating func addNode(parent: UInt32, frame: UInt64, duplicate: Bool = false) -> UInt32 {
        let key = NodeKey(parent: parent, frame: frame)
        if !duplicate, let node = nodeOf[key] { return node }
        nodes.append(heap_node(frame: frame, parent: parent, stack: 0))
        nodeOf[key] = UInt32(nodes.count - 1)
        return UInt32(nodes.count - 1)
    }

    /// Adds a stack of these frames, innermost first, and answers its number. With `duplicate` all its
    /// nodes are new, as where two threads inserted them at once.
    package mutating func addStack(_ frames: [UInt64], duplicate: Bool = false) -> UInt32 {
        var node: UInt32 = 0
        for frame in frames.reversed() { node = addNode(parent: node, frame: frame, duplicate: duplicate) }
        var stack = heap_stack_1()
        stack.node = node
        stack.peak_epoch = header.peak_epoch
        stacks.append(stack)
        nodes[Int(node)].stack = UInt32(stacks.count - 1)
        return UInt32(stacks.count - 1)
    }

    /// Puts a live block into the live map. `counted` books it in its stack's folded counters too.
    package mutating func addBlock(
        address: UInt64, bytes: UInt64, stack: UInt32, tick: UInt32 = 0, counted: Bool = true
    ) {
        if kind == HEAP_KIND_RUNNING {
            putSparse(address: address, bytes: bytes, stack: stack, tick: tick)
        } else {
            append(heap_block(address: address, slot: heap_slot_make(stack, tick, 0), bytes: bytes), to: &denseBlocks)
        }
        blockCount += 1
        if counted { count(stack, allocated: 1, bytes: bytes) }
    }

    /// Adds to a stack's folded counters, and to the header's sums.
    package mutating func count(
        _ stack: UInt32, allocated: UInt64 = 0, bytes: UInt64 = 0, freed: UInt64 = 0, freedBytes: UInt64 = 0
    ) {
        stacks[Int(stack)].allocated_blocks += allocated
        stacks[Int(stack)].allocated_bytes += bytes
        stacks[Int(stack)].freed_blocks += freed
        stacks[Int(stack)].freed_bytes += freedBytes
    }

    /// The slot word that the recorder would publish for this block.
    package func slot(address: UInt64, bytes: UInt64, stack: UInt32, tick: UInt32 = 0) -> UInt64 {
        let (map, granule) = map(for: bytes)
        let offset = UInt32(address & (1 << granule - 1))
        let low = map == HEAP_MAP_FINE ? UInt32(bytes) << UInt32(HEAP_SLOT_FINE_SIZE_SHIFT) | offset : offset
        return heap_slot_make(stack, tick, low)
    }

    private func map(for bytes: UInt64) -> (map: UInt32, granuleLog2: UInt64) {
        // What glibc would make of the request: 8 bytes more, in steps of 16, 24 of them usable at least.
        let usable = max(24, (bytes + 8 + 15) & ~15 - 8)
        if usable >= 1 << HEAP_GRANULE_LOG2_4 { return (4, UInt64(HEAP_GRANULE_LOG2_4)) }
        if usable >= 1 << HEAP_GRANULE_LOG2_3 { return (3, UInt64(HEAP_GRANULE_LOG2_3)) }
        if usable >= 1 << HEAP_GRANULE_LOG2_2 { return (2, UInt64(HEAP_GRANULE_LOG2_2)) }
        if usable >= 1 << HEAP_GRANULE_LOG2_1 { return (1, UInt64(HEAP_GRANULE_LOG2_1)) }
        return (HEAP_MAP_FINE, UInt64(header.granule_log2.0))
    }

    /// Writes a slot of the sparse live map as it stands; a word of 0 empties it.
    package mutating func putSlot(address: UInt64, bytes: UInt64, word: UInt64) {
        let (map, granule) = map(for: bytes)
        let wordBytes = Int(heap_map_slot_bytes(map))
        let span = UInt64(heap_map_leaf_slots(map)) << granule
        let key = PieceKey(map: map, base: address & ~(span - 1))
        let piece: Int
        if let lastPiece, lastPiece.key == key {
            piece = lastPiece.index
        } else if let found = pieceOf[key] {
            piece = found
        } else {
            piece = pieces.count
            pieces.append(heap_piece(base: key.base, kind: HEAP_PIECE_LEAF.rawValue, map: map))
            slots.append(contentsOf: repeatElement(0, count: Int(HEAP_PIECE_BYTES)))
            pieceOf[key] = piece
        }
        lastPiece = (key, piece)
        let place = piece * Int(HEAP_PIECE_BYTES) + Int((address - key.base) >> granule) * wordBytes
        slots.withUnsafeMutableBytes {
            $0.storeBytes(of: word, toByteOffset: place, as: UInt64.self)
            if wordBytes == 16 { $0.storeBytes(of: bytes, toByteOffset: place + 8, as: UInt64.self) }
        }
    }

    private mutating func putSparse(address: UInt64, bytes: UInt64, stack: UInt32, tick: UInt32) {
        putSlot(address: address, bytes: bytes, word: slot(address: address, bytes: bytes, stack: stack, tick: tick))
    }

    /// Adds a thread with an empty ring and answers its number.
    package mutating func addThread(tid: UInt32) -> Int {
        var thread = heap_thread()
        thread.tid = tid
        threads.append(thread)
        rings.append(heap_ring())
        return threads.count - 1
    }

    /// Writes event `number` into a thread's ring; `commit` moves the head past it.
    package mutating func putEvent(
        thread: Int, number: UInt64, kind: heap_event_kind, address: UInt64, slot: UInt64, bytes: UInt64,
        tick: UInt32 = 0, flags: UInt32 = 0, commit: Bool = true
    ) {
        let tag =
            (number & 0xFFFF_FFFF) << UInt64(HEAP_EVENT_SEQUENCE_SHIFT)
            | UInt64(flags) << UInt64(HEAP_EVENT_FLAGS_SHIFT)
            | UInt64(kind.rawValue) << UInt64(HEAP_EVENT_KIND_SHIFT) | UInt64(tick)
        let event = heap_event(address: address, slot: slot, bytes: bytes, tag: tag)
        withUnsafeMutableBytes(of: &rings[thread]) {
            $0.storeBytes(of: event, toByteOffset: Int(number % UInt64(HEAP_RING_EVENTS)) * 32, as: heap_event.self)
        }
        if commit { threads[thread].head = number + 1 }
    }

    /// The image's bytes.
    package func bytes() -> [UInt8] {
        var builder = self
        return builder.build()
    }

    /// Writes the image to `path`, which must not be there yet.
    package func write(to path: String) throws {
        let bytes = bytes()
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw BuilderError.system(path, errno) }
        defer { close(descriptor) }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done)
            }
            guard count > 0 else { throw BuilderError.system(path, errno) }
            done += count
        }
    }

    package enum BuilderError: Error { case system(String, CInt) }

    private mutating func build() -> [UInt8] {
        header.magic = HEAP_MAGIC
        header.version = version
        header.byte_order = HEAP_BYTE_ORDER
        let isOld = version == HEAP_VERSION_1
        let headerBytes =
            switch version {
            case HEAP_VERSION_1: Int(HEAP_HEADER_1_BYTES)
            case HEAP_VERSION_2: Int(HEAP_HEADER_2_BYTES)
            case HEAP_VERSION_3: Int(HEAP_HEADER_3_BYTES)
            default: MemoryLayout<heap_header>.size
            }
        header.header_bytes = UInt32(headerBytes)
        header.kind = kind.rawValue
        header.program = addString(program.utf8)
        header.arguments = addString(arguments.joined(separator: "\0").utf8)
        header.allocator = addString(allocator.utf8)

        var contents = [[UInt8]](repeating: [], count: Int(HEAP_SECTION_COUNT.rawValue))
        func put<Entry: BitwiseCopyable>(_ name: heap_section_name, _ entries: [Entry]) {
            entries.withUnsafeBytes { contents[Int(name.rawValue)] = Array($0) }
        }
        put(HEAP_SECTION_STRINGS, strings)
        put(HEAP_SECTION_MODULES, modules)
        put(HEAP_SECTION_NODES, nodes)
        if isOld {
            put(HEAP_SECTION_STACKS, stacks)
        } else {
            var details = [heap_detail()]
            put(HEAP_SECTION_STACKS, stacks.map { Self.split($0, &details) })
            put(HEAP_SECTION_DETAILS, details)
        }
        put(HEAP_SECTION_THREADS, threads)
        put(HEAP_SECTION_EVENTS, rings)
        put(HEAP_SECTION_TIMELINE, timeline)
        if kind == HEAP_KIND_RUNNING {
            put(HEAP_SECTION_PIECES, pieces)
            contents[Int(HEAP_SECTION_SLOTS.rawValue)] = slots
        } else {
            contents[Int(HEAP_SECTION_BLOCKS.rawValue)] = denseBlocks
        }
        if !names.isEmpty {
            put(HEAP_SECTION_NAMES, names)
            header.flags |= HEAP_FLAG_NAMES.rawValue
        }
        let index = UInt32(names.isEmpty ? 8 : MemoryLayout<heap_name>.size)
        let entryBytes: [UInt32] = [
            1, 120, 16, UInt32(isOld ? MemoryLayout<heap_stack_1>.size : MemoryLayout<heap_stack>.size), 256, 4096, 32,
            16,
            16384, 24, index, 4, HEAP_DETAIL_BYTES,
        ]
        // A running image's sections have room to grow, by pages; a dense one's stand end to end.
        let step: UInt64 = kind == HEAP_KIND_RUNNING ? 4096 : 8
        var position = (UInt64(headerBytes) + step - 1) / step * step
        var sections = [heap_section](repeating: heap_section(), count: contents.count)
        // Blocks and what comes with flags last, as they are what a cut takes away first.
        for number in contents.indices.sorted(by: { Self.order($0) < Self.order($1) }) {
            let content = contents[number]
            let count = UInt64(content.count)
            let capacity = kind == HEAP_KIND_RUNNING && count > 0 ? (count + 4096 + step - 1) / step * step : count
            sections[number] = heap_section(
                offset: position, capacity: capacity, used: count / UInt64(entryBytes[number]), ready_bytes: count,
                entry_bytes: entryBytes[number], reserved: 0)
            position = (position + capacity + step - 1) / step * step
        }
        withUnsafeMutableBytes(of: &header.sections) { bytes in
            sections.withUnsafeBytes { bytes.copyMemory(from: $0) }
        }
        var image: [UInt8] = []
        image.reserveCapacity(Int(position))
        append(header, to: &image)
        if version == HEAP_VERSION_2 || version == HEAP_VERSION_3 { image.removeLast(image.count - headerBytes) }
        if isOld {
            image.removeLast(image.count - Int(HEAP_SECTIONS_1_OFFSET))
            for section in sections.prefix(Int(HEAP_SECTIONS_1_COUNT)) { append(section, to: &image) }
        }
        for number in contents.indices.sorted(by: { Self.order($0) < Self.order($1) }) where !contents[number].isEmpty {
            let (section, content) = (sections[number], contents[number])
            image.append(contentsOf: repeatElement(0, count: Int(section.offset) - image.count))
            image.append(contentsOf: content)
        }
        image.append(contentsOf: repeatElement(0, count: Int(position) - image.count))
        return image
    }

    private static func order(_ section: Int) -> Double {
        section == Int(HEAP_SECTION_DETAILS.rawValue) ? Double(HEAP_SECTION_STACKS.rawValue) + 0.5 : Double(section)
    }

    /// A stack of today's version, with what it refers to in `details`.
    private static func split(_ old: heap_stack_1, _ details: inout [heap_detail]) -> heap_stack {
        var stack = heap_stack()
        stack.node = old.node
        stack.levels = heap_levels(old.peak_epoch, old.snapshots)
        stack.allocated_blocks = old.allocated_blocks
        stack.allocated_bytes = old.allocated_bytes
        stack.freed_blocks = old.freed_blocks
        stack.freed_bytes = old.freed_bytes
        stack.temporary_blocks = old.temporary_blocks
        let lifetimes = [0] + withUnsafeBytes(of: old.lifetimes) { Array($0.bindMemory(to: UInt64.self)) }
        let levels = withUnsafeBytes(of: old.levels) { Array($0.bindMemory(to: heap_level.self)) }
            .prefix(Int(old.snapshots))
        // The first lifetime goes into the stack's own word, all others into DETAILS.
        let first = lifetimes.firstIndex { $0 > 0 }
        if let first { stack.lifetime = heap_lifetime_word(UInt32(first), UInt32(lifetimes[first])) }
        let others = lifetimes.indices.contains { $0 != first && lifetimes[$0] > 0 }
        guard others || old.peak.bytes != 0 || old.peak.blocks != 0 || !levels.isEmpty else { return stack }
        let place = details.count
        stack.detail = UInt32(place)
        details.append(heap_detail(snapshots: 0, lifetimes: 0, peak: old.peak))
        for (number, level) in levels.enumerated() {
            let entry = heap_snapshot(next: details[place].snapshots, number: UInt32(number), held: level)
            details[place].snapshots = UInt32(details.count)
            withUnsafeBytes(of: entry) { details.append($0.loadUnaligned(as: heap_detail.self)) }
        }
        if others {
            details[place].lifetimes = UInt32(details.count)
            let words = lifetimes.indices.map { $0 == first ? 0 : lifetimes[$0] }
            words.withUnsafeBytes { details += Array($0.bindMemory(to: heap_detail.self)) }
        }
        return stack
    }

    private func append<Value: BitwiseCopyable>(_ value: Value, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }
}
