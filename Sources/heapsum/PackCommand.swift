// heapsum pack: dense copies of images, with their frames' names on request.

import ArgumentParser
import Glibc
import HeapImage
import Launch
import Proc
import Reduce
import Report
import Symbols
import SystemPackage
import Text

struct PackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum pack",
        abstract: "Writes dense copies of images, to keep or send.",
        usage: "heapsum pack [<options>] <file> ... [-o DIR|-]",
        discussion: """
            An image that a program writes is sparse and may be large; its packed copy has the same content in a \
            small file. The copies' paths are printed on standard output. No file is overwritten: if a name is taken, \
            the copy is NAME-2.heap. If the program still runs, the copy is a dump.

            Frames are stored as module and offset; to name them, a reader needs the program's binaries. With \
            --with-symbols the copy contains the names: functions, source lines, inlined calls. Such a copy can be \
            read anywhere, even after the binaries were replaced. With --redact it contains neither the program's \
            arguments nor any directory: files have their last names, and build-ids stay.

            EXAMPLES
              heapsum pack /dev/shm/app.4711.heap -o .
              heapsum pack 4711 -o .               of the recorded process 4711
              heapsum pack --with-symbols -o sent out/*.heap
              heapsum pack --redact --with-symbols -o sent out/*.heap
              heapsum pack --with-symbols app.4711.heap -o - | ssh build-host 'heapsum --top 5 -'

            Exit status: 0 done, 2 an image can't be packed, 64 wrong arguments.
            """)

    @Argument(
        help: "Images, or recorded processes by their PID; - is standard input.",
        completion: .file(extensions: ["heap"]))
    var files: [String]

    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "The directory for the copies, created if missing; - writes a single copy to standard output.",
            valueName: "dir"), completion: .directory)
    var output = "."

    @Flag(help: "Store the names of all frames in the copies, as found on this machine.")
    var withSymbols = false

    @Flag(help: "Leave out the program's arguments and all directories, before the copies are given to others.")
    var redact = false

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name an image.") }
        guard output == "-" else { return }
        if files.count > 1 { throw ValidationError("Standard output takes one image; name a directory for several.") }
        if isatty(STDOUT_FILENO) == 1 {
            throw ValidationError(
                "A packed image is not text, and standard output is a terminal; name a directory, or use a pipe.")
        }
    }

    func run() throws {
        if output != "-" {
            do throws(MakeDirectoriesError) { try makeDirectories(FilePath(text: output)) } catch {
                say("\(error.path.text): can't be made: \(error.errno)")
                throw ExitCode.badInput
            }
        }
        expectClosedReaders()
        let symbolizer = try symbols.symbolizer()
        var failed = false
        for file in files {
            do {
                let named = NamedProgram(file)
                if let note = named.note { say(note) }
                try pack(named.image(), symbolizer)
            } catch let error as ExitCode {
                throw error
            } catch let error as LaunchError {
                say(error.message)
                failed = true
            } catch let error as FileError where error.errno == .brokenPipe {
                throw ExitCode(unwritableStatus)
            } catch {
                say("\(error)")
                failed = true
            }
        }
        if failed { throw ExitCode.badInput }
    }

    private func pack(_ image: HeapImage, _ symbolizer: Symbolizer) throws {
        var options = PackOptions()
        options.isRedacted = redact
        var warnings: [String] = []
        if withSymbols {
            let reduction = Reduction()
            try reduction.add(image)
            let names = FrameNames(reduction, symbolizer: symbolizer)
            options.names = names.namesToStore(ofInput: 0)
            warnings = Table.nameWarnings(names)
        } else if !image.hasNames {
            // The files of JIT compilers are gone sooner than modules' files.
            let process = JITProcess(of: image, runningAs: NamedProgram.process(of: image))
            let jit = JITNames(of: image, process)
            options.names = jit.frames?.stored
            warnings = jit.notes
        }
        let summary: PackSummary
        if output == "-" {
            summary = try image.pack(toDescriptor: STDOUT_FILENO, name: "standard output", options: options)
        } else {
            let running = image.kind == .dump || image.presence == .running
            let own = ImageNames.image(program: image.programName, processID: image.header.pid)
            summary = try image.pack(into: output, options: options) { attempt in
                running
                    ? ImageNames.dump(ofImage: own, number: attempt)
                    : ImageNames.image(program: image.programName, processID: image.header.pid, attempt: attempt)
            }
        }
        for damage in image.damages { say("damaged: \(damage)") }
        if summary.census.lostRecords > 0 {
            say(
                "\(image.file): \(counted(summary.census.lostRecords, "record")) of live blocks lost; the copy says so "
                    + "too"
            )
        }
        for warning in warnings { say(warning) }
        if summary.namesLeftOut > 0 {
            say(
                "\(image.file): \(counted(UInt64(summary.namesLeftOut), "name")) left out: an image has place for 4 GB "
                    + "of them"
            )
        }
        if output == "-" { return }
        try writing {
            let out = TextOutput(descriptor: STDOUT_FILENO, name: "standard output")
            try out.write(summary.path.pathBytes + [UInt8(ascii: "\n")])
            try out.finish()
        }
    }
}
