// Suppressions, against the programs whose syntax they have: Valgrind and LeakSanitizer suppress, of the same
// program, what is suppressed here. Every leak has a size of its own, by which it is known again.

import HeapImage
import Reduce
import Symbols
import TestSupport
import Testing

@testable import Report

@Suite struct SuppressionTests {
    private func rules(_ text: String) throws -> Suppressions {
        var rules = Suppressions()
        try rules.read(Array(text.utf8), name: "known.supp")
        return rules
    }

    /// The sizes of a recorded program's live rows that stay.
    private func left(_ reduction: Reduction, _ text: String) throws -> [UInt64] {
        RowSelection(reduction, names: FrameNames(reduction), suppressions: try rules(text)).rows.map(\.bytes).sorted()
    }

    private func record(_ scratch: Scratch, _ program: String) throws -> Reduction {
        try scratch.prepare(
            "cd '\(scratch.path)' && mkdir heap && LD_PRELOAD='\(Built.interposer)' HEAPSUM_OUTPUT=heap ./\(program)")
        let reduction = Reduction()
        for image in InputSelection(paths: ["\(scratch.path)/heap"]).chosen { try reduction.add(image) }
        #expect(reduction.inputs.count == 1)
        return reduction
    }

    // MARK: LeakSanitizer

    @Test func patternsAreLeakSanitizers() throws {
        let scratch = try Scratch()
        try scratch.write(
            "leaks.c",
            """
            #include <stdlib.h>
            #define KEEP __attribute__((noinline))
            KEEP char *alpha_make(int n) { char *p = malloc(n); p[0] = 1; return p; }
            KEEP char *beta_make(int n) { char *p = malloc(n); p[0] = 2; return p; }
            KEEP char *make(int n) { char *p = malloc(n); p[0] = 3; return p; }
            KEEP char *gamma_x(int n) { char *p = alpha_make(n); p[1] = 4; return p; }
            KEEP char *maker_of_makers(int n) { char *p = make(n); p[1] = 5; return p; }
            char *volatile slot;
            int main(void) { slot = alpha_make(10); slot = beta_make(20); slot = make(30); slot = gamma_x(40); \
            slot = maker_of_makers(50); slot = 0; return 0; }

            """)
        try scratch.prepare(
            "cd '\(scratch.path)' && cc -g -O1 -fno-omit-frame-pointer -o leaks leaks.c && cc -g -O1 "
                + "-fno-omit-frame-pointer -fsanitize=leak -o sanitized leaks.c"
        )
        let reduction = try record(scratch, "leaks")
        for pattern in [
            "alpha", "^alpha_make$", "alpha_make$", "^make", "make$", "^make$", "*make", "^*_make$", "a*a_m*e",
            "^gamma", "gamma_x$", "ma*x", "g*x$",
            "leaks.c", "nothing", "mak", "^maker*s$", "^maker*r$", "__libc_start", "x$", "^al*ma*ke$", "beta_make*",
        ] {
            try scratch.write("known.supp", "# \(pattern)\n\nleak:\(pattern)\n")
            let outcome = try scratch.run(["./sanitized"], variables: ["LSAN_OPTIONS": "suppressions=known.supp"])
            let expected = outcome.messages.split(separator: "\n").compactMap { line -> UInt64? in
                guard line.hasPrefix("Direct leak of ") else { return nil }
                return line.split(separator: " ").dropFirst(3).first.flatMap { UInt64($0) }
            }.sorted()
            #expect(
                outcome.messages.contains("LeakSanitizer") || expected.isEmpty && outcome.exitStatus == 0,
                "\(outcome.messages)")
            #expect(try left(reduction, "leak:\(pattern)") == expected, "\(pattern)")
        }
    }

    // MARK: Valgrind

    private static let program = """
        #include <cstdlib>
        #include <cstring>
        #include <string>
        #define KEEP __attribute__((noinline))
        namespace store {
        struct Item { char body[72]; KEEP Item() { body[0] = 1; } };
        KEEP static Item *item() { Item *p = new Item; asm volatile("" ::: "memory"); return p; }
        template <typename T> KEEP T *many(int n) { T *p = new T[n]; asm volatile("" ::: "memory"); return p; }
        }
        static inline __attribute__((always_inline)) void *quick(int n) { void *p = malloc(n); \
        asm volatile("" ::: "memory"); return p; }
        KEEP void *cleared(int n) { void *p = calloc(1, n); asm volatile("" ::: "memory"); return p; }
        KEEP void *grown(int n) { void *p = realloc(0, n); asm volatile("" ::: "memory"); return p; }
        KEEP void *again(int n) { void *p = realloc(malloc(5), n); asm volatile("" ::: "memory"); return p; }
        KEEP void *aligned(int n) { void *p = 0; if (posix_memalign(&p, 64, n)) return 0; return p; }
        KEEP char *copied(const char *text) { char *p = strdup(text); asm volatile("" ::: "memory"); return p; }
        KEEP void *deep(int n, int more) { void *p = more ? deep(n, more - 1) : malloc(n); \
        asm volatile("" ::: "memory"); return p; }
        void *kept[16];
        int main() {
            kept[0] = store::item(); kept[1] = store::many<double>(13); kept[2] = quick(201); kept[3] = cleared(202);
            kept[4] = grown(203); kept[5] = aligned(204); kept[6] = copied("nine and."); kept[7] = deep(205, 20);
            kept[8] = deep(206, 3); kept[9] = again(207); kept[10] = new std::string(300, 'x');
            return 0;
        }

        """

    /// The program, recorded; and the suppressions that Valgrind makes of it.
    private func suppressed(_ scratch: Scratch) throws -> (reduction: Reduction, blocks: [String]) {
        try scratch.write("leaks.cc", Self.program)
        try scratch.prepare("cd '\(scratch.path)' && c++ -std=c++17 -g -O1 -o leaks leaks.cc")
        let made = try valgrind(scratch, ["--gen-suppressions=all"])
        var blocks: [String] = [], block = ""
        for line in made.split(separator: "\n") where !line.hasPrefix("==") {
            block += line + "\n"
            if line == "}" {
                blocks.append(block)
                block = ""
            }
        }
        return (try record(scratch, "leaks"), blocks)
    }

    private func valgrind(_ scratch: Scratch, _ options: [String]) throws -> String {
        try scratch.run(
            [
                "valgrind", "--leak-check=full", "--show-leak-kinds=all", "--run-libc-freeres=no",
                "--run-cxx-freeres=no", "--num-callers=60",
            ] + options + ["./leaks"]
        ).messages
    }

    /// The sizes of the records that Valgrind tells of.
    private func told(_ messages: String) -> [UInt64] {
        messages.split(separator: "\n").compactMap { line -> UInt64? in
            guard line.contains(" in loss record "), !line.contains("indirect)") else { return nil }
            return line.split(separator: " ").dropFirst().first.flatMap { UInt64($0.replacing(",", with: "")) }
        }.sorted()
    }

    @Test func whatValgrindWouldSuppressWithItsOwnSuppressionsIsSuppressed() throws {
        let scratch = try Scratch()
        let (reduction, blocks) = try suppressed(scratch)
        #expect(blocks.count >= 12)
        #expect(try left(reduction, blocks.joined()) == [])
        // All of them are needed but for those of blocks that hold nothing here.
        let all = RowSelection(reduction, names: FrameNames(reduction), suppressions: try rules(blocks.joined()))
        #expect(all.suppressed.bytes == reduction.totals.liveBytes)
        // Half of them: what stays is what Valgrind tells of with the same file.
        let half = blocks.indices.filter { $0 % 2 == 0 }.map { blocks[$0] }.joined()
        try scratch.write("half.supp", half)
        let expected = told(try valgrind(scratch, ["--suppressions=half.supp"]))
        #expect(!expected.isEmpty)
        #expect(try left(reduction, half) == expected)
    }

    @Test func wildcardsAreValgrinds() throws {
        let scratch = try Scratch()
        let (reduction, _) = try suppressed(scratch)
        // In each set one that is of nothing. Which allocation function was called is not recorded here, so the first
        // lines name any.
        for set in [
            [
                ["fun:malloc", "fun:quick", "fun:main"], ["fun:*", "fun:_ZN5storeL4itemEv"], ["...", "fun:_Z?graded*"],
                ["...", "fun:_Z4deepii", "fun:main", "fun:main"],
            ],
            [["fun:*", "obj:*/leaks", "fun:ma?n"], ["fun:malloc", "fun:strdup"], ["fun:*", "fun:_Z?????ii"]],
            [
                [
                    "...", "fun:_Z4deepii", "fun:_Z4deepii", "fun:_Z4deepii", "fun:_Z4deepii", "fun:_Z4deepii",
                    "fun:_Z4deepii", "...", "fun:main",
                ],
                ["fun:*", "fun:_Z*i", "fun:main"], ["...", "obj:*/libstdc++*", "...", "fun:main"],
                ["fun:*", "fun:_Z5grow?", "fun:main"],
            ],
        ] {
            let text = set.map {
                "{\n  some\n  Memcheck:Leak\n  match-leak-kinds: all\n  \($0.joined(separator: "\n  "))\n}\n"
            }.joined()
            try scratch.write("some.supp", text)
            let messages = try valgrind(scratch, ["--suppressions=some.supp"])
            #expect(messages.contains("LEAK SUMMARY"), "\(messages)")
            // posix_memalign is two frames of Valgrind's, of which here one will do.
            #expect(try left(reduction, text).filter { $0 != 204 } == told(messages).filter { $0 != 204 }, "\(set)")
        }
    }

    // MARK: Files

    @Test func bothSyntaxesStandInOneFile() throws {
        let rules = try rules(
            """
            # what we know of
            leak:^first$

            { # no name that anybody reads
            """.replacing(" # no name that anybody reads", with: "") + """

                  second
                  Memcheck,Addrcheck:Leak
                  match-leak-kinds: definite,possible
                  fun:malloc
                  # a comment in between
                  src:queue.c:12
                  ...
                  obj:*/libz.so*
                }
                {
                  of a value that was never set
                  Memcheck:Param
                  write(buf)
                  fun:write
                }
                race:somebody's
                {
                  never
                  Memcheck:Leak
                  match-leak-kinds: none
                  fun:third
                }
                """)
        #expect(rules.rules.map(\.name) == ["leak:^first$", "second"] && rules.others == 3)
        #expect(rules.rules.map(\.place) == ["known.supp:2", "known.supp:4"])
    }

    @Test func mistakesAreToldWithTheirLines() throws {
        for (text, line, what) in [
            ("leak:a\nlaek:b\n", 2, "'laek:b' is neither"), ("leak:\n", 1, "matches everything"),
            ("leak:*\n", 1, "matches everything"),
            ("\n{\nname\nMemcheck:Leak\nfun:a\n", 2, "has no end"), ("{\n}\n", 2, "without a name"),
            ("{\nname\nLeak\n}\n", 3, "not a kind of suppression"),
            ("{\nname\nMemcheck:Leak\nfunction:a\n}\n", 4, "neither fun:"),
            ("{\nname\nMemcheck:Leak\n...\n}\n", 5, "without a frame"),
            ("{\nname\nMemcheck:Leak\nmatch-leak-kinds: some\nfun:a\n}\n", 4, "'some' is not a kind of leak"),
            ("{\nname\nMemcheck:Leak\nsrc:a.c:b\n}\n", 4, "a line number"),
            ("{\nname\nMemcheck:Leak\nmost-blocks:1\nfun:a\n}\n", 4, "neither fun:"),
            ("leak:" + String(repeating: "x", count: 9000), 1, "a line of 9005 bytes"),
        ] {
            do {
                _ = try rules(text)
                Issue.record("\(text.prefix(60)) was read")
            } catch let error as SuppressionError {
                #expect(error.file == "known.supp" && error.line == line && error.what.contains(what), "\(error)")
            }
        }
    }

    @Test func builtInRulesAreReadAndKeepToTheirMeasure() throws {
        #expect(Suppressions.builtin().rules.count > 60)
        #expect(Suppressions.builtin().rules.allSatisfy { $0.place == nil && $0.mostBlocks != nil })
        let reduction = Reduction()
        let input = reduction.begin(Input(path: "log", kind: "aix"))
        func frames(_ names: [String]) -> [Frame] { names.map { reduction.frame(LogFrame(name: Array($0.utf8))) } }
        reduction.add(frames: frames(["_IO_file_doallocate", "puts", "main"]), bytes: 4096, blocks: 1, input: input)
        reduction.add(
            frames: frames(["_IO_file_doallocate", "fputs", "open_another"]), bytes: 409_600, blocks: 100, input: input)
        let selection = RowSelection(reduction, names: FrameNames(reduction), suppressions: .builtin())
        #expect(selection.rows.map(\.bytes) == [409_600] && selection.suppressed.bytes == 4096)
        #expect(selection.suppressed.unused.isEmpty)
    }

    /// Patterns that would be tried in all ways by a search that goes back.
    @Test func patternsOfManyStarsComeToAnEnd() {
        let stars = String(repeating: "a*", count: 4000) + "b", name = String(repeating: "a", count: 8000)
        #expect(!WildcardPattern(stars).matches(name) && !SearchPattern(stars).matches(name))
        #expect(
            WildcardPattern(stars).matches(name.prefix(7000) + "b") && WildcardPattern("*?*").matches("x")
                && !WildcardPattern("?*?").matches("x"))
        #expect(
            !SearchPattern("^abab$").matches("ab") && SearchPattern("ab$").matches("abab")
                && !SearchPattern("a").matches(""))
    }
}
