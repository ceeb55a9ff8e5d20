// heapsum table: what an engine adds up of the tables is what heapsum adds up of the images, and a stack's key is the
// one that its definition gives, computed by somebody else.

import CHeapImage
import HeapImage
import Reduce
import TestSupport
import Testing
import Text

@Suite struct TableTests {
    /// Three runs of programs with many stacks, in directories called as hosts.
    private func record() throws -> Scratch {
        let scratch = try Scratch()
        for (host, command) in [
            ("web1", "find /usr/share/doc -maxdepth 1"), ("web2", "find /usr/share/doc -maxdepth 2"),
            ("db", "sort --version"),
        ] {
            let outcome = try scratch.run(
                [Built.heaprun, "--quiet", "-o", "hosts/\(host)"] + command.split(separator: " ").map(String.init),
                variables: ["HEAPSUM_LIBRARY": Built.interposer])
            #expect(outcome.exitStatus == 0)
        }
        return scratch
    }

    private func table(_ scratch: Scratch, _ words: String) throws -> Outcome {
        try scratch.shell("'\(Built.products)/heapsum' table \(words)")
    }

    @Test func sumsAreHeapsums() throws {
        let scratch = try record()
        #expect(try table(scratch, "-o csv --host-from-directory hosts").exitStatus == 0)
        #expect(try table(scratch, "-o jsonl --format jsonl --zstd --host-from-directory hosts").exitStatus == 0)
        try scratch.prepare("'\(Built.products)/heapsum' --format json --set all -o all.json hosts/*")
        try scratch.write("sums.py", Self.sums)
        let outcome = try scratch.shell("python3 sums.py")
        #expect(outcome.exitStatus == 0 && outcome.output == "alike\n", "\(outcome)")
    }

