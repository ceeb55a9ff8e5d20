// The few lines that heaprun prints at the end. Bytes are requested bytes. What could not be booked is reported, and if
// nothing was recorded, the reason.

import CHeapImage
import HeapImage
import Symbols
import SystemPackage
import Text

extension Harvest {
    /// The report, one entry for each line, ready to be shown: commands in it must not be escaped again.
    func report(program: FilePath, ending: Ending, output: FilePath) -> [String] {
        var lines: [String] = messages.prefix(10).map { "heaprun: \($0)" }
        if messages.count > 10 { lines.append("heaprun: and \(messages.count - 10) more messages") }
        lines += problems.map { "heaprun: \($0)" }
        for image in running.prefix(8) {
            lines.append(
                "heaprun: \(image.program) (PID \(image.pid)) still runs; its image stays at \(image.path.text)")
        }
        if running.count > 8 {
            lines.append("heaprun: and \(running.count - 8) more programs that still run, beside it")
        }
        for link in links.prefix(8) { lines.append("  linked: \(link.text)") }
        for image in lost.prefix(8) {
            lines.append(
                "heaprun: \(image.program) (PID \(image.pid)) ran in a sandbox that can't be reached from here: its "
                    + "image could not be reached, and is not among these"
            )
        }
        if lost.count > 8 { lines.append("heaprun: and \(lost.count - 8) more programs in sandboxes, likewise") }
        for stray in strays.prefix(8) {
            lines.append(
                "heaprun: \(stray.program) (PID \(stray.pid)) could not write into the run directory (another user by "
                    + "then?); its image is \(stray.path.text)"
            )
        }
        if strays.count > 8 { lines.append("heaprun: and \(strays.count - 8) more such images, beside it") }

        let name = program.lastComponent?.text ?? program.text
        if case .killed(let signal, let dumpedCore) = ending {
            lines.append("heaprun: \(name) ended by signal \(signalText(signal))" + (dumpedCore ? ", core dumped" : ""))
        }
        guard !packed.isEmpty else {
            // The library's message is the reason. Without a message the reason can only be guessed.
            if running.isEmpty && strays.isEmpty && problems.isEmpty && lost.isEmpty {
                lines.append(
                    "heaprun: \(name) was not recorded"
                        + (messages.isEmpty ? ": no image of it appeared: \(missingReason)" : ", for the reason above"))
            }
            return lines.map(printable)
        }
        lines += totals(name: name, program: program)
        lines += largestLines()
        if let interval = packed.map(\.sampleInterval).max(), interval > 0 {
            lines.append("  sampled: 1 byte in \(separated(interval)), so these are estimates; heapsum tells how good")
        }
        for line in packed.flatMap({ $0.lossLines(many: packed.count > 1) }).prefix(8) { lines.append("  \(line)") }
        if let line = packed.last(where: \.isRoot)?.residenceLine { lines.append("  \(line)") }
        return lines.map(printable) + pathLines(output: output)
    }

    private var missingReason: String {
        "the loader ignored LD_PRELOAD, or the program was not to be recorded (HEAPSUM_ONLY, HEAPSUM_SKIP, --only, "
            + "--skip), "
            + "or it ended before its first instruction"
    }

    // The first program separately, because the user asked for it; the sum of the programs that it started.
    private func totals(name: String, program: FilePath) -> [String] {
        func sum(_ images: some Sequence<PackedImage>) -> String {
            let (bytes, blocks) = images.reduce((UInt64(0), UInt64(0))) {
                ($0.0 &+ $1.liveBytes, $0.1 &+ $1.liveBlocks)
            }
            return "\(separated(bytes)) bytes live in \(counted(blocks, "block"))"
        }
        // If it went on by exec, its last image shows how it ended.
        guard let first = packed.lastIndex(where: \.isRoot) else {
            return [
                "heaprun: \(name) itself left no image; \(counted(UInt64(packed.count), "image")) of its children: "
                    + "\(sum(packed))"
            ]
        }
        let image = packed[first]
        let who = "heaprun: \(image.program) (PID \(image.pid))"
        // The programs' peaks were at different times, so their sum would mean nothing.
        var lines = [
            image.isSilent
                ? "\(who) made no allocation that could be seen: \(silenceReason(program))"
                : "\(who): \(sum([image])), peak \(separated(image.peakBytes)) bytes"
        ]
        if packed.count > 1 {
            let others = packed.indices.filter { $0 != first }.map { packed[$0] }
            let whose = others.contains(where: \.isRoot) ? "" : ", of its children"
            lines.append("heaprun: and \(counted(UInt64(others.count), "more image"))\(whose): \(sum(others))")
        }
        return lines
    }

