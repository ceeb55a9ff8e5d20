// Names from debuginfod servers: elfutils' own, on this machine, with addr2line and the unstripped files as the oracle;
// and servers that send the wrong file, half of one, nothing, or never end.

import Glibc
import TestSupport
import Testing

/// A stripped program and a stripped library that only this test has, a recording of them, and their debug files.
private final class Stripped {
    let scratch: Scratch
    let heapsum = "'\(Built.products)/heapsum'"
    let buildIDs: [String]
    private let oracles = Built.root + "/Tests/ReportTests/Oracles"

    static let common = """
        #include <stdlib.h>
        struct session { struct session *next; char *name; size_t bytes; long number; double weight; };
        static inline __attribute__((always_inline)) char *taken(size_t n) {
            struct session *s = malloc(n + sizeof(struct session));
            s->bytes = n;
            return (char *)s;
        }
        """
    static let library = """
        #include "common.h"
        __attribute__((noinline)) static char *named(int i) { return taken(100 + i % 3); }
        void keep_name(char **to, int i) { to[i % 64] = named(i); }
        """
    static let program = """
        #include "common.h"
        #include <string.h>
        void keep_name(char **to, int i);
        static inline __attribute__((always_inline)) char *row(int i) { return taken(64 + i % 2); }
        static char *rows[64], *names[64];
        __attribute__((noinline)) static int fill(int n) {
            for (int i = 0; i < n; i++) rows[i % 64] = row(i);
            for (int i = 0; i < n; i++) keep_name(names, i);
            return n;
        }
        int main(int argc, char **argv) { return fill(40 + argc) < (int)strlen(argv[0]) - 4000; }
        """

    init() throws {
        scratch = try Scratch()
        try scratch.write("common.h", Self.common)
        try scratch.write("kept.c", Self.library)
        try scratch.write("app.c", Self.program)
        try scratch.prepare(
            """
            cd '\(scratch.path)' && mkdir served whole out
            gcc -g -O2 -shared -fPIC -Wl,--build-id,-soname,libkept.so -o whole/libkept.so '\(scratch.path)/kept.c'
            gcc -g -O2 -Wl,--build-id -o whole/app '\(scratch.path)/app.c' whole/libkept.so -Wl,-rpath,'\(scratch.path)'
            for file in app libkept.so; do
                objcopy --only-keep-debug whole/$file served/$file.debug && strip -o $file whole/$file || exit 1
                readelf -n whole/$file | sed -n 's/.*Build ID: //p' >> ids
            done
            LD_PRELOAD='\(Built.interposer)' HEAPSUM_OUTPUT=. ./app && mv app.*.heap app.heap
            """)
        buildIDs = try contents(scratch.file("ids")).split(separator: "\n").map(String.init)
    }

    func run(_ arguments: String, urls: String?, cache: String = "cache") throws -> Outcome {
        try scratch.shell(
            "cd '\(scratch.path)' && \(heapsum) \(arguments)",
            variables: [
                "DEBUGINFOD_URLS": urls, "DEBUGINFOD_CACHE_PATH": scratch.file(cache), "DEBUGINFOD_TIMEOUT": nil,
                "XDG_CACHE_HOME": nil,
            ])
    }

    /// Compares a JSON report with addr2line; nil if they differ, which is recorded.
    func isAsAddr2lineSays(_ report: Outcome) throws -> Bool {
        try scratch.write("report.json", report.output)
        let compared = try scratch.shell(
            "cd '\(scratch.path)' && python3 '\(oracles)/same_as_addr2line.py' '\(scratch.path)/app' whole/app "
                + "'\(scratch.path)/libkept.so' whole/libkept.so < report.json")
        guard compared.exitStatus == 0 else {
            Issue.record("\(compared.messages)\n\(report.messages)")
            return false
        }
        // main, fill with two inlined calls at each of two sizes …, the library's two functions
        let counts = compared.output.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        return counts.count == 2 && counts[0] >= 5 && counts[1] >= 2
    }

    /// A hostile server, and where it is.
    func server(_ kind: String, _ file: String = "") throws -> (running: Running, url: String) {
        let pipe = scratch.file("pipe-\(kind)")
        guard mkfifo(pipe, 0o600) == 0 else { throw Failure("mkfifo") }
        let running = try scratch.start(["python3", "\(oracles)/debug_server.py", kind, file], input: pipe)
        var port: Substring?
        _ = try eventually {
            port = try contents(running.outputPath).split(separator: "\n").first
            return port != nil
        }
        return (running, "http://127.0.0.1:\(port ?? "0")")
    }

    func asked(_ running: Running) throws -> [Substring] {
        try contents(running.outputPath).split(separator: "\n").dropFirst().map { $0 }
    }

    func stop(_ running: Running) throws {
        kill(running.pid, SIGKILL)
        _ = try running.wait()
    }
}

@Suite struct DebugServerTests {
    private let made: Stripped

    init() throws { made = try Stripped() }

    private static let json = "--format json app.heap"

