// Starts a recording in a running program: plan → stop a thread → dlopen → heapsum_attach → resume the thread.
// With --for, heaprun stays, and detaches when the time is over.

import CAttach
import CHeapImage
import Glibc
import HeapImage
import Launch
import Proc
import SystemPackage
import Text

/// What heaprun was asked to do to a running program.
package struct AttachRequest {
    package var pid: pid_t
    package var output: FilePath?
    package var options: RecordingOptions
    /// Detach after this time; nil: leave the program recording.
    package var seconds: Double?
    package var isQuiet = false

    package init(pid: pid_t, output: FilePath?, options: RecordingOptions) {
        (self.pid, self.output, self.options) = (pid, output, options)
    }
}

/// Attaches. With a time, stays until the time is over, a signal arrives, or the program ends.
///
/// - Returns: the exit status.
/// - Throws: 125 with the reason and the way out. The program then continues as before.
package func attach(_ request: AttachRequest) throws(LaunchError) -> Int32 {
    let pid = request.pid
    // A signal that comes before the waiting ends it, too: the recording or the rate must not stay by accident.
    let signals = request.seconds.map { _ in EndSignals() }
    defer { signals?.restore() }
    // Locked memory may mean that an image would be locked, too: only a thread of the process can find that out.
    if let control = Control(pid), control.canBeAsked, lockedBytes(pid) == 0 {
        return try wake(control, request)
    }
    try checkAttachable(pid)
    let target = try Target(pid)
    if isRecorded(pid) { return try changeRate(request, target) }
    let places = try AttachedPlaces(for: target, options: request.options)
    // An earlier recording's image is unmapped now: first wait until no thread can still write to it.
    if target.library != nil { try settle(target) }
    let startTime = ProcessStat.of(pid)?.startTime ?? 0
    var place = try RecordingPlace(for: request)
    // Until heaprun is done with it.
    let lock = place.runDirectory.flatMap { RunDirectoryLock($0) }
    defer { withExtendedLifetime(lock) {} }
    place.options.signal = place.options.signal ?? 0
    let began: CallOutcome
    do throws(LaunchError) {
        began = try start(target, places, try settingsText(place.options))
        let result = began.answer.result
        guard result == HEAPSUM_ATTACH_DONE.rawValue else { throw refusal(pid, result, place.options) }
    } catch {
        // It may have begun to record, and ended before it could say so.
        if try leaveIfEnded(pid, startTime, in: place.runDirectory, request) { return 0 }
        place.remove()
        throw error
    }
    // Find the image before printing: the program may end at any time, and its mappings go with it.
    let image = try? findImage(of: pid, deadline: 0)
    if image == nil, request.seconds == nil, try leaveIfEnded(pid, startTime, in: place.runDirectory, request) {
        return 0
    }
    let link = request.seconds == nil ? linkImage(image?.path, into: place.output) : nil
    if !request.isQuiet {
        let name = programName(pid)
        say(
            "heaprun: attached to \(name) (PID \(pid)): \(whatLeads(began.answer)); thread \(began.tid) stood "
                + "still for \(milliseconds(began.paused)), the others ran on"
        )
        if began.answer.refused > 0 {
            say("  \(separated(began.answer.refused)) addresses can't be changed: calls through them are not recorded")
        }
        if request.options.mappings, !hasMappings(image, pid) {
            say(
                "  mappings are not recorded: libheapsum.so was loaded when the program started, and "
                    + "libheapsum-mappings.so was not")
        }
        if request.seconds == nil { sayWhereImageIs(pid, image, link) }
    }
    guard let seconds = request.seconds else { return 0 }
    return try stay(with: pid, startTime, image, for: seconds, request, place.runDirectory)
}

private func hasMappings(_ place: ImagePlace?, _ pid: pid_t) -> Bool {
    guard let place, let image = try? HeapImage(place.source(of: pid), presence: .running) else { return true }
    return image.hasMappings
}

private func whatLeads(_ answer: heapsum_attach_answer) -> String {
    // The library was preloaded, or is still there from an earlier recording of a program that heaprun started.
    if answer.entries == 0 { return "its calls lead to the recorder already" }
    return "\(separated(answer.entries)) addresses in \(separated(answer.modules)) modules now lead to the recorder"
}

