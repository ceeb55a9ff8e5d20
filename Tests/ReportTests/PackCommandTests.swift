// heapsum pack --with-symbols: the copy's report is the original's, on a machine without the binaries.

import Glibc
import TestSupport
import Testing

@Suite struct PackCommandTests {
    private let scratch: Scratch
    private let heapsum = "'\(Built.products)/heapsum'"

    /// Records a program that only this test has, and sums it up while its files are there.
    init() throws {
        scratch = try Scratch()
        try scratch.prepare(
            "cd '\(scratch.path)' && cp '\(Built.program("formats"))' prog && LD_PRELOAD='\(Built.interposer)' "
                + "HEAPSUM_OUTPUT=. ./prog && mv prog.*.heap original.heap"
        )
    }

    private func report(_ file: String, _ options: String = "--format json --sort allocated-bytes") throws -> String {
        let outcome = try scratch.shell("\(heapsum) \(options) \(file)")
        try #require(outcome.exitStatus == 0, "\(outcome)")
        // The path is another one.
        return outcome.output.replacing("\(file)", with: "IMAGE")
    }

    @Test func reportsAreTheSameWithoutTheBinary() throws {
        let formats =
            ["json", "csv", "folded", "callgrind", "speedscope", "massif", "heaptrack", "records"].map {
                "--format \($0)"
            } + [
                "--by line", "--by function --frames 0", "--frames 0 --top 0",
            ]
        let before = try formats.map { try report("original.heap", $0) }
        let packed = try scratch.shell("\(heapsum) pack --with-symbols -o . original.heap")
        try #require(packed.exitStatus == 0 && packed.messages == "", "\(packed)")
        try scratch.prepare("cd '\(scratch.path)' && mv \(packed.output.dropLast()) packed.heap && rm prog")
        for (format, text) in zip(formats, before) { #expect(try report("packed.heap", format) == text, "\(format)") }
        #expect(
            before[0].contains(
                #""function":"(anonymous namespace)::Space<unsigned long>::operator()(unsigned long, char "#
                    + #"const*) const""#
            ))
        // The original knows them no more.
        #expect(try !report("original.heap").contains("Space<"))
        let plain = try scratch.shell("\(heapsum) packed.heap")
        #expect(plain.messages == "" && !plain.output.contains("No names"), "\(plain)")
        #expect(try report("packed.heap", "--no-lines --format json").contains(#""file":null,"line":null"#))
    }

    @Test func anotherBuildInTheBinarysPlaceChangesNothing() throws {
        let before = try report("original.heap")
        try scratch.prepare(
            "cd '\(scratch.path)' && \(heapsum) pack --with-symbols -o - original.heap > packed.heap && cp /bin/true "
                + "prog"
        )
        #expect(try report("packed.heap") == before)
        // A listing that the user names goes before what is stored.
        try scratch.write("prog.syms", "0000000000001000 T everything 100000\n")
        #expect(try report("packed.heap", "--symbols prog.syms --format folded").contains("everything"))
    }

    @Test func standardOutputTakesOneImage() throws {
        let piped = try scratch.shell("\(heapsum) pack -o - original.heap | \(heapsum) --format json -")
        #expect(
            try piped.exitStatus == 0
                && piped.output.replacing("standard input", with: "IMAGE") == report("original.heap", "--format json"),
            "\(piped)")
        #expect(try scratch.shell("\(heapsum) pack -o - original.heap original.heap").exitStatus == 64)
        let full = try scratch.shell("\(heapsum) pack -o - original.heap > /dev/full")
        #expect(
            full.exitStatus == 2
                && full.messages.contains("standard output: can't be written: No space left on device"), "\(full)")
        let terminal = try scratch.shell("script -qec \"\(heapsum) pack -o - original.heap\" /dev/null")
        #expect(terminal.exitStatus == 64 && terminal.output.contains("standard output is a terminal"), "\(terminal)")
    }

    @Test func whatCantBeNamedIsSaid() throws {
        try scratch.prepare("cd '\(scratch.path)' && mv prog elsewhere")
        let packed = try scratch.shell("\(heapsum) pack --with-symbols -o - original.heap 2>&1 > packed.heap")
        #expect(packed.exitStatus == 0 && packed.output.contains("of prog: "), "\(packed)")
        // What was not looked up is looked up again where the file is.
        try scratch.prepare("cd '\(scratch.path)' && mv elsewhere prog")
        #expect(try report("packed.heap") == report("original.heap"))
    }
}
