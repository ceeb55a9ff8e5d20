// Budgets of memory by test, for swift-testing under heaprun:
//
//     swift build --build-tests
//     heaprun --quiet -o heap -- .build/debug/BudgetPackageTests.xctest --testing-library swift-testing
//
// A test with .heapBudget("64K") fails if more bytes are live after it than before it. Other tests allocate while it
// runs, so its suite is serialized and the run is not parallel (--no-parallel). Without heaprun it is a test like any
// other.

import Glibc
import Testing

struct HeapBudget: TestTrait, SuiteTrait, TestScoping {
    let size: String
    var isRecursive: Bool { true }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        guard testCase != nil, let before = Self.takeDump() else { return try await function() }
        try await function()
        guard let after = Self.takeDump() else { return }
        let command =
            "unset LD_PRELOAD; heapsum check --baseline '\(before)' --max-growth-bytes \(size) --top 3 --frames 8 "
            + "'\(after)' 2>&1"
        var said: [UInt8] = []
        let check = popen(command, "re")
        while let check, case let byte = fgetc(check), byte != EOF { said.append(UInt8(byte)) }
        if check.map({ pclose($0) }) != 0 {
            // The dumps stay: heapsum diff shows all.
            Issue.record("\(String(decoding: said, as: UTF8.self))")
            return
        }
        unlink(before)
        unlink(after)
    }

    /// Writes a dump of this process, and returns its path; nil if it is not recorded.
    private static func takeDump() -> String? {
        guard let dump = dlsym(nil, "heapsum_dump") else { return nil }
        unsafeBitCast(dump, to: (@convention(c) () -> Void).self)()
        let output = getenv("HEAPSUM_OUTPUT").map { String(cString: $0) } ?? "."
        var found = glob_t()
        defer { globfree(&found) }
        guard glob("\(output)/*.\(getpid()).*.heap", 0, nil, &found) == 0 else { return nil }
        let paths = (0 ..< Int(found.gl_pathc)).compactMap { found.gl_pathv[$0].map { String(cString: $0) } }
        func number(_ path: String) -> Int { Int(path.split(separator: ".").dropLast().last ?? "") ?? 0 }
        return paths.max { number($0) < number($1) }
    }
}

extension Trait where Self == HeapBudget {
    /// The live bytes that a test may leave behind: "64K", "1M", or a number.
    static func heapBudget(_ size: String) -> Self { HeapBudget(size: size) }
}