/// Says what ends a recording that no heaprun waits for, and where its image is if the program itself does.
func sayWhereImageIs(_ pid: pid_t, _ image: ImagePlace?, _ link: FilePath?) {
    say("  heapdump \(pid) writes a dump; heaprun --detach \(pid) ends the recording and leaves its image")
    guard case .file(let path) = image else { return }
    say("  if the program ends before that, its image stays: heapsum \(shellWord((link ?? path).text))")
    if link != nil { say("  (a link to \(path.text))") }
}

/// Loads the library if it is not there yet, and begins a recording with these settings.
func start(
    _ target: Target, _ places: AttachedPlaces, _ settings: [UInt8]
) throws(LaunchError) -> CallOutcome {
    try onOwnThread { () throws(LaunchError) in try callAttach(target, places, settings) }
}

private func callAttach(
    _ target: Target, _ places: AttachedPlaces, _ settings: [UInt8]
) throws(LaunchError) -> CallOutcome {
    var target = target
    let lockedBefore = lockedBytes(target.pid)
    var thread = try stopThread(of: target)
    let tid = thread.tid
    var failure: LaunchError?
    var answer = heapsum_attach_answer()
    do throws(LaunchError) {
        let room = try thread.room()
        // After mlockall(MCL_FUTURE) the kernel would load the whole image, which is mapped whole and mostly empty.
        if lockedBefore > 0, lockedBytes(target.pid) >= lockedBefore + UInt64(ATTACH_REGION_BYTES) {
            throw .own(
                "\(target.pid): it locks all memory that it maps (mlockall, MCL_FUTURE), and would lock the whole "
                    + "image: start it by heaprun, which keeps the image unlocked")
        }
        // First the hooks: the recorder looks for them when it begins.
        if let mappings = places.mappings { try load(.mappings, mappings, &thread, target) }
        if target.library == nil {
            try load(.recorder, places.recorder, &thread, target)
            target.library = try readMaps(target.pid).first { isLibrary($0) && $0.fileOffset == 0 }?.start
        }
        let entry = try symbol("heapsum_attach", target)
        try thread.write(settings, at: room)
        let at = room + UInt64(HEAPSUM_SETTINGS_BYTES)
        try thread.write(answerBytes(), at: at)
        _ = try thread.call(entry, room, at)
        answer = thread.answer(at: at)
    } catch { failure = error }
    let paused = thread.release() ?? 0
    if let failure { throw failure }
    return CallOutcome(answer: answer, paused: paused, tid: tid)
}

/// The options as the library takes them: NAME=value, each ended by a NUL, with one more at the end.
func settingsText(_ options: RecordingOptions) throws(LaunchError) -> [UInt8] {
    let text: [UInt8] = options.variables.flatMap { Array("\($0.name)=\($0.value)".utf8) + [0] as [UInt8] } + [0]
    guard text.count < Int(HEAPSUM_SETTINGS_BYTES) else { throw .own("the options are too long: at most 16 KB") }
    return text
}

func answerBytes() -> [UInt8] {
    let empty = heapsum_attach_answer(
        version: HEAPSUM_ATTACH_VERSION, result: 0, modules: 0, entries: 0, refused: 0, passed: 0, image: 0,
        image_bytes: 0)
    return withUnsafeBytes(of: empty) { Array($0) }
}

func symbol(_ name: String, _ target: Target) throws(LaunchError) -> UInt64 {
    guard let start = target.library, let module = attach_module_read(target.pid, start) else {
        throw .own("\(target.pid): libheapsum.so is not in it")
    }
    defer { attach_module_free(module) }
    let address = attach_symbol(module, name)
    guard address != 0 else {
        throw .own("\(target.pid): its libheapsum.so is an older one that can't be started or stopped from outside")
    }
    return address
}

