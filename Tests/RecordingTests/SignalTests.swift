// The dump signal and the program's own use of it: what the program prints and how it ends is as in a plain run,
// wherever that run survives the signal.

import CHeapImage
import Glibc
import HeapImage
import TestSupport
import Testing

@Suite struct SignalTests {
    /// Whether SIGUSR2 has been sent to the process and not handled yet.
    private func isWaiting(_ pid: Int32) -> Bool {
        guard let status = try? contents("/proc/\(pid)/status"),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("ShdPnd:") }),
            let mask = UInt64(line.dropFirst("ShdPnd:\t".count), radix: 16)
        else { return false }
        return mask >> UInt64(SIGUSR2 - 1) & 1 != 0
    }

    /// A run that gets SIGUSR2 three times between "ready" and its end.
    private func run(_ how: String, recorded: Bool, chosen: Bool = false) throws -> Recording {
        let scratch = try Scratch()
        try scratch.prepare("mkfifo input")
        let variables: [String: String?] =
            recorded ? scratch.recordingVariables(chosen ? ["HEAPSUM_SIGNAL": "USR2"] : [:]) : [:]
        let running = try scratch.start(
            [try Built.program("signals"), how], variables: variables, input: scratch.path + "/input")
        #expect(try eventually { try contents(running.outputPath).contains("ready") })
        for number in 1 ... 3 {
            kill(running.pid, SIGUSR2)
            // Two that wait to be handled at once are one.
            if how != "blocked" { #expect(eventually(seconds: 300) { !isWaiting(running.pid) }) }
            // A dump that is due is waited for, so that each request has one of its own.
            _ = eventually(seconds: recorded && (chosen || ["none", "asked"].contains(how)) ? 20 : 0) {
                access("\(scratch.path)/signals.\(running.pid).\(number).heap", R_OK) == 0
            }
        }
        let input = open(scratch.path + "/input", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
        if input >= 0 { // where a plain run was ended by the signal nobody reads any more
            write(input, "x\n", 2)
            close(input)
        }
        return Recording(scratch: scratch, outcome: try running.wait())
    }

    @Test(arguments: ["own", "signal", "siginfo", "ignore"])
    func aProgramsOwnHandlerKeepsTheSignal(how: String) throws {
        let plain = try run(how, recorded: false), recorded = try run(how, recorded: true)
        #expect(recorded.outcome == plain.outcome)
        #expect(recorded.outcome.output.hasSuffix(how == "ignore" ? "came 0\n" : "came 3\n"))
        let image = try recorded.image(of: "signals") // and no dump
        #expect(image.hasFlag(HEAP_FLAG_SIGNAL_OF_PROGRAM))
    }

    @Test(arguments: ["own", "signal", "siginfo", "ignore"])
    func aChosenSignalDumpsAndThenCallsTheProgram(how: String) throws {
        let plain = try run(how, recorded: false), recorded = try run(how, recorded: true, chosen: true)
        #expect(recorded.outcome == plain.outcome)
        #expect(try recorded.images(of: "signals").filter { $0.image.kind == .dump }.count == 3)
        #expect(try recorded.images(of: "signals").allSatisfy { !$0.image.hasFlag(HEAP_FLAG_SIGNAL_OF_PROGRAM) })
    }

    @Test(arguments: ["none", "asked"], [false, true])
    func aProgramThatLeavesItAloneIsDumpedAndRunsOn(how: String, chosen: Bool) throws {
        let recorded = try run(how, recorded: true, chosen: chosen)
        #expect(recorded.outcome.exitStatus == 0)
        #expect(recorded.outcome.output.hasSuffix("ready\ncame 0\n"))
        // To the program it looks as if nobody had taken the signal.
        if how == "asked" { #expect(recorded.outcome.output.hasPrefix("default 1, flags 0\nset to default: 1\n")) }
        let dumps = try recorded.images(of: "signals").filter { $0.image.kind == .dump }
        #expect(dumps.count == 3)
        for dump in dumps { #expect(try Reduced(dump.image).holding("main").bytes == 1234, "\(dump.name)") }
    }

    @Test(arguments: [false, true])
    func aSignalRaisedByTheProgramEndsItAsEver(chosen: Bool) throws {
        let plain = try Scratch().run([try Built.program("signals"), "raise"])
        let recorded = try Scratch().recordProgram(
            "signals", ["raise"], variables: chosen ? ["HEAPSUM_SIGNAL": "USR2"] : [:])
        #expect(recorded.outcome == plain)
        #expect(plain.exitStatus == 128 + SIGUSR2)
        _ = try recorded.image(of: "signals") // and no dump
    }
}
