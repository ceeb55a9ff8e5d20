// Formats that others define, decoded by their published definitions: OpenTelemetry's and Perfetto's. Firefox
// Profiler's is read as its viewer reads it. All sums are held against heapsum's JSON; see Oracles.

import CHeapImage
import Glibc
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@testable import Report

@Suite struct PublishedFormats {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private static let oracles = "\(Built.root)/Tests/ReportTests/Oracles"

    private func record(_ program: String) throws {
        try record(path: Built.program(program))
    }

    /// The shell that starts the program is not recorded.
    private func record(path: String) throws {
        let name = path.split(separator: "/").last ?? ""
        let outcome = try scratch.run(
            [path],
            variables: [
                "LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path, "HEAPSUM_ONLY": String(name),
            ])
        try #require(outcome.exitStatus == 0, "\(outcome)")
        try heapsum("--format json --sort allocated-bytes", to: "report.json")
    }

    private func heapsum(_ options: String, to file: String) throws {
        let outcome = try scratch.shell("'\(Built.products)/heapsum' \(options) *.heap > \(file)")
        try #require(outcome.exitStatus == 0, "\(outcome)")
    }

    private func compare(_ oracle: String, _ file: String, _ rest: [String] = [], atLeast least: Int) throws {
        let outcome = try scratch.run(
            [Built.readers, "\(Self.oracles)/\(oracle).py", "report.json", file] + rest)
        let count = outcome.output.split { $0 == " " || $0 == "\n" }.last.flatMap { Int($0) } ?? 0
        #expect(
            outcome.exitStatus == 0 && count >= least, "\(oracle): \(outcome.output)\(outcome.messages.suffix(2000))")
    }

    @Test func openTelemetryDecodesTheSame() throws {
        try record("formats")
        try heapsum("--format otlp", to: "heap.otlp")
        let host = try scratch.shell("uname -n").output.dropLast()
        try compare(
            "otlp", "heap.otlp", ["host.name=\(host)", "service.name=unknown_service:formats"], atLeast: 40)
        // Names come from functions or, without symbols, from mappings; both paths hold for a stripped program.
        try scratch.prepare("rm *.heap; cp '\(Built.program("formats"))' stripped && strip stripped")
        try record(path: scratch.file("stripped"))
        try heapsum("--format otlp", to: "heap.otlp")
        try compare("otlp", "heap.otlp", atLeast: 20)
    }

    /// Stacks that are equal once their outer frames are cut are one sample.
    @Test func openTelemetryAddsUpWhatIsCut() throws {
        try record("formats")
        try heapsum("--format otlp --frames 1", to: "cut.otlp")
        let outcome = try scratch.run([
            Built.readers, "-c",
            """
            from opentelemetry.proto.profiles.v1development import profiles_pb2
            data = profiles_pb2.ProfilesData.FromString(open("cut.otlp", "rb").read())
            for profile in data.resource_profiles[0].scope_profiles[0].profiles:
                stacks = [sample.stack_index for sample in profile.samples]
                assert len(stacks) == len(set(stacks)) and stacks, stacks
                print(sum(sample.values[0] for sample in profile.samples))
            """,
        ])
        let totals = try JSONReader.read(Array(scratch.shell("cat report.json").output.utf8))["totals"]
        let wanted = ["liveBytes", "allocatedBlocks", "allocatedBytes", "liveBlocks"].map {
            "\(totals?[$0]?.integer ?? 0)"
        }
        #expect(outcome.output.split(separator: "\n").map(String.init) == wanted, "\(outcome) \(wanted)")
    }

    @Test func perfettoDecodesTheSame() throws {
        try record("formats")
        try heapsum("--format perfetto", to: "heap.pftrace")
        try compare("perfetto_trace", "heap.pftrace", atLeast: 15)
    }

    @Test func marksAreSlicesAndMarkers() throws {
        try record("marks")
        let file = try scratch.shell("ls *.heap").output.split(separator: "\n").map(String.init)
        let marks = try HeapImage(path: scratch.file(file.first ?? "")).marks().map(\.name)
        #expect(marks.first == "first")
        try heapsum("--format perfetto", to: "heap.pftrace")
        try compare("perfetto_trace", "heap.pftrace", marks, atLeast: 3)
        try heapsum("--format firefox", to: "heap.json")
        try compare("firefox", "heap.json", marks, atLeast: 3)
    }

    @Test func firefoxReadsTheSame() throws {
        try record("formats")
        try heapsum("--format firefox", to: "heap.json")
        try compare("firefox", "heap.json", atLeast: 40)
    }

    /// Many stacks: the packets of a trace stay small, and what is in one is there before it is used.
    @Test func aLargeTraceHasManyPackets() throws {
        var builder = ImageBuilder(kind: HEAP_KIND_PACKED)
        let app = builder.addModule("/opt/bin/app", bias: 0x40_0000)
        let count: UInt64 = 30_000
        for number in 1 ... count {
            let stack = builder.addStack([
                heap_frame_make(app, 0x1000 + number * 16), heap_frame_make(app, 0x30 + number % 100),
            ])
            builder.addBlock(address: 0x10_0000 + number * 64, bytes: number % 64 + 1, stack: stack)
        }
        let reduction = Reduction()
        try reduction.add(HeapImage(MemorySource(builder.bytes(), name: "a.heap"), presence: .gone))
        let names = FrameNames(reduction) { _ in throw NoFile() }
        func written(_ format: MachineFormat) throws -> [UInt8] {
            let out = TextOutput()
            let rows = RowSelection(reduction, names: names, withFreed: true)
            try MachineReport(reduction, rows, names: names).write(format, to: out)
            return out.bytes
        }
        try TestSupport.write(written(.perfetto), to: scratch.file("trace"))
        let outcome = try scratch.run([
            Built.readers, "-c",
            """
            from perfetto.protos.perfetto.trace import perfetto_trace_pb2
            trace = perfetto_trace_pb2.Trace.FromString(open("trace", "rb").read())
            known, samples, profiles = set(), 0, 0
            for packet in trace.packet:
                assert packet.ByteSize() < 400_000, packet.ByteSize()
                known |= {stack.iid for stack in packet.interned_data.callstacks}
                if packet.HasField("profile_packet"):
                    profiles += 1
                    for sample in packet.profile_packet.process_dumps[0].samples:
                        assert sample.callstack_id in known
                        samples += 1
            assert profiles > 1 and not packet.profile_packet.continued
            print(samples)
            """,
        ])
        #expect(outcome.output == "\(count)\n", "\(outcome)")
        // A stack that is another one's start has a node of its own in the tree; the firefox file is sound JSON.
        let profile = try JSONReader.read(written(.firefox))
        #expect(profile["threads"]?.array?.first?["nativeAllocations"]?["length"]?.integer == count)
    }

    @Test func whatIsNoProcessIsRefused() throws {
        let log = "\(Built.root)/Tests/LogsTests/Fixtures/slub-x86.txt"
        for (options, word) in [
            ("--format firefox", "one process"), ("--format perfetto", "one process"),
            ("--format firefox --by function", "made of stacks"), ("--format firefox --at peak", "not recorded"),
        ] {
            let outcome = try scratch.shell("'\(Built.products)/heapsum' \(options) '\(log)'")
            #expect(outcome.exitStatus == 64 && outcome.output == "" && outcome.messages.contains(word), "\(outcome)")
        }
        // A log of live blocks has two of OpenTelemetry's four profiles.
        let outcome = try scratch.shell(
            "'\(Built.products)/heapsum' --format otlp '\(log)' > log.otlp && '\(Built.readers)' -c '"
                + "from opentelemetry.proto.profiles.v1development import profiles_pb2; "
                + "data = profiles_pb2.ProfilesData.FromString(open(\"log.otlp\", \"rb\").read()); "
                + "print([data.dictionary.string_table[profile.sample_type.type_strindex] "
                + "for profile in data.resource_profiles[0].scope_profiles[0].profiles])'")
        #expect(outcome.output == "['inuse_space', 'inuse_objects']\n", "\(outcome)")
    }
}

