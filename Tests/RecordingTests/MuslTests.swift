// Programs of musl, and static programs of both C libraries: their live blocks against the program's own counts.
// Oracles: the programs, and musl's own compiler.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing

/// A way to build a program of Tests/Programs/harmless for a C library, dynamically or statically.
struct Build: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// The shell's command, with %s for the source.
    let command: String
    var isMusls = false

    private static let library = Built.interposer.replacing("libheapsum.so", with: "")
    private static let linked = "@\(library)static.options \(library)libheapsum.a"
    // Debian's musl-gcc can't link a static PIE, so this names the parts itself.
    private static let muslsPie = """
        d=/usr/lib/$(uname -m)-linux-musl && musl-gcc -fPIE -g -O1 -w -c %s -o main.o && gcc -static-pie -nostdlib \
        -nostartfiles -o program $d/rcrt1.o $d/crti.o $(gcc -print-file-name=crtbeginS.o) main.o \(linked) \
        $d/libc.a $(gcc -print-libgcc-file-name) $(gcc -print-file-name=crtendS.o) $d/crtn.o
        """

    // Without the option for the linker, Debian's musl-gcc makes no table of call frame information.
    static let musl = Build(
        testDescription: "musl", command: "musl-gcc -O1 -g -w -Wl,--eh-frame-hdr -o program %s", isMusls: true)
    static let muslWithoutTable = Build(
        testDescription: "musl, without a table", command: "musl-gcc -O2 -g -w -o program %s", isMusls: true)
    static let statics = [
        Build(testDescription: "glibc, static", command: "gcc -static -O1 -g -w -o program %s \(linked)"),
        Build(testDescription: "glibc, static PIE", command: "gcc -static-pie -O1 -g -w -o program %s \(linked)"),
        Build(
            testDescription: "musl, static", command: "musl-gcc -static -O1 -g -w -o program %s \(linked)",
            isMusls: true),
        Build(testDescription: "musl, static PIE", command: muslsPie, isMusls: true),
    ]
}

extension Scratch {
    /// Builds a program of Tests/Programs/harmless as ./program.
    func build(_ source: String, _ build: Build) throws {
        try prepare(build.command.replacing("%s", with: "'\(Built.root)/Tests/Programs/harmless/\(source)'"))
    }
}

/// The bytes and blocks that counts.c printed.
private func counts(_ output: String) throws -> (bytes: UInt64, blocks: UInt64) {
    let numbers = output.split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
    guard numbers.count == 2 else { throw Failure("counts.c printed \(output)") }
    return (numbers[0], numbers[1])
}

