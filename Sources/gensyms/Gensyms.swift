// The gensyms command: its options, the loop over the files, the exit status. Output.swift makes the listing; Symbols
// reads ELF.

import ArgumentParser
import Commands
import Glibc
import Symbols
import Text

enum Format: String, CaseIterable, ExpressibleByArgument { case text, json }

extension SymbolListing.Order: ExpressibleByArgument {}

/// gensyms as a whole; it ends the process.
package func runGensyms() -> Never { runTool(Gensyms.self) }

struct Gensyms: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gensyms",
        abstract: "Print the symbol ranges of ELF files: which addresses belong to which name.",
        usage: "gensyms [--sort address|name|size] [--source] [--demangle] [--format text|json] FILE ...",
        discussion: """
            One line a symbol: address, type as nm prints it, name, size; numbers in hexadecimal.

              0000000000051d60 T queue_register 60
              0000000000051dc0 t queue_grow 220

            Undefined symbols and those without a name are left out. A function without a size of its own \
            gets the one that heapsum gives it: up to the next symbol if the file has its local functions, otherwise \
            as far as .eh_frame says, or 1. Numbers in JSON are plain integers.

            EXAMPLES
              gensyms /usr/lib/x86_64-linux-gnu/libc.so.6
              gensyms --sort size ./server | tail
                  the largest last
              gensyms --source ./server
                  symbols under their source file
              gensyms --demangle --sort size /usr/lib/x86_64-linux-gnu/libstdc++.so.6 | tail -1
              gensyms ./server > server.syms; heapsum --symbols server.syms server.4711.heap
                  names where the file itself can't be had
              gensyms --format json ./server | jq '.files[0].symbols | length'

            EXIT STATUS
              0   all files were listed
              2   a file is no ELF file, is damaged or can't be read;
                  the others were listed
              64  the arguments are wrong
            """,
        version: "gensyms \(version)")

    @Option(help: ArgumentHelp("Order: address, name or size, ascending.", valueName: "order"))
    var sort: SymbolListing.Order = .address

    @Flag(
        help: ArgumentHelp(
            "Group symbols by their source file, under \"Src:\" headings: code by its DWARF; without DWARF only local"
                + " symbols. The others come first."))
    var source = false

    @Flag(help: "Show names as their language has them: C++, Rust, Swift.")
    var demangle = false

    @Option(help: ArgumentHelp("Output: text or json.", valueName: "format"))
    var format: Format = .text

    @Argument(
        help: ArgumentHelp("Executables, shared libraries, object or debug files.", valueName: "file"),
        completion: .file())
    var files: [String]

    func run() throws {
        expectClosedReaders()
        var output = Output(demangler: demangle ? Demangler() : nil)
        let lines = DebugLines()
        var isFirst = true, allGood = true
        if format == .json { output.append("{\"schema\":\"gensyms/1\",\"files\":[") }
        for path in files {
            do throws(SymbolsError) {
                var listing = try SymbolListing(path: path)
                for problem in listing.problems { printMessage("\(problem)") }
                if source { for problem in listing.addSources(lines: lines) { printMessage("\(problem)") } }
                listing.sort(by: sort)
                switch format {
                case .text:
                    if files.count > 1 { output.append("\(isFirst ? "" : "\n")File: \(printable(path))\n") }
                    output.appendText(listing, bySource: source)
                case .json:
                    if !isFirst { output.append(",") }
                    output.appendJSON(listing)
                }
                isFirst = false
            } catch {
                allGood = false
                printMessage("\(error)")
            }
        }
        if format == .json { output.append("]}\n") }
        output.flush()
        if !allGood { throw ExitCode(2) }
    }
}

func printMessage(_ text: String) { say("gensyms: " + text) }
