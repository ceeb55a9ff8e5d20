// The table of the numbers that a row has. Sort keys, the columns of tables and pages, JSON's and CSV's fields and the
// formats of other programs are made from it. A new quantity is one entry of `all`. The names below are for code that
// needs a certain quantity.
//
// Invariant: an unknown quantity is nil. It is left out, null or empty, and never written as 0.

import Reduce
import Text

/// A number that a row has.
package struct Quantity: Sendable, Equatable {
    package enum Unit: String, Sendable { case bytes, blocks, seconds }

    /// A whole number, or a length of time.
    package enum Value: Sendable, Equatable { case count(UInt64), seconds(Double) }

    /// Its name in JSON and the page; CSV has it with underscores.
    package let name: String
    package let unit: Unit
    /// Its name for people.
    package let title: String
    /// Its name for --sort; nil: rows can't be ordered by it.
    let sortName: String?
    /// The heading of the column that the table adds if rows are ordered by it; nil: the table always has the column,
    /// or never.
    let tableTitle: String?
    /// Its name on a page; and its column there beside another quantity, with a hint (nil: no column).
    let pageTitle: String
    let pageColumn: (title: String, hint: String)?
    /// Whether rows of JSON and CSV have it.
    let isReported: Bool
    /// Whether its sums are meaningful, so that a graph can show it.
    let isSum: Bool
    /// Whether it is about past blocks, which logs of live blocks don't have.
    package let isOfHistory: Bool
    /// The order of rows for which it is not known.
    private let standIn: @Sendable (Row) -> Double
    /// A row's value; nil if not known.
    package let known: @Sendable (Row) -> Value?

    /// All quantities, in the order of columns and fields.
    package static let all = [
        Quantity(
            "bytes", .bytes, "live bytes", sort: "bytes", page: "Live bytes",
            count: { $0.blocksOfUnknownSize > 0 && $0.bytes == 0 ? nil : $0.bytes }),
        Quantity("blocks", .blocks, "live blocks", sort: "blocks", page: "Live blocks", count: { $0.blocks }),
        Quantity(
            "allocatedBytes", .bytes, "allocated bytes", sort: "allocated-bytes", column: "allocated bytes",
            page: "Allocated bytes, ever",
            isOfHistory: true, standIn: { Double($0.bytes) }, count: { $0.history?.allocatedBytes }),
        Quantity(
            "allocatedBlocks", .blocks, "allocated blocks", sort: "allocated-blocks", column: "allocated blocks",
            page: "Allocated blocks, ever",
            pageColumn: ("Allocated", "Blocks ever allocated"), isOfHistory: true, standIn: { Double($0.blocks) },
            count: { $0.history?.allocatedBlocks }),
        Quantity(
            "peakBytes", .bytes, "bytes at the peak", sort: "peak-bytes", column: "at the peak",
            page: "Bytes at the peak",
            pageColumn: ("At the peak", "Bytes that it held when the process held the most"), isOfHistory: true,
            count: { $0.history?.peakBytes }),
        Quantity(
            "peakBlocks", .blocks, "blocks at the peak", page: "Blocks at the peak", isReported: false,
            isOfHistory: true, count: { $0.history?.peakBlocks }),
        Quantity(
            "temporaryBlocks", .blocks, "temporary blocks", sort: "temporary", column: "temporary",
            page: "Temporary blocks",
            pageColumn: ("Temporary", "Blocks freed before their thread’s next allocation"), isOfHistory: true,
            count: { $0.history?.temporaryBlocks }),
        Quantity(
            "oldestSeconds", .seconds, "age of the oldest", sort: "age", page: "Oldest live block",
            pageColumn: ("Oldest", "Age of the oldest live block"),
            standIn: { _ in -1 }, seconds: { $0.oldestSeconds }),
        Quantity(
            "newestSeconds", .seconds, "age of the newest", page: "Newest live block", seconds: { $0.newestSeconds }),
        Quantity(
            "residentBytes", .bytes, "resident bytes", sort: "resident", column: "resident", page: "Resident bytes",
            pageColumn: ("Resident", "Of the live bytes, those on pages that are in memory"),
            isSum: false, count: { $0.residentBytes }),
        Quantity(
            "standardErrorBytes", .bytes, "standard error of the bytes", page: "Standard error of the bytes",
            pageColumn: ("±", "Standard error of the estimated bytes: two thirds of all estimates are within one"),
            isSum: false, count: { $0.variance.map { UInt64(clamped: $0.errorBytes) } }),
        Quantity(
            "standardErrorBlocks", .blocks, "standard error of the blocks", page: "Standard error of the blocks",
            isSum: false, count: { $0.variance.map { UInt64(clamped: $0.errorBlocks) } }),
    ]

    package static let bytes = named("bytes"), blocks = named("blocks"), allocatedBytes = named("allocatedBytes")
    package static let allocatedBlocks = named("allocatedBlocks"), peakBytes = named("peakBytes"),
        peakBlocks = named("peakBlocks")
    package static let temporaryBlocks = named("temporaryBlocks"), oldestSeconds = named("oldestSeconds"),
        residentBytes = named("residentBytes")

    /// The quantities that formats of other programs can sum up.
    package static let sums = all.filter(\.isSum)
    /// Whether rows of this reduction may have it: only a sampled image has errors, and only a running program pages.
    package func isShown(of reduction: Reduction) -> Bool {
        switch name {
        case "standardErrorBytes", "standardErrorBlocks": reduction.isSampled
        case "residentBytes": reduction.knowsResidence
        default: true
        }
    }
    /// The quantities in rows of JSON and CSV.
    static let reported = all.filter(\.isReported)

    private static func named(_ name: String) -> Quantity { all.first { $0.name == name } ?? all[0] }

    package static func == (one: Quantity, other: Quantity) -> Bool { one.name == other.name }

    package var isBytes: Bool { unit == .bytes }

    /// A row's sum; 0 if it isn't known: check `MachineReport.known` first.
    package func value(_ row: Row) -> UInt64 { if case .count(let count) = known(row) { count } else { 0 } }

    /// The sort value of a row; rows are ordered largest first.
    func order(_ row: Row) -> Double {
        switch known(row) {
        case .count(let count): Double(count)
        case .seconds(let seconds): seconds
        case nil: standIn(row)
        }
    }

    /// A row's value as text for tables.
    func text(_ row: Row) -> String {
        switch known(row) {
        case .count(let count): separated(count)
        case .seconds(let seconds): shortDuration(seconds)
        case nil: "-"
        }
    }

    /// The heading of its CSV column: allocated_bytes.
    var csvName: String { name.map { $0.isUppercase ? "_" + $0.lowercased() : String($0) }.joined() }
}

