// Names of JIT compilers' code are kept with the image: they are there when the map and the jitdump file are gone. The
// oracles are Tests/Programs/compiles.c, which says what allocated each of its blocks; and node and Java, whose
// programs have functions of known names.

import Glibc
import TestSupport
import Testing
import Text

@Suite struct JITTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private struct Named: Equatable, CustomStringConvertible {
        var name: String?, file: String?, line: Int?
        var description: String { "\(name ?? "-") \(file ?? "-"):\(line ?? 0)" }
    }

    /// The frames of all rows, by the row's bytes, innermost first; also those of rows with equal bytes.
    private func frames(_ files: String, _ options: String = "") throws -> [(bytes: UInt64, frames: [Named])] {
        let outcome = try scratch.shell("'\(Built.products)/heapsum' --format json --frames 0 \(options) \(files)")
        guard outcome.exitStatus == 0 else { throw Failure("\(outcome)") }
        return try #require(JSONReader.read(Array(outcome.output.utf8))["rows"]?.array).map { row in
            (
                try #require(row["bytes"]?.integer),
                try #require(row["frames"]?.array).map {
                    Named(
                        name: $0["function"]?.string, file: $0["file"]?.string,
                        line: $0["line"]?.integer.map { Int($0) })
                }
            )
        }
    }

    /// Whether each block is of the function, file and line that the program said.
    private func expectAgreement(
        _ files: String, said output: String, path: String = "source/compiled.src", renamed: (String) -> String = { $0 }
    ) throws {
        let rows = try frames(files)
        let expected = output.split(separator: "\n").map { $0.split(separator: " ") }
        #expect(expected.count >= 8)
        for words in expected {
            let bytes = try #require(UInt64(words[0])), line = try #require(Int(words[words.count - 1]))
            let name = renamed(words[1 ..< words.count - 1].joined(separator: " "))
            let wanted = Named(
                name: name == "-" ? nil : name, file: line == 0 ? nil : path, line: line == 0 ? nil : line)
            let found = rows.filter { $0.bytes == bytes }
            #expect(!found.isEmpty, "\(bytes)")
            for row in found {
                // leave, the compiled function, run
                #expect(row.frames.count > 2 && row.frames[0].name == "leave" && row.frames[2].name == "run")
                #expect(row.frames.count > 1 && row.frames[1] == wanted, "\(bytes): \(row.frames[1]), not \(wanted)")
            }
        }
    }

    private func programs(_ name: String, below pid: pid_t) throws -> [pid_t] {
        let all = try scratch.shell("ps -e -o pid=,ppid=,comm=").output.split(separator: "\n")
            .map { $0.split(separator: " ", maxSplits: 2) }.filter { $0.count == 3 }
        var below = ["\(pid)"]
        for _ in 0 ..< 8 { below += all.filter { below.contains(String($0[1])) }.map { String($0[0]) } }
        return all.filter { $0[2] == name && below.contains(String($0[0])) }.compactMap { pid_t($0[0]) }
    }

    private func removeFiles(_ pid: some CustomStringConvertible) {
        _ = system("rm -f /tmp/perf-\(pid).map '\(scratch.path)'/jit-*.dump '\(scratch.path)'/*.log")
    }

    private func compiles(_ arguments: String...) throws -> [String] { [try Built.program("compiles")] + arguments }

    @Test(arguments: ["map", "dump", "both", "shifted"]) func namesOutliveTheFiles(_ kind: String) throws {
        let outcome = try scratch.record(
            try compiles(kind), options: ["-o", "images"], library: Built.interposer)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let pid = try #require(outcome.messages.split(separator: "PID ").dropFirst().first?.prefix { $0.isNumber })
        removeFiles(pid)
        #expect(outcome.messages.contains("leave ← moves ← run"), "\(outcome.messages)")
        try expectAgreement("images/*.heap", said: outcome.output)
        // A copy has them, and a redacted copy has no directory of theirs.
        try scratch.prepare("'\(Built.products)/heapsum' pack -o copies images/*.heap")
        try expectAgreement("copies/*.heap", said: outcome.output)
        try scratch.prepare("'\(Built.products)/heapsum' pack --with-symbols -o named images/*.heap")
        try expectAgreement("named/*.heap", said: outcome.output)
        try scratch.prepare("'\(Built.products)/heapsum' pack --redact --with-symbols -o redacted images/*.heap")
        try expectAgreement("redacted/*.heap", said: outcome.output, path: "compiled.src") {
            $0.hasPrefix("steady") ? "steady steady.src:7" : $0
        }
        #expect(try scratch.shell("grep -c /srv/app redacted/*.heap").output.hasPrefix("0"))
        let table = try scratch.shell("'\(Built.products)/heapsum' images/*.heap").output
        #expect(table.contains("of compiled code without a name: a JIT compiler put several functions there"))
        let info = try scratch.shell("'\(Built.products)/heapsum' info images/*.heap").output
        #expect(info.contains("compiled code"), "\(info)")
    }

    /// Of several processes in one report each keeps its own names.
    @Test func severalProcessesHaveTheirNames() throws {
        let program = try Built.program("compiles")
        let outcome = try scratch.record(
            ["sh", "-c", "'\(program)' dump; '\(program)' dump; true"], options: ["-o", "images"],
            library: Built.interposer)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        _ = system("rm -f '\(scratch.path)'/jit-*.dump")
        #expect(try scratch.shell("ls images | wc -l").output == "3\n")
        try expectAgreement("images", said: outcome.output)
    }

    /// Another program takes the process, with the same PID, and by setarch the same addresses. The files of the first
    /// are there until the second writes its own. Each has its own names, or none and a reason.
    @Test(arguments: [("map", "none"), ("dump", "none"), ("map", "map2"), ("map", "dump2"), ("dump", "map2")])
    func aProgramThatTakesThePlaceHasItsOwnNames(_ first: String, _ second: String) throws {
        let outcome = try scratch.record(
            ["setarch", "-R"] + compiles(first, ".", "exec") + compiles(second),
            options: ["-o", "images", "--only", "compiles"], library: Built.interposer)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        let pid = try #require(outcome.messages.split(separator: "PID ").dropFirst().first?.prefix { $0.isNumber })
        removeFiles(pid)
        let said = outcome.output.split(separator: "\n", omittingEmptySubsequences: false).map { $0 + "\n" }
        let next = try #require(said.dropFirst().firstIndex { $0.hasPrefix("11000 ") })
        let images = try scratch.shell("ls -d \"$PWD\"/images/compiles*.heap").output.split(separator: "\n").map {
            String($0)
        }
        #expect(images.count == 2)
        for image in images {
            let info = try scratch.shell("'\(Built.products)/heapsum' info '\(image)'").output
            let isFirst = info.contains("replaced by another program (exec)")
            let own = (isFirst ? said[..<next] : said[next...]).joined()
            if isFirst && first == "map" && second == "map2" {
                // The second has written over its map.
                #expect(outcome.messages.contains("/tmp/perf-\(pid).map: not used: it is newer"), "\(outcome)")
                try expectAgreement("'\(image)'", said: withoutNames(own))
            } else {
                try expectAgreement("'\(image)'", said: own)
            }
        }
        try expectNoNameOfTwo("images/compiles*.heap")
    }

    /// In one report, what both have in the same place is neither's.
    private func expectNoNameOfTwo(_ files: String) throws {
        let rows = try frames(files, "--set all").filter { $0.bytes >= 22_000 && $0.frames.first?.name == "leave" }
        #expect(rows.count >= 5, "\(rows.count)")
        for row in rows { #expect(row.frames.count > 2 && row.frames[1].name == nil, "\(row)") }
    }

    private func withoutNames(_ said: String) -> String {
        said.split(separator: "\n").map { $0.prefix { $0 != " " } + " - 0\n" }.joined()
    }

    @Test(arguments: ["map", "dump"]) func aDumpAndARunningProgramHaveThem(_ kind: String) throws {
        try scratch.prepare("mkfifo input")
        let running = try scratch.start(
            [Built.heaprun, "-o", "images", "--quiet"] + compiles(kind, ".", "wait"),
            variables: ["HEAPSUM_LIBRARY": Built.interposer], input: scratch.file("input"))
        #expect(try eventually { try contents(running.outputPath).contains("moves") })
        let said = try contents(running.outputPath)
        let pid = try #require(try programs("compiles", below: running.pid).first)
        // Live, as the program runs.
        try expectAgreement("\(pid)", said: said)
        try scratch.prepare("'\(Built.heapdump)' \(pid)")
        removeFiles(pid)
        try expectAgreement("images/*.1.heap", said: said)
        kill(pid, SIGKILL)
        _ = try running.wait()
    }

    /// What is there and can't be used, heapdump says as heaprun does at the end.
    @Test func whatIsNotUsedIsSaidByAll() throws {
        try scratch.prepare("mkfifo input")
        let running = try scratch.start(
            [Built.heaprun, "-o", "images"] + compiles("map", ".", "wait"),
            variables: ["HEAPSUM_LIBRARY": Built.interposer], input: scratch.file("input"))
        #expect(try eventually { try contents(running.outputPath).contains("moves") })
        let pid = try #require(try programs("compiles", below: running.pid).first)
        try scratch.prepare("touch -d '1 hour ago' /tmp/perf-\(pid).map")
        let dump = try scratch.run([Built.heapdump, "\(pid)"])
        let reason = "/tmp/perf-\(pid).map: not used: it is older than the process"
        #expect(dump.exitStatus == 0 && dump.messages.contains("heapdump: "), "\(dump)")
        #expect(dump.messages.contains(reason), "\(dump)")
        kill(pid, SIGTERM)
        let outcome = try running.wait()
        #expect(outcome.messages.contains("heaprun: \(reason)"), "\(outcome)")
        removeFiles(pid)
    }

    /// A stack's key has the name, so that it is the same in each process.
    @Test(arguments: ["map", "dump"]) func keysAreTheSameInEachProcess(_ kind: String) throws {
        var keys: [[String]] = []
        for run in ["one", "two"] {
            let outcome = try scratch.record(
                try compiles(kind), options: ["-o", run, "--quiet"], library: Built.interposer)
            #expect(outcome.exitStatus == 0, "\(outcome)")
            let report = try scratch.shell("'\(Built.products)/heapsum' --format json --frames 0 \(run)/*.heap").output
            // Those whose compiled function has a name.
            let rows = try #require(JSONReader.read(Array(report.utf8))["rows"]?.array).filter {
                ($0["bytes"]?.integer ?? 0) >= 11000 && $0["frames"]?.array?[1]["function"]?.string != nil
            }
            keys.append(rows.compactMap { $0["stackKey"]?.string }.sorted())
            // The tables have the same.
            try scratch.prepare("'\(Built.products)/heapsum' table -o \(run)-table \(run)/*.heap")
            let facts = try scratch.shell("cut -d, -f11 \(run)-table/facts/*.csv").output.split(separator: "\n")
            #expect(Set(keys[keys.count - 1]).isSubset(of: facts.map { String($0) }))
        }
        #expect(keys[0] == keys[1] && keys[0].count >= 4)
    }

    /// The process has another PID and another /tmp. /tmp of this machine has a map of that PID, too, which is not its.
    @Test func aSandboxHasItsOwnMap() throws {
        let place = "/var/tmp/heapsum-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try scratch.prepare("mkdir \(place) && cp '\(Built.interposer)' '\(try Built.program("compiles"))' \(place)")
        defer { _ = system("rm -r \(place)") }
        try scratch.prepare("mkfifo input")
        let running = try scratch.start(
            [
                Built.heaprun, "-o", "images", "--quiet", "--only", "compiles", "bwrap", "--ro-bind", "/", "/", "--dev",
                "/dev",
            ]
                + ["--tmpfs", "/tmp", "--unshare-pid", "--proc", "/proc", "\(place)/compiles", "map", ".", "wait"],
            variables: ["HEAPSUM_LIBRARY": "\(place)/libheapsum.so"], input: scratch.file("input"))
        #expect(try eventually { try contents(running.outputPath).contains("moves") })
        let said = try contents(running.outputPath)
        let pid = try #require(try programs("compiles", below: running.pid).first)
        try expectAgreement("\(pid)", said: said)
        kill(pid, SIGKILL)
        _ = try running.wait()
        try expectAgreement("images/*.heap", said: said)
    }

    // MARK: Programs of others

    /// Keeps 200 buffers of 100,000 bytes; `keep` is called so often that it is compiled.
    private static let script = """
        function keep(kept) {
            kept.push(Buffer.alloc(100000, 1));
        }
        const kept = [];
        for (let i = 0; i < 400; i++) { keep(kept); if (i % 2) kept.pop(); }
        console.log(process.pid);
        """

    @Test(arguments: ["--perf-basic-prof", "--perf-prof"]) func nodeNamesItsFunctions(_ option: String) throws {
        try scratch.write("app.js", Self.script)
        let outcome = try scratch.record(
            ["node", option, "--interpreted-frames-native-stack", "--no-opt", "app.js"], options: ["-o", "images"],
            library: Built.interposer)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        removeFiles(outcome.output.split(separator: "\n").first ?? "")
        let rows = try frames("images/node.*.heap", "--at peak").filter {
            $0.bytes >= 100_000 && $0.bytes % 100_000 == 0
        }
        let held = rows.reduce(0) { $0 + $1.bytes }
        #expect(held >= 200 * 100_000, "\(held)")
        for row in rows {
            // Innermost first: node's own functions, then keep, then the module, in whatever tier they were.
            let own = row.frames.compactMap(\.name).filter { $0.contains("app.js") }
            #expect(own.count == 2 && own[0].contains("keep ") && !own[1].contains("keep "), "\(own)")
            for frame in row.frames where frame.name?.hasPrefix("JS:") == true {
                guard let line = frame.line, let file = frame.file, let name = frame.name else { continue }
                // The function's name has its file and first line.
                let place = try #require(name.split(separator: "\(file):").last)
                let first = try #require(Int(place.prefix { $0.isNumber }))
                #expect(name.contains(" \(file):") && line >= first && line < first + 500, "\(frame)")
            }
        }
    }

    @Test func javaNamesItsMethods() throws {
        try scratch.write(
            "Leak.java",
            """
            import java.nio.ByteBuffer;
            import java.util.ArrayList;
            public class Leak {
                static final ArrayList<ByteBuffer> kept = new ArrayList<>();
                static void remember(int request) { kept.add(ByteBuffer.allocateDirect(10_000)); }
                static void ignore(int request) { ByteBuffer.allocateDirect(20_000); }
                public static void main(String[] words) {
                    for (int i = 0; i < 12_000; i++) { remember(i); if (i % 50 == 0) ignore(i); }
                    System.out.println(ProcessHandle.current().pid());
                }
            }
            """)
        try scratch.prepare("javac Leak.java")
        let outcome = try scratch.record(
            [
                "java", "-XX:+UnlockDiagnosticVMOptions", "-XX:+DumpPerfMapAtExit", "-XX:+PreserveFramePointer",
                "-XX:-UseCodeCacheFlushing", "-XX:CompileCommand=quiet",
                "-XX:CompileCommand=dontinline,Leak::remember", "Leak",
            ], options: ["-o", "images"], library: Built.interposer)
        #expect(outcome.exitStatus == 0, "\(outcome)")
        removeFiles(outcome.output.split(separator: "\n").first ?? "")
        let rows = try frames("images/java.*.heap").filter { row in
            row.frames.contains { $0.name?.hasPrefix("Unsafe_AllocateMemory") == true }
        }
        let remembered = rows.filter { row in row.frames.contains { $0.name == "void Leak.remember(int)" } }
        let held = remembered.reduce(0) { $0 + $1.bytes }
        #expect(held > 6_000 * 10_000, "\(held) of \(rows.reduce(0) { $0 + $1.bytes })")
        // Nothing of the other method's: what it allocated is garbage, or never compiled.
        #expect(!remembered.contains { row in row.frames.contains { $0.name == "void Leak.ignore(int)" } })
    }
}
