// What the tests of logs share: logs in files, and rows as text, so that they can be held against
// anything that counts.

import Glibc
import Reduce
import Report
import TestSupport
import Testing
import Text

@testable import Logs

extension LogKind {
    static let aix = kind(AIXLog.self), dbx = kind(DBXLog.self), slub = kind(SLUBLog.self),
        allocTraces = kind(AllocTracesLog.self)
    static let kmemleak = kind(KmemleakLog.self), pageOwner = kind(PageOwnerLog.self),
        allocinfo = kind(AllocinfoLog.self)
    static let leakSanitizer = kind(LeakSanitizerLog.self), valgrind = kind(ValgrindLog.self),
        memleak = kind(BCCMemleakLog.self)
    static let perf = kind(PerfScriptLog.self), heapProfile = kind(HeapProfileLog.self),
        heaptrack = kind(HeaptrackLog.self)
    static let pprof = kind(PprofLog.self), bpftrace = kind(BpftraceLog.self), slabinfo = kind(SlabinfoLog.self)

    private static func kind(_ format: any LogFormat.Type) -> LogKind {
        guard let kind = LogKind(rawValue: format.name) else { fatalError("\(format) is not in the registry") }
        return kind
    }
}

/// A log in a file that goes with the value.
final class LogFile {
    let path: String
    let scratch: Scratch

    init(_ bytes: some Collection<UInt8>, name: String = "test.log") throws {
        scratch = try Scratch()
        path = scratch.file(name)
        guard let file = fopen(path, "we") else { throw Failure("can't write \(path)") }
        let array = Array(bytes)
        fwrite(array, 1, array.count, file)
        fclose(file)
    }

    convenience init(_ text: String, name: String = "test.log") throws { try self.init(text.utf8, name: name) }
}

struct Reduced {
    var reduction: Reduction
    var summary: LogSummary
    var input: Input { reduction.inputs[0] }

    /// Rows as `frame < frame < frame` to bytes and blocks.
    var rows: [String: [UInt64]] {
        var result: [String: [UInt64]] = [:]
        let names = FrameNames(reduction)
        #expect(
            Set(
                reduction.rows.map {
                    reduction.frames(of: $0).map(names.name).map {
                        "\($0.text) \($0.address ?? 0) \($0.modulePath ?? "") \($0.file ?? "") \($0.line ?? 0)"
                    }
                }
            ).count
                == reduction.rows.count, "a stack has one row")
        for row in reduction.rows {
            let key = reduction.frames(of: row).map { frame in
                let named = names.name(frame)
                return (named.address.map { "\(hexadecimal($0)) " } ?? "") + named.text
                    + (named.moduleName.map { " [\($0)]" } ?? "")
            }.joined(separator: " < ")
            let known = result[key] ?? [0, 0]
            result[key] = [known[0] &+ row.bytes, known[1] &+ row.blocks]
        }
        return result
    }
}

func reduce(_ path: String, _ kind: LogKind, set: SetChoice = .last, workers: Int = 2) throws -> Reduced {
    let reduction = Reduction()
    let summary = try reduction.add(LogStream(path: path), kind: kind, set: set, workers: workers)
    #expect(reduction.rows.reduce(0) { $0 &+ $1.bytes } == reduction.totals.liveBytes)
    #expect(reduction.rows.reduce(0) { $0 &+ $1.blocks } == reduction.totals.liveBlocks)
    return Reduced(reduction: reduction, summary: summary)
}

func reduce(text: String, _ kind: LogKind, set: SetChoice = .last, name: String = "test.log") throws -> Reduced {
    let file = try LogFile(text, name: name)
    return try reduce(file.path, kind, set: set)
}

func head(_ path: String) throws -> [UInt8] { try LogStream(path: path).peek(1 << 16) }

/// A file of Tests/LogsTests/Fixtures.
func fixture(_ name: String) -> String { Built.root + "/Tests/LogsTests/Fixtures/" + name }