extension Quantity {
    private init(
        _ name: String, _ unit: Unit, _ title: String, sort: String? = nil, column: String? = nil, page: String,
        pageColumn: (title: String, hint: String)? = nil,
        isReported: Bool = true, isSum: Bool = true, isOfHistory: Bool = false,
        standIn: @escaping @Sendable (Row) -> Double = { _ in 0 }, count: @escaping @Sendable (Row) -> UInt64?
    ) {
        (self.name, self.unit, self.title, sortName, tableTitle, pageTitle) = (name, unit, title, sort, column, page)
        (self.pageColumn, self.isReported, self.isSum, self.isOfHistory, self.standIn) = (
            pageColumn, isReported, isSum, isOfHistory, standIn
        )
        known = { row in count(row).map { .count($0) } }
    }

    private init(
        _ name: String, _ unit: Unit, _ title: String, sort: String? = nil, page: String,
        pageColumn: (title: String, hint: String)? = nil,
        standIn: @escaping @Sendable (Row) -> Double = { _ in 0 }, seconds: @escaping @Sendable (Row) -> Double?
    ) {
        (self.name, self.unit, self.title, sortName, tableTitle, pageTitle) = (name, unit, title, sort, nil, page)
        (self.pageColumn, isReported, isSum, isOfHistory, self.standIn) = (pageColumn, true, false, false, standIn)
        known = { row in seconds(row).map { .seconds($0) } }
    }
}

extension UInt64 {
    /// The nearest number; 0 for what is none.
    init(clamped value: Double) {
        self = value.isNaN || value < 0 ? 0 : value >= 1.8e19 ? .max : UInt64(value.rounded())
    }
}

/// An order of rows, largest first: a quantity with a name for --sort.
package struct SortKey: RawRepresentable, CaseIterable, Sendable, Equatable {
    package let quantity: Quantity

    private init(_ quantity: Quantity) { self.quantity = quantity }

    package init?(rawValue: String) {
        guard let quantity = Quantity.all.first(where: { $0.sortName == rawValue }) else { return nil }
        self.quantity = quantity
    }

    package var rawValue: String { quantity.sortName ?? quantity.name }

    package static let allCases = Quantity.all.filter { $0.sortName != nil }.map(SortKey.init)
    package static let bytes = SortKey(.bytes), blocks = SortKey(.blocks), age = SortKey(.oldestSeconds),
        temporary = SortKey(.temporaryBlocks), resident = SortKey(.residentBytes)
    package static let allocatedBytes = SortKey(.allocatedBytes), allocatedBlocks = SortKey(.allocatedBlocks),
        peakBytes = SortKey(.peakBytes)

    /// Whether the order is by past blocks, so that stacks that hold nothing now are included, too.
    package var isOfHistory: Bool { quantity.isOfHistory }

    /// What a format shows for rows in this order. An age is not a sum, so live bytes are shown instead.
    package var sum: Quantity { quantity.isSum ? quantity : .bytes }
}
