// heaprun --otel: profiles of running programs on their way to a collector (Tests/ReportTests/Oracles/collector.py),
// while the program notices nothing.

import Glibc
import Launch
import TestSupport
import Testing
import Text

@Suite struct OTelSending {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private static let oracles = "\(Built.root)/Tests/ReportTests/Oracles"

    /// heaprun with these words, beside a collector that answers so.
    private func command(_ answer: String, _ words: String) -> String {
        "'\(Built.readers)' '\(Self.oracles)/collector.py' \(answer) got '\(Built.heaprun)' -o out \(words)"
    }

    private func heaprun(_ answer: String, _ words: String) throws -> Outcome {
        try scratch.shell(command(answer, words), variables: ["HEAPSUM_LIBRARY": Built.interposer])
    }

    @Test func theLastProfileIsThatOfTheImage() throws {
        let outcome = try heaprun("ok", "--otel URL '\(Built.program("formats"))'")
        #expect(outcome.exitStatus == 0, "\(outcome)")
        #expect(outcome.messages.contains("heaprun: --otel: 1 profile sent to http://127.0.0.1:"), "\(outcome)")
        try scratch.prepare(
            "'\(Built.products)/heapsum' --no-lines --format json --sort allocated-bytes out/*.heap > report.json")
        let compared = try scratch.run([Built.readers, "\(Self.oracles)/otlp.py", "report.json", "got/0.otlp"])
        #expect(compared.exitStatus == 0, "\(compared)")
    }

    @Test func runningProgramsAreSentAgainAndAgain() throws {
        try scratch.prepare("mkfifo input")
        let running = try scratch.start(
            ["/bin/sh", "-c", command("ok", "--otel URL --otel-every 1s '\(Built.program("steady"))'")],
            variables: ["HEAPSUM_LIBRARY": Built.interposer], input: scratch.file("input"))
        let seen = eventually { access(scratch.file("got/2.otlp"), F_OK) == 0 }
        #expect(seen)
        // The program reads a FIFO to its end; it is the only reader, so this ends it.
        for pid in try programs("steady", below: running.pid) { kill(pid, SIGTERM) }
        let outcome = try running.wait()
        #expect(outcome.exitStatus == 128 + SIGTERM, "\(outcome)")
        #expect(outcome.messages.contains(" profiles sent to ") && !outcome.messages.contains(" failed"), "\(outcome)")
        // Each profile of the running program has all blocks that it holds.
        let outputs = try scratch.run([
            Built.readers, "-c",
            """
            import glob
            from opentelemetry.proto.profiles.v1development import profiles_pb2
            moments = set()
            for path in glob.glob("got/*.otlp"):
                data = profiles_pb2.ProfilesData.FromString(open(path, "rb").read())
                strings = data.dictionary.string_table
                for profile in data.resource_profiles[0].scope_profiles[0].profiles:
                    if strings[profile.sample_type.type_strindex] != "inuse_objects":
                        continue
                    moments.add(profile.time_unix_nano)
                    held = sum(sample.values[0] for sample in profile.samples if "hold" in [
                        strings[data.dictionary.function_table[line.function_index].name_strindex]
                        for place in data.dictionary.stack_table[sample.stack_index].location_indices
                        for line in data.dictionary.location_table[place].lines])
                    assert held == 20_000, held
            assert len(moments) >= 3
            print("ok")
            """,
        ])
        #expect(outputs.output == "ok\n", "\(outputs)")
    }

    /// The processes of this name that a process started, directly or not.
    private func programs(_ name: String, below pid: pid_t) throws -> [pid_t] {
        let text = try scratch.shell("ps -e -o pid=,ppid=,comm=").output
        let all = text.split(separator: "\n").compactMap { line -> (pid: pid_t, parent: pid_t, name: String)? in
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count == 3, let pid = pid_t(words[0]), let parent = pid_t(words[1]) else { return nil }
            return (pid, parent, String(words[2]))
        }
        var below: Set<pid_t> = [pid]
        for _ in 0 ..< 8 { for one in all where below.contains(one.parent) { below.insert(one.pid) } }
        return all.filter { $0.name == name && below.contains($0.pid) }.map(\.pid)
    }

