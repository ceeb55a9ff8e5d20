// heapsum pack --redact: what strings(1) finds in the copy has neither the program's arguments, nor its environment,
// nor a directory; and what is left is named and summed up as before.

import CHeapImage
import Glibc
import Report
import TestSupport
import Testing

@Suite struct RedactTests {
    private let scratch: Scratch
    private let heapsum = "'\(Built.products)/heapsum'"
    private static let directories = ["/tmp", "/lib/", "x86_64-linux-gnu", "heapsum-test-"]
    private static let secrets = ["argument-of-nobody", "value-of-nobody", "VARIABLE_OF_NOBODY", "directory-of-nobody"]

    /// Records a program in a directory that nobody should see, with a verdict, and paths in what it says itself.
    init() throws {
        scratch = try Scratch()
        try scratch.write(
            "app.c",
            """
            #include <heapsum.h>
            #include <stdlib.h>
            char *kept;
            __attribute__((noinline)) static char *take(int n) { return malloc(n); }
            int main(int argc, char **argv) {
                heapsum_mark(argv[0]);
                for (int i = 0; i < 10; i++) take(100 + argc);
                kept = take(argv[1][0]);
                heapsum_mark("ready");
                heapsum_leaks();
                return 0;
            }
            """)
        try scratch.prepare(
            """
            cd '\(scratch.path)' && mkdir directory-of-nobody && cd directory-of-nobody && mv ../app.c . && \
            cc -g -O1 -I'\(Built.root)/Interposer/include' -o app "$PWD/app.c" && \
            HEAPSUM_LIBRARY='\(Built.interposer)' VARIABLE_OF_NOBODY=value-of-nobody '\(Built.products)/heaprun' \
            --quiet -o out "$PWD/app" argument-of-nobody
            """)
    }

    private func strings(_ file: String) throws -> [Substring] {
        let found = try scratch.shell("cd '\(scratch.path)' && strings -a -n 3 \(file)")
        try #require(found.exitStatus == 0)
        return found.output.split(separator: "\n")
    }

    private func shown(_ options: String, _ file: String) throws -> String {
        let outcome = try scratch.shell("cd '\(scratch.path)' && \(heapsum) \(options) \(file)")
        try #require(outcome.exitStatus == 0, "\(outcome)")
        return outcome.output
    }

    /// What is written for other programs may be passed on: it names the program alone.
    @Test(arguments: MachineFormat.allCases) func noFormatHasArguments(format: MachineFormat) throws {
        try scratch.prepare(
            """
            cd '\(scratch.path)' && cp "$(ls directory-of-nobody/out/app.*.heap | grep -v '[.]1[.]heap')" end.heap && \
            \(heapsum) --format \(format.rawValue) end.heap | gzip -dcf >file
            """)
        let text = try strings("file").joined(separator: "\n")
        #expect(text.contains("take") && !text.contains("argument-of-nobody") && !text.contains("value-of-nobody"))
    }

