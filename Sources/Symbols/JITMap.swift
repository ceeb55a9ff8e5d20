// Names of code that a program made while it ran, from the map that its runtime writes: /tmp/perf-PID.map. It has one
// line for each function: start and size in hexadecimal, and the name, which may contain spaces. The runtime appends to
// it; when memory is reused, a later line replaces an earlier one.

import Glibc
import Proc
import Text

/// The functions of one process's JIT compilers.
package struct JITMap: Sendable {
    private let ranges: NamedRanges
    /// The number of lines that make no sense, and where the first one is.
    package private(set) var notes: [SymbolsError] = []

    private static let largest = 1 << 30

    /// Reads the map of a process. Returns nil if there is none.
    ///
    /// - Parameters:
    ///   - sysroot: the root of the tree that the process ran in; empty: this machine's own.
    ///   - since: the process's start, seconds since 1970; an older file belongs to another process with the same PID.
    /// - Throws: `.cannotOpen`, `.tooLarge`. `.unsupported` for a file that others may have written (not owned by this
    ///   user or root).
    package init?(processID: UInt32, sysroot: String = "", since: UInt64 = 0) throws(SymbolsError) {
        let path = "\(sysroot)/tmp/perf-\(processID).map"
        var status = stat()
        guard path.withPath({ lstat($0, &status) }) == 0 else { return nil }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid() || status.st_uid == 0 || geteuid() == 0
        else {
            throw SymbolsError(file: path, reason: .unsupported("not used: it is not a file of this user's"))
        }
        let file = path.withPath { open($0, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) }
        if file >= 0 {
            _ = readStatus(file, &status)
            close(file)
        }
        guard UInt64(max(0, status.st_mtim.tv_sec)) >= since else {
            throw SymbolsError(file: path, reason: .unsupported("not used: it is older than the process"))
        }
        try self.init(path: path)
    }

    package init(path: String) throws(SymbolsError) {
        let bytes = try FileReader.readWhole(path, limit: Self.largest)
        var names: [UInt8] = [0]
        var entries: [RangeTable.Entry] = []
        var (bad, firstBad) = (0, 0)
        bytes.withSpan { span in
            forEachLine(span) { line, fields in
                if fields.isEmpty { return }
                guard fields.count >= 3, let start = number(span, fields[0]), let byteCount = number(span, fields[1])
                else {
                    if bad == 0 { firstBad = line.lowerBound }
                    bad += 1
                    return
                }
                let (end, overflow) = start.addingReportingOverflow(byteCount)
                entries.append(
                    RangeTable.Entry(
                        start: start, end: overflow ? .max : end, name: UInt32(names.count), source: 0, rank: 0,
                        isSized: true))
                for position in fields[2].lowerBound ..< fields[fields.count - 1].upperBound {
                    names.append(byte(span, position))
                }
                names.append(0)
            }
        }
        if bad > 0 {
            notes.append(
                SymbolsError(
                    file: path, offset: UInt64(firstBad),
                    reason: .damaged(
                        "\(bad) line\(bad == 1 ? " is" : "s are") no functions, the first of them here")))
        }
        guard let table = names.withUnsafeBytes({ FileBytes(copying: $0) }) else {
            throw SymbolsError(file: path, reason: .tooLarge(UInt64(names.count)))
        }
        var builder = NamedRangesBuilder()
        builder.add(NameSource(strings: StringTable(bytes: table), cutsVersion: false)) { source in
            Self.current(entries).map { entry in
                var entry = entry
                entry.source = source
                return entry
            }
        }
        ranges = builder.finish()
    }

    /// The function that holds an absolute address, or nil.
    package func name(at address: UInt64) -> SymbolName? { ranges.name(at: address) }

    /// The entries whose memory no later entry has reused. Names are numbered in the order of the lines.
    ///
    /// - Complexity: O(n log n)
    private static func current(_ entries: [RangeTable.Entry]) -> [RangeTable.Entry] {
        var kept: [RangeTable.Entry] = []
        for entry in entries.sorted(by: { ($0.start, $0.name) < ($1.start, $1.name) }) where entry.end > entry.start {
            // If two entries overlap, the older one is dropped. If that is the previous one, another may lie under it.
            var isCurrent = true
            while let last = kept.last, last.end > entry.start {
                if last.name > entry.name {
                    isCurrent = false
                    break
                }
                kept.removeLast()
            }
            if isCurrent { kept.append(entry) }
        }
        return kept
    }
}
