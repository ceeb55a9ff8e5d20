// The parsers of /proc's texts, by their properties: what the kernel would write of any mappings is read back, in
// pieces of any size; damaged text never traps, and gives nothing that could not be.

import Glibc
import Proc
import TestSupport
import Testing
import Text

@Suite struct ParserTests {
    private static func mapping(_ random: inout SeededGenerator) -> (Mapping, String) {
        let start = UInt64.random(in: 0 ..< 1 << 47, using: &random) & ~4095,
            end = start + UInt64.random(in: 1 ... 1 << 20, using: &random) << 12
        let bytes = (0 ..< Int.random(in: 0 ... 20, using: &random)).map { _ in
            UInt8.random(in: 1 ... 255, using: &random)
        }.filter { $0 != 0x0A }
        let path = bytes.isEmpty ? [] : Array("/".utf8) + bytes
        let isShared = Bool.random(using: &random), offset = UInt64.random(in: 0 ... 1 << 40, using: &random),
            inode = UInt64.random(in: 0 ... .max, using: &random)
        let permissions = "r\(Bool.random(using: &random) ? "w" : "-")-\(isShared ? "s" : "p")"
        let made = Mapping(
            start: start, end: end, isShared: isShared, fileOffset: offset, device: "00:1f", inode: inode,
            path: pathText(path))
        return (
            made,
            "\(hexadecimalDigits(start, 8))-\(hexadecimalDigits(end, 8)) \(permissions) "
                + "\(hexadecimalDigits(offset, 8)) 00:1f \(inode) "
        )
    }

