// heapwatch export --follow: passes samples on while they are gathered. The recording is the buffer: what a receiver
// can't take now stays there, and is sent when the receiver is back.

import Commands
import Glibc
import Proc
import Text
import Watch

struct Following {
    let directory: String
    let format: ExportFormat
    let output: String
    let receiver: Receiver?

    /// The maximum number of samples for one connection, and the bytes after which it ends.
    private static let mostSamples = 60
    private static let mostBytes = 4 << 20

    func run(for duration: Duration?) throws {
        let stop = StopSignals()
        let follower = try SampleFollower(
            directory: directory, receiver: receiver.map { "\(format.rawValue)-\($0.name)" } ?? "")
        let export = Export(format: format)
        let end = duration.map { bootMilliseconds() + $0.milliseconds }
        var sent = 0, waiting: [UInt8] = [], waitingSamples = 0, failure: String?, pause: Int64 = 1000, isEnding = false
        let standardOutput = TextOutput(descriptor: STDOUT_FILENO, name: "standard output")
        if receiver == nil, format == .csv { try standardOutput.write("time,kind,pid,name,column,value\n") }

        while true {
            var isBehind = false
            if waitingSamples == 0 {
                try follower.forEachNew { head, decoder in
                    let text = TextOutput()
                    try export.write(head, decoder, to: text)
                    // In a file of OpenMetrics only the newest sample counts; over the network each sample is a text of
                    // its own.
                    if format == .openmetrics { waiting = text.bytes } else { waiting += text.bytes }
                    waitingSamples += 1
                    isBehind =
                        receiver != nil
                        && (format == .openmetrics || waitingSamples >= Self.mostSamples
                            || waiting.count >= Self.mostBytes)
                    return !isBehind
                }
                for note in follower.takeNotes() { say(note) }
            }
            if waitingSamples > 0 {
                if let receiver {
                    let reason = receiver.deliver(waiting)
                    if let reason {
                        if failure == nil {
                            say(
                                "\(receiver.name): \(reason); samples stay in \(directory), and are sent when it is "
                                    + "back"
                            )
                        }
                        failure = reason
                        pause = min(pause * 2, 30_000)
                        isBehind = false
                    } else {
                        if failure != nil { say("\(receiver.name): is back") }
                        (failure, pause) = (nil, 1000)
                        follower.accept()
                        sent += waitingSamples
                        (waiting, waitingSamples) = ([], 0)
                    }
                } else {
                    if output == "-" {
                        try standardOutput.write(waiting)
                        try standardOutput.finish()
                    } else {
                        let file = try TextOutput(path: output, inputs: recordingFiles(directory))
                        try file.write(waiting)
                        try file.finish()
                    }
                    sent += waitingSamples
                    (waiting, waitingSamples) = ([], 0)
                }
            }
            // At the end, the remaining samples are tried once.
            if isEnding && !isBehind { break }
            let wait = isBehind ? 0 : failure == nil ? 500 : pause
            if stop.wait(until: min(end ?? .max, bootMilliseconds() + wait)) { isEnding = true }
            if let end, bootMilliseconds() >= end { isEnding = true }
        }
        if let receiver {
            say(
                "\(counted(UInt64(sent), "sample")) sent to \(receiver.name)"
                    + (failure.map {
                        "; it takes no more (\($0)): the rest stays in \(directory), and another run goes on there"
                    } ?? ""))
        }
    }
}
