// The objects that the kernel's leak detector, kmemleak, suspects. The kernel's record of each new one is kept in a
// file beside the samples. kmemleak forgets freed objects, and a reboot forgets all; the file keeps them, and heapsum
// reads it.
//
// Invariant: the file stays below `mostBytes`; records without room are counted.

import Glibc
import Proc
import SystemPackage
import Text

/// Reads kmemleak's list and finds what is new.
struct SuspectedObjects {
    /// At most this many objects are distinguished. If a kernel suspects more, most of them have the same cause.
    static let mostKnown = 200_000
    /// Most bytes of records that wait to be taken.
    static let mostFresh = 4 << 20

    /// Hashes of known objects' first two lines: address and size, task and time.
    private var known: Set<Int> = []
    private var fresh: [UInt8] = []

    /// - Returns: the number of objects.
    mutating func read(_ files: ProcText) throws(Errno) -> Int64 {
        var count: Int64 = 0, record: [UInt8] = [], head: [UInt8] = [], lines = 0
        var list = self
        func close(_ list: inout SuspectedObjects) {
            guard lines > 0 else { return }
            list.add(head, record)
            (record, head, lines) = ([], [], 0)
        }
        try files.forEachLine("/sys/kernel/debug/kmemleak") { line in
            if has(line, prefix: "unreferenced object") {
                close(&list)
                count += 1
            } else if lines == 0 {
                return
            }
            lines += 1
            // A record has about twenty lines. A file with longer records is not kmemleak's.
            guard record.count < 16 << 10 else { return }
            record += line + [0x0A]
            if lines <= 2 { head += line.prefix { $0 != UInt8(ascii: "(") || lines == 1 } }
        }
        close(&list)
        self = list
        return count
    }

    private mutating func add(_ head: [UInt8], _ record: [UInt8]) {
        guard known.count < Self.mostKnown, known.insert(Self.hash(head)).inserted,
            fresh.count + record.count <= Self.mostFresh
        else { return }
        fresh += record
    }

    /// Reads what an earlier run in the same directory kept, so that it isn't kept again.
    mutating func know(_ path: String) {
        var list = SuspectedObjects()
        guard let bytes = try? contents(path) else { return }
        var head: [UInt8] = [], lines = 0
        for line in bytes.split(separator: 0x0A) {
            if has(line, prefix: "unreferenced object") { (head, lines) = ([], 0) }
            lines += 1
            guard lines <= 2 else { continue }
            head += line.prefix { $0 != UInt8(ascii: "(") || lines == 1 }
            if lines == 2 { list.known.insert(Self.hash(head)) }
        }
        known.formUnion(list.known)
    }

    mutating func takeFresh() -> [UInt8] {
        defer { fresh = [] }
        return fresh
    }

    /// FNV-1a, after Fowler, Noll and Vo.
    private static func hash(_ bytes: [UInt8]) -> Int {
        Int(truncatingIfNeeded: bytes.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 })
    }
}

/// The file of suspects' records in a recording's directory.
package struct SuspectFile {
    package static let name = "kmemleak.txt"
    package static let mostBytes = 64 << 20

    private let path: String
    private var saidFull = false

    package init(directory: String) { path = "\(directory)/\(Self.name)" }

    /// Adds records at the end.
    /// - Returns: a message to print once: that the file is full or can't be written.
    package mutating func append(_ records: [UInt8]) -> String? {
        if records.isEmpty || saidFull { return nil }
        let file = path.withPath { open($0, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600) }
        guard file >= 0 else {
            saidFull = true
            return "\(path): \(Errno(rawValue: errno)): what kmemleak suspects is counted, not kept"
        }
        defer { close(file) }
        var about = stat()
        guard fstat(file, &about) == 0, about.st_size + records.count <= Self.mostBytes else {
            saidFull = true
            return
                "\(path): has \(Self.mostBytes >> 20) MB: further objects that kmemleak suspects are counted, not kept"
        }
        let count = records.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        guard count == records.count else {
            // A partial record would be read as a whole one.
            if count > 0 { ftruncate(file, about.st_size) }
            saidFull = true
            return
                "\(path): \(count < 0 ? Errno(rawValue: errno) : .noSpace): what kmemleak suspects is counted, not kept"
        }
        return nil
    }
}

extension Gatherer {
    /// Reads what an earlier run kept, so that it isn't kept twice.
    package func continueSuspects(in directory: String) { suspects.know("\(directory)/\(SuspectFile.name)") }
}
