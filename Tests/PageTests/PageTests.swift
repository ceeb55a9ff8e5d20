// The parts of a page: digests against OpenSSL, which python3 asks, and data that no name can end. What a browser makes
// of a page is in Tests/Browser.

import Glibc
import TestSupport
import Testing

@testable import Page

@Suite struct PageTests {
    @Test func digestsAreOpenSSLs() throws {
        let scratch = try Scratch()
        // Around the padding's corners, and a few thousand bytes.
        for length in [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 5000] {
            let bytes = (0 ..< length).map { UInt8(truncatingIfNeeded: $0 &* 131 &+ $0 >> 3) }
            let path = "\(scratch.path)/message"
            let file = try #require(fopen(path, "we"))
            #expect(fwrite(bytes, 1, length, file) == length)
            fclose(file)
            let outcome = try scratch.shell(
                "python3 -c 'import base64, hashlib; print(base64.b64encode(hashlib.sha256(open(\"message\", "
                    + "\"rb\").read()).digest()).decode())'"
            )
            try #require(outcome.output.count == 45, "\(outcome.messages)")
            let expected = outcome.output.filter { $0 != "\n" }
            #expect(Digest.sha256Base64(bytes) == expected, "of \(length) bytes")
        }
    }

    /// What a JSON parser that isn't ours reads back.
    @Test func dataIsWhatWasWritten() throws {
        let names = [
            "plain", "</script><script>", "<!-- & -->", "\u{0}\u{1B}\u{7F}\u{9F}", "\"\\\\\"", "\u{2028}\u{2029}",
            "ü€𝄞", "",
        ]
        var data = PageData()
        data.open()
        data.strings("names", names)
        data.column("numbers", [0, 9, 10, 1_234_567_890, UInt64.max])
        data.column("signed", of: [-1, 0, Int.min, Int.max])
        data.object("inner") { data in
            data.number("none", .nan)
            data.number("half", 0.5)
            data.bool("yes", true)
            data.array("empty") { _ in }
            data.string("null", nil)
        }
        data.column("table", of: ["a", "b", "a"].map { data.number(of: $0) })
        data.stringTable("strings")
        data.close()
        #expect(!data.bytes.contains { "<>&".utf8.contains($0) })
        let scratch = try Scratch()
        let file = try #require(fopen("\(scratch.path)/data.json", "we"))
        #expect(fwrite(data.bytes, 1, data.bytes.count, file) == data.bytes.count)
        fclose(file)
        let read = try scratch.run([
            "python3", "-c",
            """
            import json
            data = json.load(open("data.json", encoding="utf-8"))
            assert data["names"] == ["plain", "</script><script>", "<!-- & -->", "\\0\\x1b\\x7f\\x9f", \
            '"' + chr(92) * 2 + '"', chr(0x2028) + chr(0x2029), "ü€𝄞", ""], data["names"]
            assert data["numbers"] == [0, 9, 10, 1234567890, 2**64 - 1]
            assert data["signed"] == [-1, 0, -2**63, 2**63 - 1]
            assert data["inner"] == {"none": None, "half": 0.5, "yes": True, "empty": [], "null": None}
            assert [data["strings"][each] for each in data["table"]] == ["a", "b", "a"]
            print("read")
            """,
        ])
        #expect(read.output == "read\n", "\(read.messages)")
    }

    @Test(arguments: [PageKind.heap]) func aPageHasOneScriptAndOneStyle(kind: PageKind) throws {
        var data = PageData()
        data.open()
        data.string("title", "</script><script>alert(1)</script>")
        data.close()
        var bytes: [UInt8] = []
        Page(kind, title: "<b>&\"", summary: ["</header><script>"]).write(data) { bytes += $0 }
        let text = String(decoding: bytes, as: UTF8.self)
        func count(_ part: String) -> Int { text.split(separator: part, omittingEmptySubsequences: false).count - 1 }
        #expect(count("<script>") == 1 && count("<script") == 2 && count("</script") == 2)
        #expect(count("<style") == 1 && count("</style") == 1)
        #expect(text.contains("<title>&lt;b&gt;&amp;&quot;</title>") && text.contains("&lt;/header&gt;&lt;script&gt;"))
        #expect(text.contains("script-src 'sha256-\(Digest.sha256Base64(kind.script))'"))
        // No address of a network, but for the names of XML's spaces.
        #expect(count("http://") == count("http://www.w3.org/2000/svg") && count("https://") == 0)
    }
}
