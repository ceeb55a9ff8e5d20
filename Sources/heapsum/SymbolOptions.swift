// The options for the sources of names.

import ArgumentParser
import Symbols

struct SymbolOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Look for separate debug files here before /usr/lib/debug, in the same layout (repeatable).",
            valueName: "dir"), completion: .directory)
    var debugDir: [String] = []

    @Option(
        help: ArgumentHelp(
            "Look for modules and debug files below this directory: the root of the program's file system.",
            valueName: "dir"),
        completion: .directory)
    var sysroot: String?

    @Option(
        help: ArgumentHelp(
            "Read names from a listing: output of gensyms or nm, /proc/kallsyms, System.map (repeatable). Its "
                + "headings or its file name (app.syms: app) tell the module; MODULE=FILE names it. It also names "
                + "absolute addresses.",
            valueName: "file"),
        completion: .file())
    var symbols: [String] = []

    @Flag(help: "Read no DWARF: no source lines, no inlined calls.")
    var noLines = false

    /// The listings' own files.
    var files: [String] { symbols.map { SymbolList.parts(of: $0).path } }

    func symbolizer() throws -> Symbolizer {
        var lists: [SymbolList] = []
        for argument in symbols {
            do throws(SymbolsError) {
                lists.append(try SymbolList(argument))
            } catch {
                say("\(error)")
                throw ExitCode.badInput
            }
        }
        return Symbolizer(
            search: SymbolSearch(debugDirectories: debugDir, sysroot: sysroot ?? ""), lists: lists, hasLines: !noLines)
    }
}