    /// The exit status stays the program's, and heaprun ends, whatever the collector does.
    @Test(arguments: ["refuse", "silent", "trickle"]) func aBadCollectorChangesNothing(answer: String) throws {
        let outcome = try heaprun(answer, "--otel URL sh -c 'echo out; echo err >&2; exit 7'")
        #expect(outcome.exitStatus == 7 && outcome.output == "out\n", "\(outcome)")
        #expect(outcome.messages.contains("err\n") && outcome.messages.contains("heaprun: --otel: "), "\(outcome)")
        #expect(
            outcome.messages.contains(" failed: ") || outcome.messages.contains("has not taken the last profiles"),
            "\(outcome)")
    }

    /// Whoever does not want to wait for a silent collector interrupts heaprun: the sending stops, the status stays.
    @Test(arguments: [SIGINT, SIGTERM, SIGHUP]) func aSignalStopsTheSending(number: Int32) throws {
        let running = try scratch.start(
            ["/bin/sh", "-c", command("silent", "--otel URL sh -c 'true | cat; exit 7'")],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        // The program has ended, and its first profile waits for an answer.
        try #require(eventually { access(scratch.file("got/0.otlp"), F_OK) == 0 })
        // heaprun, which is older than its sender.
        kill(try #require(try programs("heaprun", below: running.pid).min()), number)
        let outcome = try running.wait()
        #expect(outcome.exitStatus == 7, "\(outcome)")
        #expect(outcome.messages.contains("SIG\(signalName(number)) has stopped the sending to http://"), "\(outcome)")
        #expect(outcome.messages.contains("; 0 profiles sent; not sent, or not answered: "), "\(outcome)")
        #expect(outcome.messages.contains(".heap"), "\(outcome)")
    }

    @Test func noCollectorChangesNothing() throws {
        let outcome = try scratch.record(
            ["sh", "-c", "kill -9 $$"], options: ["-o", "out", "--otel", "http://127.0.0.1:1"],
            library: Built.interposer)
        #expect(outcome.exitStatus == 137, "\(outcome)")
        #expect(outcome.messages.contains("failed: http://127.0.0.1:1/v1development/profiles: "), "\(outcome)")
        // And nothing is left behind: the sender has ended with heaprun.
        #expect(try scratch.shell("ls out").output.hasSuffix(".heap\n"))
    }

    /// The program has no descriptor of the sender's, and the sender gets no signal for the program's group.
    @Test func theProgramSeesNothingOfIt() throws {
        try scratch.write("program", "ls -l /proc/self/fd | grep -c socket\ntrap '' TERM\nkill -TERM 0\necho on\n")
        let outcome = try scratch.run(
            [
                Built.readers, "\(Self.oracles)/collector.py", "ok", "got", Built.heaprun, "-o", "out", "--otel", "URL",
                "sh", "program",
            ], variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(outcome.output == "0\non\n" && outcome.exitStatus == 0, "\(outcome)")
        #expect(outcome.messages.contains(" sent to ") && !outcome.messages.contains(" failed"), "\(outcome)")
    }

    @Test func wrongOptionsRunNothing() throws {
        for (options, text) in [
            (["--otel", "nonsense"], "not the address of a collector"),
            (["--otel", "http://127.0.0.1:1", "--otel-every", "10ms"], "from 1s to 1d"),
            (["--otel-every", "10s"], "goes with --otel"),
            (["--otel", "http://127.0.0.1:1", "--exec"], "heapsum push"),
        ] {
            let outcome = try scratch.record(["touch", "ran"], options: options, library: Built.interposer)
            #expect(outcome.exitStatus == 125 && outcome.messages.contains(text), "\(options): \(outcome)")
            #expect(access(scratch.file("ran"), F_OK) != 0)
        }
    }
}
