// The pages of docs/stories: each command of theirs is run, on data that are made anew, and prints what the page says.

import Glibc
import TestSupport
import Testing

@Suite struct StoriesTests {
    @Test(arguments: ["five-days", "firewall-report", "four-faults", "leaky-driver", "missing-memory"])
    func everyCommandPrintsWhatThePageSays(page: String) throws {
        let scratch = try Scratch()
        _ = Built.interposer
        let outcome = try scratch.run(
            [
                "\(Built.root)/scripts/run-stories", Built.products, Built.examples,
                "\(Built.root)/docs/stories/\(page).md",
            ], variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(
            outcome.exitStatus == 0 && outcome.output.contains("✔ \(page).md: "), "\(outcome.output)\(outcome.messages)"
        )
    }
}
