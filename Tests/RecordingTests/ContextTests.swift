// OpenTelemetry's thread context as a tag (HEAPSUM_OTEL_CONTEXT). All numbers are those of Tests/Programs/traced.c, a
// writer made from the OTEPs alone, where each size belongs to one tag.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing

/// Where the writer and its variable are, and how they are compiled.
struct Writer: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// Options for the compiler of the writer, and for the linker of its library.
    var options = ""
    var compiler = "cc"
    var isLibrary = true
    /// The program loads it by dlopen.
    var isLoaded = false

    static let program = Writer(
        testDescription: "the program", options: "-Wl,--export-dynamic-symbol=otel_thread_ctx_v1", isLibrary: false)

    static let all: [Writer] =
        [
            program,
            Writer(
                testDescription: "the program, with other variables",
                options: "-DOTHER=40 -no-pie -Wl,--export-dynamic", isLibrary: false),
        ]
        + [false, true].flatMap { isLoaded in
            [
                ("GNU's dialect", ""), ("descriptors", "-mtls-dialect=gnu2"),
                ("descriptors, of a large block", "-DOTHER=100000 -mtls-dialect=gnu2"),
                ("initial-exec", "-DMODEL='\"initial-exec\"'"),
                ("GNU's dialect, bound by the linker", "-Wl,-Bsymbolic"),
                ("descriptors, bound by the linker", "-mtls-dialect=gnu2 -Wl,-Bsymbolic"),
            ]
            .filter { option in
                #if arch(arm64)
                    // GCC has this option on x86-64 alone: on AArch64 descriptors are what it makes.
                    !option.1.contains("gnu2")
                #else
                    true
                #endif
            }
            .map { name, options in
                Writer(
                    testDescription: "\(isLoaded ? "a library loaded later" : "a library"): \(name)",
                    options: options.contains("OTHER") ? options : "-DOTHER=40 \(options)", isLoaded: isLoaded)
            }
        }

    static let musl = [false, true].map { isLoaded in
        Writer(
            testDescription: "musl: \(isLoaded ? "a library loaded later" : "a library")", options: "-DOTHER=40",
            compiler: "musl-gcc -Wl,--eh-frame-hdr", isLoaded: isLoaded)
    }
}

@Suite struct ContextTests {
    private func build(_ writer: Writer, in scratch: Scratch) throws {
        let sources = "\(Built.root)/Tests/Programs",
            flags = "-std=gnu17 -O1 -g -Wall -I'\(sources)' -I'\(Built.root)/Interposer/include'"
        guard writer.isLibrary else {
            try scratch.prepare(
                "\(writer.compiler) \(flags) \(writer.options) -o traced '\(sources)/traced.c' "
                    + "'\(sources)/traced_writer.c' -lpthread -ldl")
            return
        }
        try scratch.prepare(
            "\(writer.compiler) \(flags) -fPIC -shared \(writer.options) -o libwriter.so '\(sources)/traced_writer.c'")
        let linked =
            writer.isLoaded
            ? "-DLIBRARY='\"\(scratch.path)/libwriter.so\"'" : "./libwriter.so -Wl,-rpath,'\(scratch.path)'"
        try scratch.prepare(
            "\(writer.compiler) \(flags) -o traced '\(sources)/traced.c' \(linked) -lpthread -ldl")
    }

    private func record(
        _ writer: Writer, _ words: [String], attribute: String? = "http.route", variables: [String: String?] = [:]
    ) throws -> Recording {
        let scratch = try Scratch()
        try build(writer, in: scratch)
        let outcome = try scratch.run(
            ["\(scratch.path)/traced"] + words,
            variables: scratch.recordingVariables(["HEAPSUM_OTEL_CONTEXT": attribute]).merging(variables) { $1 })
        #expect(outcome.output == "done\n" && outcome.exitStatus == 0 && outcome.messages == "", "\(outcome)")
        return Recording(scratch: scratch, outcome: outcome)
    }