    @Test(arguments: 1 ... 20 as ClosedRange<UInt64>) func whatTheKernelWouldWriteIsReadBack(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let made = (0 ..< 40).map { _ in Self.mapping(&random) }
        // The kernel fills up to a column before the path; only a path of spaces alone would be lost in them.
        let kept = made.filter { !$0.0.path.isEmpty && $0.0.path.utf8.first == UInt8(ascii: "/") || $0.0.path.isEmpty }
        var maps: [UInt8] = [], smaps: [UInt8] = []
        var sizes: [(UInt64, UInt64)] = []
        for (mapping, text) in kept {
            let line = Array(padded(text, 73).utf8) + mapping.path.pathBytes + [0x0A]
            maps += line
            let (resident, swapped) = (
                UInt64.random(in: 0 ... 1 << 40, using: &random), UInt64.random(in: 0 ... 99, using: &random)
            )
            sizes.append((resident << 10, swapped << 10))
            smaps +=
                line
                + Array(
                    ("Size:      4 kB\nRss:  \(leftPadded("\(resident)", 15)) kB\nPss:   7 kB\nSwap:    \(swapped) "
                        + "kB\nSwapPss: 1 kB\nVmFlags: rd wr\n")
                        .utf8)
        }
        #expect(parseMappings(maps) == kept.map(\.0))
        var parser = SmapsParser()
        var rest = smaps[...]
        while !rest.isEmpty {
            let count = min(rest.count, Int.random(in: 1 ... 200, using: &random))
            parser.add(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        #expect(parser.mappings.map(\.mapping) == kept.map(\.0))
        #expect(
            parser.mappings.map(\.residentBytes) == sizes.map(\.0)
                && parser.mappings.map(\.swappedBytes) == sizes.map(\.1))
    }

    @Test(arguments: 1 ... 40 as ClosedRange<UInt64>) func damagedTextGivesNothingImpossible(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let originals = try ["/proc/self/maps", "/proc/self/smaps", "/proc/self/stat", "/proc/self/status"].map {
            Array(try contents($0).utf8)
        }
        for original in originals {
            for _ in 0 ..< 8 {
                var text = original
                for _ in 0 ..< Int.random(in: 1 ... 60, using: &random) {
                    let place = Int.random(in: 0 ..< text.count, using: &random)
                    switch Int.random(in: 0 ..< 4, using: &random) {
                    case 0: text[place] = UInt8.random(in: 0 ... 255, using: &random)
                    case 1: text[place] = Array("-+ \n()0f:".utf8)[Int.random(in: 0 ..< 9, using: &random)]
                    case 2: text.insert(contentsOf: "99999999999999999999".utf8, at: place)
                    default: text.removeSubrange(place ..< min(text.count, place + 9))
                    }
                    if text.isEmpty { text = [0x0A] }
                }
                for mapping in parseMappings(text) { #expect(mapping.start < mapping.end) }
                var parser = SmapsParser()
                parser.add(text[...])
                for mapping in parser.mappings { #expect(mapping.mapping.start < mapping.mapping.end) }
                if let stat = ProcessStat(parsing: text) { #expect(stat.name.count < text.count) }
                _ = statusWords("NSpid:", in: text)
            }
        }
    }

    @Test(arguments: ["", "a", ") (", "(((", "x) S 1 2 3", "\n", "é\u{1F}"]) func aNameMayHoldAnything(
        name: String
    ) throws {
        let text = "77 (\(name)) T " + (4 ... 52).map(String.init).joined(separator: " ") + "\n"
        let stat = try #require(ProcessStat(parsing: Array(text.utf8)))
        #expect(
            stat.name == Array(name.utf8) && stat.state == UInt8(ascii: "T") && stat.threads == 20
                && stat.startTime == 22)
    }

    @Test func numbersHaveNoSignsAndFit() {
        func stat(_ threads: String, _ start: String) -> ProcessStat? {
            ProcessStat(
                parsing: Array(
                    "1 (x) S \((4 ... 19).map(String.init).joined(separator: " ")) \(threads) 0 \(start) 0\n".utf8))
        }
        #expect(stat("3", "18446744073709551615")?.startTime == .max)
        for (threads, start) in [("+3", "1"), ("-3", "1"), ("3", "18446744073709551616"), ("3", ""), ("0x3", "1")] {
            #expect(stat(threads, start) == nil)
        }
        #expect(
            parseMappings(
                Array(
                    "+1000-2000 rw-p 0 00:00 0\n1000-+2000 rw-p 0 00:00 0\n1000-11111111111111111 rw-p 0 00:00 0\n".utf8
                )) == [])
        #expect(
            statusWords("NSpid:", in: Array("Name:\tx\nNSpid:\t12\t3\n".utf8))?.map {
                String(decoding: $0, as: UTF8.self)
            } == ["12", "3"])
        #expect(statusWords("NSpid:", in: Array("NSpi".utf8)) == nil)
    }

    // As on Debian 12 with both versions mounted, in a container, and where a group has no path.
    @Test func freezers() {
        func holding(_ groups: String, _ files: [String: String]) -> Freezer? {
            Freezer.holding(Array(groups.utf8)) { files[$0] }
        }
        let both = "9:name=systemd:/\n6:freezer:/a b\n0::/a:c\n", first = "/sys/fs/cgroup/freezer/a b/freezer.state"
        #expect(holding(both, [:]) == nil)
        #expect(holding(both, [first: "THAWED\n"]) == nil)
        #expect(holding(both, [first: "FROZEN\n"]) == .first && holding(both, [first: "FREEZING\n"]) == .first)
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let events = root + "/a:c/cgroup.events"
            #expect(holding(both, [events: "populated 1\nfrozen 0\n"]) == nil)
            #expect(holding(both, [events: "populated 1\nfrozen 1\n"]) == .second)
        }
        #expect(holding("0::/\n", ["/sys/fs/cgroup/cgroup.events": "frozen 1\n"]) == .second)
        #expect(holding("0::/../other\n", ["/sys/fs/cgroup/../other/cgroup.events": "frozen 1\n"]) == nil)
        #expect(holding("", [:]) == nil && holding("0\n:\n", [:]) == nil)
    }
}
