// Reports, against golden text; JSON also against Python's reader, where there is one.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import Symbols
import TestSupport
import Testing
import Text

@testable import Report

/// Names that a test makes up: for each address the greatest start not above it.
struct FixedNames: ModuleNaming {
    var symbols: [(start: UInt64, name: String)]

    func name(at address: UInt64) -> SymbolName? {
        symbols.last { $0.start <= address }.map { SymbolName(name: $0.name, offset: address - $0.start) }
    }
}

struct NoFile: Error, CustomStringConvertible { var description: String { "the file is missing" } }

/// A reduction of three stacks, and its names. One name is hostile; one module has no symbols.
func sample() throws -> (Reduction, FrameNames) {
    var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
    builder.header.ended_ns = 100_000_000_000
    builder.header.peak_bytes = 5_000_000
    let app = builder.addModule("/opt/bin/app", buildID: [0xAB, 0xCD], bias: 0x40_0000)
    let libc = builder.addModule("/lib/libc.so.6", buildID: [0x01], bias: 0x7F00_0000)
    let gone = builder.addModule("/lib/libgone.so", buildID: [0x02])
    let start = [heap_frame_make(app, 0x1105), heap_frame_make(libc, 0x2010), heap_frame_make(app, 0x1001)]
    let big = builder.addStack([heap_frame_make(app, 0x1200)] + start)
    let cut = builder.addStack([heap_frame_make(gone, 0x77), heap_frame_make(HEAP_MODULE_CUT, 0)] + start)
    let bare = builder.addStack([
        heap_frame_make(HEAP_MODULE_NONE, 0xDEAD_BEEF), heap_frame_make(HEAP_MODULE_THREAD, 99),
    ])
    let freed = builder.addStack([heap_frame_make(app, 0x1300)])
    builder.addBlock(address: 0x1_0000, bytes: 3_000_000, stack: big, tick: 1000)
    builder.addBlock(address: 0x50_0000, bytes: 1_234, stack: big, tick: 2000)
    builder.addBlock(address: 0x60_0000, bytes: 500, stack: cut, tick: 3000)
    builder.addBlock(address: 0x70_0000, bytes: 7, stack: bare)
    builder.count(freed, allocated: 9, bytes: 90, freed: 9, freedBytes: 90)
    builder.stacks[Int(big)].peak = heap_level(bytes: 4_000_000, blocks: 3)
    builder.header.losses.lost_allocations = 2
    builder.header.losses.lost_bytes = 64
    builder.header.losses.unmatched_frees = 5
    let reduction = Reduction()
    try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "app.4242.heap"), presence: .gone))
    let names = FrameNames(reduction) { module in
        switch module.baseName {
        case "app":
            FixedNames(symbols: [
                (0x1000, "_start"), (0x1100, "main"), (0x11F0, "evil\u{1B}[31m\"name\n"), (0x1280, "freed"),
            ])
        case "libc.so.6": FixedNames(symbols: [(0x2000, "__libc_start_main")])
        default: throw NoFile()
        }
    }
    return (reduction, names)
}

/// A name as C++ compilers make them, longer than most terminals are wide.
let mangledName =
    "_ZL7produceR5QueueNSt6chrono10time_pointINS1_3_V212steady_clockENS1_8durationIlSt5ratioILl1ELl1000000000EEEEEERj"
    + String(repeating: "NSt6vectorIdSaIdEE", count: 8)

/// One stack: a long name in a module of a long name, a short one, and a module of a long name without symbols.
func mangled() throws -> (Reduction, FrameNames) {
    var builder = ImageBuilder()
    let app = builder.addModule("/opt/bin/app"),
        long = builder.addModule("/opt/lib/libproducer-of-measurements-and-more.so.1.2.3")
    let none = builder.addModule("/opt/lib/libwithout-any-symbols-at-all-of-a-very-long-name-indeed.so.6.0.0")
    let stack = builder.addStack([
        heap_frame_make(long, 0x1090), heap_frame_make(app, 0x1105), heap_frame_make(none, 0x77),
    ])
    builder.addBlock(address: 0x1_0000, bytes: 8, stack: stack)
    let reduction = Reduction()
    try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "app.1.heap"), presence: .gone))
    let names = FrameNames(reduction) { module in
        switch module.baseName {
        case "app": FixedNames(symbols: [(0x1100, "main")])
        case "libproducer-of-measurements-and-more.so.1.2.3": FixedNames(symbols: [(0x1000, mangledName)])
        default: throw NoFile()
        }
    }
    return (reduction, names)
}

