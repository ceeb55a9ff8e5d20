// The probes for tracers: what other tools read of them in the library's file, and what a tracer sees that sets them.
// gdb knows such probes, sets their semaphores, and needs nothing of the kernel.

import CHeapImage
import TestSupport
import Testing

@Suite struct ProbeTests {
    private func output(_ command: String) throws -> String {
        let outcome = try Scratch().shell(command)
        guard outcome.exitStatus == 0 else { throw Failure("\(command): \(outcome.messages)") }
        return outcome.output
    }

    private func number(after word: String, in text: some StringProtocol) -> UInt64? {
        text.firstRange(of: word).flatMap { found in
            UInt64(text[found.upperBound...].drop { $0 == " " }.prefix(while: \.isHexDigit), radix: 16)
        }
    }

    @Test func theFileHasThem() throws {
        let notes = try output("readelf -nW '\(Built.interposer)'").split(separator: "stapsdt").dropFirst(2)
        #expect(notes.count == 2)
        let sections = try output("readelf -SW '\(Built.interposer)'")
        let probes = try #require(sections.split(separator: "\n").first { $0.contains(" .probes ") })
        let words = probes.split(separator: " ")
        let name = try #require(words.firstIndex(of: ".probes"))
        let start = try #require(UInt64(words[name + 2], radix: 16))
        // In the file, and writable: there the kernel can count who listens.
        #expect(words[name + 1] == "PROGBITS" && words[name + 6] == "WA")
        for (name, arguments) in [("alloc", 3), ("free", 1)] {
            let note = try #require(notes.first { $0.contains("Name: \(name)\n") })
            #expect(note.contains("Provider: otel_memory\n"))
            let semaphore = try #require(number(after: "Semaphore: 0x", in: note))
            #expect(semaphore == start || semaphore == start + 2)
            let place = try #require(number(after: "Location: 0x", in: note))
            let code = try output(
                "objdump -d --start-address=\(place) --stop-address=\(place + 1) '\(Built.interposer)'")
            #expect(code.contains("nop") && code.contains("<probe_\(name)>"), "\(code)")
            let said = try #require(note.split(separator: "\n").first { $0.contains("Arguments:") })
            #expect(said.split(separator: " ").dropFirst().count == arguments, "\(said)")
            #expect(said.split(separator: " ").dropFirst().allSatisfy { $0.hasPrefix("8@") })
        }
        // bpftrace reads the notes itself.
        let listed = try output("bpftrace -l 'usdt:\(Built.interposer):*'")
        #expect(listed.contains(":otel_memory:alloc\n") && listed.contains(":otel_memory:free\n"))
    }

    /// A run under gdb: what the probes said, and what the program said itself.
    private func trace(_ variables: [String: String]) throws -> (probes: [String], program: [String]) {
        let scratch = try Scratch()
        let settings = scratch.recordingVariables(variables).compactMap { name, value in
            value.map { "set environment \(name) \($0)\n" }
        }
        let print = { (name: String, format: String) in
            "break -probe-stap otel_memory:\(name)\ncommands\nsilent\nprintf \"probe \(name) \(format)\ncontinue\nend\n"
        }
        try scratch.write(
            "script",
            "set startup-with-shell off\n" + settings.joined() + "break main\nrun\n"
                + print("alloc", "%p %lu %lu\\n\", $_probe_arg0, $_probe_arg1, $_probe_arg2")
                + print("free", "%p\\n\", $_probe_arg0") + "continue\n")
        let outcome = try scratch.run(["gdb", "-nx", "-q", "-batch", "-x", "script", Built.program("probed")])
        #expect(outcome.output.contains("exited normally"), "\(outcome)")
        let lines = outcome.output.split(separator: "\n").map(String.init)
        return (
            lines.filter { $0.hasPrefix("probe ") }.map { String($0.dropFirst(6)) },
            lines.filter { $0.hasPrefix("alloc ") || $0.hasPrefix("free ") }
        )
    }

    // Each block counts for itself, in the common path and in the general one.
    @Test(arguments: [[:], ["HEAPSUM_UNWIND": "fp"], ["HEAPSUM_SAMPLE": "1"]])
    func aTracerSeesEachBlock(variables: [String: String]) throws {
        let (probes, program) = try trace(variables)
        #expect(program.count == 8)
        #expect(
            probes
                == program.map { line in
                    line.hasPrefix("alloc") ? line + " " + (line.split(separator: " ").last ?? "") : line
                },
            "\(variables)")
    }

    @Test func ofASampledRecordingItSeesTheDrawnBlocksWithTheirWeight() throws {
        let (probes, program) = try trace(["HEAPSUM_SAMPLE": "20000", "HEAPSUM_SAMPLE_SEED": "1"])
        let allocations = probes.filter { $0.hasPrefix("alloc") }
        #expect(!allocations.isEmpty)
        for allocation in allocations {
            let words = allocation.split(separator: " ")
            let bytes = try #require(UInt64(words[2]))
            #expect(program.contains("alloc \(words[1]) \(words[2])"))
            #expect(words[3] == "\(heap_counted_bytes(bytes, 20000))" && heap_counted_bytes(bytes, 20000) > bytes)
            #expect(probes.contains("free \(words[1])"))
        }
    }
}
