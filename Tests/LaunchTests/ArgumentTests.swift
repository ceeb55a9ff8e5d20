// The pure parts: where arguments split, what goes into an environment, what a signal's name means, what
// /proc says. Oracles: the C library's own signal numbers and environment, and this process's own /proc.

import Glibc
import Proc
import SystemPackage
import TestSupport
import Testing
import Text

@testable import Launch

@Suite struct ArgumentTests {
    @Test func optionsEndAtTheProgram() {
        // argv: heaprun --quiet prog --quiet -- x
        #expect(programArguments(captured: ["prog", "--quiet", "--", "x"], count: 6) == .program(index: 2))
        // argv: heaprun -- --odd
        #expect(programArguments(captured: ["--", "--odd"], count: 3) == .program(index: 2))
        #expect(programArguments(captured: ["--"], count: 2) == .missing)
        #expect(programArguments(captured: [], count: 1) == .missing)
        #expect(programArguments(captured: ["--typo", "prog"], count: 3) == .unknownOption("--typo"))
        #expect(programArguments(captured: ["-"], count: 2) == .program(index: 1))
    }

    @Test func theLibraryComesFirstAndOnce() {
        #expect(preloadValue(libraries: ["/l.so"], existing: nil) == "/l.so")
        #expect(preloadValue(libraries: ["/l.so"], existing: "/a.so /b.so") == "/l.so:/a.so:/b.so")
        #expect(preloadValue(libraries: ["/l.so"], existing: "/a.so:/l.so") == "/l.so:/a.so")
    }

    @Test func anEnvironmentKeepsWhatItDoesNotKnow() {
        let entries: [[UInt8]] = [
            Array("A=1".utf8), [0x42, 0x3D, 0xFF, 0xFE], Array("AB=2".utf8), Array("GONE=3".utf8),
            Array("no equals".utf8),
        ]
        var pointers: [UnsafeMutablePointer<CChar>?] =
            entries.map { bytes in strdup(bytes.map { CChar(bitPattern: $0) } + [0]) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        let result = pointers.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.map { environmentEntries(from: $0, set: [("A", "new")], without: ["GONE"]) } ?? []
        }
        let bytes = result.map { $0.dropLast().map { UInt8(bitPattern: $0) } }
        #expect(bytes == [[0x42, 0x3D, 0xFF, 0xFE], Array("AB=2".utf8), Array("no equals".utf8), Array("A=new".utf8)])
        #expect(result.allSatisfy { $0.last == 0 })
    }

    @Test func signalsHaveNamesAndNumbers() throws {
        #expect(try dumpSignalNumber("USR2") == SIGUSR2)
        #expect(try dumpSignalNumber("sigusr1") == SIGUSR1)
        #expect(try dumpSignalNumber("10") == 10)
        #expect(try dumpSignalNumber("RTMIN+3") == firstRealtimeSignal + 3)
        #expect(try dumpSignalNumber("RTMAX") == lastRealtimeSignal)
        #expect(try dumpSignalNumber("none") == 0)
        for (name, number) in [
            ("usr1", SIGUSR1), ("SigUsr1", SIGUSR1), ("RTMAX-1", lastRealtimeSignal - 1),
            ("sigrtmin+1", firstRealtimeSignal + 1), ("SYS", SIGSYS), ("poll", SIGIO),
            ("STKFLT", 16), ("SIG12", 12), ("NONE", 0), ("None", 0), ("64", 64),
        ] {
            #expect(try dumpSignalNumber(name) == number, "\(name)")
        }
        for wrong in [
            "", "USR3", "0", "-1", "65", "32", "RTMIN+99", "RTMIN+-1", "RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMAX+1",
            "RTMIN+ 1", "+12", " 12", "SIG", "ſys", "USR2 ", "ABRT", "KILL", "STOP", "SEGV", "99999999999999999999",
        ] {
            #expect(throws: LaunchError.self, "\(wrong)") { try dumpSignalNumber(wrong) }
        }
        // The shell's own list is the oracle for every name.
        for number in Int32(1) ... 31 {
            let name = signalName(number)
            let scratch = try Scratch()
            let listed = try scratch.run(["/bin/bash", "-c", "kill -l \(number)"]).output.split(separator: "\n").first
                .map(String.init)
            #expect(name == listed)
        }
    }

