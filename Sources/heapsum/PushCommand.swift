// heapsum push: sends images to a collector, as OpenTelemetry profiles.

import ArgumentParser
import Commands
import Glibc
import HeapImage
import Launch
import Proc
import Send
import Symbols
import Text

struct PushCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum push",
        abstract: "Sends profiles to an OpenTelemetry collector.",
        usage: "heapsum push [<options>] <url> <image-or-pid> ...",
        discussion: """
            Sends each image as OTLP profiles by HTTP POST: inuse_space, inuse_objects, alloc_space and \
            alloc_objects, with the process's attributes. URL is the collector's address, such as \
            http://localhost:4318; without a path, /v1development/profiles is added. `heapsum --format otlp` writes \
            the same to a file.

            All images count, also dumps; directories are searched recursively. With --every, programs that still run \
            are sent again until they end.

            These variables have the meaning that OpenTelemetry gives them: OTEL_SERVICE_NAME, \
            OTEL_RESOURCE_ATTRIBUTES (such as host.name=web1,deployment.environment.name=test) and \
            OTEL_EXPORTER_OTLP_HEADERS.

            EXAMPLES
              heapsum push http://localhost:4318 app.4711.heap
              heapsum push --every 1m http://localhost:4318 4711
              OTEL_RESOURCE_ATTRIBUTES=host.name=web1 heapsum push http://collector:4318 web1/

            Exit status: 0 done, 2 an image can't be used or sent, 64 wrong arguments.
            """)

    @Argument(help: ArgumentHelp("The collector's address.", valueName: "url"))
    var url: String

    @Argument(
        help: ArgumentHelp(
            "Images, directories of them, or recorded processes by their PID.", valueName: "image-or-pid"),
        completion: .file())
    var files: [String]

    @Option(help: ArgumentHelp("Send programs that still run again, once in this time.", valueName: "time"))
    var every: Commands.Duration?

    @Option(help: ArgumentHelp("Wait at most this long for the collector, for each image.", valueName: "time"))
    var timeout = Commands.Duration(seconds: 10)

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name an image, or a recorded process by its PID.") }
        if let every, every.seconds < 1 { throw ValidationError("--every \(every.text): at least 1s.") }
        guard (0.001 ... 86_400).contains(timeout.seconds) else {
            throw ValidationError("--timeout \(timeout.text): from 1ms to 1d.")
        }
    }

    func run() throws {
        let pusher: ProfilePusher, symbolizer = try symbols.symbolizer()
        do throws(SendError) {
            var settings = try CollectorSettings(url: url)
            settings.seconds = timeout.seconds
            pusher = try ProfilePusher(settings, symbolizer: symbolizer)
        } catch {
            throw ValidationError("\(error)")
        }
        var rest = files.flatMap(imagesBelow)
        if rest.isEmpty { say("\(files.joined(separator: ", ")): there is no image") }
        var failures = rest.isEmpty ? 1 : 0
        var sent: Set<String> = []
        while !rest.isEmpty {
            let due = clockNanoseconds(CLOCK_MONOTONIC) + UInt64((every?.seconds ?? 0) * 1e9)
            var running: [String] = []
            for name in rest {
                do {
                    let named = NamedProgram(name)
                    if let note = named.note, !sent.contains(name) { say(note) }
                    let image = try named.image()
                    let isRunning = image.kind == .running && image.presence == .running
                    if isRunning { running.append(name) }
                    if let remark = try pusher.push(image) { say("\(image.file): the collector says: \(remark)") }
                    for damage in image.damages { say("damaged: \(damage)") }
                    sent.insert(name)
                } catch {
                    // A program that was sent before has ended, and its image has gone.
                    if sent.contains(name) && !(error is SendError) { continue }
                    say((error as? LaunchError)?.message ?? "\(error)")
                    failures += 1
                }
            }
            rest = every == nil ? [] : running
            if !rest.isEmpty { sleep(until: due) }
        }
        if failures > 0 { throw ExitCode.badInput }
    }

    private func sleep(until due: UInt64) {
        while true {
            let now = clockNanoseconds(CLOCK_MONOTONIC)
            if now >= due { return }
            var pause = timespec(tv_sec: Int((due - now) / 1_000_000_000), tv_nsec: Int((due - now) % 1_000_000_000))
            nanosleep(&pause, nil)
        }
    }
}
