// Where reports go: what stands at the path before is there until the new one is whole, and never what the report is
// made of. Oracles: the files themselves, byte for byte, by shell tools; and the kernel, which says when a disk is
// full.

import Glibc
import TestSupport
import Testing
import Text

@Suite struct OutputFileTests {
    private let scratch: Scratch
    private static let bin = Built.products

    /// An image, and a recording of heapwatch's.
    init() throws {
        scratch = try Scratch()
        try scratch.prepare(
            """
            mkdir images && LD_PRELOAD='\(Built.interposer)' HEAPSUM_OUTPUT=images \(Built.program("endings")) return
            mv images/*.heap sparse && '\(Self.bin)/heapsum' pack sparse -o images && rm sparse
            cd images && mv *.heap a.heap && cp a.heap ../before
            '\(Self.bin)/heapwatch' -o ../watch --quiet --interval 100ms --duration 300ms --pid $$ && \
            cp ../watch/samples-000001.watch ../watch-before
            """)
    }

    /// Every command with an -o, and what it reads: the words before -o, and those after its file.
    private static let commands: [(name: String, words: String, input: String)] =
        [
            "table", "json", "csv", "folded", "pprof", "speedscope", "massif", "callgrind", "heaptrack", "records",
            "html",
        ].map { ("--format \($0)", "heapsum --no-lines --format \($0) images/a.heap", "images/a.heap") } + [
            ("tree", "heapsum --no-lines --tree images/a.heap", "images/a.heap"),
            ("directory", "heapsum --no-lines images", "images/a.heap"),
            ("diff", "heapsum diff --no-lines images/a.heap before", "before"),
            ("diff html", "heapsum diff --no-lines --format html images/a.heap before", "images/a.heap"),
            ("check", "heapsum check --no-lines --format json --max-bytes 1G images/a.heap", "images/a.heap"),
            ("check sarif", "heapsum check --no-lines --format sarif --max-bytes 1G images/a.heap", "images/a.heap"),
            ("verdict", "heapwatch verdict watch", "watch/samples-000001.watch"),
            ("report", "heapwatch report watch", "watch/samples-000001.watch"),
            ("export", "heapwatch export watch --format csv", "watch/samples-000001.watch"),
            ("bundle", "heapwatch bundle watch", "watch/samples-000001.watch"),
        ]

