// Memory that malloc gave away before the recording is in use: no report calls it free.

import Glibc
import TestSupport
import Testing
import Text

@Suite struct UnbookedTests {
    @Test func whatCameBeforeTheRecordingIsNotFree() throws {
        let program = try Attached([
            "perl", "-e", "$| = 1; @kept = map { 'x' x 100 } 1 .. 200000; print \"ready\\n\"; <>",
        ])
        #expect(try program.answer() == "ready")
        let pid = String(program.running.pid), variables = ["HEAPSUM_LIBRARY": Built.interposer]
        let attached = try program.scratch.run([Built.heaprun, "--pid", pid, "-o", "out"], variables: variables)
        #expect(
            attached.exitStatus == 0 && attached.messages.contains("if the program ends before that, its image stays"))
        let report = try program.scratch.run([Built.products + "/heapsum", "pages", "--format", "json", pid])
        let memory = try #require(try JSONReader.read(Array(report.output.utf8))["memory"], "\(report)")
        // Perl's strings of 100 bytes take 24 MB and more.
        #expect(memory["earlierBytes"]?.integer ?? 0 > 20_000_000, "\(report)")
        #expect(memory["retainedBytes"]?.integer ?? .max < 5_000_000, "\(report)")
        let info = try program.scratch.run([Built.products + "/heapsum", "info", pid])
        #expect(info.output.contains("mostly held by blocks from before the recording was attached"), "\(info)")
        #expect(info.output.contains("were found in malloc's arenas, without their stacks"), "\(info)")
    }
}
