// heapsum in a build: the templates of ci/, whose shell steps run here against two commits of a small program; and the
// fixtures of Examples/budgets with the frameworks that they are for.

import Glibc
import TestSupport
import Testing

/// A directory with heaprun and heapsum in its PATH, as after an installation.
private final class Build {
    let scratch: Scratch
    private let oracles = Built.root + "/Tests/ReportTests/Oracles"

    init() throws {
        scratch = try Scratch()
        try scratch.prepare(
            "cd '\(scratch.path)' && mkdir bin && ln -s '\(Built.products)/heaprun' '\(Built.products)/heapsum' bin")
    }

    func run(_ script: String, _ variables: [String: String?] = [:]) throws -> Outcome {
        let path = "\(scratch.path)/bin:" + (getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin")
        let own: [String: String?] = ["PATH": path, "HEAPSUM_LIBRARY": Built.interposer, "DEBUGINFOD_URLS": nil]
        return try scratch.shell("cd '\(scratch.path)' && " + script, variables: own.merging(variables) { $1 })
    }

    /// A repository of a server; each commit keeps a number of sessions to the end.
    func commit(_ name: String, sessions: Int, line: String = "") throws {
        try scratch.write(
            "server.c",
            """
            #include <stdlib.h>
            \(line)
            static char *sessions[1000];
            __attribute__((noinline)) static char *open_session(int i) { return malloc(1000 + i % 2); }
            __attribute__((noinline)) static void handle(int n) {
                for (int i = 0; i < n; i++) sessions[i] = open_session(i);
            }
            int main(void) { handle(\(sessions)); return 0; }
            """)
        try scratch.write("Makefile", "server: server.c\n\tcc -g -O1 -o server server.c\n")
        let git = "git -C repository -c user.name=t -c user.email=t@example.org"
        let made = try run(
            """
            { [ -d repository ] || git init -q repository; } && mv server.c Makefile repository && \
            printf 'server\\nheapsum-*\\nheapsum.xml\\n' > repository/.gitignore && \
            \(git) add . && \(git) commit -qm '\(name)' && git -C repository tag \(name)
            """)
        try #require(made.exitStatus == 0, "\(made)")
    }

    func template(_ kind: String, _ file: String, _ values: [String: String]) throws -> Outcome {
        let words = values.map { "'\($0.key)=\($0.value)'" }.sorted().joined(separator: " ")
        return try run(
            "cd repository && python3 '\(oracles)/run_action.py' \(kind) '\(Built.root)/ci/\(file)' \(words)",
            ["GITHUB_STEP_SUMMARY": "\(scratch.path)/summary.md", "CI_MERGE_REQUEST_DIFF_BASE_SHA": "base"])
    }
}

@Suite struct BuildTests {
    @Test func theActionComparesWithTheBase() throws {
        let build = try Build()
        try build.commit("base", sessions: 100)
        // Other lines, another build-id, other offsets.
        try build.commit("worse", sessions: 300, line: "int unused_variable = 1;\n\n")
        let inputs = ["command": "./server", "base": "base"]
        let worse = try build.template("github", "github/action.yml", inputs)
        #expect(worse.exitStatus == 1 && worse.output.contains("failed: Compare with the base"), "\(worse)")
        #expect(worse.output.contains("::error") && worse.output.contains("open_session"), "\(worse)")
        let summary = try contents("\(build.scratch.path)/summary.md")
        #expect(summary.contains("### Heap: +200,100 bytes live at the end (+200.0 %)"), "\(summary)")
        #expect(summary.contains("open&#95;session ← handle ← main"), "\(summary)")
        #expect(summary.contains("████████████████████ +200,100        open_session\n"))
        let page = try contents("\(build.scratch.path)/repository/heapsum-growth.html")
        #expect(page.contains("<html") && page.contains("open_session"))
        #expect(
            try build.run("git -C repository status --porcelain; git -C repository worktree list | wc -l").output
                == "1\n")

