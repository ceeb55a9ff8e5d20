// Gathers a recording's images when the program has ended: each running image is packed into the output directory and
// removed, unless a process still writes it. An image is removed only after it was packed, or if it holds nothing.

import CHeapImage
import Glibc
import HeapImage
import Proc
import Symbols
import SystemPackage
import Text

/// One finished image.
struct PackedImage {
    var path: FilePath
    var program: String
    var pid: UInt32
    var isRoot: Bool
    var liveBytes: UInt64
    var liveBlocks: UInt64
    var peakBytes: UInt64
    /// Allocations ever booked. If there is none, the library did not see the program's malloc.
    var allocatedBlocks: UInt64
    var losses: heap_losses
    var residence: heap_residence
    var isFull: Bool
    /// Mean bytes between two sampled ones; 0: every block was recorded.
    var sampleInterval: UInt64
    var allocator: String
    /// The stacks that hold the most, largest first; more than are shown, because other programs may have the same
    /// ones.
    var largest: [LargeStack]
}

/// A stack and what it holds.
struct LargeStack {
    var bytes: UInt64
    var blocks: UInt64
    /// Innermost first.
    var frames: [ModuleFrame]
}

/// A frame that means the same in every process: frames are equal if file, build-id and offset are.
struct ModuleFrame: Hashable {
    /// Empty if no module was there; then the offset is an absolute address.
    var path: [UInt8]
    var buildID: [UInt8]
    /// Its file, if it has no build-id; else nil.
    var file: ExpectedFile?
    /// The return address less the module's load bias.
    var offset: UInt64
    /// The name of a Python function; then there is no module.
    var python: [UInt8]?
    /// The name of a JIT compiler's function; then there is no module, either.
    var compiled: String?
}

/// Everything that was found when the program had ended.
struct Harvest {
    var packed: [PackedImage] = []
    /// Images of programs that still run, left where they are. PIDs are those of our namespace.
    var running: [(program: String, pid: pid_t, path: FilePath)] = []
    /// Links to them in the output directory, where people look first.
    var links: [FilePath] = []
    /// Images of ended programs that could not write into the run directory.
    var strays: [StrayImage] = []
    /// Programs in sandboxes whose images could not be reached, neither while they ran nor now.
    var lost: [(program: String, pid: pid_t)] = []
    /// What went wrong in heaprun, one sentence each.
    var problems: [String] = []
    /// The library's messages, each once, without prefix.
    var messages: [String] = []
    /// The verdict to store with an image, by the image's file.
    var verdict: ((MappedFile) -> VerdictToStore?)?
    /// The pages to store with an image, by the image's file.
    var pages: ((MappedFile) -> [Range<UInt64>]?)?
    /// What the programs' JIT compilers wrote.
    var jitFiles: JITFiles?
    /// Is told where an image lies that was packed.
    var tellPacked: ((MappedFile, FilePath) -> Void)?
}

/// Which images to take at once.
enum Gathering {
    /// The root program runs: take only images of ended children, and stop packing after this time.
    case whileRunning(sliceNanoseconds: UInt64)
    /// The root program has ended, in this way and at this time of CLOCK_MONOTONIC: take all images that nobody has
    /// mapped.
    case atEnd(Ending, monotonicNanoseconds: UInt64)
}

extension Harvest {
    /// At most this many images wait for the end. A finished image takes 250 KB of memory or more, a packed one a few
    /// KB on disk; a build makes thousands of them.
    static let patience = 64