    @Test func optionsBecomeVariables() {
        var options = RecordingOptions(output: "/out")
        options.runDirectory = "/run"
        options.depth = 0
        options.only = ["a*", "b"]
        options.follow = false
        options.threads = true
        options.maximumBytes = 409_600
        options.maximumStacks = 5000
        let variables = options.variables.map { "\($0.name)=\($0.value)" }
        #expect(
            variables == [
                "HEAPSUM_OUTPUT=/out", "HEAPSUM_RUN_DIR=/run", "HEAPSUM_DEPTH=0", "HEAPSUM_ONLY=a*:b",
                "HEAPSUM_FOLLOW=0", "HEAPSUM_THREADS=1", "HEAPSUM_MAX_SIZE=409600",
                "HEAPSUM_MAX_STACKS=5000",
            ])
    }

    @Test func mappingsAreReadAsTheKernelWritesThem() throws {
        let text = """
            7f0000000000-7f0000001000 rw-s 00000000 00:01 1234    /dev/shm/a b.1.heap (deleted)
            7f0000001000-7f0000002000 rw-s 00001000 00:01 1234    /dev/shm/a b.1.heap (deleted)
            7f0000003000-7f0000004000 rw-p 00000000 00:00 0
            nonsense
            7f0000005000-7f0000004000 rw-p 00000000 00:00 0
            """
        let maps = parseMappings(Array(text.utf8))
        #expect(maps.count == 3)
        #expect(
            maps[0]
                == Mapping(
                    start: 0x7f00_0000_0000, end: 0x7f00_0000_1000, isShared: true, fileOffset: 0, device: "00:01",
                    inode: 1234, path: "/dev/shm/a b.1.heap (deleted)"))
        #expect(imageSpans(maps) == [ImageSpan(first: maps[0], byteCount: 0x2000)])
        // This very process: a page of ours lies in one of its mappings.
        var local = 0
        let own = try mappings(of: getpid())
        let address = withUnsafePointer(to: &local) { UInt64(UInt(bitPattern: $0)) }
        #expect(own.contains { $0.start <= address && address < $0.end })
    }

    @Test func aProcessNameMayHoldAnything() throws {
        let fields = (0 ..< 30).map { String($0 + 3) }.joined(separator: " ")
        let status = try #require(ProcessStat(parsing: Array("1 (a) b) S) \("T " + fields.dropFirst(2))\n".utf8)))
        #expect(status.state == UInt8(ascii: "T"))
        #expect(status.startTime == 22)
        #expect(ProcessStat(parsing: Array("1 (x".utf8)) == nil)
        #expect(ProcessStat(parsing: Array("1 (x) S 1 2".utf8)) == nil)
        #expect(ProcessStat.of(getpid()) != nil && livingThread(of: getpid()) == getpid())
    }

    @Test func sizesHaveUnits() {
        #expect(
            ["0", "512", "64K", "64k", "10M", "1G", "2T", "0T", "16777215T"].map(byteCount) == [
                0, 512, 65_536, 65_536, 10_485_760, 1 << 30, 2 << 40, 0, 16_777_215 << 40,
            ])
        #expect(
            ["", "K", "-1", "+1", "1.5M", "1 K", "1KB", "16777216T", "18446744073709551616"].map(byteCount).allSatisfy {
                $0 == nil
            })
    }

    @Test(arguments: ["heapsum", "heaprun", "heapdump", "gensyms"]) func everyToolSaysTheVersion(tool: String) throws {
        let scratch = try Scratch()
        #expect(
            try scratch.run([Built.products + "/" + tool, "--version"])
                == Outcome(waitStatus: 0, output: "\(tool) \(version)\n", messages: ""))
    }

    /// What is installed: one file, which is the tool that it is called by.
    @Test func oneFileIsEveryTool() throws {
        let scratch = try Scratch()
        let tools = ["heapsum", "heaprun", "heapdump", "gensyms", "heapwatch", "heaptop"]
        try scratch.prepare(
            "mkdir links && cp '\(Built.products)/heapsum-tools' heapsum && cp heapsum other && ln -s ../heapsum "
                + "links/anything"
        )
        for tool in tools.dropFirst() { try scratch.prepare("ln heapsum \(tool) && ln -s ../heapsum links/\(tool)") }
        for tool in tools {
            #expect(try scratch.run(["./\(tool)", "--version"]).output == "\(tool) \(version)\n")
            // The library is looked for beside the file, which a link leads to.
            if tool != "heapsum" {
                #expect(try scratch.run(["links/\(tool)", "--version"]).output == "\(tool) \(version)\n")
            }
        }
        #expect(try scratch.run(["links/anything", "--version"]).output == "heapsum \(version)\n")
        let other = try scratch.run(["./other"])
        #expect(
            other.exitStatus == 64
                && other.messages.contains("the tools are gensyms, heapdump, heaprun, heapsum, heaptop, heapwatch")
        )
        let recorded = try scratch.run(
            ["./heaprun", "--quiet", "-o", "out", "/bin/true"], variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try recorded.exitStatus == 0 && scratch.shell("ls out/*.heap").exitStatus == 0)
    }

    @Test func wordsAreQuotedForAShell() throws {
        let scratch = try Scratch()
        for word in ["plain", "two words", "it's", "$HOME", "a;b", "", "*", "ü"] {
            #expect(try scratch.shell("printf %s \(shellWord(word))").output == word)
        }
        #expect(separated(0) == "0")
        #expect(separated(999) == "999")
        #expect(separated(1_234_567) == "1,234,567")
        #expect(separated(.max) == "18,446,744,073,709,551,615")
    }
}
