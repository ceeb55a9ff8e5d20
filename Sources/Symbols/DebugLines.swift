// Source lines and inlined calls, which a helper process reads from DWARF. This is the side that asks. The helper opens
// each file once, and the caller asks for each address once. If the helper dies or never finishes with a file, that
// file is not asked again; other files go on with a new helper.

import Glibc
import Text

/// One function at an address: the innermost inlined one, or one into which it was inlined.
package struct SourceCall: Equatable, Sendable {
    /// The name in the DWARF: the linkage name if there is one.
    package var function: String?
    /// The source file's path, made absolute by the directory of its compilation.
    package var file: String?
    /// From 1.
    package var line: Int?

    package init(function: String?, file: String?, line: Int?) {
        self.function = function
        self.file = file
        self.line = line
    }
}

package final class DebugLines {
    private let helper: Helper
    /// Files that gave no lines although they have DWARF, and why; and the further files that are missing.
    package var notes: [SymbolsError] {
        failures
            + missing.sorted { $0.key < $1.key }.map { file, names in
                let more = names.count > 3 ? ", and \(names.count - 3) more" : ""
                return SymbolsError(
                    file: file,
                    reason: .unsupported(
                        "functions and inlined calls of \(names.count) source file\(names.count == 1 ? "" : "s") are "
                            + "missing: compiled with -gsplit-dwarf, they are in "
                            + names.prefix(3).joined(separator: ", ") + more
                            + ", and \(names.count == 1 ? "that is" : "those are") not there"))
            }
    }
    private var failures: [SymbolsError] = []
    /// For each file, the other files that are missing.
    private var missing: [String: [String]] = [:]
    private var failed: Set<String> = []
    private var libraryIsMissing = false

    private static let timeoutMilliseconds = 60_000
    private static let mostAddresses = 4096

    package init() {
        let files = DwarfFiles()
        helper = Helper(memoryByteCount: 16 << 30) { files.answer($0) }
    }

    /// The calls at each address, innermost first; none if the file's DWARF doesn't know the address.
    ///
    /// - Parameters:
    ///   - file: a file with DWARF, and its build-id, which it must still have.
    ///   - shared: the file with what that file shares with others; see `SymbolSearch.sharedFile`.
    ///   - addresses: ELF virtual addresses, in any order.
    package func calls(
        in file: String, buildID: [UInt8]?, shared: String? = nil, at addresses: [UInt64]
    ) -> [[SourceCall]] {
        var result: [[SourceCall]] = []
        result.reserveCapacity(addresses.count)
        for start in stride(from: 0, to: addresses.count, by: Self.mostAddresses) {
            let part = addresses[start ..< min(start + Self.mostAddresses, addresses.count)]
            guard let answer = ask(.calls, file, buildID, shared, part) else { break }
            var reader = WireReader(answer)
            var calls: [[SourceCall]] = []
            for _ in part {
                guard let count = reader.number(), count <= 4096 else { break }
                var chain: [SourceCall] = []
                for _ in 0 ..< count {
                    guard let function = reader.text(), let file = reader.text(), let line = reader.number() else {
                        break
                    }
                    chain.append(
                        SourceCall(
                            function: function.isEmpty ? nil : function, file: file.isEmpty ? nil : file,
                            line: line == 0 ? nil : line))
                }
                calls.append(chain)
            }
            if calls.count < part.count {
                fail(file, "an answer of the helper process makes no sense")
            } else {
                takeMissing(of: file, &reader)
            }
            result += calls
        }
        return result + Array(repeating: [], count: addresses.count - result.count)
    }

    /// The name of each address's compilation unit: the source file as it was named to the compiler.
    package func units(
        in file: String, buildID: [UInt8]?, shared: String? = nil, at addresses: [UInt64]
    ) -> [String?] {
        var result: [String?] = []
        for start in stride(from: 0, to: addresses.count, by: Self.mostAddresses) {
            let part = addresses[start ..< min(start + Self.mostAddresses, addresses.count)]
            guard let answer = ask(.units, file, buildID, shared, part) else { break }
            var reader = WireReader(answer)
            for _ in part { result.append(reader.text().flatMap { $0.isEmpty ? nil : $0 }) }
            takeMissing(of: file, &reader)
        }
        return result + Array(repeating: nil, count: addresses.count - result.count)
    }

    private func ask(
        _ kind: DwarfQuestion.Kind, _ file: String, _ buildID: [UInt8]?, _ shared: String?,
        _ addresses: ArraySlice<UInt64>
    ) -> [UInt8]? {
        guard !libraryIsMissing, !failed.contains(file) else { return nil }
        let question = DwarfQuestion(
            kind: kind, path: file, buildID: buildID ?? [], shared: shared ?? "", addresses: Array(addresses))
        do throws(HelperError) {
            let answer = try helper.ask(question.bytes, timeoutMilliseconds: Self.timeoutMilliseconds)
            switch answer.first {
            case DwarfAnswer.good: return Array(answer.dropFirst())
            case DwarfAnswer.noLibrary:
                libraryIsMissing = true
                fail("source lines", String(decoding: answer.dropFirst(), as: UTF8.self))
            default: fail(file, String(decoding: answer.dropFirst(), as: UTF8.self))
            }
        } catch {
            fail(file, "its DWARF could not be read: \(error.text)")
        }
        return nil
    }

    private func takeMissing(of file: String, _ reader: inout WireReader) {
        for _ in 0 ..< (reader.number() ?? 0) {
            guard let bytes = reader.block() else { return }
            let name = pathText(bytes)
            if missing[file]?.contains(name) != true { missing[file, default: []].append(name) }
        }
    }

    private func fail(_ file: String, _ why: String) {
        failed.insert(file)
        failures.append(SymbolsError(file: file, reason: .unsupported(why)))
    }
}

