// Where a process's resident memory was, in `heapsum info`: by kind of mapping. If malloc has the smaller part, it says
// which runtime may have the rest, and what to set or use to examine it. The runtime is recognized by names. A guess is
// marked as one, and the numbers don't depend on it.

import CHeapImage
import HeapImage
import Text

/// Writes the resident memory of one image by kind of mapping; nothing if it was not measured.
package struct ResidenceReport {
    package var style: Style

    package init(style: Style) { self.style = style }

    package func write(_ image: HeapImage, to out: TextOutput) throws {
        let residence = image.header.residence
        guard residence.measured_ns > 0 else { return }
        func bytes(_ kilobytes: UInt32) -> UInt64 { UInt64(kilobytes) << 10 }
        try out.write(
            "\n" + style.bold("Resident memory") + ", after \(shortDuration(Double(residence.measured_ns) / 1e9))\n")
        let kinds: [(UInt32, String)] = [
            (residence.allocator_kb, "malloc's: its heap, arenas, and blocks with mappings of their own"),
            (residence.anonymous_kb, "other anonymous memory, which is not malloc's"),
            (residence.stacks_kb, "stacks"),
            (residence.files_kb, "files: programs, libraries and their data, mapped files"),
            (residence.shared_kb, "shared memory"),
            (residence.image_kb, "heapsum's own image"),
        ]
        for (kilobytes, name) in kinds { try out.write("  \(leftPadded(separated(bytes(kilobytes)), 16))  \(name)\n") }
        if residence.swapped_kb > 0 {
            try out.write("  \(leftPadded(separated(bytes(residence.swapped_kb)), 16))  swapped out, in addition\n")
        }

        let other = bytes(residence.anonymous_kb) + bytes(residence.shared_kb),
            allocator = bytes(residence.allocator_kb)
        guard other > allocator, other >= 1 << 20 else { return }
        try out.write(
            "  " + style.warning("malloc is the smaller part")
                + ": \(separated(allocator)) bytes, and \(separated(other)) that heapsum "
                + (image.hasMappings ? "shows only as mappings.\n" : "doesn't see.\n"))
        if image.hasMappings { return }
        let runtimes = Self.runtimes(of: image)
        for runtime in runtimes { try out.write("  \(runtime.advice)\n") }
        if runtimes.isEmpty {
            try out.write(
                "  It comes from mmap, by the program itself or an allocator of its own: heaprun --mappings records\n"
                    + "  who maps it; /proc/PID/smaps shows what there is.\n")
        }
    }

    /// A runtime with its own heap.
    enum Runtime: CaseIterable {
        case java, python, javaScript, go, dotnet, php

        /// What to set or use, in lines of the report's width.
        var advice: String {
            switch self {
            case .java:
                "Java's heap is the JVM's own: jcmd PID GC.heap_info and GC.heap_dump show it, -Xmx bounds it;\n"
                    + "  -XX:NativeMemoryTracking=summary with jcmd PID VM.native_memory splits the rest."
            case .python:
                "CPython has small objects in arenas of its own: with PYTHONMALLOC=malloc set, each is a malloc "
                    + "block,\n"
                    + "  which heapsum sees; tracemalloc names the Python lines."
            case .javaScript:
                "JavaScript's objects are in the engine's heap: node --heapsnapshot-signal=SIGUSR1 or --inspect shows "
                    + "it,\n"
                    + "  --max-old-space-size=MB bounds it; process.memoryUsage() tells it from buffers, which are "
                    + "malloc's."
            case .go:
                "Go's heap is its runtime's own: runtime/pprof or net/http/pprof's heap profile shows it,\n"
                    + "  GODEBUG=gctrace=1 follows it, GOMEMLIMIT bounds it."
            case .dotnet:
                "The .NET heap is the runtime's own: dotnet-gcdump and dotnet-counters show it,\n"
                    + "  DOTNET_GCHeapHardLimit bounds it."
            case .php:
                "PHP has a memory manager of its own: with USE_ZEND_ALLOC=0 set, it uses malloc, which heapsum sees."
            }
        }

        func matches(program: String, modules: [String]) -> Bool {
            func isNamed(_ names: [String]) -> Bool { names.contains(program) }
            func has(_ prefix: String) -> Bool { modules.contains { $0.hasPrefix(prefix) } }
            return switch self {
            case .java: isNamed(["java", "jsvc"]) || has("libjvm.so")
            case .python: program.hasPrefix("python") || program.hasPrefix("uwsgi") || has("libpython")
            case .javaScript: isNamed(["node", "nodejs", "electron", "d8", "qjs"]) || has("libnode.so") || has("libv8")
            case .go: has("libgo.so")
            case .dotnet: program == "dotnet" || has("libcoreclr.so") || has("libmonosgen")
            case .php: program.hasPrefix("php") || has("libphp")
            }
        }
    }

    static func runtimes(of image: HeapImage) -> [Runtime] {
        let modules = image.modules().filter(\.isKnown).map { ImageNames.baseName($0.pathText) }
        let program = image.programName
        return Runtime.allCases.filter {
            $0.matches(program: program, modules: modules) || $0 == .go && isGo(image.program)
        }
    }

    // Go's linker writes a note at a program's start, with a name of four bytes, "Go", and type 4. If the file is gone,
    // it isn't known.
    private static func isGo(_ path: String) -> Bool {
        guard path.hasPrefix("/"), let file = try? FileSource(path: path) else { return false }
        var head = [UInt8](repeating: 0, count: 16 << 10)
        let count = (try? head.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }) ?? 0
        let name: [UInt8] = [4, 0, 0, 0, UInt8(ascii: "G"), UInt8(ascii: "o"), 0, 0]
        return stride(from: 8, to: max(count - 8, 8), by: 4).contains {
            head[$0 ..< $0 + 8].elementsEqual(name) && head[$0 - 8] == 4
        }
    }
}