    /// Packs images of a run directory into the output directory.
    ///
    /// - Parameters:
    ///   - pid: the root program's.
    ///   - startTime: of heaprun itself; no recorded process is older.
    mutating func gather(
        _ gathering: Gathering, from place: RunDirectory, into output: FilePath, pid: pid_t, since startTime: UInt64
    ) {
        // The images are listed before the processes are asked. An image with a header has been mapped by then, so if
        // nobody has it mapped afterwards, it is finished.
        let found = runningImages(in: place.path, gathering)
        let living = LivingImages(since: startTime)
        let newest = Dictionary(found.map { ($0.owner, ImageAge($0.header)) }, uniquingKeysWith: max)
        let images = Dictionary(grouping: found, by: \.owner)
        let began = monotonicNanoseconds()
        for image in found {
            let isNewest = newest[image.owner] == ImageAge(image.header)
            let isRoot = image.header.pid == UInt32(bitPattern: pid)
            var options = PackOptions(state: isNewest ? .unknown : .exec)
            switch gathering {
            case .whileRunning(let slice):
                // A process in the middle of an exec is between two images and has neither mapped: wait until it is
                // gone.
                let owner = pid_t(bitPattern: image.header.pid)
                if isRoot || living.holder(image.mapped, header: image.header) != nil
                    || ProcessStat.of(owner)?.startTime == image.header.start_time
                {
                    continue
                }
                if monotonicNanoseconds() - began > slice { return }
            case .atEnd(let ending, let moment):
                if let pid = living.holder(image.mapped, header: image.header) {
                    let program = (try? HeapImage(path: image.path.text))?.programName ?? "?"
                    running.append((program, pid, image.path))
                    continue
                }
                guard isRoot && isNewest else { break }
                switch ending {
                case .exited(let status): options = PackOptions(state: .exited, exitStatus: UInt32(bitPattern: status))
                case .killed(let signal, _):
                    options = PackOptions(state: .killed, exitSignal: UInt32(bitPattern: signal))
                }
                options.endedMonotonicNanoseconds = moment
            }
            options.verdict = verdict?(image.mapped)
            options.pages = pages?(image.mapped)
            do {
                let result = try pack(
                    FileSource(path: image.path.text), into: output, options,
                    replaced: Self.replaced(image.header, images[image.owner, default: []].map(\.header)))
                try image.path.remove()
                if var result {
                    result.isRoot = isRoot
                    // If images stay in the run directory, the running image occupied the right name.
                    if output == place.path,
                        result.path.withPlatformString({ from in image.path.withPlatformString { rename(from, $0) } })
                            == 0
                    {
                        result.path = image.path
                    }
                    tellPacked?(image.mapped, result.path)
                    packed.append(result)
                }
            } catch {
                // Reported only at the end: by then there may be room.
                if case .atEnd = gathering {
                    problems.append("the image \(image.path.text) is left as it is: \(error)")
                }
            }
        }
    }

    /// Packs the images of programs in sandboxes, after the program has ended.
    mutating func gather(_ sandboxed: SandboxedImages, into output: FilePath, since startTime: UInt64) {
        lost = sandboxed.lost
        guard !sandboxed.images.isEmpty else { return }
        let living = LivingImages(since: startTime)
        for image in sandboxed.images {
            if living.holder(image.mapped, header: image.header) != nil {
                let program = (try? HeapImage(path: image.path.text))?.programName ?? "?"
                running.append((program, image.pid, image.path))
                continue
            }
            let replaced = Self.replaced(
                image.header,
                sandboxed.images.lazy.filter {
                    $0.pid == image.pid && $0.header.start_time == image.header.start_time
                }.map(\.header))
            do {
                let descriptor = try image.file.duplicate()
                let source = try FileSource(takingOver: descriptor.rawValue, name: image.path.text)
                var options = PackOptions(state: replaced == nil ? .unknown : .exec)
                options.verdict = verdict?(image.mapped)
                options.pages = pages?(image.mapped)
                if let result = try pack(
                    source, into: output, options, replaced: replaced, temporary: image.temporary)
                {
                    tellPacked?(image.mapped, result.path)
                    packed.append(result)
                }
            } catch {
                problems.append(
                    "the image of PID \(image.pid), which ran in a sandbox, could not be packed and is lost: \(error)")
            }
        }
    }

    /// Waits up to a second for programs that outlived the first one.
    func waitForStragglers(
        in place: RunDirectory, output: FilePath, _ sandboxed: SandboxedImages, since startTime: UInt64
    ) {
        _ = livingImages(since: startTime) { living in
            runningImages(in: place.path).contains { living.holder($0.mapped, header: $0.header) != nil }
                || sandboxed.images.contains { living.holder($0.mapped, header: $0.header) != nil }
                || strayImages(output: output, besides: place.path, since: startTime).contains {
                    living.holder($0.mapped, header: $0.header) != nil
                }
        }
    }

    /// Finds images of this recording in other places, after the program has ended.
    mutating func findStrays(output: FilePath, besides place: RunDirectory, since startTime: UInt64) {
        let found = strayImages(output: output, besides: place.path, since: startTime)
        guard !found.isEmpty else { return }
        let living = LivingImages(since: startTime)
        running += found.compactMap { image in
            living.holder(image.mapped, header: image.header).map { (image.program, $0, image.path) }
        }
        strays = found.filter { living.holder($0.mapped, header: $0.header) == nil }
    }