    // Calls that are bound to the program's own function never reach a library.
    private func silenceReason(_ program: FilePath) -> String {
        let own = ((try? resolveProgram(program))?.loaded).flatMap { path in definesMalloc(path) ? path : nil }
        return own.map { "not recorded, as it has a malloc of its own (\($0.text) defines it)" }
            ?? "it makes none, or has a malloc of its own linked into it"
    }

    private func largestLines() -> [String] {
        // The same stack of many processes is one line.
        var byFrames: [[ModuleFrame]: (PackedImage, LargeStack)] = [:]
        for image in packed {
            for stack in image.largest {
                if let known = byFrames[stack.frames]?.1 {
                    byFrames[stack.frames]?.1.bytes = known.bytes &+ stack.bytes
                    byFrames[stack.frames]?.1.blocks = known.blocks &+ stack.blocks
                } else {
                    byFrames[stack.frames] = (image, stack)
                }
            }
        }
        let rows = byFrames.values.sorted { $0.1.bytes > $1.1.bytes }.prefix(3)
        let lines = StackLines()
        let bytesWidth = rows.map { separated($0.1.bytes).utf8.count }.max() ?? 0
        let blocksWidth = rows.map { counted($0.1.blocks, "block").utf8.count }.max() ?? 0
        return rows.map { image, stack in
            let bytes = leftPadded(separated(stack.bytes), bytesWidth),
                blocks = leftPadded(counted(stack.blocks, "block"), blocksWidth)
            let origin = packed.count > 1 || !image.isRoot ? "\(image.program): " : ""
            return "  \(bytes) bytes  \(blocks)  \(origin)\(lines.line(of: stack.frames))"
        }
    }

    private func pathLines(output: FilePath) -> [String] {
        if packed.count <= 3 {
            var lines = packed.map { "  image: \(printable($0.path.text))" }
            lines.append("  more:  heapsum \(packed.map { shellWord($0.path.text) }.joined(separator: " "))")
            return lines
        }
        return [
            "  images: \(packed.count) in \(printable(output.text))", "  more:   heapsum \(shellWord(output.text))",
        ]
    }
}

extension PackedImage {
    /// Nothing was seen of it, not even lost allocations. For a sampled program that means little.
    var isSilent: Bool {
        sampleInterval == 0 && allocatedBlocks == 0 && losses.lost_allocations == 0 && losses.early_allocations == 0
    }

    /// Shown if malloc had the smaller part of the resident memory: then the search may be in the wrong place.
    var residenceLine: String? {
        let other = UInt64(residence.anonymous_kb) + UInt64(residence.shared_kb),
            allocator = UInt64(residence.allocator_kb)
        // Small amounts are a program's first pages, not a heap.
        guard residence.measured_ns > 0, other > allocator, other >= 8 << 10 else { return nil }
        return
            "malloc held \(separated(allocator << 10)) bytes of its memory and others \(separated(other << 10)): "
            + "heapsum info says more"
    }