func table(_ style: Style, _ reduction: Reduction, _ names: FrameNames) throws -> String {
    let out = TextOutput()
    try Table(style: style).write(reduction, RowSelection(reduction, names: names), names: names, to: out)
    return out.text
}

func table(
    _ style: Style = Style(), sort: SortKey = .bytes, top: Int? = nil, frames: Int? = nil, filter: FrameFilter? = nil
) throws -> String {
    let (reduction, names) = try sample()
    let out = TextOutput()
    let selection = RowSelection(reduction, names: names, sort: sort, top: top, filter: filter)
    try Table(style: style, frameLimit: frames, sort: sort).write(reduction, selection, names: names, to: out)
    return out.text
}

@Suite struct Tables {
    @Test func golden() throws {
        #expect(
            try table() == """
                /usr/bin/sample · pid 4242 · exited with status 0
                3,001,741 bytes live in 4 blocks · peak 5,000,000 bytes · 3 stacks

                    bytes    share   blocks   oldest
                3,001,234   100.0%        2     99 s
                    evil\\x1b[31m"name\\n+0x10  app
                    main+0x5                  app
                    __libc_start_main+0x10    libc.so.6
                    _start+0x1                app

                      500     0.0%        1     97 s
                    libgone.so+0x77
                    … frames missing …
                    main+0x5                app
                    __libc_start_main+0x10  libc.so.6
                    _start+0x1              app

                        7     0.0%        1    100 s
                    0xdeadbeef
                    thread 99

                Lost: app.4242.heap: 2 allocations of 64 bytes found no space in the image.
                No names for 1 frame of libgone.so: the file is missing.
                Next: heapsum info app.4242.heap tells how the program stood; --include REGEX picks stacks, \
                --format json is for scripts.

                """)
    }

    @Test func whatIsNotShownIsSaid() throws {
        let text = try table(top: 1, frames: 2)
        #expect(text.contains("… 2 outer frames more (--frames 0 shows all)"))
        #expect(text.contains("Not shown: 2 smaller stacks with 507 bytes (--top 3 shows all)."))
    }

    @Test func coloursDimStartupCodeAndNothingElseChanges() throws {
        let plain = try table(), coloured = try table(Style(colors: true))
        #expect(coloured.contains("\u{1B}[2m_start+0x1"))
        #expect(!coloured.contains("\u{1B}[2mmain"))
        #expect(coloured.replacing(/\x{1B}\[[0-9]+m/, with: "") == plain)
    }

    /// Mangled names and module names of any length: each frame's line keeps within the width, and its offset and
    /// module are there.
    @Test(arguments: [40, 60, 80, 200])
    func framesKeepWithinTheWidth(width: Int) throws {
        let (reduction, names) = try mangled()
        let text = try table(Style(width: width), reduction, names)
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("    ") && $0.contains("+0x") }
        #expect(lines.count == 3)
        for line in lines { #expect(line.count <= width, "\(line)") }
        #expect(
            lines[0].contains("…") && lines[0].contains("+0x90  ") && lines[0].hasPrefix("    _ZL7prod"), "\(lines[0])")
        #expect(lines[1].hasSuffix("  app") && lines[1].contains("main+0x5 "))
        // The columns stand: each module begins where the others do.
        let columns = Set(lines.prefix(2).map { $0.count - ($0.split(separator: " ").last?.count ?? 0) })
        #expect(columns.count == 1, "\(text)")
        #expect(lines[2].hasSuffix("+0x77"))
    }

    @Test func whatIsNoTerminalGetsWholeNames() throws {
        let (reduction, names) = try mangled()
        #expect(
            try table(Style(), reduction, names).contains(
                "    \(mangledName)+0x90  libproducer-of-measurements-and-more.so.1.2.3\n"))
    }

    @Test func filtersAskEveryFrame() throws {
        #expect(try table(filter: FrameFilter(include: ["^evil"])).contains("Filtered out: 2 stacks with 507 bytes."))
        #expect(try table(filter: FrameFilter(exclude: ["libgone"])).contains("Filtered out: 1 stack with 500 bytes."))
        #expect(try table(filter: FrameFilter(include: ["nothing has this"])).contains("No stack passes the filters."))
        #expect(throws: PatternError.self) { try FrameFilter(include: ["("]) }
    }

    @Test func historyBringsFreedStacksToo() throws {
        let text = try table(sort: .allocatedBlocks)
        #expect(text.contains("freed+0x80"))
        #expect(!(try table()).contains("freed+0x80"))
        #expect(try table(sort: .peakBytes).contains("4,000,000"))
    }
}