    /// Makes links in the output directory to the images of programs that still run. Never replaces an existing name.
    mutating func linkRunning(into output: FilePath) {
        links += running.compactMap { linkImage($0.path, into: output) }
    }

    /// Reads the library's messages.
    mutating func takeMessages(_ path: FilePath) {
        guard let text = try? readBytes(path, limit: 64 << 10) else { return }
        // Lines begin with the library's prefix, and a thousand children may have printed the same one.
        let prefix = Array("heapsum: ".utf8)
        for line in text.split(separator: UInt8(ascii: "\n")) {
            let said = pathText(line.starts(with: prefix) ? line.dropFirst(prefix.count) : line)
            if !messages.contains(said) { messages.append(said) }
        }
        try? path.remove()
    }

    /// When the next recording in an image's process began, in nanoseconds since 1970; nil: it is the newest.
    private static func replaced(_ header: heap_header, _ others: some Sequence<heap_header>) -> UInt64? {
        let own = ImageAge(header)
        return others.filter { own < ImageAge($0) }.min { ImageAge($0) < ImageAge($1) }?.started_realtime_ns
    }

    // nil for a fork that holds nothing because it only went on to exec or ended.
    private mutating func pack(
        _ source: FileSource, into output: FilePath, _ options: PackOptions, replaced: UInt64?,
        temporary: FileDescriptor? = nil
    ) throws -> PackedImage? {
        let image = try HeapImage(source, presence: .gone)
        let processID = image.header.pid
        let losses = image.losses
        if image.hasFlag(HEAP_FLAG_FORKED), losses.lost_allocations == 0, losses.early_allocations == 0,
            losses.ringless_events == 0, image.mappingSums()?.calls ?? 0 == 0,
            image.poolSums()?.allocatedBlocks ?? 0 == 0,
            image.threads().allSatisfy({ $0.head == 0 && $0.uncommitted.isEmpty && $0.inFlight == nil })
        {
            return nil
        }
        var options = options
        let jit = jitFiles.map {
            JITNames(
                of: image,
                $0.process(
                    of: image, temporary: temporary, ended: options.endedMonotonicNanoseconds,
                    replaced: replaced))
        }
        options.names = jit?.frames?.stored
        problems += jit?.notes ?? []
        let program = image.programName
        let wanted =
            image.imageName.isEmpty ? ImageNames.image(program: program, processID: processID) : image.imageName
        let summary = try image.pack(into: output.text, options: options) {
            // The first choice is the name that its dumps have.
            $0 == 1
                ? ImageNames.baseName(wanted) : ImageNames.image(program: program, processID: processID, attempt: $0)
        }
        return PackedImage(
            path: FilePath(text: summary.path), program: program, pid: processID, isRoot: false,
            liveBytes: summary.liveBytes,
            liveBlocks: summary.liveBlocks, peakBytes: summary.census.peak.bytes,
            allocatedBlocks: summary.census.stacks.reduce(0) { $0 &+ $1.allocatedBlocks }, losses: losses,
            residence: image.header.residence, isFull: image.hasFlag(HEAP_FLAG_FULL),
            sampleInterval: image.sampleInterval,
            allocator: image.allocator,
            largest: largestStacks(image, summary.census, jit?.frames ?? nil))
    }

    private mutating func runningImages(in directory: FilePath, _ gathering: Gathering) -> [FoundImage] {
        guard case .atEnd = gathering else { return runningImages(in: directory) }
        let (found, others) = filesInRunDirectory(directory)
        for (path, isEmpty) in others {
            // Its process ended while it created the image: nothing was booked.
            if isEmpty {
                try? path.remove()
            } else {
                problems.append("\(path.text) has no heap image's header and is left as it is")
            }
        }
        return found
    }

    private func runningImages(in directory: FilePath) -> [FoundImage] { filesInRunDirectory(directory).images }

