// The options for the sources of names.

import ArgumentParser
import Commands
import Glibc
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

    @Option(
        name: .customLong("debuginfod"),
        help: ArgumentHelp(
            "Fetch missing debug files from these debuginfod servers; none: from no server (default: the environment's "
                + "DEBUGINFOD_URLS).",
            valueName: "urls"))
    var serverURLs: String?

    @Option(
        name: .customLong("debuginfod-timeout"),
        help: ArgumentHelp(
            "Wait at most this long for all of them together (default: DEBUGINFOD_TIMEOUT, or 90s).",
            valueName: "time"))
    var serverTime: Duration?

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
            search: SymbolSearch(debugDirectories: debugDir, sysroot: sysroot ?? "", servers: servers()), lists: lists,
            hasLines: !noLines)
    }

    /// The servers that are asked for debug files; nil if none are.
    private func servers() -> DebugServers? {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        let urls = serverURLs ?? variable("DEBUGINFOD_URLS") ?? ""
        guard urls != "none", urls.utf8.contains(where: { $0 > 0x20 }) else { return nil }
        let usual = variable("DEBUGINFOD_TIMEOUT").flatMap(Double.init).flatMap { $0 > 0 ? $0 : nil }
        let seconds = min(serverTime?.seconds ?? usual ?? DebugServers.usualSeconds, 1e6)
        var bar: Progress?
        return DebugServers(urls: urls, seconds: seconds) { progress in
            guard let progress else {
                bar?.end()
                bar = nil
                return
            }
            if bar == nil { bar = Progress(name: "fetching debug files", storedBytes: nil, isWanted: true) }
            bar?.update(progress.bytes, UInt64(progress.done), of: UInt64(progress.files))
        }
    }
}