/// heapsum push, with a collector that decodes what it gets by OpenTelemetry's own definition; see
/// Oracles/collector.py.
@Suite struct Pushing {
    private let scratch: Scratch
    private static let oracles = "\(Built.root)/Tests/ReportTests/Oracles"

    init() throws {
        scratch = try Scratch()
        let outcome = try scratch.run(
            [Built.program("formats")],
            variables: [
                "LD_PRELOAD": Built.interposer, "HEAPSUM_OUTPUT": scratch.path, "HEAPSUM_ONLY": "formats",
            ])
        try #require(outcome.exitStatus == 0, "\(outcome)")
    }

    /// Runs `heapsum push` with these words, beside a collector that answers so.
    private func push(_ answer: String, _ words: String, _ variables: [String: String] = [:]) throws -> Outcome {
        try scratch.shell(
            "'\(Built.readers)' '\(Self.oracles)/collector.py' \(answer) got '\(Built.products)/heapsum' push \(words)",
            variables: variables)
    }

    @Test func whatArrivesIsWhatTheReportSays() throws {
        let outcome = try push(
            "ok", "URL *.heap",
            [
                "OTEL_RESOURCE_ATTRIBUTES": "host.name=web1,service.name=no,deployment.environment.name=a%2Cb",
                "OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x",
            ])
        #expect(outcome.exitStatus == 0 && outcome.messages == "", "\(outcome)")
        try scratch.prepare("'\(Built.products)/heapsum' --format json --sort allocated-bytes *.heap > report.json")
        let compared = try scratch.run([
            Built.readers, "\(Self.oracles)/otlp.py", "report.json", "got/0.otlp", "host.name=web1",
            "service.name=shop",
            "deployment.environment.name=a,b",
        ])
        #expect(compared.exitStatus == 0, "\(compared)")
        let requests = try JSONReader.read(Array(contents(scratch.file("got/requests.json")).utf8)).array ?? []
        #expect(requests.count == 1 && requests.first?["path"]?.string == "/v1development/profiles")
        let headers = requests.first?["headers"]
        #expect(headers?["Content-Type"]?.string == "application/x-protobuf")
        #expect(headers?["authorization"]?.string == "Bearer x", "\(String(describing: headers))")
    }

