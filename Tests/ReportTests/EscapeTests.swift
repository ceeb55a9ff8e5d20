// A real program whose function, whose file and whose library have names that would move a terminal's
// cursor, end a line, or be a script on a page. Every report of it is read back by a reader that is not ours.

import Glibc
import TestSupport
import Testing

@Suite struct EscapeTests {
    /// A function `<script>` with an escape sequence, a quote, a comma and a line's end in its name; a program and a
    /// library that begin like a formula and hold more of the same.
    private static let function = "<script>alert('x')</script>\u{1B}]0;title\u{7}\"a\",;\nb\u{9B}2J"
    private static let program = "=cmd\u{1B}[31m\n<b>"
    private static let library = "lib\r\n\u{1B}[2J\u{202E}.so"

    private func record(_ scratch: Scratch) throws -> (image: String, messages: String) {
        try scratch.write("leak.c", "#include <stdlib.h>\nvoid *leaky(void) { return malloc(4321); }\n")
        try scratch.write(
            "main.c",
            "#include <dlfcn.h>\n#include <stdio.h>\nint main(int n, char **v) { void *l = dlopen(v[1], RTLD_NOW); "
                + "void *(*f)(void) = l ? (void *(*)(void))dlsym(l, v[2]) : 0; if (!f) { puts(dlerror()); return 1; } "
                + "return f() == 0; }\n"
        )
        try scratch.write("names", "leaky \(Self.function)\n")
        try scratch.prepare("cc -c -fPIC leak.c && cc main.c -o main -ldl")
        // In the shell's words: names reach the tools by argument, and no file of names could hold a line's end.
        let made = try scratch.run([
            "/bin/sh", "-c",
            "mkdir -p d && objcopy --redefine-sym \"leaky=$1\" leak.o evil.o && cc -shared -o \"d/$2\" evil.o && mv "
                + "main \"d/$3\"",
            "sh", Self.function, Self.library, Self.program,
        ])
        guard made.exitStatus == 0 else { throw Failure(made.messages) }
        let outcome = try scratch.run(
            [Built.products + "/heaprun", "-o", "out", "d/" + Self.program, "d/" + Self.library, Self.function],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        guard outcome.exitStatus == 0 else { throw Failure("\(outcome)") }
        return ("\(scratch.path)/out", outcome.messages)
    }

    /// Control bytes, and what turns a line's direction, that may not reach a terminal.
    private func unprintable(_ text: String) -> [UInt32] {
        text.unicodeScalars.map(\.value).filter {
            ($0 < 0x20 && $0 != 0x0A && $0 != 0x0D) || (0x7F ..< 0xA0).contains($0) || (0x202A ... 0x202E).contains($0)
        }
    }

    @Test func namesReachNoReportAsTheyCame() throws {
        let scratch = try Scratch()
        let (images, messages) = try record(scratch)
        #expect(unprintable(messages) == [] && messages.contains("4,321"), "\(messages)")

        let heapsum = Built.products + "/heapsum"
        for options in [["--color", "never"], ["--format", "folded"], ["--format", "records"], ["info"]] {
            let outcome = try scratch.run([heapsum] + options + [images])
            #expect(
                outcome.exitStatus == 0 && outcome.output.contains("=cmd\\x1b[31m\\n<b>")
                    || outcome.output.contains("\\x1b]0;title\\x07") || outcome.output.contains("\\x1b]0:title\\x07"),
                "\(outcome)")
            #expect(unprintable(outcome.output + outcome.messages) == [], "\(options)")
        }
        // Missing, damaged, and named like that.
        let missing = try scratch.run([heapsum, Self.program])
        #expect(missing.exitStatus == 2 && unprintable(missing.messages) == [] && missing.messages.contains("\\x1b"))
        #expect(unprintable(try scratch.run([Built.products + "/heaprun", Self.program]).messages) == [])
    }

    @Test func jsonAndCommaSeparatedValuesGiveTheNamesBack() throws {
        let scratch = try Scratch()
        let (images, _) = try record(scratch)
        try scratch.write(
            "check.py",
            """
            import csv, json, sys
            name, library = sys.argv[3], sys.argv[4]
            report = json.load(open(sys.argv[1], encoding="utf-8"))
            frames = [f for r in report["rows"] for f in r["frames"]]
            assert any(f["function"] == name for f in frames), [f["function"] for f in frames][:20]
            assert any(f["module"] and f["module"].endswith("/" + library) for f in frames)
            rows = list(csv.reader(open(sys.argv[2], encoding="utf-8", newline="")))
            assert len(rows) == len(report["rows"]) + 1 and len({len(r) for r in rows}) == 1
            assert all(c[:1] not in ("=", "+", "-", "@") for r in rows for c in r)
            assert all(ord(c) >= 32 and ord(c) != 127 for r in rows for f in r for c in f)
            """)
        let heapsum = Built.products + "/heapsum"
        for (format, file) in [("json", "r.json"), ("csv", "r.csv")] {
            #expect(try scratch.run([heapsum, "--format", format, "-o", file, images]).exitStatus == 0)
        }
        let check = try scratch.run(["python3", "check.py", "r.json", "r.csv", Self.function, Self.library])
        #expect(check.exitStatus == 0, "\(check.messages)")
    }

    @Test func gensymsEscapesToo() throws {
        let scratch = try Scratch()
        _ = try record(scratch)
        let gensyms = Built.products + "/gensyms"
        let path = "\(scratch.path)/d/" + Self.library
        let text = try scratch.run([gensyms, path])
        #expect(text.exitStatus == 0 && unprintable(text.output) == [], "\(unprintable(text.output))")
        #expect(text.output.contains("<script>alert('x')</script>\\x1b]0;title\\x07"))
        let check = try scratch.run([
            "/bin/sh", "-c",
            "\"$0\" --format json \"$1\" | python3 -c 'import json, sys; names = [s[\"name\"] for f in "
                + "json.load(sys.stdin)[\"files\"] for s in f[\"symbols\"]]; assert sys.argv[1] in names, names' "
                + "\"$2\"",
            gensyms, path, Self.function,
        ])
        #expect(check.exitStatus == 0, "\(check.messages)")
        let missing = try scratch.run([gensyms, Self.program])
        #expect(missing.exitStatus == 2 && unprintable(missing.messages) == [])
    }
}
