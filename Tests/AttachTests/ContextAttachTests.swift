// OpenTelemetry's thread context in programs whose recording begins while they run (heaprun --pid --otel-context): the
// threads have had their records for long. Tests/Programs/traced.c says what its blocks must be.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite(.serialized) struct ContextAttachTests {
    private func traced(_ start: [String], writer: String?, isLoaded: Bool) throws -> Attached {
        let scratch = try Scratch(), sources = "\(Built.root)/Tests/Programs"
        let flags = "cc -std=gnu17 -O1 -g -I'\(sources)' -I'\(Built.root)/Interposer/include'"
        var linked = "'\(sources)/traced_writer.c' -Wl,--export-dynamic-symbol=otel_thread_ctx_v1"
        if let writer {
            let library = scratch.file("libwriter.so")
            try scratch.prepare(
                "\(flags) \(writer) -DOTHER=40 -shared -fPIC -o '\(library)' '\(sources)/traced_writer.c'")
            linked = isLoaded ? "-DLIBRARY='\"\(library)\"'" : "'\(library)'"
        }
        try scratch.prepare("\(flags) -o traced '\(sources)/traced.c' \(linked) -lpthread -ldl")
        let program = try Attached(
            start + [scratch.file("traced"), "told"], variables: ["HEAPSUM_LIBRARY": Built.interposer], scratch: scratch
        )
        #expect(try program.answer() == "ready")
        return program
    }

    /// The tag of the block of so many bytes.
    private func tag(_ bytes: UInt64, _ image: HeapImage) throws -> String? {
        let reduction = Reduction()
        try reduction.add(image)
        let row = reduction.rows.first { $0.blocks == 1 && $0.bytes == bytes }
        return row.map { reduction.tag(of: $0)?.description ?? "none" }
    }

    @Test(
        arguments: [
            (nil, false, "http.route=/orders"), ("-mtls-dialect=gnu2", false, "http.route=/orders"),
            ("", false, "http.route=/orders"), ("-mtls-dialect=gnu2", true, "http.route=/orders"),
            // Nothing tells whether a thread has the block of this library or of one that was there before.
            ("", true, HEAP_TAG_UNREAD),
        ] as [(String?, Bool, String)]) func anAttachedProgram(writer: String?, isLoaded: Bool, tag: String) throws
    {
        #if arch(x86_64)
            let program = try traced([], writer: writer, isLoaded: isLoaded)
            #expect(try program.ask("100") == "kept")
            try program.attach(["--otel-context", "http.route"])
            #expect(try program.ask("200") == "kept")
            let image = try program.detach()
            #expect(try self.tag(200, image) == tag)
            // Without the option.
            try program.attach()
            #expect(try program.ask("300") == "kept")
            #expect(try self.tag(300, program.detach()) == "none")
        #endif
    }

    @Test func aDormantProgram() throws {
        let program = try traced(
            [Built.heaprun, "--quiet", "--dormant", "-o", "images"], writer: nil, isLoaded: false)
        // The first allocation after heaprun's request begins the recording, and is in it.
        #expect(try program.heaprun("--pid", ["-o", "images", "--otel-context", "http.route"]).exitStatus == 0)
        #expect(try program.ask("200") == "kept")
        #expect(try tag(200, program.detach()) == "http.route=/orders")
        // The next recording may have another attribute.
        #expect(try program.heaprun("--pid", ["-o", "images", "--otel-context", "http.method"]).exitStatus == 0)
        #expect(try program.ask("300") == "kept")
        #expect(try tag(300, program.detach()) == "http.method=GET")
    }
}
