// Changes the rate of a recording: end it → wait until no thread is in a hook → begin another with the same options →
// pack the first image. So no image has events of both rates, and no event is in two images.

import CAttach
import CHeapImage
import Glibc
import HeapImage
import Launch
import Proc
import SystemPackage
import Text

/// Changes the rate of the recording in a process to that of the request, and leaves the image of the old one. With a
/// time, changes it back when the time is over or a signal arrives.
///
/// - Returns: the exit status.
/// - Throws: 125 with the reason and the way out. The recording goes on as before, unless the message says otherwise.
func changeRate(_ request: AttachRequest, _ target: Target) throws(LaunchError) -> Int32 {
    let pid = request.pid, startTime = ProcessStat.of(pid)?.startTime ?? 0
    guard let interval = request.options.sample else {
        throw .own(
            "\(pid): it is recorded already: heapdump \(pid) writes a dump of it, and --sample BYTES changes its rate")
    }
    guard request.options.changesOnlyRate else {
        throw .own("\(pid): it is recorded already, and only --sample of its options can be changed while it is")
    }
    let old = try findImage(of: pid, deadline: 0)
    guard let image = try? HeapImage(old.source(of: pid), presence: .running) else {
        throw .own("\(pid): its image can't be read")
    }
    let before = image.sampleInterval, output = FilePath(text: image.outputDirectory)
    let wasLinked = linkToImage(old.path, in: output) != nil
    if before == interval { throw .own("\(pid): it is recorded so already: \(rateText(interval))") }
    if lockedBytes(pid) > 0 {
        throw .own(
            "\(pid): it locks memory (mlock, mlockall), and might lock the whole new image: its rate can't be changed "
                + "while it runs")
    }
    let began = try stop(target)
    // The old image is unmapped by the next step. One that has no path is lost then, so it is packed before.
    let hasPath = if case .file(let path) = old { !path.text.hasPrefix("/proc/") } else { false }
    try settle(target)
    if !hasPath { try leave(old, pid, request, isGone: false, keepsDirectory: true) }
    let settings = Array("HEAPSUM_CHANGE=1\0HEAPSUM_SAMPLE=\(interval)\0\0".utf8)
    let places = try AttachedPlaces(for: target, options: request.options)
    let next = try start(target, places, settings)
    if next.answer.result != HEAPSUM_ATTACH_DONE.rawValue {
        if hasPath { try leave(old, pid, request, isGone: false, keepsDirectory: true) }
        throw .own(
            "\(refusal(pid, next.answer.result, request.options).message). The earlier recording has ended; heaprun "
                + "--pid \(pid) begins another")
    }
    // Before anything is said: the program may end at any time, and its mappings go with it.
    let linked = wasLinked ? try? findImage(of: pid, deadline: 0) : nil
    _ = linkImage(linked?.path, into: output)
    if !request.isQuiet {
        say(
            "heaprun: \(programName(pid)) (PID \(pid)) is recorded at another rate from now on: \(rateText(interval)); "
                + "a thread stood still for \(milliseconds(began.paused)) and \(milliseconds(next.paused))")
    }
    if hasPath { try leave(old, pid, request, isGone: false, keepsDirectory: true) }
    guard let seconds = request.seconds else { return 0 }
    guard wait(with: pid, startTime, for: seconds, nil) else {
        if !request.isQuiet { say("heaprun: the program (PID \(pid)) has ended") }
        // A heaprun that waits for the program gathers its image, and else only this one can.
        if let linked, linked.path?.isAccessible(R_OK) == true { try leave(linked, pid, request, isGone: true) }
        return 0
    }
    var back = request
    back.options.sample = before
    back.seconds = nil
    return try changeRate(back, try Target(pid))
}

private func rateText(_ interval: UInt64) -> String {
    if interval == 0 { return "every block" }
    return "about one block for each " + (interval == 1 ? "byte" : "\(separated(interval)) bytes")
}
