// Libraries that come and go: frames name the one that was there, though another lay at the same addresses before.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing

@Suite struct LoadTests {
    /// Three libraries that differ in the names of their functions alone, so that all their code lies at the same
    /// offsets.
    private static let libraries = """
        for name in one two six; do
            printf '#include <stdlib.h>\\n__attribute__((noinline)) static void *%s_library(size_t n) { \
            void *p = malloc(n); __asm__ volatile("" :: "r"(p)); return p; }\\n' $name > $name.c
            printf 'void *make(size_t n) { void *p = %s_library(n); __asm__ volatile("" :: "r"(p)); \
            return p; }\\n' $name >> $name.c
            cc -O1 -g -shared -fPIC -o $name.so $name.c || exit 1
        done
        """

    @Test func librariesAtTheSameAddressAreToldApart() throws {
        let scratch = try Scratch()
        try scratch.prepare(Self.libraries)
        let recording = try scratch.recordProgram(
            "loads", ["900"] + ["one", "two", "six"].map { "\(scratch.path)/\($0).so" })
        #expect(
            recording.outcome.output == "rounds 900, at the same address mostly\n" && recording.outcome.exitStatus == 0)
        let image = try recording.image(of: "loads")
        let reduced = try Reduced(image)
        for name in ["one", "two", "six"] {
            let held = reduced.holding("\(name)_library")
            #expect(held.blocks == 300 && held.bytes == 300 * 64, "\(name): \(held)")
        }
        #expect(image.losses.cut_stacks == 0 && image.losses.unmatched_frees == 0)
    }

    @Test func aFileReplacedByAnotherIsAnotherModule() throws {
        // One path, and under it one file after the other: as an upgrade does it, under a program that loads it anew.
        let scratch = try Scratch()
        try scratch.prepare(Self.libraries + "\nmkdir a b && cp one.so a/plug.so && cp two.so b/plug.so && ln -s a now")
        try scratch.write(
            "swap.c",
            """
            #include <dlfcn.h>
            #include <stdio.h>
            #include <unistd.h>
            int main(int count, char **arguments) {
                for (int round = 0; round < 20; round++) {
                    if (unlink("plug.so") != 0 && round > 0) return 1;
                    if (link(arguments[1 + round % (count - 1)], "plug.so") != 0) return 2;
                    void *library = dlopen("./plug.so", RTLD_NOW);
                    if (library == NULL) return 3;
                    ((void *(*)(unsigned long))dlsym(library, "make"))(64);
                    dlclose(library);
                }
                puts("done");
                return 0;
            }
            """)
        try scratch.prepare("cc -O1 -g -o swap swap.c -ldl")
        let outcome = try scratch.run(["./swap", "one.so", "two.so"], variables: scratch.recordingVariables())
        #expect(outcome.output == "done\n" && outcome.exitStatus == 0, "\(outcome)")
        let reduced = try Reduced(try Recording(scratch: scratch, outcome: outcome).image(of: "swap"))
        // Ten blocks each, by the build-id: the path is the same, and only the last file is still there to be read.
        var blocks: [[UInt8]: UInt64] = [:]
        for row in reduced.reduction.rows {
            guard let frame = reduced.reduction.frames(of: row).first,
                reduced.reduction.modules.indices.contains(Int(frame.module))
            else { continue }
            let module = reduced.reduction.modules[Int(frame.module)]
            if String(decoding: module.path, as: UTF8.self).hasSuffix("plug.so") {
                blocks[module.buildID, default: 0] += row.blocks
            }
        }
        #expect(blocks.values.sorted() == [10, 10], "\(blocks)")
    }

    @Test(arguments: [("deep", UInt64(0)), ("apart", 0)])
    func whatGoesPastIsNoHarm(how: String, seen: UInt64) throws {
        // RTLD_DEEPBIND finds libc's malloc before ours, and a namespace of its own (dlmopen) has a libc of its own:
        // neither is seen, and nothing breaks.
        let scratch = try Scratch()
        try scratch.prepare(Self.libraries)
        let arguments = [how, "12"] + ["one", "two", "six"].map { "\(scratch.path)/\($0).so" }
        let plain = try scratch.run([try Built.program("loads")] + arguments)
        let recording = try scratch.recordProgram("loads", arguments)
        #expect(recording.outcome == plain && plain.exitStatus == 0, "\(recording.outcome)")
        #expect(try Reduced(recording.image(of: "loads")).holding("make", anywhere: true).blocks == seen)
    }

    @Test func theFirstAllocationMayComeFromUnderGettextsLock() throws {
        // A library whose constructor comes before ours, and makes the program's first allocation with gettext's lock
        // held: what starts the recorder there must not ask gettext for anything, as dlerror does. (Debian 11's
        // apt-cache, by way of libgpg-error.)
        let scratch = try Scratch()
        try scratch.write(
            "early.c",
            """
            #include <libintl.h>
            __attribute__((constructor)) static void bind(void) { bindtextdomain("early", "/nowhere"); }
            void early(void) {}
            """)
        try scratch.write(
            "locked.c",
            """
            #include <libintl.h>
            #include <stdio.h>
            #include <unistd.h>
            void early(void);
            int main(void) { alarm(120); early(); puts(textdomain("early")); return 0; }
            """)
        try scratch.prepare(
            "cc -g -shared -fPIC -Wl,-z,initfirst -o libearly.so early.c && cc -g -o locked locked.c -L. -learly "
                + "-Wl,-rpath,'$ORIGIN'"
        )
        let plain = try scratch.run(["./locked"])
        let recorded = try scratch.run(["./locked"], variables: scratch.recordingVariables())
        #expect(recorded == plain && plain.output == "early\n" && plain.exitStatus == 0, "\(recorded)")
        #expect(
            try Reduced(Recording(scratch: scratch, outcome: recorded).image(of: "locked")).holding(
                "textdomain", anywhere: true
            ).blocks == 1)
    }
}