    /// elfutils' server, over the debug files; and the port on which it listens.
    private func debuginfod() throws -> (running: Running, url: String) {
        // Somebody else may take the port before it does: then another.
        for _ in 0 ..< 5 { if let server = try tryDebuginfod() { return server } }
        return try #require(try tryDebuginfod(), "no port for debuginfod")
    }

    private func tryDebuginfod() throws -> (running: Running, url: String)? {
        let port = try made.scratch.shell(
            "python3 -c 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); print(s.getsockname()[1])'"
        ).output.dropLast()
        let running = try made.scratch.start(
            ["debuginfod", "-p", String(port), "-d", ":memory:", "-F", made.scratch.file("served")],
            variables: ["DEBUGINFOD_URLS": nil])
        let url = "http://127.0.0.1:\(port)"
        let isUp = try eventually(seconds: 60) {
            if running.hasEnded { return true }
            return try !made.buildIDs.isEmpty
                && made.buildIDs.allSatisfy { id in
                    try made.scratch.shell(
                        "python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' "
                            + "\(url)/buildid/\(id)/debuginfo"
                    ).exitStatus == 0
                }
        }
        if running.hasEnded {
            _ = try running.wait()
            return nil
        }
        let log = try contents(running.messagesPath)
        try #require(isUp, "\(log)")
        return (running, url)
    }

    @Test func namesLinesAndInlinedCallsAreThoseOfTheUnstrippedFiles() throws {
        let before = try made.run(Self.json, urls: nil)
        try #require(before.exitStatus == 0)
        #expect(!before.output.contains("\"fill\"") && !before.messages.contains("debuginfod"))
        let (server, url) = try debuginfod()
        defer { try? made.stop(server) }
        #expect(try made.run("--debuginfod none " + Self.json, urls: url).output == before.output)
        #expect(access(made.scratch.file("cache"), F_OK) != 0)

        let served = try made.run(Self.json, urls: url)
        #expect(try made.isAsAddr2lineSays(served))
        #expect(served.output.contains("\"function\":\"fill\"") && served.output.contains("\"function\":\"taken\""))
        // libc has its place in the list only if the machine has no debug file for it.
        #expect(!served.messages.contains("app") && !served.messages.contains("libkept"), "\(served)")
        #expect(try made.run("--debuginfod \(url) " + Self.json, urls: nil).output == served.output)
        let table = try made.run("--frames 0 --by function app.heap", urls: url)
        #expect(table.output.contains("taken"), "\(table)")
        // Symbols alone: without lines, the names are those of .symtab.
        let nameless = try made.run("--no-lines " + Self.json, urls: url)
        #expect(
            nameless.output.contains("\"function\":\"fill\"") && !nameless.output.contains("\"function\":\"taken\""))

        // The cache is where all of elfutils' users have it, and names without a server.
        for id in made.buildIDs { #expect(access(made.scratch.file("cache/\(id)/debuginfo"), R_OK) == 0) }
        try made.stop(server)
        #expect(try made.run(Self.json, urls: url).output == served.output)
        let folder = try made.scratch.shell(
            "cd '\(made.scratch.path)' && mkdir -p xdg && cp -r cache xdg/debuginfod_client && "
                + "\(made.heapsum) \(Self.json)",
            variables: [
                "DEBUGINFOD_URLS": url, "DEBUGINFOD_CACHE_PATH": nil, "XDG_CACHE_HOME": made.scratch.file("xdg"),
            ])
        #expect(folder.output == served.output, "\(folder.messages)")

        // Packed with its names, it is named where there is neither the program, a server, nor a cache.
        let packed = try made.run("pack --with-symbols -o out app.heap", urls: url)
        try #require(packed.exitStatus == 0, "\(packed)")
        try made.scratch.prepare(
            "cd '\(made.scratch.path)' && mv out/*.heap sent.heap && rm -r app libkept.so cache xdg served")
        let sent = try made.run("--format json sent.heap", urls: nil)
        #expect(try made.isAsAddr2lineSays(sent))
        #expect(try made.run(Self.json, urls: nil).output != served.output)
    }

    /// Distributions put what several debug files have in common into one more file, by dwz.
    @Test func whatDebugFilesShareIsFetchedToo() throws {
        try made.scratch.prepare(
            """
            cd '\(made.scratch.path)/served' && dwz -m shared.dwz -M nowhere/shared.dwz app.debug libkept.so.debug
            readelf -n shared.dwz | sed -n 's/.*Build ID: //p' > ../shared-id
            readelf -x .gnu_debugaltlink app.debug | grep -q nowhere
            """)
        let (server, url) = try debuginfod()
        defer { try? made.stop(server) }
        let served = try made.run(Self.json, urls: url)
        #expect(try made.isAsAddr2lineSays(served))
        let shared = try contents(made.scratch.file("shared-id")).split(separator: "\n")[0]
        #expect(access(made.scratch.file("cache/\(shared)/debuginfo"), R_OK) == 0, "\(served.messages)")
        // Without it, nothing is guessed, and it is said.
        try made.stop(server)
        try made.scratch.prepare("rm -r '\(made.scratch.path)/cache/\(shared)'")
        let alone = try made.run(Self.json, urls: url)
        #expect(alone.messages.contains("what it shares with other files is not there (build-id \(shared))"))
    }