    /// The tag of the live block of each of these sizes; of a size that no block has it is missing.
    private func tags(_ image: HeapImage, _ sizes: [UInt64]) throws -> [UInt64: String] {
        let reduction = Reduction()
        try reduction.add(image)
        #expect(reduction.inputs.allSatisfy { !$0.damaged }, "\(image.damages)")
        var result: [UInt64: String] = [:]
        for row in reduction.rows where row.blocks == 1 && sizes.contains(row.bytes) {
            #expect(result[row.bytes] == nil)
            result[row.bytes] = reduction.tag(of: row)?.description ?? "none"
        }
        return result
    }

    private struct Count: Equatable { var blocks: UInt64 = 0, bytes: UInt64 = 0 }

    private func allocated(_ image: HeapImage) throws -> [String: Count] {
        let reduction = Reduction()
        try reduction.add(image)
        var sums: [String: Count] = [:]
        for row in reduction.rows {
            let tag = reduction.tag(of: row)?.description ?? "none"
            sums[tag, default: Count()].blocks += row.history?.allocatedBlocks ?? 0
            sums[tag, default: Count()].bytes += row.history?.allocatedBytes ?? 0
        }
        return sums
    }

    private static let requests: [UInt64: String] = [
        100: "none", 150: "none", 200: "http.route=/orders", 300: "http.route=/users/", 400: "none",
        5000: "http.route=/items", 500: "http.route=/items", 600: "none", 700: "none", 800: "http.route=/later",
        900: "http.route=/whole", 1000: "tenant 42", 1100: "http.route=/whole", 1200: "http.route=",
        1300: "http.route=" + String(repeating: "x", count: 241) + "…", 1400: "none", 1500: "none",
        1600: "http.route=/orders", 1700: "none",
    ]

