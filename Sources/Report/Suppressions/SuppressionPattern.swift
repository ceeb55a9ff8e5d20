// How suppressions match names: LeakSanitizer's patterns match a part of a name, Valgrind's match the whole name.
//
// Invariant: a match takes at most (pattern × name) steps. Both are bounded, because both may come from anywhere.

/// The maximum bytes of a name that are examined, and of a pattern.
let suppressionTextLimit = 8192

/// LeakSanitizer's: a part of the name, with `*` for anything, `^` for the start and `$` for the end.
struct SearchPattern: Sendable {
    private let pieces: [[UInt8]]
    private let isFromStart: Bool
    private let isToEnd: Bool

    init(_ text: String) {
        var bytes = Array(text.utf8)[...]
        isFromStart = bytes.first == UInt8(ascii: "^")
        if isFromStart { bytes = bytes.dropFirst() }
        isToEnd = bytes.last == UInt8(ascii: "$")
        if isToEnd { bytes = bytes.dropLast() }
        pieces = bytes.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false).map(Array.init)
    }

    /// As in LeakSanitizer, nothing matches an empty name.
    func matches(_ name: String) -> Bool {
        let name = Array(name.utf8.prefix(suppressionTextLimit))
        if name.isEmpty { return false }
        var place = 0
        for (index, piece) in pieces.enumerated() {
            if index == pieces.count - 1 && isToEnd {
                let start = name.count - piece.count
                guard start >= place, index > 0 || !isFromStart || start == 0 else { return false }
                return name[start...].elementsEqual(piece)
            }
            if index == 0 && isFromStart {
                guard name.starts(with: piece) else { return false }
                place = piece.count
            } else {
                guard let found = Self.find(piece, in: name, from: place) else { return false }
                place = found + piece.count
            }
        }
        return true
    }

    private static func find(_ piece: [UInt8], in name: [UInt8], from start: Int) -> Int? {
        guard let first = piece.first else { return start }
        guard name.count - start >= piece.count else { return nil }
        for place in start ... name.count - piece.count where name[place] == first {
            if name[place ..< place + piece.count].elementsEqual(piece) { return place }
        }
        return nil
    }
}

/// Valgrind's: the whole name, with `*` for anything and `?` for one byte.
struct WildcardPattern: Sendable {
    private let pattern: [UInt8]
    /// The text before the first wildcard. Most names already differ there.
    private let beginning: ArraySlice<UInt8>
    /// The only name that matches; nil if there are wildcards.
    let exact: String?

    init(_ text: String) {
        pattern = Array(text.utf8)
        beginning = pattern.prefix { $0 != UInt8(ascii: "*") && $0 != UInt8(ascii: "?") }
        exact = beginning.count == pattern.count ? text : nil
    }

    func matches(_ name: String) -> Bool {
        if let exact { return name == exact }
        guard name.utf8.starts(with: beginning) else { return false }
        let name = Array(name.utf8.prefix(suppressionTextLimit))
        return glob(pattern.count, name.count, isStar: { pattern[$0] == UInt8(ascii: "*") }, isToEnd: true) {
            pattern[$0] == UInt8(ascii: "?") || pattern[$0] == name[$1]
        }
    }
}

/// Whether items match patterns one by one. A star stands for any number of items.
///
/// Only the last star is ever retried: anything more that an earlier star could match, the last one can match as well.
///
/// - Complexity: O(patterns × items)
func glob(
    _ patterns: Int, _ items: Int, isStar: (Int) -> Bool, isToEnd: Bool, matches: (_ pattern: Int, _ item: Int) -> Bool
) -> Bool {
    var (pattern, item) = (0, 0)
    var star: (pattern: Int, item: Int)?
    while true {
        if pattern == patterns && (!isToEnd || item == items) { return true }
        if pattern < patterns && isStar(pattern) {
            star = (pattern, item)
            pattern += 1
        } else if pattern < patterns && item < items && matches(pattern, item) {
            pattern += 1
            item += 1
        } else if let last = star, last.item < items {
            star = (last.pattern, last.item + 1)
            pattern = last.pattern + 1
            item = last.item + 1
        } else {
            return false
        }
    }
}
