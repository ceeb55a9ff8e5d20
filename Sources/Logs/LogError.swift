// What can be wrong with a log. Reading throws only if nothing in the log can be used. Other problems are counted in
// the notes, one entry for each kind with its first place, and the reduction goes on.

import HeapImage
import Text

/// A log that can't be used at all, and the offset of the reason.
package typealias LogError = InputError

/// A kind of problem in a log, reported once for all occurrences.
package enum LogNote: Int, CaseIterable, Sendable {
    case cutRecord, badRecord, badFrame, longRecord, longStack, freedUnseen, bookedTwice, notUnderstood, outside,
        sizeUnknown
    case noNewline, ownerUnknown, noOwner, mixedStacks, noAddresses
    case printedAgain, bytesAssumed, mapLeftOut, blocksUnknown, mapsSummed, eventsLost, profileTooLarge, nothingInUse

    /// As a phrase without a full stop.
    var text: String {
        switch self {
        case .cutRecord: "a record is cut off"
        case .badRecord: "a record without an address or a size that can be read; not counted"
        case .badFrame: "a line of a traceback can't be read; the frame is shown as missing"
        case .longRecord: "a record is longer than \(longestRecordBytes / 1_048_576) MB, and was cut there"
        case .longStack: "a traceback has more than \(mostFrames) frames; the outer ones are shown as missing"
        case .freedUnseen: "a free of an object whose allocation is not in the log"
        case .bookedTwice: "an allocation of an object that is live already: its free is not in the log"
        case .notUnderstood: "a line inside a record can't be read, and is skipped"
        case .outside: "a line belongs to no record, and is skipped"
        case .sizeUnknown:
            "blocks of a slab cache whose size is not in the log: their bytes are not known (--cache NAME, or "
                + "--cache NAME=BYTES, says it)"
        case .ownerUnknown:
            "of several objects' backtraces nobody can tell which is whose, and not all are live; the stack is shown "
                + "as missing"
        case .noOwner: "a backtrace that belongs to no object, and is skipped"
        case .mixedStacks: "the backtraces of several processors are mixed, and none is given to an object"
        case .noAddresses:
            "calls of malloc without an address: record malloc's return, too (perf probe 'malloc%return $retval')"
        case .printedAgain: "a map was printed again: the newest counts"
        case .bytesAssumed:
            "values of a map whose name doesn't say what they are, taken for bytes (call it @bytes or @count)"
        case .mapLeftOut:
            "values of a map whose name doesn't say what they are, beside maps whose names do; left out (call it "
                + "@bytes or @count)"
        case .blocksUnknown: "stacks without a number of blocks: each is shown as one"
        case .mapsSummed: "several maps have bytes: each has rows of its own, and the totals are of all"
        case .eventsLost: "the tool lost events, or had no room for more stacks"
        case .profileTooLarge: "a profile of more than 256 MB; the rest is not read"
        case .nothingInUse: "a profile without bytes in use: of processor time, or of all that was allocated"
        case .noNewline: "the last line has no newline, and is read as it is"
        }
    }

    /// True if recorded data is lost or wrong; false if no allocation is affected.
    var isDamage: Bool {
        switch self {
        case .cutRecord, .badRecord, .badFrame, .longRecord, .longStack, .ownerUnknown, .mixedStacks, .noAddresses,
            .eventsLost, .profileTooLarge,
            .nothingInUse:
            true
        case .freedUnseen, .bookedTwice, .notUnderstood, .outside, .sizeUnknown, .noNewline, .noOwner, .printedAgain,
            .bytesAssumed, .mapLeftOut, .blocksUnknown, .mapsSummed:
            false
        }
    }
}

/// The maximum bytes of one record; real records are smaller.
package let longestRecordBytes = 16 << 20
/// At most this many frames of a stack are kept: the innermost.
package let mostFrames = 4096

/// The problems by kind: how often, and where first.
package struct LogNotes {
    private var counts = [UInt64](repeating: 0, count: LogNote.allCases.count)
    private var firsts = [UInt64](repeating: .max, count: LogNote.allCases.count)
    private var lost = [UInt64](repeating: 0, count: LogNote.allCases.count)

    package init() {}

    package mutating func add(_ note: LogNote, at offset: UInt64, count: UInt64 = 1, lostBytes: UInt64 = 0) {
        counts[note.rawValue] &+= count
        firsts[note.rawValue] = min(firsts[note.rawValue], offset)
        lost[note.rawValue] &+= lostBytes
    }

    package mutating func add(_ other: LogNotes) {
        for note in LogNote.allCases where other[note] > 0 {
            add(note, at: other.firsts[note.rawValue], count: other[note], lostBytes: other.lost[note.rawValue])
        }
    }

    var isEmpty: Bool { counts.allSatisfy { $0 == 0 } }

    /// The place of the first of a kind; nil if there is none.
    func first(_ note: LogNote) -> UInt64? { counts[note.rawValue] > 0 ? firsts[note.rawValue] : nil }

    package subscript(_ note: LogNote) -> UInt64 { counts[note.rawValue] }

    /// The list for reports, in the order of places: the damage, or what was skipped.
    package func list(damages: Bool, file: String) -> [Damage] {
        LogNote.allCases.filter { $0.isDamage == damages && self[$0] > 0 }
            .sorted { firsts[$0.rawValue] < firsts[$1.rawValue] }
            .map {
                Damage(
                    file: file, offset: firsts[$0.rawValue], lostBytes: lost[$0.rawValue],
                    count: Int(clamping: self[$0]), what: $0.text)
            }
    }
}
