// heaprun --sample: the option, and what reports say of what it leaves.

import HeapImage
import TestSupport
import Testing

@Suite struct SampleTests {
    /// Records Tests/Programs/mix.c sampled, into a directory of this name, and answers the image's path.
    private func record(
        _ scratch: Scratch, _ options: [String], variables: [String: String?] = [:], into directory: String = "images"
    ) throws -> String {
        let outcome = try scratch.record(
            [try Built.program("mix")], options: ["-o", directory] + options, library: Built.interposer,
            variables: variables.merging(["HEAPSUM_SAMPLE_SEED": "1"]) { one, _ in one })
        guard outcome.exitStatus == 0 else { throw Failure("\(outcome)") }
        #expect(outcome.messages.contains("sampled: 1 byte in 8,192") == !options.contains("0"), "\(outcome.messages)")
        return try scratch.shell("ls -d \"$PWD\"/\(directory)/mix.*.heap").output.split(separator: "\n").map(
            String.init
        ).last ?? ""
    }

    private func heapsum(_ scratch: Scratch, _ arguments: String...) throws -> Outcome {
        try scratch.run([Built.products + "/heapsum"] + arguments)
    }

    @Test func everyReportSaysThatItsNumbersAreEstimates() throws {
        let scratch = try Scratch()
        let image = try record(scratch, ["--sample", "8K"])
        #expect(try HeapImage(path: image).sampleInterval == 8192)
        let table = try heapsum(scratch, image).output
        #expect(table.contains(" ± ") && table.contains("Sampled: ") && table.contains("1 byte in 8,192"), "\(table)")
        let functions = try heapsum(scratch, "--by", "function", image).output
        #expect(functions.contains("±") && functions.contains("small"), "\(functions)")
        let json = try scratch.shell(
            """
            '\(Built.products)/heapsum' --format json '\(image)' 2> notes | python3 -c '
            import json, sys
            report = json.load(sys.stdin)
            assert report["inputs"][0]["sampleInterval"] == 8192
            assert report["totals"]["standardErrorBytes"] > 0 and report["totals"]["unmatchedFrees"] is None
            assert all(row["standardErrorBytes"] is not None for row in report["rows"] if row["blocks"])
            error = sum(row["standardErrorBytes"] ** 2 for row in report["rows"] if row["blocks"]) ** 0.5
            assert abs(error / report["totals"]["standardErrorBytes"] - 1) < 0.001, error'
            grep -c Sampled: notes
            """)
        #expect(json.exitStatus == 0 && json.output == "1\n", "\(json)")
        #expect(try heapsum(scratch, "--format", "csv", image).output.hasPrefix("bytes,blocks,"))
        let header = try heapsum(scratch, "--format", "csv", image).output.prefix { $0 != "\r\n" }
        #expect(header.contains("standard_error_bytes,standard_error_blocks"), "\(header)")
        #expect(try heapsum(scratch, "--format", "html", image).output.contains("standardErrorBytes"))
        #expect(try heapsum(scratch, "info", image).output.contains("1 byte in 8,192: all counts are estimates"))
        let check = try heapsum(scratch, "check", "--max-bytes", "1G", image)
        #expect(check.exitStatus == 0 && check.output.contains("Held against estimates"), "\(check)")
        let ages = try heapsum(scratch, "--newer-than", "1h", image).output
        #expect(ages.contains(" ± ") || ages.contains("±"), "\(ages)")
        // The image of everything beside it.
        let whole = try record(scratch, ["--sample", "0"], into: "whole")
        let growth = try heapsum(scratch, "diff", image, whole)
        #expect(growth.exitStatus == 0 && growth.output.contains("Sampled: "), "\(growth)")
        #expect(try !heapsum(scratch, whole).output.contains("±"))
    }

    @Test func verdictsAreRefusedWithTheReason() throws {
        let scratch = try Scratch()
        let refused = try scratch.record(["true"], options: ["--sample", "8K", "--leaks"], library: Built.interposer)
        #expect(refused.exitStatus == 125 && refused.messages.contains("--leaks needs every block"), "\(refused)")
        let image = try record(scratch, ["--sample", "8K"])
        let leaks = try scratch.shell("cp /dev/null core; '\(Built.products)/heapsum' leaks --core core '\(image)'")
        #expect(leaks.exitStatus == 2 && leaks.messages.contains("record without --sample"), "\(leaks)")
    }

    @Test func theEnvironmentAndTheOptionSayTheSame() throws {
        let scratch = try Scratch()
        let image = try record(scratch, [], variables: ["HEAPSUM_SAMPLE": "8192"])
        #expect(try HeapImage(path: image).sampleInterval == 8192)
        let other = try record(scratch, ["--sample", "8K"], variables: ["HEAPSUM_SAMPLE": "99"], into: "other")
        #expect(try HeapImage(path: other).census().liveBytes == HeapImage(path: image).census().liveBytes)
    }

    @Test func aProgramOfWhichNothingWasDrawnIsNoRiddle() throws {
        let outcome = try Scratch().record(
            ["true"], options: ["-o", "images", "--sample", "1G"], library: Built.interposer)
        #expect(outcome.exitStatus == 0 && outcome.messages.contains("0 bytes live in 0 blocks"), "\(outcome)")
        #expect(outcome.messages.contains("sampled: 1 byte in 1,073,741,824"), "\(outcome)")
    }

    @Test(arguments: ["2G", "half", "-1"]) func whatIsNoIntervalIsRefused(wrong: String) throws {
        let refused = try Scratch().record(["true"], options: ["--sample", wrong], library: Built.interposer)
        #expect(refused.exitStatus == 125 && refused.messages.contains("--sample \(wrong): "), "\(refused)")
    }
}
