// Blocks that only variables hold, in programs of glibc and of musl. musl gives malloc the rest of the pages on which
// variables lie, so blocks and variables are on the same pages there. Oracle: the program, which knows what it lost.

import TestSupport
import Testing

/// A way to build Tests/Programs/leaks/globals.c, as ./globals.
struct CLibrary: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let compiler: String
    var isMusls = false
    var isStatic = false

    private static let library = Built.interposer.replacing("libheapsum.so", with: "")

    static let all = [
        CLibrary(testDescription: "glibc", compiler: "gcc -pthread"),
        CLibrary(testDescription: "musl", compiler: "musl-gcc -Wl,--eh-frame-hdr", isMusls: true),
        CLibrary(
            testDescription: "musl, at a fixed address", compiler: "musl-gcc -no-pie -Wl,--eh-frame-hdr",
            isMusls: true),
        CLibrary(
            testDescription: "musl, static",
            compiler: "musl-gcc -static -DSTATIC '@\(library)static.options' '\(library)libheapsum.a'", isMusls: true,
            isStatic: true),
    ]

    func build(in scratch: Scratch, padding: Int) throws {
        let sources = "\(Built.root)/Tests/Programs/leaks"
        let (front, options) = (compiler.split(separator: " ").first ?? "", compiler.drop { $0 != " " })
        try scratch.prepare("\(front) -O1 -g -DPADDING=\(padding) -o globals '\(sources)/globals.c'\(options)")
        if !isStatic { try scratch.prepare("\(front) -O1 -g -fPIC -shared -o liblocal.so '\(sources)/local.c'") }
    }
}

@Suite struct GlobalsTests {
    @Test(arguments: CLibrary.all) func whatVariablesHoldIsReachable(library: CLibrary) throws {
        // How many blocks musl puts beside the program's variables depends on where these end, and on what is loaded.
        var near = 0
        for padding in stride(from: 1, to: 4096, by: 1023) where near == 0 {
            near = try blocksBesideVariables(library, padding: padding)
            if !library.isMusls || library.isStatic { return }
        }
        #expect(near > 0, "no block lies beside the program's variables: this shows nothing of musl")
    }

    /// Checks the verdicts; the number of blocks on the pages of the program's variables.
    private func blocksBesideVariables(_ library: CLibrary, padding: Int) throws -> Int {
        let scratch = try Scratch()
        try library.build(in: scratch, padding: padding)
        let watched = try Watched(
            [scratch.file("globals")] + (library.isStatic ? [] : [scratch.file("liblocal.so")]))
        let rows = try watched.rows()
        // main and four threads lose 50 each, with a block in each.
        #expect(rows.sum("definite") == [250, 250 * 184], "\(rows)")
        #expect(rows.sum("indirect") == [250, 250 * 200], "\(rows)")
        #expect(rows.sum("possible") == [0, 0], "\(rows)")
        #expect(rows.filter { $0.verdict == "definite" }.allSatisfy { $0.stack.contains("lose") }, "\(rows)")
        let held = rows.filter { $0.verdict == "reachable" }
        let sizes = [104, 120, 152, 168, 216, 232, 248, 264, 136] + (library.isStatic ? [] : [280])
        for size in sizes {
            let count = size == 136 ? 100 : [216, 232, 248].contains(size) ? 4 : 1
            #expect(held.contains { $0.bytes == size * count && $0.blocks == count }, "\(size): \(held)")
        }
        return try #require(try watched.lines().first.flatMap { Int($0) })
    }
}
