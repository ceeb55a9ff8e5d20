// The state of a recorded program for people: identity, counts, allocator, losses, modules and the timeline. Numbers
// that can't be trusted have a note beside them.

import CHeapImage
import HeapImage
import Reduce
import Survey
import Symbols
import Text

/// Writes the output of `heapsum info` for one image.
package struct InfoReport {
    package var style: Style
    /// The verdict on a running process's memory; nil: what the image itself says.
    package var memory: String?
    /// All of a running process's address space, if its mappings were booked.
    package var mappings: MappingSurvey?

    package init(style: Style) { self.style = style }

    package func write(_ image: HeapImage, to out: TextOutput) throws {
        let census = try image.census()
        let header = image.header
        func line(_ name: String, _ text: String) throws {
            try out.write(style.dim(padded(name, 14)) + text + "\n")
        }
        func heading(_ text: String) throws { try out.write("\n" + style.bold(text) + "\n") }

        try out.write(style.bold(printable(image.file)) + "\n")
        try line("kind", kindText(image))
        try line("program", image.program.isEmpty ? "not known" : printable(image.program))
        if !image.arguments.isEmpty { try line("arguments", image.arguments.map(shellWord).joined(separator: " ")) }
        try line("pid", "\(header.pid), parent \(header.parent_pid)")
        try line("state", image.stateText(inFull: true))
        try line(
            "recorded",
            "for \(shortDuration(Double(census.momentNanoseconds) / 1e9)), from \(utcTime(header.started_realtime_ns))")
        try line("allocator", image.allocator.isEmpty ? "not known" : printable(image.allocator))
        if let recorder = image.recorder { try line("recorder", "heapsum \(recorder)") }
        try line("unwinder", unwinderText(header.unwinder))
        try line(
            "stacks",
            "at most \(counted(UInt64(header.depth), "frame"))"
                + (image.hasFlag(HEAP_FLAG_THREADS) ? ", rooted in their threads" : ""))
        if header.verified_stacks > 0 {
            let text =
                "\(counted(header.verified_stacks, "stack")) held against libunwind, "
                + "\(separated(UInt64(header.differing_stacks))) differ, "
                + "\(separated(UInt64(header.shorter_stacks))) are cut where it goes on"
            try line("verified", header.differing_stacks > 0 ? style.warning(text) : text)
        }
        try line("dump signal", signalText(image))
        if header.dumps > 0 { try line("dumps", "\(header.dumps) so far") }
        if image.isSampled {
            try line(
                "sampled",
                "1 byte in \(separated(image.sampleInterval)): all counts are estimates, what is live from "
                    + "\(counted(census.liveRecords, "block")); losses count drawn blocks")
        }
        if image.hasFlag(HEAP_FLAG_FORKED) { try line("forked", "blocks inherited from the parent are not included") }
        if image.hasFlag(HEAP_FLAG_ATTACHED) {
            try line(
                "attached",
                "to a program that ran already: blocks from before \(utcTime(header.started_realtime_ns)) are not in "
                    + "here"
                    + (image.isSampled
                        ? "" : "; \(counted(image.losses.unmatched_frees, "free")) of blocks from before"))
        }
        if image.hasFlag(HEAP_FLAG_DETACHED) {
            try line("detached", "recording was ended from outside, and the program went on")
        }
        if image.hasFlag(HEAP_FLAG_STOPPED) {
            try line(
                "stopped",
                style.warning("recording ended before the program did: a seccomp filter forbade what it needs"))
        }
        if image.hasFlag(HEAP_FLAG_UNREACHED) {
            try line(
                "started",
                style.warning(
                    "a program where the library can't be reached (a sandbox, another root or user): that one is not "
                        + "recorded"
                ))
        }
        if image.hasFlag(HEAP_FLAG_BROKEN) {
            try line(
                "broken",
                style.warning(
                    "one of the recorder's own checks failed: don't rely on this image, and report it"))
        }
        if header.gone_stacks > 0 {
            try line(
                "packed",
                "\(counted(header.gone_stacks, "stack")) that came and went, held nothing at the end, at the peak and "
                    + "at "
                    + "any snapshot, and did little are one row")
        }
        if header.losses.limited_allocations > 0 {
            try line(
                "stacks",
                style.warning(
                    "the image had its most, \(separated(header.maximum_stacks)): allocations by others count under "
                        + "the "
                        + "known part of their stack"))
        }
        if image.hasFlag(HEAP_FLAG_TAGS) {
            let tags = Set(image.nodes().frames.filter { heap_frame_module($0) == HEAP_MODULE_TAG })
            let kept = tags.filter { heap_tag_string($0).length > 0 }
            try line(
                "tags",
                separated(UInt64(kept.count)) + (kept.count < tags.count ? " and more than are kept, as one" : "")
                    + " (heapsum --by tag)")
        }
        if let text = contextText(image) { try line("otel context", text) }
        if let text = pythonText(header) { try line("python", text) }
        if let text = compiledText(image) { try line("compiled code", text) }
        if image.hasFlag(HEAP_FLAG_FULL) {
            try line(
                "full", style.warning("recording of new blocks stopped at \(separated(header.maximum_bytes)) bytes"))
        }

        try heading("Counts")
        let allocated = census.stacks.reduce(into: Row.History()) { $0.add($1) }
        let errors = image.isSampled ? census.variance : nil
        try line(
            "live",
            "\(Table.estimate(separated(census.liveBytes), errors?.errorBytes)) bytes in "
                + (errors.map { "\(Table.estimate(separated(census.liveBlocks), $0.errorBlocks)) blocks" }
                    ?? counted(census.liveBlocks, "block")))
        try line(
            "allocated",
            "\(separated(allocated.allocatedBytes)) bytes in \(counted(allocated.allocatedBlocks, "block"))")
        try line("freed", "\(separated(allocated.freedBytes)) bytes in \(counted(allocated.freedBlocks, "block"))")
        try line(
            "temporary", "\(counted(allocated.temporaryBlocks, "block")) freed before the thread's next allocation")
        try line(
            "peak",
            "\(separated(census.peak.bytes)) bytes in \(counted(census.peak.blocks, "block"))"
                + (header.peak_ns > 0 ? ", after \(shortDuration(Double(header.peak_ns) / 1e9))" : "")
                + (header.peak_error_bytes > 0 ? ", right to \(separated(header.peak_error_bytes)) bytes" : ""))
        if let memory = memory ?? MemoryVerdict(image, census: census)?.text { try line("memory", memory) }
        if header.rss_bytes > 0 {
            try line("resident", "\(separated(header.rss_bytes)) bytes, at most \(separated(header.rss_peak_bytes))")
        }
        let used = census.stacks.dropFirst().filter { $0.liveBlocks > 0 || $0.allocatedBlocks > 0 }
        try line(
            "unique stacks",
            "\(separated(UInt64(used.count))), \(separated(UInt64(used.filter { $0.liveBlocks > 0 }.count))) with live "
                + "blocks"
        )
        if census.inFlight > 0 {
            try line("in flight", "\(counted(UInt64(census.inFlight), "reallocation")), each counted as it stood")
        }
        if census.settledBlocks > 0 {
            try line(
                "settled",
                "\(counted(census.settledBlocks, "event")) by the live blocks: the end interrupted the counting")
        }

        try MappingReport(style: style).write(image, mappings, to: out)
        try ResidenceReport(style: style).write(image, to: out)
        try AllocatorReport(style: style).write(image, census, to: out)

        try heading("Losses")
        var any = false
        for (name, value) in Self.losses(image) where value > 0 {
            any = true
            try out.write("  \(leftPadded(separated(value), 14))  \(name)\n")
        }
        if census.lostRecords > 0 {
            any = true
            try out.write(
                "  \(leftPadded(separated(census.lostRecords), 14))  records of live blocks: the file was cut off\n")
        }
        if !any && image.damages.isEmpty { try out.write("  none\n") }
        for damage in image.damages {
            try out.write("  " + style.warning("damaged: " + printable(damage.description)) + "\n")
        }

        try writeMarks(image, heading, to: out)
        try writeModules(image, heading, to: out)
        try writeTimeline(image, heading, to: out)
    }

    private func kindText(_ image: HeapImage) -> String {
        // In a damaged header, a dump may end before it began.
        let writing = image.header.ended_ns &- min(image.header.began_ns, image.header.ended_ns)
        return switch image.kind {
        case .running: "image as the program writes it"
        case .packed: "packed image of a finished program"
        case .dump: "dump, written within \(shortDuration(Double(writing) / 1e9))"
        }
    }

    private func unwinderText(_ unwinder: UInt32) -> String {
        switch unwinder {
        case HEAP_UNWINDER_NONE.rawValue: "none: a stack is only the caller's address"
        case HEAP_UNWINDER_LIBUNWIND.rawValue: "libunwind"
        case HEAP_UNWINDER_OWN.rawValue: "own, by the modules' unwind tables"
        case HEAP_UNWINDER_FP.rawValue: "own, by frame pointers"
        default: "one that is not known (\(unwinder))"
        }
    }

    private func signalText(_ image: HeapImage) -> String {
        guard image.header.dump_signal != 0 else { return "none" }
        let name = signalName(Int32(truncatingIfNeeded: image.header.dump_signal))
        return image.hasFlag(HEAP_FLAG_SIGNAL_OF_PROGRAM)
            ? "\(name), which the program handles itself and keeps: it makes no dumps" : name
    }

    /// What is not in the image, and how often: of malloc's blocks, of mappings and of pools. Most are 0.
    ///
    /// - Complexity: O(1), or O(mappings) if mappings were recorded
    static func losses(_ image: HeapImage) -> [(String, UInt64)] {
        losses(image.losses)
            + (image.mappingSums().map { sums in
                [
                    ("calls that mapped or unmapped memory and found no space", sums.lostCalls),
                    ("bytes of mappings that are not told right because of them", sums.lostBytes),
                ]
            } ?? [])
            + (image.poolSums().map { [("blocks of pools that are not booked", $0.lostBlocks)] } ?? [])
            + (image.requestSums().map { sums in
                [
                    (
                        "places with requests to Valgrind that are not seen: the code can't be changed",
                        sums.refusedPlaces
                    ),
                    ("places that may be requests to Valgrind, or data: left as they are", sums.unsurePlaces),
                    ("blocks booked without their pool, which stay when it is destroyed", sums.lostPools),
                ]
            } ?? [])
    }

    private static func losses(_ losses: heap_losses) -> [(String, UInt64)] {
        [
            ("allocations that are not in the image: no space", losses.lost_allocations),
            ("bytes that these requested", losses.lost_bytes),
            ("allocations before recording could start, which are not in the image", losses.early_allocations),
            (
                "allocations booked without their stack: no space for it, or a handler's while there could be none",
                losses.lost_stacks
            ),
            (
                "allocations under the known part of their stack: it was new, beyond --max-stacks",
                losses.limited_allocations
            ),
            ("peaks, snapshots and lifetimes of stacks that found no space", losses.lost_details),
            ("stacks cut at the depth limit, or where the unwinder gave up", losses.cut_stacks),
            ("events booked without a ring", losses.ringless_events),
            ("frees of blocks that were never booked", losses.unmatched_frees),
            ("frees of blocks that a forked child inherited", losses.inherited_frees),
            ("blocks whose free was not seen by the recorder, noticed later", losses.healed_slots),
            ("frames kept as absolute addresses: no space for their module", losses.refused_modules),
            ("dumps that failed", losses.failed_dumps),
            ("reservations of space that failed", losses.failed_reservations),
            ("allocations that the program had paused the recording for (heapsum_pause)", losses.paused_allocations),
            ("bytes that these requested", losses.paused_bytes),
            ("frees of blocks that are not booked, since the first pause", losses.paused_frees),
            ("records of live blocks that were lost before this copy was made", losses.lost_records),
        ]
    }

    private func writeMarks(_ image: HeapImage, _ heading: (String) throws -> Void, to out: TextOutput) throws {
        let marks = image.marks()
        guard !marks.isEmpty else { return }
        let all = max(UInt64(image.header.marks), UInt64(marks.count))
        try heading("Marks (\(separated(all)))")
        if all > UInt64(marks.count) {
            try out.write("  the newest \(marks.count) are kept, \(separated(all - UInt64(marks.count))) are gone\n")
        }
        for mark in marks {
            try out.write(
                "  \(leftPadded(shortDuration(Double(mark.nanoseconds) / 1e9), 8))  \(printable(mark.name))\n")
        }
    }

    private func writeModules(_ image: HeapImage, _ heading: (String) throws -> Void, to out: TextOutput) throws {
        let modules = image.modules().filter(\.isKnown)
        try heading("Modules (\(modules.count))")
        let symbolizer = Symbolizer(hasLines: false)
        var nameless = 0
        for module in modules {
            let buildID = module.buildID.isEmpty ? "no build-id" : String(hexadecimal(module.buildID).prefix(16))
            var text =
                "  \(padded(hexadecimal(module.start), 14))  \(padded(buildID, 16))  \(printable(module.pathText))"
            if module.unloadedNanoseconds > 0 {
                text += ", gone after \(shortDuration(Double(module.unloadedNanoseconds) / 1e9))"
            }
            text += fileText(module)
            if module.moved { text += ", at more than one address" }
            if let reason = reasonForNoSymbols(module, symbolizer) {
                nameless += 1
                text += ", " + style.warning("no symbols") + ": " + printable(reason)
            }
            try out.write(text + "\n")
        }
        if nameless > 0 {
            try out.write(
                "  \(counted(UInt64(nameless), "module")) without symbols: frames in there are shown by their offset. "
                    + "Debug packages, --debug-dir and --symbols help.\n"
            )
        }
    }

    private func expectedFile(_ module: Module) -> ExpectedFile? {
        guard module.buildID.isEmpty else { return nil }
        return ExpectedFile(
            byteCount: module.file?.byteCount, modifiedNanoseconds: module.file?.modifiedNanoseconds,
            isReplaced: module.isReplaced)
    }

    /// What is known about a module's file besides a build-id.
    private func fileText(_ module: Module) -> String {
        if module.isReplaced { return ", deleted or replaced while the program ran" }
        guard module.buildID.isEmpty, module.path.first == UInt8(ascii: "/") else { return "" }
        guard let file = module.file else { return ", of a size and date that are not known" }
        return ", \(separated(file.byteCount)) bytes of \(utcTime(file.modifiedNanoseconds))"
    }

    /// Why a module's frames can't be named on this machine; nil if they can, and for the kernel's own pages, which
    /// have no file.
    private func reasonForNoSymbols(_ module: Module, _ symbolizer: Symbolizer) -> String? {
        guard module.path.first == UInt8(ascii: "/") else { return nil }
        do {
            _ = try symbolizer.module(
                path: module.pathText, buildID: module.buildID.isEmpty ? nil : module.buildID,
                file: expectedFile(module))
            return nil
        } catch {
            return "\(error)"
        }
    }

    private func writeTimeline(_ image: HeapImage, _ heading: (String) throws -> Void, to out: TextOutput) throws {
        let samples = image.timeline()
        try heading("Timeline (\(counted(UInt64(samples.count), "sample")))")
        guard let most = samples.map(\.liveBytes).max(), !samples.isEmpty else { return }
        // About twenty lines, evenly spread over the samples, and always the last.
        let step = max(1, (samples.count + 19) / 20)
        let shown = samples.indices.filter { $0 % step == step - 1 || $0 == samples.count - 1 }
        let width = min(40, max(10, (style.width ?? 100) - 50))
        for index in shown {
            let sample = samples[index]
            let bar = most == 0 ? 0 : Int(Double(sample.liveBytes) / Double(most) * Double(width) + 0.5)
            try out.write(
                "  \(leftPadded(shortDuration(Double(sample.nanoseconds) / 1e9), 8))  "
                    + "\(leftPadded(separated(sample.liveBytes), 16))  \(leftPadded(separated(sample.liveBlocks), 12)) "
                    + " "
                    + String(repeating: "█", count: bar) + "\n")
        }
        try out.write(
            style.dim("  \(leftPadded("at", 8))  \(leftPadded("live bytes", 16))  \(leftPadded("blocks", 12))") + "\n")
    }
}

