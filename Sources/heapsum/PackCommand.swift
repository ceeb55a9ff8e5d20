// heapsum pack: dense copies of images.

import ArgumentParser
import Glibc
import HeapImage
import Report

struct PackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum pack",
        abstract: "Writes dense copies of images, fit to be kept and sent.",
        discussion: """
            An image that a program writes is sparse and may be large; its packed copy holds the same, \
            settled, in a small file. The copies' paths are printed on standard output. No file is \
            overwritten: where a name is taken, the next is NAME-2.heap. Of a program that still runs, \
            the copy is a dump.

            EXAMPLES
              heapsum pack /dev/shm/app.4711.heap -o .
            """)

    @Argument(help: "Images.", completion: .file())
    var files: [String]

    @Option(name: [.short, .long], help: ArgumentHelp("The directory for the copies, made where missing.", valueName: "dir"), completion: .directory)
    var output = "."

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name an image.") }
        if output == "-" { throw ValidationError("Packing to standard output is not supported yet; name a directory.") }
    }

    func run() throws {
        if mkdir(output, 0o777) != 0 && errno != EEXIST {
            say("\(output): can't be made: \(String(cString: strerror(errno)))")
            throw ExitCode.badInput
        }
        var failed = false
        for file in files {
            do {
                let image = try HeapImage(path: file)
                let running = image.kind == .dump || image.presence == .running
                let own = ImageNames.image(program: image.programName, processID: image.header.pid)
                let summary = try image.pack(into: output) { attempt in
                    running ? ImageNames.dump(ofImage: own, number: attempt)
                        : ImageNames.image(program: image.programName, processID: image.header.pid, attempt: attempt)
                }
                for damage in image.damages { say("damaged: \(damage)") }
                let out = TextOutput(descriptor: STDOUT_FILENO, name: "standard output")
                try out.write(summary.path + "\n")
                try out.finish()
            } catch {
                say("\(error)")
                failed = true
            }
        }
        if failed { throw ExitCode.badInput }
    }
}
