// heapwatch bundle: raw samples, the verdict and the page in one archive, to send to somebody else. tar makes the
// archive, as a child process, from a temporary directory.

import ArgumentParser
import Commands
import Glibc
import SystemPackage
import Text
import Watch

struct BundleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapwatch bundle",
        abstract: "Packs a recording, its verdict and its page into one .tgz, to send.",
        discussion: """
            Command lines can contain secrets: --redact keeps only the program's name of each, in the samples and in \
            the verdict, and removes the host name. heapwatch can read the archive's content again.

            EXAMPLES
              heapwatch bundle watch --redact -o watch.tgz
            """)

    @Argument(help: ArgumentHelp("The recording.", valueName: "dir"), completion: .directory)
    var directory: String
    @Flag(help: "Leave out command lines' arguments and the host's name.")
    var redact = false
    @Option(name: .shortAndLong, help: ArgumentHelp("The archive.", valueName: "file"), completion: .file())
    var output: String

    func run() throws {
        try reading {
            let out = try OutputFile(path: output, inputs: recordingFiles(directory))
            var template = "\(environmentText("TMPDIR") ?? "/tmp")/heapwatch-XXXXXX".pathCString
            guard mkdtemp(&template) != nil else {
                throw WatchError("no directory for what is to be packed: \(String(cString: strerror(errno)))")
            }
            let stage = pathText(cString: template)
            defer { _ = try? runChild(["rm", "-rf", stage]) }
            let place = "\(stage)/heapwatch"
            place.withPath { _ = mkdir($0, 0o700) }
            try copySegments(from: directory, to: place, redacts: redact)
            var examination = Examination(directory: place)
            let verdict = try examination.run()
            let text = try TextOutput(path: "\(place)/verdict.txt"),
                json = try TextOutput(path: "\(place)/verdict.json")
            try VerdictText(style: Style()).write(verdict, to: text)
            try text.finish()
            try VerdictJSON().write(verdict, to: json)
            try json.finish()
            let page = try TextOutput(path: "\(place)/index.html")
            try examination.writePage { try page.write($0) }
            try page.finish()
            let archive = "\(stage)/archive.tgz"
            let status = try runNeeded(["tar", "-C", stage, "-czf", archive, "heapwatch"])
            guard status == 0 else { throw WatchError("\(output): tar failed with status \(status)") }
            expectClosedReaders() // tar has ended, which would have inherited it
            try copy(archive, to: out)
            try out.commit()
            say(
                "\(output): \(verdict.samples) samples"
                    + (redact ? ", command lines redacted" : "; command lines are in it (--redact leaves them out)"))
        }
    }
}

private func copy(_ path: String, to out: OutputFile) throws {
    let file = path.withPath { open($0, O_RDONLY | O_CLOEXEC) }
    guard file >= 0 else { throw WatchError("\(path): \(String(cString: strerror(errno)))") }
    defer { close(file) }
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = chunk.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw WatchError("\(path): \(String(cString: strerror(errno)))") }
        if count == 0 { return }
        try out.write(Array(chunk[..<count]))
    }
}

/// Runs a program that this command needs.
private func runNeeded(_ words: [String]) throws(WatchError) -> Int32 {
    do throws(Errno) { return try runChild(words) } catch {
        throw WatchError("\(words[0]): \(error); it is needed for this")
    }
}
