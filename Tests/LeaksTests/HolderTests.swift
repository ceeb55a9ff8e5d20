// Who holds what is reachable: the tree of holders, the path to one block, and what is in a block.

import TestSupport
import Testing

@Suite struct HolderTests {
    @Test func theHolderOfACacheIsNamed() throws {
        let watched = try Watched([try leaksProgram("cache")])
        let tree = try watched.leaks(["--holders"]).output
        let lines = tree.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        // 500 sessions of 24 + 24 + 1,000 bytes, and the cache's own 16.
        let cache = lines.first { $0.joined(separator: " ").hasSuffix("global session_cache (cache)") }
        #expect(cache?.first == "524,016" && cache?.contains("1,501") == true, "\(tree)")
        let recent = lines.first { $0.joined(separator: " ").hasSuffix("global recent (cache)") }
        #expect(recent?.first == "10,960", "\(tree)")
        // Two globals hold it: neither alone keeps it.
        #expect(
            lines.contains {
                $0.first == "50,000" && $0.joined(separator: " ").contains("several roots → 1 block of fill()")
            }, "\(tree)")
        #expect(tree.contains("cache_session"), "\(tree)")
    }

    @Test func thePathToABlockIsTold() throws {
        let watched = try Watched([try leaksProgram("cache")])
        let address = try #require(try watched.lines().first)
        let why = try watched.leaks(["--why", address]).output.split(separator: "\n").map(String.init)
        try #require(why.count == 7, "\(why)")
        #expect(
            why[0].hasPrefix(
                "block \(address) of 1,000 bytes (open_session(unsigned long) ← cache_session(unsigned long) ← "
                    + "fill()): reachable"
            ), "\(why)")
        #expect(why[1] == "  global session_cache (cache)", "\(why)")
        #expect(why[2].contains("→ block") && why[2].contains("of 16 bytes (fill()"), "\(why)")
        #expect(why[3].contains("+0 → block") && why[6].contains("+16 → block \(address)"), "\(why)")
    }

    @Test func aBlockIsShown() throws {
        let watched = try Watched([try leaksProgram("cache")])
        let address = try #require(try watched.lines().first)
        let why = try watched.leaks(["--why", address]).output.split(separator: "\n")
        let session = try #require(why[5].split(separator: " ").first { $0.hasPrefix("0x") })
        let shown = try watched.leaks(["--show-block", String(session)]).output
        #expect(
            shown.contains("24 bytes (open_session(unsigned long) ← cache_session(unsigned long) ← fill()): reachable"),
            "\(shown)")
        #expect(shown.contains("  +8: block") && shown.contains("+16: block \(address) of 1,000 bytes"), "\(shown)")
        // An address inside of a block is that block's; one of no block is said to be none.
        let name = try #require(
            shown.split(separator: "\n").first { $0.contains("+8: block") }?.split(separator: " ").first {
                $0.hasPrefix("0x")
            })
        #expect(try watched.leaks(["--show-block", String(name)]).output.contains("a session of som"))
        #expect(try watched.leaks(["--why", "0x10"]).output == "0x10: no live block holds this address\n")
    }

    @Test func jsonHasVerdictsAndHolders() throws {
        let watched = try Watched([try leaksProgram("cache")])
        let outcome = try watched.scratch.shell(
            "'\(Built.products)/heapsum' leaks --verdict all --holders --format json \(watched.pid) > report.json && "
                + "python3 -c '"
                + "import json; r = json.load(open(\"report.json\")); print(r[\"schema\"], r[\"whole\"], "
                + "r[\"verdicts\"][\"reachable\"][\"blocks\"] == sum(x[\"blocks\"] for x in r[\"rows\"] if "
                + "x[\"verdict\"] == \"reachable\"),"
                + " max(h[\"keptBytes\"] for h in r[\"holders\"]), r[\"rows\"][0][\"frames\"][0][\"function\"] is not "
                + "None)'"
        )
        #expect(outcome.output == "heapsum/1 True True 524016 True\n", "\(outcome)")
    }
}
