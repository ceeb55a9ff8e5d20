// Starts a recording in a dormant program. Nothing is stopped: heaprun writes its request into the library's table, and
// the program's next call of an allocation function starts the recording. See Interposer/process/dormant.h.

import CAttach
import CHeapImage
import Glibc
import HeapImage
import Launch
import Proc
import SystemPackage
import Text

/// The table of a dormant process, in its memory.
struct Control {
    let pid: pid_t
    private let address: UInt64

    /// nil: the process is not dormant, or not ours to read.
    init?(_ pid: pid_t) {
        guard let maps = try? mappings(of: pid),
            let start = maps.first(where: { isLibrary($0) && $0.fileOffset == 0 })?.start,
            let module = attach_module_read(pid, start)
        else { return nil }
        defer { attach_module_free(module) }
        address = attach_variable(module, "heapsum_control")
        self.pid = pid
        guard address != 0, let table = read(), table.version == HEAPSUM_CONTROL_VERSION else { return nil }
    }

    func read() -> heapsum_control? {
        var table = heapsum_control()
        let count = attach_read(pid, address, &table, MemoryLayout<heapsum_control>.size)
        return count == MemoryLayout<heapsum_control>.size ? table : nil
    }

    /// Whether the process sleeps, and a request would start a recording.
    var canBeAsked: Bool { read()?.may_be_asked == 1 }

    /// The word that each hook reads.
    func word() -> UInt64? {
        guard let table = read() else { return nil }
        var word: UInt64 = 0
        return attach_read(pid, table.word, &word, 8) == 8 ? word : nil
    }

    private func write<Value>(_ value: Value, at place: UInt64) -> Bool {
        withUnsafeBytes(of: value) { attach_write(pid, place, $0.baseAddress, $0.count) == $0.count }
    }

    private func write<Value>(_ value: Value, to field: PartialKeyPath<heapsum_control>) -> Bool {
        guard let offset = MemoryLayout<heapsum_control>.offset(of: field) else { return false }
        return write(value, at: address + UInt64(offset))
    }

    /// Says that no thread is in a hook of the earlier recording any more.
    func markSettled() { _ = write(UInt32(1), to: \.settled) }

    /// Writes a request. The settings have the environment's form, each ended by a NUL, with one more at the end.
    ///
    /// - Returns: the request's number; nil if the process's memory can't be written.
    func ask(_ settings: [UInt8]) -> UInt32? {
        guard let table = read(), settings.count < Int(HEAPSUM_SETTINGS_BYTES) else { return nil }
        let padded = settings + [UInt8](repeating: 0, count: Int(HEAPSUM_SETTINGS_BYTES) - settings.count)
        // Any number but the last one that was answered.
        let number = max(1, UInt32(truncatingIfNeeded: monotonicNanoseconds() >> 8))
        let sum = padded.withUnsafeBytes {
            heapsum_control_sum($0.bindMemory(to: CChar.self).baseAddress, number)
        }
        let isWritten = padded.withUnsafeBytes {
            attach_write(pid, table.settings, $0.baseAddress, $0.count) == $0.count
        }
        guard isWritten, write(sum, to: \.sum), write(number, to: \.request), wakeHooks() else { return nil }
        return number
    }

    /// Makes the next hook look at the request. Repeated, because the word may change between the look and the write.
    func wakeHooks() -> Bool {
        guard let table = read(), let word = word() else { return false }
        if table.may_be_asked == 0 || (word != 0 && word != table.asleep) { return true }
        return write(table.asked, at: table.word)
    }

    /// Takes a request back: the program's next hook finds that its sum is wrong.
    func takeBack() { _ = write(UInt64(0), to: \.sum) }
}

/// How long to wait for an answer before that is said.
private let patienceNanoseconds: UInt64 = 1_000_000_000