@Suite struct MuslTests {
    @Test(arguments: [Build.musl] + Build.statics)
    func liveBlocksAreTheProgramsOwn(build: Build) throws {
        let scratch = try Scratch()
        try scratch.build("counts.c", build)
        let (plain, recording) = try scratch.runBothWays("./program")
        #expect(plain.exitStatus == 0 && recording.outcome == plain, "\(recording.outcome)")
        let images = try recording.images(of: "program").map(\.image)
        let expected = try counts(plain.output)
        #expect(images.count == 2)
        for image in images {
            let reduced = try Reduced(image)
            let leaf = reduced.holding("leaf")
            if image.hasFlag(HEAP_FLAG_FORKED) {
                #expect(leaf.bytes == 500 && leaf.blocks == 1 && image.losses.inherited_frees == 1)
                #expect(reduced.totals.liveBlocks == 1)
                continue
            }
            #expect(leaf.bytes == expected.bytes && leaf.blocks == expected.blocks, "\(leaf)")
            let rest = reduced.holding("rest")
            #expect(rest.bytes == 64_000 && rest.blocks == 10, "\(rest)") // all but strdup's
            #expect(image.losses.unmatched_frees == 0 && image.losses.healed_slots == 0)
            // With musl nothing is live beside: its stdio has no block, and our own are not the program's.
            if build.isMusls {
                #expect(
                    reduced.totals.liveBytes == expected.bytes + 70_400
                        && reduced.totals.liveBlocks == expected.blocks + 11)
            }
            // From a thread's start: no frame is missing.
            let threads = reduced.reduction.rows.filter { reduced.functions($0).prefix(3) == ["leaf", "work", "run"] }
            #expect(threads.count == 1)
            for row in threads {
                let modules = reduced.reduction.frames(of: row).map { reduced.reduction.modules[Int($0.module)] }
                #expect(!modules.contains { !$0.isFile })
            }
        }
    }

    @Test(arguments: [Build.musl] + Build.statics)
    func aDumpAndAKilledProgramsImageAreWhole(build: Build) throws {
        let scratch = try Scratch()
        try scratch.build("counts.c", build)
        let running = try scratch.start(["./program", "wait"], variables: scratch.recordingVariables())
        #expect(try eventually { try contents(running.outputPath).hasSuffix("\n") })
        let expected = try counts(contents(running.outputPath))
        kill(running.pid, SIGUSR2)
        let dump = "\(scratch.path)/program.\(running.pid).1.heap"
        #expect(eventually { access(dump, R_OK) == 0 })
        kill(running.pid, SIGKILL)
        _ = try running.wait()
        for path in [dump, "\(scratch.path)/program.\(running.pid).heap"] {
            let leaf = try Reduced(try HeapImage(path: path)).holding("leaf")
            #expect(leaf.bytes == expected.bytes && leaf.blocks == expected.blocks, "\(path): \(leaf)")
        }
    }

    /// One library serves both: a program's children are recorded whichever C library they have.
    @Test func childrenOfTheOtherLibraryAreRecorded() throws {
        let scratch = try Scratch()
        let start = """
            #include <stdlib.h>
            #include <unistd.h>
            #include <sys/wait.h>
            int main(int count, char **arguments) {
                void *volatile block = malloc(1234);
                int status = 0;
                if (count > 1 && fork() == 0) execv(arguments[1], arguments + 1);
                if (count > 1) wait(&status);
                return status;
            }
            """
        try scratch.write("start.c", start)
        try scratch.prepare("gcc -w -O1 -o glibcs start.c && musl-gcc -w -O1 -Wl,--eh-frame-hdr -o musls start.c")
        let (plain, recording) = try scratch.runBothWays("./glibcs ./musls ./glibcs ./musls")
        #expect(plain.exitStatus == 0 && recording.outcome == plain, "\(recording.outcome)")
        for program in ["glibcs", "musls"] {
            let held = try recording.images(of: program).map { try Reduced($0.image).holding("main") }
            #expect(held.filter { $0.bytes == 1234 && $0.blocks == 1 }.count == 2, "\(program): \(held)")
        }
    }

    /// musl's functions have no tables, and a program that is linked without one has none, either. Each block belongs
    /// to the program's function all the same, and its stack leads to main. In a program without a table it doesn't
    /// lead through functions that libc calls by a pointer.
    @Test(arguments: [Build.musl, Build.muslWithoutTable, Build.statics[2]])
    func stacksLeadThroughFunctionsWithoutTables(build: Build) throws {
        let scratch = try Scratch()
        try scratch.build("through_libc.c", build)
        let (plain, recording) = try scratch.runBothWays("./program")
        #expect(plain.exitStatus == 0 && recording.outcome == plain, "\(recording.outcome)")
        let image = try #require(try recording.images(of: "program").first).image
        let reduced = try Reduced(image)
        // The program's own counts: a function, its blocks.
        let expected = plain.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(expected.count >= 8)
        let hasTable = build.testDescription != Build.muslWithoutTable.testDescription
        for line in expected where hasTable || !["sorts", "compares", "raises", "handles"].contains(line[0]) {
            let held = reduced.reduction.rows.filter { reduced.functions($0).contains(line[0]) }
            #expect(held.reduce(0) { $0 + $1.blocks } == UInt64(line[1]), "\(line)")
            for row in held { #expect(reduced.functions(row).contains("main"), "\(reduced.functions(row))") }
        }
        #expect((image.losses.cut_stacks == 0) == hasTable)
    }

    @Test func aStaticProgramIsRecordedOnRequestAlone() throws {
        let scratch = try Scratch()
        try scratch.build("half_freed.c", Build.statics[0])
        let outcome = try scratch.run(["./program"])
        #expect(outcome.exitStatus == 0 && outcome.output.isEmpty && outcome.messages.isEmpty)
        #expect(try scratch.shell("ls *.heap 2>/dev/null").output.isEmpty)
    }
}