/// Whether the frames of JIT compilers' code have names; nil if the image stores nothing of them.
private func compiledText(_ image: HeapImage) -> String? {
    guard let stored = image.storedNames() else { return nil }
    let frames = Set(
        image.nodes().frames.filter { heap_frame_module($0) == HEAP_MODULE_NONE && heap_frame_offset($0) > 0 })
    var (named, reused) = (0, 0)
    for (frame, entries) in stored.frames where frames.contains(frame) {
        guard let name = stored.names(entries).last else { continue }
        if name.function != nil { named += 1 }
        if name.isReused { reused += 1 }
    }
    guard named + reused > 0 else { return nil }
    return "names of \(separated(UInt64(named))) of \(counted(UInt64(frames.count), "frame")) outside of all modules, "
        + "from the files of a JIT compiler"
        + (reused > 0 ? "; \(separated(UInt64(reused))) more lie where it put several functions" : "")
}

/// How far OpenTelemetry's thread context could be read; nil without heaprun --otel-context.
private func contextText(_ image: HeapImage) -> String? {
    guard image.hasFlag(HEAP_FLAG_OTEL_CONTEXT) else { return nil }
    if !image.hasFlag(HEAP_FLAG_OTEL_VARIABLE) {
        return "no module has the variable otel_thread_ctx_v1, so no thread has a context"
    }
    if !image.hasFlag(HEAP_FLAG_OTEL_KEYS) {
        return "otel_thread_ctx_v1 is there, but no thread had a context whose attributes' names could be read"
    }
    if !image.hasFlag(HEAP_FLAG_OTEL_NAMED) { return "read; the program gave no attribute that name" }
    return "read; it is the tag of blocks whose thread has one"
}

/// What is known of Python's frames; nil without heaprun --python, and for a program without a CPython.
private func pythonText(_ header: heap_header) -> String? {
    guard header.python > 0 else { return nil }
    let major = header.python >> 24, minor = header.python >> 16 & 0xFF, micro = header.python >> 8 & 0xFF
    if major != 3 || !(11 ... 13).contains(minor) {
        return "CPython \(major > 0 ? "\(major).\(minor).\(micro)" : "before 3.11"): its frames can't be read "
            + "(those of 3.11 to 3.13 can)"
    }
    let text = "CPython \(major).\(minor).\(micro): its frames are among the C frames"
    if header.unmixed_stacks == 0 { return text }
    let count =
        header.unmixed_stacks == .max
        ? "more than \(separated(UInt64(header.unmixed_stacks)))"
        : separated(UInt64(header.unmixed_stacks))
    return text + ", except for \(count) allocations, whose Python frames could not be read or did not fit"
}
