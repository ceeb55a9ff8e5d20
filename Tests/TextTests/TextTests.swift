// Numbers, lengths of time, columns, JSON's strings and CSV's cells.

import TestSupport
import Testing
import Text

@Suite struct TextTests {
    @Test func numbersAreSeparated() {
        for (value, text) in [
            (0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (.max, "18,446,744,073,709,551,615"),
        ] as [(UInt64, String)] {
            #expect(separated(value) == text)
        }
        #expect(
            counted(1, "block") == "1 block" && counted(0, "block") == "0 blocks"
                && counted(4321, "block") == "4,321 blocks")
    }

    @Test func hexadecimalNumbersAndBytes() {
        #expect(hexadecimal(0 as UInt64) == "0x0" && hexadecimal(UInt64.max) == "0xffffffffffffffff")
        #expect(hexadecimal([0, 0x0F, 0xA0, 0xFF]) == "000fa0ff" && hexadecimal([UInt8]()) == "")
        #expect(hexadecimalDigits(0x1F, 4) == "001f" && hexadecimalDigits(0x1_2345, 4) == "12345")
    }

    @Test func columnsAreAsWideAsAsked() {
        #expect(padded("ab", 4) == "ab  " && leftPadded("ab", 4) == "  ab" && padded("abcde", 4) == "abcde")
        #expect(shortened("abcdefghij", 7) == "abc…hij" && shortened("abc", 7) == "abc")
    }

    @Test func sizesAndTimesAreShort() {
        #expect(
            [0, 999, 1000, 1234, 12_345, 123_456, 9_990_000_000].map(shortSize) == [
                "0 B", "999 B", "1.0 kB", "1.2 kB", "12.3 kB", "123 kB", "9.9 GB",
            ])
        #expect([0.0349, 12, 300, 11_520, 354_240].map(shortDuration) == ["34 ms", "12 s", "5 min", "3.2 h", "4.1 d"])
    }

    /// Python reads back what was written, wherever it was to stand.
    @Test func jsonIsReadBackByPython() throws {
        let texts =
            (UInt32(1) ..< 0x100).map { String(Unicode.Scalar($0) ?? " ") } + [
                "", "a\"b\\c", "\u{2028}\u{2029}", "</script><!--&amp;", "日本 🙂", "\u{1B}[0m",
            ]
        for place in [JSONPlace.file, .page] {
            var bytes = Array("[".utf8)
            for (number, text) in texts.enumerated() {
                if number > 0 { bytes.append(UInt8(ascii: ",")) }
                appendJSONString(text, to: &bytes, in: place)
            }
            bytes.append(UInt8(ascii: "]"))
            if place == .page { #expect(!bytes.contains(UInt8(ascii: "<")) && !bytes.contains(UInt8(ascii: "&"))) }
            #expect(bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
            let scratch = try Scratch()
            try scratch.write("texts.json", String(decoding: bytes, as: UTF8.self))
            let read = try scratch.run([
                "python3", "-c",
                "import json; [print(','.join(str(ord(c)) for c in t)) for t in json.load(open('texts.json', "
                    + "encoding='utf-8'))]",
            ])
            let expected = texts.map { $0.unicodeScalars.map { "\($0.value)" }.joined(separator: ",") }
            #expect(
                read.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
                    == expected, "\(read.messages)")
        }
        #expect(jsonString(pathText([0x61, 0xFF])) == "\"a\\\\xff\"")
    }

    @Test func cellsAreNoFormulas() {
        #expect(csvCell("a\"b") == "\"a\"\"b\"" && csvCell("=1+1") == "\"'=1+1\"" && csvCell("") == "\"\"")
    }
}
