// Our own reports read back, and what isn't JSON refused with its place; Python's reader is the measure.

import TestSupport
import Testing
import Text

@Suite struct JSONReaderTests {
    private static let texts = [
        "null", " true ", "[]", "{}", "[1,2,[3]]", "{\"a\":{\"b\":\"c\"}}", "\"\\u0041\\n\\\"\\/\\ud83d\\ude00\"",
        "-1.5e3", "18446744073709551615", "0.25", "[1 ,\n2]",
        "", "nul", "[1,]", "{\"a\"}", "{\"a\":1,}", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u+123\"", "[1 2]", "1 2",
        "{a:1}", "[", "\"\u{1}\"", "truefalse", "-", "[,1]",
    ]

    @Test func whatPythonReadsIsRead() throws {
        let scratch = try Scratch()
        try scratch.write("texts", Self.texts.map { $0.replacing("\n", with: " ") }.joined(separator: "\n"))
        let outcome = try scratch.run([
            "python3", "-c",
            """
            import json
            for text in open('texts').read().split('\\n'):
                try:
                    json.loads(text)
                    print('yes')
                except ValueError:
                    print('no')
            """,
        ])
        let verdicts = outcome.output.split(separator: "\n").map { $0 == "yes" }
        #expect(verdicts.count == Self.texts.count)
        for (text, isJSON) in zip(Self.texts, verdicts) {
            #expect(((try? JSONReader.read(Array(text.utf8))) != nil) == isJSON, "\(text)")
        }
    }

    @Test func values() throws {
        #expect(try JSONReader.read(Array(Self.texts[6].utf8)) == .string("A\n\"/😀"))
        #expect(
            try JSONReader.read(Array("[18446744073709551615,-1.5e3,0.25]".utf8))
                == .array([.integer(.max), .number(-1500), .number(0.25)]))
        #expect(throws: JSONError.self) { try JSONReader.read(Array(String(repeating: "[", count: 100_000).utf8)) }
        let error = #expect(throws: JSONError.self) { try JSONReader.read(Array("{\"a\":tru}".utf8)) }
        #expect(error?.offset == 5)
    }
}
