// swift-tools-version: 6.1
import PackageDescription

// The way of the data, one target for each step: the interposer writes the image (CHeapImage defines it), HeapImage
// reads it, Reduce folds it into one row for each unique stack, Symbols names the frames, Report shows them. The
// executables parse arguments and print.

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

// The tools of a release run on any system with glibc 2.28 or later: see Sources/COldestGlibc/oldest.c. The Makefile
// has the C++ runtime linked from an archive, because an older system has an older one. libpthread and libdl have what
// is in libc since glibc 2.34.
let anySystem = [
    "-Xlinker", "--push-state", "-Xlinker", "--no-as-needed", "-Xlinker", "-l:libpthread.so.0", "-Xlinker",
    "-l:libdl.so.2", "-Xlinker", "--pop-state", "-Xlinker", "-z", "-Xlinker", "now",
]

let package = Package(
    name: "heapsum",
    products: [
        .executable(name: "heapsum-tools", targets: ["heapsum-tools"]),
        .executable(name: "heapsum", targets: ["heapsum"]),
        .executable(name: "heaprun", targets: ["heaprun"]),
        .executable(name: "heapdump", targets: ["heapdump"]),
        .executable(name: "gensyms", targets: ["gensyms"]),
        .executable(name: "heapwatch", targets: ["heapwatch"]),
        .executable(name: "heaptop", targets: ["heaptop"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // The format: the interposer's C headers.
        .systemLibrary(name: "CHeapImage", path: "Interposer/include"),

        // What people read and type, for all tools: numbers, sizes, times, columns, escaped names, words for a shell,
        // and the file that a report goes to.
        .systemLibrary(name: "CVersion", path: "Sources/CVersion"),
        .target(name: "Text", dependencies: ["CVersion", system]),
        // What the kernel says about processes, files and the time. CKernel asks it without libc.
        .systemLibrary(name: "CKernel", path: "Sources/CKernel"),
        .target(name: "Proc", dependencies: ["CKernel", "Text", system]),
        .target(name: "HeapImage", dependencies: ["CHeapImage", "Proc", "Text", system]),
        // The libraries for DWARF, compressed sections and mangled names.
        .systemLibrary(name: "CSymbols", path: "Sources/CSymbols"),
        .target(name: "Symbols", dependencies: ["CHeapImage", "CSymbols", "HeapImage", "Proc", "Text", system]),
        .target(name: "Reduce", dependencies: ["HeapImage", "Proc", "Text"]),
        // Which live blocks a program can still reach, and who holds them: CLeaks stops the process; Leaks takes the
        // snapshot and makes the verdict.
        .target(name: "CLeaks", cSettings: [.define("_GNU_SOURCE")]),
        .target(name: "Leaks", dependencies: ["CHeapImage", "CLeaks", "HeapImage", "Proc", "Text", system]),
        // What the allocator's resident pages are made of, and which blocks pin them.
        .target(name: "Survey", dependencies: ["CHeapImage", "HeapImage", "Leaks", "Proc", "Text"]),
        // Whether a number grows, how fast, and how sure that is.
        .target(name: "Trend"),
        // Logs of other tools and of the kernel, reduced in the same way.
        .systemLibrary(name: "CLogs", path: "Sources/CLogs"),
        .target(name: "Logs", dependencies: ["CLogs", "HeapImage", "Proc", "Reduce", "Text", system]),
        // Which process grows, or whether the kernel does: samples of /proc, their files, and the verdict.
        .target(name: "Watch", dependencies: ["Page", "Proc", "Screen", "Text", "Trend", system]),
        // HTML pages in one file: the built-in style and scripts, which CAssets embeds, and the data.
        .target(name: "CAssets", cSettings: [.headerSearchPath("../Page/Assets")]),
        .target(name: "Page", dependencies: ["CAssets", "Text"], exclude: ["Assets"]),
        .target(
            name: "Report",
            dependencies: [
                "CHeapImage", "CSymbols", "HeapImage", "Leaks", "Page", "Proc", "Reduce", "Survey", "Symbols", "Text",
                "Trend", system,
            ]),
        // Profiles on their way to a collector; CHTTP is libcurl.
        .systemLibrary(name: "CHTTP", path: "Sources/CHTTP"),
        .target(name: "Send", dependencies: ["CHTTP", "HeapImage", "Logs", "Reduce", "Report", "Symbols", "Text"]),
        // A screen's lines and keys, and the terminal that shows them; CTerminal is ncurses.
        .systemLibrary(name: "CTerminal", path: "Sources/CTerminal"),
        .target(name: "Screen", dependencies: ["CTerminal", "Text"]),
        // heaptop's live table of a running program's heap.
        .target(
            name: "Live",
            dependencies: ["HeapImage", "Launch", "Proc", "Reduce", "Report", "Screen", "Symbols", "Text", system]),
        // Parts of Linux that Launch needs and Swift's Glibc module lacks.
        .systemLibrary(name: "CLaunch", path: "Sources/CLaunch"),
        .target(
            name: "Launch", dependencies: ["CHeapImage", "CLaunch", "HeapImage", "Proc", "Symbols", "Text", system]),

        // Starting and ending a recording in a program that is already running.
        .target(name: "CAttach", dependencies: ["CLeaks"], cSettings: [.define("_GNU_SOURCE")]),
        .target(
            name: "Attach",
            dependencies: [
                "CAttach", "CHeapImage", "CLaunch", "HeapImage", "Launch", "Proc", "Symbols", "Text", system,
            ]),

        // A tool's arguments and exit status; tools with optional commands.
        .target(name: "Commands", dependencies: ["Text", argumentParser, system]),
        .target(
            name: "HeapsumTool",
            dependencies: [
                "CLaunch", "Commands", "HeapImage", "Launch", "Leaks", "Live", "Logs", "Proc", "Reduce", "Report",
                "Send", "Survey", "Symbols", "Text", argumentParser, system,
            ], path: "Sources/heapsum"),
        .target(
            name: "HeaprunTool",
            dependencies: [
                "Attach", "CLaunch", "Commands", "HeapImage", "Launch", "Leaks", "Proc", "Report", "Send", "Symbols",
                "Text", argumentParser, system,
            ], path: "Sources/heaprun"),
        .target(
            name: "HeapdumpTool",
            dependencies: [
                "Commands", "HeapImage", "Launch", "Leaks", "Proc", "Report", "Symbols", "Text", argumentParser,
            ], path: "Sources/heapdump"),
        .target(
            name: "GensymsTool", dependencies: ["Commands", "Symbols", "Text", argumentParser, system],
            path: "Sources/gensyms"),
        .target(
            name: "HeapwatchTool",
            dependencies: ["CLaunch", "Commands", "Launch", "Screen", "Text", "Watch", argumentParser, system],
            path: "Sources/heapwatch"),

        .target(
            name: "HeaptopTool",
            dependencies: [
                "Commands", "HeapImage", "Launch", "Live", "Proc", "Report", "Screen", "Symbols", "Text",
                argumentParser, system,
            ], path: "Sources/heaptop"),

        // Lets a release build run under an older glibc than that of the machine that builds it.
        .target(
            name: "COldestGlibc", cSettings: [.define("HEAPSUM_OLDEST_GLIBC", .when(configuration: .release))]),

        // One executable for all six tools, installed under their names; and each tool alone, for tests.
        .executableTarget(
            name: "heapsum-tools",
            dependencies: [
                "COldestGlibc", "GensymsTool", "HeapdumpTool", "HeaprunTool", "HeapsumTool", "HeaptopTool",
                "HeapwatchTool", "Proc", "Text", system,
            ], path: "Sources/tools/all", linkerSettings: [.unsafeFlags(anySystem, .when(configuration: .release))]),
        .executableTarget(name: "heapsum", dependencies: ["HeapsumTool"], path: "Sources/tools/heapsum"),
        .executableTarget(name: "heaprun", dependencies: ["HeaprunTool"], path: "Sources/tools/heaprun"),
        .executableTarget(name: "heapdump", dependencies: ["HeapdumpTool"], path: "Sources/tools/heapdump"),
        .executableTarget(name: "gensyms", dependencies: ["GensymsTool"], path: "Sources/tools/gensyms"),
        .executableTarget(name: "heapwatch", dependencies: ["HeapwatchTool"], path: "Sources/tools/heapwatch"),
        .executableTarget(name: "heaptop", dependencies: ["HeaptopTool"], path: "Sources/tools/heaptop"),

        // Images for the benchmarks, of any number of blocks and stacks.
        .executableTarget(
            name: "make-image", dependencies: ["Text", "CHeapImage", "TestSupport", argumentParser],
            path: "Benchmarks/make-image"),

        // Logs for the benchmarks, of any size.
        .executableTarget(
            name: "make-log", dependencies: ["TestSupport", argumentParser], path: "Benchmarks/make-log"),
        // A week of samples for the benchmarks, by a simulated clock.
        .executableTarget(
            name: "make-recording", dependencies: ["Watch", "TestSupport", argumentParser],
            path: "Benchmarks/make-recording"),
        // Verdicts on a working program, compared with what it frees later; see `make test-leaks`.
        .executableTarget(
            name: "accused",
            dependencies: [
                "Proc", "Text", "HeapImage", "Launch", "Leaks", "Reduce", "Report", "Symbols", argumentParser,
            ], path: "Tests/Accused"),
        // Names for a list of addresses, for comparing with eu-addr2line.
        .executableTarget(name: "symbolize", dependencies: ["Symbols", argumentParser], path: "Benchmarks/symbolize"),

        .target(
            name: "TestSupport", dependencies: ["Text", "CHeapImage", "HeapImage", system], path: "Tests/TestSupport"),
        // The code that reads outside files, and the program that feeds it hostile ones; see `make fuzz`.
        .systemLibrary(name: "CFuzz", path: "Fuzz/CFuzz"),
        .target(
            name: "FuzzSurface",
            dependencies: ["HeapImage", "Leaks", "Logs", "Reduce", "Report", "Symbols", "Text", "Watch", system],
            path: "Fuzz/Surface"),
        .executableTarget(name: "fuzz", dependencies: ["CFuzz", "FuzzSurface", "TestSupport"], path: "Fuzz/fuzz"),

        .testTarget(name: "TextTests", dependencies: ["TestSupport", "Text"]),
        .testTarget(name: "ProcTests", dependencies: ["Proc", "TestSupport", "Text", system]),
        .testTarget(name: "HeapImageTests", dependencies: ["CHeapImage", "HeapImage", "Proc", "TestSupport", "Text"]),
        .testTarget(name: "ReduceTests", dependencies: ["CHeapImage", "HeapImage", "Reduce", "TestSupport", "Text"]),
        .testTarget(name: "PageTests", dependencies: ["Text", "Page", "TestSupport"]),
        .testTarget(name: "TrendTests", dependencies: ["Text", "Trend", "TestSupport"]),
        .testTarget(
            name: "LogsTests",
            dependencies: ["CHeapImage", "HeapImage", "Logs", "Reduce", "Report", "TestSupport", "Text", "heapsum"],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "ReportTests",
            dependencies: [
                "CHeapImage", "HeapImage", "Reduce", "Report", "Symbols", "TestSupport", "Text", "heapsum", "heapwatch",
            ], exclude: ["Oracles"]),
        .testTarget(name: "SymbolsTests", dependencies: ["CSymbols", "Proc", "Symbols", "TestSupport", "Text"]),
        .testTarget(
            name: "LaunchTests",
            dependencies: [
                "CHeapImage", "HeapImage", "Launch", "Proc", "TestSupport", "Text", "gensyms", "heapdump", "heaprun",
                "heapsum", "heapsum-tools", system,
            ]),
        .testTarget(
            name: "RecordingTests",
            dependencies: ["Text", "CHeapImage", "HeapImage", "Proc", "Reduce", "Symbols", "TestSupport", "heapsum"]),
        .testTarget(
            name: "AttachTests",
            dependencies: [
                "CHeapImage", "HeapImage", "Leaks", "Reduce", "TestSupport", "Text", "heapdump", "heaprun", "heapsum",
            ]),
        .testTarget(
            name: "LeaksTests",
            dependencies: [
                "CLeaks", "HeapImage", "Launch", "Leaks", "Proc", "TestSupport", "Text", "heaprun", "heapsum",
            ],
            exclude: ["Oracles"]),
        .testTarget(
            name: "LiveTests",
            dependencies: ["HeapImage", "Live", "Screen", "TestSupport", "Text", "heaprun", "heaptop"]),
        .testTarget(
            name: "WatchTests",
            dependencies: ["Report", "Screen", "TestSupport", "Text", "Trend", "Watch", "heapsum", "heapwatch"],
            exclude: ["make-trees"]),
        .testTarget(
            name: "FuzzTests", dependencies: ["Text", "FuzzSurface", "TestSupport", "fuzz"], exclude: ["Corpus"]),
    ],
    swiftLanguageModes: [.v6]
)
