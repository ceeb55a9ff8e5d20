// heapsum ask: what stands out, for programs.

import ArgumentParser
import Glibc
import HeapImage
import Launch
import Leaks
import Reduce
import Report
import Symbols
import Text

struct AskCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "heapsum ask",
        abstract: "Says what stands out in a heap, as JSON of at most 5,000 bytes: for agents and scripts.",
        usage: "heapsum ask [<options>] <image> | <directory> | <pid> ...",
        discussion: """
            Each finding has a kind, the program's own function that the blocks belong to, figures as evidence, and \
            the next command. The most important comes first. Several images of one process are moments: what grew \
            between them is evidence. Of several processes the largest is told of.

            A running program is stopped for some milliseconds, as by heapsum leaks, to find what is lost and who \
            holds the rest; --no-verdict spares it that.

            KINDS
              leaked      nothing leads to these blocks any more
              growing     more at each moment, or blocks of all ages pile up
              pinned      free memory on pages that a function's live blocks keep
              peak        memory held at the peak, and freed since
              foreign     memory that malloc doesn't have: the program's own mappings, shared memory
              retained    free memory that the allocator keeps
              held        who keeps the blocks that can be reached
              temporary   blocks freed before the next allocation
              live        large, and nothing more is known

            EXAMPLES
              heapsum ask 4711                           the process 4711
              heapsum ask out/                           all images and dumps of the largest process in out/
              heapsum ask server.4711.heap | jq '.findings[0] | .kind, .function, .next'

            What is not known is null; "unknown" says why, and which command would tell.
            Exit status: 0 done, 2 no image can be used, 64 wrong arguments.
            """)

    @Argument(
        help: ArgumentHelp(
            "Images, dumps, directories of them, or a recorded process's ID.", valueName: "file-or-directory"),
        completion: .file())
    var files: [String]

    @Flag(help: "Don't stop a running program to find what is lost.")
    var noVerdict = false

    @OptionGroup
    var output: OutputOptions

    @OptionGroup(title: "Symbols")
    var symbols: SymbolOptions

    func validate() throws {
        if files.isEmpty { throw ValidationError("Name an image, a directory of images, or a process.") }
    }

    func run() throws {
        let symbolizer = try symbols.symbolizer()
        let asker = Asker(
            symbolizer: symbolizer, wantsVerdict: !noVerdict, say: { say($0) })
        guard let facts = asker.facts(of: files) else { throw ExitCode.badInput }
        try output.write(inputs: inputFiles(files) + symbols.files + facts.reduction.moduleFiles) {
            try AskReport(facts).writeJSON(to: $0)
        }
        if asker.hasFailed { throw ExitCode.badInput }
    }
}