    @Test func aPathOfTheUsersIsKept_andAConnectionServesAllImages() throws {
        try scratch.prepare("mkdir many && for n in 1 2 3; do cp formats.*.heap many/$n.heap; done")
        let outcome = try push("ok", "URL/ingest many")
        #expect(outcome.exitStatus == 0 && outcome.messages == "", "\(outcome)")
        let requests = try JSONReader.read(Array(contents(scratch.file("got/requests.json")).utf8)).array ?? []
        #expect(requests.map { $0["path"]?.string } == ["/ingest", "/ingest", "/ingest"])
        #expect(Set(requests.map { $0["connection"]?.integer }).count == 1)
    }

    @Test func whatTheCollectorSaysIsPassedOn() throws {
        let partial = try push("partial", "URL *.heap")
        #expect(
            partial.exitStatus == 0 && partial.messages.contains("the collector says: 2 profiles rejected: no room"),
            "\(partial)")
        let refused = try push("refuse", "URL *.heap")
        #expect(refused.exitStatus == 2 && refused.messages.contains("HTTP status 503: try later"), "\(refused)")
    }

    @Test(arguments: ["silent", "trickle"]) func nobodyIsWaitedForWithoutEnd(answer: String) throws {
        let outcome = try push(answer, "--timeout 300ms URL *.heap")
        #expect(outcome.exitStatus == 2 && outcome.messages.contains("timed out"), "\(outcome)")
    }

    @Test func wrongAddressesAreErrors() throws {
        func fails(_ words: String, _ status: Int32, _ text: String, _ variables: [String: String] = [:]) throws {
            let outcome = try scratch.shell("'\(Built.products)/heapsum' push \(words)", variables: variables)
            #expect(outcome.exitStatus == status && outcome.messages.contains(text), "\(words): \(outcome)")
        }
        // Port 1 of the loopback: nobody listens there.
        try fails("http://127.0.0.1:1 *.heap", 2, "http://127.0.0.1:1/v1development/profiles: Failed to connect")
        try fails("ftp://127.0.0.1 *.heap", 64, "not the address of a collector")
        try fails("file:///etc/passwd *.heap", 64, "not the address of a collector")
        try fails("formats.heap", 64, "")
        try fails("http://127.0.0.1:1 nothing.heap", 2, "nothing.heap")
        try fails("--every 10ms http://127.0.0.1:1 *.heap", 64, "at least 1s")
        try fails(
            "http://127.0.0.1:1 *.heap", 64, "OTEL_RESOURCE_ATTRIBUTES: nonsense is not KEY=VALUE",
            ["OTEL_RESOURCE_ATTRIBUTES": "a=b,nonsense"])
        try fails(
            "http://127.0.0.1:1 *.heap", 64, "the value of a is not what can be sent",
            ["OTEL_EXPORTER_OTLP_HEADERS": "a=b%0d%0aInjected: c"])
        // No password is printed.
        try fails("http://user:secret@127.0.0.1:1 *.heap", 2, "heapsum: http://127.0.0.1:1/v1development/profiles: ")
    }
}
