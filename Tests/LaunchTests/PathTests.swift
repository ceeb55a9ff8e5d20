// Names that are no UTF-8, of directories, programs, modules and images: recorded, dumped, read and named like any
// other, and shown escaped. Oracle: the same program under a plain name; python for JSON.

import Glibc
import HeapImage
import Proc
import SystemPackage
import TestSupport
import Testing
import Text

@testable import Launch

@Suite struct PathTests {
    /// In a directory \xe9t\xe9: a program, a library that it loads by that path, and a directory for images.
    private func prepared() throws -> Scratch {
        let scratch = try Scratch()
        try scratch.write(
            "plugin.c",
            "#include <stdlib.h>\n__attribute__((noinline)) void *plugin_keeps(int n) { void *p = malloc(n); __asm__ "
                + "volatile(\"\" :: \"r\"(p)); return p; }\n"
        )
        try scratch.write(
            "prog.c",
            """
            #include <dlfcn.h>
            #include <stdio.h>
            #include <stdlib.h>
            #include <unistd.h>
            static __attribute__((noinline)) void *keep(int n) {
                void *p = malloc(n);
                __asm__ volatile("" :: "r"(p));
                return p;
            }
            int main(int count, char **words) {
                for (int i = 0; i < 100; i++) keep(1000);
                void *plugin = dlopen(words[1], RTLD_NOW);
                if (!plugin) { fprintf(stderr, "%s\\n", dlerror()); return 1; }
                void *(*keeps)(int) = (void *(*)(int))dlsym(plugin, "plugin_keeps");
                for (int i = 0; i < 10; i++) keeps(3000);
                if (count > 2) { write(1, "ready\\n", 6); pause(); }
                return 0;
            }
            """)
        try scratch.prepare(
            #"""
            cd '\#(scratch.path)'; d=$(printf '\351t\351'); mkdir "$d"; ln -s . plain
            cc -g -O1 -shared -fPIC -o "$d/lib$d.so" plugin.c && cc -g -O1 -o "$d/pr$d" prog.c -ldl
            """#)
        return scratch
    }

    private let names =
        #"d=$(printf '\351t\351'); p="./$d/pr$d" l="./$d/lib$d.so" o="$d/out$d"; bin='"# + Built.products
        + #"'; export HEAPSUM_LIBRARY='"# + Built.interposer + "'; "

    @Test func namesAreFoundByTheirBytes() throws {
        let scratch = try prepared()
        let outcome = try scratch.shell(
            names + #"""
                "$bin/heaprun" -o "$o" "$p" "$l"; set -- "$o"/*.heap
                heapsum() { "$bin/heapsum" --no-lines --include keep "$@"; }
                heapsum --format folded "$o" | sed 's/.*main/main/'
                heapsum --format json "$1" | python3 -c 'import json, sys
                r = json.load(sys.stdin)
                modules = {f["module"].split("/")[-1] for row in r["rows"] for f in row["frames"]}
                print(r["inputs"][0]["program"].split("/")[-1], *sorted(m for m in modules if "libc" not in m))'
                "$bin/heapsum" --include keep --by file --format csv "$1" | grep -o '[a-z]*\.c'
                "$bin/gensyms" "$p" > "$d/syms$d"; heapsum --symbols "$p=$d/syms$d" --format folded "$1" | \#
                sed 's/.*main/main/'
                "$bin/heapsum" pack --with-symbols --no-lines "$1" -o "$d/packed$d" > packed; \#
                heapsum --format folded "$(cat packed)" | sed 's/.*main/main/'
                heapsum --format html -o "$d/page$d" "$1" && ls "$d"/page* | wc -l
                """#)
        let folded = "main;keep 100000\nmain;plugin_keeps 30000\n"
        #expect(
            outcome.output == folded + #"pr\xe9t\xe9 lib\xe9t\xe9.so pr\xe9t\xe9"# + "\nprog.c\nplugin.c\n" + folded
                + folded + "1\n", "\(outcome)")
        // What heaprun says names the image so that a shell finds it.
        let more = try #require(
            outcome.messages.split(separator: "\n").first { $0.contains("  more:  heapsum ") }.map {
                String($0[$0.range(after: "more:  ")])
            })
        #expect(
            more.contains(#"\xe9t\xe9"#) && outcome.messages.contains("100 blocks  keep ← main"), "\(outcome.messages)")
        #expect(
            try scratch.run([
                "/bin/bash", "-c",
                "PATH='\(Built.products)':$PATH; \(more) --no-lines --include keep --format folded | wc -l",
            ]).output == "2\n")
    }

    @Test func aRunningProgramIsDumped() throws {
        let scratch = try prepared()
        let outcome = try scratch.shell(
            names + #"""
                "$bin/heaprun" --quiet -o "$o" "$p" "$l" wait > ready & h=$!
                while [ ! -s ready ]; do sleep 0.02; done; read child rest < /proc/$h/task/$h/children
                image=$("$bin/heapdump" $child); "$bin/heapsum" --no-lines --include keep --format folded "$image" | \#
                sed 's/.*main/main/'; "$bin/heapsum" info "$image" | grep -c 'state.*running'
                kill -USR2 $child; while [ $(ls "$o" | wc -l) -lt 2 ]; do sleep 0.02; done; kill $child; wait $h; \#
                ls "$o" | wc -l
                """#)
        #expect(outcome.output == "main;keep 100000\nmain;plugin_keeps 30000\n1\n3\n", "\(outcome)")
    }

    @Test func messagesAndErrorsNameItEscaped() throws {
        let scratch = try prepared()
        let outcome = try scratch.shell(
            names + #"""
                "$bin/heapsum" "$d/nothing"; "$bin/heapsum" --frobnicate "$d"; "$bin/gensyms" "$d/$d"; \#
                "$bin/heaprun" "./$d/nothing"; "$bin/heaprun" -o "$p" true; "$bin/heapwatch" verdict "$d"
                "$bin/heapsum" --suppressions "$d/none" "$p"; true
                """#)
        let lines = outcome.messages.split(separator: "\n")
        #expect(
            lines.count { $0.contains(#"\xe9t\xe9"#) } >= 6
                && !outcome.messages.unicodeScalars.contains { $0.pathByte != nil || $0 == "\u{FFFD}" }, "\(outcome)")
    }

    @Test func mapsNameFilesByTheirBytes() {
        let found = parseMappings(
            Array("1000-2000 rw-s 00000000 08:01 77     /a/".utf8) + [0xE9, 0x74, 0xE9] + Array("/x.heap\n".utf8))
        #expect(found.first?.path.pathBytes == Array("/a/".utf8) + [0xE9, 0x74, 0xE9] + Array("/x.heap".utf8))
        #expect(FilePath(text: found.first?.path ?? "").withPlatformString { strlen($0) } == 13)
    }
}
