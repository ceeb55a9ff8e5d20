// The environment that a recorded program starts with: heaprun's own, with the library preloaded and
// its options as HEAPSUM_ variables. Entries are C strings handed on byte for byte: an environment need not
// be UTF-8, and what isn't ours must arrive as it was.

import Glibc
import SystemPackage
import Text

/// What heaprun was asked for, checked.
package struct RecordingOptions {
    /// Where finished images and dumps go.
    package var output: FilePath
    /// Where running images are made; nil with --exec.
    package var runDirectory: FilePath?
    package var depth: Int?
    /// The dump signal's number; 0: none.
    package var signal: Int32?
    package var only: [String] = []
    package var skip: [String] = []
    package var follow = true
    package var threads = false
    package var unwind: String?
    /// Most bytes of an image.
    package var maximumBytes: UInt64?
    /// 0: no limit; nil: as many as suit the machine.
    package var maximumStacks: UInt64?
    /// A dump each time the live bytes pass the last dump's by so many.
    package var dumpAtGrowth: UInt64?
    /// A dump when an allocation fails.
    package var dumpAtFailure = false
    package var messages: FilePath?
    /// Mean bytes between two sampled ones; 0: every allocation is recorded.
    package var sample: UInt64?
    /// Programs tell of an exec before it happens, to who traces them.
    package var tellsEnd = false

    package init(output: FilePath) { self.output = output }

    /// The HEAPSUM_ variables to set. What wasn't asked for keeps the caller's value.
    package var variables: [(name: String, value: String)] {
        var list = [("HEAPSUM_OUTPUT", output.text)]
        if let runDirectory { list.append(("HEAPSUM_RUN_DIR", runDirectory.text)) }
        if let depth { list.append(("HEAPSUM_DEPTH", String(depth))) }
        // By number: how a name is written is decided here.
        if let signal { list.append(("HEAPSUM_SIGNAL", String(signal))) }
        if !only.isEmpty { list.append(("HEAPSUM_ONLY", only.joined(separator: ":"))) }
        if !skip.isEmpty { list.append(("HEAPSUM_SKIP", skip.joined(separator: ":"))) }
        if !follow { list.append(("HEAPSUM_FOLLOW", "0")) }
        if threads { list.append(("HEAPSUM_THREADS", "1")) }
        if let unwind { list.append(("HEAPSUM_UNWIND", unwind)) }
        if let maximumBytes { list.append(("HEAPSUM_MAX_SIZE", String(maximumBytes))) }
        if let maximumStacks { list.append(("HEAPSUM_MAX_STACKS", String(maximumStacks))) }
        if let dumpAtGrowth { list.append(("HEAPSUM_DUMP_AT_GROWTH", String(dumpAtGrowth))) }
        if let sample { list.append(("HEAPSUM_SAMPLE", String(sample))) }
        if dumpAtFailure { list.append(("HEAPSUM_DUMP_AT_FAILURE", "1")) }
        if tellsEnd { list.append(("HEAPSUM_LEAKS", "1")) }
        if let messages { list.append(("HEAPSUM_MESSAGES", messages.text)) }
        return list
    }
}

/// What a value of LD_PRELOAD names.
func preloadEntries(_ value: String?) -> [String] {
    (value ?? "").split(whereSeparator: { $0 == ":" || $0 == " " }).map(String.init)
}

/// The value of LD_PRELOAD: the libraries before what was there, and once.
package func preloadValue(libraries: [String], existing: String?) -> String {
    let others = preloadEntries(existing).filter { !libraries.contains($0) }
    return (libraries + others).joined(separator: ":")
}

/// What AddressSanitizer is told in a recorded program, and in those that it starts.
///
/// As a shared library it refuses to run behind any other, by default. Behind ours it does its work as ever: it is
/// asked not to refuse, whatever else `existing`, the user's options, say; a user who speaks of that himself is obeyed.
package func addressSanitizerOptions(existing: String?) -> String {
    let option = "verify_asan_link_order"
    guard let existing, !existing.isEmpty else { return option + "=0" }
    return existing.contains(option + "=") ? existing : existing + ":" + option + "=0"
}

/// Makes `name=value` entries for execve from an environment: those in `set` replaced or appended, those
/// in `without` left out, all others as they are.
package func environmentEntries(
    from environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>, set: [(name: String, value: String)],
    without: [String] = []
) -> [[CChar]] {
    let prefixes = (set.map(\.name) + without).map { Array("\($0)=".utf8CString.dropLast()) }
    var entries: [[CChar]] = []
    var next = environment
    while let entry = next.pointee {
        if !prefixes.contains(where: { strncmp(entry, $0, $0.count) == 0 }) {
            entries.append(Array(UnsafeBufferPointer(start: entry, count: strlen(entry) + 1)))
        }
        next += 1
    }
    return entries + set.map { "\($0.name)=\($0.value)".pathCString }
}

/// The number of a dump signal as people name it (see `signalNumber(named:)`); 0 for `none`.
///
/// - Throws: 125 for what is no signal, and for those that no handler can take.
package func dumpSignalNumber(_ text: String) throws(LaunchError) -> Int32 {
    if text.uppercased() == "NONE" { return 0 }
    guard let number = signalNumber(named: text) else {
        throw .own("--signal \(text): not a signal; give a name (USR2), a number, RTMIN+n, RTMAX-n, or none")
    }
    guard ![SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT].contains(number) else {
        throw .own("--signal \(text): can't be taken from a program for dumps; USR2 or RTMIN+n are good ones")
    }
    return number
}
