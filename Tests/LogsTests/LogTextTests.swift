// The scanner, against Swift's own reading of the same text; and the table of texts, against a dictionary.

import TestSupport
import Testing

@testable import Logs

@Suite struct Scanning {
    private func scan<Value>(_ text: String, _ body: (LogText) -> Value) -> Value {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { body(LogText($0)) }
    }

    @Test func hexadecimalIsWhatSwiftReads() {
        var random = SeededGenerator(seed: 3)
        let letters = Array("0123456789abcdefABCDEFgG/:@`xX \n\u{0}~".utf8)
        for _ in 0 ..< 20_000 {
            let bytes = (0 ..< Int.random(in: 0 ..< 20, using: &random)).map { _ in
                // Mostly digits, so that long numbers come up too.
                letters[Int.random(in: 0 ..< (Bool.random(using: &random) ? 22 : letters.count), using: &random)]
            }
            let digits = String(decoding: bytes.prefix { "0123456789abcdefABCDEF".utf8.contains($0) }, as: UTF8.self)
            bytes.withUnsafeBytes { raw in
                let text = LogText(raw)
                var place = 0
                let value = text.hexadecimal(&place, text.count)
                #expect(value == UInt64(digits, radix: 16), "\(bytes)")
                #expect(place == (value == nil ? 0 : digits.utf8.count))
            }
        }
    }

    @Test func decimalStopsAt64Bits() {
        for text in ["18446744073709551615", "18446744073709551616", "99999999999999999999", "0", "", "-1", "12x"] {
            let expected = UInt64(text.prefix { $0.isNumber })
            scan(text) { text in
                var place = 0
                #expect(text.decimal(&place, text.count) == expected)
            }
        }
    }

    @Test func nothingIsReadOutside() {
        scan("abc\ndef") { text in
            #expect(text[-1] == 0 && text[7] == 0 && text[.max] == 0)
            #expect(
                text.lineEnd(from: 0) == 3 && text.lineEnd(from: 4) == 7 && text.lineEnd(from: 99) == 7
                    && text.lineEnd(from: -1) == 7)
            #expect(
                text.lineStart(before: 7) == 4 && text.lineStart(before: 4) == 4 && text.lineStart(before: 3) == 0
                    && text.lineStart(before: 0) == 0)
            #expect(text.has("def", at: 4) && !text.has("defg", at: 4) && !text.has("a", at: -1))
            #expect(
                text.find("def", from: 0) == 4 && text.find("def", from: 5) == nil
                    && text.find("c", from: 0, to: 2) == nil)
            #expect(text.bytes(5, 99) == [] && text.raw(5, 99).count == 2)
        }
        LogText(UnsafeRawBufferPointer(start: nil, count: 0)).withNothing()
    }

    @Test func textsAreFoundWhereAllBytesAreEqual() {
        var random = SeededGenerator(seed: 8)
        let table = TextTable()
        var known: [[UInt8]: UInt32] = [:]
        for _ in 0 ..< 30_000 {
            // Few letters and lengths about the steps of the hash: near misses are the rule.
            let text = (0 ..< Int.random(in: 0 ..< 70, using: &random)).map { _ in
                UInt8.random(in: 0 ..< 2, using: &random)
            }
            text.withUnsafeBytes { raw in
                let hash = table.hash(raw)
                let found = table.find(raw, hash: hash)
                #expect(found == known[text])
                if found == nil {
                    let number = UInt32(known.count)
                    #expect(table.keep(raw, hash: hash, number: number) != nil)
                    known[text] = number
                }
            }
        }
        #expect(table.count == known.count)
    }

    @Test func aFullTableKeepsNoMore() {
        let table = TextTable(limitBytes: 2 << 20)
        var text = [UInt8](repeating: 0x41, count: 20_000), places: [TextTable.Place] = []
        for number in UInt32(0) ..< 300 {
            text[0] = UInt8(number & 0xFF)
            text[1] = UInt8(number >> 8)
            text.withUnsafeBytes {
                if let place = table.keep($0, hash: table.hash($0), number: number) { places.append(place) }
            }
        }
        // 104 texts of 20,000 bytes are 2 MB.
        #expect(places.count > 90 && places.count <= 104)
        for (number, place) in places.enumerated() {
            #expect(table.text(at: place)[0] == UInt8(number & 0xFF) && table.text(at: place).count == 20_000)
        }
    }

    /// No text lies over the border between two pieces of memory.
    @Test func largeTextsStayWhole() {
        let table = TextTable(limitBytes: 16 << 20)
        var kept = 0
        for number in 0 ..< 40 {
            let text = [UInt8](repeating: UInt8(number), count: 300_000 + number * 17)
            text.withUnsafeBytes { raw in
                guard let place = table.keep(raw, hash: table.hash(raw), number: UInt32(number)) else { return }
                kept += 1
                #expect(
                    table.text(at: place).elementsEqual(text)
                        && table.find(raw, hash: table.hash(raw)) == UInt32(number))
            }
        }
        #expect(kept == 40)
        let large = [UInt8](repeating: 7, count: 1 << 20)
        large.withUnsafeBytes { #expect(table.keep($0, hash: 1, number: 1) == nil) }
    }

    /// One hash for all: only the bytes tell them apart.
    @Test func equalHashesAreToldApart() {
        let table = TextTable()
        for number in UInt32(0) ..< 200 { withUnsafeBytes(of: number) { _ = table.keep($0, hash: 42, number: number) } }
        for number in UInt32(0) ..< 200 { withUnsafeBytes(of: number) { #expect(table.find($0, hash: 42) == number) } }
        withUnsafeBytes(of: UInt32(200)) { #expect(table.find($0, hash: 42) == nil) }
    }
}

extension LogText {
    fileprivate func withNothing() {
        var place = 0
        #expect(count == 0 && hexadecimal(&place, 10) == nil && lineEnd(from: 0) == 0 && find("x", from: 0) == nil)
    }
}
