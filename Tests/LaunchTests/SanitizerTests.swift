// Programs that bring a sanitizer, of two compilers, its runtime shared or linked in: alone, and as children of a
// recorded program. Oracle: the same program run plainly.

import Glibc
import HeapImage
import SystemPackage
import TestSupport
import Testing

@testable import Launch

@Suite struct SanitizerTests {
    private static let source = """
        #include <pthread.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static void *volatile kept[10];
        static void *work(void *nothing) {
            char *blocks[200];
            for (int i = 0; i < 200; i++) blocks[i] = memset(malloc(100 + i), 1, 100 + i);
            for (int i = 0; i < 200; i++) free(blocks[i]);
            return nothing;
        }
        int main(int count, char **words) {
            pthread_t thread;
            int status;
            pthread_create(&thread, NULL, work, NULL);
            pthread_join(thread, NULL);
            if (fork() == 0) { work(NULL); _exit(4); }
            wait(&status);
            for (int i = 0; i < 10; i++) kept[i] = malloc(777);
            printf("%d\\n", WEXITSTATUS(status));
            fflush(stdout);
            if (count > 1 && strcmp(words[1], "past") == 0) ((char *)kept[0])[777] = 1;
            if (count > 1 && strcmp(words[1], "twice") == 0) { free(kept[1]); free(kept[1]); }
            if (count > 1 && strcmp(words[1], "lose") == 0) {
                void *volatile lost = malloc(4321);
                lost = NULL;
                (void)lost;
                memset(kept + 5, 0, sizeof kept / 2);
            }
            if (count > 1 && strcmp(words[1], "over") == 0) { volatile int big = 2147483647; big++; }
            return 5;
        }
        """

    struct Kind: CustomTestStringConvertible {
        var compiler: String, sanitizer: String, isShared: Bool
        /// What makes its report, beside nothing.
        var faults: [String]
        var testDescription: String { "\(compiler) \(sanitizer) \(isShared ? "shared" : "static")" }
        /// Its malloc is behind ours, or it has none.
        var isRecorded: Bool { sanitizer == "undefined" || isShared && !(compiler == "clang" && sanitizer == "leak") }
    }

    static let kinds: [Kind] = {
        var kinds: [Kind] = []
        let faults = ["address": ["past", "twice", "lose"], "leak": ["lose"], "thread": [], "undefined": ["over"]]
        for compiler in ["gcc", "clang"] {
            for (sanitizer, faults) in faults.sorted(by: { $0.key < $1.key }) {
                for isShared in [true, false] {
                    // Of Debian 12's, clang's shared TSan ends every program by SIGSEGV, and gcc's static LSan one with
                    // a thread by a failed check of its own, now and then; clang has no shared LSan.
                    let isBroken =
                        compiler == "clang"
                        ? isShared && (sanitizer == "thread" || sanitizer == "leak") : !isShared && sanitizer == "leak"
                    if !isBroken {
                        kinds.append(Kind(compiler: compiler, sanitizer: sanitizer, isShared: isShared, faults: faults))
                    }
                }
            }
        }
        return kinds
    }()

    /// What of a report is the same from run to run, and of a recorded run without the one frame that is ours.
    private func report(_ text: String) -> [String] {
        text.split(separator: "\n").filter { line in
            !line.hasPrefix("heaprun: ") && !line.contains("Interposer/hooks/") && !line.contains("libheapsum.so")
        }.map { line in
            var words = line.split(whereSeparator: {
                $0 == " " || $0 == "=" || $0 == "," || $0 == "(" || $0 == ")" || $0 == "+" || $0 == "["
            }).map(String.init)
            // Frames have numbers; addresses, PIDs and shadow bytes are each run's own.
            words.removeAll {
                $0.hasPrefix("#") || $0.hasPrefix("0x") || $0.hasPrefix("T") || $0.allSatisfy { $0.isHexDigit }
            }
            return words.joined(separator: " ")
        }.filter { line in ["ERROR", "SUMMARY", "in ", "runtime error"].contains { line.contains($0) } }
    }

    @Test(arguments: kinds) func itRunsAsItDoesWithoutUs(kind: Kind) throws {
        let scratch = try Scratch()
        try scratch.write("prog.c", Self.source)
        let names = ["address": "asan", "leak": "lsan", "thread": "tsan", "undefined": "ubsan"]
        let runtime =
            switch (kind.compiler, kind.isShared) {
            case ("gcc", false): "-static-lib\(names[kind.sanitizer] ?? "")"
            case ("clang", true): "-shared-libsan -Wl,-rpath,$(/usr/bin/clang -print-runtime-dir)"
            default: ""
            }
        // By path: Swift's toolchain has a clang of its own, without the shared runtimes.
        try scratch.prepare(
            "/usr/bin/\(kind.compiler) -g -O1 -fno-builtin -w -fsanitize=\(kind.sanitizer) \(runtime) "
                + "-o prog prog.c -pthread")
        for fault in ["fine"] + kind.faults {
            let plain = try scratch.run(["./prog", fault], variables: ["ASAN_OPTIONS": "color=never"])
            let alone = try scratch.record(
                ["./prog", fault], options: ["-o", "images"], library: Built.interposer,
                variables: ["ASAN_OPTIONS": "color=never"])
            // The child is given options of its own, in which heaprun's is missing.
            let child = try scratch.record(
                ["/bin/sh", "-c", "ASAN_OPTIONS=color=never ./prog \(fault); exit $?"],
                options: ["--quiet", "-o", "children"], library: Built.interposer,
                variables: ["ASAN_OPTIONS": "color=never"])
            for outcome in [alone, child] {
                #expect(
                    plain.exitStatus == outcome.exitStatus && plain.output == outcome.output
                        && report(plain.messages) == report(outcome.messages),
                    "\(kind) \(fault): \(plain) \(outcome)")
            }
            if fault == "fine" {
                if kind.isRecorded {
                    #expect(alone.messages.contains("7,770 bytes"), "\(alone)")
                } else {
                    #expect(alone.messages.contains("not recorded, as it has a malloc of its own"), "\(alone)")
                }
            }
        }
    }

    @Test func theUsersOptionsStay() throws {
        #expect(
            addressSanitizerOptions(existing: nil) == "verify_asan_link_order=0"
                && addressSanitizerOptions(existing: "") == "verify_asan_link_order=0")
        #expect(
            addressSanitizerOptions(existing: "detect_leaks=0:color=never")
                == "detect_leaks=0:color=never:verify_asan_link_order=0")
        #expect(addressSanitizerOptions(existing: "verify_asan_link_order=1") == "verify_asan_link_order=1")
    }
}