    /// The images, oldest first, and the files that are not images. While programs run, an image that is just being
    /// created may be among these.
    private func filesInRunDirectory(
        _ directory: FilePath
    ) -> (images: [FoundImage], others: [(path: FilePath, isEmpty: Bool)]) {
        var others: [(path: FilePath, isEmpty: Bool)] = []
        var found: [FoundImage] = []
        for name in (try? namesInDirectory(directory)) ?? [] where name.extension == "heap" {
            let path = directory.appending(name)
            guard let file = try? openToRead(path, [.noFollow, .nonBlocking]) else { continue }
            defer { try? file.close() }
            var status = stat()
            guard fstat(file.rawValue, &status) == 0 else { continue }
            if let header = imageHeader(file) {
                if header.kind == HEAP_KIND_RUNNING.rawValue {
                    found.append(FoundImage(path: path, mapped: MappedFile(status), header: header))
                }
                continue
            }
            others.append((path, (try? readBytes(file, at: 0, count: 8))?.allSatisfy { $0 == 0 } ?? false))
        }
        return (found.sorted { ImageAge($0.header) < ImageAge($1.header) }, others)
    }
}

/// Makes a link in the output directory, where people look first, to an image that is not there. A name may be taken by
/// an earlier recording's image: then the link has the next number, as in `app.4711-2.heap`.
///
/// - Returns: the link; nil if the image has no path, if the link can't be made, or if it would lead through /proc,
///   which is useless once the program has ended.
package func linkImage(_ image: FilePath?, into output: FilePath) -> FilePath? {
    guard let image, image.removingLastComponent() != output, !image.starts(with: "/proc"),
        let name = image.lastComponent
    else { return nil }
    for attempt in 1 ... 1000 {
        let link = output.appending(attempt == 1 ? name.string : "\(name.stem)-\(attempt).heap")
        let result = image.withPlatformString { image in link.withPlatformString { symlink(image, $0) } }
        if result == 0 { return link }
        guard errno == EEXIST else { return nil }
    }
    return nil
}

/// The link that `linkImage` made in this directory; nil if there is none.
package func linkToImage(_ image: FilePath?, in output: FilePath) -> FilePath? {
    guard let image else { return nil }
    let links = ((try? namesInDirectory(output)) ?? []).lazy.map { output.appending($0) }
    return links.first { $0.extension == "heap" && $0.linkText == image.text }
}

private struct FoundImage {
    struct Owner: Hashable {
        var pid: UInt32
        var startTime: UInt64
    }
    var path: FilePath
    var mapped: MappedFile
    var header: heap_header
    var owner: Owner { Owner(pid: header.pid, startTime: header.start_time) }
}

private func expectedFile(_ module: Module) -> ExpectedFile? {
    guard module.buildID.isEmpty else { return nil }
    return ExpectedFile(
        byteCount: module.file?.byteCount, modifiedNanoseconds: module.file?.modifiedNanoseconds,
        isReplaced: module.isReplaced)
}

// The largest stacks. Stacks that two threads inserted at once are merged.
private func largestStacks(_ image: HeapImage, _ census: Census, _ jit: JITFrames?) -> [LargeStack] {
    // Duplicates are few: 64 candidates contain 16 different stacks, or the others are small.
    let candidates = census.stacks.filter { $0.liveBlocks > 0 }.sorted { $0.liveBytes > $1.liveBytes }.prefix(64)
    guard !candidates.isEmpty else { return [] }
    let tree = image.nodes()
    var rows: [(frames: [UInt64], bytes: UInt64, blocks: UInt64)] = []
    for counts in candidates {
        let frames = tree.frames(from: counts.node)
        if let index = rows.firstIndex(where: { $0.frames == frames }) {
            rows[index].bytes &+= counts.liveBytes
            rows[index].blocks &+= counts.liveBlocks
        } else {
            rows.append((frames, counts.liveBytes, counts.liveBlocks))
        }
    }
    let modules = image.modules()
    return rows.sorted { $0.bytes > $1.bytes }.prefix(16).map { row in
        LargeStack(
            bytes: row.bytes, blocks: row.blocks,
            frames: row.frames.compactMap { frame in
                let number = heap_frame_module(frame)
                if number == HEAP_MODULE_PYTHON, let name = image.pythonFrame(frame)?.name {
                    return ModuleFrame(path: [], buildID: [], file: nil, offset: 0, python: name)
                }
                guard number < HEAP_MODULE_PYTHON else { return nil }
                if case .named(let name) = jit?.answers[frame] {
                    return ModuleFrame(
                        path: [], buildID: [], file: nil, offset: heap_frame_offset(frame), compiled: name.function)
                }
                let module = Int(number) < modules.count && modules[Int(number)].isKnown ? modules[Int(number)] : nil
                return ModuleFrame(
                    path: module?.path ?? [], buildID: module?.buildID ?? [], file: module.flatMap(expectedFile),
                    offset: heap_frame_offset(frame))
            })
    }
}