    // A tag is not part of a stack's key, so the same stack has a fact for each of its tags.
    @Test func factsHaveTheirTags() throws {
        let scratch = try Scratch()
        _ = try scratch.run(
            [Built.heaprun, "--quiet", "-o", "images", Built.program("tags"), "threads", "2"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try table(scratch, "-o csv images").exitStatus == 0)
        try scratch.write(
            "sums.py",
            """
            import csv, glob, collections
            path, = glob.glob("csv/facts/*.csv")
            sums, keys = collections.Counter(), collections.defaultdict(set)
            for row in csv.DictReader(open(path, newline="")):
                sums[row["tag"]] += int(row["allocated_bytes"])
                keys[row["tag"]].add(row["stack_key"])
            del sums[""]
            assert sums == {"worker 0": 80000, "worker 1": 80000, "shared": 64000}, sums
            assert keys["worker 0"] == keys["worker 1"] and len(keys["worker 0"]) == 2
            """)
        let outcome = try scratch.shell("python3 sums.py")
        #expect(outcome.exitStatus == 0, "\(outcome)")
    }

    // A stack whose blocks have several verdicts has a fact for each; what isn't divided is in one of them.
    @Test(arguments: ["three-tenants", "lost-list"]) func factsHaveTheirVerdicts(example: String) throws {
        let scratch = try Scratch()
        _ = try scratch.run(
            [Built.heaprun, "--quiet", "--leaks", "-o", "images", "\(Built.examples)/\(example)", "1"],
            variables: ["HEAPSUM_LIBRARY": Built.interposer])
        #expect(try table(scratch, "-o csv images").exitStatus == 0)
        try scratch.prepare("'\(Built.products)/heapsum' --format json --sort resident -o all.json images")
        try scratch.write(
            "sums.py",
            """
            import csv, glob, collections, json
            path, = glob.glob("csv/facts/*.csv")
            rows = list(csv.DictReader(open(path, newline="")))
            report = json.load(open("all.json"))
            own, theirs = collections.Counter(), collections.Counter()
            def tag(frames):
                return next((f["function"][4:] for f in frames[-1:] if f["function"].startswith("tag ")), "")
            for row in rows:
                assert bool(row["verdict"]) == (int(row["blocks"]) > 0), row
                for name in "bytes", "blocks":
                    own[row["stack_key"], row["tag"], row["verdict"], name] += int(row[name])
            for row in report["rows"]:
                for verdict, amount in row.get("verdicts", {}).items():
                    if verdict == "dragged": continue
                    for name in "bytes", "blocks":
                        theirs[row["stackKey"], tag(row["frames"]), verdict, name] += amount[name]
            assert +own == +theirs, (+own - theirs, theirs - +own)
            assert sum(own[key] for key in own if key[2] == "definite") > 0, own
            def total(name): return sum(int(row[name]) for row in rows)
            assert total("resident_bytes") == sum(row["residentBytes"] for row in report["rows"]) > 0
            assert total("allocated_bytes") == report["totals"]["allocatedBytes"] > 0
            """)
        let outcome = try scratch.shell("python3 sums.py")
        #expect(outcome.exitStatus == 0, "\(outcome)")
    }

    /// Reads both tables and heapsum's own report. The keys are computed anew, by the definition.
    private static let sums = """
        import csv, glob, json, subprocess, sys
        csv.field_size_limit(1 << 30)
        def rows(name):
            path, = glob.glob(f"csv/{name}/*.csv")
            return list(csv.DictReader(open(path, newline="")))
        def lines(name):
            path, = glob.glob(f"jsonl/{name}/*.jsonl.zst")
            text = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
            return [json.loads(line) for line in text.splitlines()]
        facts, stacks = rows("facts"), rows("stacks")
        other, others = lines("facts"), lines("stacks")
        assert {row["host"] for row in facts} == {"web1", "web2", "db"}
        assert len(facts) == len(other) > 100 and len(stacks) == len(others) > 50
        for one, two in zip(facts, other):
            assert {name: "" if value is None else str(value) for name, value in two.items()} == one, (one, two)
        assert len({row["stack_key"] for row in stacks}) == len(stacks)
        assert {row["stack_key"] for row in stacks} == {row["stack_key"] for row in facts}
        report = json.load(open("all.json"))
        def add(rows, key, name):
            sums = {}
            for row in rows: sums[row[key]] = sums.get(row[key], 0) + int(row[name])
            return {key: value for key, value in sums.items() if value}
        for mine, theirs in [("bytes", "bytes"), ("blocks", "blocks"), ("peak_bytes", "peakBytes"),
                             ("allocated_bytes", "allocatedBytes"), ("temporary_blocks", "temporaryBlocks")]:
            own = {k: v for k, v in add(facts, "stack_key", mine).items()}
            assert {k: v for k, v in own.items() if k in {r["stackKey"] for r in report["rows"]}} \\
                == add(report["rows"], "stackKey", theirs), mine
        assert sum(int(row["allocated_bytes"]) for row in facts) == report["totals"]["allocatedBytes"]
        assert sum(int(row["bytes"]) for row in facts) == report["totals"]["liveBytes"]
        # FNV-1a of 128 bits over the frames, from the outermost in.
        def key(frames):
            value = 0x6c62272e07bb014262b821756295c58d
            for frame in reversed(frames):
                if frame["inlined"]: continue
                number = frame["offset"].to_bytes(8, "little")
                build = bytes.fromhex(frame["buildID"] or "")
                data = (b"b" + bytes([len(build)]) + build if build else b"p" + frame["module"].encode() + b"\\0"
                        if frame["module"] else b"a") + number
                for byte in data: value = (value ^ byte) * 0x0000000001000000000000000000013B % 2**128
            return f"{value:032x}"
        for row in stacks: assert key(json.loads(row["frames"])) == row["stack_key"], row
        for row in report["rows"]: assert key(row["frames"]) == row["stackKey"], row
        print("alike")

        """

    // A function of a JIT compiler has the same key at any address, and an address is another function in each process.
    @Test func compiledFunctionsHaveTheKeysOfTheirNames() throws {
        let scratch = try Scratch()
        func image(_ number: UInt32, _ names: [(address: UInt64, name: String?)]) throws {
            var builder = ImageBuilder(pid: number)
            let module = builder.addModule("/usr/bin/app", buildID: [1, 2, 3])
            for (index, (address, name)) in names.enumerated() {
                let frames = [heap_frame_make(module, 0x200), address, heap_frame_make(module, 0x100)]
                builder.addBlock(
                    address: UInt64(index + 1) << 20, bytes: UInt64(number) * 10 + UInt64(index),
                    stack: builder.addStack(frames))
                if let name { builder.addName(address, name, symbol: name, offset: 3) }
            }
            try builder.write(to: scratch.file("\(number).heap"))
        }
        try image(1, [(0x7F00_1000, "one"), (0x7F00_2000, "two")])
        try image(2, [(0x7F00_1000, "two"), (0x7F00_3000, "one")])
        try image(3, [(0x7F00_1000, nil)])
        // At two places of one function: one key, and both blocks have it.
        try image(4, [(0x7F00_1000, "one"), (0x7F00_1010, "one")])
        #expect(try table(scratch, "-o t 1.heap 2.heap 3.heap 4.heap").exitStatus == 0)
        for number in 1 ... 4 {
            try scratch.prepare("'\(Built.products)/heapsum' --format json -o \(number).json \(number).heap")
        }
        try scratch.write(
            "keys.py",
            """
            import csv, glob, json
            def rows(name): return list(csv.DictReader(open(glob.glob(f"t/{name}/*.csv")[0], newline="")))
            def key(*middle):
                value = 0x6c62272e07bb014262b821756295c58d
                def module(offset): return b"b\\x03\\x01\\x02\\x03" + offset.to_bytes(8, "little")
                for byte in module(0x100) + b"".join(middle) + module(0x200):
                    value = (value ^ byte) * 0x0000000001000000000000000000013B % 2**128
                return f"{value:032x}"
            one, two = key(b"none\\0\\0"), key(b"ntwo\\0\\0")
            nameless = key(b"a", (0x7F001000).to_bytes(8, "little"))
            facts = {(int(row["pid"]), row["stack_key"], int(row["bytes"])) for row in rows("facts")}
            assert facts == {(1, one, 10), (1, two, 11), (2, two, 20), (2, one, 21), (3, nameless, 30),
                             (4, one, 81)}, (facts, one, two, nameless)
            stacks = {row["stack_key"]: row["calls"].split(" < ")[1] for row in rows("stacks")}
            assert stacks == {one: "one", two: "two", nameless: stacks[nameless]}, stacks
            assert stacks[nameless] not in ("one", "two"), stacks
            for number in 1, 2, 3, 4:
                report = json.load(open(f"{number}.json"))
                assert {row["stackKey"] for row in report["rows"]} == {k for n, k, _ in facts if n == number}
            """)
        let outcome = try scratch.shell("python3 keys.py")
        #expect(outcome.exitStatus == 0, "\(outcome)")
    }

    @Test func aKeyIsTheSameInEveryRun() throws {
        let one = try record(), two = try record()
        for scratch in [one, two] { #expect(try table(scratch, "-o t hosts/db").exitStatus == 0) }
        let keys = try [one, two].map { scratch in
            try scratch.shell("cut -d, -f11 t/facts/*.csv | sort -u").output
        }
        #expect(keys[0] == keys[1] && keys[0].split(separator: "\n").count > 3)
    }

    @Test func twoRunsGoIntoOneDirectory() throws {
        let scratch = try record()
        #expect(try table(scratch, "-o t --host a hosts/web1").exitStatus == 0)
        #expect(try table(scratch, "-o t --host b hosts/web2").exitStatus == 0)
        #expect(try scratch.shell("ls t/facts t/stacks | grep -c csv").output == "4\n")
    }

    // Containers have the same small numbers for their processes, and often start at the same second.
    @Test func runsOfOneMomentAndNumberGoIntoOneDirectory() throws {
        let scratch = try record()
        let outcome = try scratch.shell(
            """
            for host in a b c d e f; do
                bwrap --dev-bind / / --unshare-pid --proc /proc \
                    '\(Built.products)/heapsum' table -o t --host $host hosts/web1 &
            done
            wait
            ls t/facts t/stacks | grep -c csv
            """)
        #expect(outcome.output == "12\n", "\(outcome)")
    }

    @Test func whatCantBeUsedIsSaid() throws {
        let scratch = try record()
        try scratch.write("hosts/web1/broken.heap", "no image")
        let some = try table(scratch, "-o t hosts")
        #expect(some.exitStatus == 2 && some.messages.contains("broken.heap"), "\(some)")
        #expect(try scratch.shell("cut -d, -f7 t/facts/*.csv | sort -u | wc -l").output == "4\n")
        try scratch.prepare("mkdir empty")
        let none = try table(scratch, "-o u empty")
        #expect(none.exitStatus == 2 && none.messages.contains("there is no image"), "\(none)")
        #expect(try table(scratch, "-o v --host x --host-from-directory hosts").exitStatus == 64)
        let parquet = try scratch.shell(
            "HEAPSUM_PARQUET=./nowhere '\(Built.products)/heapsum' table -o w --format parquet hosts/db; s=$?; ls -A "
                + "w; exit $s"
        )
        #expect(parquet.exitStatus == 2 && parquet.output.isEmpty, "\(parquet)")
    }
}