        // Within the limit; the base's heap is there from the first run, as from a cache.
        let allowed = try build.template(
            "github", "github/action.yml", inputs.merging(["max-growth-bytes": "1M", "base": "gone"]) { $1 })
        #expect(allowed.exitStatus == 0, "\(allowed)")
        // A base that is not there is no failure, and is said.
        let without = try build.run("rm -rf repository/heapsum-base; : > summary.md")
        try #require(without.exitStatus == 0)
        let first = try build.template("github", "github/action.yml", inputs.merging(["base": "nothing"]) { $1 })
        #expect(first.exitStatus == 0 && first.output.contains("::warning::heapsum: there is no commit"), "\(first)")
        #expect(try contents("\(build.scratch.path)/summary.md").contains("no heap to compare with"))
        // A build that fails is a failure.
        #expect(
            try build.template("github", "github/action.yml", inputs.merging(["build": "false"]) { $1 }).exitStatus == 1
        )
    }

    @Test func theTemplateComparesWithTheBase() throws {
        let build = try Build()
        try build.commit("base", sessions: 100)
        try build.commit("same", sessions: 100, line: "int unused_variable = 1;\n\n")
        let same = try build.template("gitlab", "gitlab/heapsum.yml", ["HEAPSUM_COMMAND": "./server"])
        #expect(same.exitStatus == 0 && same.output.contains("### Heap: 0 bytes live at the end"), "\(same)")
        #expect(same.output.contains("No stack changed."), "\(same)")
        try build.commit("worse", sessions: 300, line: "\n\n")
        let worse = try build.template("gitlab", "gitlab/heapsum.yml", ["HEAPSUM_COMMAND": "./server"])
        #expect(worse.exitStatus == 1 && worse.output.contains("+200,100"), "\(worse)")
        #expect(try contents("\(build.scratch.path)/repository/heapsum-summary.md").contains("open_session"))
        // One row for both builds, by its functions; by modules and offsets there are two.
        for (option, growths) in [("--across-builds", "200100\n"), ("", "-100050 300150\n")] {
            let diff = try build.run(
                "heapsum diff \(option) --format json repository/heapsum-base repository/heapsum-heap | python3 -c "
                    + "'import json, sys; print(*sorted(r[\"growthBytes\"] for r in json.load(sys.stdin)[\"rows\"]))'")
            #expect(diff.output == growths, "\(diff)")
        }
        let report = try build.run(
            "python3 -c 'import sys, xml.dom.minidom as x; print(len(x.parse(sys.argv[1]).getElementsByTagName("
                + "\"failure\")))' "
                + "repository/heapsum.xml")
        #expect(report.output == "1\n", "\(report)")
    }

    @Test func pytestHasBudgets() throws {
        let build = try Build()
        let ran = try build.run(
            "cp '\(Built.root)'/Examples/budgets/pytest/*.py . && PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1 "
                + "heaprun --quiet --depth 12 -o heap -- python3 -m pytest -p heapsum_test "
                + "-p no:cacheprovider test_sessions.py"
        )
        #expect(ran.exitStatus == 1 && ran.output.contains("1 failed, 1 passed"), "\(ran)")
        #expect(ran.output.contains("heapsum check: FAILED") && ran.output.contains("test_that_keeps"), "\(ran)")
        let plain = try build.run("python3 -m pytest -p heapsum_test -p no:cacheprovider test_sessions.py")
        #expect(plain.exitStatus == 0 && plain.output.contains("2 passed"), "\(plain)")
    }

    @Test func gtestHasBudgets() throws {
        let build = try Build()
        try build.scratch.prepare(
            "cd '\(build.scratch.path)' && c++ -std=c++17 -O1 -g -Wall -Wextra -I'\(Built.root)/Interposer/include' "
                + "-I'\(Built.root)/Examples/budgets/gtest' -o tests '\(Built.root)/Examples/budgets/gtest/tests.cc' "
                + "-lgtest -lgtest_main -lpthread")
        let ran = try build.run("heaprun --quiet -o heap -- ./tests")
        #expect(ran.exitStatus == 1 && ran.output.contains("[       OK ] Sessions.GivesBack"), "\(ran)")
        #expect(ran.output.contains("[  FAILED  ] Sessions.Keeps") && ran.output.contains("open_session"), "\(ran)")
        let plain = try build.run("./tests")
        #expect(plain.exitStatus == 0 && plain.output.contains("[  PASSED  ] 2 tests"), "\(plain)")
    }

    @Test func swiftTestingHasBudgets() throws {
        let build = try Build()
        let products = "\(Built.root)/.build/budgets"
        try build.scratch.prepare(
            "swift build -q --build-tests --package-path '\(Built.root)/Examples/budgets/swift-testing' "
                + "--scratch-path '\(products)' >&2")
        let tests =
            "'\(products)/debug/BudgetPackageTests.xctest' --testing-library swift-testing --no-parallel"
        let ran = try build.run("heaprun --quiet -o heap -- \(tests) 2>&1")
        #expect(ran.exitStatus == 1 && ran.output.contains("givesBack() passed"), "\(ran)")
        #expect(ran.output.contains("heapsum check: FAILED") && ran.output.contains("openSession"), "\(ran)")
        let plain = try build.run("\(tests) 2>&1")
        #expect(plain.exitStatus == 0, "\(plain)")
    }
}
