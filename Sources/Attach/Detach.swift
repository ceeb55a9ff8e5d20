// Ends a recording: plan → stop a thread → heapsum_detach → resume it → wait until no thread is in a hook → pack the
// image. If an earlier heaprun was interrupted, this one continues at the step that is still to do.

import CAttach
import CHeapImage
import Glibc
import HeapImage
import Launch
import Proc
import Symbols
import SystemPackage
import Text

/// Ends a recording, and leaves its image. If the program has ended by itself, leaves the image all the same.
///
/// - Throws: 125 with the reason and the way out.
package func detach(_ request: AttachRequest) throws(LaunchError) -> Int32 {
    let pid = request.pid
    guard Presence.livingThread(of: UInt32(bitPattern: pid)) != nil else {
        if try leaveOfEnded(request) { return 0 }
        throw .own("\(pid): no such process, and no image of a recording of it is left to be packed")
    }
    try checkAttachable(pid, toEnd: true)
    let image = try? findImage(of: pid, deadline: 0)
    let target = try Target(pid)
    guard target.library != nil else {
        // Its number may be an ended program's.
        if try leaveOfEnded(request) { return 0 }
        throw .own("\(pid): it is not recorded: libheapsum.so is not in it; heaprun --pid \(pid) attaches to it")
    }
    let began = try stop(target)
    let name = programName(pid)
    if !request.isQuiet && (image != nil || began.answer.entries > 0) {
        let state =
            Control(pid) != nil
            ? "it is dormant again" : "\(separated(began.answer.entries)) addresses lead where they led before"
        say(
            "heaprun: detached from \(name) (PID \(pid)): \(state); thread \(began.tid) stood still for "
                + milliseconds(began.paused))
    }
    // An image without a recording: an earlier heaprun ended the recording, but was interrupted before this step.
    guard let image else {
        if began.answer.result != HEAPSUM_ATTACH_DONE.rawValue && began.answer.entries == 0 {
            throw .own("\(pid): it is not recorded")
        }
        return 0
    }
    try settle(target)
    try leave(image, pid, request, isGone: false)
    return 0
}

/// What a call in the process came to.
struct CallOutcome {
    var answer: heapsum_attach_answer
    /// Nanoseconds for which the thread stood still.
    var paused: UInt64
    var tid: pid_t
}

/// Ends the recording. The thread that traces is one of its own, as in `start` and `settle`: the kernel lets go what it
/// traces when it ends, also a thread that never stopped.
func stop(_ target: Target) throws(LaunchError) -> CallOutcome {
    try onOwnThread { () throws(LaunchError) in try callDetach(target) }
}

private func callDetach(_ target: Target) throws(LaunchError) -> CallOutcome {
    let entry = try symbol("heapsum_detach", target)
    var thread = try stopThread(of: target)
    let tid = thread.tid
    var failure: LaunchError?
    var answer = heapsum_attach_answer()
    do throws(LaunchError) {
        let at = try thread.room()
        try thread.write(answerBytes(), at: at)
        _ = try thread.call(entry, at)
        answer = thread.answer(at: at)
    } catch { failure = error }
    let paused = thread.release() ?? 0
    if let failure { throw failure }
    return CallOutcome(answer: answer, paused: paused, tid: tid)
}

/// Waits until each thread was seen outside the library once. From then on no thread books into the image, because a
/// thread that enters the library now does not book. Each thread is stopped for some microseconds.
func settle(_ target: Target) throws(LaunchError) {
    try onOwnThread { () throws(LaunchError) in try seeAllOutside(target) }
}

