// heapsum check: of a program recorded here, whose every leak is known. What other programs are to read of it is read
// by Python's own readers of XML and JSON.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct CheckTests {
    private static let heapsum = Built.products + "/heapsum"

    /// A program that leaks so many blocks of each kind, in `heap` or another directory.
    private func recorded(_ scratch: Scratch, large: Int, small: Int, into directory: String = "heap") throws {
        try scratch.prepare("mkdir -p '\(scratch.path)/src'")
        try scratch.write(
            "src/leak, er: 100%.c",
            """
            #include <stdio.h>
            #include <stdlib.h>
            #define KEEP __attribute__((noinline))
            KEEP char *large(void) { char *p = malloc(1000);
                p[0] = 1; return p; }
            KEEP char *small(void) { char *p = malloc(10); p[0] = 1; return p; }
            char *volatile slot;
            int main(int count, char **words) {
                for (int i = atoi(words[1]); i > 0; i--) slot = large();
                for (int i = atoi(words[2]); i > 0; i--) slot = small();
                printf("done\\n");
                return count == 9;
            }

            """)
        try scratch.prepare(
            """
            cd '\(scratch.path)' && mkdir -p \(directory) && cc -g -O1 -o leaker "$PWD/src/leak, er: 100%.c" \
            && LD_PRELOAD='\(Built.interposer)' HEAPSUM_OUTPUT=\(directory) ./leaker \(large) \(small)
            """)
    }

    private func check(_ scratch: Scratch, _ words: [String], python: String? = nil) throws -> Outcome {
        let outcome = try scratch.run([Self.heapsum, "check"] + words)
        guard let python else { return outcome }
        try scratch.write("report", outcome.output)
        try scratch.write("read.py", python)
        let read = try scratch.run(["python3", "read.py"])
        #expect(read.exitStatus == 0, "\(read.messages)\n\(outcome.output)")
        return Outcome(waitStatus: outcome.waitStatus, output: read.output, messages: outcome.messages)
    }

    @Test func statusesAndLimits() throws {
        let scratch = try Scratch()
        try recorded(scratch, large: 3, small: 5)
        // Without a limit nothing may be live; stdout's buffer is the C library's own.
        let plain = try check(scratch, ["heap"])
        let process = plain.output.firstMatch(of: /\(pid (\d+)\)/)?.1 ?? "none"
        #expect(
            plain.exitStatus == 1
                && plain.output.hasPrefix(
                    """
                    heapsum check: FAILED
                      FAILED  live blocks: 8 (at most 0 allowed, 8 too many)
                      checked: \(scratch.path)/leaker (pid \(process))

                    What holds the most:

                      3,000 bytes in 3 blocks
                        large
                    """),
            "\(plain.output)")
        #expect(plain.output.contains("Suppressed: 1 stack with ") && plain.output.contains("leak:^large$"))
        #expect(
            try check(scratch, ["--no-builtin-suppressions", "heap"]).output.contains(
                "live blocks: 9 (at most 0 allowed, 9 too many)"))
        #expect(
            try check(scratch, ["--show-suppressed", "heap"]).output.contains(
                "bytes in 1 block: libc: buffers of standard streams (built in)\n"))
        for (words, status) in [
            (["--max-bytes", "3050"], 0), (["--max-bytes", "3049"], 1), (["--max-blocks", "8"], 0),
            (["--max-blocks", "7"], 1),
            (["--max-stacks", "2"], 0), (["--max-stacks", "1"], 1), (["--max-bytes", "1M", "--max-blocks", "7"], 1),
            (["--max-bytes", "1K", "--exclude", "large"], 0), (["--min-bytes", "100", "--max-stacks", "1"], 0),
            (["--older-than", "1d"], 0),
            (["--by", "function", "--max-stacks", "2"], 0), (["--by", "module", "--max-stacks", "0"], 1),
            (["--max-growth-bytes", "1"], 64), (["--sort", "temporary"], 64), (["--max-bytes", "-1"], 64),
            (["--format", "xml"], 64),
            (["--baseline", "/nowhere"], 2), (["--suppressions", "/nowhere"], 2),
        ] as [([String], Int32)] {
            #expect(try check(scratch, words + ["heap"]).exitStatus == status, "\(words)")
        }
        #expect(try check(scratch, ["/nowhere"]).exitStatus == 2)
        // What could be read is within the limit, and part of the input could not.
        #expect(try check(scratch, ["--max-bytes", "1M", "heap", "/nowhere"]).exitStatus == 2)
        #expect(try check(scratch, ["heap", "/nowhere"]).exitStatus == 1)
        try scratch.write(
            "known.supp", "leak:^large$\n{\nsmall ones\nMemcheck:Leak\nfun:malloc\nfun:small\nfun:main\n}\nleak:other\n"
        )
        let known = try check(scratch, ["--suppressions", "known.supp", "heap"])
        #expect(
            known.exitStatus == 0 && known.output.contains("Never matched: 1 suppression: leak:other (known.supp:9).")
                && known.output.hasPrefix("heapsum check: passed\n"))
        // The proposal of a failed check is one that helps.
        try scratch.write("known.supp", "leak:^large$\nleak:^small$\n")
        #expect(try check(scratch, ["--suppressions", "known.supp", "heap"]).exitStatus == 0)
    }

    @Test func growthAgainstAnImageAndAgainstItsReportIsTheSame() throws {
        let scratch = try Scratch()
        try recorded(scratch, large: 3, small: 5, into: "old")
        try recorded(scratch, large: 2, small: 305, into: "new")
        #expect(try scratch.run([Self.heapsum, "--format", "json", "-o", "old.json", "old"]).exitStatus == 0)
        for baseline in ["old", "old.json"] {
            // 3,000 fewer bytes in small blocks than 1,000 more in large ones.
            let grown = try check(scratch, ["--baseline", baseline, "new"])
            #expect(grown.exitStatus == 1, "\(grown)")
            #expect(
                grown.output.contains("growth in bytes: 2,000 (at most 0 allowed, 2,000 too many)\n")
                    && grown.output.contains("\n  before: 3,050 bytes in 8 blocks, \(baseline)\n"), "\(grown.output)")
            #expect(
                grown.output.contains("What grew the most:\n\n  3,050 bytes in 305 blocks, grown by 3,000\n    small"),
                "\(grown.output)")
            #expect(!grown.output.contains("grown by -"))
            for (most, status) in [("2000", 0), ("1999", 1)] as [(String, Int32)] {
                #expect(
                    try check(scratch, ["--baseline", baseline, "--max-growth-bytes", most, "new"]).exitStatus == status
                )
            }
            #expect(try check(scratch, ["--baseline", baseline, "old"]).exitStatus == 0)
            let json = try check(
                scratch, ["--baseline", baseline, "--format", "json", "new"],
                python: """
                    import json
                    report = json.load(open('report'))
                    print(report['schema'], report['check']['passed'], report['check']['limits'], \
                        sorted(row['growthBytes'] for row in report['rows']))
                    """)
            #expect(
                json.output
                    == "heapsum/1 False [{'limit': 'max-growth-bytes', 'most': 0, 'value': 2000, 'passed': False}] "
                    + "[-1000, 3000]\n"
            )
        }
        #expect(
            try scratch.run([Self.heapsum, "--format", "json", "--by", "function", "-o", "by.json", "old"]).exitStatus
                == 0)
        #expect(try check(scratch, ["--baseline", "by.json", "new"]).exitStatus == 2)
        #expect(
            try check(scratch, ["--baseline", "old.json", "--by", "function", "new"]).output.contains(
                "3,050 bytes in 305 blocks, grown by 3,000  small\n"))
        for text in ["{", "{\"schema\":\"other/1\"}", "{\"schema\":\"heapsum/1\",\"rows\":[{}]}", "{} x"] {
            try scratch.write("bad.json", text)
            let bad = try check(scratch, ["--baseline", "bad.json", "new"])
            #expect(bad.exitStatus == 2 && bad.messages.contains("bad.json: "), "\(bad)")
        }
    }

    @Test func junitIsReadByAnXMLReader() throws {
        let scratch = try Scratch()
        try recorded(scratch, large: 3, small: 5)
        let read = try check(
            scratch, ["--format", "junit", "--max-bytes", "1", "--max-blocks", "100", "heap"],
            python: """
                import xml.etree.ElementTree as tree
                root = tree.parse('report').getroot()
                suite, = root.findall('testsuite')
                cases = suite.findall('testcase')
                assert root.tag == 'testsuites' and root.get('tests') == suite.get('tests') == '2' == str(len(cases))
                assert suite.get('failures') == '1' and suite.get('errors') == '0' and 'leaker' in suite.get('name')
                print([(case.get('name'), case.find('failure') is None) for case in cases])
                failure = cases[0].find('failure')
                print(failure.get('message'), failure.get('type'), '3,000 bytes in 3 blocks' in failure.text \
                    and 'leak, er: 100%.c:4' in failure.text)
                """)
        #expect(read.exitStatus == 1)
        #expect(
            read.output == """
                [('live bytes: at most 1', False), ('live blocks: at most 100', True)]
                live bytes: 3,050 (at most 1 allowed, 3,049 too many) max-bytes True

                """)
        #expect(xml("a<b> & \"c\"\u{1}\u{FFFE}\t\n") == "a&lt;b&gt; &amp; &quot;c&quot;\u{FFFD}\u{FFFD}&#9;\n")
    }

    @Test func sarifPointsIntoTheTree() throws {
        let scratch = try Scratch()
        try recorded(scratch, large: 3, small: 5)
        let python = """
            import json, os, urllib.parse
            log = json.load(open('report'))
            assert log['version'] == '2.1.0' and 'sarif-2.1.0' in log['$schema']
            run, = log['runs']
            rules = run['tool']['driver']['rules']
            base = urllib.parse.urlparse(run['originalUriBaseIds']['SRCROOT']['uri'])
            assert base.scheme == 'file' and base.path.endswith('/')
            for result in run['results']:
                assert rules[result['ruleIndex']]['id'] == result['ruleId'] and result['level'] == 'error'
                assert len(result['partialFingerprints']['heapsumStack/v1']) == 16
                place = result['locations'][0]['physicalLocation']
                assert place['artifactLocation']['uriBaseId'] == 'SRCROOT'
                path = urllib.parse.unquote(base.path) + urllib.parse.unquote(place['artifactLocation']['uri'])
                line = open(path).read().split('\\n')[place['region']['startLine'] - 1]
                assert [frame['location']['message']['text'] for frame in result['stacks'][0]['frames']][1] == 'main'
                print(result['message']['text'], '|', place['artifactLocation']['uri'], '|', 'malloc' in line)
            print(run['invocations'][0]['exitCode'], run['properties']['passed'])
            """
        let failed = try check(scratch, ["--format", "sarif", "heap"], python: python)
        #expect(failed.exitStatus == 1)
        #expect(
            failed.output == """
                3,000 bytes in 3 blocks asked for in large | src/leak%2C%20er%3A%20100%25.c | True
                50 bytes in 5 blocks asked for in small | src/leak%2C%20er%3A%20100%25.c | True
                1 False

                """)
        #expect(
            try check(scratch, ["--format", "sarif", "--max-bytes", "1M", "heap"], python: python).output == "0 True\n")
        // Two runs have the same marks, by which an alert is known again.
        let marks =
            "import json; print([result['partialFingerprints'] for result in "
            + "json.load(open('report'))['runs'][0]['results']])"
        let first = try check(scratch, ["--format", "sarif", "heap"], python: marks).output
        try recorded(scratch, large: 4, small: 6, into: "again")
        #expect(try check(scratch, ["--format", "sarif", "again"], python: marks).output == first)
    }

    /// By a library that has SARIF's types from its schema, and takes no member that these don't have. Bags of
    /// properties are free, and left out before.
    @Test func sarifIsReadByALibraryForIt() throws {
        let scratch = try Scratch()
        try recorded(scratch, large: 3, small: 5)
        try scratch.write(
            "read.go",
            """
            package main

            import (
            \t"encoding/json"
            \t"fmt"
            \t"os"

            \t"github.com/haya14busa/go-sarif/sarif"
            )

            func main() {
            \tdecoder := json.NewDecoder(os.Stdin)
            \tdecoder.DisallowUnknownFields()
            \tvar log sarif.Sarif
            \tif err := decoder.Decode(&log); err != nil {
            \t\tfmt.Println(err)
            \t\tos.Exit(1)
            \t}
            \tfor _, result := range log.Runs[0].Results {
            \t\tfmt.Println(*result.Message.Text, *result.Locations[0].PhysicalLocation.Region.StartLine, \
            len(result.Stacks[0].Frames) > 1)
            \t}
            }

            """)
        try scratch.prepare(
            "cd '\(scratch.path)' && GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= "
                + "GOCACHE='\(Built.root)/.build/go-cache' go build -o reader read.go"
        )
        let stripped = try check(
            scratch, ["--format", "sarif", "heap"],
            python: """
                import json
                def strip(value):
                    if isinstance(value, dict): return {name: strip(member) for name, member in value.items() \
                        if name != 'properties'}
                    return [strip(member) for member in value] if isinstance(value, list) else value
                print(json.dumps(strip(json.load(open('report')))))
                """)
        try scratch.write("stripped", stripped.output)
        let read = try scratch.shell("./reader < stripped")
        #expect(
            read.output
                == "3,000 bytes in 3 blocks asked for in large 4 true\n50 bytes in 5 blocks asked for in small 6 "
                + "true\n",
            "\(read.output)")
    }

    @Test func commandsAreReadBackAsTheRunnerDoes() throws {
        let scratch = try Scratch()
        try recorded(scratch, large: 3, small: 5)
        let read = try check(
            scratch, ["--format", "github", "heap"],
            python: """
                import re
                for line in open('report', newline='\\n').read().split('\\n')[:-1]:
                    name, properties, message = re.fullmatch(r'::(\\w+)(?: ([^:]*))?::(.*)', line).groups()
                    def unescaped(text, more=()):
                        for code, sign in [('%0D', '\\r'), ('%0A', '\\n'), *more, \
                            ('%25', '%')]: text = text.replace(code, sign)
                        return text
                    pairs = dict(part.split('=', 1) for part in (properties or '').split(',') if part)
                    pairs = {key: unescaped(value, [('%3A', ':'), ('%2C', ',')]) for key, value in pairs.items()}
                    print(name, pairs, unescaped(message).split('\\n')[0])
                """)
        #expect(read.exitStatus == 1)
        #expect(
            read.output.hasPrefix(
                """
                error {'title': 'heapsum check: failed'} live blocks: 8 (at most 0 allowed, 8 too many)
                error {'file': 'src/leak, er: 100%.c', 'line': '4', 'title': '3,000 bytes in 3 blocks'} large  leak, \
                er: 100%.c:4
                error {'file': 'src/leak, er: 100%.c', 'line': '6', 'title': '50 bytes in 5 blocks'} small  leak, \
                er: 100%.c:6
                notice {} Suppressed: 1 stack with
                """), "\(read.output)")
        // From another directory the source is not in the tree, and no file is named.
        let elsewhere = try check(scratch, ["--format", "github", "--source-root", "/usr", "heap"])
        #expect(
            !elsewhere.output.contains("file=")
                && elsewhere.output.contains("::error title=3%2C000 bytes in 3 blocks::large"))
    }

    @Test func pathsOfTheTree() throws {
        let scratch = try Scratch()
        try scratch.prepare(
            "cd '\(scratch.path)' && mkdir -p real/src real/build && touch real/src/a.c && ln -s real link")
        let path = try #require(
            realpath(scratch.path, nil).map { pointer in
                defer { free(pointer) }
                return String(cString: pointer)
            })
        let tree = SourceTree("\(scratch.path)/link")
        #expect(tree.root == path + "/real")
        for (file, relative) in [
            ("\(path)/real/src/a.c", "src/a.c"), ("\(scratch.path)/link/build/../src/./a.c", "src/a.c"),
            ("\(path)/real//src/a.c", "src/a.c"),
            ("src/a.c", "src/a.c"), ("./src/a.c", "src/a.c"), ("build/../src/a.c", "src/a.c"), ("src/b.c", nil),
            ("../real/src/a.c", nil),
            ("\(path)/other/a.c", nil), ("\(path)/real2/a.c", nil), ("\(path)/real/../other.c", nil),
            ("/usr/include/stdio.h", nil),
        ] as [(String, String?)] { #expect(tree.relative(file) == relative, "\(file)") }
    }

    /// Programs that leak nothing: what is live at their end is the runtimes'. Valgrind, which has the C library free
    /// its own, finds nothing live in them either.
    @Test func theRuntimesOwnBlocksFailNoCheck() throws {
        let scratch = try Scratch()
        try scratch.write(
            "quiet.cc",
            """
            #include <clocale>
            #include <cstdio>
            #include <ctime>
            #include <dlfcn.h>
            #include <iostream>
            #include <pwd.h>
            #include <stdexcept>
            #include <thread>
            int *volatile slot;
            int main(int count, char **) {
                std::setlocale(LC_ALL, "C.UTF-8");
                std::printf("%s\\n", getpwnam("root") ? "root" : "nobody");
                std::time_t now = std::time(nullptr);
                std::cout << std::ctime(&now) << std::endl;
                for (int i = 0; i < 3; i++) std::thread([] { try { throw std::runtime_error("x"); } \
                    catch (std::exception &) {} }).join();
                if (void *library = dlopen("libz.so.1", RTLD_NOW)) dlclose(library);
                if (count > 1) slot = new int(5);
                return 0;
            }

            """)
        try scratch.prepare("cd '\(scratch.path)' && c++ -g -O1 -o quiet quiet.cc -pthread && mkdir heap other")
        #expect(try scratch.run(["valgrind", "./quiet"]).messages.contains("in use at exit: 0 bytes in 0 blocks"))
        let variables = ["LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": "heap"]
        #expect(try scratch.run(["./quiet"], variables: variables).exitStatus == 0)
        let quiet = try check(scratch, ["heap"])
        #expect(
            quiet.exitStatus == 0 && quiet.output.contains("ok  live blocks: 0 (at most 0 allowed)"), "\(quiet.output)")
        #expect(
            try scratch.run(["./quiet", "leak"], variables: variables.merging(["HEAPSUM_OUTPUT": "other"]) { $1 })
                .exitStatus == 0)
        let leaking = try check(scratch, ["other"])
        #expect(
            leaking.exitStatus == 1 && leaking.output.contains("live blocks: 1 (at most 0 allowed, 1 too many)"),
            "\(leaking.output)")
    }
}
