// swift-tools-version: 6.1
import PackageDescription

// The way of the data, one target a step: the image that the interposer writes (CHeapImage, its one
// definition), HeapImage reads it, Reduce folds it into one row a unique stack, Symbols names the
// frames, Report shows them. The executables parse arguments and print.

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

let package = Package(
    name: "heapsum",
    products: [
        .executable(name: "heapsum", targets: ["heapsum"]),
        .executable(name: "heaprun", targets: ["heaprun"]),
        .executable(name: "heapdump", targets: ["heapdump"]),
        .executable(name: "gensyms", targets: ["gensyms"]),
        .executable(name: "heapwatch", targets: ["heapwatch"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // The format, as the interposer's C header has it.
        .systemLibrary(name: "CHeapImage", path: "Interposer/include"),

        // What all tools do alike: the version, signals' names, sizes, paths as text, the file that a report goes to.
        // The kernel's word, where libc may not be libc's.
        .systemLibrary(name: "CKernel", path: "Sources/CKernel"),
        .target(name: "Common", dependencies: ["CKernel", system]),
        .target(name: "HeapImage", dependencies: ["CHeapImage", "Common", system]),
        // The libraries for DWARF, compressed sections and mangled names.
        .systemLibrary(name: "CSymbols", path: "Sources/CSymbols"),
        .target(name: "Symbols", dependencies: ["CSymbols", "Common", system]),
        .target(name: "Reduce", dependencies: ["Common", "HeapImage"]),
        // Whether a number grows, how fast, and how sure that is.
        .target(name: "Trend"),
        // What other tools and the kernel log of allocations, into the same reduction.
        .systemLibrary(name: "CLogs", path: "Sources/CLogs"),
        .target(name: "Logs", dependencies: ["CLogs", "Common", "HeapImage", "Reduce", system]),
        // Which process grows, or is it the kernel: samples of /proc, their files, and what they show.
        .target(name: "Watch", dependencies: ["Common", "Page", "Report", "Trend", system]),
        // HTML pages in one file: their style and scripts, which are built in, and the data that goes with them.
        .target(name: "Page", resources: [.embedInCode("Assets")]),
        .target(name: "Report", dependencies: ["CHeapImage", "CSymbols", "Common", "HeapImage", "Page", "Reduce", "Symbols", "Trend", system]),
        // What Launch needs of Linux that Swift's Glibc module doesn't have.
        .systemLibrary(name: "CLaunch", path: "Sources/CLaunch"),
        .target(name: "Launch", dependencies: ["CHeapImage", "CLaunch", "Common", "HeapImage", "Symbols", system]),

        // How a tool reads its words and ends; tools that have commands, and need none.
        .target(name: "Commands", dependencies: ["Common", argumentParser, system]),
        .executableTarget(name: "heapsum", dependencies: ["Commands", "Common", "HeapImage", "Logs", "Reduce", "Report", "Symbols", argumentParser]),
        .executableTarget(name: "heaprun", dependencies: ["Common", "Launch", argumentParser]),
        .executableTarget(name: "heapdump", dependencies: ["Commands", "Common", "Launch", argumentParser]),
        .executableTarget(name: "gensyms", dependencies: ["Commands", "Common", "Symbols", argumentParser, system]),
        .executableTarget(name: "heapwatch", dependencies: ["CLaunch", "Commands", "Common", "Launch", "Report", "Watch", argumentParser, system]),

        // Images for the benchmarks, of any number of blocks and stacks.
        .executableTarget(name: "make-image", dependencies: ["CHeapImage", "TestSupport", argumentParser], path: "Benchmarks/make-image"),

        // Logs for the benchmarks, of any size.
        .executableTarget(name: "make-log", dependencies: ["TestSupport", argumentParser], path: "Benchmarks/make-log"),
        // A week of samples for the benchmarks, by a simulated clock.
        .executableTarget(name: "make-recording", dependencies: ["Watch", "TestSupport", argumentParser], path: "Benchmarks/make-recording"),
        // Names for a list of addresses, for comparing with eu-addr2line.
        .executableTarget(name: "symbolize", dependencies: ["Symbols", argumentParser], path: "Benchmarks/symbolize"),

        .target(name: "TestSupport", dependencies: ["CHeapImage", "HeapImage", system], path: "Tests/TestSupport"),
        // What the tools do with files from outside, and the program that feeds them hostile ones; see `make fuzz`.
        .systemLibrary(name: "CFuzz", path: "Fuzz/CFuzz"),
        .target(name: "FuzzSurface", dependencies: ["HeapImage", "Logs", "Reduce", "Report", "Symbols", "Watch", system], path: "Fuzz/Surface"),
        .executableTarget(name: "fuzz", dependencies: ["CFuzz", "FuzzSurface", "TestSupport"], path: "Fuzz/fuzz"),

        .testTarget(name: "HeapImageTests", dependencies: ["CHeapImage", "HeapImage", "TestSupport"]),
        .testTarget(name: "ReduceTests", dependencies: ["CHeapImage", "HeapImage", "Reduce", "TestSupport"]),
        .testTarget(name: "PageTests", dependencies: ["Page", "TestSupport"]),
        .testTarget(name: "TrendTests", dependencies: ["Trend", "TestSupport"]),
        .testTarget(name: "LogsTests", dependencies: ["CHeapImage", "HeapImage", "Logs", "Reduce", "Report", "TestSupport", "heapsum"], exclude: ["Fixtures"]),
        .testTarget(name: "ReportTests", dependencies: ["CHeapImage", "Common", "HeapImage", "Reduce", "Report", "Symbols", "TestSupport", "heapsum", "heapwatch"], exclude: ["Oracles"]),
        .testTarget(name: "SymbolsTests", dependencies: ["CSymbols", "Symbols", "TestSupport"]),
        .testTarget(name: "LaunchTests", dependencies: ["CHeapImage", "Common", "HeapImage", "Launch", "TestSupport", "heaprun", "heapdump", "heapsum", "gensyms", system]),
        .testTarget(name: "RecordingTests", dependencies: ["CHeapImage", "HeapImage", "Reduce", "Symbols", "TestSupport"]),
        .testTarget(name: "WatchTests", dependencies: ["Report", "TestSupport", "Trend", "Watch", "heapsum", "heapwatch"], exclude: ["make-trees"]),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzSurface", "TestSupport", "fuzz"], exclude: ["Corpus"]),
    ],
    swiftLanguageModes: [.v6]
)