private func seeAllOutside(_ target: Target) throws(LaunchError) {
    guard let start = target.library,
        let maps = try? mappings(of: target.pid),
        let first = maps.first(where: { $0.start == start })
    else { return }
    let end = maps.last { $0.inode == first.inode && $0.path == first.path }?.end ?? first.end
    let span = attach_span(start: start, end: end)
    var inside = Set(threadsOf(target.pid))
    let deadline = monotonicNanoseconds() + 5_000_000_000
    while !inside.isEmpty && monotonicNanoseconds() < deadline {
        for tid in inside {
            guard let stat = ProcessStat.of(thread: tid, of: target.pid), stat.isAlive else {
                inside.remove(tid)
                continue
            }
            // A thread in uninterruptible sleep is in no hook: hooks make no call that sleeps so.
            let result =
                stat.state == UInt8(ascii: "D")
                ? 0 : withUnsafePointer(to: target.plan) { attach_is_inside($0, tid, span, nil) }
            if result == 0 || result == -ESRCH { inside.remove(tid) }
        }
        if !inside.isEmpty { usleep(2000) }
    }
    guard inside.isEmpty else {
        let tid = inside.min() ?? 0, isStopped = ProcessStat.of(thread: tid, of: target.pid)?.state == UInt8(ascii: "T")
        let why =
            Freezer.holding(target.pid) != nil
            ? " (the program is frozen)"
            : isStopped ? " (job control has stopped it: kill -CONT \(target.pid) lets it go on)" : ""
        throw .own(
            "\(target.pid): thread \(tid) has not left the recorder for 5 s\(why). The program calls its own "
                + "functions again, but the running image stays: run heaprun --detach again when the thread runs")
    }
    Control(target.pid)?.markSettled()
}

/// Packs the image into the output directory, and frees the running image's memory.
func leave(
    _ place: ImagePlace, _ pid: pid_t, _ request: AttachRequest, isGone: Bool, keepsDirectory: Bool = false
) throws(LaunchError) {
    do {
        let image = try HeapImage(place.source(of: pid), presence: isGone ? .gone : .running)
        let wanted = FilePath(text: image.outputDirectory)
        let output =
            try request.output.map { (path) throws(LaunchError) in try prepareOutput(path) }
            ?? (wanted.isAccessible(W_OK) ? wanted : FilePath.workingDirectory ?? ".")
        let name =
            image.imageName.isEmpty
            ? ImageNames.image(program: image.program, processID: image.header.pid) : image.imageName
        var options = PackOptions()
        options.state = .unknown
        options.endedMonotonicNanoseconds = monotonicNanoseconds()
        let jit = JITNames(of: image, JITProcess(of: image, runningAs: isGone ? nil : pid))
        options.names = jit.frames?.stored
        if !request.isQuiet { for note in jit.notes { say("heaprun: \(note)") } }
        // A link to the running image has the name that the packed one gets.
        let link = linkToImage(place.path, in: wanted)
        try? link?.remove()
        let summary: PackSummary
        do {
            summary = try image.pack(into: output.text, options: options) {
                $0 == 1
                    ? ImageNames.baseName(name)
                    : ImageNames.image(program: image.programName, processID: image.header.pid, attempt: $0)
            }
        } catch {
            if link != nil { _ = linkImage(place.path, into: wanted) }
            throw error
        }
        if case .file(let path) = place { giveBack(path, keepsDirectory) }
        if !request.isQuiet {
            say(
                "  \(counted(summary.liveBytes, "byte")) in \(counted(summary.liveBlocks, "block")) were allocated "
                    + "meanwhile and are live"
                    + (image.isSampled
                        ? ", by estimate"
                        : "; \(counted(image.losses.unmatched_frees, "free")) were of earlier blocks")
            )
            say("  image: \(summary.path)")
        }
    } catch let error as LaunchError {
        throw error
    } catch {
        throw .own("\(pid): its image could not be packed: \(error)")
    }
}

/// Frees the running image's pages and removes its name. The program may keep it mapped. Its directory goes, too,
/// unless another image is in use there.
private func giveBack(_ path: FilePath, _ keepsDirectory: Bool) {
    if let file = try? FileDescriptor.open(path, .readWrite, options: [.closeOnExec, .noFollow]) {
        var status = stat()
        if fstat(file.rawValue, &status) == 0 {
            _ = attach_give_back(file.rawValue, status.st_size)
        }
        try? file.close()
    }
    try? path.remove()
    let directory = path.removingLastComponent()
    if !keepsDirectory, directory.lastComponent?.text.contains("heapsum-") == true { remove(directory) }
}

func remove(_ directory: FilePath) {
    try? directory.appending("messages").remove()
    _ = directory.withPlatformString { rmdir($0) }
}
