// Real programs for a minute: one that leaks, one that saws, one that warms up, one that leaks descriptors, one that
// leaves its socket's queue full, and three that do nothing wrong. Each is told for what it is, and no other process is
// accused. Oracles for the numbers: ps, and free.

import Glibc
import TestSupport
import Testing

@testable import Watch

private let heapwatch = Built.products + "/heapwatch"

@Suite struct GrowthTests {
    @Test(.timeLimit(.minutes(5))) func eachIsToldRightlyInAMinute() throws {
        let scratch = try Scratch()
        let program = try Built.program("growth")
        let kinds = ["leak", "saw", "warm", "descriptors", "queue", "steady", "walk", "idle"]
        let running = try kinds.map { try scratch.start([program, $0]) }
        defer {
            for process in running {
                kill(process.pid, SIGKILL)
                _ = try? process.wait()
            }
        }
        for process in running { #expect(try eventually { try contents(process.outputPath).contains("ready") }) }
        let outcome = try scratch.run(
            [heapwatch, "-o", "w", "--interval", "1s", "--duration", "60s"]
                + running.flatMap { ["--pid", "\($0.pid)"] })
        #expect(outcome.exitStatus == 0, "\(outcome.messages)")

        let verdict = try verdict(of: "\(scratch.path)/w")
        let found = verdict.growing.filter { $0.pid != nil }
        #expect(
            Set(found.map { "\($0.name): \($0.what)" }).subtracting(["hw-leak: address space"]) == [
                "hw-leak: anonymous memory", "hw-descriptors: files",
            ], "\(verdict.growing)")
        let leak = try #require(found.first { $0.name == "hw-leak" })
        // 100 KB, at most ten times a second: what the machine's load leaves of it, the level's first and last value
        // tell.
        func isSteady(_ finding: Finding) -> Bool {
            let rate = (finding.last - finding.first) / (Double(verdict.to - verdict.from) / 1000)
            return (0.6 ... 1.6).contains(finding.trend.slopePerSecond / rate)
        }
        #expect(isSteady(leak) && leak.trend.slopePerSecond < 1.05 * 1_024_000, "\(leak)")
        #expect(leak.trend.slopeLow <= leak.trend.slopePerSecond && leak.trend.slopePerSecond <= leak.trend.slopeHigh)
        #expect(
            leak.pid == Int64(running[0].pid) && leak.exhaustedAt != nil
                && leak.next?.command == "heaprun -o heap \(program) leak")
        let descriptors = try #require(found.first { $0.name == "hw-descriptors" })
        #expect(
            descriptors.kind == .descriptors && isSteady(descriptors) && descriptors.trend.slopePerSecond < 5.1,
            "\(descriptors)")
        #expect(
            verdict.undrained.map(\.name).contains("hw-queue")
                && verdict.undrained.allSatisfy { $0.name == "hw-queue" }, "\(verdict.undrained)")
        #expect(
            verdict.moving.contains {
                $0.name == "hw-saw" && $0.what == "anonymous memory" && $0.trend.shape == .sawTooth
            })
        #expect(
            verdict.moving.contains {
                $0.name == "hw-warm" && $0.what == "anonymous memory" && $0.trend.shape == .warmUp
            })

        // The same by the command, read by somebody else's JSON parser; its exit status, too.
        let json = try scratch.shell(
            """
            '\(heapwatch)' verdict w --format json --fail-on-growth > v.json; echo $?
            python3 -c 'import json; v = json.load(open("v.json")); m = v["memory"]
            print(v["schema"], m["total"] == m["free"] + sum(m["applications"].values()) + sum(m["kernel"].values()) \
            + m["unexplained"])
            print(sorted(g["kind"] for g in v["growing"] if g["pid"] and g["what"] != "address space"))'
            """)
        #expect(json.output == "1\nheapwatch/1 True\n['descriptors', 'process']\n", "\(json)")
    }

    @Test func numbersAreThoseOfPsAndFree() throws {
        let scratch = try Scratch()
        let program = try Built.program("growth")
        let running = try scratch.start([program, "idle"])
        defer {
            kill(running.pid, SIGKILL)
            _ = try? running.wait()
        }
        #expect(try eventually { try contents(running.outputPath).contains("ready") })
        // Others use the machine meanwhile, so that numbers taken one after the other may differ. What they are is
        // right where they agree to a hundredth of all memory once; a number of the wrong kind never does.
        var differences: [String] = []
        for _ in 0 ..< 30 {
            differences = try self.differences(of: running.pid, scratch)
            if differences.isEmpty { break }
            usleep(100_000)
        }
        #expect(differences.isEmpty)
    }

    /// What of a sample isn't what ps and free say.
    private func differences(of pid: pid_t, _ scratch: Scratch) throws -> [String] {
        var found: [String] = []
        func compare(_ what: String, _ ours: Int64, _ theirs: Int64, within slack: Int64 = 0) {
            if (ours - theirs).magnitude > UInt64(slack) { found.append("\(what): \(ours), \(theirs)") }
        }
        let sample = Gatherer(GatherOptions()).sample(at: 0)
        let process = try #require(sample.process(Int64(pid)))
        let ps = try scratch.run(["ps", "-o", "rss=,vsz=,nlwp=,ppid=", "-p", "\(pid)"]).output.split(separator: " ")
            .compactMap { Int64($0.trimming()) }
        try #require(ps.count == 4)
        for (what, (ours, theirs)) in zip(
            ["resident", "virtual", "threads", "parent"],
            zip([process[.resident], process[.virtual], process[.threads], process[.parent]], ps))
        { compare(what, ours, theirs) }
        compare(
            "descriptors", process[.descriptors],
            Int64(try scratch.shell("ls /proc/\(pid)/fd | wc -l").output.trimming()) ?? -1)
        compare(
            "parts of what is resident", process[.anonymous] + process[.file] + process[.shared], process[.resident])

        let system = try #require(sample.entities.first { $0.kind == .system })
        let entity = DecodedEntity(kind: .system, id: "", name: "", detail: "", values: system.values)
        let picture = try #require(MemoryColumns(sample.systemColumns).picture(entity, pageBytes: Int64(getpagesize())))
        #expect(picture.free + picture.classes.reduce(0, +) + picture.unexplained == picture.total)
        let free = try scratch.shell("free -wb | awk 'NR == 2 { print $2, $4, $6, $7, $8 }'").output.split(
            separator: " "
        ).compactMap { Int64($0.trimming()) }
        try #require(free.count == 5)
        compare("total", picture.total, free[0])
        let slack = picture.total / 100
        compare("free", picture.free, free[1], within: slack)
        compare("buffers", picture[.buffers], free[2], within: slack)
        compare("cached", picture[.file] + picture[.shared] + picture[.slabReclaimable], free[3], within: slack)
        compare("available", picture.available, free[4], within: slack)
        // What isn't explained is little on a machine without such drivers as the recorded trees have.
        compare("unexplained", picture.unexplained, 0, within: picture.total / 20)
        return found
    }

    @Test func aKilledRunLosesAtMostTheSampleBeingWritten() throws {
        let scratch = try Scratch()
        var before = 0
        for round in 1 ... 4 {
            let running = try scratch.start([heapwatch, "-o", "w", "--interval", "100ms", "--quiet"])
            #expect(eventually { (try? samples(in: "\(scratch.path)/w").samples.count) ?? 0 >= before + 2 })
            usleep(useconds_t(round * 17_000))
            let least = try samples(in: "\(scratch.path)/w").samples.count
            kill(running.pid, SIGKILL)
            _ = try running.wait()
            let read = try samples(in: "\(scratch.path)/w")
            #expect(read.samples.count >= least && read.damages.count <= round && read.damages.allSatisfy(\.isTail))
            before = read.samples.count
        }
        // A signal ends it tidily.
        let running = try scratch.start([heapwatch, "-o", "w", "--interval", "100ms"])
        #expect(try eventually { try samples(in: "\(scratch.path)/w").samples.count > before })
        kill(running.pid, SIGTERM)
        let outcome = try running.wait()
        #expect(outcome.exitStatus == 0 && outcome.messages.contains(" in w; heapwatch verdict w"), "\(outcome)")
    }
}

extension StringProtocol {
    func trimming() -> String { String(self.filter { !$0.isWhitespace }) }
}