/// Starts a recording in a dormant process. With a time, stays until the time is over, a signal arrives, or the program
/// ends.
///
/// - Returns: the exit status.
/// - Throws: 125 with the reason and the way out.
func wake(_ control: Control, _ request: AttachRequest) throws(LaunchError) -> Int32 {
    let pid = request.pid
    let startTime = ProcessStat.of(pid)?.startTime ?? 0
    if request.options.mappings, !(try readMaps(pid)).contains(where: AttachedLibrary.mappings.isMapped) {
        throw .own(
            "\(pid): it sleeps without libheapsum-mappings.so, which has to be there from the start: heaprun --dormant "
                + "--mappings starts a program with it")
    }
    let place = try RecordingPlace(for: request)
    // Until heaprun is done with it.
    let lock = place.runDirectory.flatMap { RunDirectoryLock($0) }
    defer { withExtendedLifetime(lock) {} }
    var result: UInt32?
    do throws(LaunchError) {
        let settings = try settingsText(place.options)
        result = try awaitAnswer(control, settings, request, startTime)
        if result == HEAPSUM_ATTACH_BUSY.rawValue {
            // An earlier heaprun ended a recording, and was killed before its last step.
            try settle(try Target(pid))
            result = try awaitAnswer(control, settings, request, startTime)
        }
        if let result, result != HEAPSUM_ATTACH_DONE.rawValue { throw refusal(pid, result, place.options) }
    } catch {
        // It may have begun to record, and ended, between two looks.
        if try leaveIfEnded(pid, startTime, in: place.runDirectory, request) { return 0 }
        place.remove()
        throw error
    }
    let name = programName(pid)
    guard result != nil else { return 0 }
    let image = try? findImage(of: pid, deadline: 0)
    if image == nil, request.seconds == nil, try leaveIfEnded(pid, startTime, in: place.runDirectory, request) {
        return 0
    }
    let link = request.seconds == nil ? linkImage(image?.path, into: place.output) : nil
    if !request.isQuiet {
        say("heaprun: \(name) (PID \(pid)) was dormant, and records from now on; nothing was stopped")
        if request.seconds == nil { sayWhereImageIs(pid, image, link) }
    }
    guard let seconds = request.seconds else { return 0 }
    return try stay(with: pid, startTime, image, for: seconds, request, place.runDirectory)
}

/// Asks, and waits for the answer: as long as it takes if the recording has a time, else for a second. A signal ends
/// the waiting.
///
/// - Returns: what the library answered; nil: nothing yet, because no hook was called.
private func awaitAnswer(
    _ control: Control, _ settings: [UInt8], _ request: AttachRequest, _ startTime: UInt64
) throws(LaunchError) -> UInt32? {
    let pid = request.pid
    guard let number = control.ask(settings) else { throw permissionRefusal(pid, Errno(rawValue: errno)) }
    let began = monotonicNanoseconds()
    let signals = EndSignals()
    defer { signals.restore() }
    var pause: UInt64 = 200_000, isToldToWait = false
    while true {
        guard let table = control.read(), ProcessStat.of(pid)?.startTime == startTime else {
            throw .own("\(pid): it ended before it began to record")
        }
        if table.answered == number { return table.result }
        if !isToldToWait && monotonicNanoseconds() - began > patienceNanoseconds {
            // A recording that began otherwise meanwhile has no answer for us.
            if table.may_be_asked == 0 { return HEAPSUM_ATTACH_RECORDED.rawValue }
            say(
                "heaprun: \(programName(pid)) (PID \(pid)) was asked to record, and has allocated or freed nothing "
                    + "since: recording begins when it does")
            if request.seconds == nil { return nil }
            isToldToWait = true
        }
        _ = control.wakeHooks()
        if signals.next(within: pause) != nil {
            control.takeBack()
            throw .own("\(pid): interrupted; it allocated and freed nothing meanwhile, and was not recorded")
        }
        pause = min(pause * 2, 50_000_000)
    }
}