    func lossLines(many: Bool) -> [String] {
        let who = many ? "\(program) (PID \(pid)): " : ""
        var lines: [String] = []
        func add(_ count: UInt64, _ what: String, _ text: String) {
            if count > 0 { lines.append("\(who)\(counted(count, what)) \(text)") }
        }
        add(
            losses.lost_allocations, "allocation",
            "(\(separated(losses.lost_bytes)) bytes) not in the image: there was no space")
        add(
            losses.early_allocations, "allocation",
            "not in the image: before recording could start, or while another thread started it")
        add(
            losses.lost_stacks, "allocation",
            "in the image without a stack: no space for it, or a handler's while there could be none")
        add(
            losses.limited_allocations, "allocation",
            "under the known part of their stack alone: it was new, and the image had its most stacks (--max-stacks)")
        add(losses.failed_dumps, "dump", "could not be written")
        add(losses.healed_slots, "free", "went past the library (a second libc, or calls of __libc_free)")
        if isFull { lines.append("\(who)the image reached its maximum size, and recording stopped there") }
        return lines
    }
}

private func definesMalloc(_ path: FilePath) -> Bool {
    guard let listing = try? SymbolListing(path: path.text) else { return false }
    return listing.symbols.contains { symbol in
        var name: [UInt8] = []
        listing.appendName(of: symbol, to: &name)
        return name == Array("malloc".utf8)
    }
}

/// Writes a few stacks as one line each, for the summary. Each module's symbols are read once.
private final class StackLines {
    private struct Key: Hashable { var path: [UInt8], buildID: [UInt8], file: ExpectedFile? }
    private var symbols: [Key: ModuleSymbols?] = [:]
    private let demangler = Demangler()
    /// What calls main, of glibc and of musl.
    private static let starts: Set = ["__libc_start_main", "__libc_start_call_main", "libc_start_main_stage2"]

    /// The innermost function that doesn't belong to the runtime, and its two callers.
    func line(of frames: [ModuleFrame]) -> String {
        // C functions between Python's and the allocator serve Python's.
        let python = frames.compactMap(\.python).prefix(3).map { self.shortened(printable(pathText($0))) }
        if !python.isEmpty { return python.joined(separator: " ← ") }
        var named = frames.prefix(64).map { (frame: $0, name: self.name($0)) }
        guard let innermost = named.first.map({ shortened($0.name) }) else { return "(no stack)" }
        // Frames that lead to main or to a thread's first function say nothing about the program either.
        if let start = named.firstIndex(where: { Self.starts.contains($0.name) }) { named.removeSubrange(start...) }
        while let last = named.last, isRuntime(last.frame, last.name) { named.removeLast() }
        let own = named.drop { isRuntime($0.frame, $0.name) }
        return own.isEmpty ? innermost : own.prefix(3).map { shortened($0.name) }.joined(separator: " ← ")
    }

    private func name(_ frame: ModuleFrame) -> String {
        if let name = frame.compiled { return name }
        if frame.path.isEmpty { return hexadecimal(frame.offset) }
        // A return address belongs to the call before it.
        if let name = table(of: frame)?.name(at: frame.offset &- 1)?.name { return demangler.demangle(name) }
        return "\(frame.fileName)+\(hexadecimal(frame.offset))"
    }

    private func table(of frame: ModuleFrame) -> ModuleSymbols? {
        let key = Key(path: frame.path, buildID: frame.buildID, file: frame.file)
        if let known = symbols[key] { return known }
        let made = try? ModuleSymbols(
            path: pathText(frame.path), expectedBuildID: frame.buildID.isEmpty ? nil : frame.buildID,
            expectedFile: frame.file)
        symbols[key] = .some(made)
        return made
    }

    // Functions between the program's code and its memory say nothing about who allocated. In addition to those that
    // heapsum's views leave out, this leaves out whole libraries and the usual names of a checked malloc, because three
    // names have no room for them.
    private func isRuntime(_ frame: ModuleFrame, _ name: String) -> Bool {
        let file = frame.fileName
        return RuntimeLibraries.contains(file: file) || AllocationFunctions.standsBetween(name)
            || ["swift_", "alloc::", "xmalloc", "xcalloc", "xrealloc"].contains { name.hasPrefix($0) }
    }

    private func shortened(_ name: String) -> String { name.count <= 80 ? name : name.prefix(79) + "…" }
}

extension ModuleFrame {
    fileprivate var fileName: String { path.isEmpty ? "" : ImageNames.baseName(pathText(path)) }
}