func refusal(_ pid: pid_t, _ result: UInt32, _ options: RecordingOptions) -> LaunchError {
    switch result {
    case HEAPSUM_ATTACH_RECORDED.rawValue: return .own("\(pid): it is recorded already")
    case HEAPSUM_ATTACH_OTHER.rawValue:
        return .own(
            "\(pid): it has loaded another version of libheapsum.so, which can't be unloaded: use that version")
    case HEAPSUM_ATTACH_NO_IMAGE.rawValue:
        var said = ""
        if let messages = options.messages, let text = try? readBytes(messages, limit: 4096) {
            said = ": " + text.split(separator: 10).map { pathText($0) }.joined(separator: "; ")
        }
        return .own("\(pid): it could not make an image\(said)")
    case HEAPSUM_ATTACH_REFUSED.rawValue:
        return .own(
            "\(pid): the library can't record it: it runs in secure execution (setuid), or its options or a seccomp "
                + "filter forbid it")
    case HEAPSUM_ATTACH_MIXED.rawValue:
        return .own("\(pid): another heaprun asked it to record at the same time: try again")
    case HEAPSUM_ATTACH_BUSY.rawValue:
        return .own("\(pid): threads may still be in the recorder since the last recording: try again")
    case HEAPSUM_ATTACH_LOCKED.rawValue:
        return .own(
            "\(pid): it locks all memory that it maps (mlockall, MCL_FUTURE), and would lock the whole image: start "
                + "it by heaprun without --dormant, which keeps the image unlocked")
    default: return .own("\(pid): the library did not answer")
    }
}

func isRecorded(_ pid: pid_t) -> Bool { (try? findImage(of: pid, deadline: 0)) != nil && isOn(pid) }

/// Whether the process still writes its mapped image. An image stays mapped after a detach.
private func isOn(_ pid: pid_t) -> Bool {
    guard let place = try? findImage(of: pid, deadline: 0) else { return false }
    guard let image = try? HeapImage(place.source(of: pid), presence: .running) else { return true }
    return !image.hasFlag(HEAP_FLAG_DETACHED)
}

/// Waits until the time is over or a signal arrives, and then detaches.
func stay(
    with pid: pid_t, _ startTime: UInt64, _ image: ImagePlace?, for seconds: Double, _ request: AttachRequest,
    _ runDirectory: FilePath?
) throws(LaunchError) -> Int32 {
    if wait(with: pid, startTime, for: seconds, runDirectory) {
        do throws(LaunchError) { return try detach(request) } catch {
            // It may have ended before that, or in the middle: its image is left as at any end.
            guard hasEnded(pid, startTime, within: 2_000_000_000) else { throw error }
        }
    }
    if !request.isQuiet { say("heaprun: the program (PID \(pid)) has ended") }
    let left = imagesLeft(image, in: runDirectory)
    for image in left { try leave(image, pid, request, isGone: true) }
    if !left.isEmpty { return 0 }
    throw .own("\(pid): it ended, and its image is lost: it lay only in the process's own memory")
}

/// Waits until the time is over, a signal arrives or the program ends, and meanwhile keeps the resident size in the
/// image up to date.
///
/// - Returns: whether the program still runs.
func wait(with pid: pid_t, _ startTime: UInt64, for seconds: Double, _ runDirectory: FilePath?) -> Bool {
    let deadline = monotonicNanoseconds() + UInt64(min(seconds, 1e9) * 1e9)
    let signals = EndSignals()
    defer { signals.restore() }
    var meter = runDirectory.map { ResidentMeter(pid: pid, runDirectory: $0) }
    defer { meter?.close() }
    while monotonicNanoseconds() < deadline {
        let left = deadline - min(deadline, monotonicNanoseconds())
        if signals.next(within: min(left, 250_000_000)) != nil { break }
        if !Presence.isRunning(pid, since: startTime) { return false }
        meter?.measure()
    }
    return true
}

/// Whether a process ends within this time. While it ends, it is there for some moments without its program.
func hasEnded(_ pid: pid_t, _ startTime: UInt64, within nanoseconds: UInt64) -> Bool {
    let deadline = monotonicNanoseconds() + nanoseconds
    while Presence.isRunning(pid, since: startTime) {
        if monotonicNanoseconds() > deadline { return false }
        usleep(20_000)
    }
    return true
}

func programName(_ pid: pid_t) -> String {
    (try? readBytes(.init("/proc/\(pid)/comm"), limit: 64)).map { printable(pathText($0.prefix { $0 != 10 })) } ?? "?"
}

func milliseconds(_ nanoseconds: UInt64) -> String {
    let tenths = (nanoseconds + 50_000) / 100_000
    return "\(tenths / 10).\(tenths % 10) ms"
}