    @Test func nothingIsLeftOfArgumentsAndDirectories() throws {
        let images = try scratch.shell("cd '\(scratch.path)' && ls directory-of-nobody/out/*.heap")
        let paths = images.output.split(separator: "\n").map(String.init)
        // The image of the end, and the dump with the verdict.
        try #require(paths.count == 2, "\(images)")
        try scratch.prepare(
            "cd '\(scratch.path)' && \(heapsum) pack --with-symbols -o named directory-of-nobody/out/*.heap >&2")
        for path in paths {
            let text = try strings(path).joined(separator: "\n")
            #expect(text.contains("argument-of-nobody") && text.contains("directory-of-nobody"))
            let whole = try strings("named/" + (path.split(separator: "/").last ?? "")).joined(separator: "\n")
            for part in Self.directories { #expect(whole.contains(part), "\(part)") }
            let name = String(path.split(separator: "/").last ?? "")
            for (number, options) in ["", "--with-symbols"].enumerated() {
                // Also of a copy that has its names already.
                for (source, from) in [path, "named/\(name)"].enumerated() {
                    let to = "to-\(number)-\(source)-\(name)"
                    try scratch.prepare(
                        "cd '\(scratch.path)' && \(heapsum) pack --redact \(options) -o - \(from) > \(to)")
                    let left = try strings(to)
                    for secret in Self.secrets {
                        #expect(!left.contains { $0.contains(secret) }, "\(to): \(secret)")
                    }
                    // A single slash may be any byte: directories that the original has are looked for.
                    for part in Self.directories {
                        #expect(!left.contains { $0.contains(part) }, "\(to): \(part)")
                    }
                    // The sums stay, and names if there were any.
                    #expect(try shown("--format json", to).contains("\"liveBytes\":"))
                    if number + source > 0 {
                        #expect(try shown("--format folded", to) == shown("--format folded", "named/\(name)"))
                        #expect(try shown("--frames 0", to).contains("app.c:4"))
                    }
                    let facts = try shown("info", to)
                    #expect(facts.contains("ready") && !facts.contains("nobody"), "\(facts)")
                }
            }
        }
        // With its files at hand, a copy without names is named by its build-ids.
        let bare = try scratch.shell("cd '\(scratch.path)' && ls to-0-0-*").output.split(separator: "\n")[0]
        let named = try scratch.shell(
            """
            cd '\(scratch.path)' && id=$(readelf -n directory-of-nobody/app | sed -n 's/.*Build ID: //p') && \
            at=debug/.build-id/$(echo "$id" | cut -c1-2)/$(echo "$id" | cut -c3-).debug && mkdir -p "${at%/*}" && \
            cp directory-of-nobody/app "$at" && rm -r directory-of-nobody && \(heapsum) --debug-dir debug \(bare)
            """)
        #expect(named.exitStatus == 0 && named.output.contains("take"), "\(named)")
    }

    /// Tags lie in the strings that are made new.
    @Test func tagsStayWithoutTheirDirectories() throws {
        for keepsAll in [true, false] {
            var builder = ImageBuilder()
            let module = builder.addModule("/srv/directory-of-nobody/app", buildID: [7])
            for (index, tag) in ["/srv/directory-of-nobody/tenant 42", "green", "/directory-of-nobody/"].enumerated() {
                let frames = [
                    heap_frame_make(module, 16), heap_frame_make(module, 32),
                    heap_tag_frame(builder.addString(tag.utf8)),
                ]
                builder.addBlock(
                    address: UInt64(index + 1) << 20, bytes: 1000 << UInt64(index), stack: builder.addStack(frames))
            }
            if !keepsAll {
                // So many that what holds nothing is left out.
                for index in UInt64(0) ..< 10_100 { _ = builder.addStack([heap_frame_make(module, 100 + index)]) }
            }
            let file = "tags-\(keepsAll).heap"
            try builder.write(to: scratch.file(file))
            let packed = try scratch.shell("rm -rf red; \(heapsum) pack --redact -o red \(file)")
            try #require(packed.exitStatus == 0, "\(packed)")
            let shown = try scratch.shell("\(heapsum) --by tag --format csv red")
            #expect(shown.exitStatus == 0 && !shown.messages.contains("amaged"), "\(shown)")
            for tag in ["tenant 42", "green", "…"] { #expect(shown.output.contains(tag), "\(shown)") }
            #expect(try !scratch.shell("strings -a -n 3 red/*").output.contains("nobody"))
        }
    }

    @Test func theVerdictStays() throws {
        let dump = try scratch.shell("cd '\(scratch.path)' && ls directory-of-nobody/out/app.*.1.heap").output
            .dropLast()
        let original = try shown("leaks --holders", String(dump))
        #expect(original.contains("definite         10   1,020") && original.contains("global kept (app)"))
        // Without directories nobody finds the program, whose functions are in the copy only with its symbols.
        let nameless = original.split(separator: "\n").filter { !$0.contains("take ← main") }
        for (options, lines) in [("--redact", nameless), ("--redact --with-symbols", original.split(separator: "\n"))] {
            try scratch.prepare("cd '\(scratch.path)' && \(heapsum) pack \(options) -o - \(dump) > sent.heap")
            let sent = "\(scratch.path)/directory-of-nobody/" + (try shown("leaks --holders", "sent.heap"))
            #expect(lines.allSatisfy(sent.split(separator: "\n").contains), "\(options): \(sent) \(original)")
        }
    }
}
