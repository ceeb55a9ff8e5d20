// A program under heaprun is as it would be without it: same status, same output, same descriptors, directory,
// signal state and group. Oracle: the same command run plainly.

import Glibc
import TestSupport
import Testing
import Text

@testable import Launch

@Suite struct LaunchTests {
    @Test(arguments: [
        ("true", 0), ("false", 1), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
    ]) func theStatusIsThePrograms(script: String, status: Int32) throws {
        #expect(try Scratch().record(["sh", "-c", script]).exitStatus == status)
    }

    @Test func ownFailuresHaveTheirStatuses() throws {
        let scratch = try Scratch()
        try scratch.write("plain", "not a program\n", mode: 0o644)
        #expect(try scratch.record(["no-such-program-here"]).exitStatus == 127)
        #expect(try scratch.record(["./no-such-program-here"]).exitStatus == 127)
        #expect(try scratch.record(["./plain"]).exitStatus == 126)
        #expect(try scratch.record(["/"]).exitStatus == 126)
        for options in [
            ["--no-such-option"], ["--depth", "1025"], ["--depth", "-1"], ["--signal", "KILL"], ["--unwind", "guess"],
            ["--only", "a:b"],
        ] {
            let outcome = try scratch.record(["true"], options: options)
            #expect(outcome.exitStatus == 125, "\(options)")
            #expect(outcome.output.isEmpty && !outcome.messages.isEmpty)
        }
        #expect(try scratch.record([]).exitStatus == 125)
        #expect(try scratch.record(["true"], options: ["-o", "plain/below"]).exitStatus == 125)
        #expect(try scratch.record(["true"], library: "/nonexistent.so").exitStatus == 125)
        let help = try scratch.record(["--help"])
        #expect(help.exitStatus == 0 && help.output.contains("--output") && help.messages.isEmpty)
    }

    @Test func outputAndArgumentsArriveUntouched() throws {
        let scratch = try Scratch()
        let script = #"printf '%s|' "$@" | od -c; echo message >&2; cat"#
        let words = ["sh", "-c", script, "zero", "--quiet", "", "two words", "--", "ü", "-o", "x"]
        let plain = try scratch.run(words)
        let recorded = try scratch.record(words)
        #expect(recorded == plain)
        #expect(recorded.messages == "message\n")
        // Bytes that are no UTF-8, by the shell's printf.
        let bytes = "printf 'a\\377\\376b'"
        let odd = try scratch.shell("/bin/sh -c 'printf %s \"$1\" | od -c' x \"$(\(bytes))\"")
        let oddRecorded = try scratch.shell(
            "\(Built.heaprun) --quiet /bin/sh -c 'printf %s \"$1\" | od -c' x \"$(\(bytes))\"",
            variables: ["HEAPSUM_LIBRARY": emptyLibrary])
        #expect(odd.output.contains("377 376"))
        #expect(oddRecorded == odd)
    }

    @Test func descriptorsDirectoryAndMaskAreTheCallers() throws {
        let scratch = try Scratch()
        // ls's own descriptor of the directory shows its PID; the numbers and targets of the others count.
        let report = "pwd; umask; ulimit -a; ls -l /proc/self/fd | awk 'NR > 1 { print $9, $11 }' | grep -v /proc/"
        let redirected = "exec 5</dev/zero 9>/dev/null"
        let command = { (prefix: String) in "\(redirected); \(prefix) /bin/sh -c \(shellWord(report))" }
        let plain = try scratch.shell(command(""))
        let recorded = try scratch.shell(
            command("\(Built.heaprun) --quiet"), variables: ["HEAPSUM_LIBRARY": emptyLibrary])
        #expect(plain.output.contains("9 /dev/null"))
        // stdout is a file of its own in each run.
        func withoutFiles(_ text: String) -> [Substring] {
            text.split(separator: "\n").filter {
                !$0.contains("/out-") && !$0.contains("/err-") && !$0.contains("pipe:")
            }
        }
        #expect(withoutFiles(recorded.output) == withoutFiles(plain.output))
    }

    @Test func closedDescriptorsStayClosedAndReceiveNothing() throws {
        let scratch = try Scratch()
        let outcome = try scratch.shell(
            "\(Built.heaprun) -o images /bin/sh -c 'ls /proc/$$/fd > list' <&- >&- 2>&-; echo $?; cat list",
            variables: ["HEAPSUM_LIBRARY": emptyLibrary])
        let plain = try scratch.shell("/bin/sh -c 'ls /proc/$$/fd > list' <&- >&- 2>&-; echo $?; cat list")
        #expect(outcome.output == plain.output)
    }

    // Signal masks can't be set from a shell; python3 sets them and then becomes heaprun.
    @Test(arguments: [
        "", "signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD, signal.SIGRTMIN])",
    ]) func signalStateIsTheCallers(preparation: String) throws {
        let scratch = try Scratch()
        func run(_ command: String) throws -> Outcome {
            try scratch.write(
                "start.py", "import os, signal, sys\n\(preparation)\nos.execvp(sys.argv[1], sys.argv[1:])\n")
            return try scratch.shell("python3 start.py \(command)", variables: ["HEAPSUM_LIBRARY": emptyLibrary])
        }
        let report = "/bin/grep -E '^(Sig|Shd)' /proc/self/status"
        func masks(_ outcome: Outcome) -> [Substring] {
            outcome.output.split(separator: "\n").filter { !$0.hasPrefix("SigQ") }
        }
        let plain = try run(report)
        let recorded = try run("\(Built.heaprun) --quiet \(report)")
        #expect(masks(plain).count == 5)
        #expect(masks(recorded) == masks(plain))
        // And the status comes back even where the caller lets the kernel reap.
        #expect(try run("\(Built.heaprun) --quiet sh -c 'exit 7'").exitStatus == 7)
    }

    @Test func execTakesTheLaunchersPlace() throws {
        let scratch = try Scratch()
        let running = try scratch.startRecorded(
            ["sh", "-c", "echo $$ $LD_PRELOAD $HEAPSUM_OUTPUT $HEAPSUM_RUN_DIR"], options: ["--exec", "-o", "images"])
        let pid = running.pid
        #expect(try running.wait().output == "\(pid) \(emptyLibrary) \(scratch.path)/images\n")
    }

    @Test func theRunDirectoryIsPrivateAndGoesAway() throws {
        let scratch = try Scratch()
        let outcome = try scratch.record(
            ["sh", "-c", "stat -c '%a %u' \"$HEAPSUM_RUN_DIR\"; echo \"$HEAPSUM_RUN_DIR\""],
            options: ["--quiet", "-o", "a/b"])
        let lines = outcome.output.split(separator: "\n")
        #expect(lines.first == "700 \(getuid())")
        #expect(access(String(lines[1]), F_OK) != 0)
        #expect(access("\(scratch.path)/a/b", F_OK) == 0)
        // Too little room in memory: then in the output directory, and the reason is there.
        let place = try RunDirectory(output: .init(scratch.path), leastBytes: .max)
        #expect(!place.isInMemory && place.note != nil && place.path.string.hasPrefix(scratch.path))
        #expect(place.removeIfEmpty())
    }

    @Test func aProgramWithoutAnImageIsSaid() throws {
        let outcome = try Scratch().record(["true"], options: [])
        #expect(outcome.exitStatus == 0 && outcome.output.isEmpty)
        #expect(outcome.messages.contains("true was not recorded: no image of it appeared"))
    }
}