@Suite struct Formats {
    private func write(_ body: (Reduction, RowSelection, FrameNames, TextOutput) throws -> Void) throws -> String {
        let (reduction, names) = try sample()
        let out = TextOutput()
        try body(reduction, RowSelection(reduction, names: names), names, out)
        return out.text
    }

    private func json() throws -> String {
        try write { try JSONReport().write($0, $1, names: $2, to: $3) }
    }

    @Test func jsonGolden() throws {
        let lines = try json().split(separator: "\n").map(String.init)
        #expect(lines[0] == #"{"schema":"heapsum/1","#)
        #expect(
            lines[2]
                == #" {"path":"app.4242.heap","kind":"image","program":"/usr/bin/sample","pid":4242,"#
                + #""state":"exited","sets":1,"recordsLost":0,"damaged":false,"exitStatus":0}],"#
        )
        #expect(
            lines[3]
                == #""totals":{"liveBytes":3001741,"liveBlocks":4,"allocatedBytes":3001831,"allocatedBlocks":13,"#
                + #""freedBlocks":9,"peakBytes":5000000,"uniqueStacks":3,"lostEvents":2,"unmatchedFrees":5},"#
        )
        #expect(
            lines[5].hasPrefix(
                """
                 {"stackKey":"d3e7fcb6e62d159d610207d28576dbe0","bytes":3001234,"blocks":2,"allocatedBytes":3001234,\
                "allocatedBlocks":2,"peakBytes":4000000,"temporaryBlocks":0,"oldestSeconds":99.000,\
                "newestSeconds":98.000,"standardErrorBytes":null,"standardErrorBlocks":null,\
                "verdict":null,"frames":[{"module":"/opt/bin/app","buildID":"abcd",\
                "offset":4608,"address":4198912,"function":"evil\\u001b[31m\\"name\\n","symbolOffset":16,"file":null,\
                "line":null,"inlined":null},
                """
            ))
        #expect(
            lines[6].contains(
                #"{"module":"/lib/libgone.so","buildID":"02","offset":119,"address":119,"function":null,"#
                    + #""symbolOffset":null,"#
            ))
        #expect(
            lines[6].contains(
                #"{"module":null,"buildID":null,"offset":null,"address":null,"function":"… frames missing …","#))
        #expect(lines.count == 8)
    }

    /// Python's json is the oracle of the syntax; the sums of the rows are the totals.
    @Test(.enabled(if: access("/usr/bin/python3", X_OK) == 0)) func jsonIsReadByPython() throws {
        let directory = try Scratch()
        let out = try TextOutput(path: directory.file("r.json"))
        try out.write(try json())
        try out.finish()
        let script =
            "import json,sys; r=json.load(open(sys.argv[1])); t=r['totals'];"
            + "assert sum(x['bytes'] for x in r['rows'])==t['liveBytes'] and len(r['rows'])==t['uniqueStacks'];"
            + "assert r['rows'][0]['frames'][0]['function']=='evil\\x1b[31m\\\"name\\n'"
        #expect(run(["/usr/bin/python3", "-c", script, directory.file("r.json")]) == 0)
    }

    @Test func folded() throws {
        #expect(
            try write { try writeFolded($0, $1, frameLimit: nil, names: $2, to: $3) } == """
                _start;__libc_start_main;main;evil\\x1b[31m"name\\n 3001234
                _start;__libc_start_main;main;… frames missing …;libgone.so+0x77 500
                thread 99;0xdeadbeef 7

                """)
    }

    @Test func recordsAreOnePerBlock() throws {
        let text = try write { try writeRecords($0, $1, frameLimit: nil, names: $2, to: $3) }
        #expect(
            text.hasPrefix(
                """
                Current allocation report:

                Allocation #1: 0x10000
                Allocation size: 0x2DC6C0
                Allocated from heap: 0
                Allocation traceback:
                0x401200 evil\\x1b[31m"name\\n
                0x401105 main
                0x7F002010 __libc_start_main
                0x401001 _start

                Allocation #2: 0x500000
                Allocation size: 0x4D2

                """))
        #expect(text.split(separator: "\n").filter { $0.hasPrefix("Allocation #") }.count == 4)
    }

    @Test func csvQuotes() throws {
        let text = try write { try writeCSV($0, $1, frameLimit: 1, names: $2, to: $3) }
        #expect(
            text.contains(
                "\r\n3001234,2,3001234,2,4000000,0,99.0,98.0,\"evil\\x1b[31m\"\"name\\n+0x10\","
                    + "d3e7fcb6e62d159d610207d28576dbe0\r\n"
            ))
    }

    @Test func info() throws {
        let (reduction, _) = try sample()
        let out = TextOutput()
        let image = try #require(reduction.inputs[0].image)
        try InfoReport(style: Style()).write(image, to: out)
        for part in [
            "state         exited with status 0", "live          3,001,741 bytes in 4 blocks",
            "freed         90 bytes in 9 blocks", "unwinder      own, by the modules' unwind tables\n",
            "dump signal   none\n", "2  allocations that are not in the image: no space", "Modules (3)",
        ] {
            #expect(out.text.contains(part), "\(part)")
        }
        #expect(!out.text.contains("held against libunwind"))
    }

    @Test(arguments: [
        (SIGUSR2, false, "USR2\n"),
        (SIGUSR2, true, "USR2, which the program handles itself and keeps: it makes no dumps\n"),
        (SIGHUP, false, "HUP\n"), (37, false, "RTMIN+3\n"), (0, false, "none\n"), (-1, false, "-1\n"),
    ])
    func infoNamesTheDumpSignalAndTheUnwinding(signal: Int32, isKept: Bool, text: String) throws {
        var builder = ImageBuilder()
        builder.header.dump_signal = UInt32(bitPattern: signal)
        builder.header.flags = isKept ? HEAP_FLAG_SIGNAL_OF_PROGRAM.rawValue : 0
        builder.header.unwinder = HEAP_UNWINDER_FP.rawValue
        builder.header.verified_stacks = 12_345
        builder.header.differing_stacks = isKept ? 2 : 0
        builder.header.shorter_stacks = isKept ? 3 : 0
        let out = TextOutput()
        try InfoReport(style: Style()).write(
            HeapImage(MemorySource(builder.bytes(), name: "a.heap"), presence: .gone), to: out)
        #expect(out.text.contains("dump signal   " + text))
        #expect(out.text.contains("unwinder      own, by frame pointers\n"))
        let verified = "12,345 stacks held against libunwind, \(isKept ? 2 : 0) differ, \(isKept ? 3 : 0) are cut"
        #expect(out.text.contains("verified      \(verified) where it goes on\n"))
    }
}

