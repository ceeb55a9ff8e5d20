// Keeps a recording within its size: removes every second sample from closed segments, those thinned least first, so
// that all of the past has the same resolution. Also writes copies without what people typed.

import Glibc
import SystemPackage
import Text

/// Thins closed segments until they take no more than `keptBytes`.
/// - Returns: a message if no more can be removed.
func thinOut(_ directory: String, keptBytes: UInt64) -> String? {
    let names = (try? segmentNames(in: directory)) ?? []
    let size = names.reduce(UInt64(0)) { sum, name in
        var about = stat()
        return "\(directory)/\(name)".withPath({ stat($0, &about) }) == 0 ? sum &+ UInt64(max(about.st_size, 0)) : sum
    }
    if size <= keptBytes { return nil }
    struct Segment { var path: String, bytes: UInt64, thinnings: Int64, isSpent = false }
    var segments = names.compactMap { name -> Segment? in
        let path = "\(directory)/\(name)"
        guard let bytes = try? contents(path) else { return nil }
        let head = Frame.at(0, in: bytes).flatMap { try? SegmentHead(decoding: bytes[$0.payload]) }
        return Segment(path: path, bytes: UInt64(bytes.count), thinnings: head?.thinnings ?? 0)
    }
    func total() -> UInt64 { segments.reduce(0) { $0 &+ $1.bytes } }
    while total() > keptBytes {
        guard
            let index = segments.indices.filter({ !segments[$0].isSpent }).min(by: {
                segments[$0].thinnings < segments[$1].thinnings
            })
        else {
            return "\(directory): takes \(total()) bytes, above what --keep allows, and can't be thinned further"
        }
        let path = segments[index].path
        guard let bytes = try? contents(path), let thin = rewritten(bytes, takesOut: true), thin.count < bytes.count,
            replace(path, with: thin)
        else {
            segments[index].isSpent = true
            continue
        }
        segments[index].bytes = UInt64(thin.count)
        segments[index].thinnings += 1
    }
    return nil
}

/// Rewrites a segment without every second sample, or without command lines.
///
/// Samples around jobs, the first and the last stay. nil if no head can be read.
package func rewritten(_ bytes: [UInt8], takesOut: Bool = false, redacts: Bool = false) -> [UInt8]? {
    guard let first = Frame.at(0, in: bytes), first.kind == .head,
        var head = try? SegmentHead(decoding: bytes[first.payload])
    else { return nil }
    if takesOut { head.thinnings &+= 1 }
    if redacts { head.host = "redacted" }
    var out = Frame.make(.head, head.encoded)
    var decoder = SampleDecoder(), encoder = SampleEncoder(), isWhole = false, number = 0, written = 0
    var offset = first.payload.upperBound, pending: Sample?
    func add(_ sample: Sample) {
        let isKey = written % SampleWriter.samplesPerKey == 0
        out += Frame.make(isKey ? .key : .change, encoder.encode(redacts ? redacted(sample) : sample, isKey: isKey))
        written += 1
    }
    while offset < bytes.count {
        guard let frame = Frame.at(offset, in: bytes) else {
            guard
                let next = bytes[(offset + 1)...].indices.first(where: {
                    bytes[$0] == Frame.sync[0] && Frame.at($0, in: bytes) != nil
                })
            else { break }
            (offset, isWhole) = (next, false)
            continue
        }
        offset = frame.payload.upperBound
        switch frame.kind {
        case .head: break
        case .note:
            out += Frame.make(.note, Array(bytes[frame.payload]))
        case .key, .change:
            guard frame.kind == .key || isWhole else { continue }
            isWhole = (try? decoder.apply(bytes[frame.payload], isKey: frame.kind == .key)) != nil
            guard isWhole else { continue }
            pending = nil
            if !takesOut || number % 2 == 0 || decoder.occasion != .interval {
                add(decoder.sample())
            } else {
                pending = decoder.sample()
            }
            number += 1
        }
    }
    if let pending { add(pending) }
    return out
}

/// Removes what may be secret: a command line keeps the program's name, a job its first word.
func redacted(_ sample: Sample) -> Sample {
    func program(_ words: String) -> String {
        let first = words.prefix { $0 != "\0" && $0 != " " }
        return String(first.split(separator: "/").last ?? "")
    }
    var sample = sample
    for index in sample.entities.indices
    where sample.entities[index].kind == .process && !sample.entities[index].detail.isEmpty {
        sample.entities[index].detail = program(sample.entities[index].detail) + "\0[redacted]\0"
    }
    switch sample.occasion {
    case .interval: break
    case .beforeJob(let job): sample.occasion = .beforeJob(program(job) + " [redacted]")
    case .afterJob(let job, let status): sample.occasion = .afterJob(program(job) + " [redacted]", status)
    }
    return sample
}

private func replace(_ path: String, with bytes: [UInt8]) -> Bool {
    let new = path + ".tmp"
    let file = new.withPath { open($0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666) }
    guard file >= 0 else { return false }
    let count = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    let isWhole = count == bytes.count && fdatasync(file) == 0
    close(file)
    if isWhole && new.withPath({ from in path.withPath { rename(from, $0) } }) == 0 { return true }
    _ = new.withPath { unlink($0) }
    return false
}

/// Copies a recording's segments. When words are removed, unreadable segments are left out.
/// - Throws: if one can't be read or written.
package func copySegments(from directory: String, to place: String, redacts: Bool) throws(WatchError) {
    for name in try segmentNames(in: directory) {
        var bytes: [UInt8]
        do { bytes = try contents("\(directory)/\(name)") } catch { throw WatchError("\(directory)/\(name): \(error)") }
        if redacts {
            guard let redacted = rewritten(bytes, redacts: true) else { continue }
            bytes = redacted
        }
        guard replace("\(place)/\(name)", with: bytes) else {
            throw WatchError("\(place)/\(name): can't be written: \(Errno(rawValue: errno))")
        }
    }
    guard var suspects = try? contents("\(directory)/\(SuspectFile.name)"), !suspects.isEmpty else { return }
    if redacts { suspects = withoutContents(suspects) }
    guard replace("\(place)/\(SuspectFile.name)", with: suspects) else {
        throw WatchError("\(place)/\(SuspectFile.name): can't be written: \(Errno(rawValue: errno))")
    }
}

/// kmemleak's records without the objects' contents.
private func withoutContents(_ records: [UInt8]) -> [UInt8] {
    var isContents = false, out: [UInt8] = []
    for line in records.split(separator: 0x0A) {
        let text = line.drop { $0 == 0x20 }
        if has(line, prefix: "unreferenced object") || has(text, prefix: "backtrace") { isContents = false }
        if has(text, prefix: "hex dump") { isContents = true }
        if !isContents { out += line + [0x0A] }
    }
    return out
}