    private func expectRequests(_ recording: Recording) throws {
        let image = try recording.image(of: "traced")
        var expected = Self.requests
        expected[150] = nil // realloc made it the block of 5,000 bytes
        // All of a tag's blocks together, because one stack may have several; without a tag there are others, too.
        let reduction = Reduction()
        try reduction.add(image)
        var sums: [String: Count] = [:], wanted: [String: Count] = [:]
        for row in reduction.rows {
            guard let tag = reduction.tag(of: row)?.description else { continue }
            sums[tag, default: Count()].blocks += row.blocks
            sums[tag, default: Count()].bytes += row.bytes
        }
        for (size, tag) in expected where tag != "none" {
            wanted[tag, default: Count()].blocks += 1
            wanted[tag, default: Count()].bytes += size
        }
        #expect(sums == wanted)
        for (size, tag) in try tags(image, Array(expected.keys)) { #expect(expected[size] == tag, "\(size)") }
        for flag in [HEAP_FLAG_OTEL_CONTEXT, HEAP_FLAG_OTEL_VARIABLE, HEAP_FLAG_OTEL_KEYS, HEAP_FLAG_OTEL_NAMED] {
            #expect(image.hasFlag(flag))
        }
    }

    @Test(arguments: Writer.all + Writer.musl)
    func eachBlockHasItsThreadsAttribute(writer: Writer) throws {
        try expectRequests(try record(writer, ["requests"]))
    }

    @Test(arguments: [
        ["HEAPSUM_UNWIND": "fp"], ["HEAPSUM_UNWIND": "libunwind"], ["HEAPSUM_VERIFY": "1"], ["HEAPSUM_DEPTH": "1"],
        ["HEAPSUM_THREADS": "1"], ["HEAPSUM_CHECK": "1"], ["HEAPSUM_PYTHON": "1"],
    ]) func withOtherOptions(variables: [String: String?]) throws {
        try expectRequests(try record(.program, ["requests"], variables: variables))
    }

    @Test func withoutTheOptionNothingIsRead() throws {
        let image = try record(.program, ["requests"], attribute: nil).image(of: "traced")
        let found = try tags(image, Array(Self.requests.keys))
        for (size, tag) in found { #expect(tag == (size == 1000 ? "tenant 42" : "none"), "\(size)") }
        #expect(!image.hasFlag(HEAP_FLAG_OTEL_CONTEXT) && !image.hasFlag(HEAP_FLAG_OTEL_VARIABLE))
    }

    @Test func anotherAttribute() throws {
        let image = try record(.program, ["requests"], attribute: "user.id").image(of: "traced")
        #expect(try tags(image, [200, 800, 900]) == [200: "none", 800: "user.id=7", 900: "none"])
        let absent = try record(.program, ["requests"], attribute: "http.target").image(of: "traced")
        #expect(Set(try tags(absent, [200, 300, 500, 800]).values) == ["none"])
        #expect(absent.hasFlag(HEAP_FLAG_OTEL_KEYS) && !absent.hasFlag(HEAP_FLAG_OTEL_NAMED))
        // A program without the variable.
        let scratch = try Scratch()
        let plain = try scratch.recordProgram("tags", variables: ["HEAPSUM_OTEL_CONTEXT": "http.route"])
            .image(of: "tags")
        #expect(try tags(plain, [200, 700]) == [200: "tenant 42", 700: "none"])
        #expect(plain.hasFlag(HEAP_FLAG_OTEL_CONTEXT) && !plain.hasFlag(HEAP_FLAG_OTEL_VARIABLE))
    }

    @Test(arguments: [Writer.all[0]] + Writer.all.suffix(6) + Writer.musl.suffix(1))
    func threadsDoNotMixTheirContexts(writer: Writer) throws {
        let sums = try allocated(try record(writer, ["threads", "8"]).image(of: "traced"))
        #expect(sums["http.route=/shared"] == Count(blocks: 8000, bytes: 512_000))
        for worker in 0 ..< 8 {
            #expect(sums["http.route=/own/\(worker)"] == Count(blocks: 1000, bytes: 32000), "\(worker)")
        }
        #expect(sums.count == 10, "\(sums.keys)") // and none
    }

    // Half the blocks are of 16 bytes or little more, so nearly each is drawn with this interval.
    @Test func sampledBlocksHaveTheirContexts() throws {
        let image = try record(.program, ["threads", "4"], variables: ["HEAPSUM_SAMPLE": "64"]).image(of: "traced")
        let sums = try allocated(image)
        #expect(image.header.sample_interval == 64)
        #expect(sums["http.route=/shared"].map { $0.bytes > 200_000 && $0.bytes < 312_000 } == true, "\(sums)")
    }

    @Test func handlersHaveContextsOfTheirOwn() throws {
        let scratch = try Scratch()
        try scratch.prepare("cc -O1 -shared -fPIC -fno-builtin -o bump.so '\(Built.root)/Tests/Programs/bump.c'")
        let image = try record(
            .program, ["signals", "1500"], variables: ["LD_PRELOAD": "\(Built.interposer):\(scratch.path)/bump.so"]
        )
        .image(of: "traced")
        let sums = try allocated(image)
        for (name, size) in [("/odd", 24), ("/even", 40), ("/handler", 48)] as [(String, UInt64)] {
            let count = try #require(sums["http.route=\(name)"])
            #expect(count.blocks > 50 && count.bytes == count.blocks * size, "\(name): \(count)")
        }
        #expect(sums["http.route=/even"]?.blocks == (sums["http.route=/odd"]?.blocks).map { $0 * 2 })
    }

    @Test func theProcessContextMayComeLaterAndGrow() throws {
        let image = try record(.program, ["late"]).image(of: "traced")
        #expect(
            try tags(image, [100, 200, 300, 400, 500, 600]) == [
                100: HEAP_TAG_UNREAD, 200: "none", 300: "none", 400: "http.route=/late", 500: "http.route=/next",
                600: "http.route=/other",
            ])
        let grown = try record(.program, ["growing"]).image(of: "traced")
        #expect(try tags(grown, [100, 200]) == [100: "none", 200: "http.route=/grown"])
    }

    @Test func aForksChildHasNamesOfItsOwn() throws {
        let images = try record(.program, ["fork"]).images(of: "traced").map(\.image)
        let parent = try #require(images.first { !$0.hasFlag(HEAP_FLAG_FORKED) }),
            child = try #require(images.first { $0.hasFlag(HEAP_FLAG_FORKED) })
        #expect(try tags(parent, [1000, 5000]) == [1000: "http.route=/parent", 5000: "http.route=/parent"])
        #expect(
            try tags(child, [2000, 3000, 4000]) == [2000: HEAP_TAG_UNREAD, 3000: "http.route=/child", 4000: "none"])
    }