@Suite struct ResidentMemory {
    private func report(
        program: String = "/opt/bin/app", modules: [String] = [], _ residence: heap_residence
    ) throws -> String {
        var builder = ImageBuilder()
        builder.program = program
        builder.header.residence = residence
        for module in modules { _ = builder.addModule(module) }
        let out = TextOutput()
        try ResidenceReport(style: Style()).write(
            HeapImage(MemorySource(builder.bytes(), name: "a.heap"), presence: .gone), to: out)
        return out.text
    }

    private func measured(_ allocator: UInt32, _ anonymous: UInt32) -> heap_residence {
        heap_residence(
            measured_ns: 90_000_000_000, allocator_kb: allocator, anonymous_kb: anonymous, stacks_kb: 132,
            files_kb: 2048,
            shared_kb: 0, image_kb: 300, swapped_kb: 0, reserved: 0)
    }

    @Test func golden() throws {
        var residence = measured(3000, 102_400)
        (residence.shared_kb, residence.swapped_kb) = (UInt32.max, 8)
        #expect(
            try report(residence) == """

                Resident memory, after 90 s
                         3,072,000  malloc's: its heap, arenas, and blocks with mappings of their own
                       104,857,600  other anonymous memory, which is not malloc's
                           135,168  stacks
                         2,097,152  files: programs, libraries and their data, mapped files
                  4,398,046,510,080  shared memory
                           307,200  heapsum's own image
                             8,192  swapped out, in addition
                  malloc is the smaller part: 3,072,000 bytes, and 4,398,151,367,680 that heapsum doesn't see.
                  It comes from mmap, by the program itself or an allocator of its own: heaprun --mappings records
                  who maps it; /proc/PID/smaps shows what there is.

                """)
    }

    @Test func nothingIsSaidWhereNothingIsToBeSaid() throws {
        #expect(try report(heap_residence()) == "")
        #expect(try !report(program: "/usr/bin/python3.11", measured(50_000, 40_000)).contains("smaller"))
        // Less than a megabyte is every program's.
        #expect(try !report(measured(100, 500)).contains("smaller"))
    }

    @Test(arguments: [
        ("/usr/bin/python3.11", "", "PYTHONMALLOC=malloc"),
        ("/usr/bin/app", "/usr/lib/libpython3.11.so.1.0", "PYTHONMALLOC=malloc"),
        ("/usr/bin/java", "", "NativeMemoryTracking"), ("/opt/app", "/jre/lib/server/libjvm.so", "GC.heap_dump"),
        ("/usr/bin/node", "", "--max-old-space-size"), ("/usr/sbin/php-fpm8.2", "", "USE_ZEND_ALLOC=0"),
        ("/usr/bin/dotnet", "", "dotnet-gcdump"),
    ])
    func aRuntimeHasItsOwnAdvice(program: String, module: String, advice: String) throws {
        let text = try report(program: program, modules: module.isEmpty ? [] : [module], measured(3000, 102_400))
        #expect(text.contains(advice) && !text.contains("It comes from mmap"), "\(text)")
    }

    /// By the linker's own note in the program; here as Go's linker lays it out, in a file of our making.
    @Test func goIsKnownByItsNote() throws {
        let directory = try Scratch()
        let path = directory.file("server")
        for (note, isGo) in [("Go", true), ("No", false)] {
            let bytes =
                [UInt8](repeating: 0, count: 0xF9C) + [4, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0] + Array(note.utf8) + [0, 0]
                + [UInt8](repeating: 7, count: 8)
            let file = fopen(path, "we")
            fwrite(bytes, 1, bytes.count, file)
            fclose(file)
            #expect(try report(program: path, measured(3000, 102_400)).contains("GODEBUG=gctrace=1") == isGo)
        }
    }

    @Test func ofManyImagesThoseThatHoldTheMostStandForAll() throws {
        let reduction = Reduction()
        for number in 1 ... 60 as ClosedRange<UInt64> {
            var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
            builder.header.pid = UInt32(number)
            let stack = builder.addStack([heap_frame_make(HEAP_MODULE_NONE, 0x1000)])
            builder.addBlock(address: 0x1_0000, bytes: number * 10, stack: stack)
            try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "\(number).heap"), presence: .gone))
        }
        let out = TextOutput()
        let names = FrameNames(reduction) { _ in throw NoFile() }
        try Table(style: Style()).write(reduction, RowSelection(reduction, names: names), names: names, to: out)
        let lines = out.text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        #expect(lines[0].contains("pid 60 ") && lines[0].hasSuffix("600 bytes live") && lines[7].contains("pid 53 "))
        // 10 + 20 + … + 520
        #expect(lines[8] == "… and 52 more with 13,780 bytes live")
        #expect(lines[9].hasPrefix("18,300 bytes live in 60 blocks"))
    }
}

@Suite struct Texts {
    @Test func nothingThatMovesACursorGetsThrough() {
        #expect(printable("a\u{1B}[2Jb\u{9B}c\u{202E}d\te\\") == "a\\x1b[2Jb\\u{9b}c\\u{202e}d\\te\\\\")
        #expect(printable("größe::λ<int>") == "größe::λ<int>")
        #expect(jsonString("\u{0}\u{7F}\u{2028}é") == "\"\\u0000\\u007f\\u2028é\"")
    }

    @Test func numbers() {
        #expect([0, 999, 1000, 1_234_567].map(separated) == ["0", "999", "1,000", "1,234,567"])
        #expect([0.035, 12.34, 300, 9000, 400_000].map(shortDuration) == ["35 ms", "12 s", "5 min", "2.5 h", "4.6 d"])
        #expect(shortened("abcdefghij", 7) == "abc…hij")
    }
}

/// Runs a program and answers its exit status.
func run(_ words: [String]) -> Int32 {
    var pid: pid_t = 0
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    guard posix_spawn(&pid, words[0], nil, nil, arguments, environ) == 0 else { return -1 }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    return status
}
