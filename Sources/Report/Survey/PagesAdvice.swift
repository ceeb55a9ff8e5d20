// What can be done about an allocator's free memory, in words with figures: malloc's settings as they stand, what they
// do to this heap, and what would give memory back.

import CHeapImage
import HeapImage
import Leaks
import Reduce
import Survey
import Text

extension PagesReport {
    /// Less than this is not worth a change.
    private static let least: UInt64 = 1 << 20

    /// Sentences, each with its figure.
    package var advice: [String] {
        guard survey.hasResidency else {
            if survey.isOfEnd {
                return [
                    "The program has ended. Which pages of its live blocks were in memory then is in the image; "
                        + "malloc's free pages, and what a trim would have given back, are not."
                ]
            }
            return [
                "This is an image alone: which pages were resident is not in it, and each page with a live block "
                    + "counts. heapsum pages PID surveys a program that runs."
            ]
        }
        return survey.isGlibc ? adviceForGlibc + adviceOnPins : [adviceForOthers] + adviceOnPins
    }

    private var adviceForGlibc: [String] {
        var lines: [String] = []
        let sums = survey.sums
        let free = sums.free
        lines.append(
            "malloc_trim(0) would give back \(separated(sums.returned)) of \(separated(free)) free bytes"
                + (sums.returned < Self.least && free >= Self.least
                    ? ": it is no way out, since the rest lies on pages in use." : "."))
        if let parameters = survey.parameters {
            lines += advice(parameters)
        } else {
            lines.append("M_TRIM_THRESHOLD and M_MMAP_THRESHOLD could not be read.")
        }
        let arenas = survey.arenas.filter { $0.kind == .arena }
        let inArenas = arenas.reduce(0) { $0 &+ $1.sums.resident }
        if arenas.count > 1, inArenas >= Self.least {
            let free = arenas.reduce(0) { $0 &+ $1.sums.free }
            lines.append(
                "\(counted(UInt64(arenas.count), "arena")) beside the main one have \(separated(inArenas)) bytes, of "
                    + "which \(separated(free)) are free: MALLOC_ARENA_MAX=2 in the environment makes threads share.")
        }
        return lines
    }

    private func advice(_ parameters: MallocParameters) -> [String] {
        let mapped = parameters.mmapThreshold, trim = parameters.trimThreshold
        let normal = MallocParameters.defaultThreshold
        var lines = [
            "free gives back the end of the main heap where more than \(separated(trim)) bytes are free there "
                + "(M_TRIM_THRESHOLD); blocks from \(separated(mapped)) bytes on get mappings of their own "
                + "(M_MMAP_THRESHOLD), which free gives back at once."
        ]
        if parameters.isFixed {
            lines.append("The program or its environment set these: malloc doesn't change them.")
        } else if mapped > normal {
            lines.append(
                "malloc raised both by itself, from \(separated(normal)) bytes, when the program freed a block with a "
                    + "mapping of \(separated(mapped)) bytes. \(textOfRaises) Blocks up to that size now come "
                    + "from the heap, and stay there after free. MALLOC_MMAP_THRESHOLD_=\(normal) and "
                    + "MALLOC_TRIM_THRESHOLD_=\(normal) in the "
                    + "environment keep them where they were.")
        }
        return lines
    }

    private var adviceOnPins: [String] {
        guard let first = rows.first, first.sums.pinned >= Self.least else { return [] }
        let sums = first.sums
        return [
            "\(names.shortStack(first.node)) pins most: \(separated(sums.pinned)) free bytes with "
                + "\(separated(sums.live)) live ones. If its \(counted(sums.blocks, "block")) were gone, or lay "
                + "together instead of between others, \(separated(sums.alone)) bytes of pages could go."
        ]
    }

    private var adviceForOthers: String {
        let sums = survey.sums
        return "\(separated(sums.unclear)) bytes of pages have no live block: the allocator can give back no more than "
            + "these. " + knobs
    }

    private var knobs: String {
        let allocator = reduction.inputs.first?.image.map { ImageNames.baseName($0.allocator) } ?? ""
        if allocator.contains("jemalloc") {
            return
                "jemalloc gives free pages back after some seconds: MALLOC_CONF=dirty_decay_ms:1000,muzzy_decay_ms:0 "
                + "does it sooner, mallctl(\"arena.4096.purge\") at once. It keeps whole runs of "
                + "pages for a size: of a run with one live block it gives nothing back."
        }
        if allocator.contains("tcmalloc") {
            return "tcmalloc keeps free pages: MallocExtension_ReleaseFreeMemory() gives them back, "
                + "TCMALLOC_RELEASE_RATE=10 does it sooner. It gives "
                + "back whole spans: of a span with one live block nothing."
        }
        if allocator.contains("mimalloc") {
            return
                "mimalloc gives free pages back later: mi_collect(true) at once, MIMALLOC_PURGE_DELAY=0 sooner. Which "
                + "it would give back is not foretold."
        }
        return "The allocator is not glibc's: what it would give back is not foretold."
    }
}