    @Test func whatCannotBeReadIsCounted() throws {
        let recording = try record(.program, ["odd"])
        let image = try recording.image(of: "traced")
        let unread: [UInt64] = [100, 200, 300, 400, 500, 700, 900, 1000, 1100, 1200, 1500, 1600]
        let found = try tags(image, unread + [600, 800, 1300, 1400])
        for size in unread { #expect(found[size] == HEAP_TAG_UNREAD, "\(size)") }
        #expect(found[600] == "none" && found[800] == "http.route=/right" && found[1300] == "http.route=/right")
        #expect(found[1400] == "http.route=/right")
        // Reports say so.
        let reduction = Reduction()
        try reduction.add(image)
        let sum = unread.reduce(0, +)
        #expect(reduction.contextsUnread.map { $0.blocks == UInt64(unread.count) && $0.bytes == sum } == true)
        let table = try recording.scratch.run([Built.products + "/heapsum", "--by", "tag", recording.scratch.path])
        #expect(table.output.contains("had an OpenTelemetry context that could not be read"), "\(table)")
        let info = try recording.scratch.shell("'\(Built.products)/heapsum' info *.heap")
        #expect(info.output.contains("otel context"), "\(info)")
    }

    @Test func valuesBeyondTheLimitAreCountedTogether() throws {
        let sums = try allocated(try record(.program, ["many", "5000"]).image(of: "traced"))
        // One of the texts that are kept is that of the contexts that could not be read.
        #expect(sums["http.route=/0"] == Count(blocks: 1, bytes: 10) && sums["http.route=/4094"]?.blocks == 1)
        #expect(sums["http.route=/4095"] == nil)
        #expect(sums[StackTag.more.description] == Count(blocks: 905, bytes: 9050))
    }

    @Test(arguments: Writer.all.suffix(6) + Writer.musl.suffix(1))
    func aLibraryMayGo(writer: Writer) throws {
        let image = try record(writer, ["close"]).image(of: "traced")
        #expect(
            try tags(image, [100, 200, 201]) == [
                100: "http.route=/open", 200: "none", 201: "http.route=/thread",
            ])
        // musl closes no library.
        #expect(try tags(image, [300]) == [300: writer.compiler == "cc" ? "none" : "http.route=/open"])
    }

    // A thread that doesn't use the library again has the first one's block until then, under the second one's number.
    @Test(arguments: [
        ("-DOTHER=100000 -mtls-dialect=gnu2", "none", "http.route=/again"),
        ("-DOTHER=100000", HEAP_TAG_UNREAD, HEAP_TAG_UNREAD),
    ]) func aLibraryThatComesBackIsAnother(options: String, between: String, after: String) throws {
        #if !arch(arm64)
            let writer = Writer(testDescription: options, options: options, isLoaded: true)
            let image = try record(writer, ["reopen"]).image(of: "traced")
            #expect(try tags(image, [100, 200, 300]) == [100: "http.route=/first", 200: between, 300: after])
        #endif
    }
}
