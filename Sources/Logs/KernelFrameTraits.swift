// What a kernel function's name tells about its place in a backtrace. Determined once for each frame, because a log has
// the same few thousand functions in millions of lines.

import Reduce

/// Traits of one frame, by its name.
struct KernelFrameTraits: OptionSet {
    var rawValue: UInt8

    /// It prints backtraces or requests one, so it is only at the inner end.
    static let prints = KernelFrameTraits(rawValue: 1)
    static let allocates = KernelFrameTraits(rawValue: 2)
    static let frees = KernelFrameTraits(rawValue: 4)
    /// It is only at the outer end.
    static let isRoot = KernelFrameTraits(rawValue: 8)
    /// It may come after a root: x86 goes on with other words of the stack; x86_64's assembler entries come last,
    /// arm64's after the handler.
    static let isOuter = KernelFrameTraits(rawValue: 16)
    /// It has a name with an offset.
    static let isNamed = KernelFrameTraits(rawValue: 32)
    static let isKnown = KernelFrameTraits(rawValue: 128)

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(_ frame: LogFrame) {
        self = .isKnown
        if frame.symbolOffset != nil { insert(.isNamed) }
        frame.name.withUnsafeBytes { bytes in
            let name = LogText(bytes)
            func has(_ words: [StaticString]) -> Bool { words.contains { name.find($0, from: 0) != nil } }
            if Self.printers.contains(where: { name.has($0, at: 0) }) { insert(.prints) }
            if name.has("alloc_debug_processing", at: 0) || has(["slab_alloc", "kmalloc", "kmem_cache_alloc"]) {
                insert(.allocates)
            }
            if has(["free"]) { insert(.frees) }
            if has(Self.roots) { insert(.isRoot) }
            if has(Self.outer) { insert(.isOuter) }
        }
    }

    private static let printers: [StaticString] = [
        "dump_stack", "dump_backtrace", "show_stack", "unwind_backtrace", "dump_trace", "trace",
        "alloc_debug_processing", "free_debug_processing",
    ]
    private static let roots: [StaticString] = [
        "ret_from_fork", "entry_SYSCALL", "el0t_64_sync", "el0t_32_sync", "el0_svc_naked", "ret_fast_syscall",
        "ret_from_kernel_thread",
        "system_call_fastpath", "system_call_exception", "secondary_startup_64", "start_secondary",
        "ret_from_exception",
    ]
    private static let outer: [StaticString] = [
        "do_syscall", "el0", "_asm", "kthread", "startup", "start_kernel", "rest_init", "cpu_startup",
    ]

    /// True if the line [start, end) has a function that is only at the inner end of a backtrace.
    static func beginsBacktrace(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        printers.contains { $0.utf8CodeUnitCount > 5 && text.find($0, from: start, to: end) != nil }
    }
}

extension Tally {
    /// The traits of a numbered frame.
    func traits(of number: UInt32) -> KernelFrameTraits {
        let number = Int(number)
        if number >= kernelTraits.count {
            kernelTraits.append(
                contentsOf: repeatElement(
                    KernelFrameTraits(rawValue: 0), count: max(frames.count, number + 1) - kernelTraits.count))
        }
        if !kernelTraits[number].contains(.isKnown) { kernelTraits[number] = KernelFrameTraits(frames[number]) }
        return kernelTraits[number]
    }
}