    @Test(arguments: Self.commands.indices) func anInputIsNeverTheOutput(index: Int) throws {
        let command = Self.commands[index]
        // The file itself, links of both kinds, and another spelling.
        let outcome = try scratch.shell(
            """
            cp \(command.input) copy; ln \(command.input) hard; ln -s \(command.input) soft
            for out in \(command.input) hard soft ./watch/../\(command.input); do
                '\(Self.bin)'/\(command.words) -o $out >/dev/null; echo "$? $(cmp copy \(command.input) && echo same)"
            done
            rm hard; ls -A | grep -c part
            """)
        #expect(outcome.output == String(repeating: "2 same\n", count: 4) + "0\n", "\(command.name): \(outcome)")
        #expect(
            outcome.messages.split(separator: "\n").count {
                $0.contains("it is an input, ") && $0.contains("name another file by -o")
            } == 4, "\(outcome)")
    }

    @Test func whatElseIsReadIsAnInputToo() throws {
        let outcome = try scratch.shell(
            """
            echo 'leak:nobody' > known.supp; '\(Self.bin)/heapsum' --no-lines --format json images/a.heap > base.json
            '\(Self.bin)/gensyms' /bin/true /bin/sh > true.syms
            cp known.supp s; cp base.json b; cp true.syms t
            '\(Self.bin)/heapsum' --no-lines --suppressions known.supp -o known.supp images/a.heap; echo $?
            '\(Self.bin)/heapsum' check --no-lines --baseline base.json --format json -o base.json images/a.heap; \
            echo $?
            '\(Self.bin)/heapsum' --no-lines --symbols true.syms -o true.syms images/a.heap; echo $?
            '\(Self.bin)/heapsum' --no-lines - -o images/a.heap < images/a.heap; echo $?
            '\(Self.bin)/heapsum' --no-lines images/a.heap >> images/a.heap; echo $?
            cmp s known.supp && cmp b base.json && cmp t true.syms && cmp before images/a.heap && echo same
            """)
        #expect(outcome.output == "2\n2\n2\n2\n2\nsame\n", "\(outcome)")
    }

    @Test(arguments: Self.commands.indices) func aFullDiskLeavesTheOlderReport(index: Int) throws {
        let command = Self.commands[index]
        // A file system of 64 KB, that the older report has a part of and something else the rest.
        let outcome = try scratch.shell(
            """
            exec bwrap --dev-bind / / --size 65536 --tmpfs /mnt -- sh -c '
            echo older > /mnt/report; ln -s /mnt/report /mnt/soft; dd if=/dev/zero of=/mnt/rest bs=1k 2>/dev/null
            for out in report soft new; do "\(Self.bin)"/\(command.words) -o /mnt/$out > out-$out; \
            echo "$? $(cat /mnt/report)"; done
            ls -A /mnt | tr "\\n" " "'
            """)
        #expect(outcome.output == "2 older\n2 older\n2 older\nreport rest soft ", "\(command.name): \(outcome)")
        #expect(
            outcome.messages.contains("/mnt/report: can't be written: No space left on device")
                || outcome.messages.contains("No space left"), "\(outcome)")
    }

    @Test func aReportKilledHalfWayLeavesTheOlderOneAndNothingBeside() throws {
        let outcome = try scratch.shell(
            """
            mkdir there; echo older > there/report.html
            (ulimit -f 1; exec '\(Self.bin)/heapsum' --no-lines --format html -o there/report.html images/a.heap); \
            echo $?
            cat there/report.html; ls -A there
            """)
        // SIGXFSZ, which ends it at once.
        #expect(outcome.output == "\(128 + SIGXFSZ)\nolder\nreport.html\n", "\(outcome)")
    }

    @Test func aFileKeepsItsModeItsOwnerAndItsNames() throws {
        let outcome = try scratch.shell(
            """
            h="'\(Self.bin)/heapsum' --no-lines --format json images/a.heap -o"
            umask 027; eval $h new; stat -c %a new
            echo older > kept; chmod 604 kept; eval $h kept; stat -c %a kept; cmp new kept
            mkdir d; echo older > d/target; ln -s d/target soft; eval $h soft; cmp new d/target; readlink soft
            ln -s d/nothing loose; eval $h loose; cmp new d/nothing; readlink loose
            echo older > one; ln one two; eval $h one; cmp new two; stat -c %h two
            ln -s loop loop; eval $h loop; echo $?
            eval $h d; echo $?; eval $h missing/file; echo $?
            ls -A . d | grep part
            """)
        #expect(outcome.output == "640\n604\nd/target\nd/nothing\n2\n2\n2\n2\n", "\(outcome)")
        #expect(
            outcome.messages.contains("loop: can't be written: Too many levels of symbolic links")
                && outcome.messages.contains("d: can't be written: Is a directory")
                && outcome.messages.contains("missing/file: can't be written: No such file"), "\(outcome)")
    }

    /// Another's file stays another's; and one that nobody may write isn't replaced by a way around it.
    @Test(.enabled(if: getuid() == 0, "only root can write as another user")) func filesOfOthers() throws {
        let owners = try scratch.shell(
            """
            chmod 755 .; chmod -R a+rX images
            echo older > other; chown 65534:65533 other; '\(Self.bin)/heapsum' --no-lines --format json images/a.heap \
            -o other; stat -c '%u %g' other
            mkdir shared; chmod 1777 shared; echo older > shared/root; chmod 666 shared/root
            cp '\(Self.bin)/heapsum' /tmp/heapsum-test-tool-$$; t=/tmp/heapsum-test-tool-$$
            setpriv --reuid 65534 --regid 65534 --clear-groups $t --format csv images/a.heap -o shared/root; \
            stat -c '%u %a' shared/root; head -c 5 shared/root; echo
            echo older > closed; chmod 644 closed; setpriv --reuid 65534 --regid 65534 --clear-groups $t \
            images/a.heap -o closed; echo $?; cat closed
            rm $t; ls -A . shared | grep part
            """)
        #expect(owners.output == "65534 65533\n0 666\nbytes\n2\nolder\n", "\(owners)")
    }

    @Test func pipesAndDevicesAreWrittenAsTheyAre() throws {
        let outcome = try scratch.shell(
            """
            h="'\(Self.bin)/heapsum' --no-lines --format csv images/a.heap -o"
            eval $h new; mkfifo pipe; cat pipe > got & eval $h pipe; wait; cmp new got; stat -c %F pipe
            eval $h /dev/stdout > got; cmp new got; { echo first; eval $h /dev/stdout; } > got; head -1 got; \
            tail -n +2 got | cmp - new
            { echo first; eval $h /dev/fd/3; } 3> third > got; cmp third new; eval $h - | cmp - new
            eval $h /dev/null; echo $?; stat -c %F /dev/null; eval $h /dev/full; echo $?
            """)
        #expect(outcome.output == "fifo\nfirst\n0\ncharacter special file\n2\n", "\(outcome)")
    }

    /// A file that is mounted by itself can't be renamed over: containers hand on files so.
    @Test func aMountedFileIsWrittenThrough() throws {
        let outcome = try scratch.shell(
            """
            echo older and longer than that > outside; head -c 100000 /dev/zero >> outside; touch inside
            bwrap --dev-bind / / --bind $PWD/outside $PWD/inside -- '\(Self.bin)/heapsum' --no-lines --format csv \
            images/a.heap -o inside; echo $?
            '\(Self.bin)/heapsum' --no-lines --format csv images/a.heap | cmp - outside
            """)
        #expect(outcome.output == "0\n", "\(outcome)")
    }

    @Test(arguments: [
        "heapsum --no-lines images/a.heap", "heapsum --no-lines --tree images/a.heap",
        "heapsum --no-lines --format json images/a.heap", "heapsum info images/a.heap",
        "heapsum diff --no-lines images/a.heap before", "heapsum check --no-lines --max-bytes 1G images/a.heap",
        "heapsum check --no-lines images/a.heap", "heapsum pack images/a.heap -o packed",
        "heapsum pack images/a.heap -o -", "gensyms /bin/sh", "gensyms --format json /bin/sh",
        "heapwatch verdict watch", "heapwatch verdict watch --format json",
        "heapwatch report watch -o -", "heapwatch export watch --format csv", "heapwatch bundle watch -o -",
        "heapwatch --interval 100ms", "heapsum --help", "heapsum info --help",
        "heapwatch --version", "gensyms --help", "heapdump --help",
    ]) func standardOutputThatCannotBeWrittenIsAFailureOfOneKind(words: String) throws {
        let full = try scratch.shell("'\(Self.bin)'/\(words) > /dev/full")
        #expect(full.exitStatus == 2 && full.messages.contains("No space left on device"), "\(full)")
        // A reader that has seen enough is told nothing, whatever SIGPIPE was when the tool began.
        for ignored in ["", "trap '' PIPE;"] {
            // A pipe that had a reader, which is gone for certain.
            let closed = try scratch.run([
                "/bin/bash", "-c",
                """
                \(ignored) rm -f pipe; mkfifo pipe; exec 3<>pipe 4>pipe 3<&-
                '\(Self.bin)'/\(words) 2> said >&4; echo $? $(grep -vc 'redact' said)
                """,
            ])
            #expect(closed.output == "2 0\n", "\(closed)")
        }
        let absent = try scratch.shell("'\(Self.bin)'/\(words) >&-")
        #expect(absent.exitStatus == 2, "\(absent)")
    }

    @Test func aPathIsTheSameBytesAfterwards() {
        var generator = SeededGenerator(seed: 13)
        for _ in 0 ..< 20_000 {
            let pieces: [[UInt8]] = [
                [0xE9], [0xC3, 0xA9], [0xF4, 0x8F, 0xBF, 0xA9], [0xF4, 0x8F, 0xBE, 0x7F], [0xED, 0xA0, 0x80],
                [0xF0, 0x9F], [0x2F], [0x41], [0x80], [0xFF], [0x0A], [0x5C],
            ]
            let bytes = (0 ..< Int.random(in: 0 ..< 8, using: &generator)).flatMap { _ in
                pieces.randomElement(using: &generator) ?? []
            }
            #expect(pathText(bytes).pathBytes == bytes)
        }
        #expect(printable(pathText([0xE9, 0x74, 0xE9])) == "\\xe9t\\xe9" && pathText(Array("été".utf8)) == "été")
    }
}
