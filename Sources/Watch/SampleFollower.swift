// Reads a recording while it is being made: passes on each sample once, and waits for more at the end. What a sender
// has delivered is remembered beside the samples, so a restarted run continues where the last one stopped.
//
// Invariant: a sample is passed on again until `accept` is called for it, and never afterwards.

import Glibc
import Proc
import SystemPackage
import Text

package final class SampleFollower {
    package let directory: String
    private var number = 0
    private var file: CInt = -1
    private var path = ""
    private var bytes: [UInt8] = []
    private var offset = 0
    private var head: SegmentHead?
    private var decoder = SampleDecoder()
    private var isWhole = false
    /// Where to continue: the last sample that an earlier run delivered.
    private var resume: Mark?
    private let markPath: String
    private var last: Mark?
    /// Messages for the user, each once.
    private var notes: [String] = []

    /// A sample that was delivered.
    private struct Mark: Equatable {
        var bootID: String, boot: Int64, wall: Int64
    }

    /// - Parameter receiver: the receiver's name; each receiver has its own position.
    package init(directory: String, receiver: String) throws(WatchError) {
        self.directory = directory
        let plain = receiver.utf8.map {
            (0x30 ... 0x39).contains($0) || (0x41 ... 0x5A).contains($0) || (0x61 ... 0x7A).contains($0)
                ? $0 : UInt8(ascii: "-")
        }
        markPath = "\(directory)/sent-\(String(decoding: plain.prefix(100), as: UTF8.self))"
        if try segmentNames(in: directory).isEmpty {
            throw WatchError("\(directory): no recording there; heapwatch -o \(directory) makes one")
        }
        if let bytes = try? contents(markPath) {
            let words = String(decoding: bytes.prefix(512), as: UTF8.self).split(separator: " ").map(String.init)
            if words.count == 3, let boot = Int64(words[1]), let wall = Int64(words[2]) {
                resume = Mark(bootID: words[0], boot: boot, wall: wall)
            }
        }
    }

    deinit { if file >= 0 { close(file) } }

    package func takeNotes() -> [String] {
        defer { notes = [] }
        return notes
    }

    /// Passes the next undelivered samples to `body`.
    ///
    /// - Parameter body: called with each sample; if it returns false, this round ends.
    /// - Complexity: O(new bytes)
    package func forEachNew(_ body: (SegmentHead, SampleDecoder) throws -> Bool) throws {
        while true {
            if file < 0 {
                guard try openNext() else { return }
            }
            // First checks whether there is another segment, then reads this one. So everything written to this one is
            // read.
            let hasNext = try segmentNames(in: directory).contains { (segmentNumber($0) ?? 0) > number }
            try fill()
            while let frame = Frame.at(offset, in: bytes) {
                let payload = bytes[frame.payload]
                offset = frame.payload.upperBound
                switch frame.kind {
                case .head:
                    head = try? SegmentHead(decoding: payload)
                    if let head, head.thinnings > 0 {
                        notes.append(
                            "\(path): was thinned before it was sent: one sample in \(1 << min(head.thinnings, 40)) is "
                                + "left of its oldest"
                        )
                    }
                case .note: break
                case .key, .change:
                    guard let head, frame.kind == .key || isWhole else { continue }
                    isWhole = (try? decoder.apply(payload, isKey: frame.kind == .key)) != nil
                    guard isWhole, !isDelivered(head) else { continue }
                    last = Mark(
                        bootID: head.bootID, boot: decoder.bootMilliseconds, wall: head.wall(decoder.bootMilliseconds))
                    if try !body(head, decoder) { return }
                }
            }
            if let next = nextWhole() {
                notes.append("\(path): offset \(offset): \(next - offset) bytes are damaged and passed over")
                (offset, isWhole) = (next, false)
                continue
            }
            guard hasNext else { return }
            if offset < bytes.count {
                notes.append(
                    "\(path): offset \(offset): \(bytes.count - offset) bytes at the end are a sample that was cut off")
            }
            close(file)
            file = -1
        }
    }

    /// Remembers that all samples passed on so far were delivered.
    package func accept() {
        guard let last else { return }
        resume = nil
        let text = Array("\(last.bootID.isEmpty ? "-" : last.bootID) \(last.boot) \(last.wall)\n".utf8),
            new = markPath + ".new"
        let file = new.withPath { open($0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666) }
        guard file >= 0 else { return sayUnwritable() }
        let count = text.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        close(file)
        if count != text.count || new.withPath({ from in markPath.withPath { rename(from, $0) } }) != 0 {
            sayUnwritable()
        }
    }

    private var saidUnwritable = false
    private func sayUnwritable() {
        if saidUnwritable { return }
        saidUnwritable = true
        notes.append(
            "\(markPath): \(Errno(rawValue: errno)): what was sent can't be remembered; another run sends all again")
    }

    // Whether an earlier run delivered the sample: of the same start of the machine, those up to the last delivered
    // one; of other starts, those with an earlier time.
    private func isDelivered(_ head: SegmentHead) -> Bool {
        guard let resume else { return false }
        if (head.bootID.isEmpty ? "-" : head.bootID) == resume.bootID { return decoder.bootMilliseconds <= resume.boot }
        return head.wall(decoder.bootMilliseconds) <= resume.wall
    }

    private func openNext() throws -> Bool {
        guard let name = try segmentNames(in: directory).first(where: { (segmentNumber($0) ?? 0) > number }) else {
            return false
        }
        path = "\(directory)/\(name)"
        file = path.withPath { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard file >= 0 else { throw WatchError("\(path): \(Errno(rawValue: errno))") }
        number = segmentNumber(name) ?? number + 1
        (bytes, offset, head, decoder, isWhole) = ([], 0, nil, SampleDecoder(), false)
        return true
    }

    private func fill() throws(WatchError) {
        // Frees what was read.
        if offset > 1 << 20 {
            bytes.removeFirst(offset)
            offset = 0
        }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw WatchError("\(path): \(Errno(rawValue: errno))") }
            if count == 0 { return }
            bytes += chunk[..<count]
            if bytes.count - offset > 1 << 30 { throw WatchError("\(path): more than a segment") }
        }
    }

    /// The next complete frame after damage. nil at the end, where a sample may just be being written.
    private func nextWhole() -> Int? {
        var at = offset + 1
        while at < bytes.count, let found = bytes[at...].firstIndex(of: Frame.sync[0]) {
            if Frame.at(found, in: bytes) != nil { return found }
            at = found + 1
        }
        return nil
    }
}
