// The environment of a recorded program: heaprun's own, with the library preloaded and its options as HEAPSUM_
// variables. Entries are C strings that are passed on byte for byte: an environment need not be UTF-8, and entries of
// others must arrive unchanged.

import Glibc
import SystemPackage
import Text

/// heaprun's options, checked.
package struct RecordingOptions {
    /// The directory for finished images and dumps.
    package var output: FilePath
    /// The directory for running images; nil with --exec.
    package var runDirectory: FilePath?
    package var depth: Int?
    /// The dump signal's number; 0: none.
    package var signal: Int32?
    package var only: [String] = []
    package var skip: [String] = []
    package var follow = true
    package var threads = false
    /// What the program maps itself is recorded too.
    package var mappings = false
    /// The pools that the program tells Valgrind of are recorded; goes with `mappings`.
    package var valgrindRequests = false
    /// Python's frames are among the C frames.
    package var python = false
    /// Python takes each object from malloc.
    package var pythonMalloc = false
    /// The attribute of OpenTelemetry's thread context that is a block's tag.
    package var otelContext: String?
    package var unwind: String?
    /// Most bytes of an image.
    package var maximumBytes: UInt64?
    /// 0: no limit; nil: as many as suit the machine.
    package var maximumStacks: UInt64?
    /// A dump each time the live bytes exceed those of the last dump by this many.
    package var dumpAtGrowth: UInt64?
    /// A dump when an allocation fails.
    package var dumpAtFailure = false
    package var messages: FilePath?
    /// Mean bytes between two sampled ones; 0: every allocation is recorded.
    package var sample: UInt64?
    /// Nothing is recorded until heaprun --pid or the dump signal asks for it.
    package var dormant = false
    /// Programs announce an exec to their tracer before it happens.
    package var tellsEnd = false

    package init(output: FilePath) { self.output = output }

    /// Whether all else is as it is by default: the rate of a running recording can be changed, the rest can't.
    package var changesOnlyRate: Bool {
        depth == nil && signal == nil && !threads && !mappings && !python && otelContext == nil && unwind == nil
            && maximumBytes == nil && maximumStacks == nil
            && dumpAtGrowth == nil && !dumpAtFailure && messages == nil
    }

    /// The HEAPSUM_ variables to set, and Python's. Others keep the caller's value.
    package var variables: [(name: String, value: String)] {
        var list = [("HEAPSUM_OUTPUT", output.text)]
        if let runDirectory { list.append(("HEAPSUM_RUN_DIR", runDirectory.text)) }
        if let depth { list.append(("HEAPSUM_DEPTH", String(depth))) }
        // As a number, because names are interpreted only here.
        if let signal { list.append(("HEAPSUM_SIGNAL", String(signal))) }
        if !only.isEmpty { list.append(("HEAPSUM_ONLY", only.joined(separator: ":"))) }
        if !skip.isEmpty { list.append(("HEAPSUM_SKIP", skip.joined(separator: ":"))) }
        if !follow { list.append(("HEAPSUM_FOLLOW", "0")) }
        if mappings { list.append(("HEAPSUM_MAPPINGS", "1")) }
        if valgrindRequests { list.append(("HEAPSUM_VALGRIND_REQUESTS", "1")) }
        if threads { list.append(("HEAPSUM_THREADS", "1")) }
        if python { list.append(("HEAPSUM_PYTHON", "1")) }
        if let otelContext { list.append(("HEAPSUM_OTEL_CONTEXT", otelContext)) }
        if pythonMalloc { list.append(("PYTHONMALLOC", "malloc")) }
        if let unwind { list.append(("HEAPSUM_UNWIND", unwind)) }
        if let maximumBytes { list.append(("HEAPSUM_MAX_SIZE", String(maximumBytes))) }
        if let maximumStacks { list.append(("HEAPSUM_MAX_STACKS", String(maximumStacks))) }
        if let dumpAtGrowth { list.append(("HEAPSUM_DUMP_AT_GROWTH", String(dumpAtGrowth))) }
        if let sample { list.append(("HEAPSUM_SAMPLE", String(sample))) }
        if dumpAtFailure { list.append(("HEAPSUM_DUMP_AT_FAILURE", "1")) }
        if dormant { list.append(("HEAPSUM_DORMANT", "1")) }
        if tellsEnd { list.append(("HEAPSUM_LEAKS", "1")) }
        if let messages { list.append(("HEAPSUM_MESSAGES", messages.text)) }
        return list
    }
}

/// The libraries that a value of LD_PRELOAD names.
func preloadEntries(_ value: String?) -> [String] {
    (value ?? "").split(whereSeparator: { $0 == ":" || $0 == " " }).map(String.init)
}

/// The value of LD_PRELOAD: the libraries, each once, before the existing entries.
package func preloadValue(libraries: [String], existing: String?) -> String {
    let others = preloadEntries(existing).filter { !libraries.contains($0) }
    return (libraries + others).joined(separator: ":")
}

/// The options for AddressSanitizer in a recorded program and in programs that it starts.
///
/// As a shared library it refuses by default to be loaded after any other library. After ours it works as usual, so it
/// is told not to refuse. The user's options, `existing`, are kept, and win if they contain this option themselves.
package func addressSanitizerOptions(existing: String?) -> String {
    let option = "verify_asan_link_order"
    guard let existing, !existing.isEmpty else { return option + "=0" }
    return existing.contains(option + "=") ? existing : existing + ":" + option + "=0"
}

/// Makes `name=value` entries for execve from an environment: those in `set` are replaced or appended, those in
/// `without` are left out, all others stay.
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

/// The number of a dump signal by its name (see `signalNumber(named:)`); 0 for `none`.
///
/// - Throws: 125 if it is not a signal, or one that no handler can catch.
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
