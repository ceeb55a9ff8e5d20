// heapwatch export: a recording's numbers for other tools.

import ArgumentParser
import Text
import Glibc
import Watch

extension ExportFormat: ExpressibleByArgument {}

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapwatch export",
        abstract: "Prints a recording as CSV, for Graphite, or as OpenMetrics.",
        discussion: """
            csv: one line a number: time, kind, pid, name, column, value. graphite: its plaintext protocol, every sample. \
            openmetrics: the newest sample, as a scrape would see it.

            EXAMPLES
              heapwatch export watch --format csv -o watch.csv
              heapwatch export watch --format graphite --to graphite.example:2003
              heapwatch export watch --format openmetrics -o /var/lib/node_exporter/heapwatch.prom
            """)

    @Argument(help: ArgumentHelp("The recording.", valueName: "dir"), completion: .directory)
    var directory: String
    @Option(help: "csv, graphite or openmetrics.")
    var format: ExportFormat
    @Option(name: .shortAndLong, help: ArgumentHelp("Where it goes; - is standard output.", valueName: "file"), completion: .file())
    var output: String = "-"
    @Option(help: ArgumentHelp("Send it to a host's port instead (Graphite's is 2003).", valueName: "host:port"))
    var to: String?

    func validate() throws {
        if to != nil && output != "-" { throw ValidationError("--to and -o: one of them.") }
        if to != nil && format != .graphite { throw ValidationError("--to is for --format graphite.") }
    }

    func run() throws {
        try reading {
            expectClosedReaders()
            let out = try to.map { TextOutput(descriptor: try connected(to: $0), name: $0) } ?? TextOutput(path: output, inputs: recordingFiles(directory))
            var export = Export(format: format)
            do {
                try export.write(directory, to: out)
                try out.finish()
            } catch let error as OutputError where to != nil {
                // A host that hangs up is no reader that has seen enough.
                throw WatchError("\(error)")
            }
            for damage in export.damages.prefix(8) { say(damage.text) }
        }
    }
}

/// A connection to HOST:PORT, where the host may be an address in brackets.
private func connected(to place: String) throws(WatchError) -> CInt {
    guard let colon = place.lastIndex(of: ":"), let port = UInt16(place[place.index(after: colon)...]) else { throw WatchError("\(place): a host and a port are wanted: graphite.example:2003") }
    var host = String(place[..<colon])
    if host.hasPrefix("[") && host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    var hints = addrinfo(), found: UnsafeMutablePointer<addrinfo>?
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    let status = getaddrinfo(host, "\(port)", &hints, &found)
    guard status == 0 else { throw WatchError("\(host): \(String(cString: gai_strerror(status)))") }
    defer { freeaddrinfo(found) }
    var number = ECONNREFUSED, next = found
    while let info = next {
        let descriptor = socket(info.pointee.ai_family, info.pointee.ai_socktype, info.pointee.ai_protocol)
        if descriptor >= 0 {
            if connect(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 { return descriptor }
            number = errno
            close(descriptor)
        }
        next = info.pointee.ai_next
    }
    throw WatchError("\(place): \(String(cString: strerror(number)))")
}