    @Test func filesThatAreNotTheRightOnesNameNothing() throws {
        let before = try made.run(Self.json, urls: nil)
        try made.scratch.prepare(
            """
            cd '\(made.scratch.path)' || exit
            gcc -g -O1 -Wl,--build-id -o other '\(made.scratch.path)/app.c' whole/libkept.so
            gcc -g -O2 -Wl,--build-id=none -o nameless '\(made.scratch.path)/app.c' whole/libkept.so
            """)
        let cases = [
            ("file", "other", "has build-id"), ("file", "nameless", "has no build-id"),
            ("garbage", "", "damaged"), ("missing", "", "2 debug files not fetched"),
            ("cut", "served/app.debug", "2 debug files not fetched"),
        ]
        for (number, (kind, file, reason)) in cases.enumerated() {
            let (server, url) = try made.server("\(kind)", made.scratch.file(file))
            unlink(made.scratch.file("pipe-\(kind)"))
            let outcome = try made.run(Self.json, urls: url, cache: "cache-\(number)")
            #expect(outcome.exitStatus == 0 && outcome.output == before.output, "\(kind) \(file): \(outcome)")
            #expect(outcome.messages.contains(reason), "\(kind) \(file): \(outcome.messages)")
            for id in made.buildIDs {
                #expect(try made.asked(server).contains("/buildid/\(id)/debuginfo"), "\(kind): \(id)")
            }
            try made.stop(server)
            if kind == "missing" { #expect(outcome.messages.contains("no server sent it"), "\(outcome.messages)") }
        }
        let closed = try made.run(Self.json, urls: "http://127.0.0.1:1", cache: "cache-closed")
        #expect(closed.output == before.output && closed.messages.contains("the servers can't be asked"), "\(closed)")
    }

    /// The server would take an hour: whoever waits for it doesn't come to the end.
    @Test(arguments: ["hang", "endless"])
    func whoeverIsSlowIsNotWaitedFor(_ kind: String) throws {
        let before = try made.run(Self.json, urls: nil)
        let (server, url) = try made.server(kind)
        defer { try? made.stop(server) }
        let outcome = try made.run("--debuginfod-timeout 2s " + Self.json, urls: url)
        #expect(outcome.exitStatus == 0 && outcome.output == before.output)
        #expect(
            outcome.messages.contains("debuginfod: ") && outcome.messages.contains("given up after 2 s"), "\(outcome)")
        // elfutils' variable is the same limit.
        let variable = try made.scratch.shell(
            "cd '\(made.scratch.path)' && \(made.heapsum) \(Self.json)",
            variables: [
                "DEBUGINFOD_URLS": url, "DEBUGINFOD_TIMEOUT": "1", "DEBUGINFOD_CACHE_PATH": made.scratch.file("other"),
            ])
        #expect(variable.messages.contains("given up after 1 s"), "\(variable)")
        // The cache remembers no refusal: a server that answers is asked.
        let (good, there) = try made.server("file", made.scratch.file("served/app.debug"))
        let named = try made.run(Self.json, urls: there)
        #expect(named.output.contains("\"function\":\"fill\""), "\(named.messages)")
        try made.stop(good)
        // On a terminal there is something to see meanwhile.
        let seen = try made.scratch.shell(
            "cd '\(made.scratch.path)' && script -qec \"\(made.heapsum) --debuginfod-timeout 3s app.heap\" /dev/null",
            variables: ["DEBUGINFOD_URLS": url, "DEBUGINFOD_CACHE_PATH": made.scratch.file("third"), "TERM": "xterm"])
        #expect(seen.output.contains("fetching debug files"), "\(seen)")
        #expect(try made.run("--debuginfod-timeout never " + Self.json, urls: url).exitStatus == 64)
    }

    /// A library that breaks off takes the process that loaded it along, and nothing else.
    @Test func theLibraryMayBeMissingOrCrash() throws {
        let before = try made.run(Self.json, urls: nil)
        let crashing = """
            #include <stdlib.h>
            void *debuginfod_begin(void) { abort(); }
            void debuginfod_set_progressfn(void) {}
            int debuginfod_find_debuginfo(void) { return -1; }
            """
        for (source, reason) in [("int nothing;", "can't be loaded"), (crashing, "killed by signal 6")] {
            try made.scratch.write("library.c", source)
            try made.scratch.prepare(
                "cd '\(made.scratch.path)' && mkdir -p fake && "
                    + "gcc -shared -fPIC -w -o fake/libdebuginfod.so.1 library.c"
            )
            let outcome = try made.scratch.shell(
                "cd '\(made.scratch.path)' && \(made.heapsum) \(Self.json)",
                variables: ["DEBUGINFOD_URLS": "http://127.0.0.1:1", "LD_LIBRARY_PATH": made.scratch.file("fake")])
            #expect(outcome.exitStatus == 0 && outcome.output == before.output, "\(reason)")
            #expect(outcome.messages.contains(reason), "\(outcome.messages)")
        }
    }
}