// MARK: What goes over the wire

enum DwarfAnswer {
    static let good: UInt8 = 0, badFile: UInt8 = 1, noLibrary: UInt8 = 2
}

struct DwarfQuestion {
    enum Kind: UInt8 { case calls, units }
    var kind: Kind
    var path: String
    var buildID: [UInt8]
    /// The file with what it shares with others; empty: none.
    var shared: String
    var addresses: [UInt64]

    init(kind: Kind, path: String, buildID: [UInt8], shared: String, addresses: [UInt64]) {
        (self.kind, self.path, self.buildID, self.shared) = (kind, path, buildID, shared)
        self.addresses = addresses
    }

    var bytes: [UInt8] {
        var wire = WireWriter()
        wire.put(Int(kind.rawValue))
        wire.put(Array(path.utf8))
        wire.put(buildID)
        wire.put(Array(shared.utf8))
        wire.put(addresses.count)
        for address in addresses {
            wire.put(Int(truncatingIfNeeded: address & 0xFFFF_FFFF))
            wire.put(Int(truncatingIfNeeded: address >> 32))
        }
        return wire.bytes
    }

    init?(_ bytes: [UInt8]) {
        var wire = WireReader(bytes)
        guard let kind = wire.number().flatMap({ Kind(rawValue: UInt8(truncatingIfNeeded: $0)) }),
            let path = wire.text(),
            let id = wire.block(), let shared = wire.text(), let count = wire.number()
        else { return nil }
        self.init(kind: kind, path: path, buildID: Array(id), shared: shared, addresses: [])
        for _ in 0 ..< count {
            guard let low = wire.number(), let high = wire.number() else { return nil }
            addresses.append(UInt64(high) << 32 | UInt64(low))
        }
    }
}

/// 32-bit numbers, and blocks of bytes, each after its length.
struct WireWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ number: Int) {
        let value = UInt32(clamping: number)
        for shift in stride(from: 0, to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(shift))) }
    }

    mutating func put(_ block: [UInt8]) {
        put(block.count)
        bytes.append(contentsOf: block)
    }
}

struct WireReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func number() -> Int? {
        guard bytes.count - position >= 4 else { return nil }
        var value: UInt32 = 0
        for shift in 0 ..< 4 { value |= UInt32(bytes[position + shift]) << UInt32(shift * 8) }
        position += 4
        return Int(value)
    }

    mutating func block() -> ArraySlice<UInt8>? {
        guard let count = number(), count <= bytes.count - position else { return nil }
        defer { position += count }
        return bytes[position ..< position + count]
    }

    mutating func text() -> String? { block().map { String(decoding: $0, as: UTF8.self) } }
}
