// Reports with source lines and inlined calls, of a program compiled here: what the table, JSON, CSV and folded
// stacks show, and what is said where the program's file is another build by now.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import Symbols
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct LineReportTests {
    private struct Made {
        let scratch: Scratch
        var path: String, reduction: Reduction

        init(buildID: [UInt8]? = nil) throws {
            scratch = try Scratch()
            path = "\(scratch.path)/app"
            try scratch.write(
                "app.c",
                """
                static inline __attribute__((always_inline)) int inner(int x) { volatile int y = x;
                  return y * 2; }
                int outer(int x) {
                  return inner(x) + 3; }
                int main(int c, char **v) { (void)v; return outer(c); }

                """)
            try scratch.prepare("cd '\(scratch.path)' && cc -g -O1 -fno-inline -Wl,--build-id -o app app.c")
            let outcome = try scratch.shell(
                "nm '\(path)' | awk '$3 == \"outer\" { print $1 }'; readelf -nW '\(path)' | sed -n 's/.*Build ID: //p'")
            let words = outcome.output.split(separator: "\n").map(String.init)
            let start = try #require(UInt64(words[0], radix: 16)), digits = Array(words[1].utf8)
            let own = stride(from: 0, to: digits.count - 1, by: 2).compactMap {
                UInt8(String(decoding: digits[$0 ... $0 + 1], as: UTF8.self), radix: 16)
            }
            var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
            let app = builder.addModule(path, buildID: buildID ?? own)
            let stack = builder.addStack([heap_frame_make(app, start + 5)])
            builder.addBlock(address: 0x1_0000, bytes: 48, stack: stack)
            reduction = Reduction()
            try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "app.1.heap"), presence: .gone))
        }

        func text(_ names: FrameNames, _ write: (RowSelection, TextOutput) throws -> Void) throws -> String {
            let out = TextOutput()
            try write(RowSelection(reduction, names: names), out)
            return out.text
        }
    }

    @Test func linesAndInlinedCalls() throws {
        let made = try Made()
        let names = FrameNames(made.reduction)
        names.prepare(made.reduction.rows)
        let json = try made.text(names) { try JSONReport().write(made.reduction, $0, names: names, to: $1) }
        #expect(
            json.contains(
                #""function":"inner","symbolOffset":null,"file":"\#(made.scratch.path)/app.c","line":2,"inlined":true}"#
            ), "\(json)")
        #expect(
            json.contains(
                #""function":"outer","symbolOffset":5,"file":"\#(made.scratch.path)/app.c","line":4,"inlined":false}"#),
            "\(json)")
        let table = try made.text(names) {
            try Table(style: Style(colors: false)).write(made.reduction, $0, names: names, to: $1)
        }
        #expect(table.contains("    inner  app.c:2 (inlined)\n    outer  app.c:4\n"), "\(table)")
        #expect(
            try made.text(names) { try writeFolded(made.reduction, $0, frameLimit: nil, names: names, to: $1) }
                == "outer;inner 48\n")
        #expect(
            try made.text(names) { try writeCSV(made.reduction, $0, frameLimit: 1, names: names, to: $1) }.contains(
                "\"inner app.c:2 (inlined)\""))
        // A record's line is an address, and the address is in one function.
        #expect(
            try made.text(names) { try writeRecords(made.reduction, $0, frameLimit: nil, names: names, to: $1) }
                .contains(" outer\n"))
        let filter = try FrameFilter(include: ["^inner$"])
        #expect(RowSelection(made.reduction, names: names, filter: filter).rows.count == 1)
    }

    @Test func withoutLines() throws {
        let made = try Made()
        let names = FrameNames(made.reduction, symbolizer: Symbolizer(hasLines: false))
        let json = try made.text(names) { try JSONReport().write(made.reduction, $0, names: names, to: $1) }
        #expect(
            json.contains(#""function":"outer","symbolOffset":5,"file":null,"line":null,"inlined":null}"#), "\(json)")
        #expect(!json.contains("inner"))
    }

    @Test func anotherBuildNamesNothingAndIsToldOf() throws {
        let made = try Made(buildID: [0xAB, 0xCD, 0xEF])
        let names = FrameNames(made.reduction)
        let table = try made.text(names) {
            try Table(style: Style(colors: false)).write(made.reduction, $0, names: names, to: $1)
        }
        #expect(table.contains("app+0x") && !table.contains("outer"))
        #expect(table.contains("No names for 1 frame of app: ") && table.contains("not the recorded abcdef"))
        #expect(table.contains("wanted: the file with build-id abcdef, or its debug file as .build-id/ab/cdef.debug"))
    }

    @Test func aListingNamesWhatTheFileCant() throws {
        let made = try Made(buildID: [0xAB, 0xCD, 0xEF])
        try made.scratch.prepare("cd '\(made.scratch.path)' && nm -S app > app.syms")
        let names = FrameNames(
            made.reduction, symbolizer: Symbolizer(lists: [try SymbolList("\(made.scratch.path)/app.syms")]))
        let json = try made.text(names) { try JSONReport().write(made.reduction, $0, names: names, to: $1) }
        #expect(json.contains(#""function":"outer","symbolOffset":5"#), "\(json)")
        #expect(names.withoutSymbols.isEmpty)
    }
}
